"""Rewrites and drafts in a real Emacs, with the real server and the real model."""

import pytest
from editor_client import rows
from emacs_here import CHANGES, CONSENT, INSTRUCTION, MARKS, NOTES, SELECTED, Session, written_over

from learner.cost import cost_max

pytestmark = MARKS


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
