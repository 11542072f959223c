"""An application that answers as vLLM's server does, and shows what reached it."""

import asyncio
import json
from types import SimpleNamespace

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from serving.xargs import SHED

PATHS = [
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/chat/completions/batch",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/invocations",
    "/inference/v1/generate",
    "/cohere/v2/chat",
    "/v1/audio/transcriptions",
    "/plugin/v1/write",
]


class FakeVllm:
    """``seen`` are the bodies of completions; a body may ask for ``tokens`` and a ``status``.

    On ``/v1/responses`` the server leaves no count behind: the answer itself says it.
    """

    def __init__(self):
        self.seen = []
        routes = [Route(path, self.complete, methods=["POST"]) for path in PATHS]
        self.app = Starlette(routes=[*routes, Route("/{rest:path}", self.other)])

    async def complete(self, request: Request):
        raw = await request.body()
        assert int(request.headers["content-length"]) == len(raw)
        try:
            asked = json.loads(raw)
        except ValueError:
            self.seen.append(raw)
            return JSONResponse({"error": "no JSON"}, 400)
        self.seen.append(asked)
        if not isinstance(asked, dict):
            return JSONResponse({"error": "no object"}, 400)
        tokens = asked.get("tokens", 5)
        if request.url.path == "/v1/responses":
            return self.response(tokens, stream=asked.get("stream"))
        usage = SimpleNamespace(prompt_tokens=3, completion_tokens=tokens)
        request.state.request_metadata = SimpleNamespace(final_usage_info=usage)
        if asked.get("shed"):
            return JSONResponse({"choices": [{"stop_reason": SHED}]})
        if asked.get("stream"):
            return StreamingResponse(self.chunks(tokens), media_type="text/event-stream")
        return JSONResponse({"tokens": tokens}, asked.get("status", 200))

    def response(self, tokens, *, stream):
        """As vLLM's Responses API answers."""
        usage = {"input_tokens": 3, "output_tokens": tokens, "total_tokens": 3 + tokens}
        if not stream:
            return JSONResponse({"object": "response", "output": [], "usage": usage})

        async def events():
            for name in ("created", "in_progress"):
                yield event(f"response.{name}", {"response": {"usage": None}})
            await asyncio.sleep(0.2)
            for number in range(tokens):
                yield event("response.output_text.delta", {"delta": f'"usage" {number}'})
            yield event("response.completed", {"response": {"usage": usage}})

        return StreamingResponse(events(), media_type="text/event-stream")

    async def chunks(self, tokens):
        for number in range(tokens):
            await asyncio.sleep(0.01)
            yield f"data: {number}\n\n"

    async def other(self, request: Request):
        return JSONResponse({"path": request.url.path})


def event(name, fields):
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n"
