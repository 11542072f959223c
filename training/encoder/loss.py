"""What the encoder is trained to make small."""

from dataclasses import dataclass

from torch import Tensor, cat
from torch.nn.functional import logsigmoid

from predictor.encoder.network import cdf_at_edges


@dataclass(frozen=True, slots=True)
class Label:
    """One batch of :class:`training.encoder.targets.Targets`, float[n, B] each."""

    ended: Tensor
    outlived: Tensor
    cdf: Tensor
    width: Tensor


def likelihood(logits: Tensor, label: Label) -> Tensor:
    """Mean negative log likelihood per sample of the discrete-time hazards, cuts included."""
    ended, outlived = label.ended[:, :-1], label.outlived[:, :-1]
    return -(ended * logsigmoid(logits) + outlived * logsigmoid(-logits)).sum(dim=-1).mean()


def ranked_probability(logits: Tensor, label: Label) -> Tensor:
    """Mean CRPS in tokens above what the samples' own spread makes unavoidable."""
    start = label.cdf.new_zeros((len(label.cdf), 1))
    gap = cdf_at_edges(logits)
    low = gap[:, :-1] - cat((start, label.cdf[:, :-1]), dim=-1)
    high = gap[:, 1:] - label.cdf
    squares = (low * low + low * high + high * high) / 3.0
    return (squares * label.width).sum(dim=-1).mean()
