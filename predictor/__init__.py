"""Output-length prediction: a distribution of output tokens for each prompt.

``predictor.load("packaged").predict([Prompt("Write a poem")])`` is all that most users need.
Importing this package loads nothing heavy: each name below is imported when it is first used.
"""

from typing import TYPE_CHECKING

from predictor.lazy import lazy_names

if TYPE_CHECKING:
    from predictor.distribution import LengthDistribution
    from predictor.errors import SlotwiseError
    from predictor.partial import PartialAnswer
    from predictor.prompt import Prompt
    from predictor.protocol import LengthPredictor
    from predictor.source import load
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "LengthDistribution": "predictor.distribution",
            "LengthPredictor": "predictor.protocol",
            "PartialAnswer": "predictor.partial",
            "Prompt": "predictor.prompt",
            "SlotwiseError": "predictor.errors",
            "load": "predictor.source",
        },
    )

__all__ = [
    "LengthDistribution",
    "LengthPredictor",
    "PartialAnswer",
    "Prompt",
    "SlotwiseError",
    "load",
]
