"""What a request was promised: by its headers, its body and its class."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.slo import Slo, SloClass
from serving.slo_classes import ClassTable
from serving.xargs import LARGEST_PRIORITY, decode

# llm-d's spellings, its deprecated ones, and ours for what nobody else has.
_TTFT = (b"x-llm-d-slo-ttft-ms", b"x-slo-ttft-ms")
_TPOT = (b"x-llm-d-slo-tpot-ms", b"x-slo-tpot-ms")
_E2E = (b"x-slo-e2e-ms",)
# And the name that gateways before llm-d's own headers send.
_CLASS = (b"x-llm-d-inference-objective", b"x-gateway-inference-objective")

# A gateway sends the time that is left, down to nothing: a promise that is lost already.
_LEAST_MS = 1e-3
# OpenAI's and Anthropic's words for "whatever is usual".
_USUAL_TIERS = frozenset({"auto", "default", "standard_only"})


@dataclass(frozen=True, slots=True)
class Promise:
    """``priority`` is the client's or else the class's, as in vLLM: lower is earlier.

    ``own_priority`` is the client's alone, which acts under every policy that looks at priorities.
    ``ignored`` names what a client sent that could not be read, each of a closed list.
    """

    slo_class: SloClass
    slo: Slo
    priority: int
    ignored: tuple[str, ...] = ()
    own_priority: int | None = None


@dataclass(slots=True)
class _Reading:
    """What was understood so far."""

    headers: Mapping[bytes, bytes]
    ignored: list[str] = field(default_factory=list)

    def milliseconds(self, names: Iterable[bytes], kind: str) -> float | None:
        """The first of these headers that is there, in seconds."""
        for name in names:
            raw = self.headers.get(name)
            if raw is None:
                continue
            try:
                value = float(raw)
            except ValueError:
                value = math.nan
            if math.isfinite(value) and value >= 0:
                return max(value, _LEAST_MS) / 1e3
            self.ignored.append(kind)
        return None


def promise_of(
    headers: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any], classes: ClassTable
) -> Promise:
    """Read headers (lower case, as ASGI has them) over the body over the class's own targets.

    Nothing raises: what cannot be read is ignored and named.
    """
    reading = _Reading(dict(headers))
    xargs = body.get("vllm_xargs")
    hints = decode(xargs if isinstance(xargs, Mapping) else None)
    if hints.invalid:
        reading.ignored.append("xargs")
    name = _class_name(reading, body, hints.slo_class, classes)
    targets = Slo(
        ttft_s=reading.milliseconds(_TTFT, "ttft"),
        tpot_s=reading.milliseconds(_TPOT, "tpot"),
        e2e_s=reading.milliseconds(_E2E, "e2e"),
    )
    slo_class, slo = classes.resolve(name, targets=targets, whole=hints.slo)
    own_priority = _own_priority(reading, body)
    return Promise(
        slo_class=slo_class,
        slo=slo,
        priority=slo_class.priority if own_priority is None else own_priority,
        ignored=tuple(reading.ignored),
        own_priority=own_priority,
    )


def vllm_priority(importance: int) -> int:
    """Dynamo, SGLang and llm-d count importance (higher first), vLLM turns (lower first)."""
    return -importance


def _class_name(
    reading: _Reading, body: Mapping[str, Any], hinted: str | None, classes: ClassTable
) -> str | None:
    """By header (the older name last), by our key of ``vllm_xargs``, by ``service_tier``."""
    objectives = [reading.headers.get(name, b"").decode("latin-1").strip() for name in _CLASS]
    tier = body.get("service_tier")
    named = [*(("class", name) for name in (*objectives, hinted)), ("service_tier", tier)]
    for kind, name in named:
        if not name:
            continue
        if isinstance(name, str):
            if kind == "service_tier" and name in _USUAL_TIERS:
                continue
            if classes.has(name):
                return name
        reading.ignored.append(kind)
    return None


def _own_priority(reading: _Reading, body: Mapping[str, Any]) -> int | None:
    """vLLM reads its header and the body by itself; here it is for the policy."""
    raw: object = reading.headers.get(b"x-vllm-priority", body.get("priority"))
    hints = body.get("nvext")
    agent = hints.get("agent_hints") if isinstance(hints, Mapping) else None
    importance = agent.get("priority") if isinstance(agent, Mapping) else None
    if raw is None and importance is not None:
        number = _whole(importance)
        if number is not None:
            return vllm_priority(number)
    if raw is not None:
        number = _whole(raw)
        if number is not None:
            return number
    if raw is not None or importance is not None:
        reading.ignored.append("priority")
    return None


def _whole(value: object) -> int | None:
    if isinstance(value, bytes):
        try:
            value = int(value)
        except ValueError:
            return None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) <= LARGEST_PRIORITY else None
