"""Emacs in a terminal, with real keys and its own idle timers. `pip install pyte` reads the screen."""

import json
import os
import sys
from pathlib import Path

import pytest
from editor_client import rows
from emacs_here import EMACS, MARKS, NOTES, PACKAGE
from polling import until_async

pytest.importorskip("pyte", reason="no terminal emulator here: pip install pyte")

from terminal import Terminal, picture, terminal

from learner.cost import cost_max
from learner.records import Edit

HERE = Path(__file__).parent
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide"
pytestmark = [*MARKS, pytest.mark.model]
INIT = """
(setq inhibit-startup-screen t ring-bell-function #'ignore frame-background-mode 'light)
(menu-bar-mode -1)
(define-key redraft-mode-map (kbd "C-c r") redraft-command-map)
(redraft-setup)
(global-visual-line-mode 1)
(find-file session-file)
(goto-char (point-max))
"""
CONTROL = {letter: chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"}


def in_emacs(home: Path, file: Path, init: str):  # type: ignore[no-untyped-def]
    """Emacs with a file, in a terminal."""
    assert EMACS is not None
    script = file.with_name("init.el")
    script.write_text(init)
    command = [sys.executable, "-m", "lsp_server.cli"]
    given = json.dumps({"package": str(PACKAGE), "command": command, "file": str(file)})
    return terminal(
        EMACS, "-nw", "-q", "-l", str(HERE / "emacs_session.el"), "-l", str(script),
        REDRAFT_HOME=str(home), REDRAFT_TEST=given, HOME=str(home),
    )  # fmt: skip


class Picture:
    """A screen that becomes a file only once the run that showed it turned out well."""

    def __init__(self, it: Terminal, name: str, title: str) -> None:
        self.name, self.drawn = name, picture(it.screen, title)

    def write(self) -> None:
        if folder := os.environ.get("REDRAFT_PICTURES"):
            (Path(folder) / self.name).write_text(self.drawn)


async def leave(it: Terminal) -> None:
    """Save, close the file, end Emacs."""
    it.type(CONTROL["x"] + CONTROL["s"])
    await it.shows("Wrote ")
    it.type(CONTROL["x"] + "k\r")
    await it.shows("*scratch*")
    it.type(CONTROL["x"] + CONTROL["c"])
    await it.ended.wait()


async def settled(home: Path, count: int) -> list[Edit]:
    """The rows of a home once so many are settled: the server writes on when Emacs is gone."""
    try:
        await until_async(lambda: all(row.outcome for row in rows(home)), "every offer settled")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{rows(home)}") from None
    found = rows(home)
    assert len(found) == count
    return found


async def test_consent_a_rewrite_seen_and_edited_with_real_keys(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    async with in_emacs(home, file, "(setq redraft-ghost-text nil)" + INIT) as it:
        await it.shows("notes.txt", " Redraft", "[eglot:")
        it.type("\x1b<\x00\x1b>" + CONTROL["b"])  # to the beginning, set the mark, to the end of the text
        it.type(CONTROL["c"] + "rr")
        await it.shows("What is recorded", "Nothing is sent anywhere", "May Redraft record your edits")
        assert not (home / "edits.db").exists()
        it.type("y")
        await it.shows("Rewrite (or say how):")
        it.type("Please make it a bit shorter, will you?\r")  # words of one's own
        await it.shows("Put it in?")
        it.type("n")
        await it.shows("left as it was", NOTES)
        it.type(CONTROL["c"] + "rr")
        await it.shows("Rewrite (or say how):")
        it.type("Make\t\t")
        await it.shows("Make it shorter", "Make it clearer")  # the server's rewrites
        it.type("short\t\r")
        await it.shows("Put it in?", "--- notes.txt", "+++ notes.txt (Redraft)", f"-{NOTES[:40]}")
        shown = Picture(it, "emacs.svg", "Emacs: a rewrite as a diff, before it is put in")
        it.type("y")
        await it.shows("Redraft: done")
        it.type("\x1b<\x1bdWell")  # another word over the first
        await it.shows("Well ")
        await leave(it)
    declined, row = sorted(await settled(home, 2), key=lambda row: row.created_at)
    assert (declined.task, declined.outcome) == ("rewrite", "rejected")
    assert "Please make it a bit shorter, will you?" in declined.chat.messages[-1].content
    kept = file.read_text().removesuffix("\n")
    assert (row.task, row.outcome, row.kept) == ("rewrite", "edited", kept)
    assert kept == "Well" + row.offered[len(row.offered.split()[0]) :]
    assert row.cost_max == cost_max(row.offered, kept)
    shown.write()


async def test_ghost_text_comes_by_itself_and_goes_in_by_tab(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    file.write_text(BEGUN)
    async with in_emacs(home, file, "(setq redraft-record t redraft-ghost-debounce-ms 100)" + INIT) as it:
        await it.shows("story.txt", " Redraft", "[eglot:")
        before = it.text
        assert BEGUN[-20:] in before
        it.type(" to")
        await it.shows("tide to ")  # what comes after is offered: nobody typed it
        shown = Picture(it, "emacs-ghost.svg", "Emacs: offered text behind the cursor")
        assert file.read_text() == BEGUN
        it.type("\t")
        await leave(it)
    text = file.read_text().removesuffix("\n")
    assert text.startswith(f"{BEGUN} to")
    [row] = await settled(home, 1)
    assert (row.task, row.outcome, row.kept) == ("completion", "accepted", row.offered)
    assert row.offered == text.removeprefix(f"{BEGUN} to")
    shown.write()
