"""The one interface of all length predictors."""

from collections.abc import Sequence
from typing import Protocol

from predictor.distribution import LengthDistribution
from predictor.prompt import Prompt


class LengthPredictor(Protocol):
    """Predicts how many tokens each answer will have."""

    @property
    def kind(self) -> str:
        """The name under which artifacts of this predictor are stored (``history``, ...)."""
        ...

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """Return one distribution per prompt, in order."""
        ...
