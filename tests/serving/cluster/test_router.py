"""The router with replicas of the test's own; Ray need not run."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ray.serve")

from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve._private.request_router.common import PendingRequest

from predictor.distribution import LengthDistribution
from scheduler.placement.choice import Candidate
from scheduler.placement.digest import PLACES, SIZE, Digest, Item
from scheduler.slo import Slo
from scheduler.slots.problem import Fact
from serving.cluster.report import Heard, ReplicaReport
from serving.cluster.router import SloRequestRouter, _Asked, candidate_of
from serving.slo_classes import ClassTable
from serving.slo_config import DEFAULT, ClassTargets, SloConfig
from serving.xargs import encode

NO_DEFAULT = ClassTable(DEFAULT)
DEPLOYMENT = DeploymentID(name="engines", app_name="slotwise")


def replica(name):
    return SimpleNamespace(replica_id=ReplicaID(name, DEPLOYMENT))


def digest(*, live=0.0, turn_s=0.0):
    values = np.zeros(SIZE)
    values[Item.LIVE], values[Item.SLOTS] = live, 4.0
    values[Item.TOKEN_S] = values[Item.STEP_S] = 0.05
    values[Item.SERVICE_S] = 5.0
    values[Item.KV_FREE] = 10_000
    values[Item.TURNS : Item.TURNS + PLACES] = turn_s
    return Digest(values)


def pending(text="Hi", *, slo=None):
    xargs = encode(
        slo_class="chat", slo=slo or Slo(e2e_s=9.0), lengths=LengthDistribution.point(100)
    )
    body = SimpleNamespace(messages=[{"role": "user", "content": text}], vllm_xargs=xargs)
    metadata = RequestMetadata(request_id="r", internal_request_id=f"i{time.monotonic_ns()}")
    return PendingRequest(args=[body], kwargs={}, metadata=metadata)


@pytest.fixture
async def router():
    found = SloRequestRouter(DEPLOYMENT, DeploymentHandleSource.REPLICA)
    found.initialize_state(poll_s=0.1, stale_s=3.0)
    found._poll = lambda: None
    found._replicas = {ReplicaID(name, DEPLOYMENT): None for name in "ab"}
    return found


def hear(router, name, rank, *, found=None, healthy=True, age_s=0.0):
    raw = None if found is None else found.to_bytes()
    report = ReplicaReport(name, rank, "m", digest=raw, healthy=healthy)
    router._hear(Heard(report, age_s, 0.0), time.monotonic())


def counted(router, by):
    return router._metrics.decisions.labels(by)._value.get()


async def first(router, replicas, request=None):
    ranks = await router.choose_replicas(replicas, request or pending())
    return [each.replica_id.unique_id for each in ranks[0]]


async def test_where_engines_keep_no_prefixes_none_are_counted_on(router, monkeypatch):
    router.initialize_state(prefix_caching=False)
    router._poll = lambda: None
    monkeypatch.delattr(router._prefixes.__class__, "cached")
    monkeypatch.delattr(router._prefixes.__class__, "sent")
    hear(router, "a", 0, found=digest())
    failed, before = counted(router, "failed"), counted(router, "gain")
    await first(router, [replica("a")])
    assert (counted(router, "failed"), counted(router, "gain")) == (failed, before + 1)


async def test_it_goes_where_the_promise_is_kept(router):
    replicas = [replica("busy"), replica("idle")]
    hear(router, "busy", 0, found=digest(live=9, turn_s=20.0))
    hear(router, "idle", 1, found=digest())
    before = counted(router, "gain")
    assert await first(router, replicas) == ["idle"]
    assert counted(router, "gain") == before + 1


async def test_every_other_replica_is_named_behind_the_best(router):
    replicas = [replica(str(n)) for n in range(6)]
    for n in range(6):
        hear(router, str(n), n, found=digest(live=n))
    ranks = await router.choose_replicas(replicas, pending())
    assert [len(rank) for rank in ranks] == [1, 1, 1, 3]
    assert len({each.replica_id for rank in ranks for each in rank}) == 6


async def test_what_was_sent_counts_at_once(router):
    replicas = [replica("a"), replica("b")]
    for n, name in enumerate("ab"):
        hear(router, name, n, found=digest())
    chosen = []
    for _ in range(4):
        request = pending()
        (name,) = await first(router, replicas, request)
        router.on_request_routed(request, ReplicaID(name, DEPLOYMENT), None)
        chosen.append(name)
    assert sorted(chosen) == ["a", "a", "b", "b"]


async def test_old_news_is_power_of_two_and_counted(router):
    replicas = [replica("a"), replica("b"), replica("c")]
    for n, name in enumerate("abc"):
        hear(router, name, n, found=digest(), age_s=10.0)
    before = counted(router, "stale")
    assert len(await first(router, replicas)) == 2
    assert counted(router, "stale") == before + 1


async def test_who_has_said_nothing_yet_gets_its_share(router):
    replicas = [replica("old"), replica("new")]
    hear(router, "old", 0, found=digest())
    hear(router, "new", 1)
    chosen = [(await first(router, replicas))[0] for _ in range(200)]
    assert 60 < chosen.count("new") < 140


async def test_a_dead_or_hung_engine_gets_nothing_while_another_lives(router):
    replicas = [replica("ill"), replica("well")]
    hear(router, "ill", 0, found=digest(), healthy=False)
    hear(router, "well", 1, found=digest(live=9, turn_s=20.0))
    assert await first(router, replicas) == ["well"]
    hear(router, "well", 1, found=digest(), healthy=False)
    assert len(await first(router, replicas)) == 2
    hear(router, "ill", 0, found=digest())
    assert await first(router, replicas) == ["ill"]


async def test_a_fault_in_a_placement_costs_no_request(router, monkeypatch):
    replicas = [replica("a"), replica("b")]
    hear(router, "a", 0, found=digest())
    monkeypatch.setattr(router._fleet, "ranks", lambda *_, **__: 1 / 0)
    before = counted(router, "failed")
    for _ in range(20):
        assert await first(router, replicas)
    assert counted(router, "failed") > before


async def test_a_fault_in_noting_costs_no_request(router, monkeypatch, caplog):
    monkeypatch.setattr(router._fleet, "placed", lambda *_, **__: 1 / 0)
    router.on_request_routed(pending(), ReplicaID("a", DEPLOYMENT), None)
    assert "was not noted" in caplog.text


async def test_who_is_gone_is_not_counted_any_more(router):
    router.on_request_routed(pending(), ReplicaID("gone", DEPLOYMENT), None)
    assert len(router._fleet) == 0


async def test_a_replica_that_died_is_forgotten(router):
    hear(router, "a", 0, found=digest())
    router.on_replica_actor_died(ReplicaID("a", DEPLOYMENT))
    assert not router._fleet.heard("a")


async def test_a_prompt_goes_back_to_who_has_its_beginning(router):
    replicas = [replica("a"), replica("b")]
    slow = digest()
    slow.values[Item.PREFILL_TOKEN_S] = 1e-2
    for n, name in enumerate("ab"):
        hear(router, name, n, found=slow)
    text, slo = "Read this. " * 400, Slo(ttft_s=3.0)
    request = pending(text, slo=slo)
    await first(router, replicas, request)
    router.on_request_routed(request, ReplicaID("b", DEPLOYMENT), None)
    for n, name in enumerate("ab"):
        router._fleet.remove(name)
        hear(router, name, n, found=slow)
    assert await first(router, replicas, pending(text + "And?", slo=slo)) == ["b"]


async def test_a_digest_of_another_release_is_said_and_ignored(router, caplog):
    report = ReplicaReport("a", 0, "m", digest=b"other")
    router._hear(Heard(report, 0.0, 0.0), time.monotonic())
    assert "same release" in caplog.text
    assert not router._fleet.heard("a")


def test_a_request_without_hints_is_placed_all_the_same():
    for args in ([], [SimpleNamespace()], [SimpleNamespace(vllm_xargs={"slotwise_slo_s": "x"})]):
        assert candidate_of(args, NO_DEFAULT, waited_s=0.0).prompt_tokens == 1.0


def test_a_request_without_a_forecast_is_as_long_as_it_says():
    body = SimpleNamespace(messages=[], max_tokens=40, ignore_eos=True)
    wanted = Candidate.of(Slo(), LengthDistribution.point(40), prompt_tokens=1.0, waited_s=0.0)
    assert np.array_equal(candidate_of([body], NO_DEFAULT, waited_s=0.0).atoms, wanted.atoms)


async def test_a_wall_clock_that_was_set_ages_no_request():
    def ttft_left_s(request):
        return _Asked.of(request, NO_DEFAULT).candidate.facts[0, Fact.TTFT_DUE_S]

    request = pending(slo=Slo(ttft_s=5.0))
    request.created_at -= 3600.0
    first_s = ttft_left_s(request)
    assert first_s == 5.0
    request.created_at -= 3600.0
    assert 0.0 < first_s - ttft_left_s(request) < 5.0


def test_a_request_without_an_slo_has_that_of_the_default_class_or_none():
    classes = {"chat": ClassTargets(ttft_ms=5000)}
    default = ClassTable(SloConfig(classes=classes, default_class="chat"))
    for table, slo in ((NO_DEFAULT, Slo()), (default, Slo(ttft_s=5.0))):
        wanted = Candidate.of(slo, LengthDistribution.point(16), prompt_tokens=1.0, waited_s=0.0)
        found = candidate_of([SimpleNamespace(prompt="Hi", max_tokens=16)], table, waited_s=0.0)
        assert np.array_equal(found.facts, wanted.facts, equal_nan=True)
