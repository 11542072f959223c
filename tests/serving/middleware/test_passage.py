"""A body is read once and handed on; an answer is watched, not changed."""

import pytest

pytest.importorskip("fastapi", reason="the middleware is not installed (extra: serving)")

from serving.middleware.passage import Watch, upload, with_length

GONE = {"type": "http.disconnect"}


def request(body, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def receiving(*messages):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return receive


async def handed_on(replayed, count):
    return [await replayed() for _ in range(count)]


async def test_a_body_in_parts_is_one():
    parts = [request(b"ab", more=True), request(b""), GONE]
    receive = receiving(*parts)
    read = await upload(receive, max_bytes=10)
    assert (read.whole, read.body) == (True, b"ab")
    assert await handed_on(read.replayed(receive), 3) == parts


async def test_another_body_takes_its_place_and_a_disconnect_is_heard():
    receive = receiving(request(b"ab", more=True), request(b"c"), GONE)
    read = await upload(receive, max_bytes=10)
    fresh = read.replayed(receive, body=b"new")
    assert await handed_on(fresh, 2) == [{"type": "http.request", "body": b"new"}, GONE]


@pytest.mark.parametrize(
    "messages",
    [
        [request(b"abcdef"), GONE],
        [request(b"abc", more=True), request(b"def", more=True), request(b"ghi"), GONE],
        [request(b"abc", more=True), GONE],
    ],
)
async def test_what_is_too_large_or_breaks_off_is_handed_on_as_it_came(messages):
    receive = receiving(*messages)
    read = await upload(receive, max_bytes=5)
    assert not read.whole
    assert await handed_on(read.replayed(receive), len(messages)) == messages


def test_the_length_is_that_of_the_new_body():
    scope = {
        "headers": [(b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"a", b"b")]
    }
    assert with_length(scope, 7)["headers"] == [(b"a", b"b"), (b"content-length", b"7")]
    assert scope["headers"][0] == (b"content-length", b"5")


async def test_an_answer_is_timed_and_passed_on():
    came, now_s = [], iter([1.0, 2.0, 5.0])

    async def onward(message):
        came.append(message)

    watch = Watch(onward, clock=lambda: next(now_s))
    messages = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]
    for message in messages[:-1]:
        await watch.send(message)
    assert not watch.complete
    await watch.send(messages[-1])
    assert came == messages
    assert (watch.status, watch.began_s, watch.first_s, watch.last_s) == (200, 1.0, 2.0, 5.0)
    assert watch.complete
