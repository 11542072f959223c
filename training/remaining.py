"""How well the rest of an answer is known while it is written."""

import numpy as np

from training.evaluate import Evaluation

GENERATED = (0, 32, 64, 128, 256)


def remaining_mae(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """For 0, 32, ... tokens out: MAE of the conditional median of the rest, and how many samples.

    Only answers that are longer count. ``point`` is the error of the first median less what is
    out (at least one token), which learns nothing from the answer going on.
    """
    samples = evaluation.judged["model"].samples
    found = {}
    for generated in GENERATED:
        errors, plain = [], []
        for forecast, row in zip(evaluation.forecasts, samples, strict=True):
            rest = row[row > generated] - generated
            if not rest.size:
                continue
            median = forecast.remaining(generated).quantile(0.5)
            errors.append(np.abs(rest - median))
            point = max(forecast.quantile(0.5) - generated, 1)
            plain.append(np.abs(rest - point))
        if errors:
            every = np.concatenate(errors)
            found[str(generated)] = {
                "mae": float(every.mean()),
                "point": float(np.concatenate(plain).mean()),
                "samples": int(every.size),
            }
    return found
