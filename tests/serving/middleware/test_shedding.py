"""An answer is held back until it is known whether there will be one."""

import pytest

pytest.importorskip("fastapi", reason="the middleware is not installed (extra: serving)")

from serving.middleware.shedding import REASON_HEADER, ShedGate, refusal

START = {"type": "http.response.start", "status": 200, "headers": []}
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"completion_tokens":0}}\n\n'
DONE = b"data: [DONE]\n\n"
MARKED = b'{"choices":[{"finish_reason":"abort","stop_reason":"slotwise_shed"}]}'
QUOTED = rb'{"choices":[{"text":"\"stop_reason\":\"slotwise_shed\"","stop_reason":null}]}'


async def sent(*parts, is_open=False):
    """What came through, after each message."""
    came, after = [], []

    async def onward(message):
        came.append(message)

    gate = ShedGate(onward, open=is_open)
    bodies = [{"type": "http.response.body", "body": part, "more_body": True} for part in parts]
    last = {"type": "http.response.body", "body": b"", "more_body": False}
    for message in (START, *bodies, last):
        await gate.send(message)
        after.append(len(came))
    assert came in ([], [START, *bodies, last])
    return gate.shed, after


@pytest.mark.parametrize(
    "parts", [(MARKED,), (DONE,), (ROLE, DONE), (ROLE, USAGE, DONE), (USAGE, DONE)]
)
async def test_an_answer_without_a_token_goes_nowhere(parts):
    shed, after = await sent(*parts)
    assert shed
    assert after[-1] == 0


@pytest.mark.parametrize(
    ("parts", "after"),
    [
        ((ROLE, WORD, DONE), [0, 0, 3, 4, 5]),
        ((WORD, DONE), [0, 2, 3, 4]),
        ((QUOTED,), [0, 2, 3]),
        ((b'data: {"error":{"code":500}}\n\n', DONE), [0, 2, 3, 4]),
        ((b"",), [0, 0, 3]),
        ((ROLE,), [0, 0, 3]),
    ],
)
async def test_any_other_passes_as_soon_as_it_says_something(parts, after):
    assert await sent(*parts) == (False, after)


async def test_an_open_gate_holds_nothing_back():
    assert await sent(ROLE, DONE, is_open=True) == (False, [1, 2, 3, 4])


def test_the_refusal_bears_its_reason():
    answer = refusal()
    assert answer.status_code == 429
    assert answer.headers[REASON_HEADER] == "rejected-ttl-expired"
