"""Changes that are not the user's: formatters, branches, whole replacements, lost changes."""

from __future__ import annotations

from desk import OFFER, Desk
from hypothesis import given
from hypothesis import strategies as st

from learner.records import Outcome
from lsp_server.delta import Position
from lsp_server.frozen import Frozen
from lsp_server.kept import CENSORED, Tracked, Verdict
from lsp_server.span import Span


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
