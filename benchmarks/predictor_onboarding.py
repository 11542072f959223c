"""What a predictor knows of an LLM it was not trained with: its prior, and after some prompts.

python benchmarks/predictor_onboarding.py --lengths DIR --llm NAME ... [--config FILE]
    [--whole DIR --without DIR] [--prompts 200] [--seeds 3] [--output FILE]

For each LLM in turn: trained with it; trained without it and asked for it (the prior); trained
without it and given some observed prompts. Skill is that on the LLM's test prompts. Predictors
trained before are taken with ``--whole`` and ``--without``; the latter knows none of the LLMs.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from predictor.conditioned import ConditionedPredictor
from predictor.protocol import LengthPredictor
from training.config import TrainingConfig, read_config
from training.evaluate import evaluate
from training.lengths import LengthRows, read_lengths
from training.onboarding import onboard, seen_prompts

Document = dict[str, Any]


def fitted(rows: LengthRows, config: TrainingConfig) -> ConditionedPredictor:
    """Trained and calibrated on ``rows``."""
    if config.kind == "fast":
        from training.fast.fit import fit_fast  # noqa: PLC0415 - loads torch

        return fit_fast(rows, config.fast, _silent)
    from training.encoder.checkpoint import Checkpoints  # noqa: PLC0415 - loads torch
    from training.encoder.fit import fit_encoder  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(Path(scratch), fingerprint="", every_s=1e9)
        return fit_encoder(
            rows, None, config.encoder,
            checkpoints=checkpoints, progress=_silent, on_epoch=lambda _: None,
        ).predictor  # fmt: skip


def left_out(
    rows: LengthRows,
    llm: str,
    whole: LengthPredictor,
    without: LengthPredictor,
    *,
    prompts: int,
    seeds: int,
) -> Document:
    """Scores on the LLM's test prompts: known, unknown, and after some prompts (each seed)."""
    own = rows.of_llm(llm)
    taught = [
        onboard(without, seen_prompts(own.of_split("train"), prompts, seed=seed), llm=llm)
        for seed in range(seeds)
    ]
    known = _scores(whole, own)
    after = [_scores(predictor, own) for predictor in taught]
    return {
        "trained_with_it": known,
        "prior": _scores(without, own),
        "after_prompts": after,
        "share_of_skill": float(np.mean([a["skill"] for a in after]) / known["skill"]),
    }


def _scores(predictor: LengthPredictor, own: LengthRows) -> Document:
    found = evaluate(predictor, own.of_split("test"), known=own.of_split("train")).document()["all"]
    return {name: round(found[name], 4) for name in ("skill", "crps", "tau_b", "coverage_90")}


def _stored(folder: Path | None) -> LengthPredictor | None:
    return None if folder is None else LengthPredictor.from_pretrained(folder)


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""
    del stage, share


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--lengths", type=Path, required=True)
    parser.add_argument("--llm", action="append", required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/train-fast.yaml"))
    parser.add_argument("--whole", type=Path)
    parser.add_argument("--without", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows, config = read_lengths(options.lengths), read_config(options.config, {})
    whole = _stored(options.whole) or fitted(rows, config)
    document: Document = {"kind": whole.kind, "prompts": options.prompts, "llms": {}}
    for llm in options.llm:
        without = _stored(options.without) or fitted(rows.without([llm]), config)
        if llm in getattr(without, "llms", ()):
            parser.error(f"--without {options.without} knows {llm}: its prior would be no prior")
        document["llms"][llm] = left_out(
            rows, llm, whole, without, prompts=options.prompts, seeds=options.seeds
        )
    text = json.dumps(document, indent=1)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
