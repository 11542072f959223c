"""Engine profiles from an estimator: a made-up one, and the package where it is installed."""

import numpy as np
import pytest

from predictor.errors import InputError
from scheduler.simulator import aiconfigurator
from scheduler.simulator.profiles import load_profile


def made_up(prompt, decodes, context):
    """0.01 ms a token, 0.02 ms a decode's head, quadratic prompt and linear decode attention."""
    dense = 5.0 + 0.01 * (prompt + decodes) + 0.02 * decodes
    causal, decode = 1e-6 * prompt**2, 1e-4 * decodes * context
    return dense + causal + decode, dense, causal, decode


def of(time, chunks, cached):
    return time.seconds(np.array(chunks), np.array(cached)) * 1e3


def test_the_parts_of_an_estimator_come_back_together():
    time = aiconfigurator.step_time(made_up)
    assert of(time, [1] * 32, [1000] * 32) == pytest.approx(made_up(0, 32, 1000)[0], rel=0.01)
    assert of(time, [512], [0]) == pytest.approx(made_up(512, 0, 512)[0], rel=0.01)


def test_a_chunk_over_cached_tokens_pays_for_looking_at_them():
    time = aiconfigurator.step_time(made_up)
    more = of(time, [512], [4096]) - of(time, [512], [0])
    assert more == pytest.approx(1e-6 * 2 * 512 * 4096, rel=0.05)


@pytest.mark.parametrize(
    ("name", "words"),
    [("aic:h100_sxm", "aic:SYSTEM/MODEL"), ("aic:abacus/no/model", "aic:abacus/no/model")],
)
def test_a_name_that_means_nothing_is_refused(name, words):
    with pytest.raises(InputError, match=words):
        load_profile(name)


def test_the_package_gives_a_card_its_profile():
    pytest.importorskip("aiconfigurator_core", reason="extra profiles is not installed")
    profile = load_profile("aic:h100_sxm/meta-llama/Meta-Llama-3.1-8B")
    assert 300_000 < profile.limits.kv_tokens < 500_000
    built_in = load_profile("h100-llama-3.1-8b")
    for step in ((0, 0, 32, 1000), (1, 512, 0, 0), (1, 2048, 64, 500)):
        estimated = profile.step_time.seconds_of(*step)
        assert estimated == pytest.approx(built_in.step_time.seconds_of(*step), rel=0.35)
