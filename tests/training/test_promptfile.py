"""Prompt files as others write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.reading import SkippedItemError
from training.promptfile import FilePrompt, parse_prompt, prompt_records

TEXT = "Write a haiku"
USER = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]
CHAT = {"model": "m", "messages": USER, "max_tokens": 64}

FORMS = {
    "ours": {"prompt": TEXT},
    "a null prompt": {"prompt": None, "text": TEXT},
    "aiperf": {"text_input": TEXT},
    "a chat": CHAT,
    "a batch of chats": {"custom_id": "r-1", "method": "POST", "body": CHAT},
    "a batch of completions": {"custom_id": "r-1", "body": {"prompt": TEXT, "max_tokens": 64}},
    "a batch of responses": {"custom_id": "r-1", "body": {"input": TEXT, "max_output_tokens": 64}},
    "responses of messages": {
        "body": {"input": [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}]}
    },
    "a batch of Anthropic's form": {"custom_id": "r-1", "params": CHAT},
    "one prompt in a list": {"prompt": [TEXT]},
    "messages as the prompt": {"prompt": USER},
    "the last of several": {"messages": [{"role": "user", "content": "Hi"}, *USER]},
    "the first of a recorded conversation": {
        "conversations": [
            {"from": "human", "value": TEXT}, {"from": "gpt", "value": "..."},
            {"from": "human", "value": "More"}, {"from": "gpt", "value": "..."},
        ]
    },
    "mt-bench": {"question_id": 1, "turns": [TEXT, "And then?"]},
    "a line of text": TEXT,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    assert parse_prompt(FORMS[form]).text == TEXT


def test_what_else_a_batch_says():
    record = {"custom_id": "r-1", "body": {**CHAT, "temperature": 0.5}}
    assert parse_prompt(record) == FilePrompt(
        TEXT, id="r-1", max_tokens=64, temperature=0.5, llm=None, model="m"
    )


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 12.0}, 12),
        ({"max_tokens": "12"}, 12),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
        ({"max_completion_tokens": 9, "max_tokens": 5}, 5),
        ({"max_tokens": float("inf")}, None),
        ({"max_tokens": 10**400}, None),
    ],
)
def test_limits(fields, limit):
    assert parse_prompt({"prompt": "a", **fields}).max_tokens == limit


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (3, "not an object"),
        ({}, "names no prompt"),
        ({"prompt": 3}, "names no prompt"),
        ({"prompt": [1, 2, 3]}, "a prompt of token ids"),
        ({"prompt": ["a", "b"]}, "several prompts in one, or none"),
        ({"messages": [{"role": "system", "content": "a"}]}, "names no prompt"),
        ({"prompt": "a", "max_tokens": float("nan")}, "max_tokens is not a number"),
        ({"prompt": "a", "max_tokens": float("-inf")}, "max_tokens is not a number"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens is not a number"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens is below one"),
        ({"prompt": "a", "temperature": float("inf")}, "temperature is not a number"),
        ({"prompt": "a", "temperature": -1}, "temperature is out of range"),
        ({"prompt": "a", "temperature": 1e308}, "temperature is out of range"),
    ],
)
def test_what_is_left_out(record, reason):
    with pytest.raises(SkippedItemError) as caught:
        parse_prompt(record)
    assert caught.value.reason == reason


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    file = tmp_path / "p.TXT"
    file.write_bytes(b"\xef\xbb\xbfOne\r\n\r\n[Two]\nbad \xff\n")
    found = [value for _, value in prompt_records(file)]
    assert found[:2] == ["One", "[Two]"]
    assert isinstance(found[2], SkippedItemError)


KEYS = st.sampled_from(
    ["prompt", "text", "messages", "body", "input", "role", "content", "max_tokens", "temperature"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["user", "", "9"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_no_record_ends_in_another_error(record):
    try:
        assert isinstance(parse_prompt(record).text, str)
    except SkippedItemError as why:
        assert why.reason  # noqa: PT017
