"""What the columns of a request trace are called, as the field publishes them.

Names are compared without case, spaces and punctuation. A name may end in the unit of its times.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_INPUT = (
    *("inputtokens", "prompttokens", "inputlength", "promptlength", "contexttokens"),
    *("requesttokens", "numprefilltokens", "prefilltokens", "promptsize", "inputtoks"),
    *(
        "numinputtokens",
        "numprompttokens",
        "inputlen",
        "inputlens",
        "promptlen",
        "inputsize",
        "isl",
    ),
    *("prefilllength", "contextlength", "requestlength", "inputtokencount", "prompttokencount"),
)
_OUTPUT = (
    *("outputtokens", "completiontokens", "outputlength", "completionlength"),
    *("generatedtokens", "responsetokens", "numdecodetokens", "decodetokens", "tokensize"),
    *("outputtoks", "numoutputtokens", "numcompletiontokens", "numgeneratedtokens"),
    *(
        "generationtokens",
        "outputlen",
        "outputlens",
        "outputsize",
        "osl",
        "decodelength",
        "generatedlength",
    ),
    *("generationlength", "responselength", "outputtokencount", "completiontokencount"),
)
_TIME = (
    *("t", "arrival", "arrivaltime", "arrivedat", "arrivaltimestamp", "timestamp", "time"),
    *("timestampstart", "start", "starttime", "starttimestamp", "startedat", "requesttime"),
    *("requesttimestamp", "submittime", "submissiontime", "sentat", "senttime", "createdat"),
    *("created", "datetime", "ts", "queued", "queuedts", "queuedat"),
)
_UNITS_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("us", "usec", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanoseconds"), 1e-9),
}
_PUNCTUATION = re.compile(r"[^a-z0-9]")


def _time_names() -> dict[str, float | None]:
    """Every name of a time, the likeliest first, with the seconds of its unit where it tells."""
    names: dict[str, float | None] = {}
    for name in _TIME:
        units = {f"{name}{infix}{unit}": s for infix in ("", "unix", "epoch", "in")
                 for unit, s in _UNITS_S.items()}  # fmt: skip
        for spelt, unit_s in ({name: None} | units).items():
            names.setdefault(spelt, unit_s)
    return names


_TIMES = _time_names()

FORMS = (
    "t_s,input_tokens,output_tokens; or TIMESTAMP,ContextTokens,GeneratedTokens (Azure); "
    "Timestamp,Request tokens,Response tokens (BurstGPT); timestamp,input_length,output_length "
    "(Mooncake in ms, with chat_id Bailian in seconds); arrived_at,num_prefill_tokens,"
    "num_decode_tokens (Vidur)"
)


@dataclass(frozen=True, slots=True)
class TraceColumns:
    """The names of a trace's three columns; ``unit_s`` of its times in seconds, where known.

    ``may_be_ms``: named as Mooncake names them, whose times are whole milliseconds.
    """

    time: str
    input_tokens: str
    output_tokens: str
    unit_s: float | None
    may_be_ms: bool

    @classmethod
    def among(cls, names: Iterable[str]) -> "TraceColumns | None":
        """The columns among these names; nothing where one of the three is missing."""
        spelt = _spelt(names)
        time, read, written = (_first(known, spelt) for known in (_TIMES, _INPUT, _OUTPUT))
        if time is None or read is None or written is None:
            return None
        mooncake = (time, read, written) == ("timestamp", "inputlength", "outputlength")
        return cls(
            time=spelt[time],
            input_tokens=spelt[read],
            output_tokens=spelt[written],
            unit_s=_TIMES[time],
            may_be_ms=mooncake and "chatid" not in spelt,
        )


def missing_columns(names: Iterable[str]) -> str:
    """Which of the three none of these names is, for a message that lists them."""
    spelt = _spelt(names)
    wanted = {"t_s": _TIMES, "input_tokens": _INPUT, "output_tokens": _OUTPUT}
    missing = [ours for ours, known in wanted.items() if _first(known, spelt) is None]
    return f"no column {', '.join(missing)} (or of its meaning) among {', '.join(spelt.values())}"


def _spelt(names: Iterable[str]) -> dict[str, str]:
    """The names by what is compared of them."""
    spelt: dict[str, str] = {}
    for name in names:
        spelt.setdefault(_PUNCTUATION.sub("", str(name).lower()), str(name))
    return spelt


def _first(known: Iterable[str], spelt: Mapping[str, str]) -> str | None:
    return next((name for name in known if name in spelt), None)
