"""Edits as Parquet: the same rows as JSONL, streaming, merged without doubles, nothing half-written."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cli_calls import call, said
from store_rows import record

from learner import exchange, parquet
from learner.exceptions import ImportFileError
from learner.records import Outcome
from learner.store import EDIT_COLUMNS, Store

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(None) as opened:
        for number, outcome in enumerate([*Outcome, None]):
            record(opened, outcome, document=f"file:///{number}.md")
        yield opened


def taught(store: Store) -> list[dict[str, Any]]:
    """What an import keeps of the rows."""
    lost = {"decision_id", "arm", "adapter_version", "propensity", "bandit", "origin", "consent_version"}
    return [{k: v for k, v in asdict(e).items() if k not in lost} for e in store.edits()]


def test_the_same_as_by_jsonl(store: Store, tmp_path: Path) -> None:
    file, line_file = tmp_path / "edits.parquet", tmp_path / "edits.jsonl"
    out = io.StringIO()
    assert parquet.export(store, file) == exchange.export(store, out) == len(Outcome) + 1
    line_file.write_text(out.getvalue())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with Store.open(None) as first, Store.open(None) as second:
        assert exchange.load(first, file) == exchange.load(second, line_file)
        assert taught(first) == taught(second)
        assert len(taught(first)) == len(Outcome) + 1


def test_columns_have_their_kinds(store: Store, tmp_path: Path) -> None:
    from pyarrow import parquet as files

    parquet.export(store, tmp_path / "e.parquet")
    table = files.read_table(tmp_path / "e.parquet")
    assert tuple(table.column_names) == tuple(EDIT_COLUMNS)
    assert (str(table.schema.field("cost_max").type), str(table.schema.field("kept_chars").type)) == ("double", "int64")
    assert json.loads(table.column("prompt")[0].as_py())["format"] == "chat"


def test_two_people_are_merged_without_doubles(tmp_path: Path) -> None:
    files = []
    for person in ("ann", "ben"):
        with Store.open(None) as store:
            for _ in range(3):
                record(store, document=f"file:///{person}.md")
            files.append(tmp_path / f"{person}.parquet")
            parquet.export(store, files[-1])
    with Store.open(None) as team:
        assert [exchange.load(team, file) for file in (*files, files[0])] == [(3, 0), (3, 0), (0, 3)]
        assert {e.document for e in team.edits()} == {"file:///ann.md", "file:///ben.md"}


def test_a_foreign_file_with_the_three_columns_is_enough(tmp_path: Path) -> None:
    from pyarrow import parquet as files

    table = pyarrow.table({"prompt": ["Make this shorter.", "x"], "offered": ["a b", "c"], "kept": ["a", None]})
    files.write_table(table, tmp_path / "f.parquet")
    with Store.open(None) as store:
        assert exchange.load(store, tmp_path / "f.parquet") == (2, 0)
        assert [e.outcome for e in store.edits()] == ["edited", "rejected"]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"{}\n"])
def test_what_is_no_parquet_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.parquet"
    file.write_bytes(content)
    with Store.open(None) as store, pytest.raises(ImportFileError, match=r"bad\.parquet: no Parquet file"):
        exchange.load(store, file)


def test_a_row_that_is_wrong_is_named_and_nothing_is_imported(tmp_path: Path) -> None:
    from pyarrow import parquet as files

    table = pyarrow.table({"prompt": ["x", "x"], "offered": ["a", ""], "kept": ["a", "b"]})
    files.write_table(table, tmp_path / "f.parquet")
    with Store.open(None) as store:
        with pytest.raises(ImportFileError, match="line 2: `offered` should be a text that is not empty"):
            exchange.load(store, tmp_path / "f.parquet")
        assert list(store.edits()) == []


def test_a_file_that_cannot_be_written_leaves_nothing(store: Store, tmp_path: Path) -> None:
    before = tmp_path / "e.parquet"
    before.write_bytes(b"what was there")

    class Broken:
        def edits(self, _: str) -> Iterator[Any]:
            yield from store.edits()
            raise OSError("the disk is full")

    broken: Any = Broken()
    with pytest.raises(OSError, match="the disk is full"):
        parquet.export(broken, before)
    assert before.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["e.parquet"]


def test_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    with Store.open(tmp_path / "edits.db") as store:
        record(store)
    file = tmp_path / "e.parquet"
    assert "Wrote 1 edits" in call("edits", "export", str(file)).stderr
    assert said("edits", "import", str(file)) == {"imported": 0, "skipped": 1}
    refused = call("edits", "export", str(file), "--format", "trl")
    assert (refused.exit_code, "give a .jsonl file" in refused.stderr) == (2, True)
