"""The published annealer: objective, search, exhaustive reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.annealing.config import AnnealConfig
from scheduler.annealing.exhaustive import check_plan, exhaustive
from scheduler.annealing.objective import value
from scheduler.annealing.problem import BatchProblem
from scheduler.annealing.search import anneal
from scheduler.latency import StepLatency

LATENCY = StepLatency(prefill=(3e-4, 1e-3, 1e-5, 1e-2), decode=(1e-7, 1e-3, 1e-6, 3e-2))


def some_problem(seed, n, *, atoms=1, max_batch=3):
    rng = np.random.default_rng(seed)
    code = rng.random(n) < 0.5
    tokens = np.exp(rng.normal(5, 0.9, n)).clip(2, 1500)
    return BatchProblem.build(
        prompt_tokens=rng.integers(4, 800, n).astype(float),
        atoms=np.rint(tokens[:, None] * np.exp(rng.normal(0, 0.5, (n, atoms)))).clip(1),
        latency=LATENCY,
        max_batch=max_batch,
        waited_s=rng.uniform(0, 5, n),
        ttft_s=np.where(code, np.inf, rng.uniform(2, 20, n)),
        tpot_s=np.where(code, np.inf, rng.uniform(0.03, 0.06, n)),
        e2e_s=np.where(code, rng.uniform(5, 60, n), np.inf),
    )


def plain_value(problem, order, sizes):
    """G in plain Python, straight from the definition in section 3."""
    a1, a2, a3, a4, d1, d2, d3, d4 = problem.coefficients
    begin = kept = total = 0.0
    first = 0
    for b in sizes:
        batch = order[first : first + b]
        mean = np.mean([problem.prompt_tokens[i] for i in batch])
        prefill = a1 * b * mean + a2 * b + a3 * mean + a4
        longest = 0.0
        for i in batch:
            decodes = []
            for tokens in problem.atoms[i]:
                contexts = [problem.prompt_tokens[i] + k for k in range(int(tokens))]
                decodes.append(sum(d1 * b * c + d2 * b + d3 * c + d4 for c in contexts))
            ttft = problem.waited_s[i] + begin + prefill
            met = [
                ttft <= problem.ttft_s[i]
                and decode <= problem.tpot_s[i] * tokens
                and ttft + decode <= problem.e2e_s[i]
                for decode, tokens in zip(decodes, problem.atoms[i], strict=True)
            ]
            kept += np.mean(met)
            total += ttft + np.mean(decodes)
            longest = max(longest, np.mean(decodes))
        begin += prefill + longest
        first += b
    return kept / total


def random_plan(problem, rng):
    sizes, left = [], len(problem)
    while left:
        sizes.append(rng.integers(1, min(problem.max_batch, left) + 1))
        left -= sizes[-1]
    return rng.permutation(len(problem)), np.array(sizes)


@pytest.mark.parametrize("atoms", [1, 5])
@pytest.mark.parametrize("seed", range(12))
def test_the_compiled_objective_is_the_plain_one(seed, atoms):
    problem = some_problem(seed, 6, atoms=atoms)
    order, sizes = random_plan(problem, np.random.default_rng(seed))
    assert value(problem, order, sizes) == pytest.approx(plain_value(problem, order, sizes))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), max_batch=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_search_returns_a_plan_no_worse_than_its_best_start(seed, n, max_batch):
    problem = some_problem(seed, n, atoms=4, max_batch=max_batch)
    found = anneal(problem, AnnealConfig(restarts=1, time_box_s=np.inf))
    assert check_plan(problem, found.order, found.sizes)
    assert found.value >= found.seed_value
    assert found.value == pytest.approx(value(problem, found.order, found.sizes))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_a_search_bounded_by_evaluations_repeats_itself(seed):
    problem = some_problem(seed, 10)
    config = AnnealConfig(restarts=2, time_box_s=np.inf, seed=seed)
    first, second = anneal(problem, config), anneal(problem, config)
    assert first.order.tolist() == second.order.tolist()
    assert first.sizes.tolist() == second.sizes.tolist()


def test_a_point_forecast_is_a_distribution_of_equal_atoms():
    point = some_problem(3, 7, atoms=1)
    spread = BatchProblem.build(
        prompt_tokens=point.prompt_tokens,
        atoms=np.repeat(point.atoms, 8, axis=1),
        latency=LATENCY,
        max_batch=point.max_batch,
        waited_s=point.waited_s,
        ttft_s=point.ttft_s,
        tpot_s=point.tpot_s,
        e2e_s=point.e2e_s,
    )
    order, sizes = random_plan(point, np.random.default_rng(0))
    assert value(point, order, sizes) == pytest.approx(value(spread, order, sizes))


def test_the_search_finds_the_exhaustive_optimum():
    hits = 0
    for seed in range(40):
        problem = some_problem(seed, 2 + seed % 5, atoms=1 + 3 * (seed % 2))
        best = exhaustive(problem).value
        found = anneal(problem, AnnealConfig(restarts=6, time_box_s=np.inf)).value
        assert found <= best * (1 + 1e-9)
        hits += found >= best * (1 - 1e-9)
    assert hits >= 39


def test_the_exhaustive_search_tries_every_plan():
    problem = some_problem(0, 4, max_batch=4)
    found = exhaustive(problem)
    assert found.evaluations == 24 * 8
    assert check_plan(problem, found.order, found.sizes)
    assert exhaustive(some_problem(0, 4, max_batch=1)).evaluations == 24


def test_larger_instances_are_refused():
    with pytest.raises(ValueError, match="1 to 8"):
        exhaustive(some_problem(0, 9))


def test_an_empty_problem_is_refused():
    with pytest.raises(ValueError, match="no request"):
        anneal(some_problem(0, 0))


def test_the_published_early_exit_returns_the_shortest_first_order():
    problem = BatchProblem.build(
        prompt_tokens=np.full(4, 10.0),
        atoms=np.array([[40.0], [10.0], [30.0], [20.0]]),
        latency=LATENCY,
        max_batch=2,
        e2e_s=np.full(4, 1e6),
    )
    found = anneal(problem, AnnealConfig(early_exit=True))
    assert found.order.tolist() == [1, 3, 2, 0]
    assert found.evaluations == 2


def test_only_normalised_temperatures_mean_something():
    """With the raw G of 1e-2 every move is taken at any temperature; normalised, few at last."""

    def last_value(normalise, seed):
        config = AnnealConfig(
            normalise=normalise, restarts=1, time_box_s=np.inf, seed=seed, start_temperature=20.0
        )
        return anneal(some_problem(seed, 40), config).value / exhaustive_like(seed)

    def exhaustive_like(seed):
        config = AnnealConfig(restarts=30, time_box_s=np.inf)
        return anneal(some_problem(seed, 40), config).value

    raw = np.mean([last_value(False, seed) for seed in range(6)])
    ours = np.mean([last_value(True, seed) for seed in range(6)])
    assert ours > raw + 0.01


def test_the_time_box_is_kept():
    """No timing assert on the machine's mood: an expired box allows no move at all."""
    found = anneal(some_problem(1, 50), AnnealConfig(time_box_s=0.0))
    assert found.evaluations == 2
    assert found.value == found.seed_value


def test_batches_of_no_size_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        some_problem(0, 3, max_batch=0)
