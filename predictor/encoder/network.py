"""The network: a prompt's encoding, what LLM answers it, and the hazards of its length."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class HeadShape:
    """Sizes of everything above the encoder."""

    text_width: int
    features: int
    settings: int
    llms: int
    bins: int
    hidden: int = 256
    llm_width: int = 32
    dropout: float = 0.1


class HazardHead(nn.Module):
    """Logits of the hazard P(length in bin b | length beyond bin b - 1), for bins 0..B-2.

    The prompt's encoding and its lexical features pass a trunk that all LLMs share; the vector
    of the LLM, moved by how it samples, then scales, shifts and biases it (FiLM,
    arXiv 1709.07871). A new LLM costs one vector, and no weight of the trunk changes.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        self.llm = nn.Embedding(shape.llms, shape.llm_width)
        nn.init.normal_(self.llm.weight, std=0.3)
        self.settings = nn.Linear(shape.settings, shape.llm_width, bias=False)
        nn.init.zeros_(self.settings.weight)
        self.trunk = nn.Sequential(
            nn.Linear(shape.text_width + shape.features, shape.hidden),
            nn.GELU(),
            nn.Dropout(shape.dropout),
        )
        self.film = nn.Linear(shape.llm_width, 2 * shape.hidden)
        self.mix = nn.Sequential(
            nn.GELU(), nn.Linear(shape.hidden, shape.hidden), nn.GELU(), nn.Dropout(shape.dropout)
        )
        self.hazard = nn.Linear(shape.hidden, shape.bins - 1)
        self.bias = nn.Linear(shape.llm_width, shape.bins - 1, bias=False)

    def prompt(self, pooled: Tensor, features: Tensor) -> Tensor:
        """float[n, hidden] that depend on the prompt alone."""
        trunk: Tensor = self.trunk(torch.cat((pooled, features), dim=-1))
        return trunk

    def forward(self, prompt: Tensor, llm: Tensor, settings: Tensor) -> Tensor:
        """float[n, B - 1] from :meth:`prompt`, LLM vectors float[n, W] and settings float[n, S]."""
        who = llm + self.settings(settings)
        scale, shift = self.film(who).chunk(2, dim=-1)
        mixed = self.mix(prompt * (1.0 + scale) + shift)
        logits: Tensor = self.hazard(mixed) + self.bias(who)
        return logits


class LengthNetwork(nn.Module):
    """Encoder and head."""

    def __init__(self, backbone: nn.Module, shape: HeadShape) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = HazardHead(shape)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """float[n, 2 * width]: the mean over the tokens and the first token."""
        return pool(self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    @property
    def can_split(self) -> bool:
        """Whether the encoder is a plain stack, so that its lower layers can run apart."""
        return hasattr(getattr(self.backbone, "encoder", None), "layer")

    def lower(self, ids: Tensor, mask: Tensor, layers: int) -> Tensor:
        """float[n, tokens, width]: the token states after the first so many layers."""
        stack = self.backbone.encoder.layer
        self.backbone.encoder.layer = stack[:layers]
        try:
            states: Tensor = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        finally:
            self.backbone.encoder.layer = stack
        return states

    def pooled_from(self, states: Tensor, mask: Tensor, layers: int) -> Tensor:
        """:meth:`pooled`, taken up from what :meth:`lower` gave."""
        visible = mask[:, None, None, :].bool()
        for layer in self.backbone.encoder.layer[layers:]:
            states = layer(states, visible)
        return pool(states, mask)


def pool(states: Tensor, mask: Tensor) -> Tensor:
    """float[n, 2 * width] of float[n, tokens, width]: the tokens' mean and the first token."""
    states = states.float()
    weights = mask.unsqueeze(-1).to(states.dtype)
    mean = (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
    return torch.cat((mean, states[:, 0]), dim=-1)


def log_survival(logits: Tensor) -> Tensor:
    """float[n, B]: log P(length beyond bin b) for b < B - 1, and a very negative end."""
    beyond = torch.cumsum(nn.functional.logsigmoid(-logits), dim=-1)
    return torch.cat((beyond, torch.full_like(beyond[:, :1], -60.0)), dim=-1)


def cdf_at_edges(logits: Tensor) -> Tensor:
    """float[n, B + 1], from 0 to 1."""
    survival = log_survival(logits).exp()
    ones = torch.ones_like(survival[:, :1])
    cdf = 1.0 - torch.cat((ones, survival[:, :-1]), dim=-1)
    return torch.cat((cdf, ones), dim=-1)
