"""The recorder on a real store: the gate, the order, and a store that cannot be written for a while."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from learner.bandit import Context
from learner.config import Paths
from learner.records import Decision, Edit, Message, Offer, Outcome, Prompt, SettledBy, Settlement, Task, new_id, now
from learner.store import Store
from lsp_server import orphans
from lsp_server.delta import Position
from lsp_server.kept import Tracked
from lsp_server.recorder import Recorder
from lsp_server.span import Span

SECRET = "ghp_" + "a1B2" * 9
URI = "file:///w/a.md"


def decision() -> Decision:
    return Decision(new_id(), Task.DRAFT, "base", None, 1.0, "thompson", URI, now(), now())


def offer(of: Decision, text: str = "One two.", document: str = URI) -> Offer:
    return Offer(
        new_id(), of.id, now(), Task.DRAFT, "text", document, "w", 1, (0, 0, 0, 0), Prompt((Message("user", "x"),)),
        "1", text, text, "stop", 1, 1, 1.0, "base", None, "b", "e",
    )  # fmt: skip


def kept(made: Offer, text: str | None = None) -> Settlement:
    text = made.offered if text is None else text
    outcome = Outcome.ACCEPTED if text == made.offered else Outcome.EDITED
    return Settlement(made.id, outcome, SettledBy.CLOSE, now(), kept=text)


@asynccontextmanager
async def recorder(home: Path, record: bool | None = True) -> AsyncIterator[tuple[Recorder, list[str]]]:
    said: list[str] = []
    it = Recorder(Paths(home, home / "config.toml", home / "run"), "thompson", say=said.append)
    await it.start(record, "tests")
    yield it, said
    await it.stop()


def rows(home: Path) -> list[Edit]:
    with Store.open(home / "edits.db", read_only=True) as store:
        return list(store.edits())


async def test_silence_and_no_write_nothing(tmp_path: Path) -> None:
    for record in (None, False):
        async with recorder(tmp_path, record) as (it, said):
            made = offer(decision())
            assert await it.recording("w") is None
            assert not await it.offered(decision(), made)
            await it.settled(kept(made), "w")
            await it.close_decision("x")
            assert await it.orphans(URI) == []
            assert said == []
    assert list(tmp_path.iterdir()) == []


async def test_what_the_gate_withholds(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (it, said):
        chosen = decision()
        secret = offer(chosen, f"Use {SECRET} here.")
        surrogate = offer(chosen, "half \ud83d a pair")
        excluded = offer(chosen, document="file:///w/.env")
        prompted = replace(offer(chosen), prompt=Prompt((Message("user", SECRET),)))
        for made in (secret, surrogate, excluded, prompted):
            assert not await it.offered(chosen, made)
        made, other = offer(chosen), offer(chosen)
        assert await it.offered(chosen, made)
        assert await it.offered(None, other)
        await it.settled(kept(made, f"Use {SECRET} here."), "w")
        await it.settled(kept(other, "half \ud83d a pair"), "w")
        assert said == []
    assert {(row.offer_id, row.outcome, row.settled_by, row.kept) for row in rows(tmp_path)} == {
        (made.id, "censored", "gate", None),
        (other.id, "censored", "error", None),
    }
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("edits.db*"))


async def test_spans_hold_no_secret_and_nothing_after_a_no(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (it, _):
        chosen = decision()
        made = offer(chosen)
        await it.offered(chosen, made)
        tracked = Tracked(Span.placed("One two.", Position(0, 0)), 0.0, 0.0)

        async def state() -> str:
            with Store.open(tmp_path / "edits.db", read_only=True) as store:
                [(_, _, owner, text)] = store.open_spans(URI)
                assert owner == it.owner
                return text

        assert await state() == orphans.NOT_PUT_IN, "it has a row from the first moment"
        await it.save_span(made.id, URI, "w", tracked, 0.0)
        assert Tracked.from_json(await state(), 0.0) == tracked
        secret = Tracked(Span.placed(f"x {SECRET}", Position(0, 0)), 0.0, 0.0)
        await it.save_span(made.id, URI, "w", secret, 0.0)
        assert await state() == orphans.NOT_PUT_IN
        with Store.open(tmp_path / "edits.db") as store:
            store.set_consent(False, source="test")
        await it.save_span(made.id, URI, "w", tracked, 0.0)
        assert await state() == orphans.NOT_PUT_IN
        assert await it.orphans(URI) == [], "its server lives"


async def test_held_while_locked_then_written_in_order(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (it, said):
        chosen = decision()
        offers = [offer(chosen, f"Text {n}.") for n in range(3)]
        for index, made in enumerate(offers):
            assert await it.offered(chosen if index == 0 else None, made)
        lock = sqlite3.connect(tmp_path / "edits.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for made in offers:
            await it.settled(kept(made), "w")
        assert [words.split(":")[0] for words in said] == ["Redraft does not record for now"]
        assert it.problem is not None
        assert {row.outcome for row in rows(tmp_path)} == {None}
        assert not await it.offered(None, offer(chosen)), "at once, while it waits"
        lock.execute("ROLLBACK")
        lock.close()
        deadline = time.monotonic() + 10
        while it.problem is not None:
            assert time.monotonic() < deadline
            await it.retry()
        assert said[1:] == ["Redraft records again."]
        assert [row.outcome for row in rows(tmp_path)] == ["accepted"] * 3
        with Store.open(tmp_path / "edits.db", read_only=True) as store:
            order = [row[0] for row in store.read("SELECT offer_id FROM outcomes ORDER BY settled_at, rowid")]
        assert order == [made.id for made in offers]


async def test_a_forgotten_offer_holds_nothing_up(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (it, said):
        chosen = decision()
        made = offer(chosen)
        await it.offered(chosen, made)
        await it.settled(kept(offer(chosen)), "w")  # one that was never recorded
        await it.settled(kept(made), "w")
        assert [row.outcome for row in rows(tmp_path)] == ["accepted"]
        assert said == []


async def test_a_consent_that_was_withdrawn_while_an_offer_was_open(tmp_path: Path) -> None:
    async with recorder(tmp_path) as (it, _):
        chosen = decision()
        first, second = offer(chosen), offer(chosen)
        await it.offered(chosen, first)
        await it.offered(None, second)
        with Store.open(tmp_path / "edits.db") as store:
            store.set_consent(False, scope="w", source="test")
        await it.settled(kept(first, "private"), "w")
        it.allow(False)
        await it.settled(kept(second, "private"), "elsewhere")
        assert {(row.outcome, row.settled_by, row.kept) for row in rows(tmp_path)} == {("censored", "gate", None)}


async def test_what_dead_servers_left(tmp_path: Path) -> None:
    week = orphans.ABANDONED_SECONDS + 1
    async with recorder(tmp_path) as (it, _):
        stale = replace(decision(), task=Task.COMPLETION, chosen_at=now() - 1000, closed_at=None)
        fresh = replace(decision(), task=Task.COMPLETION, closed_at=None)
        abandoned, recent, mine = offer(stale), offer(fresh), offer(fresh)
        await it.offered(stale, abandoned)
        await it.offered(fresh, recent)
        await it.offered(None, mine)
    with Store.open(tmp_path / "edits.db") as store:
        store.db.execute("UPDATE spans SET owner = '999999:1.000' WHERE offer_id <> ?", [mine.id])
        store.db.execute("UPDATE spans SET updated_at = ? WHERE offer_id <> ?", [now() - week, recent.id])
    async with recorder(tmp_path) as (it, _):
        assert {row.offer_id: row.settled_by for row in rows(tmp_path)} == {
            abandoned.id: "restart", recent.id: None, mine.id: None,
        }  # fmt: skip
        assert [offer_id for offer_id, _ in await it.orphans(URI)] == [recent.id]
        with Store.open(tmp_path / "edits.db", read_only=True) as store:
            closed = {row[0] for row in store.read("SELECT id FROM decisions WHERE closed_at IS NOT NULL")}
        assert closed == {stale.id}


async def test_choices_without_a_store(tmp_path: Path) -> None:
    async with recorder(tmp_path, None) as (it, _):
        chosen = await it.choose(Context(Task.DRAFT, "text", URI), "f", frozenset())
        assert (chosen.arm, chosen.adapter_version, chosen.propensity, chosen.bandit) == ("base", None, 1.0, "thompson")
    assert list(tmp_path.iterdir()) == []
