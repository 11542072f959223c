"""A profile from the step log of an engine that ran before."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from predictor.errors import InputError
from scheduler.latency import StepLatency
from scheduler.simulator.profiles import load_profile
from serving import steplog
from serving.simulate.profile import ProfileConfig, run_profile
from serving.steplog import StepRecord

TRUTH = StepLatency.linear(step_s=0.03, decode_s=1e-3, context_token_s=1e-6, prompt_token_s=5e-4)


def step(number, prefills, prefill_tokens, decodes, context_tokens):
    chunk = prefill_tokens // max(prefills, 1)
    return StepRecord(
        at_s=float(number),
        waiting=0,
        running=prefills + decodes,
        prefills=prefills,
        prefill_tokens=prefill_tokens,
        prefill_context_tokens=0,
        decodes=decodes,
        context_tokens=context_tokens,
        preempted=0,
        schedule_s=0.0,
        added_s=0.0,
        step_s=float(TRUTH.step_s(prefills, prefill_tokens, decodes, context_tokens)),
        prefill_squares=prefills * chunk**2,
        longest_prefill=chunk,
    )


def write_log(path, steps):
    path.write_text(steplog.encode(steps), encoding="utf-8")
    return path


def test_a_step_log_becomes_a_profile_that_steps_as_fast(tmp_path):
    rng = np.random.default_rng(0)
    steps = [
        step(k, 1, int(rng.integers(16, 900)), n, n * 300)
        if k % 4 == 0
        else step(k, 0, 0, n, n * int(rng.integers(50, 900)))
        for k in range(200)
        if (n := int(rng.integers(1, 17)))
    ]
    log = write_log(tmp_path / "steps.jsonl", steps)
    output = tmp_path / "out" / "profile.json"
    run_profile(ProfileConfig(step_log=log, output=output), Console(file=StringIO()))
    profile = load_profile(str(output))
    expected = TRUTH.step_s(1, 256, 8, 8 * 400)
    assert profile.step_time.seconds_of(1, 256, 8, 400) == pytest.approx(expected, rel=0.05)


def test_too_few_steps_are_no_profile(tmp_path):
    log = write_log(tmp_path / "steps.jsonl", [step(0, 0, 0, 1, 100)])
    config = ProfileConfig(step_log=log, output=tmp_path / "profile.json")
    with pytest.raises(InputError, match=r"steps\.jsonl: 1 timed steps are too few"):
        run_profile(config, Console(file=StringIO()))
    assert not config.output.exists()


def test_a_long_log_counts_as_a_whole(tmp_path):
    # An engine that drains computes no prompt any more; those before are not forgotten.
    rng = np.random.default_rng(0)
    busy = [step(k, 1, int(rng.integers(16, 900)), k % 17, k % 17 * 300) for k in range(1, 200)]
    drained = [step(k, 0, 0, 1 + k % 4, (1 + k % 4) * (300 + k)) for k in range(600)]
    log = write_log(tmp_path / "steps.jsonl", busy + drained)
    output = tmp_path / "profile.json"
    run_profile(ProfileConfig(step_log=log, output=output), Console(file=StringIO()))
    expected = TRUTH.step_s(1, 256, 8, 8 * 400)
    profile = load_profile(str(output))
    assert profile.step_time.seconds_of(1, 256, 8, 400) == pytest.approx(expected, rel=0.05)
