"""Batches of prompts of like length, each with all its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.encoder.window import padded
from training.encoder.loss import Label
from training.encoder.targets import Targets

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

# Prompts are sorted by length inside a pool of so many batches: little padding, much chance.
_POOL_BATCHES = 24


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Prompts made ready once for all epochs, and the rows that answer them.

    ``states`` (float16[tokens, width] each) is what the frozen lower layers make of the tokens.
    ``tokens[p]`` and ``features[p]`` (float32[P, F], standardised) belong to prompt p; the rows
    of prompt p are ``rows[p]``, indices into ``llm``, ``settings`` and ``targets``.
    """

    tokens: Sequence[Ints]
    states: "Sequence[NDArray[np.float16]] | None"
    features: Singles
    rows: Sequence[Ints]
    llm: Ints
    settings: Singles
    targets: Targets


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Prompts n, rows m; ``prompt_of`` says which prompt a row belongs to."""

    ids: Tensor
    mask: Tensor
    states: Tensor | None
    features: Tensor
    prompt_of: Tensor
    llm: Tensor
    settings: Tensor
    label: Label


def shuffled(data: TrainingData, prompts: Ints, size: int, rng: np.random.Generator) -> list[Ints]:
    """The prompts in batches of ``size``, in chance order, of like length inside a batch."""
    order = rng.permutation(prompts)
    lengths = np.array([len(data.tokens[p]) for p in order])
    batches: list[Ints] = []
    pool = size * _POOL_BATCHES
    for start in range(0, len(order), pool):
        some = order[start : start + pool]
        some = some[np.argsort(lengths[start : start + pool], kind="stable")]
        batches.extend(some[i : i + size] for i in range(0, len(some), size))
    return [batches[i] for i in rng.permutation(len(batches))]


def batch_of(data: TrainingData, prompts: Ints, device: str) -> Batch:
    """Tensors of these prompts and all their rows."""
    rows = np.concatenate([data.rows[p] for p in prompts])
    sizes = [len(data.rows[p]) for p in prompts]
    ids, mask = padded([data.tokens[p] for p in prompts])
    move = _Mover(device)
    return Batch(
        ids=move(ids),
        mask=move(mask),
        states=None if data.states is None else move(_padded_states(data.states, prompts)),
        features=move(data.features[prompts]),
        prompt_of=move(np.repeat(np.arange(len(prompts)), sizes)),
        llm=move(data.llm[rows]),
        settings=move(data.settings[rows]),
        label=Label(
            ended=move(data.targets.ended[rows]),
            outlived=move(data.targets.outlived[rows]),
            cdf=move(data.targets.cdf[rows]),
            width=move(data.targets.width[rows]),
        ),
    )


def in_order(data: TrainingData, prompts: Ints, size: int) -> Iterator[Ints]:
    """Batches from the shortest prompt to the longest."""
    order = prompts[np.argsort([len(data.tokens[p]) for p in prompts], kind="stable")]
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _padded_states(states: Sequence[NDArray[np.float16]], prompts: Ints) -> Singles:
    longest = max(len(states[p]) for p in prompts)
    out = np.zeros((len(prompts), longest, states[prompts[0]].shape[1]), dtype=np.float32)
    for row, p in enumerate(prompts):
        out[row, : len(states[p])] = states[p]
    return out


@dataclass(frozen=True, slots=True)
class _Mover:
    device: str

    def __call__(self, values: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
