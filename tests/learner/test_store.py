"""The store's rows and rules, on a database in memory and on a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_rows import TEXT, decision, offer, record, settlement

from learner.bandit import Tally, key
from learner.cost import cost, cost_max
from learner.exceptions import StoreError
from learner.records import Origin, Outcome, SettledBy, Task
from learner.store import CONSENT_VERSION, FOLD_AT, Store, bandit_loss

# the public list of docs/architecture.md, in its order
PUBLIC = [
    "offer_id",
    "decision_id",
    "created_at",
    "task",
    "language",
    "document",
    "workspace",
    "author",
    "origin",
    "prompt",
    "prompt_version",
    "generated",
    "offered",
    "kept",
    "typed",
    "outcome",
    "cost",
    "cost_max",
    "kept_chars",
    "modified_chars",
    "deleted_chars",
    "appended_chars",
    "settled_by",
    "finish_reason",
    "arm",
    "adapter_version",
    "propensity",
    "bandit",
    "base_model",
    "engine",
    "shown_ms",
    "latency_ms",
    "consent_version",
]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store.open(None if request.param == "memory" else tmp_path / "r" / "edits.db") as opened:
        yield opened


def test_the_view_has_the_public_columns_in_their_order(store: Store) -> None:
    assert [row[1] for row in store.read("PRAGMA table_info(edits)")] == PUBLIC


def test_an_edit_is_recorded_exactly(store: Store) -> None:
    consent = store.set_consent(True, source="test")
    chosen = decision(Task.DRAFT, arm="sft", adapter_version="sft-1", propensity=0.625)
    made = offer(chosen, author="kim", origin=Origin.DEMO, generated=f"```\n{TEXT}\n```")
    kept = "The board will meet on Tuesday."
    store.add_decision(chosen)
    store.add_offer(made, consent_id=consent)
    unsettled = next(store.edits())
    assert (unsettled.outcome, unsettled.kept, unsettled.cost) == (None, None, None)
    assert store.settle(
        settlement(made, kept=kept, kept_chars=20, modified_chars=11, deleted_chars=14, appended_chars=3, shown_ms=9.5)
    )
    assert [asdict(edit) for edit in store.edits()] == [
        {
            "offer_id": made.id, "decision_id": chosen.id, "created_at": 101.0, "task": "draft", "language": "markdown",
            "document": "file:///d.md", "workspace": "file:///w", "author": "kim", "origin": "demo",
            "prompt": made.prompt.to_json(), "prompt_version": "1", "generated": f"```\n{TEXT}\n```", "offered": TEXT,
            "kept": kept, "typed": None, "outcome": "edited", "cost": cost(TEXT, kept),
            "cost_max": cost_max(TEXT, kept), "kept_chars": 20, "modified_chars": 11, "deleted_chars": 14,
            "appended_chars": 3, "settled_by": "quiet", "finish_reason": "stop", "arm": "sft",
            "adapter_version": "sft-1", "propensity": 0.625, "bandit": "thompson", "base_model": "smol",
            "engine": "llama.cpp", "shown_ms": 9.5, "latency_ms": 12.5, "consent_version": CONSENT_VERSION,
        }
    ]  # fmt: skip
    assert next(store.edits()).chat == made.prompt


@pytest.mark.parametrize(
    ("outcome", "costs"),
    [
        (Outcome.ACCEPTED, (0.0, 0.0)),
        (Outcome.REJECTED, (1.0, 1.0)),
        (Outcome.IGNORED, (None, None)),
        (Outcome.CENSORED, (None, None)),
    ],
)
def test_costs_by_outcome(store: Store, outcome: Outcome, costs: tuple[float | None, float | None]) -> None:
    record(store, outcome)
    assert [(e.cost, e.cost_max) for e in store.edits()] == [costs]


def test_a_partial_accept_is_compared_with_the_accepted_part(store: Store) -> None:
    made = record(store, None)
    store.settle(settlement(made, kept="The committee", offered="The committee will"))
    edit = next(store.edits())
    assert edit.offered == "The committee will"
    assert edit.cost_max == cost_max("The committee will", "The committee")


def test_an_offer_without_a_word_has_no_paper_cost(store: Store) -> None:
    made = record(store, None, text="\n\n")
    store.settle(settlement(made, kept="x"))
    edit = next(store.edits())
    assert edit.cost is None
    assert edit.cost_max == 1.0


def test_nul_and_any_unicode_survive(store: Store) -> None:
    text = "\0a\0 \U0001f600 e\u0301 \u2028 \ufffe Monday"
    made = record(store, None, text=text, document="file:///\U0001f600.md")
    store.settle(settlement(made))
    edit = next(store.edits())
    assert (edit.offered, edit.document) == (text, "file:///\U0001f600.md")
    assert edit.kept == text.replace("Monday", "Tuesday")


def test_a_lone_surrogate_is_refused_and_nothing_is_written(store: Store) -> None:
    chosen = decision()
    store.add_decision(chosen)
    with pytest.raises(StoreError, match="lone surrogate"):
        store.add_offer(offer(chosen, "x\ud800"))
    assert list(store.edits()) == []
    record(store)  # and the connection goes on working


def test_the_first_settlement_stands(store: Store) -> None:
    made = record(store, Outcome.REJECTED)
    assert store.settle(settlement(made, Outcome.ACCEPTED)) is False
    assert [e.outcome for e in store.edits()] == ["rejected"]
    assert store.bandit_state()[key("rewrite", "base", None)] == Tally(1.0, 1.0, 1.0, 0)


def test_unknown_ids_are_refused(store: Store) -> None:
    made = offer(decision())
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_offer(made)
    with pytest.raises(StoreError, match="forgotten, or never recorded"):
        store.settle(settlement(made))
    with pytest.raises(StoreError, match="not made by Redraft"):
        store.meta("nothing")


@pytest.mark.parametrize("propensity", [0.0, -0.5, 1.5, float("nan")])
def test_no_choice_without_a_probability(store: Store, propensity: float) -> None:
    with pytest.raises(StoreError):
        store.add_decision(decision(propensity=propensity))


def test_an_empty_offer_is_refused(store: Store) -> None:
    chosen = decision()
    store.add_decision(chosen)
    with pytest.raises(StoreError, match="CHECK"):
        store.add_offer(offer(chosen, "x", offered=""))


def test_a_transaction_is_undone_as_a_whole(store: Store) -> None:
    chosen = decision()

    def half() -> None:
        with store.transaction():
            store.add_decision(chosen)
            store.add_offer(offer(chosen))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert list(store.edits()) == []
    assert list(store.events()) == []


# --- the bandit's loss -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "cost_max", "shown_ms", "task", "loss"),
    [
        (Outcome.ACCEPTED, 0.0, 1.0, Task.COMPLETION, 0.0),
        (Outcome.EDITED, 0.25, 1.0, Task.COMPLETION, 0.25),
        (Outcome.REJECTED, 1.0, None, Task.REWRITE, 1.0),
        (Outcome.IGNORED, None, 750.0, Task.COMPLETION, 1.0),
        (Outcome.IGNORED, None, 749.9, Task.COMPLETION, None),
        (Outcome.IGNORED, None, None, Task.COMPLETION, None),
        (Outcome.IGNORED, None, None, Task.REWRITE, 1.0),
        (Outcome.IGNORED, None, 1.0, Task.DRAFT, 1.0),
        (Outcome.CENSORED, None, 9000.0, Task.REWRITE, None),
    ],
)
def test_bandit_loss(
    outcome: Outcome, cost_max: float | None, shown_ms: float | None, task: Task, loss: float | None
) -> None:
    assert bandit_loss(outcome, cost_max, shown_ms, task) == loss


def tally(store: Store, task: Task = Task.COMPLETION) -> Tally:
    return store.bandit_state()[key(task, "base", None)]


def test_a_window_of_ghost_text_counts_once_by_its_mean(store: Store) -> None:
    window = decision(Task.COMPLETION, closed_at=None)
    store.add_decision(window)
    rows = [offer(window) for _ in range(4)]
    for row in rows:
        store.add_offer(row)
    assert tally(store) == Tally(in_flight=1)
    store.settle(settlement(rows[0], Outcome.ACCEPTED))
    store.settle(settlement(rows[1], Outcome.REJECTED))
    store.settle(settlement(rows[2], Outcome.IGNORED, shown_ms=100.0))  # not seen: no row of the mean
    store.close_decision(window.id)
    assert tally(store) == Tally(in_flight=1)  # one is still open
    store.settle(settlement(rows[3], Outcome.IGNORED, shown_ms=800.0))
    assert [(e.kind, e.loss) for _, e in store.events()] == [("chosen", None), ("settled", pytest.approx(2 / 3))]
    assert (tally(store).n, tally(store).in_flight) == (1.0, 0)
    store.close_decision(window.id)  # closing again changes nothing
    assert len(list(store.events())) == 2


def test_a_window_settles_when_it_is_closed_last(store: Store) -> None:
    window = decision(Task.COMPLETION, closed_at=None)
    store.add_decision(window)
    made = offer(window)
    store.add_offer(made)
    store.settle(settlement(made, Outcome.ACCEPTED))
    assert tally(store).in_flight == 1
    store.close_decision(window.id, 0.0)
    assert tally(store) == Tally(n=1.0)
    assert store.read("SELECT closed_at FROM decisions") == [(0.0,)]


def test_a_request_that_made_no_offer_leaves_nothing_in_flight(store: Store) -> None:
    window = decision(Task.COMPLETION, closed_at=None)
    store.add_decision(window)
    store.close_decision(window.id)
    assert tally(store) == Tally()


def test_a_censored_row_teaches_the_bandit_nothing(store: Store) -> None:
    record(store, Outcome.CENSORED)
    assert tally(store, Task.REWRITE) == Tally()


def test_an_answer_of_another_arm_teaches_nothing_about_the_chosen_one(store: Store) -> None:
    chosen = decision(arm="sft", adapter_version="sft-1")
    made = offer(chosen, arm="base", adapter_version=None)  # the host fell back
    store.add_decision(chosen)
    store.add_offer(made)
    store.settle(settlement(made, Outcome.REJECTED))
    assert store.bandit_state() == {key("rewrite", "sft", "sft-1"): Tally()}


outcomes = st.sampled_from([*Outcome, None])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(outcomes, max_size=3), min_size=1, max_size=40), st.integers(0, 10**6))
def test_the_cached_fold_is_the_rebuilt_one_in_any_order(windows: list[list[Outcome | None]], seed: int) -> None:
    """Late, missing and out-of-order settlements; a second database gets the same in another order."""
    states = []
    tasks = list(Task)
    for order in (seed, seed + 1):
        rng = Random(order)
        with Store.open(None) as store:
            todo: list[Callable[[], object]] = []
            for i, window in enumerate(windows):
                chosen = decision(tasks[i % 3], arm="ab"[i % 2], adapter_version=None, closed_at=None)
                store.add_decision(chosen)
                for outcome in window:
                    made = offer(chosen)
                    store.add_offer(made)
                    if outcome is not None:
                        todo.append(partial(store.settle, settlement(made, outcome, shown_ms=800.0)))
                todo.append(partial(store.close_decision, chosen.id))
            rng.shuffle(todo)
            for act in todo:
                act()
                if rng.random() < 0.2:
                    store.bandit_state()
            assert store.bandit_state() == store.bandit_state(rebuild=True)
            states.append(store.bandit_state())
    assert states[0] == states[1]


def test_the_fold_is_cached_and_the_cache_is_used(store: Store) -> None:
    for _ in range(FOLD_AT):
        record(store, Outcome.REJECTED)
    assert store.bandit_state() == store.bandit_state(rebuild=True)
    assert store.read("SELECT seq FROM bandit_cache") == [(2 * FOLD_AT,)]
    record(store, Outcome.ACCEPTED)
    state = store.bandit_state()
    assert state[key("rewrite", "base", None)] == Tally(FOLD_AT + 1, FOLD_AT, FOLD_AT, 0)
    assert state == store.bandit_state(rebuild=True)


# --- edits, consent, spans ---------------------------------------------------------------------


def test_edits_come_oldest_first_filtered_and_limited(store: Store) -> None:
    for at in (3.0, 1.0, 2.0):
        record(store, document=f"file:///{at}", created_at=at)
    assert [e.created_at for e in store.edits()] == [1.0, 2.0, 3.0]
    assert [e.created_at for e in store.edits("document <> ?", ["file:///1.0"], limit=1)] == [2.0]
    plan = " ".join(
        str(row) for row in store.read("EXPLAIN QUERY PLAN SELECT * FROM edits ORDER BY created_at, offer_id")
    )
    assert "TEMP B-TREE" not in plan  # streams, whatever its size


def test_consent_by_workspace_and_for_all(store: Store) -> None:
    assert store.consent("file:///w") is None
    everywhere = store.set_consent(True, source="editor")
    assert store.consent("file:///w") == everywhere
    store.set_consent(False, scope="file:///w", source="editor")
    assert store.consent("file:///w") is None
    assert store.consent("file:///other") == everywhere
    again = store.set_consent(True, scope="file:///w", source="editor")
    assert store.consent("file:///w") == again
    store.set_consent(False, source="editor")
    assert store.consent("file:///other") is None
    assert store.consent("file:///w") is None, "a later no to all is a no to each"
    once_more = store.set_consent(True, scope="file:///w", source="editor")
    assert store.consent("file:///w") == once_more, "else its own word goes before the one about all"
    assert store.consent("file:///other") is None
    store.set_consent(True, scope="file:///old", source="editor", version=CONSENT_VERSION - 1)
    assert store.consent("file:///old") is None  # other words than today's


def test_spans_live_until_their_offer_settles(store: Store) -> None:
    made, other = record(store, None), record(store, None, document="file:///e.md")
    store.save_span(made.id, "file:///d.md", "1", '{"at": 1}')
    store.save_span(made.id, "file:///d.md", "2", '{"at": 2}')
    store.save_span(other.id, "file:///e.md", "1", "{}")
    store.save_span("unknown", "file:///d.md", "1", "{}")
    assert store.open_spans("file:///d.md") == [(made.id, "file:///d.md", "2", '{"at": 2}')]
    assert len(store.open_spans()) == 2
    store.settle(settlement(made, Outcome.CENSORED, settled_by=SettledBy.RESTART))
    store.save_span(made.id, "file:///d.md", "2", "{}")  # too late
    assert store.open_spans("file:///d.md") == []


def test_what_was_shown_is_noted(store: Store) -> None:
    made = record(store, None)
    store.mark_shown(made.id, 105.5)
    assert store.read("SELECT shown_at FROM offers") == [(105.5,)]


def test_a_row_outlives_the_connection(tmp_path: Path) -> None:
    with Store.open(tmp_path / "edits.db") as store:
        made = record(store)
    with Store.open(tmp_path / "edits.db") as store:
        assert [e.offer_id for e in store.edits()] == [made.id]
        assert len(store.meta("salt")) == 32


def test_a_mistake_of_ours_is_not_dressed_up(store: Store) -> None:
    with pytest.raises(sqlite3.ProgrammingError):
        store.read("SELECT ?", [])
