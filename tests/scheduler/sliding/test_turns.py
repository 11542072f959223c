"""Which running prompts sit out."""

import numpy as np

from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.turns import engine_order, sitting_out


def out(candidates, order, tokens, *, running, slots=9, kv_tokens=1e9):
    config = SlidingConfig()
    found = sitting_out(
        np.array(order),
        np.array(candidates, dtype=float),
        running,
        tokens,
        slots=slots,
        kv_tokens=kv_tokens,
        block_tokens=config.block_tokens,
    )
    return found.tolist()


def test_the_running_go_first_where_the_order_says_so():
    assert out([500, 100], [0, 1], 200, running=1) == []


def test_who_stands_behind_a_newcomer_sits_out_unless_both_fit():
    assert out([500, 100], [1, 0], 200, running=1) == [0]
    assert out([500, 100], [1, 0], 600, running=1) == []


def test_one_sits_out_for_a_newcomer_however_short():
    assert out([500, 1], [1, 0], 200, running=1) == [0]


def test_nobody_sits_out_for_one_who_cannot_be_admitted():
    assert out([500, 100], [1, 0], 200, running=1, slots=0) == []
    assert out([500, 100], [1, 0], 200, running=1, kv_tokens=100) == []


def test_an_engine_serves_what_has_begun_first():
    order = np.array([3, 1, 2, 0])
    assert engine_order(order, 2, np.array([], dtype=np.int64)).tolist() == [1, 0, 3, 2]
    assert engine_order(order, 2, np.array([1])).tolist() == [0, 3, 2]
    assert engine_order(order, 2, np.array([1, 3])).tolist() == [0, 2]
