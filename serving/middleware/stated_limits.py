"""What a request and the engine behind it say of the output's length, by HTTP route."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from predictor.output_limits import OutputLimits
from serving.middleware.routes import BATCH, CHAT, COMPLETIONS, MESSAGES, RESPONSES

# No model writes more, whatever a client allows.
_MOST_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineDefaults:
    """What vLLM puts in where a request says nothing, as far as its server shows it.

    ``max_tokens`` stands in for one that is left out, ``most_tokens`` bounds every output
    (``--override-generation-config``), and prompt and output share ``max_model_len``.
    """

    max_tokens: int | None = None
    most_tokens: int | None = None
    max_model_len: int | None = None

    @classmethod
    def of(cls, app: object) -> "EngineDefaults":
        """Read the state of vLLM's application; what is not there is not known."""
        chat = getattr(getattr(app, "state", None), "openai_serving_chat", None)
        defaults = getattr(chat, "default_sampling_params", None)
        model = getattr(chat, "model_config", None)
        return cls(
            max_tokens=_tokens(defaults.get("max_tokens") if isinstance(defaults, dict) else None),
            most_tokens=_tokens(getattr(chat, "override_max_tokens", None)),
            max_model_len=_tokens(getattr(model, "max_model_len", None)),
        )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Which fields vLLM reads on a route: others of the same names do nothing there."""

    max_tokens: tuple[str, ...]
    default: int | None = None
    min_tokens: bool = True
    ignore_eos: bool = True


_FIELDS: Mapping[str, _Fields] = {
    CHAT: _Fields(("max_completion_tokens", "max_tokens")),
    BATCH: _Fields(("max_completion_tokens", "max_tokens")),
    COMPLETIONS: _Fields(("max_tokens",), default=16),
    RESPONSES: _Fields(("max_output_tokens",), min_tokens=False),
    MESSAGES: _Fields(("max_tokens",), min_tokens=False, ignore_eos=False),
}


def stated_limits(
    kind: str,
    fields: Mapping[str, Any],
    engine: EngineDefaults = EngineDefaults(),
) -> OutputLimits:
    """The limits of a body in the form of the route ``kind``.

    Of a prompt as text the tokens are not known, so the context's length alone bounds the output
    here; the scheduler knows them and cuts the forecast exactly.
    """
    read = _FIELDS[kind]
    asked = next((t for name in read.max_tokens if (t := _tokens(fields.get(name)))), None)
    if asked is None:
        asked = read.default or engine.max_tokens
    room = None
    if engine.max_model_len is not None:
        room = max(engine.max_model_len - _prompt_tokens(kind, fields), 1)
    known = [each for each in (asked, engine.most_tokens, room) if each is not None]
    least = _tokens(fields.get("min_tokens")) if read.min_tokens else None
    return OutputLimits(
        max_tokens=min(known) if known else None,
        min_tokens=least or 0,
        ignore_eos=read.ignore_eos and _is_true(fields.get("ignore_eos")),
        stops=bool(fields.get("stop") or fields.get("stop_token_ids")),
    )


def _prompt_tokens(kind: str, fields: Mapping[str, Any]) -> int:
    """Those of the shortest prompt, as far as they are known: at least one."""
    prompt = fields.get("prompt") if kind == COMPLETIONS else None
    if not isinstance(prompt, list) or not prompt:
        return 1
    if all(isinstance(each, int) for each in prompt):
        return len(prompt)
    return min(_lengths(prompt))


def _lengths(prompts: Iterable[object]) -> Iterable[int]:
    return (max(len(each), 1) if isinstance(each, list) else 1 for each in prompts)


def _tokens(value: object) -> int | None:
    """A positive count of tokens, in the forms that vLLM takes: 400, 400.0, "400"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return min(value, _MOST_TOKENS) if isinstance(value, int) and value > 0 else None


def _is_true(value: object) -> bool:
    """As pydantic reads a flag."""
    if isinstance(value, str):
        return value.lower() in ("true", "1", "yes", "y", "on", "t")
    return value is True or value == 1
