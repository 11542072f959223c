"""Conversations as data sets write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.reading import SkippedItemError
from training.sharegpt import pairs_of
from training.turns import turns_of

ASKED, ANSWERED = "How do tides work?", "By the moon."
PAIR = ((ASKED, ANSWERED),)


def message(role, text, *, by="role", of="content"):
    return {by: role, of: text}


OPENAI = [message("user", ASKED), message("assistant", ANSWERED)]
PARTS = [{"type": "text", "text": "How do tides"}, {"type": "image_url"}, "work?"]

RECORDS = {
    "from and value": {
        "conversations": [message("human", ASKED, by="from", of="value"),
                          message("gpt", ANSWERED, by="from", of="value")],
    },
    "role and value": {
        "conversations": [message("user", ASKED, of="value"),
                          message("assistant", ANSWERED, of="value")],
    },
    "role and content": {"conversations": OPENAI},
    "messages": {"messages": [message("system", "Be brief."), *OPENAI]},
    "one conversation": {"conversation": OPENAI},
    "items": {"items": [message("human", ASKED, by="from", of="value"),
                        message("chatgpt", ANSWERED, by="from", of="value")]},
    "prompter": {"messages": [message("prompter", ASKED, of="text"),
                              message("Assistant ", ANSWERED, of="text")]},
    "bing": {"conversations": [message("User", ASKED), message("bing", ANSWERED)]},
    "model": {"conversations": [message("user", ASKED), message("model", ANSWERED)]},
    "tool turns": {
        "messages": [
            message("user", ASKED), {"role": "assistant", "content": None, "tool_calls": [{}]},
            message("tool", "42"), message("assistant", ANSWERED),
        ],
    },
    "a developer's turn between": {
        "messages": [OPENAI[0], message("developer", "Be brief."), OPENAI[1]],
    },
    "author": {"messages": [{"author": {"role": "user"}, "content": ASKED}, OPENAI[1]]},
    "texts that alternate": {"conversations": [ASKED, ANSWERED]},
    "data": {"id": "1", "data": [ASKED, ANSWERED]},
    "instruction and output": {"instruction": ASKED, "input": "", "output": ANSWERED},
    "prompt and completion": {"prompt": ASKED, "completion": ANSWERED},
    "prompt and response": {"prompt": ASKED, "response": ANSWERED},
    "messages on both sides": {"prompt": OPENAI[:1], "completion": OPENAI[1:]},
    "question and answer": {"question": ASKED, "answer": ANSWERED},
}  # fmt: skip


@pytest.mark.parametrize("form", RECORDS)
def test_forms(form):
    assert pairs_of(turns_of(RECORDS[form])) == PAIR


def test_content_in_parts():
    record = {"messages": [message("user", PARTS), OPENAI[1]]}
    assert pairs_of(turns_of(record)) == (("How do tides\nwork?", ANSWERED),)


def test_the_input_of_an_instruction_belongs_to_the_prompt():
    record = {"instruction": "Add", "input": "1 2", "output": "3"}
    assert pairs_of(turns_of(record)) == (("Add\n\n1 2", "3"),)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "no conversations"),
        ({"conversations": []}, "no conversations"),
        ({"conversations": "hi"}, "no conversations"),
        ({"turns": [ASKED, "And then?"]}, "no conversations"),
        ({"messages": [3]}, "malformed turn"),
        ({"messages": [{"role": "user"}]}, "malformed turn"),
        ({"messages": [{"content": "hi"}]}, "malformed turn"),
        ({"messages": [{"role": "user", "content": 3}]}, "malformed turn"),
    ],
)
def test_what_is_none(record, reason):
    with pytest.raises(SkippedItemError) as caught:
        turns_of(record)
    assert caught.value.reason == reason


KEYS = st.sampled_from(
    ["conversations", "messages", "items", "data", "prompt", "completion", "instruction", "output",
     "from", "value", "role", "content", "text", "id", "author"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["user", "gpt", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_no_record_ends_in_another_error(record):
    try:
        pairs_of(turns_of(record))
    except SkippedItemError as why:
        assert why.reason in {"no conversations", "malformed turn"}  # noqa: PT017
