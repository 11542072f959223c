"""One request's way through the middleware: its body read once, its answer watched."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Message, Receive, Scope, Send

from serving.middleware.answer_events import Usage, precedes_tokens


@dataclass(slots=True)
class Upload:
    """The messages of a request's body, as far as they were read."""

    messages: list[Message] = field(default_factory=list)
    whole: bool = False

    @property
    def body(self) -> bytes:
        """What was read."""
        return b"".join(message.get("body", b"") for message in self.messages)

    def replayed(self, receive: Receive, *, body: bytes | None = None) -> Receive:
        """A ``receive`` that gives these messages (or ``body`` in their place), then the rest."""
        left = self.messages if body is None else [{"type": "http.request", "body": body}]
        left = list(left)

        async def replay() -> Message:
            return left.pop(0) if left else await receive()

        return replay


async def upload(receive: Receive, *, max_bytes: int) -> Upload:
    """Read a body; what is larger than ``max_bytes``, or breaks off, is not ``whole``."""
    found, size = Upload(), 0
    while size <= max_bytes:
        message = await receive()
        found.messages.append(message)
        if message["type"] != "http.request":
            return found
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            found.whole = size <= max_bytes
            return found
    return found


def with_length(scope: Scope, length: int) -> Scope:
    """The same request with a body of so many bytes."""
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in (b"content-length", b"transfer-encoding")
    ]
    return {**scope, "headers": [*kept, (b"content-length", str(length).encode())]}


@dataclass(slots=True)
class Watch:
    """Passes an answer on and notes when it began and ended.

    ``first_s`` and ``last_s`` are on ``clock``; a body in one piece begins when it ends, and events
    that come before the first token begin nothing. ``complete`` once the last byte was handed on.
    ``usage`` is what the answer itself says, where it is looked for (``reads_usage``).
    """

    onward: Send
    clock: Callable[[], float] = time.monotonic
    reads_usage: bool = False
    usage: Usage | None = None
    began_s: float = 0.0
    status: int | None = None
    first_s: float | None = None
    last_s: float | None = None
    complete: bool = False

    def __post_init__(self) -> None:
        self.began_s = self.clock()

    async def send(self, message: Message) -> None:
        """Pass on. Cost: under a microsecond."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            if body := message.get("body"):
                self._look(body)
            self.complete = not message.get("more_body", False)
        await self.onward(message)

    def _look(self, body: bytes) -> None:
        self.last_s = self.clock()
        if self.first_s is None and not precedes_tokens(body):
            self.first_s = self.last_s
        if self.reads_usage:
            self.usage = Usage.of_answer(body) or self.usage
