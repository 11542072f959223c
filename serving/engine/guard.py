"""``python guard.py GRACE_S COMMAND...``: runs an engine and leaves nothing of it behind.

An engine is several processes, and the one that started it may die without a word. The guard
stands between: it ends the engine's whole process group when it is told to (by a signal), when its
standard input closes (so the parent is gone, however it went) or when the engine's first process
ends. It exits with that process's status, and only once the whole group is gone. It is no part
of a package, so that it starts in milliseconds.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.02

# Blocked and waited for, so that none can interrupt the clean-up.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_AWAITED = (*_ENDING, signal.SIGCHLD)


def main(grace_s: float, command: list[str]) -> int:
    """Run the command until it ends or is to end; return its status as a shell would."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    engine = _start(command)
    threading.Thread(target=_watch_parent, daemon=True).start()
    status = _wait_for(engine.pid)
    _end_group(engine.pid, grace_s)
    return status


def _start(command: list[str]) -> "subprocess.Popen[bytes]":
    """Start the engine in a group of its own."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=_become_engine,  # noqa: PLW1509 - the guard has no thread yet
    )


def _become_engine() -> None:
    """Let signals through again, and die with the guard, should that be killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch_parent() -> None:
    """Wait for the other end of standard input to close: nothing is ever written there."""
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for(pid: int) -> int:
    """Wait until the engine's first process ends, or is to end; return its status."""
    while signal.sigwait(_AWAITED) not in _ENDING:
        for ended, status in _reap():
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
    return 0


def _reap() -> list[tuple[int, int]]:
    """Take leave of children that have ended; orphans of the engine come to the guard, too."""
    ended: list[tuple[int, int]] = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(one)
    return ended


def _end_group(group: int, grace_s: float) -> None:
    """SIGTERM, then SIGKILL once the grace is over; return when the group is gone."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, sent)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            if _gone(group):
                return
            time.sleep(_POLL_S)


def _gone(group: int) -> bool:
    """Whether no process of the group is left."""
    _reap()
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def _prctl(option: int, value: int) -> None:
    """Set a Linux process option; other systems have none of these."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
