"""How messages come and go: stdio or one TCP connection, and an orderly end whatever ends it.

An editor may say `shutdown` and `exit`, only `exit`, close the pipe, die, or send SIGTERM. Each
time open offers are saved and what has settled is written before the process ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any

from pygls.io_ import StdoutWriter, run_async

if TYPE_CHECKING:
    from lsp_server.server import RedraftServer

logger = logging.getLogger(__name__)
CHUNK = 1 << 16


class _InTurn:
    """A reader that lets a request begin before the message behind it is taken in, though both have arrived.

    Else a change that was sent after a request would be in the text before the request looks at it.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.readline = reader.readline
        self._read = reader.readexactly

    async def readexactly(self, count: int) -> bytes:
        await asyncio.sleep(0)
        return await self._read(count)


async def serve(server: RedraftServer, reader: asyncio.StreamReader, writer: Any) -> None:
    """Serve one client until it leaves, then shut the assistant down."""
    server.stopping = Event()
    server.protocol.set_writer(writer)
    try:
        await run_async(
            stop_event=server.stopping,
            reader=_InTurn(reader),
            protocol=server.protocol,
            logger=logging.getLogger("pygls"),
            error_handler=server.report_server_error,
        )
    except (ConnectionError, asyncio.IncompleteReadError, ValueError) as error:
        logger.warning("the client is gone: %s", error)
    finally:
        await asyncio.shield(server.assistant.shutdown())


def stdio(server: RedraftServer) -> int:
    """Serve standard input and output; the exit status."""

    async def run() -> bool:
        reader = _fed_from(sys.stdin.buffer)
        return await _until_signalled(server, serve(server, reader, StdoutWriter(sys.stdout.buffer)))

    signalled = asyncio.run(run())
    code = server.exit_code
    if signalled:  # a thread still waits for standard input, and would hold its lock while the interpreter ends
        logging.shutdown()
        os._exit(code)
    return code


def _fed_from(source: IO[bytes]) -> asyncio.StreamReader:
    """A stream of what comes from `source`, which may be a file or a console as well as a pipe.

    Where the event loop can watch it, it is read as soon as there is something, else (a file; Windows) by a thread,
    with one change of threads for all that has arrived. pygls' own reader takes three for each message, and each of
    them waits for the interpreter's lock.
    """
    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
    descriptor = source.fileno()

    def arrived() -> None:
        data = _read(descriptor)  # does not block: something is there, or the end
        if data:
            stream.feed_data(data)
        else:
            loop.remove_reader(descriptor)
            stream.feed_eof()

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            while data := _read(descriptor):
                loop.call_soon_threadsafe(stream.feed_data, data)
            loop.call_soon_threadsafe(stream.feed_eof)

    try:
        loop.add_reader(descriptor, arrived)
    except (NotImplementedError, OSError):
        Thread(target=read, name="stdin", daemon=True).start()
    return stream


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError as error:
        logger.warning("standard input cannot be read: %s", error)
        return b""


def tcp(server: RedraftServer, port: int) -> int:
    """Serve the first client that connects to `port` of 127.0.0.1; the exit status."""

    async def run() -> bool:
        taken = asyncio.Event()
        done = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if taken.is_set():
                writer.close()
                return
            taken.set()
            try:
                await serve(server, reader, writer)
            finally:
                writer.close()
                done.set()

        async with await asyncio.start_server(connected, "127.0.0.1", port):
            return await _until_signalled(server, done.wait())

    asyncio.run(run())
    return server.exit_code


async def _until_signalled(server: RedraftServer, work: Any) -> bool:
    """Run `work`; SIGTERM, SIGINT and SIGHUP (the terminal is gone) cancel it. Whether one of them did.

    An editor that leaves may send several: what comes while the server puts its things away waits for that.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows
        for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
            loop.add_signal_handler(number, server.assistant.after_end, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False
