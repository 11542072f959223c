"""The waiting queue holds still during a step."""

from dataclasses import dataclass

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")

from serving.vllm_queue import PlannedRequestQueue


@dataclass(frozen=True)
class Named:
    """As much of a vLLM request as the queue looks at."""

    request_id: str


def requests(names):
    return [Named(name) for name in names]


def names(queue):
    return "".join(request.request_id for request in queue)


@pytest.fixture
def abcd():
    queue = PlannedRequestQueue()
    by_name = {request.request_id: request for request in requests("abcd")}
    for request in by_name.values():
        queue.add_request(request)
    return queue, by_name


def test_requests_stand_as_arranged_and_unnamed_ones_come_last(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["c"], by_name["a"]], [])
    assert names(queue) == "cabd"


def test_a_peek_agrees_with_the_pop(abcd):
    queue, by_name = abcd
    queue.arrange([by_name[name] for name in "dcba"], [])
    for expected in "dcba":
        assert queue.peek_request() is queue.pop_request() is by_name[expected]
    assert not queue


def test_held_requests_are_counted_but_not_served(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["a"], by_name["b"]], [by_name["c"], by_name["d"]])
    assert len(queue) == 4
    queue.pop_request()
    queue.pop_request()
    assert not queue
    assert len(queue) == 2
    with pytest.raises(IndexError):
        queue.peek_request()
    queue.arrange([by_name["d"], by_name["c"]], [])
    assert names(queue) == "dc"


def test_prepended_requests_stand_in_front_until_the_next_order(abcd):
    queue, by_name = abcd
    queue.arrange([by_name[name] for name in "abcd"], [])
    assert not queue.moved
    skipped = [queue.pop_request(), queue.pop_request()]
    queue.prepend_requests(reversed(skipped))
    assert names(queue) == "abcd"
    assert queue.moved


def test_removed_requests_are_gone_wherever_they_stood(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["a"], by_name["b"]], [by_name["c"], by_name["d"]])
    queue.remove_requests([by_name["a"], by_name["d"], Named("x")])
    assert names(queue) == "bc"
