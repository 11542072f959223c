import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from scheduler.latency import FitConfig, LatencyFitter, StepLatency

TRUTH = StepLatency(prefill=(3e-5, 1e-3, 2e-5, 0.03), decode=(2e-6, 2e-3, 1e-5, 0.02))
TWICE = StepLatency(prefill=(6e-5, 2e-3, 4e-5, 0.06), decode=(4e-6, 4e-3, 2e-5, 0.04))

coefficient = st.floats(0, 1e-2)
latencies = st.builds(
    StepLatency, prefill=st.tuples(*[coefficient] * 4), decode=st.tuples(*[coefficient] * 4)
)
counts = st.integers(0, 64)
tokens = st.integers(1, 4000)


def drive(fitter, truth, steps, *, seed=0, noise=0.0, stalls=0.0, prefill_share=0.2, every=50):
    rng = np.random.default_rng(seed)
    for step in range(steps):
        prefills = int(rng.integers(1, 4)) if rng.random() < prefill_share else 0
        decodes = int(rng.integers(0 if prefills else 1, 17))
        observation = {
            "prefills": prefills,
            "prefill_tokens": prefills * int(rng.integers(10, 800)),
            "decodes": decodes,
            "context_tokens": decodes * int(rng.integers(20, 1500)),
        }
        seconds = truth.step_s(**observation) * np.exp(noise * rng.normal())
        if rng.random() < stalls:
            seconds += 0.25
        fitter.observe(**observation, step_s=float(seconds))
        if step % every == every - 1:
            fitter.fit()
    return fitter.fit()


def assert_close(fit, truth, share):
    count, length = np.meshgrid([1.0, 4.0, 16.0], [50.0, 500.0, 1500.0])
    assert_allclose(fit.decode_s(count, length), truth.decode_s(count, length), rtol=share)
    count, length = np.meshgrid([1.0, 3.0], [50.0, 300.0, 800.0])
    assert_allclose(fit.prefill_s(count, length), truth.prefill_s(count, length), rtol=share)


class TestStepLatency:
    @pytest.mark.parametrize("bad", [(1, 2, 3), (1, 2, 3, -1e-9), (1, 2, 3, float("nan"))])
    def test_refuses_what_is_no_model(self, bad):
        with pytest.raises(ValueError, match="decode is"):
            StepLatency(prefill=(0, 0, 0, 0), decode=bad)

    def test_formulas(self):
        assert TRUTH.prefill_s(2, 100) == pytest.approx(3e-5 * 200 + 2e-3 + 2e-3 + 0.03)
        assert TRUTH.decode_s(4, 500) == pytest.approx(2e-6 * 2000 + 8e-3 + 5e-3 + 0.02)

    @given(latencies, tokens)
    def test_no_sequences_cost_no_time(self, latency, length):
        assert latency.prefill_s(0, length) == latency.decode_s(0, length) == 0
        assert latency.step_s(0, 0, 0, 0) == 0

    @given(latencies, counts, tokens, counts, tokens)
    def test_mixed_step_pays_the_constant_once(self, latency, prefills, length, decodes, context):
        mixed = latency.step_s(prefills, prefills * length, decodes, decodes * context)
        prefill = latency.prefill_s(prefills, length)
        decode = latency.decode_s(decodes, context)
        shared = min(latency.prefill[3], latency.decode[3]) if prefills and decodes else 0
        assert mixed == pytest.approx(prefill + decode - shared)
        assert mixed >= max(prefill, decode) - 1e-9

    @given(latencies, st.integers(1, 64), tokens, st.integers(0, 50))
    def test_closed_form_is_the_sum_of_the_steps(self, latency, count, context, steps):
        total = sum(latency.decode_s(count, context + k) for k in range(steps))
        assert latency.decode_total_s(count, context, steps) == pytest.approx(total)

    def test_arrays_and_numbers_agree(self):
        steps = np.array([(0, 0, 3, 900), (2, 64, 0, 0), (1, 30, 5, 70), (0, 0, 0, 0)])
        one_by_one = [TRUTH.step_s(*(float(x) for x in step)) for step in steps]
        assert_allclose(TRUTH.step_s(*steps.T), one_by_one)
        assert TRUTH.decode_total_s(np.ones(3), 10, np.array([1, 2, 3])).shape == (3,)

    @given(latencies, st.floats(0, 5), st.integers(0, 64), tokens, st.integers(0, 9000))
    def test_the_largest_prefill_fits_and_one_token_more_does_not(
        self, latency, bound_s, decodes, context, at_most
    ):
        batch = {"decodes": decodes, "context_tokens": decodes * context}
        most = latency.largest_prefill(bound_s, **batch, at_most=at_most)
        assert 0 <= most <= at_most
        if most > 0:
            assert latency.step_s(1, most, *batch.values()) <= bound_s
        if most < at_most:
            assert latency.step_s(1, most + 1, *batch.values()) > bound_s

    def test_the_largest_prefill_by_hand(self):
        # 0.03 + 1e-3 + 5e-5 a token; two decodes over 200 tokens each add 6.8e-3.
        assert TRUTH.largest_prefill(0.0411, decodes=0, context_tokens=0, at_most=900) == 202
        assert TRUTH.largest_prefill(0.0411, decodes=2, context_tokens=400, at_most=900) == 66
        assert TRUTH.largest_prefill(0.0411, decodes=0, context_tokens=0, at_most=100) == 100
        assert TRUTH.largest_prefill(np.inf, decodes=2, context_tokens=400, at_most=900) == 900
        for bound_s in (0.031, 0.0, -1.0, -np.inf):
            assert TRUTH.largest_prefill(bound_s, decodes=0, context_tokens=0, at_most=900) == 0
        assert TRUTH.largest_prefill(1.0, decodes=0, context_tokens=0, at_most=0) == 0

    @given(latencies)
    def test_json_round_trip(self, latency):
        assert StepLatency.from_dict(json.loads(json.dumps(latency.to_dict()))) == latency


class TestFit:
    @pytest.mark.parametrize("steps", [60, 1000])
    def test_recovers_the_truth_without_noise(self, steps):
        fit = drive(LatencyFitter(), TRUTH, steps)
        assert_allclose(fit.decode, TRUTH.decode, rtol=0.02)
        assert_allclose(fit.prefill, TRUTH.prefill, rtol=0.02)

    def test_recovers_the_truth_from_noisy_steps(self):
        assert_close(drive(LatencyFitter(), TRUTH, 4000, noise=0.02), TRUTH, 0.02)

    @pytest.mark.parametrize(("steps", "share"), [(60, 0.05), (3000, 0.03)])
    def test_stalls_do_not_bend_it(self, steps, share):
        fit = drive(LatencyFitter(), TRUTH, steps, stalls=0.03, seed=1)
        assert_close(fit, TRUTH, share)

    def test_one_stall_moves_nothing(self):
        fitter = LatencyFitter()
        before = drive(fitter, TRUTH, 500, noise=0.02)
        fitter.observe(prefills=0, prefill_tokens=0, decodes=8, context_tokens=800, step_s=0.3)
        assert_close(fitter.fit(), before, 0.005)

    @pytest.mark.parametrize(
        "factor", [TWICE, StepLatency((1e-5, 5e-4, 1e-5, 0.015), (0, 0, 0, 0.01))]
    )
    def test_follows_a_changed_machine(self, factor):
        fitter = LatencyFitter()
        drive(fitter, TRUTH, 2000, noise=0.02)
        assert_close(drive(fitter, factor, 1000, noise=0.02, seed=1), factor, 0.05)

    def test_nothing_before_enough_distinct_decode_steps(self):
        fitter = LatencyFitter(config=FitConfig(min_steps=4))
        for context in (100, 100, 200, 200, 300, 100):
            fitter.observe(
                prefills=0, prefill_tokens=0, decodes=1, context_tokens=context, step_s=0.02
            )
            fitter.observe(prefills=1, prefill_tokens=9, decodes=0, context_tokens=0, step_s=0.03)
            assert fitter.fit() is None
        fitter.observe(prefills=0, prefill_tokens=0, decodes=1, context_tokens=400, step_s=0.02)
        assert fitter.fit() is not None

    def test_alike_batches_are_fitted_where_they_are(self):
        fitter = LatencyFitter()
        for step in range(300):
            fitter.observe(
                prefills=0, prefill_tokens=0, decodes=8, context_tokens=800 + 8 * step, step_s=0.05
            )
            if step % 20 == 19:
                fitter.fit()
        assert fitter.fit().decode_s(8, 200) == pytest.approx(0.05, rel=0.01)

    def test_alike_batches_do_not_undo_an_earlier_fit(self):
        fitter = LatencyFitter()
        drive(fitter, TRUTH, 1000)
        for step in range(5000):
            seconds = TRUTH.step_s(0, 0, 8, 4000)
            fitter.observe(
                prefills=0, prefill_tokens=0, decodes=8, context_tokens=4000, step_s=seconds
            )
            if step % 100 == 99:
                fitter.fit()
        assert_close(fitter.fit(), TRUTH, 0.02)

    def test_unseen_prefill_costs_what_decoded_tokens_do(self):
        fit = drive(LatencyFitter(), TRUTH, 200, prefill_share=0)
        assert fit.prefill == pytest.approx((fit.decode[1], 0, 0, fit.decode[3]), rel=1e-3)

    @given(st.lists(st.tuples(counts, tokens, counts, tokens, st.floats(1e-4, 10)), max_size=100))
    def test_any_steps_give_a_model_or_none(self, steps):
        fitter = LatencyFitter()
        for prefills, length, decodes, context, seconds in steps:
            fitter.observe(
                prefills=prefills,
                prefill_tokens=prefills * length,
                decodes=decodes,
                context_tokens=decodes * context,
                step_s=seconds,
            )
            fit = fitter.fit()
            assert fit is None or fit.prefill[3] >= fit.decode[3]

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
    def test_impossible_times_are_left_out(self, seconds):
        fitter = LatencyFitter()
        fitter.observe(prefills=0, prefill_tokens=0, decodes=1, context_tokens=9, step_s=seconds)
        fitter.observe(prefills=0, prefill_tokens=0, decodes=0, context_tokens=0, step_s=0.1)
        assert fitter.to_dict() == LatencyFitter().to_dict()

    @pytest.mark.parametrize("steps", [0, 30, 500])
    def test_json_round_trip_goes_on_alike(self, steps):
        fitter = LatencyFitter()
        drive(fitter, TRUTH, steps, noise=0.02)
        other = LatencyFitter.from_dict(json.loads(json.dumps(fitter.to_dict())))
        assert drive(other, TWICE, 200, seed=3) == drive(fitter, TWICE, 200, seed=3)

    def test_a_former_fit_is_refined(self):
        assert_close(drive(LatencyFitter(latest=TRUTH), TWICE, 1000), TWICE, 0.02)
