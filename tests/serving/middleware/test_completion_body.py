"""What is asked is found in every form a prompt may take, and what we add leaves the rest alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.middleware.body import CHAT, COMPLETIONS, CompletionBody


def parsed(path, **fields):
    return CompletionBody.parse(json.dumps(fields).encode(), path=path)


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "Hi"}], "Hi"),
        (
            [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": "Why?"},
            ],
            "Why?",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look:"},
                        {"type": "image_url", "image_url": {"url": "data:"}},
                        {"type": "text", "text": "what is it?"},
                    ],
                }
            ],
            "Look:\nwhat is it?",
        ),
        ([{"role": "system", "content": "Be brief."}], ""),
        (["nonsense"], ""),
        ([{"role": "user", "content": None}], ""),
    ],
)
def test_the_text_of_a_chat_is_what_was_said_last(messages, text):
    assert parsed(CHAT, messages=messages).texts == (text,)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("Hi", ("Hi",)),
        (["Hi", "Why?"], ("Hi", "Why?")),
        ([1, 2, 3], ("",)),
        ([[1, 2], [3]], ("", "")),
    ],
)
def test_prompts_in_every_form(prompt, texts):
    assert parsed(COMPLETIONS, prompt=prompt).texts == texts


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b"\xff", b'{"a": NaN}', b'{"prompt": 7}'])
def test_what_is_no_completion_is_left_to_vllm(raw):
    assert CompletionBody.parse(raw, path=COMPLETIONS) is None


def test_what_else_is_asked():
    body = parsed(
        CHAT,
        model="m",
        messages=[],
        n=3,
        max_tokens=9,
        max_completion_tokens=5,
        temperature=0,
    )
    assert (body.model, body.answers, body.limits().max_tokens, body.temperature) == (
        "m",
        3,
        5,
        0.0,
    )
    odd = parsed(CHAT, messages=[], n=True, max_tokens="many", temperature="hot")
    assert (odd.model, odd.answers, odd.limits().max_tokens, odd.temperature) == (
        None,
        1,
        None,
        None,
    )


def test_what_is_nested_too_deep_to_write_goes_as_it_came():
    raw = b'{"prompt": "Hi", "deep": ' + b"[" * 500 + b"]" * 500 + b"}"
    assert CompletionBody.parse(raw, path=COMPLETIONS).with_xargs({"slotwise_class": "a"}) == raw


def test_our_keys_of_a_client_are_replaced_and_its_others_stay():
    body = parsed(
        COMPLETIONS,
        prompt="Hi",
        vllm_xargs={"slotwise_lengths": [0, 1, 1], "slotwise_new": 1, "theirs": "x"},
        seed=7,
    )
    sent = json.loads(body.with_xargs({"slotwise_class": "chat"}))
    assert sent == {
        "prompt": "Hi",
        "vllm_xargs": {"theirs": "x", "slotwise_class": "chat"},
        "seed": 7,
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["prompt", "n", "max_tokens", "vllm_xargs"]), json_values))
def test_a_body_that_is_read_loses_nothing(fields):
    body = CompletionBody.parse(json.dumps(fields).encode(), path=COMPLETIONS)
    if body is None:
        return
    assert body.answers >= 1
    sent = json.loads(body.with_xargs({}))
    theirs = sent.pop("vllm_xargs")
    was = fields.pop("vllm_xargs", None)
    assert sent == json.loads(json.dumps(fields))
    kept = was if isinstance(was, dict) else {}
    assert theirs == {k: v for k, v in kept.items() if not k.startswith("slotwise_")}
