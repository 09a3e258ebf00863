"""The rules of the kept text, one by one; whole stories are in `golden/`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from learner.records import Outcome, SettledBy
from lsp_server.delta import Delta, Position
from lsp_server.document import Document
from lsp_server.frozen import Frozen
from lsp_server.kept import CENSORED, Tracked, Tracker, Verdict, due, verdict
from lsp_server.reanchor import reanchor, resumed
from lsp_server.segments import Inserted, Kept
from lsp_server.span import Span

OFFER = "the quick fox"


class Desk:
    """A document, an offer in it, and offsets instead of positions."""

    def __init__(
        self,
        before: str = "",
        offer: str = OFFER,
        behind: str = "",
        replaced: str = "",
        ghost: bool = False,
        **put: int,
    ) -> None:
        self.document = Document("file:///a", before + replaced + behind, 1, "plaintext", "utf-32")
        at = self.document.position(len(before))
        end = self.document.position(len(before) + len(replaced))
        shown = offer[: put.get("taken")]
        delta = self.document.replace(at, end, shown)
        span = Span.placed(offer, delta.new_start, delta.new_end, replaced=replaced, ghost=ghost, **put)
        self.tracker = Tracker()
        self.tracker.place("o", span, now=0.0)

    def edit(self, start: int, end: int, text: str, now: float = 1.0, **flags: bool) -> Desk:
        places = self.document.position(start), self.document.position(end)
        self.tracker.apply([self.document.replace(*places, text)], self.document, now, **flags)
        return self

    def whole(self, text: str, **flags: bool) -> Desk:
        delta = self.document.apply(types.TextDocumentContentChangeWholeDocument(text=text))
        self.tracker.apply([delta], self.document, 1.0, **flags)
        return self

    @property
    def tracked(self) -> Tracked:
        return self.tracker.open["o"]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.tracked.span, self.document)


def test_left_alone_is_accepted() -> None:
    assert Desk("a ", behind=" b").verdict == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, 0)


def test_an_offer_of_nothing_has_no_span() -> None:
    with pytest.raises(ValueError, match="no character"):
        Span.placed("", Position(0, 0))


@pytest.mark.parametrize(("at", "appended"), [(0, 4), (13, 4)])
def test_typing_at_an_end_is_appended(at: int, appended: int) -> None:
    assert Desk().edit(at, at, "well").verdict == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, appended)


def test_typing_inside_is_modified() -> None:
    assert Desk().edit(4, 4, "very ").verdict == Verdict(Outcome.EDITED, "the very quick fox", 13, 5, 0, 0)


@pytest.mark.parametrize("first", ["delete", "type"])
def test_whether_the_old_or_the_new_end_goes_first_makes_no_difference(first: str) -> None:
    desk = Desk()
    if first == "delete":
        desk.edit(10, 13, "").edit(10, 10, "dog")
    else:
        desk.edit(10, 10, "dog").edit(13, 16, "")
    assert desk.verdict == Verdict(Outcome.EDITED, "the quick dog", 10, 3, 3, 0)


def test_replacing_the_head_and_typing_on() -> None:
    desk = Desk("> ").edit(2, 5, "").edit(2, 2, "a").edit(3, 3, " very")
    assert desk.verdict == Verdict(Outcome.EDITED, "a very quick fox", 10, 6, 3, 0)


def test_text_typed_after_stays_outside_when_the_end_is_deleted_later() -> None:
    desk = Desk().edit(13, 13, " jumps").edit(9, 13, "")
    assert desk.verdict == Verdict(Outcome.EDITED, "the quick", 9, 0, 4, 6)


def test_a_page_before_a_deleted_head_is_cut_at_its_last_blank_line() -> None:
    desk = Desk("\n").edit(1, 4, "A title\n\nOne")
    assert desk.verdict == Verdict(Outcome.EDITED, "One quick fox", 11, 2, 2, 9)  # its e is that of "the"


def test_a_deleted_end_with_a_blank_line_may_be_replaced_by_one() -> None:
    desk = Desk(offer="one\n\ntwo").edit(3, 8, ": \n\n2")
    assert desk.verdict.kept == "one: \n\n2"


def test_a_blank_line_that_starts_in_the_offer_ends_it() -> None:
    desk = Desk(offer="one\ntwo").edit(4, 7, "\nPage")
    assert desk.verdict == Verdict(Outcome.EDITED, "one\n", 4, 0, 3, 5)


def test_ghost_text_ends_with_its_last_line() -> None:
    desk = Desk(ghost=True, offer="a\nbc").edit(1, 4, "\nB\nC")
    assert desk.verdict == Verdict(Outcome.EDITED, "a\nB", 2, 1, 2, 2)


@pytest.mark.parametrize(
    ("start", "end", "kept", "appended"),
    [
        (8, 16, "the qu---", 0),  # 7 of the offer, 1 of what follows... more inside
        (10, 21, "the quick"[:8], 0),  # more outside: the new text is no part of it
    ],
)
def test_a_change_across_the_end_goes_where_more_was_removed(start: int, end: int, kept: str, appended: int) -> None:
    desk = Desk("> ", behind=" and more").edit(start, end, "---")
    assert (desk.verdict.kept, desk.verdict.appended_chars) == (kept, appended)


def test_a_change_of_the_line_keeps_what_it_brings_back() -> None:
    desk = Desk("say ", behind=" now").edit(0, 21, "say the quick red fox now")
    assert desk.verdict == Verdict(Outcome.EDITED, "the quick red fox", 13, 4, 0, 0)


def test_deleting_everything_around_rejects() -> None:
    assert Desk("say ", behind=" now").edit(0, 21, "").verdict == Verdict(Outcome.REJECTED, None, 0, 0, 13, 0)


def test_retyping_the_whole_offer_accepts() -> None:
    desk = Desk().edit(5, 13, "").edit(0, 5, "").edit(0, 0, OFFER)
    assert desk.verdict == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, 0)


def test_typing_over_the_whole_offer_is_an_edit() -> None:
    assert Desk().edit(0, 13, "no").verdict == Verdict(Outcome.EDITED, "no", 0, 2, 13, 0)


def test_undo_sticks_until_redo() -> None:
    desk = Desk("a ").edit(2, 15, "")
    assert desk.verdict.outcome is Outcome.REJECTED
    assert desk.tracked.span.undone is not None
    desk.edit(2, 2, OFFER)
    assert desk.tracked.span.undone is None
    assert desk.tracked.span.segments == (Kept(0, 13),)


def test_backspacing_everything_is_no_undo() -> None:
    desk = Desk(offer="ab").edit(1, 2, "").edit(0, 1, "")
    assert desk.tracked.span.undone is None
    assert desk.verdict.outcome is Outcome.REJECTED
    assert desk.edit(0, 0, "cd").verdict == Verdict(Outcome.EDITED, "cd", 0, 2, 2, 0)


def test_undo_of_a_rewrite_in_several_changes_of_one_message() -> None:
    desk = Desk(offer="two cats", replaced="one cat")
    changes = []
    for start, end, text in ((7, 8, ""), (0, 3, "one")):
        changes.append(
            desk.document.replace(desk.document.position(start), desk.document.position(end), text),
        )
    desk.tracker.apply(changes, desk.document, 1.0)
    assert desk.tracked.span.undone is not None
    assert desk.edit(7, 7, "s everywhere").verdict.outcome is Outcome.REJECTED


def test_an_undo_that_only_adds_at_the_end() -> None:
    desk = Desk(offer="cat", replaced="cats", behind=".").edit(3, 3, "s")
    assert desk.verdict == Verdict(Outcome.REJECTED, None, 0, 0, 3, 1)


def test_typing_after_an_undo_that_added_at_the_end_does_not_bring_the_offer_back() -> None:
    desk = Desk(offer="cat", replaced="cats").edit(3, 3, "s").edit(4, 4, "!")
    assert desk.verdict.outcome is Outcome.REJECTED


def test_passing_the_original_on_the_way_is_no_undo() -> None:
    desk = Desk(offer="cats", replaced="cat").edit(4, 4, "!").edit(3, 4, "")
    assert desk.tracked.span.undone is None
    assert desk.edit(3, 3, "erpillar").verdict.outcome is Outcome.EDITED


def test_a_rewrite_that_changed_nothing_is_accepted() -> None:
    assert Desk(offer="cat", replaced="cat").edit(3, 3, " x").verdict.outcome is Outcome.ACCEPTED


def test_partial_accept_and_the_rest() -> None:
    desk = Desk(behind="\n", taken=4, ghost=True)
    assert (desk.tracked.span.offered, desk.tracked.span.rest) == ("the ", "quick fox")
    desk.edit(4, 4, "quick ")
    desk.tracker.extend("o", 6, desk.document, 2.0)
    assert (desk.tracked.span.offered, desk.tracked.span.rest) == ("the quick ", "fox")
    assert desk.verdict == Verdict(Outcome.ACCEPTED, "the quick ", 10, 0, 0, 0)
    desk.edit(10, 10, "cat")
    desk.tracker.extend("o", 3, desk.document, 3.0)  # not what stands there
    assert desk.verdict == Verdict(Outcome.ACCEPTED, "the quick ", 10, 0, 0, 3)


def test_a_change_elsewhere_leaves_the_span_itself() -> None:
    desk = Desk("one\ntwo\n", behind="\nthree\nfour")
    span = desk.tracked.span
    desk.edit(0, 1, "O").edit(len("one\ntwo\n" + OFFER + "\nth"), len("one\ntwo\n" + OFFER + "\nthr"), "")
    assert desk.tracked.span is span
    desk.edit(0, 0, "up\n")
    assert desk.tracked.span.start == Position(3, 0)
    assert desk.tracked.touched_at == 1.0  # the line after it was changed


def test_segments_say_what_stands_where() -> None:
    span = Desk().edit(4, 9, "slow").tracked.span
    assert span.segments == (Kept(0, 4), Inserted("slow"), Kept(9, 13))
    assert span.text == "the slow fox"


# --- settling ---------------------------------------------------------------------------------


def _due(desk: Desk, now: float, cursor: Position | None = None, occasion: SettledBy | None = None) -> SettledBy | None:
    return due(desk.tracked, now, quiet_seconds=60, limit_seconds=600, cursor=cursor, occasion=occasion)


def test_quiet_needs_the_cursor_elsewhere() -> None:
    desk = Desk("\n\n\n")
    assert _due(desk, 59.9) is None
    assert _due(desk, 60.0) is SettledBy.QUIET
    assert _due(desk, 60.0, Position(2, 0)) is None
    assert _due(desk, 60.0, Position(1, 0)) is SettledBy.QUIET


def test_a_change_next_to_the_offer_breaks_the_quiet() -> None:
    desk = Desk("a\nb\n").edit(2, 3, "B", now=50.0)
    assert _due(desk, 70.0) is None
    assert _due(desk.edit(0, 1, "A", now=80.0), 110.0) is SettledBy.QUIET


def test_a_save_settles_but_not_at_once() -> None:
    desk = Desk()
    assert _due(desk, 9.9, occasion=SettledBy.SAVE) is None
    assert _due(desk, 10.0, occasion=SettledBy.SAVE) is SettledBy.SAVE


@pytest.mark.parametrize("occasion", [SettledBy.CLOSE, SettledBy.COMMIT])
def test_closing_and_committing_settle_at_once(occasion: SettledBy) -> None:
    assert _due(Desk(), 1.0, Position(0, 0), occasion) is occasion


def test_the_limit_settles_under_the_cursor() -> None:
    desk = Desk().edit(3, 3, "x", now=599.0)
    assert _due(desk, 600.0, Position(0, 0)) is SettledBy.LIMIT


def test_an_undone_offer_settles_as_undo() -> None:
    desk = Desk().edit(0, 13, "", now=5.0)
    assert _due(desk, 64.0, Position(0, 0)) is None
    assert _due(desk, 65.0, Position(0, 0)) is SettledBy.UNDO
    assert _due(desk, 6.0, occasion=SettledBy.CLOSE) is SettledBy.UNDO


def test_the_tracker_knows_the_cursor_and_settles_once() -> None:
    desk = Desk("\n\n\n\n", behind="\n").edit(6, 6, "x")
    assert desk.tracker.cursor == Position(4, 3)
    assert desk.tracker.due(100.0, 60.0, 600.0) == []
    desk.tracker.cursor = Position(0, 0)
    assert desk.tracker.due(100.0, 60.0, 600.0) == [("o", SettledBy.QUIET)]
    assert desk.tracker.settle("o", desk.document).outcome is Outcome.EDITED
    with pytest.raises(KeyError):
        desk.tracker.settle("o", desk.document)


def test_the_first_change_is_timed() -> None:
    desk = Desk().edit(13, 13, " typed after", now=3.0)
    assert desk.tracked.first_change_at is None
    assert desk.edit(0, 1, "T", now=4.0).edit(1, 2, "H", now=5.0).tracked.first_change_at == 4.0


# --- changes that are not the user's ----------------------------------------------------------


def test_what_stood_before_a_formatter_is_what_the_user_kept() -> None:
    desk = Desk(behind="\n").edit(3, 4, "  ", machine=True)
    assert desk.tracker.settle("o", desk.document) == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, 0)
    desk = Desk(behind="\n").edit(0, 1, "T").edit(3, 4, "  ", machine=True).edit(6, 6, " ", machine=True)
    assert desk.tracker.settle("o", desk.document) == Verdict(Outcome.EDITED, "The quick fox", 12, 1, 1, 0)


def test_what_the_user_changes_after_a_formatter_counts_and_the_formatter_does_not() -> None:
    desk = Desk(behind="\n").edit(3, 4, "  ", machine=True).edit(0, 0, "    ", machine=True).edit(4, 5, "T")
    assert desk.tracker.settle("o", desk.document) == Verdict(Outcome.EDITED, "The quick fox", 12, 1, 1, 0)


def test_after_another_branch_a_change_of_the_users_cannot_be_told_apart() -> None:
    desk = Desk(behind="\n").edit(4, 9, "slow", machine=True).edit(0, 1, "T")
    assert desk.tracker.settle("o", desk.document) == CENSORED


def test_an_offer_that_is_deleted_after_a_formatter_is_rejected() -> None:
    desk = Desk(behind="\n").edit(3, 4, "  ", machine=True).edit(0, 14, "")
    assert desk.tracker.settle("o", desk.document).outcome is Outcome.REJECTED


@given(
    st.lists(st.sampled_from(["ab", "x", "é", "🍕", "done."]), min_size=2, max_size=12),
    st.lists(st.sampled_from([" ", "  ", "\n", "\t"]), min_size=12, max_size=12),
    st.data(),
)
def test_changes_after_a_formatter_are_made_in_the_users_own_text(
    words: list[str], spaces: list[str], data: st.DataObject
) -> None:
    own = " ".join(words)
    formatted = "".join(f"{space}{word}" for space, word in zip(spaces, words, strict=False))
    number = data.draw(st.integers(0, len(words) - 1))
    changed = [*words[:number], "NEW", *words[number + 1 :]]
    now = "".join(f"{space}{word}" for space, word in zip(spaces, changed, strict=False))
    merged = Frozen(Span.placed(own, Position(0, 0)), formatted).merged(now)
    assert merged is not None
    assert merged.text == " ".join(changed)


def test_a_rewrite_that_was_put_back_before_the_formatter_is_rejected() -> None:
    desk = Desk("x\n", behind="\n", replaced="as it was").edit(2, 15, "as it was").edit(4, 5, "  ", machine=True)
    assert desk.tracker.settle("o", desk.document).outcome is Outcome.REJECTED


def test_what_was_kept_before_a_formatter_survives_the_store() -> None:
    desk = Desk(behind="\n").edit(0, 1, "T").edit(3, 4, "  ", machine=True)
    again = Tracked.from_json(desk.tracked.to_json(now=2.0), now=2.0)
    assert again.judged(desk.document) == Verdict(Outcome.EDITED, "The quick fox", 12, 1, 1, 0)


# --- cut and pasted ----------------------------------------------------------------------------


def test_an_offer_that_is_cut_and_pasted_goes_on_there() -> None:
    desk = Desk("a\n", behind="\nb\nc").edit(2, 16, "").edit(3, 3, "\n>> " + OFFER + "\n")
    assert desk.verdict == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, 0)
    assert desk.tracked.first_change_at is None
    assert desk.edit(7, 8, "T", now=9.0).verdict == Verdict(Outcome.EDITED, "The quick fox", 12, 1, 1, 0)
    assert desk.tracked.first_change_at == 9.0


def test_what_was_changed_before_the_cut_is_pasted_along() -> None:
    desk = Desk("a\n", behind="\nb").edit(2, 3, "T").edit(2, 16, "").edit(0, 0, "The quick fox\n")
    assert desk.verdict == Verdict(Outcome.EDITED, "The quick fox", 12, 1, 1, 0)


@pytest.mark.parametrize("down", [True, False])
def test_a_line_that_is_moved_in_one_go_is_followed(down: bool) -> None:
    desk = Desk("a\n", behind="\nb\n")
    # first the lower place, as editors send it
    edits = [(18, 18, OFFER + "\n"), (2, 16, "")] if down else [(2, 16, ""), (0, 0, OFFER + "\n")]
    deltas = [desk.document.replace(desk.document.position(a), desk.document.position(b), t) for a, b, t in edits]
    desk.tracker.apply(deltas, desk.document, 1.0)
    assert desk.verdict == Verdict(Outcome.ACCEPTED, OFFER, 13, 0, 0, 0)
    assert desk.tracked.span.start == Position(2 if down else 0, 0)


@pytest.mark.parametrize(
    ("paste", "now"),
    [
        (OFFER[:-1], 2.0),  # not all of it
        (OFFER + OFFER, 2.0),  # which of them?
        (OFFER, 62.0),  # long after
    ],
)
def test_a_cut_is_not_followed_to_where_it_cannot_be_told(paste: str, now: float) -> None:
    desk = Desk("a\n", behind="\nb").edit(2, 15, "").edit(0, 0, paste, now=now)
    assert desk.verdict.outcome is Outcome.REJECTED


def test_a_short_text_is_not_followed() -> None:
    assert Desk("a\n", "it is", "\nb").edit(2, 7, "").edit(0, 0, "it is").verdict.outcome is Outcome.REJECTED


def test_an_offer_that_is_undone_and_offered_anew_is_not_pasted() -> None:
    desk = Desk("a\n", behind="\nb").edit(2, 15, "")
    places = desk.document.position(0), desk.document.position(0)
    desk.tracker.apply([desk.document.replace(*places, OFFER)], desk.document, 2.0, offered=[OFFER])
    assert desk.verdict.outcome is Outcome.REJECTED


def test_an_offer_within_an_offer() -> None:
    """What stands where an offer was put is what was kept of it, whoever wrote it; the inner one has its own row."""
    desk = Desk("a\n", "One is here. Two is there.", "\nb")
    at, end = desk.document.position(15), desk.document.position(28)
    delta = desk.document.replace(at, end, "Two has left.")
    desk.tracker.apply([delta], desk.document, 1.0)
    inner = Span.placed("Two has left.", delta.new_start, delta.new_end, replaced="Two is there.")
    desk.tracker.place("inner", inner, 1.0)
    desk.edit(15, 18, "Three", now=2.0)
    assert desk.tracker.settle("inner", desk.document) == Verdict(Outcome.EDITED, "Three has left.", 11, 4, 2, 0)
    found = desk.tracker.settle("o", desk.document)
    assert (found.outcome, found.kept) == (Outcome.EDITED, "One is here. Three has left.")


def test_a_formatter_elsewhere_censors_nothing() -> None:
    desk = Desk("a \n", behind="\n").edit(1, 2, "", machine=True).edit(15, 15, "\n", machine=True)
    assert desk.tracker.settle("o", desk.document).outcome is Outcome.ACCEPTED


def test_a_whole_replacement_by_a_client_that_can_send_ranges_is_not_the_users() -> None:
    desk = Desk("a\n").whole("A\nthe Quick fox")
    assert desk.tracker.settle("o", desk.document).outcome is Outcome.ACCEPTED


def test_a_whole_replacement_elsewhere_only_moves_it() -> None:
    desk = Desk("a\n").whole("a\nb\n" + OFFER)
    assert not desk.tracked.censored
    assert desk.tracked.span.start == Position(2, 0)


def test_a_client_of_whole_documents_edits_by_small_replacements() -> None:
    desk = Desk("a\n").whole("a\nthe Quick fox", full_sync=True)
    assert desk.verdict == Verdict(Outcome.EDITED, "the Quick fox", 12, 1, 1, 0)
    assert desk.whole("a\nthe " + "long " * 200 + "fox", full_sync=True).tracked.censored


def test_a_lost_change_censors_all() -> None:
    desk = Desk()
    desk.tracker.censor()
    assert desk.tracker.settle("o", desk.document) == CENSORED


# --- after a restart --------------------------------------------------------------------------


def test_state_survives_the_store_on_another_clock() -> None:
    desk = Desk("a ").edit(4, 5, "X", now=7.0)
    again = Tracked.from_json(desk.tracked.to_json(now=10.0), now=1000.0)
    assert again.span == desk.tracked.span
    assert (again.placed_at, again.touched_at, again.first_change_at) == (990.0, 997.0, 997.0)


TEXT = "Alpha line\n" * 3 + "The offer that stands here is long enough.\n" + "Omega line\n" * 3


@pytest.mark.parametrize(
    ("text", "near", "region", "found"),
    [
        ("abc abc", 4, "abc", (4, 7)),
        ("abc abc", 1, "abc", None),  # too short to be looked for
        (TEXT, 0, "The offer that stands", (33, 54)),
        (TEXT, 0, "Alpha line", (0, 10)),
        (TEXT, 5, "Alpha line", None),  # three of them
        (TEXT, 33, "The offer which stands here is long enough.", (33, 75)),
        (TEXT, 33, "Something else altogether that was here once.", None),
        (TEXT, 0, "", None),
        ("", 0, "The offer which stands here is long enough.", None),
    ],
)
def test_reanchor(text: str, near: int, region: str, found: tuple[int, int] | None) -> None:
    assert reanchor(text, near, region) == found


def test_two_likenesses_are_ambiguous() -> None:
    copies = "The offer that stands here is long enough.\n" * 2
    assert reanchor("xx" + copies, 0, "The offer which stands here is long enough.") is None


def _reopened(text: str) -> Document:
    return Document("file:///a", text, 1, "plaintext", "utf-32")


def test_resume_in_place_keeps_everything() -> None:
    desk = Desk("a ", behind="\n").edit(15, 15, " more").edit(3, 4, "H")
    span = desk.tracked.span
    assert resumed(span, _reopened(desk.document.text())) == span


def test_resume_elsewhere_with_changes_in_between() -> None:
    offer = "A sentence that was offered, and then another one."
    desk = Desk("top\n", offer=offer, behind="\nend")
    document = _reopened("new line\nanother\ntop\nA sentence that was offered; then yet another one.\nend")
    span = resumed(desk.tracked.span, document)
    assert span is not None
    assert span.text == document.slice(span.start, span.end) == "A sentence that was offered; then yet another one."
    found = verdict(span, document)
    assert found.outcome is Outcome.EDITED
    assert found.kept_chars + found.deleted_chars == len(offer)
    assert found.deleted_chars <= 6


def test_resume_gives_up_when_the_offer_is_gone() -> None:
    assert resumed(Desk("a ").tracked.span, _reopened("nothing of it")) is None
    assert resumed(Desk("a\n\n").tracked.span, _reopened("")) is None


def test_resume_of_an_undone_offer_needs_no_place() -> None:
    span = Desk("a ").edit(2, 15, "").tracked.span
    assert resumed(span, _reopened("")) == span


def test_deltas_before_and_after_are_told_apart_from_the_edge() -> None:
    span = Span.placed("x\r", Position(2, 4), Position(2, 6))  # a \n follows: the end is inside a line end
    above = Delta(Position(0, 0), Position(0, 0), Position(0, 0), Position(3, 0), "", "\n\n\n")
    assert span.apply(above).bounds == (Position(5, 4), Position(5, 4), Position(5, 6), Position(5, 6))
