"""The waiting queue holds still during a step."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    queue.arrange([by_name["a"], by_name["b"]], ["c", "d"])
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
    skipped = [queue.pop_request(), queue.pop_request()]
    queue.prepend_requests(reversed(skipped))
    assert names(queue) == "abcd"


def test_removed_requests_are_gone_wherever_they_stood(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["a"], by_name["b"]], ["c", "d"])
    queue.remove_requests([by_name["a"], by_name["d"], Named("x")])
    assert names(queue) == "bc"


def test_the_order_is_read_no_further_than_it_is_needed(abcd):
    queue, by_name = abcd
    looked_at = []

    def order():
        for name in "dxcba":
            looked_at.append(name)
            yield by_name.get(name, Named(name))

    queue.arrange(order(), ["c"])
    assert looked_at == []
    assert queue
    assert queue.pop_request() is by_name["d"]
    assert looked_at == ["d"]
    assert queue.peek_request() is by_name["b"]
    assert looked_at == ["d", "x", "c", "b"]


def test_who_is_preempted_in_a_step_whose_order_names_it_comes_once(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["a"]], [])
    running = queue.pop_request()
    queue.arrange([running, by_name["b"]], [])
    queue.prepend_request(running)
    assert names(queue) == "abcd"


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdefgh")),
        st.tuples(st.just("pop"), st.none()),
        st.tuples(st.just("peek"), st.none()),
        st.tuples(st.just("return"), st.none()),
        st.tuples(st.just("remove"), st.sampled_from("abcdefgh")),
        st.tuples(st.just("list"), st.none()),
        st.tuples(
            st.just("arrange"),
            st.tuples(
                st.permutations("abcdefgh"), st.integers(0, 8), st.sets(st.sampled_from("abc"))
            ),
        ),
    ),
    max_size=40,
)


@given(actions)
def test_it_is_a_plain_list_put_in_order(done):
    """Against a model that orders all of them at once."""
    queue, open_, held, popped, came = PlannedRequestQueue(), [], [], [], []
    last_order = ()
    by_name = {name: Named(name) for name in "abcdefgh"}
    for action, what in done:
        there = [*open_, *held]
        # Nobody knows of a request before it comes.
        if action == "add" and what not in [*there, *popped, *last_order]:
            queue.add_request(by_name[what])
            open_.append(what)
            came.append(what)
        elif action in ("pop", "peek"):
            assert bool(queue) == bool(open_)
            if open_:
                assert queue.peek_request() is by_name[open_[0]]
                if action == "pop":
                    assert queue.pop_request() is by_name[open_[0]]
                    popped.append(open_.pop(0))
                    came.remove(popped[-1])
        elif action == "return" and popped:
            open_.insert(0, popped.pop())
            came.append(open_[0])
            queue.prepend_request(by_name[open_[0]])
        elif action == "remove":
            queue.remove_request(by_name[what])
            open_ = [name for name in open_ if name != what]
            held = [name for name in held if name != what]
            came = [name for name in came if name != what]
        elif action == "list":
            assert sorted(names(queue)) == sorted(there)
            assert names(queue)[: len(open_)] == "".join(open_)
        elif action == "arrange":
            order, count, out = what
            last_order = order[:count]
            queue.arrange([by_name[name] for name in last_order], out)
            held = [name for name in there if name in out]
            named = [name for name in last_order if name in there and name not in out]
            open_ = [*named, *(name for name in came if name not in [*named, *held])]
        assert len(queue) == len(open_) + len(held)


def test_of_a_shortlist_the_others_are_held_until_the_next_order(abcd):
    queue, by_name = abcd
    queue.arrange([by_name["c"]], [], shortlisted=True)
    queue.add_request(Named("e"))
    assert queue.pop_request() is by_name["c"]
    assert not queue
    assert len(queue) == 4
    assert sorted(names(queue)) == ["a", "b", "d", "e"]
    queue.arrange([by_name["d"]], [])
    assert names(queue) == "dabe"
