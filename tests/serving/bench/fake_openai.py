"""A small server of streamed chat completions; the prompt says how it behaves.

``ok``      as many tokens as asked for        ``empty``   tokens that decode to nothing
``429``, ``503``, ``500``  that status         ``hang``    half an answer, then silence
``break``   half an answer, then no more       ``error``   half an answer, then an error event
``fatal``   like ``error``, and from then on the server says that it is not well
"""

import asyncio
import json
from typing import Any

ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}


class FakeOpenAI:
    """Serves on a port of its own; ``die_after`` tokens it closes the port and all connections."""

    def __init__(self, *, die_after: int | None = None) -> None:
        self.die_after = die_after
        self.well = True
        self.tokens = 0
        self.connections = 0
        self.bodies: list[dict[str, Any]] = []
        self.request_ids: list[str] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeOpenAI":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._die()
        await asyncio.sleep(0)

    def _die(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                await self._request(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if not body:
            plain(writer, 200 if self.well else 503, {})
            return
        document = json.loads(body)
        self.bodies.append(document)
        self.request_ids.append(headers["x-request-id"])
        await self._answer(document, writer)

    async def _answer(self, document: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        behaviour = document["messages"][0]["content"]
        if behaviour.isdigit():
            plain(writer, int(behaviour), {"error": {"message": f"told to {behaviour}"}})
            return
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        event(writer, ROLE)
        recorded = document.get("vllm_xargs", {}).get("replay_output_tokens")
        count = recorded or document["max_tokens"]
        for index in range(count if behaviour in ("ok", "empty") else count // 2):
            text = "" if behaviour == "empty" else f'"delta" [DONE] "error" {index}'
            event(writer, {"choices": [{"index": 0, "delta": {"content": text}}]})
            await writer.drain()
            self._count()
            await asyncio.sleep(0)
        if behaviour == "hang":
            await asyncio.Event().wait()
        if behaviour == "break":
            raise ConnectionError
        if behaviour in ("error", "fatal"):
            self.well = self.well and behaviour != "fatal"
            event(writer, {"error": {"message": "told to err"}})
        else:
            usage = {"prompt_tokens": 11, "completion_tokens": count, "total_tokens": 11 + count}
            event(writer, {"choices": [], "usage": usage})
        chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")

    def _count(self) -> None:
        self.tokens += 1
        if self.tokens == self.die_after:
            self._die()
            raise ConnectionError


def plain(writer: asyncio.StreamWriter, status: int, document: object) -> None:
    """Answer in one piece."""
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


def event(writer: asyncio.StreamWriter, document: object) -> None:
    """Send one server-sent event as a chunk of its own."""
    chunk(writer, b"data: " + json.dumps(document).encode() + b"\n\n")


def chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send a chunk."""
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
