"""Teaches a trained predictor a new LLM from a few hundred lengths, its encoder untouched."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.calibration import GroupedCalibration
from predictor.conditioned import ConditionedPredictor, held
from predictor.encoder.network import HazardHead, HeadShape
from predictor.errors import DatasetError
from predictor.hazard import HazardHead as StoredHead
from predictor.scaling import settings
from training.encoder.loss import label_of, likelihood, ranked_probability
from training.encoder.targets import targets
from training.lengths import LengthRows

Singles = NDArray[np.float32]

MIN_PROMPTS = 20
_STEPS = 300
_RATE = 0.02
# How strongly the new vector is drawn to the mean of the known ones, per row seen.
_PULL = 3.0
_CRPS_WEIGHT = 0.02
_FOLDS = 4


def onboard(predictor: ConditionedPredictor, rows: LengthRows, *, llm: str) -> ConditionedPredictor:
    """The same predictor with ``llm`` added: one vector fitted, one calibration.

    ``rows`` are observed lengths of that LLM (others are left out). The calibration comes from
    forecasts for prompts that their vector had not seen. Raises ``DatasetError`` under 20 prompts.
    """
    if llm not in rows.llms:
        raise DatasetError(f"no lengths of {llm!r}; the file holds {', '.join(rows.llms)}")
    own = rows.of_llm(llm)
    if len(own) < MIN_PROMPTS:
        raise DatasetError(
            f"{len(own)} prompts of {llm!r}: give at least {MIN_PROMPTS}; until then its "
            "forecasts are the prior, the mixture of the LLMs that are known"
        )
    encoded = predictor.encode([own.prompts[p].text for p in own.prompt_of])
    fold = np.random.default_rng(0).permutation(len(own)) % _FOLDS
    asked, values = [], []
    for number in range(_FOLDS):
        learn, judge = fold != number, fold == number
        vector = _fitted(predictor, own.where(learn), encoded[learn])
        trial = _with(predictor, llm, vector)
        some = own.where(judge)
        prompts, found = held(
            trial.cdf_of(encoded[judge], some.requests()),
            trial.parts.edges,
            some.requests(),
            np.where(some.seen, some.samples, 0),
        )
        asked.extend(prompts)
        values.append(found)
    known = _with(predictor, llm, _fitted(predictor, own, encoded))
    calibration = known.parts.calibration.with_group(
        llm, GroupedCalibration.fit(np.concatenate(values), asked)
    )
    return known.with_parts(replace(known.parts, calibration=calibration))


def _with(predictor: ConditionedPredictor, llm: str, vector: Singles) -> ConditionedPredictor:
    """With one LLM more, or another vector for one that is known."""
    parts = predictor.parts
    if llm in parts.llms:
        table = parts.head.llms.copy()
        table[parts.llms.index(llm)] = vector
        head = StoredHead({**parts.head.weights, "llm.weight": table})
        return predictor.with_parts(replace(parts, head=head))
    return predictor.with_parts(
        replace(parts, head=parts.head.with_llm(vector), llms=(*parts.llms, llm))
    )


def _fitted(predictor: ConditionedPredictor, rows: LengthRows, encoded: Singles) -> Singles:
    """float32[W], from the mean of the known vectors towards what the lengths ask for."""
    head = _torch_head(predictor.parts.head)
    mean = head.llm.weight.detach().mean(dim=0)
    spread = head.llm.weight.detach().std(dim=0).clamp(min=1e-3)
    prompt = torch.from_numpy(encoded)
    how = torch.from_numpy(settings(rows.requests()))
    label = label_of(targets(rows, predictor.parts.edges))
    vector = mean.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([vector], lr=_RATE)
    for _ in range(_STEPS):
        logits = head(prompt, vector.expand(len(prompt), -1), how)
        pull = (((vector - mean) / spread) ** 2).sum() * _PULL / (2.0 * len(prompt))
        loss: Tensor = likelihood(logits, label) + pull
        loss = loss + _CRPS_WEIGHT * ranked_probability(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found: Singles = vector.detach().numpy()
    return found


def _torch_head(stored: StoredHead) -> HazardHead:
    weights = stored.weights
    hidden, joined = weights["trunk.0.weight"].shape
    shape = HeadShape(
        text_width=joined,
        features=0,
        settings=weights["settings.weight"].shape[1],
        llms=len(stored.llms),
        bins=len(weights["hazard.bias"]) + 1,
        hidden=hidden,
        llm_width=stored.llms.shape[1],
        dropout=0.0,
    )
    head = HazardHead(shape)
    head.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    head.eval().requires_grad_(False)
    return head


def seen_prompts(rows: LengthRows, count: int, *, seed: int) -> LengthRows:
    """``count`` rows drawn without replacement, as if only these had been observed."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows.where(np.sort(chosen))
