"""A program in a terminal: keys go in, the screen comes out, as text or as a picture."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import escape
from typing import Any

import pyte
from polling import until_async

COLUMNS, LINES = 96, 26


class _Screen(pyte.Screen):
    """Answers what the program asks of its terminal."""

    reply: Callable[[bytes], Any] = staticmethod(lambda data: None)

    def write_process_input(self, data: str) -> None:
        self.reply(data.encode())

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        if not private:  # Vim's setting of modified keys (`CSI > 4 m`) is no colour
            super().select_graphic_rendition(*attributes)


class Terminal:
    """What a program shows, and its keyboard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.screen = _Screen(COLUMNS, LINES)
        self.screen.reply = self._write
        self._stream = pyte.ByteStream(self.screen)
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _write(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux's way to say that the program is gone
            data = b""
        if data:
            self._stream.feed(data)
        else:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self.ended.set()

    def type(self, keys: str) -> None:
        self._write(keys.encode())

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    async def shows(self, *words: str, seconds: float = 60.0) -> str:
        """The screen as soon as all of these words are on it, in any lines."""

        def there() -> str | None:
            text = self.text
            return text if all(part in text for part in words) else None

        try:
            return str(await until_async(there, f"{words} on the screen", seconds))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text}") from None


@asynccontextmanager
async def terminal(*command: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run a program in a terminal of its own; it is killed if it did not end by itself."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip
    os.close(slave)
    it = Terminal(master)
    try:
        yield it
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


# --- a picture ----------------------------------------------------------------------------------

WIDTH, HEIGHT = 8.4, 18
FOREGROUND, BACKGROUND = "#1f2328", "#ffffff"
NAMED = {
    "black": "#1f2328", "red": "#b3261e", "green": "#1a7f37", "brown": "#9a6700", "blue": "#0550ae",
    "magenta": "#8250df", "cyan": "#0a7c8c", "white": "#d0d7de", "brightblack": "#7a828b", "brightwhite": "#ffffff",
}  # fmt: skip


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return NAMED.get(name) or (f"#{name}" if len(name) == 6 else default)


def _look(cell: Any) -> tuple[str, str, bool]:
    """Foreground, background, bold."""
    front, back = _colour(cell.fg, FOREGROUND), _colour(cell.bg, BACKGROUND)
    return (back, front, cell.bold) if cell.reverse else (front, back, cell.bold)


def picture(screen: pyte.Screen, title: str) -> str:
    """The screen as an SVG image."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDTH + 20:.0f} {LINES * HEIGHT + 20}" '
        f'role="img" font-family="ui-monospace, monospace" font-size="14"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}" stroke="#d0d7de"/>'
    ]
    for row in range(LINES):
        column = 0
        while column < COLUMNS:
            look, begin, text = _look(screen.buffer[row][column]), column, ""
            while column < COLUMNS and _look(screen.buffer[row][column]) == look:
                text += screen.buffer[row][column].data
                column += 1
            parts.append(_run(row, begin, column - begin, text, look))
    x, y = 10 + screen.cursor.x * WIDTH, 10 + screen.cursor.y * HEIGHT
    parts.append(f'<rect x="{x:.1f}" y="{y}" width="2" height="{HEIGHT}" fill="{FOREGROUND}"/></svg>')
    return "\n".join(part for part in parts if part) + "\n"


def _run(row: int, begin: int, count: int, text: str, look: tuple[str, str, bool]) -> str:
    front, back, bold = look
    x, y = 10 + begin * WIDTH, 10 + row * HEIGHT
    made = ""
    if back != BACKGROUND:
        made = f'<rect x="{x:.1f}" y="{y}" width="{count * WIDTH:.1f}" height="{HEIGHT}" fill="{back}"/>'
    if text.strip():
        weight = ' font-weight="bold"' if bold else ""
        made += (
            f'<text x="{x:.1f}" y="{y + 13}" fill="{front}"{weight} xml:space="preserve" '
            f'textLength="{count * WIDTH:.1f}">{escape(text)}</text>'
        )
    return made
