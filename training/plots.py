"""Pictures of an evaluation, as PNG bytes."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from training.evaluate import Evaluation
from training.metrics import transforms

_POINTS = 4000


def plots(evaluation: Evaluation, epochs: Sequence[Mapping[str, float]]) -> dict[str, bytes]:
    """Reliability, predicted against actual, coverage by LLM, and learning curves if any."""
    made = {
        "reliability": _reliability(evaluation),
        "predicted_actual": _predicted(evaluation),
        "coverage_by_llm": _coverage(evaluation),
    }
    if epochs:
        made["learning_curves"] = _learning(epochs)
    return made


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _reliability(evaluation: Evaluation) -> bytes:
    figure, axes = _figure()
    levels = np.linspace(0.0, 1.0, 21)
    samples = evaluation.judged["model"].samples
    values = transforms(evaluation.forecasts, samples)
    tasks = np.array([prompt.task for prompt in evaluation.rows.requests()])
    for task in sorted(set(tasks)):
        some = np.concatenate([values[i] for i in np.flatnonzero(tasks == task)])
        axes.plot(levels, [(some <= level).mean() for level in levels], label=task)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="forecast probability", ylabel="share of answers", title="Reliability")
    axes.legend()
    return _png(figure)


def _predicted(evaluation: Evaluation) -> bytes:
    figure, axes = _figure()
    samples = evaluation.judged["model"].samples
    medians = np.array([f.quantile(0.5) for f in evaluation.forecasts])
    rows, columns = np.nonzero(samples)
    if len(rows) > _POINTS:
        chosen = np.random.default_rng(0).permutation(len(rows))[:_POINTS]
        rows, columns = rows[chosen], columns[chosen]
    axes.scatter(medians[rows], samples[rows, columns], s=4, alpha=0.3, linewidths=0)
    axes.set(xscale="log", yscale="log", xlabel="predicted median", ylabel="tokens that came")
    return _png(figure)


def _coverage(evaluation: Evaluation) -> bytes:
    figure, axes = _figure()
    document = evaluation.document()["llms"]
    axes.barh(list(document), [scores["coverage_90"] for scores in document.values()])
    axes.axvline(0.9, color="black", linewidth=0.8)
    axes.set(xlim=(0.7, 1.0), xlabel="share of answers below the 90 % quantile")
    return _png(figure)


def _learning(epochs: Sequence[Mapping[str, float]]) -> bytes:
    figure, axes = _figure()
    for name in ("train_crps_gap", "validation_crps_gap"):
        axes.plot([e["epoch"] for e in epochs], [e[name] for e in epochs], label=name)
    axes.set(xlabel="epoch", ylabel="CRPS above the samples' own, tokens")
    axes.legend()
    return _png(figure)
