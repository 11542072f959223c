import numpy as np

from predictor.calibration import GroupedCalibration
from predictor.prompt import Prompt


def test_each_llm_is_corrected_by_its_own_errors():
    rng = np.random.default_rng(0)
    prompts = [Prompt("", llm="low")] * 2000 + [Prompt("", llm="right")] * 2000
    values = np.concatenate((rng.random(2000) ** 0.5, rng.random(2000)))
    found = GroupedCalibration.fit(values, prompts)
    cdf = np.array([[0.0, 0.5, 1.0]] * 2)
    low, right = found.apply(cdf, [prompts[0], prompts[-1]])
    assert abs(low[1] - 0.25) < 0.04
    assert abs(right[1] - 0.5) < 0.04
    assert np.allclose(found.apply(cdf[:1], [Prompt("", llm="new")])[0, 1], 0.375, atol=0.04)


def test_a_small_group_shares_that_around_it():
    rng = np.random.default_rng(0)
    prompts = [Prompt("", task="chat", llm="m")] * 3000 + [Prompt("", task="code", llm="m")] * 50
    found = GroupedCalibration.fit(rng.random(3050) ** 0.5, prompts)
    assert found.of(prompts[-1]) is found.of(Prompt("", task="other", llm="m"))


def test_it_comes_back():
    found = GroupedCalibration.fit(
        np.random.default_rng(0).random(500), [Prompt("", llm="m")] * 500
    )
    loaded = GroupedCalibration.from_json(found.to_json())
    same = loaded.of(Prompt("", llm="m")).observed == found.of(Prompt("", llm="m")).observed
    assert same.all()
