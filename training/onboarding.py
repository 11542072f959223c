"""Teaches a trained predictor a new LLM from a few hundred lengths, its encoder untouched."""

from collections.abc import Callable
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.blend import BlendedPredictor
from predictor.calibration import GroupedCalibration
from predictor.conditioned import ConditionedPredictor, held
from predictor.encoder.network import HazardHead, HeadShape
from predictor.errors import ArtifactError, DatasetError
from predictor.hazard import HazardHead as StoredHead
from predictor.protocol import LengthPredictor
from predictor.scaling import settings
from training.encoder.loss import label_of, likelihood, ranked_probability
from training.encoder.targets import targets
from training.lengths import LengthRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Singles = NDArray[np.float32]
Kind = TypeVar("Kind", bound=ConditionedPredictor)

MIN_PROMPTS = 20
_STEPS = 300
_RATE = 0.02
# How strongly the new vector is drawn to the mean of the known ones, per row seen.
_PULL = 3.0
_CRPS_WEIGHT = 0.02
_FOLDS = 4


def onboard(predictor: LengthPredictor, rows: LengthRows, *, llm: str) -> LengthPredictor:
    """The same predictor with ``llm`` added: one vector fitted (a blend: two), one calibration.

    ``rows`` are observed lengths of that LLM (others are left out). The calibration comes from
    forecasts for prompts that their vector had not seen. Raises ``DatasetError`` under 20 prompts
    and ``ArtifactError`` for a kind that learns no further LLM.
    """
    if llm not in rows.llms:
        raise DatasetError(f"no lengths of {llm!r}; the file holds {', '.join(rows.llms)}")
    own = rows.of_llm(llm)
    if len(own) < MIN_PROMPTS:
        raise DatasetError(
            f"{len(own)} prompts of {llm!r}: give at least {MIN_PROMPTS}; until then its "
            "forecasts are the prior, the mixture of the LLMs that are known"
        )
    if isinstance(predictor, BlendedPredictor):
        return _blend_taught(predictor, own, llm)
    if isinstance(predictor, ConditionedPredictor):
        pupil = _Pupil(predictor, own, llm)
        calibration = _calibration(pupil.forecast, own, predictor.parts.edges)
        known = pupil.taught(np.ones(len(own), dtype=bool))
        groups = known.parts.calibration.with_group(llm, calibration)
        return known.with_parts(replace(known.parts, calibration=groups))
    raise ArtifactError(
        f"a {predictor.kind} predictor learns no further LLM; give an encoder, fast or blend"
    )


def _blend_taught(blend: BlendedPredictor, own: LengthRows, llm: str) -> BlendedPredictor:
    """Both members taught; calibrated as a whole, as they are heard."""
    members = blend.members
    slow, fast = _Pupil(members.encoder, own, llm), _Pupil(members.fast, own, llm)

    def forecast(learn: Mask, judge: Mask) -> Floats:
        share = members.weight
        return share * slow.forecast(learn, judge) + (1.0 - share) * fast.forecast(learn, judge)

    calibration = _calibration(forecast, own, blend.edges)
    everything = np.ones(len(own), dtype=bool)
    both = replace(members, encoder=slow.taught(everything), fast=fast.taught(everything))
    return blend.taught(both, llm, calibration)


class _Pupil(Generic[Kind]):
    """A predictor about to learn an LLM; the texts are encoded once."""

    def __init__(self, predictor: Kind, own: LengthRows, llm: str) -> None:
        self._predictor, self._own, self._llm = predictor, own, llm
        self._encoded = predictor.encode([own.prompts[p].text for p in own.prompt_of])

    def taught(self, learn: Mask) -> Kind:
        """With the LLM's vector fitted to some of the rows."""
        vector = _fitted(self._predictor, self._own.where(learn), self._encoded[learn])
        return _with(self._predictor, self._llm, vector)

    def forecast(self, learn: Mask, judge: Mask) -> Floats:
        """float64[judged, B + 1]: what it then says of others."""
        asked = self._own.where(judge).requests()
        return self.taught(learn).cdf_of(self._encoded[judge], asked)


def _calibration(
    forecast: Callable[[Mask, Mask], Floats], own: LengthRows, edges: Ints
) -> GroupedCalibration:
    """From forecasts for each quarter of the rows, learned from the others."""
    fold = np.random.default_rng(0).permutation(len(own)) % _FOLDS
    asked, values = [], []
    for number in range(_FOLDS):
        judge = np.asarray(fold == number)
        some = own.where(judge)
        samples = np.where(some.seen, some.samples, 0)
        prompts, found = held(forecast(~judge, judge), edges, some.requests(), samples)
        asked.extend(prompts)
        values.append(found)
    return GroupedCalibration.fit(np.concatenate(values), asked)


def _with(predictor: Kind, llm: str, vector: Singles) -> Kind:
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
