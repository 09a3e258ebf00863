"""Ghost text in a real Emacs: typed through, taken by a word and whole, dismissed."""

import pytest
from editor_client import rows
from emacs_here import BEGUN, CONSENT, MARKS, Session

pytestmark = MARKS


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
