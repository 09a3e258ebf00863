"""Emacs with lsp-mode, set up as docs/editors.md says. `apt-get install elpa-lsp-mode` brings it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from editor_client import rows
from emacs_here import EMACS, MARKS, NOTES
from polling import until_async

pytestmark = [*MARKS, pytest.mark.model]
SETTINGS = """
(with-eval-after-load 'lsp-mode
  (add-to-list 'lsp-language-id-configuration '(text-mode . "plaintext"))
  (lsp-register-client
   (make-lsp-client :new-connection (lsp-stdio-connection redraft-command)
                    :major-modes '(text-mode markdown-mode org-mode)
                    :server-id 'redraft
                    :add-on? t
                    :initialization-options '(:record t))))
"""
SCRIPT = """
(setq redraft-command (append (json-parse-string (getenv "REDRAFT_SERVER")) nil))
(require 'lsp-mode)
(transient-mark-mode 1)
(setq lsp-auto-guess-root t lsp-session-file (expand-file-name "session" (getenv "HOME"))
      lsp-enable-file-watchers nil make-backup-files nil create-lockfiles nil lsp-response-timeout 60)
(defun wait (what condition)
  (with-timeout (60 (error "Not within 60 s: %s" what))
    (while (not (funcall condition)) (accept-process-output nil 0.05))))
(find-file (getenv "REDRAFT_FILE"))
(lsp-workspace-folders-add default-directory)
(lsp)
(wait "the server" (lambda () (and (lsp-workspaces) (eq 'initialized (lsp--workspace-status (car (lsp-workspaces)))))))
(goto-char (point-min))
(set-mark (point))
(goto-char (line-end-position))
(activate-mark)
(let* ((actions (append (lsp-code-actions-at-point) nil))
       (wanted (seq-find (lambda (action) (equal (lsp:code-action-title action) "Draft: summary")) actions)))
  (lsp-execute-code-action wanted)
  (wait "the draft" #'buffer-modified-p)
  (let ((put-in (buffer-string)))
    (save-buffer)
    (let ((workspace (car (lsp-workspaces))))
      (with-lsp-workspace workspace
        (setq lsp-keep-workspace-alive t)
        (kill-buffer)
        ;; answered once everything before it is written: Emacs in batch kills the server as it leaves
        (lsp-request "workspace/executeCommand" (list :command "redraft.status" :arguments []))))
    (princ (concat "\\nSAID " (json-serialize (list :titles (vconcat (mapcar #'lsp:code-action-title actions))
                                                    :put_in put-in)) "\\n"))))
(dolist (workspace (lsp--session-workspaces (lsp-session))) (lsp-workspace-shutdown workspace))
"""


async def test_a_draft_from_the_code_actions(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    (tmp_path / "settings.el").write_text(SETTINGS)
    script = tmp_path / "script.el"
    script.write_text(SCRIPT)
    assert EMACS is not None
    process = await asyncio.create_subprocess_exec(
        EMACS, "--batch", "-q", "-l", str(tmp_path / "settings.el"), "-l", str(script),
        env={**os.environ, "HOME": str(home), "REDRAFT_HOME": str(home), "REDRAFT_FILE": str(file),
             "REDRAFT_SERVER": json.dumps([sys.executable, "-m", "lsp_server.cli"])},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    if b"Cannot open load file" in err and b"lsp-mode" in err:
        pytest.skip("no lsp-mode here: apt-get install elpa-lsp-mode")
    [said] = [line for line in out.decode().splitlines() if line.startswith("SAID ")] or [err.decode()]
    found = json.loads(said.removeprefix("SAID "))
    assert {"Make it shorter", "Draft: summary"} <= set(found["titles"])
    [row] = await until_async(lambda: [r for r in rows(home) if r.outcome], "the server has settled it")
    assert (row.task, row.outcome, row.language) == ("draft", "accepted", "plaintext")
    assert file.read_text() == found["put_in"] == f"{NOTES}\n\n{row.kept}\n"
