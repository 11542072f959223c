"""The command line of vLLM's own server with Slotwise in it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor.errors import ConfigError
from serving.engine import layout
from serving.engine.config import VLLM_SERVER
from serving.settings import Settings

SCHEDULER = "serving.vllm_scheduler.SlotwiseScheduler"
MIDDLEWARE = "serving.middleware.asgi.SlotwiseMiddleware"

# What a user who gives one of these cannot have meant together with `slotwise serve`.
_OURS = ("--scheduler-cls", "--scheduler_cls", "--model", "--no-async-scheduling")
_NAMED = frozenset({"--served-model-name", "--served_model_name"})


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: a command and its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def launch(
    model: str, flags: Sequence[str], settings: Settings, *, name: str, told: Mapping[str, str]
) -> Launch:
    """vLLM's server for ``model`` with all ``flags``; ``told`` are our variables from flags.

    Requests call the model ``name``, unless the flags say otherwise.

    Raises ``ConfigError`` for a flag that would take our part out again.
    """
    given = [flag.partition("=")[0] for flag in flags]
    for flag in given:
        if flag in _OURS:
            raise ConfigError(
                f"{flag} is what `slotwise serve` sets itself: leave it out, or start vLLM "
                "without `slotwise serve`"
            )
    ours: tuple[str, ...] = ()
    if settings.mode != "off":
        ours = ("--scheduler-cls", SCHEDULER, "--middleware", MIDDLEWARE)
    if not _NAMED.intersection(given):
        ours = (*ours, "--served-model-name", name)
    spread = [text for option in layout.arguments(None).items() for text in option]
    return Launch(
        command=(*VLLM_SERVER, "--model", model, *ours, *spread, *flags),
        environment={**os.environ, **layout.environment(None), **told},
    )
