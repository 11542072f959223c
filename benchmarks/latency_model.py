"""How well the latency model foretells recorded steps that it was not fitted to.

python benchmarks/latency_model.py --step-log build/bench/steps-fcfs.jsonl [--step-log ...]
    [--engine-profile NAME|DIR ...] [--workload mixed-v1] [--rate 1.5] [--share 0.5] --output FILE

Of each log (SLOTWISE_STEP_LOG, or what `slotwise bench` leaves) the first share of the steps is
fitted as a running engine fits it, 64 at a time. *Running*: from there on each 64 steps are
foretold by the model of all steps before them, as in an engine. *Frozen*: all the rest is foretold
by the model of that moment, with and without its experts. Of an engine profile the log is that of
`slotwise` simulated on it. *Repeat*: how far a decode-only
step is off another of as many answers right before it, over the square root of two: about what the
best model of these sums would be off by, for the machine's own unrest.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from predictor.errors import InputError
from scheduler.latency import Floats, StepLatency, StepWork
from scheduler.latency_fitter import LatencyFitter
from scheduler.latency_report import FitReport
from scheduler.refit import REFIT_STEPS
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import load_profile
from serving import steplog
from serving.simulate.config import SimConfig
from serving.simulate.engines import run_policy
from serving.simulate.workload import SimWorkload

_SIMULATED = 600
_DECODES, _TOKENS = StepWork._fields.index("decodes"), StepWork._fields.index("prefill_tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step-log", type=Path, action="append", default=[])
    parser.add_argument("--engine-profile", action="append", default=[])
    parser.add_argument("--workload", default="mixed-v1")
    parser.add_argument("--rate", type=float, default=1.5)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if not 0 < arguments.share < 1:
        parser.error(f"--share is {arguments.share}: a number between 0 and 1 is needed")
    workload = (arguments.workload, arguments.rate)
    try:
        logs = {f"{log.parent.name}/{log.name}": read(log) for log in arguments.step_log}
        logs |= {name: simulated(name, *workload) for name in arguments.engine_profile}
        found = {name: judged(steps, arguments.share) for name, steps in logs.items()}
    except InputError as error:
        parser.error(str(error))
    if not found:
        parser.error("give --step-log or --engine-profile")
    config = {"share": arguments.share, "workload": workload}
    document = {"config": config, "logs": found}
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(log: Path) -> Floats:
    """float64[n, 8]: the work of each timed step, and its seconds."""
    return table(str(log), steplog.read(log))


def simulated(profile: str, workload: str, rate: float) -> Floats:
    """:func:`read` for what a simulated engine did."""
    config = SimConfig(
        policies=("slotwise",),
        instances=(profile,),
        workload=workload,
        rate=rate,
        num_requests=_SIMULATED,
    )
    requests = SimWorkload(config, Console(quiet=True)).requests(0, oracle=False, scale=1.0)
    run = run_policy(PolicyName.parse("slotwise"), [load_profile(profile)], requests)
    return table(profile, run.steps)


def table(name: str, steps: Iterable[steplog.StepRecord]) -> Floats:
    rows = [(*step.work, step.step_s) for step in steps if step.step_s]
    if len(rows) < 4 * REFIT_STEPS:
        raise InputError(f"{name}: {len(rows)} timed steps, {4 * REFIT_STEPS} are needed")
    return np.array(rows, dtype=np.float64)


def repeat(steps: Floats) -> dict[str, float] | None:
    """Of two decode-only steps in a row with as many answers: seconds, and share of the step."""
    first, second = steps[:-1], steps[1:]
    alike = (first[:, _DECODES] == second[:, _DECODES]) & (second[:, _DECODES] > 0)
    alike &= (first[:, _TOKENS] == 0) & (second[:, _TOKENS] == 0)
    if not alike.any():
        return None
    off = np.abs(first[alike, -1] - second[alike, -1]) / np.sqrt(2)
    mean = (first[alike, -1] + second[alike, -1]) / 2
    return {"mae_s": float(off.mean()), "mape": float((off / mean).mean())}


def judged(steps: Floats, share: float) -> dict[str, Any]:
    """Fit to the first ``share`` of float64[n, 8] and report on the rest."""
    cut = int(len(steps) * share)
    fitter, rest = LatencyFitter.of(steps[:cut], at_once=REFIT_STEPS), steps[cut:]
    latency = fitter.latest
    if latency is None:
        raise InputError("the first share of the steps makes no model: take a larger one")
    foretold = as_it_runs(fitter, rest)
    with_prompts, with_answers = rest[:, _TOKENS] > 0, rest[:, _DECODES] > 0
    chosen = {
        "all": np.ones(len(rest), dtype=bool),
        "decode": ~with_prompts,
        "prefill": with_prompts & ~with_answers,
        "mixed": with_prompts & with_answers,
    }
    return {
        "fitted_steps": cut,
        "repeat": repeat(rest),
        "model": latency.to_dict(),
        "running": {
            name: asdict(FitReport.between(foretold[some], rest[some, -1]))
            for name, some in chosen.items()
            if some.any()
        },
        "frozen": asdict(FitReport.of(latency, rest)),
        "frozen_without_experts": asdict(FitReport.of(StepLatency(latency.whole), rest)),
    }


def as_it_runs(fitter: LatencyFitter, steps: Floats) -> Floats:
    """Seconds foretold of float64[n, 8], each 64 by what was fitted before them."""
    foretold = np.empty(len(steps))
    for begin in range(0, len(steps), REFIT_STEPS):
        some = steps[begin : begin + REFIT_STEPS]
        assert fitter.latest is not None
        foretold[begin : begin + REFIT_STEPS] = fitter.latest.seconds_of(some[:, :-1])
        fitter.observe_all(some)
        fitter.fit()
    return foretold


if __name__ == "__main__":
    main()
