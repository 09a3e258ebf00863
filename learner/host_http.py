"""One request to a model host: its address, key and time limits, without redirects, cookies or proxies.

What httpx2's client adds to a transport is none of what a host needs, and took a tenth of what the server itself
adds to an offer (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from learner.endpoint import Endpoint
from learner.plain_http import PlainTransport


class HostHTTP:
    """Requests to `endpoint`; `connect` and `read` are seconds."""

    def __init__(self, endpoint: Endpoint, *, connect: float, read: float) -> None:
        self._transport = transport(endpoint)
        self._base = (endpoint.url or "http://host").rstrip("/").removesuffix("/v1")
        self._addresses: dict[str, httpx2.URL] = {}
        self._headers = {"Accept": "*/*", "Accept-Encoding": "identity", "Content-Type": "application/json"}
        if endpoint.key:
            self._headers["Authorization"] = f"Bearer {endpoint.key}"
        self._timeout = httpx2.Timeout(read, connect=connect).as_dict()

    @asynccontextmanager
    async def stream(self, method: str, path: str, body: Any = None) -> AsyncIterator[httpx2.Response]:
        """Send `body` as JSON and yield the answer once its head is there; leaving closes it, read or not.

        Raises httpx2.HTTPError, and UnicodeEncodeError where `body` holds half of a surrogate pair.
        """
        if path not in self._addresses:
            self._addresses[path] = httpx2.URL(self._base + path)
        request = httpx2.Request(
            method,
            self._addresses[path],
            headers=self._headers,
            content=None if body is None else msgspec.json.encode(body),
            extensions={"timeout": self._timeout},
        )
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close what is open."""
        await self._transport.aclose()


def transport(endpoint: Endpoint) -> httpx2.AsyncBaseTransport:
    """How to reach a host. No connection is kept: llama.cpp closes idle ones on its own clock, and a request
    that meets such a close fails. A new connection to a local socket costs less than a token.
    """
    if endpoint.socket is None and urlsplit(endpoint.url or "").scheme == "https":
        return httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_keepalive_connections=0), trust_env=False)
    return PlainTransport(None if endpoint.socket is None else str(endpoint.socket))
