"""Waits for events: how long they take says something of the machine, not of the code."""

import time
from collections.abc import Callable

# Nothing takes this long on any machine: it hangs.
HANG_S = 1800.0
_LOOK_EVERY_S = 0.05


def wait_until(
    happened: Callable[[], object], *, alive: Callable[[], object] = lambda: True, what: str = "it"
) -> None:
    """Return once it has happened; fail when what could bring it about is gone, or hangs."""
    end_s = time.monotonic() + HANG_S
    while not happened():
        # Its last act may have been the event.
        assert alive() or happened(), f"{what} did not happen, and never will"
        assert time.monotonic() < end_s, f"{what} did not happen within {HANG_S:g} s"
        time.sleep(_LOOK_EVERY_S)
