"""What travels with a request into the engine process: class, SLO and predicted lengths.

vLLM carries ``vllm_xargs`` (flat strings, numbers and lists of them) from the HTTP body into
``SamplingParams.extra_args``. Clients can write there too, so nothing is trusted: a value that
does not make sense is dropped and counted, and the request is served with its class defaults.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor.distribution import LengthDistribution
from predictor.errors import DistributionError
from scheduler.slo import Slo

CLASS_KEY = "slotwise_class"
SLO_KEY = "slotwise_slo_s"
LENGTHS_KEY = "slotwise_lengths"
PRIORITY_KEY = "slotwise_priority"
OWN_PRIORITY_KEY = "slotwise_own_priority"
SHEDDABLE_KEY = "slotwise_sheddable"
PREFIX = "slotwise_"

# Of a benchmark's client: the length at which the engine ends the output. The policies must not
# know it, so it is no hint; the middleware leaves it alone.
REPLAY_TOKENS_KEY = "replay_output_tokens"

# And what travels back with a request that the scheduler ended: vLLM's ``stop_reason``.
SHED = "slotwise_shed"

XargValue = str | int | float | list[float]

# "No target" inside the flat list of three; JSON has no infinity.
_NO_TARGET = -1.0
# A float holds every whole number up to here.
LARGEST_PRIORITY = 2**53


@dataclass(frozen=True, slots=True)
class Hints:
    """What a request said of itself; ``invalid`` counts the values that had to be dropped.

    ``own_priority`` is what the client stated, ``priority`` that or else its class's.
    """

    slo_class: str | None = None
    slo: Slo | None = None
    lengths: LengthDistribution | None = None
    priority: int | None = None
    sheddable: bool = False
    invalid: int = 0
    own_priority: int | None = None


def encode(
    *,
    slo_class: str,
    slo: Slo | None = None,
    lengths: LengthDistribution | None = None,
    priority: int | None = None,
    own_priority: int | None = None,
    sheddable: bool = False,
) -> dict[str, XargValue]:
    """Return the ``vllm_xargs`` entries for one request; priorities as in vLLM."""
    xargs: dict[str, XargValue] = {CLASS_KEY: slo_class}
    if slo is not None:
        targets = (slo.ttft_s, slo.tpot_s, slo.e2e_s)
        xargs[SLO_KEY] = [_NO_TARGET if target is None else target for target in targets]
    if lengths is not None:
        xargs[LENGTHS_KEY] = lengths.to_floats()
    if priority is not None:
        xargs[PRIORITY_KEY] = priority
    if own_priority is not None:
        xargs[OWN_PRIORITY_KEY] = own_priority
    if sheddable:
        xargs[SHEDDABLE_KEY] = 1
    return xargs


def decode(extra_args: Mapping[str, object] | None) -> Hints:
    """Read what :func:`encode` wrote, or whatever a client put in its place."""
    if not extra_args:
        return Hints()
    invalid = 0
    slo_class = extra_args.get(CLASS_KEY)
    if slo_class is not None and not isinstance(slo_class, str):
        slo_class, invalid = None, invalid + 1
    slo, bad_slo = _slo(extra_args.get(SLO_KEY))
    lengths, bad_lengths = _lengths(extra_args.get(LENGTHS_KEY))
    priority, bad_priority = _whole(extra_args.get(PRIORITY_KEY))
    sheddable, bad_sheddable = _whole(extra_args.get(SHEDDABLE_KEY))
    own_priority, bad_own = _whole(extra_args.get(OWN_PRIORITY_KEY))
    invalid += bad_slo + bad_lengths + bad_priority + bad_sheddable + bad_own
    return Hints(slo_class, slo, lengths, priority, sheddable == 1, invalid, own_priority)


def replay_tokens(extra_args: Mapping[str, object] | None) -> int | None:
    """The length that a benchmark's client recorded, if the request carries one."""
    value = (extra_args or {}).get(REPLAY_TOKENS_KEY)
    return value if type(value) is int and value > 0 else None


def _numbers(value: object) -> Sequence[float] | None:
    """The value as finite floats, or ``None`` if it is anything else."""
    if not isinstance(value, list | tuple) or not set(map(type, value)) <= {int, float}:
        return None
    try:
        return value if all(map(math.isfinite, value)) else None
    except OverflowError:  # a whole number beyond any float
        return None


def _slo(value: object) -> tuple[Slo | None, int]:
    if value is None:
        return None, 0
    numbers = _numbers(value)
    if numbers is None or len(numbers) != 3:
        return None, 1
    ttft, tpot, e2e = (number if number > 0 else None for number in numbers)
    return Slo(ttft_s=ttft, tpot_s=tpot, e2e_s=e2e), 0


def _lengths(value: object) -> tuple[LengthDistribution | None, int]:
    if value is None:
        return None, 0
    numbers = _numbers(value)
    if numbers is None:
        return None, 1
    try:
        return LengthDistribution.from_floats(numbers), 0
    except DistributionError:
        return None, 1


def _whole(value: object) -> tuple[int | None, int]:
    if value is None:
        return None, 0
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_PRIORITY:
        return None, 1
    return value, 0
