"""The ingress with a model handle of the test's own in place of Ray's."""

from types import SimpleNamespace

import pytest

pytest.importorskip("ray.serve.llm")
pytest.importorskip("vllm")

from ray.exceptions import ActorDiedError, RayTaskError
from starlette.requests import Request
from vllm.v1.engine.exceptions import EngineDeadError

from serving.cluster.ingress import SlotwiseIngress
from serving.cluster.replica import Served
from serving.cluster.router_metrics import router_metrics


class Handle:
    """Answers one call after the other as it is told: parts, and exceptions to raise."""

    def __init__(self, *calls):
        self.calls, self.made = list(calls), 0

    def options(self, **_):
        return self

    @property
    def chat(self):
        return SimpleNamespace(remote=self._answer)

    async def _answer(self, body, info):
        self.made += 1
        for part in self.calls.pop(0):
            if isinstance(part, BaseException):
                raise part
            yield part


def dead_engine():
    return RayTaskError("chat", "traceback", EngineDeadError())


def ingress(handle):
    found = SlotwiseIngress({"m": handle}, {"m": SimpleNamespace()})
    found._configured_serve_handles["m"] = handle
    return found


def request():
    return Request({"type": "http", "headers": [], "state": {}})


async def parts_of(handle, asked=None):
    body = SimpleNamespace(model="m")
    found = ingress(handle)._get_response(body=body, call_method="chat", raw_request=asked)
    return [part async for part in found]


def replaced():
    return router_metrics().replaced._value.get()


async def test_an_answer_passes_and_its_count_is_left_for_the_middleware():
    handle, asked = Handle([Served(1), "a", "b", Served(1, 7, 2)]), request()
    assert await parts_of(handle, asked) == ["a", "b"]
    usage = asked.state.request_metadata.final_usage_info
    assert (usage.prompt_tokens, usage.completion_tokens) == (7, 2)
    assert asked.state.slotwise_replica == 1


async def test_an_answer_in_one_piece_carries_its_count():
    usage = SimpleNamespace(prompt_tokens=3, completion_tokens=4)
    whole, asked = SimpleNamespace(usage=usage), request()
    assert await parts_of(Handle([Served(0), whole]), asked) == [whole]
    assert asked.state.request_metadata.final_usage_info is usage


@pytest.mark.parametrize("death", [ActorDiedError(), dead_engine(), EngineDeadError()])
async def test_who_has_been_told_nothing_is_placed_anew(death):
    before = replaced()
    handle = Handle([death], [Served(0), death], [Served(1), "a"])
    assert await parts_of(handle) == ["a"]
    assert handle.made == 3
    assert replaced() == before + 2


@pytest.mark.parametrize("death", [ActorDiedError(), dead_engine()])
async def test_a_stream_that_has_begun_ends_with_an_error_and_is_not_repeated(death):
    handle = Handle([Served(0), "a", death])
    first, last = await parts_of(handle)
    assert first == "a"
    assert last.startswith('data: {"error":')
    assert last.endswith("\n\n")
    assert handle.made == 1


async def test_after_three_deaths_it_is_given_back():
    handle = Handle(*[[ActorDiedError()]] * 3)
    with pytest.raises(ActorDiedError):
        await parts_of(handle)
    assert handle.made == 3


@pytest.mark.parametrize("fault", [ValueError("bad"), RayTaskError("chat", "t", ValueError("bad"))])
async def test_a_fault_of_the_request_is_its_own(fault):
    handle = Handle([fault])
    with pytest.raises((ValueError, RayTaskError)):
        await parts_of(handle)
    assert handle.made == 1
