"""Notices during a replay that the engine has died."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

_LOOK_EVERY_S = 0.5
_PROBE_TIMEOUT_S = 5.0
_LAST_LOOKS = 6


@dataclass(slots=True)
class EngineWatch:
    """Asks twice a second whether the engine still lives; its port only when there is a reason.

    ``process_death`` (``EngineProcess.death``) answers with a reason once the process is gone.
    """

    client: httpx.AsyncClient
    process_death: Callable[[], str | None] | None = None
    _suspicion: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def suspect(self) -> None:
        """Look at once: a connection failed."""
        self._suspicion.set()

    async def death(self) -> str:
        """Return why the engine is gone, as soon as it is."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._suspicion.wait(), _LOOK_EVERY_S)
            if reason := await self._look():
                return reason

    async def last_look(self) -> str | None:
        """Return why the engine is gone, or None if it is well three seconds from now.

        For the end of a replay with failed requests. A server whose engine core dies ends every
        stream with an error at once, and only then begins to shut down.
        """
        for _ in range(_LAST_LOOKS):
            self.suspect()
            if reason := await self._look():
                return reason
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _look(self) -> str | None:
        if self.process_death is not None and (reason := self.process_death()):
            return reason
        if not self._suspicion.is_set():
            return None
        self._suspicion.clear()
        return await self._probe()

    async def _probe(self) -> str | None:
        try:
            answer = await self.client.get("/health", timeout=_PROBE_TIMEOUT_S)
        except httpx.ConnectError:
            return f"the engine at {self.client.base_url} died: it takes no connections any more"
        except httpx.TransportError:
            return None  # busy or about to die: the next failure asks again
        if answer.is_server_error:
            return (
                f"the engine at {self.client.base_url} died: "
                f"it answers {answer.status_code} to /health"
            )
        return None
