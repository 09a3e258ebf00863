"""HTTP/1.1 as bytes: where a body ends, what is no HTTP, and which error says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from rogue_server import rogue

from learner.plain_http import PlainTransport

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def host(answer: bytes, *, stays: bool = False) -> AsyncIterator[str]:
    """Answers every request with the same bytes, then closes, unless it stays."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        if stays:
            await asyncio.Event().wait()

    async with rogue({"/": say}) as there:
        yield there.url


async def got(answer: bytes, *, stays: bool = False) -> httpx2.Response:
    async with (
        host(answer, stays=stays) as url,
        httpx2.AsyncClient(transport=PlainTransport(), base_url=url, timeout=0.5, trust_env=False) as http,
    ):
        return await http.get("/")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
        OK + b"content-length:5\r\nX:\r\n\r\nhello and more",
    ],
)
async def test_a_body_ends_where_the_host_says(answer: bytes) -> None:
    assert (await got(answer, stays=True)).text == "hello"


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    assert (await got(OK + b"\r\nhello")).text == "hello"
    assert (await got(b"HTTP/1.1 204 No Content\r\n\r\n", stays=True)).status_code == 204


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        OK + b"Content-Length: 9\r\n\r\nshort",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        OK + b"X: " + b"y" * (1 << 17) + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(answer: bytes) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        await got(answer)


async def test_nothing_is_sent_in_the_clear_that_was_to_be_hidden() -> None:
    http = httpx2.AsyncClient(transport=PlainTransport(), trust_env=False)
    with pytest.raises(httpx2.UnsupportedProtocol, match="nothing was sent"):
        await http.get("HTTPS://127.0.0.1:9")


async def test_silence_and_nobody_there() -> None:
    with pytest.raises(httpx2.ReadTimeout):
        await got(OK, stays=True)
    async with host(b"") as url:
        pass
    with pytest.raises(httpx2.ConnectError):
        await httpx2.AsyncClient(transport=PlainTransport(), trust_env=False).get(url)
    with pytest.raises(httpx2.ConnectError):
        await httpx2.AsyncClient(transport=PlainTransport("/nowhere/at/all.sock"), trust_env=False).get("http://host")


async def test_a_host_by_name_is_looked_up() -> None:
    async with host(OK + b"Content-Length: 2\r\n\r\nhi") as url:
        by_name = url.replace("127.0.0.1", "localhost")
        assert by_name != url
        async with httpx2.AsyncClient(transport=PlainTransport(), timeout=5, trust_env=False) as http:
            assert (await http.get(by_name)).text == "hi"


async def test_a_host_that_refuses_before_it_has_read_all_is_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nless")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(transport=PlainTransport(), timeout=5, trust_env=False) as http:
            answer = await http.post(f"http://127.0.0.1:{port}/", content=b"x" * (32 << 20))
    assert (answer.status_code, answer.text) == (413, "less")
