"""The answer to a request that the scheduler ended before its first token: 429 and the reason."""

from dataclasses import dataclass, field

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Send

from serving.middleware.answer_events import precedes_tokens
from serving.xargs import SHED

REASON_HEADER = "x-llm-d-request-dropped-reason"
# llm-d's word for a request whose time was over while it waited: not worth another try.
_REASON = "rejected-ttl-expired"
_MESSAGE = (
    "the request was dropped while it waited: its SLO could not be met any more. "
    "Send less at once, or ask for more time"
)

_MARK = f'"stop_reason":"{SHED}"'.encode()


@dataclass(slots=True)
class ShedGate:
    """Holds an answer back until it has a token; one the scheduler ended before goes nowhere.

    ``shed`` says that it did. An ``open`` gate holds nothing back.
    """

    onward: Send
    open: bool
    shed: bool = False
    _held: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        """Pass on, hold or drop."""
        if self.open:
            await self.onward(message)
        elif not self.shed:
            self._held.append(message)
            await self._look(message)

    async def _look(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        part = message.get("body", b"")
        self.shed = _ended_by_us(part)
        if not self.shed and not (message.get("more_body", False) and _says_nothing(part)):
            self.open = True
            for held in self._held:
                await self.onward(held)


def refusal() -> Response:
    """What the client of a request that was shed is told, in OpenAI's shape."""
    error = {"message": _MESSAGE, "type": "rate_limit_error", "param": None, "code": 429}
    return JSONResponse({"error": error}, 429, headers={REASON_HEADER: _REASON})


def _ended_by_us(part: bytes) -> bool:
    """A whole answer bears our mark; of a stream vLLM leaves such a last event out."""
    ends_empty = part.startswith(b"data: ") and b'"choices":[]' in part
    return _MARK in part or ends_empty or part.startswith(b"data: [DONE]")


def _says_nothing(part: bytes) -> bool:
    """A chat's stream begins with an event that names the role alone."""
    return precedes_tokens(part) or (b'"role":"assistant"' in part and b'"content":""' in part)
