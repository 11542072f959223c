"""Takes up a model that was promoted, wherever that happened."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from predictor.errors import ArtifactError, PredictionError
from serving.predictors import predictor_stamp

logger = logging.getLogger(__name__)


class ModelWatch:
    """Looks every ``period_s`` whether the model is another, and has it loaded then.

    What cannot be asked or loaded is said and tried again; the old model answers meanwhile. A
    fleet whose parts all watch mixes models for at most a period and the time of a load.
    """

    def __init__(
        self,
        source: str,
        reload: Callable[[], Awaitable[object]],
        *,
        period_s: float,
        stamp: Callable[[str], str] = predictor_stamp,
    ) -> None:
        self._source = source
        self._reload = reload
        self._period_s = period_s
        self._stamp = stamp
        self._loaded: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._period_s)
            await self.look()

    async def look(self) -> None:
        """Load what is there unless it is loaded; the first look loads in any case."""
        try:
            # Before the load: who is promoted meanwhile is found by the next look.
            stamp = await asyncio.to_thread(self._stamp, self._source)
            if stamp != self._loaded:
                await self._reload()
                self._loaded = stamp
        except (ArtifactError, PredictionError) as error:
            logger.warning("model %s: %s; tried again", self._source, error)
        except Exception:
            # A registry has faults of its own; whoever watches must go on watching.
            logger.exception("model %s cannot be looked for; tried again", self._source)
