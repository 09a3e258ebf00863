"""Offers that are cut out and pasted, or moved in one go."""

from __future__ import annotations

import pytest
from desk import OFFER, Desk

from learner.records import Outcome
from lsp_server.delta import Position
from lsp_server.kept import Verdict


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


def test_a_paste_that_a_later_change_breaks_in_on_is_not_followed() -> None:
    desk = Desk("a\n", behind="\nb").edit(2, 15, "")
    edits = [(0, 0, OFFER), (4, 4, "very ")]
    deltas = [desk.document.replace(desk.document.position(a), desk.document.position(b), t) for a, b, t in edits]
    desk.tracker.apply(deltas, desk.document, 2.0)
    assert desk.verdict.outcome is Outcome.REJECTED
