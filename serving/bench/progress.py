"""Shows how far a benchmark is: one bar per policy."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from serving.bench.replay import ReplayEvent


class BenchProgress:
    """A live display; on output that is no terminal each phase is printed as a line instead."""

    def __init__(self, console: Console, requests: int) -> None:
        self._console = console
        self._requests = requests
        self._progress = Progress(
            TextColumn("[bold]{task.fields[policy]:<16}"),
            TextColumn("{task.description:<42}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[met]}"),
            TimeElapsedColumn(),
            console=console,
        )

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def begin(self, policy: str) -> "PolicyBar":
        """Add the bar of a policy whose turn has come."""
        task = self._progress.add_task("", total=self._requests, policy=policy, met="")
        return PolicyBar(self._progress, task, policy, live=self._console.is_terminal)


class PolicyBar:
    """One policy's line."""

    def __init__(self, progress: Progress, task: TaskID, policy: str, *, live: bool) -> None:
        self._progress = progress
        self._task = task
        self._policy = policy
        self._live = live
        self._met = 0
        self._last = ""

    def phase(self, what: str) -> None:
        """Say what the policy's engine is doing."""
        self._progress.update(self._task, description=what)
        name = what.partition(" (")[0]
        if not self._live and name != self._last:
            self._last = name
            self._progress.console.print(f"{self._policy}: {name}", highlight=False)

    def event(self, event: ReplayEvent) -> None:
        """Count a request that has finished."""
        if event.record is None:
            return
        self._met += bool(event.record.met)
        self._progress.update(self._task, advance=1, met=f"{self._met} met")
