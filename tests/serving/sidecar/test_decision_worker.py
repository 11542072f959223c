"""Decisions take as long as they take, and nobody else waits for them."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from sidecars import settings_in

from scheduler.placement.digest import Digest
from serving.sidecar.app import create_app
from serving.sidecar.scheduling.decide import Decider
from serving.sidecar.schemas.schedule import MOST_IN_ALL, MOST_NUMBERS, MOST_REQUESTS

SHORT = [0, 10, 20, 0.5, 0.5]
STEP = {"step_ms": 10, "decode_ms": 1, "prompt_token_ms": 0.1}


def request(name, **more):
    return {"id": name, "waited_ms": 0, "prompt_tokens": 100, "lengths": SHORT, **more}


def engine(name, *requests, **more):
    return {"name": name, "max_num_seqs": 8, "latency": STEP, "requests": requests, **more}


def body(policy=None, **more):
    return {"policy": policy, "instances": [engine("one", request("a"))], **more}


class Gate:
    """Stands in the way of a method until it is opened; knows when somebody waits."""

    def __init__(self):
        self.reached, self.open = threading.Event(), threading.Event()
        self.calls = 0

    def before(self, method):
        def waiting(*args, **kwargs):
            self.calls += 1
            self.reached.set()
            assert self.open.wait(60)
            return method(*args, **kwargs)

        return waiting


class World:
    """A sidecar, threads to ask it from, and gates before methods of its decider."""

    def __init__(self, folder, monkeypatch):
        self._folder, self._monkeypatch = folder, monkeypatch
        self._gates = []

    def gate(self, name):
        gate = Gate()
        self._monkeypatch.setattr(Decider, name, gate.before(getattr(Decider, name)))
        self._gates.append(gate)
        return gate

    @contextmanager
    def sidecar(self, **more):
        with (
            TestClient(create_app(settings_in(self._folder, **more))) as client,
            ThreadPoolExecutor(32) as others,
        ):
            try:
                yield client, others
            finally:  # a sidecar ends when its decisions have
                for gate in self._gates:
                    gate.open.set()


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def refused(answer):
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    return answer.json()["error"]["message"]


def test_others_are_answered_while_somebody_waits_for_a_decision(world):
    with world.sidecar() as (client, others):
        slow = world.gate("decide")
        waits = others.submit(client.post, "/schedule", json=body())
        assert slow.reached.wait(60)
        health = others.submit(client.get, "/healthz")
        predicted = others.submit(client.post, "/predict", json={"prompt": "Hi"})
        assert health.result(30).status_code == 200
        assert predicted.result(30).status_code == 200
        assert not waits.done()
        slow.open.set()
        assert waits.result(60).json()["instances"][0]["order"] == ["a"]


def test_a_decision_that_takes_too_long_is_refused_and_leaves_no_queue(world):
    with world.sidecar(schedule_deadline_ms=200) as (client, others):
        slow = world.gate("decide")
        asked = [others.submit(client.post, "/schedule", json=body()) for _ in range(4)]
        assert {"within 0.2 s" in refused(each.result(60)) for each in asked} == {True}
        slow.open.set()
        again = client.post("/schedule", json=body())
        assert again.status_code == 200
        assert slow.calls == 2  # who gave up while they waited cost nothing


def test_only_so_many_wait_for_decisions(world):
    with world.sidecar() as (client, others):
        slow = world.gate("decide")
        asked = [others.submit(client.post, "/schedule", json=body()) for _ in range(17)]
        first = next(as_completed(asked, timeout=60))
        assert "16 decisions wait already" in refused(first.result())
        slow.open.set()
        assert sorted(each.result(60).status_code for each in asked) == [200] * 16 + [503]


def test_a_policy_that_is_not_compiled_yet_is_refused_and_delays_no_other(world):
    with world.sidecar(schedule_deadline_ms=500) as (client, others):
        compiler = world.gate("warm_up")
        told = refused(client.post("/schedule", json=body("fcfs")))
        assert "fcfs" in told
        refused(client.post("/schedule", json=body("fcfs@64")))
        assert compiler.calls == 1  # the second one waits for the compiler
        ours = others.submit(client.post, "/schedule", json=body())
        assert ours.result(30).status_code == 200
        compiler.open.set()
        served = [others.submit(client.post, "/schedule", json=body("fcfs")) for _ in range(3)]
        while 503 in {each.result(60).status_code for each in served}:
            served = [others.submit(client.post, "/schedule", json=body("fcfs"))]
        # Each variant is compiled once, whatever its limit.
        assert client.post("/schedule", json=body("fcfs@99")).status_code in (200, 503)
        assert compiler.calls == 2


def test_a_policy_that_nobody_knows_is_compiled_by_nobody(world):
    with world.sidecar() as (client, _):
        compiler = world.gate("warm_up")
        assert client.post("/schedule", json=body("fcsf")).status_code == 422
        assert compiler.calls == 0


def test_digests_are_made_for_some_of_the_unassigned_not_for_each(client, monkeypatch):
    """One costs time for each request of its engine: for each of n they would cost n squared."""
    made, of = [], Digest.of
    monkeypatch.setattr(Digest, "of", lambda snapshot: made.append(1) or of(snapshot))
    names = [f"u{number}" for number in range(600)]
    answer = client.post(
        "/schedule",
        json={
            "instances": [engine("left"), engine("right")],
            "unassigned": [request(name, e2e_ms=600_000) for name in names],
        },
    ).json()
    assert set(answer["assignment"]) == set(names)
    sizes = [list(answer["assignment"].values()).count(name) for name in ("left", "right")]
    assert min(sizes) > 200  # alike as they are, both have their share
    assert len(made) < 100


MANY = [request("x") for _ in range(MOST_REQUESTS)]
WIDE = {"lengths": [*range(4097), 1.0, *[0.0] * 4095]}


@pytest.mark.parametrize(
    ("instances", "unassigned", "words"),
    [
        ([engine("one", *MANY, request("y"))], [], "at most 5000 items"),
        ([engine("one")], [*MANY, request("y")], "at most 5000 items"),
        (
            [engine(str(n), *MANY) for n in range(MOST_IN_ALL // MOST_REQUESTS)],
            [request("y")],
            f"{MOST_IN_ALL + 1} requests; at most {MOST_IN_ALL}",
        ),
        (
            [engine("one", *[request(str(n), **WIDE) for n in range(245)])],
            [],
            f"at most {MOST_NUMBERS}",
        ),
        ([engine(str(n)) for n in range(65)], [], "at most 64 items"),
        ([{**engine("one"), **{str(n): 0 for n in range(100)}}], [], "104 keys"),
    ],
)
def test_what_would_take_too_long_is_refused(client, instances, unassigned, words):
    answer = client.post("/schedule", json={"instances": instances, "unassigned": unassigned})
    assert answer.status_code == 422
    assert words in answer.json()["error"]["message"]
