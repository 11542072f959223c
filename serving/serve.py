"""The command line of vLLM's own server with Slotwise in it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor.errors import ConfigError
from serving.engine import companions, layout
from serving.engine.config import SAFE_PATH, VLLM_SERVER
from serving.serve_defaults import CpuDefaults
from serving.settings import Settings
from serving.vllm_arguments import VllmArguments

SCHEDULER = "serving.vllm_scheduler.SlotwiseScheduler"
MIDDLEWARE = "serving.middleware.asgi.SlotwiseMiddleware"

# What a user who gives one of these cannot have meant together with `slotwise serve`.
_OURS = ("--scheduler-cls", "--model", "--no-async-scheduling")
_NAMED = "--served-model-name"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command and its environment; ``notes`` say what was chosen for this machine."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    notes: tuple[str, ...] = ()


def launch(
    model: str, flags: Sequence[str], settings: Settings, *, name: str, told: Mapping[str, str]
) -> Launch:
    """vLLM's server for ``model`` with all ``flags``; ``told`` are our variables from flags.

    Requests call the model ``name``, unless the flags or the file of vLLM's ``--config`` say
    otherwise. Raises ``ConfigError`` for what would take our part out again.
    """
    given = VllmArguments.of(flags)
    _refuse(given)
    ours: tuple[str, ...] = ()
    if settings.mode != "off":
        ours = ("--scheduler-cls", SCHEDULER, "--middleware", MIDDLEWARE)
    # vLLM puts the file's flags first: ours would overrule them.
    defaults = {_NAMED: name, **layout.arguments(None)}
    free = {option: value for option, value in defaults.items() if given.where(option) is None}
    spread = [text for option in free.items() for text in option]
    cpu = CpuDefaults.of(model, given)
    return Launch(
        command=(*VLLM_SERVER, "--model", model, *ours, *spread, *cpu.arguments, *cpu.flags),
        environment={
            **os.environ,
            **SAFE_PATH,
            **companions.environment(),
            **layout.environment(None),
            **told,
        },
        notes=tuple(cpu.notes),
    )


def _refuse(given: VllmArguments) -> None:
    for option in _OURS:
        where = given.where(option)
        if where is not None:
            raise ConfigError(
                f"{where} is what `slotwise serve` sets itself: leave it out, or start vLLM "
                "without `slotwise serve`"
            )
    if given.flags and not given.flags[0].startswith("-"):
        raise ConfigError(
            f"'{given.flags[0]}' follows the model: one model is served; every other argument is "
            "a flag of vLLM's"
        )
