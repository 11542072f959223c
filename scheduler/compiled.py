"""The compiler of all kernels, with types: numba's own decorator has none.

Both decorators keep a function's signature for whoever calls it, and the machine code on disk.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(function: Kernel) -> Kernel:
    """Compile for each kind of arguments at the first call, or load what an earlier run compiled.

    Numba ignores annotations. It does not notice changes in other files, such as the members of
    an enumeration: run ``make clean`` after these.
    """
    kernel: Kernel = njit(cache=True)(function)
    return kernel


def inlined(function: Kernel) -> Kernel:
    """:func:`compiled`, as a part of each kernel that calls it."""
    kernel: Kernel = njit(cache=True, inline="always")(function)
    return kernel
