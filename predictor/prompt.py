"""What a length predictor may know of a request before it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt to predict for.

    ``task`` is the name of its SLO class (``code``, ``chat``, ...); ``input_tokens`` may be
    unknown (``None``); ``max_tokens`` truncates the predicted distribution. ``llm`` is the LLM
    that will answer and ``temperature`` how it samples: a predictor that knows several LLMs
    needs the name, and answers for one it has never seen with its stated prior.
    """

    text: str
    task: str = "chat"
    input_tokens: int | None = None
    max_tokens: int | None = None
    llm: str | None = None
    temperature: float | None = None
