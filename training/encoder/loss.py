"""What the encoder is trained to make small."""

from dataclasses import dataclass

from torch import Tensor, cat, from_numpy
from torch.nn.functional import logsigmoid

from predictor.encoder.network import cdf_at_edges
from training.encoder.targets import Targets


@dataclass(frozen=True, slots=True)
class Label:
    """One batch of :class:`training.encoder.targets.Targets`, float[n, B] each."""

    ended: Tensor
    outlived: Tensor
    cdf: Tensor
    width: Tensor

    def rows(self, index: Tensor) -> "Label":
        """Some of the rows."""
        return Label(self.ended[index], self.outlived[index], self.cdf[index], self.width[index])


def label_of(made: Targets) -> Label:
    """The same numbers as tensors."""
    return Label(*(from_numpy(a) for a in (made.ended, made.outlived, made.cdf, made.width)))


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
