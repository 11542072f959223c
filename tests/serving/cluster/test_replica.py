"""What a replica says around an answer, with an engine of the test's own."""

from types import SimpleNamespace

import pytest

pytest.importorskip("ray.serve.llm")
pytest.importorskip("vllm")

from vllm.v1.engine.exceptions import EngineDeadError

from serving.cluster.replica import (
    Served,
    SlotwiseServer,
    WatchedRequest,
    _choose_dtype,
    fingerprint,
)
from serving.engine import dtype

ERROR = 'data: {"error":{"message":"EngineCore encountered an issue","code":500}}\n\n'


class Engine:
    def __init__(self, *, dead=False):
        self.dead = dead

    async def check_health(self):
        if self.dead:
            raise RuntimeError("engine core gone")


class Server(SlotwiseServer):
    """Ray awaits what ends a replica; nobody does here."""

    def __del__(self):
        pass


def server(engine):
    found = Server.__new__(Server)
    found._rank, found.engine = 1, engine
    found.count = 0
    found._reporter = SimpleNamespace(
        entered=lambda: setattr(found, "count", found.count + 1),
        left=lambda: setattr(found, "count", found.count - 1),
    )
    return found


async def said(found, *parts):
    async def stream():
        for part in parts:
            yield part

    return [part async for part in found._accompanied(stream(), WatchedRequest())]


@pytest.mark.parametrize("error", [ERROR, [ERROR], SimpleNamespace(error={"code": 500})])
async def test_the_death_of_an_engine_is_no_answer(error):
    found = server(Engine(dead=True))
    with pytest.raises(EngineDeadError):
        await said(found, error)
    assert found.count == 0


async def test_an_error_of_the_request_is_one():
    assert await said(server(Engine()), ERROR) == [Served(1), ERROR]


async def test_a_stream_that_has_begun_ends_as_the_engine_ends_it():
    parts = await said(server(Engine(dead=True)), "data: {}", ERROR)
    assert parts == [Served(1), "data: {}", ERROR]


async def test_the_count_that_vllm_leaves_comes_last():
    watched = WatchedRequest(headers={"a": "b"})
    request = watched.to_starlette_request()
    usage = SimpleNamespace(prompt_tokens=3, completion_tokens=4)
    request.state.request_metadata = SimpleNamespace(final_usage_info=usage)
    assert watched.served(1) == Served(1, 3, 4)
    assert WatchedRequest().served(1) is None


def test_a_fingerprint_tells_weights_apart(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    before = fingerprint(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    assert fingerprint(str(tmp_path)) != before
    assert fingerprint("org/name") == "org/name"


class Described:
    """Ray's description of an engine."""

    def __init__(self, **engine_kwargs):
        self.engine_kwargs = engine_kwargs

    def update_engine_kwargs(self, **changed):
        self.engine_kwargs |= changed


def test_the_dtype_suits_the_node_unless_the_user_names_one(monkeypatch):
    monkeypatch.setattr(dtype, "_features", lambda: "flags : avx2")
    monkeypatch.setattr("serving.engine.layout.cpu_build", lambda: True)
    described = Described(dtype="auto")
    _choose_dtype(described)
    assert described.engine_kwargs["dtype"] == "float32"
    described = Described(dtype="bfloat16")
    _choose_dtype(described)
    assert described.engine_kwargs["dtype"] == "bfloat16"
