import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from predictor.errors import InputError
from scheduler.latency import NAMES, Scenario, StepLatency, StepWork

TRUTH = StepLatency(
    whole=(4e-8, 2e-8, 1e-6, 2e-3, 2e-6, 3e-5, 2e-5, 0.03),
    decode=(0, 0, 0, 2e-3, 2e-6, 0, 0, 0.02),
)

coefficient = st.floats(0, 1e-2)
models = st.tuples(*[coefficient] * len(NAMES))
latencies = st.builds(
    StepLatency,
    whole=models,
    decode=st.none() | models,
    prefill=st.none() | models,
    mixed=st.none() | models,
)
counts = st.integers(0, 64)
tokens = st.integers(1, 4000)


@pytest.mark.parametrize("bad", [(1, 2, 3), (1,) * 7 + (-1e-9,), (1,) * 7 + (float("nan"),)])
def test_refuses_what_is_no_model(bad):
    for name in ("whole", "decode", "prefill", "mixed"):
        with pytest.raises(ValueError, match=f"{name} is"):
            replace(TRUTH, **{name: bad})


def test_formulas():
    assert TRUTH.decode_s(4, 500) == pytest.approx(2e-6 * 2000 + 8e-3 + 0.02)
    # Two chunks of 100 tokens over 50 each.
    expected = 4e-8 * 1e4 + 2e-8 * 2e4 + 1e-6 * 100 + 3e-5 * 200 + 2e-5 * 100 + 0.03
    assert TRUTH.prefill_s(2, 100, 50) == pytest.approx(expected)
    assert TRUTH.step_s(2, 200, 4, 2000, 50) == pytest.approx(expected + 2e-6 * 2000 + 8e-3)


def test_each_kind_of_step_asks_its_expert():
    kinds = {"decode": 2.0, "prefill": 3.0, "mixed": 4.0}
    experts = StepLatency(
        whole=(0,) * 7 + (1.0,), **{name: (0,) * 7 + (s,) for name, s in kinds.items()}
    )
    assert experts.step_s(0, 0, 1, 9) == 2.0
    assert experts.step_s(1, 9, 0, 0) == 3.0
    assert experts.step_s(1, 9, 1, 9) == 4.0
    for name in kinds:
        alone = replace(experts, **{name: None})
        assert alone.of(Scenario[name.upper()]) == experts.whole


@given(latencies, tokens)
def test_no_sequences_cost_no_time(latency, length):
    assert latency.prefill_s(0, length) == latency.decode_s(0, length) == 0
    assert latency.step_s(0, 0, 0, 0) == latency.seconds(StepWork()) == 0


@given(models, counts, tokens, counts, tokens, counts)
def test_one_model_for_all_pays_the_constant_once(whole, prefills, length, decodes, context, u):
    latency = StepLatency(whole)
    mixed = latency.step_s(prefills, prefills * length, decodes, decodes * context, u)
    prefill = latency.prefill_s(prefills, length, u)
    decode = latency.decode_s(decodes, context)
    shared = whole[-1] if prefills and decodes else 0
    assert mixed == pytest.approx(prefill + decode - shared)
    assert mixed >= max(prefill, decode) - 1e-9


@settings(deadline=None)
@given(latencies, counts, tokens, counts, tokens, counts)
def test_questions_and_works_agree(latency, prefills, length, decodes, context, cached):
    question = (prefills, prefills * length, decodes, decodes * context)
    work = StepWork.alike(
        prefills=prefills,
        prefill_tokens=prefills * length,
        decodes=decodes,
        context_tokens=decodes * context,
        cached=cached,
    )
    assert latency.step_s(*question, cached) == pytest.approx(latency.seconds(work))
    assert latency.seconds_of(np.array([work, work])) == pytest.approx([latency.seconds(work)] * 2)


@given(models, st.lists(st.tuples(tokens, tokens), min_size=1, max_size=5))
def test_the_published_features_span_the_same_models(model, chunks):
    """With x1 = sum c(u + c) and x3 = sum u the same step has the same time."""
    latency, decodes, context = StepLatency(model), 3, 700
    products, squares, cached, decode, decode_token, token, longest, constant = model
    c, u = np.array(chunks, dtype=float).T
    published = (
        products * (c * (u + c)).sum()
        + (squares - products) * (c**2).sum()
        + cached * (u.sum() + context)
        + decode * decodes
        + (decode_token - cached) * context
        + token * c.sum()
        + longest * c.max()
        + constant
    )
    work = StepWork((c * u).sum(), (c**2).sum(), u.sum(), decodes, context, c.sum(), float(c.max()))
    assert latency.seconds(work) == pytest.approx(published)


@given(latencies, st.integers(1, 64), tokens, st.integers(0, 50))
def test_closed_form_is_the_sum_of_the_steps(latency, count, context, steps):
    total = sum(latency.decode_s(count, context + k) for k in range(steps))
    assert latency.decode_total_s(count, context, steps) == pytest.approx(total)


def test_arrays_and_numbers_agree():
    steps = np.array([(0, 0, 3, 900), (2, 64, 0, 0), (1, 30, 5, 70), (0, 0, 0, 0)])
    one_by_one = [TRUTH.step_s(*(float(x) for x in step)) for step in steps]
    assert_allclose(TRUTH.step_s(*steps.T), one_by_one)
    assert TRUTH.decode_total_s(np.ones(3), 10, np.array([1, 2, 3])).shape == (3,)


@settings(deadline=None)
@given(latencies, st.floats(0, 5), counts, tokens, st.integers(0, 9000), counts)
def test_the_largest_prefill_fits_and_one_token_more_does_not(
    latency, bound_s, decodes, context, at_most, cached
):
    batch = {"decodes": decodes, "context_tokens": decodes * context}
    most = latency.largest_prefill(bound_s, **batch, at_most=at_most, cached=cached)
    assert 0 <= most <= at_most
    if most > 0:
        assert latency.step_s(1, most, *batch.values(), cached) <= bound_s + 1e-12
    if most < at_most:
        assert latency.step_s(1, most + 1, *batch.values(), cached) > bound_s - 1e-12


def test_the_largest_prefill_by_hand():
    # 0.03 + 5e-5 a token; two decodes over 200 tokens each add 4.8e-3.
    latency = replace(TRUTH, whole=(0, 0, 0, *TRUTH.whole[3:]))
    assert latency.largest_prefill(0.04012, decodes=0, context_tokens=0, at_most=900) == 202
    assert latency.largest_prefill(0.04012, decodes=2, context_tokens=400, at_most=900) == 106
    assert latency.largest_prefill(0.04012, decodes=0, context_tokens=0, at_most=100) == 100
    assert latency.largest_prefill(np.inf, decodes=2, context_tokens=400, at_most=900) == 900
    for bound_s in (0.03, 0.0, -1.0, -np.inf):
        assert latency.largest_prefill(bound_s, decodes=0, context_tokens=0, at_most=900) == 0
    assert latency.largest_prefill(1.0, decodes=0, context_tokens=0, at_most=0) == 0


def test_a_model_by_hand():
    hand = StepLatency.linear(
        step_s=0.02, decode_s=1e-3, prompt_token_s=1e-4, prefill_step_s=0.01, squared_token_s=1e-7
    )
    assert hand.decode_s(2, 500) == pytest.approx(0.022)
    assert hand.prefill_s(1, 100, 50) == pytest.approx(0.02 + 1e-7 * (1e4 + 2 * 100 * 50))
    assert hand.step_s(1, 100, 2, 1000) == pytest.approx(0.02 + 2e-3 + 0.01 + 1e-3)


@given(latencies)
def test_json_round_trip(latency):
    assert StepLatency.from_dict(json.loads(json.dumps(latency.to_dict()))) == latency


def test_a_model_of_the_former_form_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="record it again with `slotwise profile`"):
        StepLatency.from_dict({"prefill": [1e-3, 0, 0, 0.03], "decode": [0, 1e-3, 0, 0.03]})
