"""Consent, pause, forgetting, learning in a real Emacs."""

import pytest
from editor_client import rows
from emacs_here import CONSENT, MARKS, NOTES, SELECTED, Session

pytestmark = MARKS


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
