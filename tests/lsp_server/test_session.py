"""One document with its offers, as the editor's messages come: pure, with times passed in."""

import pytest
from lsprotocol import types
from sample_offers import offer

from learner.records import Outcome, SettledBy
from lsp_server.delta import Position
from lsp_server.document import Document, DocumentError
from lsp_server.ghost import Ghost
from lsp_server.kept import Tracked
from lsp_server.session import DEPARTED_QUIET_SECONDS, MOST_CHANGES, MOST_DEPARTED, Session
from lsp_server.shown import Pending

BEGUN = "The tide"


class Editing:
    """A session, and the messages that one change after another would send."""

    def __init__(self, text: str = BEGUN) -> None:
        self.session = Session(Document("u", text, 1, "text", "utf-32"), "w")
        self.at = 0.0

    def change(self, *edits: tuple[int, int, int, str], line: int = 0) -> None:
        """One didChange: (start, end on the same line, line, text) each."""
        self.at += 1.0
        changes = [
            types.TextDocumentContentChangePartial(
                range=types.Range(types.Position(at, start), types.Position(at, end)), text=text
            )
            for start, end, at, text in edits
        ]
        self.session.change(self.session.document.version + 1, changes, self.at)

    def show(self, text: str, *, recorded: bool = True, identifier: str = "o") -> None:
        place = self.session.document.end
        self.session.show(offer(text, identifier), text, place, place, self.at, recorded=recorded)

    def ask(self, text: str, start: int, end: int, original: str = "", lead: str = "", tail: str = "") -> None:
        whole = lead + text + tail
        place = Ghost(whole, Position(0, start), Position(0, end), self.session.document)
        self.session.pending["o"] = Pending(offer(text), place, lead, text, tail, original, self.at)


def test_an_offer_and_the_first_change_of_it_in_one_message() -> None:
    it = Editing("Notes")
    it.ask("One two.", 5, 5, lead=" (", tail=")")
    it.change((5, 5, 0, " (One two.)"), (7, 10, 0, "Six"))
    assert it.session.pending == {}
    assert it.session.framed == {"o": (" (", ")")}
    assert it.session.fresh == {"o"}
    it.session.closed(it.at, 60, 60)
    [settled] = it.session.settled
    assert (settled.outcome, settled.kept) == (Outcome.EDITED, "Six two.")
    assert it.session.framed == {}


def test_a_pending_offer_that_never_comes_is_censored_by_the_limit() -> None:
    it = Editing("Notes")
    it.ask("One two.", 5, 5)
    it.session.settle_due(59.0, 10, 60)
    assert it.session.settled == []
    it.session.settle_due(60.0, 10, 60)
    [settled] = it.session.settled
    assert (settled.outcome, settled.settled_by) == (Outcome.CENSORED, SettledBy.LIMIT)


def test_word_by_word_then_whole_as_vs_code_sends_it() -> None:
    it = Editing()
    it.show(" rises and falls")
    it.change((8, 8, 0, " rises"))
    assert it.session.ghost is not None
    assert it.session.ghost.put_in == 6
    it.change((14, 14, 0, " and"))
    it.change((8, 18, 0, " rises and falls"))
    assert it.session.ghost is None
    it.session.closed(it.at, 60, 60)
    [settled] = it.session.settled
    assert (settled.outcome, settled.kept, settled.offered) == (Outcome.ACCEPTED, " rises and falls", None)
    assert settled.shown_ms == 1000.0


def test_typed_instead_is_read_a_little_later() -> None:
    it = Editing()
    it.show(" rises")
    it.change((8, 8, 0, " f"))
    it.change((10, 10, 0, "alls"))
    it.session.settle_due(it.at + DEPARTED_QUIET_SECONDS - 0.1, 60, 60)
    assert it.session.settled == []
    it.session.settle_due(it.at + DEPARTED_QUIET_SECONDS, 60, 60)
    [settled] = it.session.settled
    assert (settled.outcome, settled.typed, settled.settled_by) == (Outcome.IGNORED, " falls", SettledBy.SUPERSEDED)
    assert (settled.shown_ms, settled.deleted_chars) == (1000.0, len(" rises"))


def test_a_client_that_tells_is_believed() -> None:
    it = Editing()
    it.session.tells = True
    it.show(" rises", identifier="unseen")
    it.session.depart(5.0)
    it.show(" falls", identifier="seen")
    assert it.session.tell("seen", 6.0)
    assert not it.session.tell("seen", 7.0), "once"
    assert not it.session.tell("nobody", 7.0)
    it.session.depart(8.0)
    it.session.settle_departed(8.0)
    assert {s.offer_id: s.shown_ms for s in it.session.settled} == {"unseen": None, "seen": 2000.0}


def test_unrecorded_ghost_text_leaves_no_trace() -> None:
    it = Editing()
    it.show(" rises", recorded=False)
    it.change((8, 8, 0, " rises"))
    it.show(" and falls", recorded=False)
    assert it.session.reject_ghost("o", it.at)
    it.session.closed(it.at, 60, 60)
    assert it.session.settled == []
    assert it.session.tracker.open == {}


def test_of_ghost_text_that_is_long_gone_the_oldest_is_read_at_once() -> None:
    it = Editing()
    for number in range(MOST_DEPARTED + 2):
        it.show(" rises.", identifier=str(number))
    assert [s.offer_id for s in it.session.settled] == ["0"]
    assert it.session.settled[0].outcome is Outcome.IGNORED
    assert len(it.session.departed) == MOST_DEPARTED


def test_what_could_not_be_recorded_after_all_is_followed_no_more() -> None:
    it = Editing()
    for number, text in enumerate([" rises.", " falls."]):
        it.show(text, identifier=str(number))
    it.change((8, 8, 0, " falls."))
    assert list(it.session.tracker.open) == ["1"]
    for number in range(2):
        it.session.unrecorded(str(number))
    it.session.closed(it.at, 60, 60)
    assert (it.session.settled, it.session.fresh, it.session.dirty) == ([], set(), set())


def test_ghost_text_that_is_gone_can_still_be_declined() -> None:
    it = Editing()
    it.show(" rises")
    it.change((8, 8, 0, "§"))
    assert it.session.reject_ghost("o", it.at)
    assert not it.session.reject_ghost("o", it.at)
    it.session.closed(it.at, 60, 60)
    [settled] = it.session.settled
    assert (settled.outcome, settled.settled_by) == (Outcome.REJECTED, SettledBy.COMMAND)


def test_autosaves_settle_nothing_and_a_persons_save_not_at_once() -> None:
    it = Editing("Notes")
    it.ask("One two.", 5, 5)
    it.change((5, 5, 0, "One two."))
    it.session.autosave = True
    it.session.saved(it.at + 60, 1000, 1000)
    it.session.saved(it.at + 9, 1000, 1000)
    assert it.session.settled == []
    it.session.saved(it.at + 10, 1000, 1000)
    [settled] = it.session.settled
    assert (settled.outcome, settled.settled_by) == (Outcome.ACCEPTED, SettledBy.SAVE)


def test_withdrawn_is_censored_whatever_it_was() -> None:
    it = Editing("Notes")
    it.ask("One two.", 5, 5)
    it.change((5, 5, 0, "One two."))
    it.session.pending["p"] = Pending(offer("x", "p"), Ghost("x", Position(0, 0), Position(0, 0), it.session.document),
                                      "", "x", "", "", 0.0)  # fmt: skip
    it.show(" rises", identifier="g")
    it.session.withdraw(SettledBy.GATE)
    assert {(s.offer_id, s.outcome, s.settled_by) for s in it.session.settled} == {
        (identifier, Outcome.CENSORED, SettledBy.GATE) for identifier in "opg"
    }
    assert (it.session.tracker.open, it.session.pending, it.session.ghost) == ({}, {}, None)


def test_windows_line_ends_count_once() -> None:
    it = Editing("Notes\r\n")
    text = "One\r\ntwo"
    it.ask(text, 5, 5)
    it.change((5, 5, 0, text))
    it.change((0, 3, 1, "six"))
    it.session.closed(it.at, 60, 60)
    [settled] = it.session.settled
    assert (settled.kept, settled.kept_chars, settled.modified_chars, settled.deleted_chars) == ("One\nsix", 4, 3, 3)


def test_a_state_that_cannot_be_read_is_censored() -> None:
    it = Editing()
    for state in ("not put in", "{}", '{"span": "{}"}', "[]"):
        assert not it.session.resume("o", state, 0.0)
    assert [s.settled_by for s in it.session.settled] == [SettledBy.RESTART] * 4


def test_taken_up_again_by_another_session() -> None:
    it = Editing("Notes")
    it.ask("One two three, and four are more than all of them.", 5, 5)
    it.change((5, 5, 0, "One two three, and four are more than all of them."))
    state = it.session.tracker.open["o"].to_json(it.at)
    other = Editing("New line.\nNotesOne six three, and four are more than all of them.")
    assert other.session.resume("o", state, 0.0)
    assert other.session.fresh == {"o"}
    other.session.closed(other.at, 60, 60)
    [settled] = other.session.settled
    assert (settled.outcome, settled.kept) == (Outcome.EDITED, "One six three, and four are more than all of them.")
    assert Tracked.from_json(state, 0.0).span.offered == "One two three, and four are more than all of them."


def test_an_edit_script_without_end_costs_its_document_the_open_offers() -> None:
    it = Editing("Notes")
    it.ask("One two.", 5, 5)
    it.change((5, 5, 0, "One two."))
    with pytest.raises(DocumentError, match=r"u \(version 3\): 1,000,000 changes at once"):
        it.change(*[(0, 0, 0, "x")] * 1_000_000)
    assert it.session.lost
    assert [(s.outcome, s.settled_by) for s in it.session.settled] == [(Outcome.CENSORED, SettledBy.ERROR)]
    assert it.session.document.text() == "NotesOne two."
    assert MOST_CHANGES < 1_000_000


def test_a_client_that_only_sends_whole_documents_is_noticed() -> None:
    it = Editing("Notes")
    it.session.change(2, [types.TextDocumentContentChangeWholeDocument("Notes.")], 1.0)
    assert it.session.full_sync
    it.change((6, 6, 0, "!"))
    assert not it.session.full_sync
    it.session.change(4, [types.TextDocumentContentChangeWholeDocument("Notes.")], 3.0)
    assert not it.session.full_sync
