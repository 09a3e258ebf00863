"""A host on loopback that answers whatever a test scripts, byte by byte: the boundary's fake."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
CHAT = "/v1/chat/completions"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@dataclass
class Rogue:
    """The address of a rogue host, and what it was asked."""

    url: str
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self, path: str) -> list[dict[str, object]]:
        return [json.loads(body) for where, _, body in self.asked if where == path]


def reply(body: object, status: str = "200 OK", kind: str = "application/json", **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    return answer


def stream(*pieces: bytes, forever: bytes = b"", hang: bool = False, pause: float = 0.0) -> Answer:
    """An event stream: the pieces, then `forever` again and again, or a hang, or the end."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(EVENTS + b"".join(pieces))
        await writer.drain()
        while forever:
            writer.write(forever)
            await writer.drain()
            await asyncio.sleep(pause)
        if hang:
            await asyncio.Event().wait()

    return answer


def event(content: str = "", finish: str | None = None, **more: object) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def models(*entries: Mapping[str, object]) -> Answer:
    return reply({"object": "list", "data": list(entries)})


@asynccontextmanager
async def rogue(answers: Mapping[str, Answer]) -> AsyncIterator[Rogue]:
    """Serve `answers` by path; everything else is a 404."""
    asked: list[tuple[str, dict[str, str], bytes]] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = head[0].split()[1]
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            asked.append((path, headers, body))
            await answers.get(path, reply({"error": "no"}, "404 Not Found"))(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Rogue(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
