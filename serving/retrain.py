"""Looks at the champion's forecasts for fresh answers, and replaces it when they no longer hold."""

from pathlib import Path

import numpy as np
from rich.console import Console

from predictor.errors import ConfigError
from predictor.protocol import LengthPredictor
from serving.train import progress_bar, score_table, token_counter
from training.config import TrainingConfig
from training.drift import Drift, drift, one_each, stratified
from training.lengths import LengthRows, joined, read_lengths
from training.pipeline import Data, train
from training.registry import CHAMPION, Registry
from training.tracking import Registered, track


def run_retraining(
    config: TrainingConfig,
    *,
    fresh: Path,
    lengths: Path | None,
    if_drifted: bool,
    old_rows: int,
    output: Path,
    console: Console,
) -> Registered | None:
    """The version that was registered, or nothing when the champion still holds."""
    registry = Registry()
    registry.check_writable()
    new = read_lengths(fresh)
    if if_drifted and registry.has(CHAMPION):
        seen = champion_drift(registry, new)
        console.print(_told(seen), highlight=False)
        if not seen.drifted:
            return None
    data = Data(_mixed(new, lengths, old_rows), None)
    with progress_bar(console, "training a candidate") as report:
        result = train(
            output, config, counter=lambda: token_counter("smollm2"), progress=report, data=data
        )
    console.print(score_table(result.evaluation.document()))
    made = track(registry, config, result)
    outcome = "promoted to champion" if made.refusal is None else f"refused: {made.refusal}"
    console.print(f"registered as version {made.version}; {outcome}", highlight=False)
    return made


def champion_drift(registry: Registry, rows: LengthRows) -> Drift:
    """How the champion's forecasts hold for these answers."""
    known = {version.number: version for version in registry.versions()}
    usual = known[registry.number_of(CHAMPION)].crps
    with registry.folder(CHAMPION) as folder:
        champion = LengthPredictor.from_pretrained(folder)
    some, came = one_each(rows)
    return drift(champion.predict(some.requests()), came, usual_crps=usual)


def _mixed(new: LengthRows, lengths: Path | None, old_rows: int) -> LengthRows:
    """Fresh rows and a stratified sample of old ones; both sides keep their splits."""
    if lengths is None or not old_rows:
        return new
    old = stratified(read_lengths(lengths), old_rows)
    sides = {prompt.text: prompt.split for prompt in old.prompts}
    if any(sides.get(p.text, p.split) != p.split for p in new.prompts):
        moved = np.array([sides.get(p.text, p.split) == p.split for p in new.prompts])
        new = new.where(moved[new.prompt_of])
    if not len(new):
        raise ConfigError("every fresh prompt lies on another side of the split of the old ones")
    return joined(new, old)


def _told(seen: Drift) -> str:
    figures = (
        f"{seen.pairs} answers: PIT {seen.ks:.3f} from uniform, "
        f"{100 * seen.coverage_90:.1f} % below the 90 % quantile, CRPS {seen.crps:.0f} tokens"
    )
    return f"{figures}; {'drifted: ' + '; '.join(seen.reasons) if seen.drifted else 'no drift'}"
