"""What can go wrong in Emacs, and the package itself: it compiles and documents itself without a complaint."""

import shutil
import sys
from pathlib import Path

from emacs_here import (
    MARKS,
    NOTES,
    PACKAGE,
    Session,
    run_emacs,
)

pytestmark = MARKS


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
