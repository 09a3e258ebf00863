"""Commits and switches, as real git writes them down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from learner.records import Settlement
from lsp_server.document import Document
from lsp_server.kept import Tracker
from lsp_server.revisions import Moved, Revisions, reflog_of
from lsp_server.session import Session
from lsp_server.span import Span


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    reflog_of.cache_clear()


class Desk:
    """As much of an assistant as `Revisions` asks for, with one offer in each document."""

    def __init__(self, *paths: Path) -> None:
        self.sessions: dict[str, Session] = {}
        self.settled: dict[str, list[Settlement]] = {}
        for path in paths:
            document = Document(path.as_uri(), "", 1, "plaintext", "utf-32")
            delta = document.replace(document.position(0), document.position(0), "the quick fox")
            session = Session(document, "w", tracker=Tracker())
            session.tracker.place("o", Span.placed("the quick fox", delta.new_start, delta.new_end), 0.0)
            self.sessions[document.uri] = session

    def settle_seconds(self) -> tuple[float, float]:
        return 1e9, 1e9

    def drain(self, session: Session) -> None:
        self.settled.setdefault(session.document.uri, []).extend(session.settled)
        session.settled.clear()


def test_a_commit_settles_the_offers_of_its_repository_and_no_others(repository: Any, tmp_path: Path) -> None:
    (repository.folder / "deep" / "er").mkdir(parents=True)
    own, elsewhere = repository.folder / "deep" / "er" / "a.md", tmp_path / "b.md"
    desk: Any = Desk(own, elsewhere)
    revisions = Revisions(desk)
    for uri in desk.sessions:
        revisions.look(uri)
    assert not desk.settled
    repository.git("commit", "-q", "--allow-empty", "-m", "checkout: no, a commit")
    for uri in desk.sessions:
        revisions.look(uri)
    ((uri, (settlement,)),) = desk.settled.items()
    assert (uri, settlement.outcome, settlement.settled_by) == (own.as_uri(), "accepted", "commit")


def test_after_a_switch_changes_are_not_the_users(repository: Any) -> None:
    path = repository.folder / "a.md"
    desk: Any = Desk(path)
    revisions = Revisions(desk)
    revisions.look(path.as_uri())
    repository.git("checkout", "-q", "-b", "other")
    revisions.look(path.as_uri())
    session = desk.sessions[path.as_uri()]
    start = session.document.position(4)
    session.tracker.apply(
        [session.document.replace(start, session.document.position(9), "slow")],
        session.document,
        1.0,
        machine=session.switched_until > 0,
    )
    assert session.tracker.settle("o", session.document).kept == "the quick fox"
    assert not desk.settled


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        (("commit", "-q", "--allow-empty", "-m", "x"), Moved.COMMIT),
        (("commit", "-q", "--allow-empty", "--amend", "-m", "x"), Moved.COMMIT),
        (("checkout", "-q", "-b", "new"), Moved.SWITCH),
        (("switch", "-q", "-c", "new"), Moved.SWITCH),
        (("reset", "-q", "--hard", "HEAD~1"), Moved.SWITCH),
        (("merge", "-q", "side"), Moved.SWITCH),
        (("status",), None),
        (("branch", "new"), None),
    ],
)
def test_what_moves_head(repository: Any, words: tuple[str, ...], moved: Moved | None) -> None:
    repository.git("commit", "-q", "--allow-empty", "-m", "Second")
    repository.git("checkout", "-q", "-b", "side")
    repository.git("commit", "-q", "--allow-empty", "-m", "Third")
    repository.git("checkout", "-q", "main")
    revisions = Revisions(Desk())  # type: ignore[arg-type]
    log = reflog_of(str(repository.folder / "deep" / "er"))
    assert log is not None
    assert revisions.moved(log) is None
    repository.git(*words)
    assert revisions.moved(log) is moved
    assert revisions.moved(log) is None


def test_a_worktree_has_a_head_of_its_own(repository: Any, tmp_path: Path) -> None:
    repository.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    log = reflog_of(str(tmp_path / "tree"))
    assert log is not None
    assert log.is_file()
    assert log != reflog_of(str(repository.folder))


def test_there_may_be_no_repository(tmp_path: Path) -> None:
    assert reflog_of(str(tmp_path)) is None
    desk: Any = Desk(tmp_path / "a.md")
    Revisions(desk).look((tmp_path / "a.md").as_uri())
    Revisions(desk).look("untitled:Untitled-1")
    assert not desk.settled


def test_a_repository_that_is_made_later_is_found_by_the_next_opening(tmp_path: Path, repository: Any) -> None:
    desk: Any = Desk(tmp_path / "late" / "a.md")
    revisions = Revisions(desk)
    (uri,) = desk.sessions
    revisions.opened(uri)
    repository.git("worktree", "add", "-q", "-b", "late", str(tmp_path / "late"))
    revisions.opened(uri)
    type(repository)(tmp_path / "late").git("commit", "-q", "--allow-empty", "-m", "Second")
    revisions.look(uri)
    assert [s.settled_by for s in desk.settled[uri]] == ["commit"]
