"""HTTP/1.1 to a model host over a connection of its own per request: a transport for httpx2.

A request costs 0.8 ms with it and 1.9 ms with httpx2's own (`tests/benchmarks/bench_offers.py`), which
is most of what the server itself adds to an offer. No TLS: an https host keeps httpx2's transport.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import cast

import httpx2

LONGEST_HEAD = 1 << 16
"""Bytes of a status line with its headers, or of a chunk's size with its extensions."""
PIECE = 1 << 16


class PlainTransport(httpx2.AsyncBaseTransport):
    """Opens a connection per request, to the Unix socket `uds` or to the request's host, and never keeps one."""

    def __init__(self, uds: str | None = None) -> None:
        self._uds = uds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read the head of its answer. Raises httpx2.TransportError as httpx2's own does."""
        seconds = request.extensions.get("timeout", {})
        reader, writer = await self._connect(request.url, seconds.get("connect"))
        try:
            content = b"".join([piece async for piece in cast("httpx2.AsyncByteStream", request.stream)])
            with contextlib.suppress(OSError):  # a host that refuses early says so before it closes
                writer.write(_head(request) + content)
                await writer.drain()
            body = _Body(reader, writer, seconds.get("read"))
            status, headers = await body.head()
            return httpx2.Response(status, headers=headers, stream=body, request=request)
        except BaseException:
            writer.transport.abort()
            raise

    async def _connect(
        self, url: httpx2.URL, seconds: float | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(seconds):
                if self._uds is not None:
                    return await asyncio.open_unix_connection(self._uds, limit=LONGEST_HEAD)
                return await asyncio.open_connection(url.host, url.port or 80, limit=LONGEST_HEAD)
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpx2.ConnectError(str(error)) from error


def _head(request: httpx2.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%s: %s" % (name, value) for name, value in request.headers.raw if name.lower() != b"connection"]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


class _Body(httpx2.AsyncByteStream):
    """The answer that comes over a connection; closing it closes the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float | None) -> None:
        self._reader, self._writer, self._seconds = reader, writer, seconds
        self._chunked, self._left = False, -1  # -1: until the host closes

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """The status and the headers, past any 1xx."""
        while True:
            with _as_httpx("Server disconnected without sending a response."):
                async with asyncio.timeout(self._seconds):
                    raw = await self._reader.readuntil(b"\r\n\r\n")
            status, headers = _parsed(raw)
            if status >= 200:
                self._frame(status, headers)
                return status, headers

    def _frame(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Where the body ends (RFC 9112, 6.3)."""
        coding = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
        lengths = {value for name, value in headers if name.lower() == b"content-length"}
        if status in (204, 304):
            self._left = 0
        elif coding:
            if coding != [b"chunked"]:
                raise httpx2.RemoteProtocolError(f"unknown transfer encoding {coding[0][:40]!r}")
            self._chunked = True
        elif lengths:
            length = lengths.pop()
            if lengths or not length.isdigit() or len(length) > 18:
                raise httpx2.RemoteProtocolError(f"a content length that is none: {length[:40]!r}")
            self._left = int(length)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, as it arrives."""
        while not self._chunked or await self._next_chunk():
            while self._left:
                with _as_httpx():
                    async with asyncio.timeout(self._seconds):
                        piece = await self._reader.read(PIECE if self._left < 0 else min(PIECE, self._left))
                if not piece:
                    if self._left < 0:
                        return
                    raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
                self._left -= len(piece) if self._left > 0 else 0
                yield piece
            if not self._chunked:
                return
            await self._line(b"")

    async def _next_chunk(self) -> bool:
        """Read a chunk's size; False at the last one, whose trailers are dropped."""
        size = (await self._line()).partition(b";")[0].strip()
        if not 0 < len(size) <= 15 or size.strip(b"0123456789abcdefABCDEF"):
            raise httpx2.RemoteProtocolError(f"illegal chunk size {size[:40]!r}")
        self._left = int(size, 16)
        if not self._left:
            while await self._line():
                pass
        return self._left > 0

    async def _line(self, wanted: bytes | None = None) -> bytes:
        with _as_httpx("peer closed connection without sending complete message body (incomplete chunked read)"):
            async with asyncio.timeout(self._seconds):
                line = (await self._reader.readuntil(b"\r\n"))[:-2]
        if wanted is not None and line != wanted:
            raise httpx2.RemoteProtocolError(f"illegal chunk end {line[:40]!r}")
        return line

    async def aclose(self) -> None:
        """Close the connection at once, though more may be on its way: that is how a host is told to stop."""
        self._writer.transport.abort()


@contextlib.contextmanager
def _as_httpx(ended: str = "peer closed connection without sending complete message body") -> Iterator[None]:
    """What reading from a connection raises, as httpx2 has it; `ended` says what a connection that ends means."""
    try:
        yield
    except TimeoutError as error:
        raise httpx2.ReadTimeout("nothing arrived in time") from error
    except asyncio.IncompleteReadError as error:
        raise httpx2.RemoteProtocolError(ended) from error
    except asyncio.LimitOverrunError as error:
        raise httpx2.RemoteProtocolError("a head or a chunk's size that never ends") from error
    except OSError as error:
        raise httpx2.ReadError(str(error)) from error


def _parsed(raw: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """A status line and its headers."""
    first, *lines = raw[:-4].split(b"\r\n")
    version, _, rest = first.partition(b" ")
    code = rest[:3]
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or rest[3:4].strip():
        raise httpx2.RemoteProtocolError(f"illegal status line {first[:80]!r}")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\n" in line or b"\0" in line:
            raise httpx2.RemoteProtocolError(f"illegal header line {line[:80]!r}")
        headers.append((name, value.strip()))
    return int(code), headers
