"""The SLO classes in force, read anew when their file changes."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from predictor.errors import ConfigError
from scheduler.slo import Slo, SloClass
from serving.slo_config import SloConfig, load

logger = logging.getLogger(__name__)

# Of classes that the file does not name; keeps labels of metrics few.
OTHER = "other"
NO_SLO = Slo()
_NO_PROMISE = SloClass(name=OTHER, slo=NO_SLO, priority=0)


class ClassTable:
    """One reading of the file."""

    def __init__(self, config: SloConfig) -> None:
        self.config = config
        self._classes = config.slo_classes()
        self._default = self._classes.get(config.default_class or "", _NO_PROMISE)

    def has(self, name: str) -> bool:
        """Whether the file names this class."""
        return name in self._classes

    def get(self, name: str | None) -> SloClass:
        """The class of this name.

        Without a name, or with one that the file does not have: the file's default class, or a
        class without any target where the file names no default.
        """
        return self._default if name is None else self._classes.get(name, self._default)

    def resolve(
        self, name: str | None, *, targets: Slo = NO_SLO, whole: Slo | None = None
    ) -> tuple[SloClass, Slo]:
        """The class and the SLO of a request; every component resolves them here.

        A target that the request leaves out of ``targets`` is its class's. ``whole`` is an SLO that
        the request states in full: a target that is missing there does not apply.
        """
        slo_class = self.get(name)
        return slo_class, targets.over(slo_class.slo if whole is None else whole)


class SloClasses:
    """Looks at the file at most once a second; a file gone wrong leaves the old classes in force.

    ``on_reload`` is told whether a changed file could be used.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        on_reload: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        look_every_s: float = 1.0,
    ) -> None:
        self._path = path
        self._on_reload = on_reload
        self._clock = clock
        self._look_every_s = look_every_s
        self._stamp = self._look()
        self._table = ClassTable(load(path))
        self._looked_s = clock()

    @property
    def table(self) -> "ClassTable":
        """The classes in force now; hold on to it for as long as one answer takes."""
        self._refresh()
        return self._table

    def get(self, name: str | None) -> SloClass:
        """The class of this name, as :meth:`ClassTable.get`."""
        return self.table.get(name)

    def _look(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def _refresh(self) -> None:
        if self._path is None or self._clock() - self._looked_s < self._look_every_s:
            return
        self._looked_s = self._clock()
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._table = ClassTable(load(self._path))
        except ConfigError as error:
            logger.error("the SLO classes in force stay: %s", error)
            self._on_reload(False)
            return
        self._on_reload(True)
