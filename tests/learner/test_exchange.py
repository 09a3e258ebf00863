"""Edits in and out as JSONL."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from store_rows import TEXT, decision, offer, record, settlement

from learner import exchange
from learner.cost import cost_max
from learner.exceptions import ImportFileError
from learner.records import Message, Outcome, Prompt
from learner.store import EDIT_COLUMNS, Store

GOOD = {"prompt": "Make this shorter.", "offered": TEXT, "kept": "The board meets."}


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(None) as opened:
        yield opened


def write(path: Path, *rows: Any) -> Path:
    """A JSONL file; rows that are bytes are written as they are."""
    path.write_bytes(b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows) + b"\n")
    return path


def exported(store: Store) -> list[dict[str, Any]]:
    out = io.StringIO()
    count = exchange.export(store, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert count == len(rows)
    return rows


def test_a_minimal_line_is_enough(store: Store, tmp_path: Path) -> None:
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "Hallo \u2028"}]
    path = write(
        tmp_path / "in.jsonl",
        GOOD,
        b"",
        {"prompt": chat, "offered": TEXT, "kept": TEXT},
        {"prompt": "x", "offered": TEXT, "kept": None},
        {"prompt": '{"format": is no JSON', "offered": TEXT, "kept": ""},
    )
    assert exchange.load(store, path) == (4, 0)
    found = {e.prompt: e for e in store.edits()}
    edits = [found[Prompt((Message("user", GOOD["prompt"]),)).to_json()]]
    assert asdict(edits[0]) | {"offer_id": 0, "created_at": 0, "document": 0} == {
        **dict.fromkeys(EDIT_COLUMNS),
        "offer_id": 0, "created_at": 0, "document": 0, "task": "rewrite", "origin": "import", "language": "",
        "workspace": "", "author": "", "prompt": edits[0].prompt, "prompt_version": "", "generated": TEXT,
        "offered": TEXT, "kept": "The board meets.", "outcome": "edited", "cost": edits[0].cost,
        "cost_max": cost_max(TEXT, "The board meets."), "kept_chars": edits[0].kept_chars,
        "modified_chars": edits[0].modified_chars, "deleted_chars": edits[0].deleted_chars, "appended_chars": 0,
        "settled_by": "command", "finish_reason": "stop", "base_model": "", "engine": "",
    }  # fmt: skip
    assert edits[0].kept_chars + edits[0].deleted_chars == len(TEXT)
    assert edits[0].kept_chars + edits[0].modified_chars == len("The board meets.")
    assert found[Prompt((Message("system", "s"), Message("user", "Hallo \u2028"))).to_json()].outcome == "accepted"
    assert [found[p].outcome for p in found if '"x"' in p or "no JSON" in p] == ["rejected", "rejected"]
    assert list(store.events()) == []  # an import teaches the learner and not the bandit


def test_importing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", GOOD, GOOD | {"kept": "Else."}, GOOD)
    assert exchange.load(store, path) == (2, 1)
    before = list(store.edits())
    assert exchange.load(store, path) == (0, 3)
    assert list(store.edits()) == before


def test_what_was_exported_can_be_imported_elsewhere(store: Store, tmp_path: Path) -> None:
    for i, outcome in enumerate([*Outcome, None]):
        record(store, outcome, document=f"file:///{i}", created_at=100.0 + i, text=f"{TEXT} \U0001f600 \u2028 {i}")
    chosen = decision()
    partial = offer(chosen)
    store.add_decision(chosen)
    store.add_offer(partial)
    store.settle(
        settlement(partial, offered="The committee will", kept="The board will", appended_chars=7, shown_ms=3.0)
    )
    rows = exported(store)
    path = write(tmp_path / "out.jsonl", *rows)
    with Store.open(None) as other:
        assert exchange.load(other, path) == (7, 0)
        again = exported(other)
        assert exchange.load(other, path) == (0, 7)
    lost = {"decision_id", "arm", "adapter_version", "propensity", "bandit", "consent_version", "origin"}
    for row, copy in zip(rows, again, strict=True):
        assert {k: v for k, v in copy.items() if k not in lost} == {k: v for k, v in row.items() if k not in lost}
        assert copy["origin"] == "import"
        assert [copy[k] for k in sorted(lost - {"origin"})] == [None] * 6
    assert list(rows[0]) == list(EDIT_COLUMNS)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "Expecting property name"),
        (b"[1]", "should be a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ({"prompt": "x", "kept": "y"}, "`offered` is missing"),
        ({"prompt": "x", "offered": "y"}, "`kept` is missing"),
        ({"offered": "x", "kept": "y"}, "`prompt` is missing"),
        (GOOD | {"offered": ""}, "not empty"),
        (GOOD | {"offered": 3}, "`offered` should be a text"),
        (GOOD | {"kept": 3}, "`kept` should be a text"),
        (GOOD | {"prompt": []}, "string or a list"),
        (GOOD | {"prompt": 3}, "string or a list"),
        (GOOD | {"prompt": ["x"]}, "needs a role"),
        (GOOD | {"prompt": [{"role": "wizard", "content": "x"}]}, "needs a role"),
        (GOOD | {"prompt": [{"role": "user"}]}, "needs a role"),
        (GOOD | {"prompt": {"format": "raw"}}, 'format "chat"'),
        (GOOD | {"acceptance": 1}, r"unknown key\(s\) acceptance"),
        (GOOD | {"task": "poem"}, "`task` should be one of completion, rewrite, draft"),
        (GOOD | {"outcome": "loved"}, "`outcome` should be one of"),
        (GOOD | {"outcome": ["edited"]}, "`outcome` should be one of"),
        (GOOD | {"outcome": "accepted"}, "it is edited"),
        (GOOD | {"outcome": None}, "never settled"),
        (GOOD | {"settled_by": "magic"}, "`settled_by` should be one of"),
        (GOOD | {"created_at": "now"}, "`created_at` should be a number"),
        (GOOD | {"created_at": float("nan")}, "`created_at` should be a number"),
        (GOOD | {"created_at": 10**400}, "`created_at` should be a number"),
        (GOOD | {"kept_chars": -1}, "`kept_chars` should be a number"),
        (GOOD | {"latency_ms": True}, "`latency_ms` should be a number"),
        (GOOD | {"document": 5}, "`document` should be a text"),
        (GOOD | {"offer_id": 5}, "`offer_id` should be a text"),
        (GOOD | {"typed": ["x"]}, "`typed` should be a text"),
        (GOOD | {"kept": "\ud800"}, "lone surrogate"),
        (GOOD | {"kept": "AKIA" + "IOSFODNN7EXAMPLE"}, "looks like an AWS access key"),
        (GOOD | {"typed": "hf_" + "a1B2c3D4e5" * 4}, "looks like a Hugging Face token"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_imported(store: Store, tmp_path: Path, line: Any, what: str) -> None:
    path = write(tmp_path / "in.jsonl", GOOD, b"", line, GOOD)
    with pytest.raises(ImportFileError, match=rf"in\.jsonl, line 3: .*{what}.*Nothing of the file was imported"):
        exchange.load(store, path)
    assert list(store.edits()) == []
    assert exchange.load(store, write(path, GOOD)) == (1, 0)  # mended, it goes in


def test_a_file_that_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match=r"none\.jsonl: No such file"):
        exchange.load(store, tmp_path / "none.jsonl")
    with pytest.raises(ImportFileError, match="directory"):
        exchange.load(store, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b'{"prompt":"a",\r\n'])
def test_odd_files(store: Store, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    if b"\r" in content:
        with pytest.raises(ImportFileError, match="line 1"):
            exchange.load(store, path)
    else:
        assert exchange.load(store, path) == (1 if content.startswith(b"\xef") else 0, 0)


def test_export_for_trl_has_the_edited_rows(store: Store) -> None:
    made = record(store)
    record(store, Outcome.ACCEPTED)
    out = io.StringIO()
    assert exchange.export(store, out, trl=True) == 1
    assert json.loads(out.getvalue()) == {
        "prompt": [{"role": m.role, "content": m.content} for m in made.prompt.messages],
        "chosen": [{"role": "assistant", "content": TEXT.replace("Monday", "Tuesday")}],
        "rejected": [{"role": "assistant", "content": TEXT}],
    }


class Sink(io.StringIO):
    """Takes text and keeps none."""

    def write(self, text: str, /) -> int:
        return len(text)


def test_export_streams(tmp_path: Path) -> None:
    with Store.open(tmp_path / "edits.db") as store:
        with store.transaction():
            for i in range(1500):
                record(store, Outcome.ACCEPTED, text=f"{i} " + TEXT * 300)  # 10 KB, twice a row
        tracemalloc.start()
        try:
            assert exchange.export(store, Sink()) == 1500
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1_000_000  # of some 45 MB
