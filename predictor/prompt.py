"""What a length predictor may know of a request before it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt to predict for.

    ``task`` is the name of its SLO class (``code``, ``chat``, ...); ``input_tokens`` may be
    unknown (``None``); ``max_tokens`` truncates the predicted distribution.
    """

    text: str
    task: str = "chat"
    input_tokens: int | None = None
    max_tokens: int | None = None
