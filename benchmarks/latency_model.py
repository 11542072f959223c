"""How well the latency model foretells recorded steps that it was not fitted to.

python benchmarks/latency_model.py --step-log build/bench/steps-fcfs.jsonl [--step-log ...]
    [--share 0.5] --output FILE

Of each log (SLOTWISE_STEP_LOG, or what `slotwise bench` leaves) the first share of the steps is
fitted as a running engine fits it, 64 at a time; the rest is foretold by the model of that moment.
Errors are given for all steps, by scenario, and for the model of all steps without its experts.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from predictor.errors import InputError
from scheduler.latency import Floats, StepLatency, StepWork
from scheduler.latency_fitter import LatencyFitter
from scheduler.latency_report import FitReport
from scheduler.refit import REFIT_STEPS
from serving import steplog

_DECODES, _TOKENS = StepWork._fields.index("decodes"), StepWork._fields.index("prefill_tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step-log", type=Path, action="append", required=True)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if not 0 < arguments.share < 1:
        parser.error(f"--share is {arguments.share}: a number between 0 and 1 is needed")
    try:
        logs = {log.name: judged(read(log), arguments.share) for log in arguments.step_log}
    except InputError as error:
        parser.error(str(error))
    document = {"config": {"share": arguments.share}, "logs": logs}
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(log: Path) -> Floats:
    """float64[n, 8]: the work of each timed step, and its seconds."""
    steps = [(*step.work, step.step_s) for step in steplog.read(log) if step.step_s]
    if len(steps) < 4 * REFIT_STEPS:
        raise InputError(f"{log}: {len(steps)} timed steps, {4 * REFIT_STEPS} are needed")
    return np.array(steps, dtype=np.float64)


def judged(steps: Floats, share: float) -> dict[str, Any]:
    """Fit to the first ``share`` of float64[n, 8] and report on the rest."""
    cut = int(len(steps) * share)
    latency, rest = LatencyFitter.of(steps[:cut], at_once=REFIT_STEPS).latest, steps[cut:]
    if latency is None:
        raise InputError("the first share of the steps makes no model: take a larger one")
    with_prompts, with_answers = rest[:, _TOKENS] > 0, rest[:, _DECODES] > 0
    chosen = {
        "all": np.ones(len(rest), dtype=bool),
        "decode": ~with_prompts,
        "prefill": with_prompts & ~with_answers,
        "mixed": with_prompts & with_answers,
    }
    return {
        "fitted_steps": cut,
        "model": latency.to_dict(),
        "errors": {
            name: asdict(FitReport.of(latency, rest[some]))
            for name, some in chosen.items()
            if some.any()
        },
        "without_experts": asdict(FitReport.of(StepLatency(latency.whole), rest)),
    }


if __name__ == "__main__":
    main()
