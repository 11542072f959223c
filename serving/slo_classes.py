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
_NO_PROMISE = SloClass(name=OTHER, slo=Slo(), priority=0)


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
        """The class of this name, the default for none; one that promises nothing if unknown."""
        return self._default if name is None else self._classes.get(name, _NO_PROMISE)


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
