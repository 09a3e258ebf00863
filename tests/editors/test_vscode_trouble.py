"""What can go wrong in VS Code: one calm message each with the way out, and typing goes on; and the way out taken."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from editor_client import rows
from polling import until
from vscode_window import MARKS, NOTES, ROOT, SERVER, vscode

pytestmark = MARKS


def test_whatever_is_wrong_is_said_once_and_typing_goes_on(
    home: Path, bare: Path, folder: Path, tmp_path: Path, tapped: Callable[..., dict[str, Any]]
) -> None:
    (folder / "locked.md").write_text(f"{NOTES}\n")
    (folder / "locked.md").chmod(stat.S_IRUSR)
    nowhere = {"redraft.server.path": str(tmp_path / "no-such-server")}
    with vscode(home, folder, nowhere, data=tmp_path / "vs") as window:
        window.status_says("off")
        message = window.notification("there is no such file")
        assert len(window.notifications()) == 1
        message.hover()
        window.command("Notifications: Clear All Notifications")
        window.open("notes.md")
        window.press("Control+End")
        window.type(" are deep", delay=5)
        until(lambda: "sea are deep" in window.lines(), "typing is not blocked")
        window.status.click()
        window.page.locator(".quick-input-list").get_by_text("Install or Update the Server").wait_for()
        window.press("Escape")
        # a server of another version
        window.set(redraft__server__path=tapped("--version", "9.9.0", name="newer")["redraft.server.path"])
        window.notification("The server is of version 9.9.0, and this extension needs 0.1.", 60)
        assert len(window.notifications()) == 1
        window.command("Notifications: Clear All Notifications")
        # one that dies at once, again and again
        dying = tmp_path / "dying"
        dying.write_text("#!/bin/sh\nexit 3\n")
        dying.chmod(0o755)
        window.set(redraft__server__path=str(dying))
        window.notification("Redraft's server did not start", 60)
        assert len(window.notifications()) == 1
        window.command("Notifications: Clear All Notifications")
        # the real one: a read-only file
        window.set(redraft__server__path=str(SERVER))
        window.status_says("ready")
        window.open("locked.md")
        window.press("Control+a")
        window.command("Redraft: Rewrite Selection")
        window.pick("Make it shorter")
        window.notification("This file is read-only")
        assert rows(home) == []
    assert not (home / "edits.db").exists()


def test_no_model_and_a_workspace_that_is_not_trusted(
    bare: Path, folder: Path, tmp_path: Path, tapped: Callable[..., dict[str, Any]]
) -> None:
    trust = {
        "security.workspace.trust.enabled": True,
        "security.workspace.trust.startupPrompt": "never",
        "security.workspace.trust.banner": "never",
    }
    with vscode(bare, folder, tapped() | trust, data=tmp_path / "vs") as window:
        window.status_says("ready")
        window.open("notes.md")
        window.press("Control+End")
        window.type(" are")
        window.status_says("error", 60)
        window.type(" deep and")
        until(lambda: "sea are deep and" in window.lines(), "typing is not blocked")
        assert len(window.notifications()) <= 1
        window.command("Redraft: Why No Suggestion?")
        window.notification("learner setup")
        assert not window.page.locator("iframe.webview").count(), "nobody is asked where nothing may be recorded"
        window.command("Redraft: What Is Recorded")
        window.web_page().get_by_text("Nothing is recorded in").wait_for()
    assert not (bare / "edits.db").exists()


def test_no_server_and_no_python(home: Path, folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    for tool in ("sh", "uname", "ps", "cat", "sed", "dirname", "readlink"):
        for place in ("/bin", "/usr/bin"):
            if (Path(place) / tool).exists() and not (empty / tool).exists():
                (empty / tool).symlink_to(Path(place) / tool)
    settings = {"redraft.server.path": None}
    with vscode(home, folder, settings, data=tmp_path / "vs", path=str(empty)) as window:
        window.notification("Redraft's server is not installed yet. Install it for VS Code, on this machine?", 60)
        window.picture("vscode-no-server")
        window.button("Install")
        window.notification("Redraft needs Python 3.11 or newer, and found none.", 60)
        assert len(window.notifications()) == 1


@pytest.mark.nightly
def test_the_server_is_installed_with_the_users_yes(folder: Path, tmp_path: Path, bare: Path) -> None:
    """From nothing to ghost text: a private environment, the package, its model."""
    settings = {"redraft.server.path": None, "redraft.server.package": str(ROOT)}
    without = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "redraft-lsp").exists())
    with vscode(bare, folder, settings, data=tmp_path / "vs", path=without) as window:
        window.notification("Redraft's server is not installed yet.", 60)
        window.button("Install")
        window.status_says("ready", 600)
        window.open("notes.md")
        window.press("Control+End")
        window.type(" are")
        assert window.offered()
