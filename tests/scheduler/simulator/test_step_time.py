import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.latency import StepLatency, StepWork
from scheduler.simulator.step_time import Attention, StepTime, no_attention

NOWHERE = np.array([np.inf])
AXES = (
    np.array([0.0, 32.0, 256.0]),
    np.array([0.0, 64.0, 512.0]),
    np.array([0.0, 1.0, 8.0]),
    np.array([16.0, 128.0, 1024.0]),
)

coefficients = st.tuples(*[st.floats(0, 1e-2)] * 8)
prompts = st.lists(st.integers(2, 3000), max_size=6)
contexts = st.lists(st.integers(0, 5000), max_size=6)


def linear_on_each_axis(chunk, cached, decodes, context):
    return (
        (1e-3 + 2e-6 * chunk) * (1.0 + 1e-3 * cached) * (1.0 + 0.1 * decodes) * (1 + 1e-3 * context)
    )


def attention_of(alpha=0.0):
    grid = linear_on_each_axis(*np.meshgrid(*AXES, indexing="ij"))
    bounds = (NOWHERE,) * 5
    return Attention(grid, *AXES, np.full((1, 1, 1, 1, 1), alpha), *bounds)


def only_attention(alpha=0.0):
    return StepTime(np.zeros((3, 8)), np.zeros(2), np.zeros(2), attention_of(alpha))


def batch(prefills=(), decodes=()):
    """``prefills`` as (tokens, cached before), ``decodes`` as cached tokens."""
    chunks = [tokens for tokens, _ in prefills] + [1] * len(decodes)
    cached = [before for _, before in prefills] + list(decodes)
    return np.array(chunks, dtype=np.int64), np.array(cached, dtype=np.int64)


@settings(deadline=None)
@given(coefficients, coefficients, coefficients, prompts, contexts, st.integers(0, 900))
def test_a_linear_step_costs_what_the_latency_model_says(
    whole, prefill, decode, prompts, contexts, cached
):
    latency = StepLatency(whole=whole, prefill=prefill, decode=decode)
    step = StepTime.of_latency(latency).seconds(*batch([(p, cached) for p in prompts], contexts))
    work = StepWork(
        products=cached * sum(prompts),
        squares=sum(prompt**2 for prompt in prompts),
        prefill_cached=cached * len(prompts),
        decodes=len(contexts),
        decode_cached=sum(contexts),
        prefill_tokens=sum(prompts),
        longest=max(prompts, default=0),
    )
    assert step == pytest.approx(latency.seconds(work), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(coefficients, coefficients, st.integers(0, 5), st.integers(2, 500), st.integers(0, 9))
def test_totals_cost_what_the_equal_batch_costs(prefill, decode, prefills, prompt, decodes):
    model = StepTime.of_latency(StepLatency(whole=prefill, prefill=prefill, decode=decode))
    step = model.seconds(*batch([(prompt, 30)] * prefills, [70] * decodes))
    assert model.seconds_of(prefills, prefills * prompt, decodes, 70, 30) == pytest.approx(step)


def test_an_empty_step_costs_nothing():
    latency = StepLatency.linear(step_s=1.0, decode_s=1.0, context_token_s=1.0, prompt_token_s=1.0)
    assert StepTime.of_latency(latency).seconds(*batch()) == 0.0


@pytest.mark.parametrize(
    ("prefills", "squared_tokens"),
    [([(10, 0)], 100), ([(10, 7)], 240), ([(10, 0), (20, 5)], 700)],
)
def test_the_squared_term_counts_chunks_and_what_is_cached_before(prefills, squared_tokens):
    model = StepTime.of_latency(StepLatency.linear(step_s=0.0, squared_token_s=1e-6))
    assert model.seconds(*batch(prefills)) == pytest.approx(1e-6 * squared_tokens)


def test_chunks_of_one_prompt_square_to_the_whole_prompt():
    model = StepTime.of_latency(StepLatency.linear(step_s=0.0, squared_token_s=1e-6))
    parts = [(100, 0), (50, 100), (150, 150)]
    assert sum(model.seconds(*batch([part])) for part in parts) == pytest.approx(
        model.seconds(*batch([(300, 0)]))
    )


def test_tables_are_read_at_whole_numbers_and_go_on_as_they_ended():
    model = StepTime(
        np.zeros((3, 8)), np.array([0.0, 1.0, 3.0]), np.array([0.0, 10.0]), no_attention()
    )
    assert model.seconds(*batch(decodes=[5])) == 11.0
    assert model.seconds(*batch(decodes=[5, 6])) == 3.0 + 20.0
    assert model.seconds(*batch([(4, 0)])) == 3.0 + 2 * 2.0 + 10.0


@settings(deadline=None)
@given(st.integers(2, 900), st.integers(0, 2000), st.integers(1, 20), st.integers(0, 4000))
def test_attention_repeats_a_linear_function_in_and_beyond_the_grid(chunk, cached, n, context):
    step = only_attention().seconds(*batch([(chunk, cached)], [context] * n))
    assert step == pytest.approx(linear_on_each_axis(chunk, cached, n, context), rel=1e-9)


def test_attention_without_prefill_or_decodes_lies_on_the_edges_of_the_grid():
    model = only_attention()
    decodes = model.seconds(*batch(decodes=[300] * 3))
    assert decodes == pytest.approx(linear_on_each_axis(0, 0, 3, 300))
    prefill = model.seconds(*batch([(100, 40)]))
    assert prefill == pytest.approx(linear_on_each_axis(100, 40, 0, 0))


def test_several_prefills_count_as_one_of_the_same_work():
    model = only_attention()
    one = model.seconds(*batch([(60, 100)]))
    work = 20 * 110 + 40 * 95 + 1000
    cached = work / 60 - 30
    assert model.seconds(*batch([(20, 110), (40, 95)])) == pytest.approx(
        linear_on_each_axis(60, cached, 0, 0)
    )
    assert cached < 100
    assert model.seconds(*batch([(20, 110), (40, 95)])) < one
    both_new = model.seconds(*batch([(50, 0), (50, 0)]))
    assert both_new == pytest.approx(linear_on_each_axis(50 * np.sqrt(2), 0, 0, 0))


@settings(deadline=None)
@given(st.floats(0.0, 1.0), st.lists(st.integers(0, 3000), min_size=2, max_size=8))
def test_skew_lies_between_mean_and_longest_by_alpha(alpha, contexts):
    mean = linear_on_each_axis(0, 0, len(contexts), np.mean(contexts))
    longest = linear_on_each_axis(0, 0, len(contexts), max(contexts))
    step = only_attention(alpha).seconds(*batch(decodes=contexts))
    assert step == pytest.approx(mean + alpha * (longest - mean), rel=1e-9)


def test_at_alpha_zero_unequal_decodes_cost_what_equal_ones_do():
    model = only_attention(alpha=0.0)
    equal = model.seconds(*batch(decodes=[500, 500, 500]))
    assert model.seconds(*batch(decodes=[100, 500, 900])) == pytest.approx(equal)
    assert only_attention(alpha=0.5).seconds(*batch(decodes=[100, 500, 900])) > 1.01 * equal


def test_skew_is_looked_up_in_the_bucket_of_the_batch():
    skew = np.zeros((1, 2, 1, 2, 1))
    skew[0, 1, 0, 1, 0] = 1.0
    counts, longest = np.array([2.0, np.inf]), np.array([512.0, np.inf])
    attention = attention_of()._replace(skew=skew, skew_decodes=counts, skew_longest=longest)
    model = StepTime(np.zeros((3, 8)), np.zeros(2), np.zeros(2), attention)

    def skewed(contexts):
        mean = linear_on_each_axis(0, 0, len(contexts), np.mean(contexts))
        return model.seconds(*batch(decodes=contexts)) > 1.001 * mean

    assert skewed([100, 100, 513])
    assert not skewed([100, 100, 512])
    assert not skewed([100, 900])
