"""The meter that watches an answer's bytes."""

import json

import pytest

from serving.bench.client import StreamMeter, error_message


def line(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(**content: str | None) -> bytes:
    return line({"choices": [{"index": 0, "delta": content}]})


ROLE = delta(role="assistant", content="")
USAGE = line({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
DONE = b"data: [DONE]\n\n"


def fed(*pieces: bytes) -> StreamMeter:
    """A meter that got the pieces one second apart."""
    meter = StreamMeter()
    for second, piece in enumerate(pieces):
        meter.feed(piece, float(second))
    return meter


def test_the_first_token_is_the_first_delta_after_the_role() -> None:
    meter = fed(ROLE, delta(content="a"), delta(content="b"), USAGE, DONE)
    assert (meter.first_s, meter.last_s) == (1.0, 2.0)
    assert (meter.prompt_tokens, meter.output_tokens) == (5, 2)
    assert meter.complete


def test_a_token_that_decodes_to_nothing_counts() -> None:
    meter = fed(ROLE, delta(content=""), delta(content=""), USAGE, DONE)
    assert (meter.first_s, meter.last_s) == (1.0, 2.0)


def test_a_role_that_brings_text_along_is_a_token() -> None:
    assert fed(delta(role="assistant", content="a")).first_s == 0.0
    assert fed(delta(role="assistant", content=None)).first_s is None


def test_feed_says_when_the_first_token_came() -> None:
    meter = StreamMeter()
    assert [meter.feed(piece, 0.0) for piece in (ROLE, delta(content="a"), delta(content="b"))] == [
        False,
        True,
        False,
    ]


def test_text_that_looks_like_the_protocol_is_text() -> None:
    text = '"delta" "role" "error" "completion_tokens" data: [DONE]'
    meter = fed(ROLE, delta(content=text), delta(content="\ndata: [DONE]\n"), USAGE)
    assert meter.error is None
    assert not meter.done
    assert meter.output_tokens == 2
    assert (meter.first_s, meter.last_s) == (1.0, 2.0)


@pytest.mark.parametrize("word", ["error", "delta", "role", "completion_tokens", "[DONE]"])
def test_a_token_that_is_a_word_of_the_protocol_is_text(word: str) -> None:
    meter = fed(ROLE, delta(content=word), delta(content=word), USAGE, DONE)
    assert meter.complete
    assert (meter.first_s, meter.last_s) == (1.0, 2.0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_cuts_between_packets_do_not_matter(size: int) -> None:
    answer = ROLE + delta(content="grüß") + delta(content="b") + USAGE + DONE
    meter = StreamMeter()
    for start in range(0, len(answer), size):
        meter.feed(answer[start : start + size], 1.0)
    assert meter.complete
    assert meter.output_tokens == 2


def test_an_error_event_is_kept() -> None:
    meter = fed(ROLE, line({"error": {"message": "engine died"}}), DONE)
    assert meter.error == "engine died"
    assert not meter.complete


@pytest.mark.parametrize("pieces", [(), (ROLE, DONE), (ROLE, delta(content="a"), USAGE)])
def test_half_an_answer_is_not_complete(pieces: tuple[bytes, ...]) -> None:
    assert not fed(*pieces).complete


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too long"}}', "too long"),
        (b'{"message": "too long"}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b"<html>bad gateway", "<html>bad gateway"),
        (b"", "no message"),
    ],
)
def test_error_messages_come_in_many_shapes(body: bytes, message: str) -> None:
    assert error_message(body) == message
