"""Shadow decides and serves as vLLM does; off is vLLM."""

import random
from collections import deque

import pytest
from vllm_steps import new_request, run_step

from serving import shadowlog, steplog

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine


def served(scheduler, arrivals=200, seed=3):
    """Who computed how much in each step, of requests that come and end at random."""
    rng, in_flight, log = random.Random(seed), deque(), []
    while len(log) < arrivals or scheduler.requests:
        if len(log) < arrivals and rng.random() < 0.3:
            scheduler.add_request(new_request(f"r{len(log)}", rng))
        run_step(scheduler, in_flight, lag=1)
        log.append(dict(in_flight[-1][0].num_scheduled_tokens))
    return log


def test_shadow_serves_as_stock_vllm_and_notes_what_it_would_have_done(
    make_scheduler, monkeypatch, tmp_path
):
    file = tmp_path / "shadow.jsonl"
    monkeypatch.setenv("SLOTWISE_SHADOW_LOG", str(file))
    shadow = make_scheduler("slotwise", mode="shadow", blocks=60)
    stock = make_scheduler("slotwise", mode="off", blocks=60)
    assert served(shadow) == served(stock)
    assert shadow.fallbacks == 0
    assert len(shadow.driver.tracker) == 0
    shadow.shutdown()
    decisions = list(shadowlog.read(file))
    assert len(decisions) > 50
    assert any(decision.differs for decision in decisions)
    assert all(
        set(decision.arrival) <= set(decision.order) | set(decision.held) for decision in decisions
    )


def test_active_serves_otherwise(make_scheduler):
    active = make_scheduler("slotwise", mode="active", blocks=60)
    stock = make_scheduler("slotwise", mode="off", blocks=60)
    assert served(active) != served(stock)


def test_off_is_vllms_own_scheduler(make_scheduler):
    from serving.vllm_scheduler import SlotwiseScheduler
    from serving.vllm_timed import TimedScheduler

    scheduler = make_scheduler(mode="off")
    assert type(scheduler) is TimedScheduler
    assert not isinstance(scheduler, SlotwiseScheduler)
    assert type(scheduler.waiting).__module__.startswith("vllm.")


def test_engines_of_one_server_write_files_and_serve_metrics_of_their_own(
    make_scheduler, monkeypatch, tmp_path
):
    """All processes of ``--data-parallel-size 2`` have the same environment."""
    for name in ("STEP_LOG", "SHADOW_LOG", "DIGEST_FILE"):
        monkeypatch.setenv(f"SLOTWISE_{name}", str(tmp_path / f"{name.lower()}.x"))
    monkeypatch.setenv("SLOTWISE_ENGINE_METRICS_PORT", "23417")
    engines = [make_scheduler("slotwise", mode="shadow", blocks=60, rank=rank) for rank in (0, 1)]
    for engine in engines:
        served(engine, arrivals=30)
    ports = [engine.metrics.port for engine in engines]
    for engine in engines:
        engine.shutdown()
    assert None not in ports
    assert len(set(ports)) == 2
    files = {path.name for path in tmp_path.iterdir()}
    for name in ("step_log", "shadow_log", "digest_file"):
        assert {f"{name}.x", f"{name}.1.x"} <= files
    logs = [list(steplog.read(tmp_path / f"step_log{mark}.x")) for mark in ("", ".1")]
    assert all(len(log) > 20 for log in logs)
