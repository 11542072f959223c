"""The order of prompts."""

from math import inf

from sliding_batches import batch

from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.sorter import by_deadline, by_levels

CONFIG = SlidingConfig(alpha=0.5)


def ordered(*candidates):
    """At 1000 prompt tokens a second."""
    return by_levels(batch(candidates), 1000.0, CONFIG).tolist()


def test_the_shortest_come_first():
    assert ordered((300, inf), (100, inf), (200, inf)) == [1, 2, 0]


def test_the_urgent_come_before_the_short():
    assert ordered((100, 9.0), (900, 1.7), (900, 1.9)) == [1, 0, 2]


def test_the_guarded_come_before_the_urgent():
    assert ordered((100, 0.1), (900, 9.0, 1)) == [1, 0]


def test_who_missed_already_stands_behind_everybody():
    assert ordered((10, -0.1), (900, 9.0), (10, -0.1, 1)) == [1, 2, 0]


def test_equals_keep_their_order():
    assert ordered((10, inf), (10, inf), (10, inf)) == [0, 1, 2]


def test_without_the_sorter_deadlines_order():
    assert by_deadline(batch([(1, 3.0), (900, 1.0), (5, inf)])).tolist() == [1, 0, 2]
