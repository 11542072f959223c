"""The published workloads have the published lengths, mixes and promises."""

import numpy as np
import pytest
from rich.console import Console

from predictor.errors import InputError
from scheduler.simulator.profiles import load_profile
from serving.simulate.config import SimConfig
from serving.simulate.published import kinds, poisson, published_names, published_rows
from serving.simulate.workload import SimWorkload

PROFILE = "l40s-llama-3.1-8b"
MANY = 60_000


def rows_of(name, *, count=MANY, seed=0):
    return published_rows(name, arrivals_s=np.arange(float(count)), seed=seed)


@pytest.mark.parametrize("name", ["sharegpt", "arxiv-v1", "arxiv-v2"])
def test_lengths_have_the_published_mean_and_tail(name):
    (kind,) = kinds(name).values()
    rows = rows_of(name)
    for shape, tokens in (
        (kind.prompt, [row.prompt_tokens for row in rows]),
        (kind.answer, [row.output_tokens for row in rows]),
    ):
        assert np.mean(tokens) == pytest.approx(shape.mean, rel=0.03)
        assert np.percentile(tokens, 90) == pytest.approx(shape.p90, rel=0.03)


@pytest.mark.parametrize(("name", "share"), [("mixed-v1", 3 / 4), ("mixed-v2", 5 / 6)])
def test_mixes_hold_so_many_chats(name, share):
    chats = [row.slo_class == "chat" for row in rows_of(name)]
    assert np.mean(chats) == pytest.approx(share, abs=0.01)


def test_each_seed_is_another_draw_and_the_same_one_again():
    assert rows_of("mixed-v1", count=50) == rows_of("mixed-v1", count=50)
    assert rows_of("mixed-v1", count=50) != rows_of("mixed-v1", count=50, seed=1)


def test_arrivals_come_at_the_rate_and_in_order():
    arrivals_s = poisson(4.0, MANY, 0)
    assert (np.diff(arrivals_s) > 0).all()
    assert arrivals_s[-1] == pytest.approx(MANY / 4.0, rel=0.02)


def workload(name="mixed-v1", **changes):
    config = SimConfig(
        policies=("fcfs",), instances=(PROFILE,), workload=name, num_requests=40, **changes
    )
    return SimWorkload(config, Console(quiet=True))


def test_first_tokens_are_promised_by_what_they_take_alone():
    engine = load_profile(PROFILE)
    for request in workload().requests(0, oracle=False):
        slowdown, tpot_s = (5.0, 0.04) if request.slo_class == "chat" else (10.0, 0.08)
        assert request.slo.ttft_s == slowdown * engine.alone_s(request.prompt_tokens)
        assert (request.slo.tpot_s, request.slo.e2e_s) == (tpot_s, None)


def test_a_long_prompt_takes_its_chunks_one_after_the_other():
    engine = load_profile(PROFILE)
    limit = engine.limits.max_batched_tokens
    whole, rest = engine.alone_s(limit), engine.alone_s(limit + 200) - engine.alone_s(limit)
    assert rest > engine.alone_s(200)  # over what is cached already
    assert engine.alone_s(2 * limit) > 2 * whole
    assert engine.alone_s(1) < engine.alone_s(500) < whole


def test_they_are_told_what_the_class_showed_and_no_other_promises(tmp_path):
    assert SimConfig(
        policies=("fcfs",), instances=(PROFILE,), workload="arxiv-v1"
    ).forecast_kind == ("history")
    with pytest.raises(InputError, match="promises of its own"):
        workload(slo_config=tmp_path / "slo.yaml")
    with pytest.raises(InputError, match="needs prompts"):
        workload(forecast="predicted")


def test_all_five_can_be_named():
    assert published_names() == ("sharegpt", "arxiv-v1", "arxiv-v2", "mixed-v1", "mixed-v2")
