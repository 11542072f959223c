import math

import pytest

from predictor.errors import ConfigError, DatasetError
from training.sharegpt import Conversation, Turn, read_sharegpt
from training.split import split_of
from training.trace import TraceRow
from training.workload import (
    WorkloadShape,
    candidates,
    filler_text,
    from_conversations,
    from_trace,
)


@pytest.fixture
def conversations(made_up):
    return read_sharegpt(made_up).conversations


def test_only_test_conversations_are_replayed(conversations, counter):
    found = candidates(conversations, counter)
    assert found
    assert all(split_of(c.conversation_id.split("_")[0]) == "test" for c in found)


def test_the_mix_the_arrivals_and_the_lengths(conversations, counter):
    shape = WorkloadShape(count=20, rate=2.0, code_fraction=0.25)
    made = from_conversations(conversations, counter, shape)
    assert [r.slo_class for r in made].count("code") == 5
    assert len({r.request_id for r in made}) == len({r.prompt for r in made}) == 20
    times = [r.arrival_s for r in made]
    assert times == sorted(times)
    assert times[0] > 0
    assert all(r.prompt_tokens == len(r.prompt.split()) for r in made)
    # The classes are mixed over time, not one after the other.
    assert [r.slo_class for r in made] != sorted(r.slo_class for r in made)


def test_seeded(conversations, counter):
    one, two, other = (
        from_conversations(conversations, counter, WorkloadShape(count=9, rate=1.0, seed=seed))
        for seed in (1, 1, 2)
    )
    assert one == two
    assert [r.prompt for r in one] != [r.prompt for r in other]


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [(4, 4, 1), (3, 4, 0), (4, 3, 0), (1024, 1024, 1), (1025, 9, 0), (1000, 1049, 0)],
)
def test_vllms_filter(counter, prompt, answer, kept):
    base = next(f"b{i}" for i in range(99) if split_of(f"b{i}") == "test")
    turns = (Turn("human", "w " * prompt), Turn("gpt", "w " * answer))
    assert len(candidates([Conversation(base, turns)], counter)) == kept


def test_too_few_conversations_are_named(conversations, counter):
    with pytest.raises(DatasetError, match=r"only \d+ code test conversations"):
        from_conversations(conversations, counter, WorkloadShape(count=5000, rate=1.0))


@pytest.mark.parametrize(
    "values", [{"count": 0}, {"code_fraction": 1.5}, {"code_fraction": math.nan}, {"seed": -1}]
)
def test_bad_shapes(values):
    with pytest.raises(ConfigError):
        WorkloadShape(**{"count": 4, "rate": 1.0, **values})


def test_from_trace():
    (first, second) = from_trace([TraceRow(0.0, 3, 9), TraceRow(1.5, 40, 2)], task="code")
    assert (first.prompt, first.prompt_tokens, first.output_tokens) == ("the time of", 3, 9)
    assert (second.arrival_s, second.slo_class) == (1.5, "code")
    assert len(second.prompt.split()) == 40
    assert filler_text(1) == "the"
