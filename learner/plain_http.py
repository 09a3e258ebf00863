"""HTTP/1.1 to a model host over a connection of its own per request: a transport for httpx2.

What is HTTP here is h11's, as in httpx2's own transport; what is left out is its pool of connections and its layers
over asyncio, which cost half of what the server itself adds to an offer (docs/performance.md). No TLS: an https host
keeps httpx2's transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import h11
import httpx2

PIECE = 1 << 16
LONGEST_HEAD = 1 << 16
"""Bytes of a status line with its headers."""


class PlainTransport(httpx2.AsyncBaseTransport):
    """Opens a connection per request, to the Unix socket `uds` or to the request's host, and never keeps one."""

    def __init__(self, uds: str | None = None) -> None:
        self._uds = uds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read the head of its answer. Raises httpx2.TransportError as httpx2's own does."""
        if request.url.scheme != "http":
            raise httpx2.UnsupportedProtocol(f"{request.url.scheme} is not spoken here: nothing was sent")
        seconds = request.extensions.get("timeout", {})
        body = _Body(await self._connect(request.url, seconds.get("connect")), seconds.get("read"))
        try:
            await body.send(request)
            head = await body.head()
            return httpx2.Response(head.status_code, headers=head.headers.raw_items(), stream=body, request=request)
        except BaseException:
            await body.aclose()
            raise

    async def _connect(self, url: httpx2.URL, seconds: float | None) -> socket.socket:
        try:
            async with asyncio.timeout(seconds):
                if self._uds is not None:
                    return await _connected(socket.AF_UNIX, self._uds)
                return await _reached(url.host, url.port or 80)
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpx2.ConnectError(str(error)) from error


async def _reached(host: str, port: int) -> socket.socket:
    """A connection to `host`; a name is looked up, a number is not."""
    try:
        family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        return await _first_of(host, port)
    return await _connected(family, (host, port))


async def _first_of(host: str, port: int) -> socket.socket:
    """A connection to the first address of the name `host` that takes one."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures = []
    for family, _, _, _, address in found:
        try:
            return await _connected(family, address)
        except OSError as error:
            failures.append(str(error))
    raise OSError("; ".join(failures) or f"{host} has no address")


async def _connected(family: int, address: str | tuple[Any, ...]) -> socket.socket:
    """A socket that is connected, without asyncio's streams: they take three turns of the loop more."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if family != getattr(socket, "AF_UNIX", None):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


class _Body(httpx2.AsyncByteStream):
    """The answer that comes over a connection; closing it closes the connection."""

    def __init__(self, connection: socket.socket, seconds: float | None) -> None:
        self._connection, self._seconds = connection, seconds
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)

    async def send(self, request: httpx2.Request) -> None:
        """Send `request`, whole."""
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"connection"]
        head = h11.Request(
            method=request.method, target=request.url.raw_path, headers=[*headers, (b"Connection", b"close")]
        )
        content = b"".join([piece async for piece in cast("httpx2.AsyncByteStream", request.stream)])
        with _as_httpx():
            sent = [self._http.send(event) or b"" for event in (head, h11.Data(content), h11.EndOfMessage())]
        with _as_httpx(), contextlib.suppress(ConnectionError):  # a host that refuses early says so before it closes
            async with asyncio.timeout(self._seconds):
                await self._loop.sock_sendall(self._connection, b"".join(sent))

    async def head(self) -> h11.Response:
        """The status and the headers, past any 1xx."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, as it arrives."""
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        """What comes next on the connection."""
        with _as_httpx():
            while (event := self._http.next_event()) is h11.NEED_DATA:
                async with asyncio.timeout(self._seconds):
                    data = await self._loop.sock_recv(self._connection, PIECE)
                if not data and self._http.their_state is h11.SEND_RESPONSE:
                    raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
                self._http.receive_data(data)
        return cast("h11.Event | type[h11.PAUSED]", event)

    async def aclose(self) -> None:
        """Close the connection at once, though more may be on its way: that is how a host is told to stop."""
        self._connection.close()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """What a connection raises, as httpx2 has it."""
    try:
        yield
    except TimeoutError as error:
        raise httpx2.ReadTimeout("nothing arrived, or was taken, in time") from error
    except h11.LocalProtocolError as error:
        raise httpx2.LocalProtocolError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx2.RemoteProtocolError(str(error)) from error
    except OSError as error:
        raise httpx2.ReadError(str(error)) from error
