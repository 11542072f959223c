"""The one interface of all length predictors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from predictor.distribution import LengthDistribution
from predictor.partial import PartialAnswer
from predictor.prompt import Prompt


class LengthPredictor(ABC):
    """Predicts how many tokens each answer will have, and can be stored in a folder.

    ``LengthPredictor.from_pretrained(folder)`` loads whichever kind is stored there.
    """

    @property
    @abstractmethod
    def kind(self) -> str:
        """The name under which artifacts of this predictor are stored (``history``, ...)."""

    @abstractmethod
    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """Return one distribution per prompt, in order."""

    def remaining(self, answers: Sequence[PartialAnswer]) -> list[LengthDistribution]:
        """What is left of each answer under way, given that it is longer than what is out."""
        forecasts = self.predict([answer.prompt for answer in answers])
        return [
            forecast.remaining(answer.tokens)
            for forecast, answer in zip(forecasts, answers, strict=True)
        ]

    @abstractmethod
    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""

    @classmethod
    @abstractmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`; raises ``ArtifactError``."""

    def save_pretrained(self, folder: Path | str) -> None:
        """Store as an artifact folder, whole or not at all; raises ``ArtifactError``."""
        from predictor import artifact  # noqa: PLC0415 - it knows this class

        artifact.save(self, Path(folder))

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """Load what :meth:`save_pretrained` stored; a subclass insists on its own kind."""
        from predictor import artifact  # noqa: PLC0415 - it knows this class

        return artifact.load_as(cls, Path(folder))
