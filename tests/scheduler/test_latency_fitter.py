import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from scheduler.latency import StepLatency, StepWork
from scheduler.latency_fitter import FitConfig, LatencyFitter

TRUTH = StepLatency(whole=(4e-8, 2e-8, 1e-6, 2e-3, 2e-6, 3e-5, 2e-5, 0.03))
# A prefill makes a step longer by more than its tokens say.
KINDS = StepLatency(
    whole=(4e-8, 2e-8, 1e-6, 2e-3, 2e-6, 5e-5, 2e-5, 0.05),
    decode=(0, 0, 0, 2e-3, 2e-6, 0, 0, 0.02),
)


def times(latency, factor):
    models = (latency.whole, latency.decode, latency.prefill, latency.mixed)
    return StepLatency(*(None if m is None else tuple(factor * c for c in m) for m in models))


TWICE = times(TRUTH, 2.0)

counts = st.integers(0, 64)
tokens = st.integers(1, 4000)


def random_work(rng, prefill_share):
    chunks = rng.integers(2, 800, int(rng.integers(1, 4)) if rng.random() < prefill_share else 0)
    cached = rng.integers(0, 1500, len(chunks))
    decodes = int(rng.integers(0 if len(chunks) else 1, 17))
    return StepWork(
        products=float(chunks @ cached),
        squares=float(chunks @ chunks),
        prefill_cached=float(cached.sum()),
        decodes=decodes,
        decode_cached=decodes * float(rng.integers(20, 1500)),
        prefill_tokens=float(chunks.sum()),
        longest=float(chunks.max(initial=0)),
    )


def drive(fitter, truth, steps, *, seed=0, noise=0.0, stalls=0.0, prefill_share=0.2, every=50):
    rng = np.random.default_rng(seed)
    for step in range(steps):
        work = random_work(rng, prefill_share)
        seconds = truth.seconds(work) * np.exp(noise * rng.normal())
        if rng.random() < stalls:
            seconds += 0.3
        fitter.observe(work, float(seconds))
        if step % every == every - 1:
            fitter.fit()
    return fitter.fit()


def assert_close(fit, truth, share, *, prefills=True):
    count, length = np.meshgrid([1.0, 4.0, 16.0], [50.0, 500.0, 1500.0])
    assert_allclose(fit.decode_s(count, length), truth.decode_s(count, length), rtol=share)
    if prefills:
        count, length = np.meshgrid([1.0, 3.0], [50.0, 300.0, 800.0])
        for cached in (0.0, 1000.0):
            step = (count, count * length, 8.0, 8 * 500.0, cached)
            assert_allclose(fit.step_s(*step), truth.step_s(*step), rtol=share)


@pytest.mark.parametrize("steps", [60, 1000])
@pytest.mark.parametrize("truth", [TRUTH, StepLatency(whole=(0, 0, 0, 1e-3, 0, 5e-4, 0, 0.03))])
def test_recovers_the_truth_without_noise(steps, truth):
    assert_close(drive(LatencyFitter(), truth, steps), truth, 0.01)


@pytest.mark.parametrize("truth", [TRUTH, KINDS])
def test_recovers_the_truth_from_noisy_steps(truth):
    assert_close(drive(LatencyFitter(), truth, 4000, noise=0.02), truth, 0.02)


@pytest.mark.parametrize(("steps", "share"), [(60, 0.1), (3000, 0.03)])
def test_stalls_do_not_bend_it(steps, share):
    fit = drive(LatencyFitter(), TRUTH, steps, stalls=0.03, seed=1)
    assert_close(fit, TRUTH, share)


def test_one_stall_moves_nothing():
    fitter = LatencyFitter()
    before = drive(fitter, TRUTH, 500, noise=0.02)
    fitter.observe(StepWork(decodes=8, decode_cached=800), 0.3)
    assert_close(fitter.fit(), before, 0.005)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_follows_a_changed_machine(factor):
    fitter = LatencyFitter()
    drive(fitter, TRUTH, 2000, noise=0.02)
    changed = times(TRUTH, factor)
    assert_close(drive(fitter, changed, 1000, noise=0.02, seed=1), changed, 0.05)


def test_a_scenario_has_an_expert_once_it_has_shown_enough_steps():
    fitter = LatencyFitter(config=FitConfig(expert_steps=40))
    fit = drive(fitter, KINDS, 60, prefill_share=0.3)
    assert fit.decode is not None
    assert fit.prefill is None
    assert fit.mixed is None
    fit = drive(fitter, KINDS, 1000, prefill_share=0.3, seed=1)
    assert fit.mixed is not None
    work = StepWork(prefill_tokens=300, squares=9e4, longest=300, decodes=8, decode_cached=4e3)
    one_for_all = LatencyFitter(config=FitConfig(expert_steps=10**9))
    whole = drive(one_for_all, KINDS, 1000, prefill_share=0.3)
    truth = KINDS.seconds(work)
    assert abs(fit.seconds(work) - truth) < 0.2 * abs(whole.seconds(work) - truth)


def test_nothing_before_enough_distinct_decode_steps():
    fitter = LatencyFitter(config=FitConfig(min_steps=4))
    prefill = StepWork(prefill_tokens=9, squares=81, longest=9)
    for context in (100, 100, 200, 200, 300, 100):
        fitter.observe(StepWork(decodes=1, decode_cached=context), 0.02)
        fitter.observe(prefill, 0.03)
        assert fitter.fit() is None
    fitter.observe(StepWork(decodes=1, decode_cached=400), 0.02)
    assert fitter.fit() is not None


def test_alike_batches_are_fitted_where_they_are():
    fitter = LatencyFitter()
    for step in range(300):
        fitter.observe(StepWork(decodes=8, decode_cached=800 + 8 * step), 0.05)
        if step % 20 == 19:
            fitter.fit()
    assert fitter.fit().decode_s(8, 200) == pytest.approx(0.05, rel=0.01)


def test_alike_batches_do_not_undo_an_earlier_fit():
    fitter = LatencyFitter()
    drive(fitter, TRUTH, 1000)
    work = StepWork(decodes=8, decode_cached=4000)
    for step in range(5000):
        fitter.observe(work, TRUTH.seconds(work))
        if step % 100 == 99:
            fitter.fit()
    assert_close(fitter.fit(), TRUTH, 0.02)


def test_unseen_prefill_costs_what_decoded_tokens_do():
    fit = drive(LatencyFitter(), TRUTH, 200, prefill_share=0)
    per_token = fit.prefill_s(1, 101) - fit.prefill_s(1, 100)
    assert per_token == pytest.approx(fit.decode_s(2, 0) - fit.decode_s(1, 0), rel=1e-3)


@settings(deadline=None)
@given(st.lists(st.tuples(counts, tokens, counts, tokens, st.floats(1e-4, 10)), max_size=100))
def test_any_steps_give_a_model_or_none(steps):
    fitter = LatencyFitter()
    for prefills, length, decodes, context, seconds in steps:
        work = StepWork.alike(
            prefills=prefills,
            prefill_tokens=prefills * length,
            decodes=decodes,
            context_tokens=decodes * context,
        )
        fitter.observe(work, seconds)
        fitter.fit()  # its model would refuse what is not finite and >= 0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_times_are_left_out(seconds):
    fitter = LatencyFitter()
    fitter.observe(StepWork(decodes=1, decode_cached=9), seconds)
    fitter.observe_all(np.array([[*StepWork(decodes=1, decode_cached=9), seconds]]))
    fitter.observe(StepWork(), 0.1)
    assert fitter.to_dict() == LatencyFitter().to_dict()


@pytest.mark.parametrize("steps", [0, 30, 500])
def test_json_round_trip_goes_on_alike(steps):
    fitter = LatencyFitter()
    drive(fitter, TRUTH, steps, noise=0.02)
    other = LatencyFitter.from_dict(json.loads(json.dumps(fitter.to_dict())))
    assert drive(other, TWICE, 200, seed=3) == drive(fitter, TWICE, 200, seed=3)


def test_a_former_fit_is_refined():
    assert_close(drive(LatencyFitter(latest=TRUTH), TWICE, 1000), TWICE, 0.02)
