"""When the latency model is fitted anew, in the step's own thread or in one of its own."""

import logging
import threading
from queue import SimpleQueue

import numpy as np

from scheduler.latency import Floats, StepLatency, StepWork
from scheduler.latency_fitter import LatencyFitter

logger = logging.getLogger(__name__)

# A fit takes in so many steps, or fewer that took so long together: where a step takes a quarter of
# a second, 64 of them are more than a machine that changes can wait for.
REFIT_STEPS = 64
REFIT_S = 2.0


class Refit:
    """Gathers steps and fits the model to them, sooner until it stands.

    A fit is due after :data:`REFIT_STEPS`, or after steps that took :data:`REFIT_S` together.

    ``latest`` is always a whole model: a new one takes the old one's place in one assignment.
    In the background a fit (about 1 ms) costs the thread that steps the engine nothing but a
    queue's put; the same steps give the same models either way, only later.
    """

    def __init__(self, latency: StepLatency | None = None, *, background: bool = False) -> None:
        self.latest = latency
        self._fitter = LatencyFitter()
        self._noted: list[tuple[float, ...]] = []
        self._noted_s = 0.0
        self._queue: SimpleQueue[Floats | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._run, name="slotwise-refit", daemon=True)
            self._thread.start()

    def observe(self, work: StepWork, step_s: float) -> None:
        """Take in one step."""
        self._noted.append((*work, step_s))
        self._noted_s += step_s
        self._hand_over_if_due()

    def observe_all(self, steps: Floats) -> None:
        """:meth:`observe` for float64[n, 8]: the columns of ``StepWork``, then seconds."""
        self._noted.extend(map(tuple, steps.tolist()))
        self._noted_s += float(steps[:, -1].sum())
        self._hand_over_if_due()

    def close(self) -> None:
        """Fit what was handed over and end the thread, if there is one."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _hand_over_if_due(self) -> None:
        due = len(self._noted) >= REFIT_STEPS or self._noted_s >= REFIT_S
        if not self._noted or not (due or self.latest is None):
            return
        steps = np.array(self._noted)
        self._noted, self._noted_s = [], 0.0
        if self._thread is None:
            self._fit(steps)
        else:
            self._queue.put(steps)

    def _run(self) -> None:
        while (steps := self._queue.get()) is not None:
            self._fit(steps)

    def _fit(self, steps: Floats) -> None:
        self._fitter.observe_all(steps)
        try:
            self.latest = self._fitter.fit() or self.latest
        except (np.linalg.LinAlgError, RuntimeError) as error:  # did not converge
            logger.warning("refit of the latency model failed (%s): the one before stays", error)
