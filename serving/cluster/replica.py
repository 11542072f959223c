"""One engine of the fleet: Ray's vLLM server with our scheduler in it, which says how it is."""

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.llm._internal.serve.core.protocol import RawRequestInfo
from ray.serve.llm import LLMServer
from starlette.requests import Request
from vllm.v1.engine.exceptions import EngineDeadError

from predictor.errors import ClusterError
from serving.cluster.board_actor import BoardLink
from serving.cluster.report import ReplicaReport
from serving.cluster.reporter import Reporter
from serving.engine import dtype
from serving.scratch_folder import ScratchFolder
from serving.settings import load as load_settings

logger = logging.getLogger(__name__)

_POST_S, _JOIN_S = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a replica says of one request, in the stream of its answer: before the first part
    without numbers, and behind the last of a stream with vLLM's own count."""

    replica: int
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass
class WatchedRequest(RawRequestInfo):  # type: ignore[misc]
    """Remembers the request that vLLM is shown, on which it leaves its count."""

    shown: list[Request] = field(default_factory=list)

    def to_starlette_request(self) -> Request:
        """As vLLM is shown it."""
        request: Request = super().to_starlette_request()
        self.shown.append(request)
        return request

    def served(self, replica: int) -> Served | None:
        """vLLM's count, once the answer is whole."""
        for request in self.shown:
            usage = getattr(
                getattr(request.state, "request_metadata", None), "final_usage_info", None
            )
            if usage is not None:
                return Served(replica, usage.prompt_tokens, usage.completion_tokens)
        return None


class SlotwiseServer(LLMServer):  # type: ignore[misc]
    """Ray Serve's LLM server; its engine's digest goes to the board."""

    async def __init__(self, llm_config: Any, **kwargs: Any) -> None:  # type: ignore[misc]
        settings = load_settings().settings
        context = serve.get_replica_context()
        self._rank = int(context.rank.rank)
        named = str(llm_config.get_engine_config().actual_hf_model_id)
        self._board = BoardLink()
        # Of a start that fails the process ends, and the next start deletes it.
        self._folder = ScratchFolder.new("slotwise-engine-")
        digest_file = self._folder.path / "digest"
        # vLLM's engine core is a process of its own that inherits this one's environment.
        os.environ["SLOTWISE_DIGEST_FILE"] = str(digest_file)
        _choose_dtype(llm_config)
        await super().__init__(llm_config, **kwargs)
        self._reporter = Reporter(
            path=digest_file,
            replica=context.replica_id.unique_id,
            rank=self._rank,
            model=fingerprint(named),
            named=named,
            period_s=settings.digest_period_ms / 1e3,
            hang_s=settings.engine_hang_s,
            post=self._post,
            alive=self.engine.check_health,
            on_hang=_end_engine,
        )
        await self._join()
        self._reporting = asyncio.get_running_loop().create_task(self._reporter.run())

    async def check_health(self) -> None:
        """Raise if the engine is dead or hangs: Ray then starts this replica anew."""
        await super().check_health()
        if self._reporting.done():
            raise ClusterError(f"replica {self._rank} has stopped to report; it is started anew")
        if self._reporter.hangs:
            raise ClusterError(
                f"replica {self._rank}: the engine has {self._reporter.in_flight} requests and "
                "said nothing for too long; it is started anew"
            )

    async def __del__(self) -> None:
        """Ray's way to end a replica in order."""
        self._folder.remove()
        self._reporting.cancel()
        await super().__del__()

    async def _run_request(
        self,
        request: Any,
        *,
        engine_method: str,
        batch_output_stream: bool = False,
        raw_request_info: RawRequestInfo | None = None,
    ) -> AsyncGenerator[Any, None]:
        headers = {} if raw_request_info is None else raw_request_info.headers
        watched = WatchedRequest(headers=headers)
        stream = await super()._run_request(
            request,
            engine_method=engine_method,
            batch_output_stream=batch_output_stream,
            raw_request_info=watched,
        )
        return self._accompanied(stream, watched)

    async def _accompanied(
        self, stream: AsyncGenerator[Any, None], watched: WatchedRequest
    ) -> AsyncGenerator[Any, None]:
        self._reporter.entered()
        try:
            yield Served(self._rank)
            begun = False
            async for part in stream:
                if not begun and _is_error(part):
                    # vLLM turns the death of its engine into an answer; it is none.
                    await self._raise_if_dead()
                begun = True
                yield part
            served = watched.served(self._rank)
            if served is not None:
                yield served
        finally:
            self._reporter.left()

    async def _raise_if_dead(self) -> None:
        assert self.engine is not None
        try:
            await self.engine.check_health()
        except Exception as error:
            raise EngineDeadError from error

    async def _join(self) -> None:
        """Raises ``ClusterError`` if the others serve another model; a board away is no reason."""
        reporter = self._reporter
        report = ReplicaReport(reporter.replica, reporter.rank, reporter.model, reporter.named)
        try:
            await asyncio.wait_for(self._board.actor.join.remote(report), _JOIN_S)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, ClusterError) else error from None
        except (RayError, TimeoutError) as error:
            logger.warning("the board does not answer: %r; joined without it", error)
            self._board.lost()

    async def _post(self, report: ReplicaReport) -> None:
        try:
            # One at a time: while the board is away nothing piles up.
            await asyncio.wait_for(self._board.actor.post.remote(report), _POST_S)
        except (RayError, TimeoutError) as error:
            logger.debug("the board does not answer: %s", error)
            self._board.lost()


def _choose_dtype(llm_config: Any) -> None:
    """Here and not where the fleet was described: another node may have another processor."""
    asked = llm_config.engine_kwargs.get("dtype", dtype.AUTO)
    found = dtype.chosen(asked)
    if found != asked:
        llm_config.update_engine_kwargs(dtype=found)
        logger.info("%s", dtype.reason(found))


def _is_error(part: Any) -> bool:
    """Whether vLLM answers with an error, in a stream or in one piece."""
    first = part[0] if isinstance(part, list) and part else part
    if isinstance(first, str):
        return first.startswith('data: {"error"')
    return getattr(first, "error", None) is not None


def _end_engine() -> None:
    """Kill vLLM's processes; what waits for them fails at once, and can be placed anew.

    A process that was stopped would outlive this one, and keep its memory.
    """
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


def fingerprint(model: str) -> str:
    """Names the weights: of a folder its configuration and the names and sizes of its files."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.bin")):
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()[:16]
