import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import InputError
from scheduler.driver import Driver
from scheduler.registry import create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.placement import SloGain, create_placement, placement_names
from scheduler.simulator.profiles import load_profile
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo
from scheduler.snapshot import Limits

CODE, CHAT = Slo(e2e_s=8.0), Slo(ttft_s=0.5, tpot_s=0.05)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=512, kv_tokens=16_000)
CARD = load_profile("h100-llama-3.1-8b")


def make_request(name, arrival_s=0.0, *, prompt=100, output=200, slo=CODE):
    return SimRequest(str(name), arrival_s, prompt, output, slo, LengthDistribution.point(output))


def make_engine(profile=CARD, *, policy="fcfs", kv_tokens=16_000, instance=0):
    limits = Limits(LIMITS.max_num_seqs, LIMITS.max_batched_tokens, kv_tokens)
    driver = Driver(
        policy=create_policy(policy, repeatable=True),
        limits=limits,
        latency=profile.latency(),
        time_box_s=np.inf,
    )
    return SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=profile.step_time,
        rules=profile.rules,
        instance=instance,
    )


def load(engine, count, *, until_s=0.0, **request):
    for number in range(engine.live, engine.live + count):
        engine.submit(make_request(f"load-{number}", **request))
    engine.run_until(until_s)


def test_round_robin_takes_turns():
    engines = [make_engine(instance=k) for k in range(3)]
    requests = [make_request(n, 0.1 * n) for n in range(7)]
    outcomes = serve(engines, requests, create_placement("round-robin"))
    chosen = {int(o.request.request_id): o.instance for o in outcomes}
    assert [chosen[n] for n in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_least_requests_counts_waiting_and_running():
    engines = [make_engine() for _ in range(3)]
    for engine, count in zip(engines, (6, 2, 5), strict=True):
        load(engine, count, until_s=0.1)
    placement = create_placement("least-requests")
    assert placement.choose(make_request("new", 0.1), engines) == 1
    load(engines[1], 3)
    assert [engine.live for engine in engines] == [6, 5, 5]
    assert placement.choose(make_request("new", 0.1), engines) == 1


def test_free_memory_compares_what_is_left_and_takes_turns_on_ties():
    engines = [make_engine(kv_tokens=tokens) for tokens in (8_000, 16_000, 16_000)]
    placement = create_placement("free-memory")
    assert [placement.choose(make_request(n), engines) for n in range(3)] == [1, 2, 1]
    load(engines[1], 3, prompt=4_000, until_s=1.0)
    load(engines[2], 3, prompt=200, until_s=1.0)
    assert engines[1].kv_tokens_free < engines[0].kv_tokens_free < engines[2].kv_tokens_free
    assert [placement.choose(make_request(n), engines) for n in range(2)] == [2, 2]


@pytest.mark.parametrize("busy", [0, 1])
def test_slo_gain_prefers_the_idle_engine(busy):
    engines = [make_engine(policy="slotwise") for _ in range(2)]
    load(engines[busy], 30, output=500, until_s=0.5)
    new = make_request("new", 0.5, output=500)
    assert create_placement("slo-gain").choose(new, engines) == 1 - busy


@pytest.mark.parametrize("slow", [0, 1])
def test_slo_gain_prefers_the_fast_engine(slow):
    profiles = [CARD, CARD]
    profiles[slow] = CARD.slower(6.0)
    engines = [make_engine(profile, policy="slotwise") for profile in profiles]
    new = make_request("new", output=300)
    assert create_placement("slo-gain").choose(new, engines) == 1 - slow
    load(engines[1 - slow], 1)
    assert create_placement("slo-gain").choose(new, engines) == 1 - slow


def test_slo_gain_takes_the_least_loaded_of_equals():
    engines = [make_engine(policy="slotwise") for _ in range(3)]
    for engine, count in zip(engines, (2, 1, 2), strict=True):
        load(engine, count)
    assert create_placement("slo-gain").choose(make_request("new"), engines) == 1


@pytest.mark.parametrize("name", placement_names())
def test_everybody_is_served_once_by_one_of_three(name):
    rng = np.random.default_rng(3)
    requests = [
        make_request(
            n,
            float(at),
            prompt=int(rng.integers(5, 800)),
            output=int(rng.integers(1, 300)),
            slo=CODE if n % 2 else CHAT,
        )
        for n, at in enumerate(np.cumsum(rng.exponential(0.08, 80)))
    ]
    engines = [make_engine(CARD.slower(1.0 + k), policy="slotwise", instance=k) for k in range(3)]
    counts = []
    outcomes = serve(engines, requests, create_placement(name), on_arrival=counts.append)
    assert sorted(int(o.request.request_id) for o in outcomes) == list(range(80))
    assert {o.instance for o in outcomes} == {0, 1, 2}
    assert counts == list(range(1, 81))
    ends = [o.request.arrival_s + o.e2e_s for o in outcomes]
    assert ends == sorted(ends)
    assert all(engine.driver.fallbacks == engine.live == 0 for engine in engines)


def test_an_unknown_placement_is_named():
    with pytest.raises(InputError, match=r"'best'.*round-robin.*slo-gain"):
        create_placement("best")


def test_old_news_is_worse_than_fresh_and_better_than_none():
    def attainment(placement):
        rng = np.random.default_rng(5)
        requests = [
            make_request(
                n, float(at), prompt=int(rng.integers(50, 800)), output=int(rng.integers(20, 400))
            )
            for n, at in enumerate(np.sort(rng.uniform(0, 20, 160)))
        ]
        engines = [make_engine(CARD.slower(1 + 2 * k), policy="slotwise") for k in range(3)]
        return np.mean([o.met for o in serve(engines, requests, placement)])

    fresh = attainment(SloGain())
    assert fresh >= attainment(SloGain(period_s=0.1, delay_s=2.0))
    assert fresh > attainment(create_placement("round-robin")) + 0.05


def test_digests_are_published_at_their_period():
    placement = SloGain(period_s=0.5, delay_s=0.1)
    engines = [make_engine() for _ in range(4)]
    serve(engines, [make_request(n, 0.01 + n) for n in range(5)], placement)
    # At 0, 0.5, ... 4.0 s by the first, and as often by the others in between.
    assert placement.published == 33
    assert len(placement.choice_s) == 5


def test_a_router_knows_only_what_it_sent_itself():
    def chosen(routers):
        placement = SloGain(period_s=2.0, routers=routers)
        engines = [make_engine() for _ in range(2)]
        # Both idle when they last said something.
        return [placement.choose(make_request(n, 1.5), engines) for n in range(4)]

    assert chosen(1) == [0, 1, 0, 1]
    assert chosen(2) == [0, 0, 1, 1]
    with pytest.raises(InputError, match="at least one router"):
        chosen(0)
