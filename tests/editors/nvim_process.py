"""A real Neovim with a screen: started as a terminal would, typed into, read back over msgpack-RPC."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
from neovim_here import find_nvim
from nvim_screen import Screen
from polling import until

SECONDS = 30.0


class Neovim:
    """One process. `folder` holds its state; `init` is the user's init.lua."""

    def __init__(self, init: str, folder: Path, columns: int = 90, rows: int = 18, **environment: str) -> None:
        executable = find_nvim()
        assert executable is not None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "init.lua").write_text(init)
        places = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "DATA", "CONFIG", "CACHE")}
        self.process = subprocess.Popen(
            [executable, "--embed", "--clean", "-u", str(folder / "init.lua")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, **places, **environment}, cwd=folder,
        )  # fmt: skip
        self.screen = Screen()
        self._answers: dict[int, Future[Any]] = {}
        self._next = 0
        self._sending = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.request("nvim_ui_attach", columns, rows, {"rgb": True, "ext_linegrid": True})
        until(lambda: self.lua("return vim.v.vim_did_enter == 1"), "Neovim has started")

    # --- RPC ------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        unpacker = msgpack.Unpacker(ext_hook=lambda _, data: msgpack.unpackb(data), strict_map_key=False)
        while data := os.read(descriptor, 65536):
            unpacker.feed(data)
            for kind, *rest in unpacker:
                if kind == 1:
                    identifier, problem, result = rest
                    answer = self._answers.pop(identifier)
                    if problem is None:
                        answer.set_result(result)
                    else:
                        answer.set_exception(AssertionError(f"Neovim: {problem[1]}"))
                elif kind == 2 and rest[0] == "redraw":
                    self.screen.take(rest[1])
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(AssertionError("Neovim ended"))

    def request(self, method: str, *arguments: Any) -> Any:
        answer: Future[Any] = Future()
        assert self.process.stdin is not None
        with self._sending:
            self._next += 1
            self._answers[self._next] = answer
            self.process.stdin.write(msgpack.packb([0, self._next, method, list(arguments)]))
            self.process.stdin.flush()
        try:
            return answer.result(SECONDS)
        except TimeoutError:
            raise AssertionError(f"Neovim does not answer {method}:\n{self.screen.text()}") from None

    def lua(self, code: str, *arguments: Any) -> Any:
        """What a piece of Lua returns; `...` are the arguments."""
        return self.request("nvim_exec_lua", code, list(arguments))

    def command(self, line: str) -> None:
        self.request("nvim_command", line)

    # --- what a person does and sees ------------------------------------------------------------

    def type(self, keys: str) -> None:
        """Press keys, as Neovim writes them (`<Tab>`, `<Esc>`)."""
        rest = keys
        while rest:
            taken = self.request("nvim_input", rest)
            rest = rest.encode()[taken:].decode()

    def typed(self, keys: str) -> None:
        """Press keys, and wait until they had their effect."""
        self.type(keys)
        self.settled()

    def settled(self) -> None:
        """Wait until no key is waiting and no mapping half typed."""
        until(lambda: not self.mode()["blocking"], "Neovim waits for no more keys")
        self.lua("return 1")  # keys come before requests

    def mode(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request("nvim_get_mode")
        return found

    def waits(self, condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
        """What `condition` returns as soon as that is true; else an AssertionError that shows the screen."""
        try:
            return until(condition, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.screen.text()}") from None

    def sees(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until a text is on the screen."""
        self.waits(lambda: text in self.screen.text(), f"{text!r} on the screen", seconds)

    def text(self) -> str:
        """The current buffer."""
        return "\n".join(self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, false)"))

    def messages(self) -> list[str]:
        found: str = self.request("nvim_exec2", "messages", {"output": True})["output"]
        return [line for line in found.split("\n") if line]

    def said(self, part: str) -> list[str]:
        """Messages that hold a text."""
        return [line for line in self.messages() if part in line]

    def until(self, code: str, what: str, seconds: float = SECONDS) -> Any:
        """What a piece of Lua returns, as soon as that is true."""
        return self.waits(lambda: self.lua(code), what, seconds)

    def hears(self, part: str, seconds: float = SECONDS) -> str:
        """Wait for a message."""
        found: list[str] = self.waits(lambda: self.said(part), f"a message with {part!r}", seconds)
        return found[0]

    def close(self) -> None:
        """Leave as `:qall!` does, whatever state it is in."""
        if self.process.poll() is None:
            self._quietly(lambda: self.request("nvim_input", "<C-\\><C-n>:qall!<CR>"))
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait(10)
        self._reader.join(10)  # it reads to the end: only then may its pipe be closed under it
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            self._quietly(pipe.close)

    @staticmethod
    def _quietly(act: Callable[[], Any]) -> None:
        with contextlib.suppress(AssertionError, OSError):  # it has ended already
            act()
