"""Which ids name pieces of one conversation, and which are names with a counter."""

import pytest

from training.base_ids import base_ids


def bases(ids, turns=None):
    return base_ids(ids, turns or [2] * len(ids))


@pytest.mark.parametrize(
    "name", ["identity_{}", "chat_{}", "conv_{:05d}", "alpaca_gpt4_{}", "conv-{}", "chat/{}", "{}"]
)
def test_names_with_a_counter_stand_for_themselves(name):
    ids = [name.format(number) for number in range(60)]
    assert bases(ids) == ids


def test_two_prefixes_are_as_one():
    ids = [f"{'code' if number % 2 else 'chat'}_{number}" for number in range(80)]
    assert bases(ids) == ids


def test_pieces_of_rare_bases_stay_together():
    ids = [f"base{number // 3}_{number % 3 * 2}" for number in range(30)]
    assert bases(ids) == [f"base{number // 3}" for number in range(30)]


def test_pieces_stay_together_beside_names_with_a_counter():
    ids = ["QWJhYvA_0", "QWJhYvA_11", *(f"identity_{number}" for number in range(50))]
    assert bases(ids) == ["QWJhYvA", "QWJhYvA", *ids[2:]]


@pytest.mark.parametrize("shared", [0, 1])
def test_many_pieces_show_by_their_turns(shared):
    turns = [2 + number % 5 * 2 for number in range(40)]
    starts = [sum(size - shared for size in turns[:k]) for k in range(40)]
    ids = [f"long_{start}" for start in starts]
    assert bases(ids, turns) == ["long"] * 40


def test_in_a_large_file_a_conversation_may_have_more_pieces():
    ids = [f"long_{number}" for number in range(89)] + [f"b{number}_0" for number in range(9000)]
    assert set(bases(ids)[:89]) == {"long"}


@pytest.mark.parametrize("odd", ["", "_", "_3", "a_", "a__1", "a_٣", "\ud800_1"])
def test_odd_ids(odd):
    assert len(bases([odd])) == 1
