"""Reading a snapshot as a planning problem."""

import numpy as np
import pytest
from slot_problems import CHAT, CODE, LIFELIKE, busy_problem, problem, request

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.problem import Fact
from scheduler.snapshot import ATOMS

# A millisecond a prompt token and nothing else.
PREFILLING = StepLatency(prefill=(1e-3, 0.0, 0.0, 0.0), decode=(0.0, 0.0, 0.0, 0.05))


def fact(which, *requests, **engine):
    return problem(*requests, **engine).facts[:, which].tolist()


def test_atoms_follow_the_tokens_out():
    lengths = LengthDistribution(edges=[0, 100], probabilities=[1.0])
    half = problem(request(lengths=lengths, running=True, generated=50))
    assert half.atoms.shape == (1, ATOMS)
    assert half.atoms.mean() == pytest.approx(25, abs=1)


def test_atoms_ascend_and_are_at_least_one():
    atoms = busy_problem(1).atoms
    assert (np.diff(atoms, axis=1) >= 0.0).all()
    assert atoms.min() >= 1.0


def test_the_running_come_first_and_the_waiting_by_arrival():
    built = problem(
        request(arrival_s=3.0),
        request(arrival_s=2.0, running=True),
        request(arrival_s=1.0),
        now_s=4.0,
    )
    assert built.handle.tolist() == [1, 2, 0]
    assert built.running == 1
    assert built.waited_s.tolist() == [2.0, 3.0, 1.0]


def test_deadlines_count_from_arrival():
    both = request(Slo(ttft_s=5.0, tpot_s=0.1, e2e_s=30.0), arrival_s=2.0)
    assert fact(Fact.TTFT_DUE_S, both, now_s=3.0) == [4.0]
    assert fact(Fact.E2E_DUE_S, both, now_s=3.0) == [29.0]
    assert fact(Fact.TPOT_S, both, now_s=3.0) == [0.1]
    assert fact(Fact.TTFT_DUE_S, request(CODE)) == [np.inf]
    assert fact(Fact.E2E_DUE_S, request(CHAT)) == [np.inf]


def test_a_first_token_in_time_keeps_its_promise_and_a_late_one_breaks_it():
    runs = {"running": True, "generated": 3}
    early, late = request(CHAT, first_s=4.0, **runs), request(CHAT, first_s=6.0, **runs)
    assert fact(Fact.TTFT_DUE_S, early, late, now_s=7.0) == [np.inf, -np.inf]
    assert fact(Fact.FIRST_TOKEN_S, early, late, now_s=7.0) == [-3.0, -1.0]
    assert fact(Fact.GENERATED, early, late, now_s=7.0) == [3.0, 3.0]


def test_only_who_has_a_target_was_promised_something():
    targets = [Slo(), CODE, CHAT, Slo(tpot_s=0.1)]
    assert fact(Fact.PROMISED, *map(request, targets)) == [0.0, 1.0, 1.0, 1.0]


def test_who_runs_prefills_again_only_after_it_lost_its_slot():
    requests = (
        request(prompt=100, running=True, generated=20),
        request(prompt=100),
        request(prompt=100, preempted=True, generated=20),
    )
    built = problem(*requests, latency=PREFILLING)
    assert built.facts[:, Fact.START_S] == pytest.approx([0.0, 0.1, 0.12])
    assert built.facts[:, Fact.RESTART_S] == pytest.approx([0.12, 0.1, 0.12])
    assert built.context.tolist() == [120.0, 100.0, 120.0]


def test_a_prefill_pays_for_the_step_only_what_decoding_does_not():
    dear = StepLatency(prefill=(0.0, 0.02, 0.0, 0.08), decode=(0.0, 0.0, 0.0, 0.05))
    assert fact(Fact.START_S, request(), latency=dear) == pytest.approx([0.05])


def test_prefills_of_others_slow_the_tokens_down():
    requests = [request(tokens=100, prompt=200) for _ in range(8)]
    built = problem(*requests, slots=4, latency=PREFILLING)
    assert built.decode_s == pytest.approx(0.05)
    # In 100 tokens each of four slots prefills once, 0.2 s.
    assert built.token_s == pytest.approx(0.05 + 4 * 0.2 / 100, rel=0.01)


def test_tokens_take_as_long_as_so_many_at_once_make_them():
    alone, crowd = (
        problem(*[request(prompt=1)] * count, slots=8, latency=LIFELIKE) for count in (1, 20)
    )
    assert crowd.decode_s - alone.decode_s == pytest.approx(7e-3, rel=0.02)


def test_the_service_time_is_the_mean_time_of_a_slot():
    built = problem(request(tokens=100), request(tokens=300))
    assert built.service_s == pytest.approx(200 * 0.05, rel=0.01)


def test_nobody_is_a_problem_too():
    built = problem()
    assert len(built) == built.running == 0
    assert built.facts.shape == (0, len(Fact))
    assert built.service_s > 0.0
