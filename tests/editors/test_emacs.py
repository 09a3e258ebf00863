"""A real Emacs with the package of plugins/editors/emacs, the real server and the real model.

`apt-get install emacs-nox elpa-eglot` brings it. Batch mode reads the answers to questions from
standard input, a line each, and has no idle timers; `test_emacs_terminal.py` types into a terminal.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from editor_client import rows

from learner.cost import cost_max

PACKAGE = Path(__file__).parents[2] / "plugins" / "editors" / "emacs"
SESSION = Path(__file__).parent / "emacs_session.el"
EMACS = os.environ.get("REDRAFT_EMACS") or shutil.which("emacs")
SERVER = (sys.executable, "-m", "lsp_server.cli")
NOTES = "Sales rose 4 percent in May. Two stores opened in the north, and a third one is being built."
CHANGES = "fixed the crash when a file is empty, added a test, and the parser now skips comments at the end"
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide to"
pytestmark = [
    pytest.mark.editors,
    pytest.mark.skipif(EMACS is None, reason="no Emacs here: apt-get install emacs-nox elpa-eglot, or REDRAFT_EMACS"),
]


async def run_emacs(*arguments: str, answers: Sequence[str] = (), **environment: str) -> tuple[int, str, str]:
    """Emacs in batch mode: its exit status, what it printed, what it said."""
    assert EMACS is not None
    process = await asyncio.create_subprocess_exec(
        EMACS, "--batch", "-q", *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    typed = "".join(f"{answer}\n" for answer in answers).encode()
    out, err = await asyncio.wait_for(process.communicate(typed), 150)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass
class Session:
    """One file, one home; each `run` is an Emacs of its own."""

    home: Path
    file: Path

    async def run(self, body: str, answers: Sequence[str] = (), command: Sequence[str] = SERVER) -> dict[str, Any]:
        given = {"package": str(PACKAGE), "command": list(command), "file": str(self.file)}
        script = self.file.with_name("script.el")
        script.write_text(f";; -*- lexical-binding: t -*-\n{body}\n")
        environment = {"REDRAFT_HOME": str(self.home), "REDRAFT_TEST": json.dumps(given), "HOME": str(self.home)}
        code, out, err = await run_emacs("-l", str(SESSION), "-l", str(script), answers=answers, **environment)
        said = [line for line in out.splitlines() if line.startswith("SAID ")]
        assert code == 0, err + out
        assert len(said) == 1, err + out
        return {**json.loads(said[0].removeprefix("SAID ")), "messages": err, "asked": out}


@pytest.fixture
def session(home: Path, tmp_path: Path) -> Session:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    return Session(home, file)


CONSENT = "(setq redraft-record t)"
SELECTED = f'(session-open) (session-select "{NOTES}")'
INSTRUCTION = "Make this text shorter and friendlier."


def written_over(text: str) -> str:
    """What `session-edit` makes of a text that begins the buffer or a line."""
    return "Well" + text[len(text.split()[0]) :]


@pytest.mark.model
async def test_rewrite_seen_as_a_diff_put_in_edited_and_saved(session: Session) -> None:
    said = await session.run(
        f"{CONSENT} {SELECTED}"
        """
(let* ((shown (session-watch-displays))
       (made (call-interactively #'redraft-rewrite))
       (put-in (session-text)))
  (goto-char (point-min))
  (session-edit)
  (save-buffer)
  (let ((status (session-close)))
    (session-say :made made :put_in put-in :shown (funcall shown "diff") :recording (plist-get status :recording))))
""",
        answers=[INSTRUCTION, "y"],
    )
    text = said["made"]["text"]
    assert said["put_in"] == f"{text}\n"
    assert said["recording"] is True
    assert said["shown"].startswith("--- notes.txt\n+++ notes.txt (Redraft)\n@@ -1,1 +1,")
    lines = said["shown"].splitlines()[3:]
    assert lines[0] == f"-{NOTES}"
    assert [line[1:] for line in lines[1:]] == text.split("\n")
    kept = written_over(text)
    assert session.file.read_text() == f"{kept}\n"
    [row] = rows(session.home)
    assert (row.offer_id, row.task, row.document) == (said["made"]["offerId"], "rewrite", session.file.as_uri())
    assert (row.outcome, row.settled_by, row.offered, row.kept) == ("edited", "close", text, kept)
    assert row.cost_max == cost_max(text, kept)
    assert (row.workspace, row.language) == (session.file.parent.as_uri(), "plaintext")
    assert row.chat.messages[-1].content.count(INSTRUCTION) == 1


@pytest.mark.model
async def test_rewrite_declined_at_the_diff(session: Session) -> None:
    said = await session.run(
        f"{CONSENT} {SELECTED}"
        """
(let ((made (call-interactively #'redraft-rewrite))
      (text (session-text))
      (modified (buffer-modified-p)))
  (session-close)
  (session-say :made (if made t :json-false) :text text :modified (if modified t :json-false)))
""",
        answers=[INSTRUCTION, "n"],
    )
    assert (said["made"], said["text"], said["modified"]) == (False, f"{NOTES}\n", False)
    assert "left as it was" in said["messages"]
    [row] = rows(session.home)
    assert (row.task, row.outcome) == ("rewrite", "rejected")


@pytest.mark.model
async def test_the_servers_rewrites_are_offered_by_title_and_one_is_put_in_without_a_diff(session: Session) -> None:
    said = await session.run(
        f"""
{CONSENT}
(setq redraft-preview nil
      redraft-rewrites '(("Shorter" . "{INSTRUCTION}") ("Plainer" . "Use plain words.")))
{SELECTED}
"""
        """
(let* ((titles (mapcar #'car (redraft--offered-rewrites (region-beginning) (region-end))))
       (made (call-interactively #'redraft-rewrite))
       (put-in (session-text)))
  (save-buffer)
  (session-close)
  (session-say :titles (vconcat titles) :made made :put_in put-in))
""",
        answers=["Shorter"],
    )
    assert said["titles"] == ["Shorter", "Plainer"]
    text = said["made"]["text"]
    assert said["put_in"] == session.file.read_text() == f"{text}\n"
    [row] = rows(session.home)
    assert (row.outcome, row.offered, row.kept) == ("accepted", text, text)
    assert row.chat.messages[-1].content.count(INSTRUCTION) == 1


@pytest.mark.model
async def test_draft_goes_under_the_notes_and_can_be_taken_out_again(session: Session) -> None:
    said = await session.run(
        f"{CONSENT} {SELECTED}"
        """
(let* ((made (call-interactively #'redraft-draft))
       (put-in (session-text)))
  (redraft-reject)
  (let ((after (session-text)))
    (session-close)
    (session-say :made made :put_in put-in :after after)))
""",
        answers=["summary"],
    )
    text = said["made"]["text"]
    assert said["put_in"] == f"{NOTES}\n\n{text}\n"
    assert said["after"] == f"{NOTES}\n"
    [row] = rows(session.home)
    assert (row.task, row.outcome, row.offered) == ("draft", "rejected", text)


@pytest.mark.model
async def test_a_commit_message_goes_on_top_of_the_message_of_git(session: Session) -> None:
    session.file = session.file.with_name("COMMIT_EDITMSG")
    session.file.write_text(f"\n# {CHANGES}\n")
    said = await session.run(
        CONSENT
        + f"""
(add-to-list 'auto-mode-alist '("COMMIT_EDITMSG\\\\'" . text-mode))
(session-open)
(session-select "{CHANGES}")
"""
        + """
(let* ((made (call-interactively #'redraft-draft))
       (put-in (session-text)))
  (save-buffer)
  (session-close)
  (session-say :made made :put_in put-in))
""",
        answers=["commit"],
    )
    text = said["made"]["text"]
    assert said["put_in"] == f"{text}\n\n# {CHANGES}\n"
    [row] = rows(session.home)
    assert (row.task, row.language, row.outcome, row.kept) == ("draft", "git-commit", "accepted", text)


ASKED = """
(let* ((shown (session-watch-displays))
       (database (expand-file-name "edits.db" (getenv "REDRAFT_HOME")))
       (before "unasked")
       (_ (advice-add 'y-or-n-p :before
                      (lambda (words) (when (string-match-p "record" words)
                                        (setq before (if (file-exists-p database) t :json-false))))))
       (made (call-interactively #'redraft-draft))
       (again (progn (session-select "Two stores") (call-interactively #'redraft-draft))))
  (save-buffer)
  (session-close)
  (session-say :before before :made made :again again :text "" :words (funcall shown "consent")))
"""


@pytest.mark.model
async def test_consent_is_asked_once_and_nothing_is_written_before_a_yes(session: Session) -> None:
    said = await session.run(SELECTED + ASKED, answers=["y", "summary", "email"])
    assert said["before"] is False, "edits.db was there before the question"
    assert str(session.home / "edits.db") in said["words"]
    assert [said[made]["recorded"] for made in ("made", "again")] == [True, True]
    found = rows(session.home)
    assert sorted(row.offer_id for row in found) == sorted(said[made]["offerId"] for made in ("made", "again"))
    assert {row.outcome for row in found} == {"accepted"}


@pytest.mark.model
async def test_after_a_no_texts_come_and_nothing_is_recorded(session: Session) -> None:
    said = await session.run(SELECTED + ASKED, answers=["n", "summary", "email"])
    assert [said[made]["recorded"] for made in ("made", "again")] == [False, False]
    assert said["made"]["text"] in session.file.read_text()
    assert rows(session.home) == []
    # nor is it asked again by the next Emacs: the questions are only those of the draft
    said = await session.run(SELECTED + ASKED, answers=["summary", "email"])
    assert said["before"] == "unasked"
    assert rows(session.home) == []


@pytest.mark.model
async def test_consent_can_be_given_and_taken_back_by_command(session: Session) -> None:
    said = await session.run(
        SELECTED
        + """
(redraft-consent)
(let ((yes (session-recording)))
  (redraft-consent)
  (let ((no (session-recording)))
    (redraft-consent t)
    (session-say :yes yes :no no :here (session-recording))))
""",
        answers=["y", "n", "y"],
    )
    assert (said["yes"], said["no"], said["here"]) == (True, False, True)


@pytest.mark.model
async def test_paused_says_so_and_resumed_goes_on(session: Session) -> None:
    said = await session.run(
        CONSENT
        + SELECTED
        + """
(redraft-pause 5)
(let ((words (session-words (lambda () (redraft-draft (region-beginning) (region-end) "summary"))))
      (lighter (session-wait "the state" 10 (lambda () (car (member (redraft--lighter) '(" Redraft:paused"))))))
      (text (session-text)))
  (redraft-why)
  (redraft-resume)
  (redraft-status)
  (let ((made (redraft-draft (region-beginning) (region-end) "summary")))
    (save-buffer)
    (session-close)
    (session-say :words words :lighter lighter :text text :made made)))
""",
    )
    assert said["words"].startswith("Redraft: ")
    assert "paused" in said["words"]
    assert said["text"] == f"{NOTES}\n"
    assert "No suggestion: paused" in said["messages"]
    assert "Redraft is on." in said["messages"]
    [row] = rows(session.home)
    assert (row.outcome, row.kept) == ("accepted", said["made"]["text"])


GHOST = """
(setq redraft-ghost-debounce-ms 0)
(session-open)
(goto-char (point-max))
(redraft-complete)
(session-wait "a text" 60 (lambda () redraft--ghost))
"""


@pytest.mark.model
async def test_ghost_text_typed_through_taken_by_a_word_and_then_whole(session: Session) -> None:
    session.file.write_text(BEGUN)
    said = await session.run(
        f"""
{CONSENT} {GHOST}
(let* ((text (plist-get (redraft--ghost-item redraft--ghost) :insertText))
       (shown (overlay-get (redraft--ghost-overlay redraft--ghost) 'after-string))
       (untouched (session-text)))
  (insert (substring text 0 1)) ; typed
  (redraft--ghost-after-command)
  (let ((rest (redraft--ghost-rest redraft--ghost)))
    (redraft-accept-word)
    (let ((by-word (session-text)))
      (redraft-accept)
      (save-buffer)
      (let ((kept (session-text)) (gone (null redraft--ghost)) (keys redraft--ghost-keys))
        (session-close)
        (session-say :text text :shown (substring-no-properties shown) :untouched untouched :rest rest
                     :by_word by-word :kept kept :gone (and gone t) :keys (or keys :json-false))))))
"""
    )
    text = said["text"]
    assert said["shown"] == text
    assert said["untouched"] == BEGUN, "an offer is no part of the buffer"
    assert said["rest"] == text[1:]
    word = len(text) - len(text[1:].lstrip()) + len(text[1:].split()[0])
    assert said["by_word"] == BEGUN + text[:word]
    assert session.file.read_text().removesuffix("\n") == said["kept"].removesuffix("\n") == BEGUN + text
    assert (said["gone"], said["keys"]) == (True, False)
    [row] = rows(session.home)
    assert (row.task, row.outcome, row.offered, row.kept) == ("completion", "accepted", text, text)


@pytest.mark.model
async def test_ghost_text_dismissed_and_typed_over(session: Session) -> None:
    session.file.write_text(BEGUN)
    said = await session.run(
        f"""
{CONSENT} {GHOST}
(let ((first (plist-get (redraft--ghost-item redraft--ghost) :insertText)))
  (redraft-dismiss)
  (let ((gone (null redraft--ghost)))
    (insert " 7 boats")
    (redraft--ghost-after-command)
    (session-close)
    (session-say :first first :gone (and gone t) :words (with-temp-buffer (session-words #'redraft-accept)))))
"""
    )
    assert said["gone"] is True
    assert "nothing is offered here" in said["words"]
    [row] = rows(session.home)
    assert (row.task, row.outcome, row.offered) == ("completion", "rejected", said["first"])


@pytest.mark.model
async def test_a_quit_stops_the_model_and_leaves_the_text_alone(session: Session) -> None:
    said = await session.run(
        CONSENT
        + SELECTED
        + """
(let* ((server (eglot-current-server))
       (ended (progn (run-with-timer 0.1 nil (lambda () (setq quit-flag t))) ; what C-g does
                     (condition-case nil (progn (redraft-draft (region-beginning) (region-end) "email") "done")
                       (quit "quit"))))
       (text (session-text)))
  (session-wait "an idle model" 10 (lambda () (equal (redraft--state server) "ready")))
  (session-say :ended ended :text text :after (session-text) :open (plist-get (redraft--call "redraft.status") :open)))
"""
    )
    assert (said["ended"], said["open"]) == ("quit", 0)
    assert said["text"] == said["after"] == f"{NOTES}\n"
    assert [row.outcome for row in rows(session.home)] in ([], ["censored"])


@pytest.mark.model
async def test_forgotten_for_good(session: Session) -> None:
    body = """
(redraft-draft (region-beginning) (region-end) "summary")
(save-buffer)
(session-close)
"""
    await session.run(f'{CONSENT} {SELECTED} {body} (session-say :done "")')
    assert len(rows(session.home)) == 1
    said = await session.run(
        CONSENT
        + """
(session-open)
(let ((words (session-words (lambda () (call-interactively #'redraft-forget)))))
  (call-interactively #'redraft-forget)
  (session-close)
  (session-say :words words))
""",
        answers=["this document", "n", "this document", "y"],
    )
    assert "nothing was forgotten" in said["words"]
    assert rows(session.home) == []


@pytest.mark.model
async def test_what_was_learnt_and_a_training_without_edits_are_told_calmly(session: Session) -> None:
    said = await session.run(
        CONSENT
        + """
(session-open)
(let ((shown (session-watch-displays)))
  (redraft-learnt)
  (redraft-configure)
  (redraft-train)
  (let ((twice (session-words #'redraft-train)))
    (session-wait "the end of the training" 60 (lambda () (null redraft--training)))
    (session-say :learnt (funcall shown "learnt") :twice twice :none (session-words #'redraft-stop))))
""",
    )
    assert len(said["learnt"].split()) > 3
    assert "The new settings are in use" in said["messages"]
    assert "a training is running" in said["twice"]
    assert "no training is running" in said["none"]


# --- what can go wrong ------------------------------------------------------------------------


async def test_no_server_on_the_path_and_no_file(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    said = await Session(bare, file).run(
        """
(session-open)
(let ((on redraft-mode)
      (words (session-words #'redraft-status)))
  (setq redraft-command (list (expand-file-name invocation-name invocation-directory)))
  (session-say :on (or on :json-false) :words words
               :unsaved (with-temp-buffer (text-mode) (session-words #'redraft-status))
               :started (session-words #'redraft-status)))
""",
        command=["redraft-lsp-that-is-not-there"],
    )
    assert said["on"] is False
    for words in (said["messages"], said["words"]):
        assert "there is no `redraft-lsp-that-is-not-there' on `exec-path'; `pip install redraft' brings it" in words
    assert "visits no file" in said["unsaved"]
    assert "M-x redraft-mode starts it" in said["started"]
    assert list(bare.iterdir()) == []


async def test_nothing_selected_read_only_and_nothing_to_take_out(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    said = await Session(bare, file).run(
        """
(session-open)
(let ((nothing (session-words (lambda () (call-interactively #'redraft-rewrite))))
      (none (session-words #'redraft-reject)))
  (session-select "Two stores")
  (setq buffer-read-only t)
  (session-say :nothing nothing :none none
               :locked (session-words (lambda () (call-interactively #'redraft-draft)))
               :open (session-words (lambda () (setq buffer-read-only nil)
                                      (redraft--call "redraft.apply" '(:offerId "none"))))))
"""
    )
    assert "select the text first" in said["nothing"]
    assert "nothing was put into this buffer yet" in said["none"]
    assert "C-x C-q makes it writable" in said["locked"]
    assert said["open"].startswith("Redraft: ")


async def test_a_buffer_of_another_server_is_left_to_it(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    said = await Session(bare, file).run(
        """
(find-file session-file)
(let ((eglot-server-programs (list (cons 'text-mode redraft-command))))
  (apply #'eglot--connect (eglot--guess-contact)))
(let ((theirs (eglot-current-server)))
  (redraft-mode 1)
  (session-say :on (or redraft-mode :json-false) :same (and (eq theirs (eglot-current-server)) t)
               :listed (if (assoc '(text-mode) eglot-server-programs) t :json-false)
               :words (session-words #'redraft-status)))
"""
    )
    assert (said["on"], said["same"], said["listed"]) == (False, True, False)
    assert "Eglot knows one server for a buffer; M-x eglot-shutdown frees it" in said["words"]


async def test_a_server_of_another_version_is_named(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    later = "import lsp_server.server as s; s.version = lambda name: '7.3.0'; from lsp_server.cli import main; main()"
    said = await Session(bare, file).run(
        "(session-open) (session-say :words (session-words #'redraft-status))", command=[sys.executable, "-c", later]
    )
    assert said["words"].startswith("Redraft: the server is version 7.3.0 and this package understands 0.1.x; upgrade")


async def test_a_server_that_dies_is_told_and_can_be_started_again(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    said = await Session(bare, file).run(
        """
(setq eglot-autoreconnect nil)
(session-open)
(let* ((server (eglot-current-server))
       (process (jsonrpc--process server)))
  (redraft-status)
  (signal-process process 'kill)
  (session-wait "its end" 10 (lambda () (not (jsonrpc-running-p server))))
  (let ((words (session-words #'redraft-status))
        (off (progn (session-wait "Eglot to notice" 10 (lambda () (null (eglot-current-server)))) redraft-mode)))
    (redraft-mode 1)
    (redraft-status)
    (session-say :words words :off (or off :json-false) :on (and redraft-mode t))))
"""
    )
    assert "M-x redraft-mode starts it" in said["words"]
    assert (said["off"], said["on"]) == (False, True)
    assert said["messages"].count("Redraft is on.") == 2


async def test_set_up_for_modes_it_starts_after_the_file_was_opened(bare: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    other = tmp_path / "program.py"
    other.write_text("x = 1\n")
    said = await Session(bare, file).run(
        f"""
(redraft-setup)
(find-file "{other}")
(run-hooks 'post-command-hook)
(let ((elsewhere redraft-mode))
  (find-file session-file)
  (let ((before redraft-mode))
    (run-hooks 'post-command-hook)
    (session-wait "the server" 20 #'redraft--ours)
    (session-say :elsewhere (or elsewhere :json-false) :before (or before :json-false) :after (and redraft-mode t))))
"""
    )
    assert (said["elsewhere"], said["before"], said["after"]) == (False, False, True)


# --- the package itself -----------------------------------------------------------------------


async def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "package")
    files = sorted(str(path) for path in (tmp_path / "package").glob("*.el"))
    assert len(files) == 3
    code, out, err = await run_emacs(
        "-L", str(tmp_path / "package"), "--eval", "(setq byte-compile-error-on-warn t)",
        "-f", "batch-byte-compile", *files,
    )  # fmt: skip
    assert code == 0, err + out
    assert "Warning" not in err
    assert len(list((tmp_path / "package").glob("*.elc"))) == 3


async def test_its_documentation_strings_are_as_checkdoc_wants_them() -> None:
    for path in sorted(PACKAGE.glob("*.el")):
        form = f"""(progn (require 'checkdoc) (checkdoc-file "{path}"))"""
        code, out, err = await run_emacs("--eval", form)
        complaints = [line for line in (err + out).splitlines() if f"{path.name}:" in line]
        assert (code, complaints) == (0, []), err
