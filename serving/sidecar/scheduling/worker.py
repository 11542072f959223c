"""Decisions on a thread of their own, so that one that takes long delays no other endpoint."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import orjson

from predictor.errors import UnknownPolicyError
from scheduler.parts import base_of, split_limit
from scheduler.registry import PolicyName
from serving.sidecar.errors import BusyError
from serving.sidecar.scheduling.decide import Decider
from serving.sidecar.schemas.schedule import ScheduleIn, ScheduleOut

Answer = TypeVar("Answer")

# A decision takes milliseconds to seconds; behind more than these a request waits too long.
_MOST_PENDING = 16


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and the same as JSON."""

    decision: ScheduleOut
    encoded: bytes


class DecisionWorker:
    """One decision at a time, since what is remembered of an engine has one user.

    A policy is compiled on a second thread the first time that it is asked for; requests wait for
    that up to the deadline, and are told to come again after it.
    """

    def __init__(self, decider: Decider, *, deadline_s: float) -> None:
        self._decider = decider
        self._deadline_s = deadline_s
        self._deciding = ThreadPoolExecutor(1, thread_name_prefix="decisions")
        self._compiling = ThreadPoolExecutor(1, thread_name_prefix="compiler")
        self._warm: dict[str, asyncio.Future[None]] = {}
        self._pending = 0

    async def decide(self, asked: ScheduleIn) -> Decided:
        """Raises ``BusyError`` where there is no decision in time, and what ``Decider`` raises.

        ``UnknownPolicyError`` for a class that a client names: it would be imported here.
        """
        policy = asked.policy or self._decider.policy
        name = PolicyName.parse(policy)
        if name.own and policy != self._decider.policy:
            raise UnknownPolicyError(
                "policy: a request may name a built-in policy alone; MODULE:CLASS is for whoever "
                "runs this server, as --policy or SLOTWISE_POLICY"
            )
        if self._pending >= _MOST_PENDING:
            raise BusyError(f"{self._pending} decisions wait already; try again")
        self._pending += 1
        try:
            async with asyncio.timeout(self._deadline_s):
                await self.warm_up(name)
                return await self._on(self._deciding, lambda: self._decided(asked))
        except TimeoutError as error:
            raise BusyError(
                f"no decision by {policy} within {self._deadline_s:g} s; try again"
            ) from error
        finally:
            self._pending -= 1

    async def warm_up(self, name: PolicyName) -> None:
        """Compile a policy once. Whoever gives up waiting does not stop it."""
        rule, limit = split_limit(name.base)
        # Parts are compiled with the whole; and a limit is as good as another.
        kind = base_of(rule) if limit is None else f"{base_of(rule)}@256"
        warm = self._warm.get(kind)
        if warm is None or (warm.done() and (warm.cancelled() or warm.exception())):
            warm = self._on(self._compiling, lambda: self._decider.warm_up(kind))
            self._warm[kind] = warm
        await asyncio.shield(warm)

    async def stop(self) -> None:
        """Let what is under way end; what waits is given up."""
        for threads in (self._deciding, self._compiling):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    def _decided(self, asked: ScheduleIn) -> Decided:
        decision = self._decider.decide(asked)
        return Decided(decision, orjson.dumps(decision))

    def _on(
        self, threads: ThreadPoolExecutor, work: Callable[[], Answer]
    ) -> "asyncio.Future[Answer]":
        return asyncio.get_running_loop().run_in_executor(threads, work)
