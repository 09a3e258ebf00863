"""The rules of the kept text, one by one; whole stories are in `golden/`."""

from __future__ import annotations

import pytest
from desk import OFFER, Desk

from learner.records import Outcome, SettledBy
from lsp_server.delta import Delta, Position
from lsp_server.kept import Verdict, due
from lsp_server.segments import Inserted, Kept
from lsp_server.span import Span


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


def test_deltas_before_and_after_are_told_apart_from_the_edge() -> None:
    span = Span.placed("x\r", Position(2, 4), Position(2, 6))  # a \n follows: the end is inside a line end
    above = Delta(Position(0, 0), Position(0, 0), Position(0, 0), Position(3, 0), "", "\n\n\n")
    assert span.apply(above).bounds == (Position(5, 4), Position(5, 4), Position(5, 6), Position(5, 6))
