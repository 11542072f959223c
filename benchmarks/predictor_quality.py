"""How good length predictors are on held-out prompts, beside the baselines and the noise ceiling.

python benchmarks/predictor_quality.py --predictor NAME|DIR ... --lengths DIR [--split test]
    [--sharegpt] [--output FILE]

``--lengths`` is a folder in the layout of CASTILLO. Skill is the share of the CRPS gap from the
marginal forecast to the noise ceiling that is closed. ``--sharegpt`` judges first turns of
ShareGPT's test conversations as well, without prompts whose text also trains.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from predictor.protocol import LengthPredictor
from serving.predictors import find_predictor
from serving.train import token_counter
from training.config import TrainingConfig
from training.evaluate import Evaluation, evaluate
from training.lengths import LengthRows, read_lengths
from training.metrics import transforms
from training.pipeline import read_data
from training.remaining import remaining_mae

Document = dict[str, Any]
_KEPT = ("rows", "tau_b", "mae", "crps", "coverage_90", "coverage_80", "skill")
_BASELINES = ("marginal", "gaussian", "noise_ceiling")
_PIT_BINS = 10


def compact(scores: Mapping[str, Any]) -> Document:
    """The scores that are reported, and CRPS and rank correlation of the baselines."""
    kept: Document = {name: scores[name] for name in _KEPT if name in scores}
    for name in _BASELINES:
        if name in scores:
            kept[name] = {key: scores[name][key] for key in ("crps", "tau_b")}
    return kept


def by_task(found: Evaluation) -> Document:
    """Coverage and a PIT histogram (shares of ten bins) of chat and code apart."""
    tasks = np.array([prompt.task for prompt in found.rows.requests()])
    samples = found.judged["model"].samples
    document: Document = {}
    for task in sorted(set(tasks)):
        some = np.flatnonzero(tasks == task)
        values = np.concatenate(transforms([found.forecasts[i] for i in some], samples[some]))
        counts = np.histogram(values, _PIT_BINS, (0.0, 1.0))[0]
        document[str(task)] = {
            "coverage_90": found.judged["model"].where(some).scores().coverage_90,
            "pit": (counts / counts.sum()).tolist(),
        }
    return document


def quality(predictor: LengthPredictor, rows: LengthRows, split: Any) -> Document:
    """All scores of one predictor on one side of the split."""
    found = evaluate(predictor, rows.of_split(split), known=rows.of_split("train"))
    document = found.document()
    return {
        "kind": predictor.kind,
        "all": compact(document["all"]) | {"mean_skill": document["all"].get("mean_skill")},
        "llms": {name: compact(scores) for name, scores in document["llms"].items()},
        "datasets": {n: compact(scores) for n, scores in document["all"]["datasets"].items()},
        "worst_llm_and_dataset": _worst(document),
        "tasks": by_task(found),
        "novel": compact(found.novel()),
        "remaining_mae": remaining_mae(found),
    }


def first_turns(predictor: LengthPredictor, taught: LengthRows) -> Document:
    """ShareGPT's own answers, one each; texts that train here or in ``taught`` are left out."""
    rows = read_data(TrainingConfig(), lambda: token_counter("smollm2")).rows
    trained = {p.text.strip() for p in (*rows.prompts, *taught.prompts) if p.split == "train"}
    test = rows.of_split("test")
    novel = np.array([rows.prompts[p].text.strip() not in trained for p in test.prompt_of])
    found = evaluate(predictor, test.where(novel), known=rows.of_split("train"))
    return compact(found.document()["all"])


def rounded(value: Any) -> Any:
    """Floats with five significant digits, at any depth."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _worst(document: Document) -> Document:
    """The coverage furthest from 90 % of any LLM on any data set."""
    places: dict[str, float] = {
        f"{llm}, {name}": part["coverage_90"]
        for llm, scores in document["llms"].items()
        for name, part in scores["datasets"].items()
    }
    off = np.abs(np.array(list(places.values())) - 0.9)
    name = list(places)[int(off.argmax())]
    return {"where": name, "coverage_90": places[name]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--predictor", action="append", required=True, help="folder or name")
    parser.add_argument("--lengths", type=Path, required=True)
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--sharegpt", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = read_lengths(options.lengths)
    document: Document = {"split": options.split, "sha256": dict(rows.sha256), "predictors": []}
    for name in options.predictor:
        predictor = find_predictor(name)
        made = quality(predictor, rows, options.split)
        if options.sharegpt:
            made["sharegpt_first_turns"] = first_turns(predictor, rows)
        document["predictors"].append(made)
    text = json.dumps(rounded(document), indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
