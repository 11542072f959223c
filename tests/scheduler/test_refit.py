"""The same steps give the same model, in the step's thread or in another."""

import numpy as np

from scheduler.latency import StepLatency, StepWork
from scheduler.refit import REFIT_S, REFIT_STEPS, Refit

TRUTH = StepLatency(whole=(0, 0, 0, 1e-4, 1e-7, 1e-5, 0, 0.002))


def steps(count, factor=1.0):
    works = [
        StepWork(
            decodes=1 + k % 7,
            decode_cached=100.0 * (k % 50),
            prefill_tokens=0 if k % 5 else 3 * k + 2,
            squares=0 if k % 5 else (3 * k + 2) ** 2,
            longest=0 if k % 5 else 3 * k + 2,
        )
        for k in range(count)
    ]
    return [(work, factor * TRUTH.seconds(work)) for work in works]


def test_a_first_model_comes_as_soon_as_it_can():
    refit = Refit()
    for work, seconds in steps(REFIT_STEPS - 1):
        refit.observe(work, seconds)
    assert refit.latest is not None


def test_a_model_is_replaced_whole_and_not_before_enough_steps():
    refit = Refit(TRUTH)
    for number, (work, seconds) in enumerate(steps(REFIT_STEPS, 2.0), 1):
        refit.observe(work, seconds)
        assert (refit.latest is TRUTH) == (number < REFIT_STEPS)


def test_slow_steps_are_not_waited_for_that_long():
    refit, taken_s = Refit(TRUTH), 0.0
    for work, seconds in steps(REFIT_STEPS, 50.0):
        taken_s += seconds
        refit.observe(work, seconds)
        assert (refit.latest is TRUTH) == (taken_s < REFIT_S)
        if taken_s >= REFIT_S:
            break
    assert taken_s < 2 * REFIT_S


def test_in_the_background_the_same_models_come():
    near, far = Refit(TRUTH), Refit(TRUTH, background=True)
    for work, seconds in steps(10 * REFIT_STEPS, 2.0):
        near.observe(work, seconds)
        far.observe(work, seconds)
    far.close()
    assert far.latest == near.latest != TRUTH


def test_many_at_once_are_the_same_as_one_by_one():
    one_by_one, at_once = Refit(TRUTH), Refit(TRUTH)
    for work, seconds in steps(REFIT_STEPS):
        one_by_one.observe(work, seconds)
    at_once.observe_all(np.array([[*work, seconds] for work, seconds in steps(REFIT_STEPS)]))
    assert at_once.latest == one_by_one.latest


def test_after_the_end_it_goes_on_in_the_thread_of_the_steps():
    refit = Refit(TRUTH, background=True)
    refit.close()
    refit.close()
    for work, seconds in steps(REFIT_STEPS, 2.0):
        refit.observe(work, seconds)
    assert refit.latest != TRUTH
