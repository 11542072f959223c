"""The monotonic clock inside compiled code, the same one as ``time.monotonic_ns``.

The kernel calls ``clock_gettime`` of the C library by its name (about 60 ns). A ctypes
function would do the same, but numba cannot cache code that holds an address.
"""

import time

from numba import types

from scheduler.compiled import compiled
from scheduler.snapshot import Ints

_MONOTONIC = time.CLOCK_MONOTONIC
_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))


@compiled
def now_ns(buffer: Ints) -> int:
    """Nanoseconds now; ``buffer`` int64[2] is scratch (a ``timespec``)."""
    _clock_gettime(_MONOTONIC, buffer.ctypes.data)
    return int(buffer[0] * 1_000_000_000 + buffer[1])
