"""Windows of ghost text: one decision for a while in a document, closed whatever ends it."""

from types import SimpleNamespace
from typing import Any

from learner.records import Decision, Task
from lsp_server.windows import IDLE_SECONDS, LONGEST_SECONDS, Windows


class Closing:
    """Stands for the assistant: its ledger runs what is queued, its recorder notes what is closed."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.ledger: Any = SimpleNamespace(queue=lambda act: act())
        self.recorder: Any = SimpleNamespace(close_decision=self.closed.append)


def decision(identifier: str) -> Decision:
    return Decision(identifier, Task.COMPLETION, "base", None, 0.5, "ucb", "u", 1.0, 1.0)


def windows() -> tuple[Windows, list[str]]:
    closing: Any = Closing()
    return Windows(closing), closing.closed


def test_a_window_holds_until_it_idles_or_is_old() -> None:
    it, closed = windows()
    window = it.open("u", decision("a"))
    assert window.decision.closed_at is None
    it.note_recorded(window)
    assert it.find("u") is window
    assert it.find("v") is None
    it.expire(window.used_at + IDLE_SECONDS)
    assert closed == []
    it.expire(window.used_at + IDLE_SECONDS + 0.1)
    assert (closed, window.closed) == (["a"], True)
    assert it.find("u") is None
    busy = it.open("u", decision("b"))
    it.note_recorded(busy)
    busy.used_at += LONGEST_SECONDS
    it.expire(busy.opened_at + LONGEST_SECONDS + 0.1)
    assert closed == ["a", "b"]


def test_what_was_never_recorded_is_never_closed() -> None:
    it, closed = windows()
    it.open("u", decision("a"))
    it.close("u")
    it.close("u")
    assert closed == []


def test_recorded_while_it_ended() -> None:
    it, closed = windows()
    window = it.open("u", decision("a"))
    it.close("u")
    it.note_recorded(window)
    it.note_recorded(window)
    assert closed == ["a"]


def test_a_new_one_and_the_end_of_all_close() -> None:
    it, closed = windows()
    for document, identifier in (("u", "a"), ("u", "b"), ("v", "c")):
        it.note_recorded(it.open(document, decision(identifier)))
    assert closed == ["a"]
    it.close_all()
    assert sorted(closed) == ["a", "b", "c"]
