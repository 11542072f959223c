"""The JSON body of a request that generates: what is asked, and room for what we add."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from predictor.output_limits import OutputLimits
from serving.middleware.prompts import prompt_texts
from serving.middleware.routes import CHAT, COMPLETIONS, PATHS, kind_of
from serving.middleware.stated_limits import EngineDefaults, stated_limits
from serving.xargs import PREFIX, XargValue

__all__ = ["CHAT", "COMPLETIONS", "PATHS", "CompletionBody"]


@dataclass(frozen=True, slots=True)
class CompletionBody:
    """``fields`` of what the client sent; ``texts`` are its prompts, of token ids nothing.

    ``kind`` is the route whose form the body has.
    """

    raw: bytes
    fields: Mapping[str, Any]
    texts: tuple[str, ...]
    kind: str = CHAT

    @classmethod
    def parse(cls, raw: bytes, *, path: str) -> "CompletionBody | None":
        """Nothing where this is no JSON object with a prompt: vLLM has its own words for that."""
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(fields, dict):
            return None
        kind = kind_of(path, fields)
        texts = prompt_texts(kind, fields)
        return None if texts is None else cls(raw, fields, texts, kind)

    @property
    def answers(self) -> int:
        """How many answers are asked for: ``n`` to each prompt."""
        n = self.fields.get("n") if self.kind in (CHAT, COMPLETIONS) else 1
        each = n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 1
        return each * max(len(self.texts), 1)

    @property
    def sheddable(self) -> bool:
        """Whether the answer shows that the scheduler ended it, and none of several has begun."""
        return self.answers == 1 and self.kind in (CHAT, COMPLETIONS)

    def limits(self, engine: EngineDefaults = EngineDefaults()) -> OutputLimits:  # noqa: B008
        """What the request and the engine say of each answer's length."""
        return stated_limits(self.kind, self.fields, engine)

    @property
    def temperature(self) -> float | None:
        """How it is sampled."""
        value = self.fields.get("temperature")
        return float(value) if isinstance(value, int | float) and 0 <= value <= 100 else None

    @property
    def model(self) -> str | None:
        """Which LLM is to answer."""
        name = self.fields.get("model")
        return name if isinstance(name, str) else None

    def with_xargs(self, xargs: Mapping[str, XargValue]) -> bytes:
        """The body with these entries of ``vllm_xargs``; the client's own keys of ours are gone."""
        theirs = self.fields.get("vllm_xargs")
        theirs = theirs if isinstance(theirs, dict) else {}
        kept = {name: value for name, value in theirs.items() if not name.startswith(PREFIX)}
        try:
            return orjson.dumps({**self.fields, "vllm_xargs": {**kept, **xargs}})
        except orjson.JSONEncodeError:
            return self.raw  # what is nested deeper than can be written goes as it came
