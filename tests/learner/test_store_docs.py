"""docs/store.md says what is there, and its example queries run."""

from __future__ import annotations

import re
from pathlib import Path

from store_rows import record

from learner.records import Outcome, SettledBy, Task
from learner.store import EDIT_COLUMNS, Store

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "store.md").read_text(encoding="utf-8")


def first_column(section: str) -> list[str]:
    body = TEXT.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)


def test_every_column_of_the_view_is_explained_in_order() -> None:
    assert first_column("The view `edits`") == list(EDIT_COLUMNS)


def test_every_table_is_explained() -> None:
    with Store.open(None) as store:
        tables = store.read("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    assert sorted(first_column("The tables")) == sorted(name for (name,) in tables)


def test_every_value_is_named() -> None:
    for value in (*Outcome, *SettledBy, *Task):
        assert f"`{value}`" in TEXT


def test_the_example_queries_run() -> None:
    queries = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    assert len(queries) >= 5
    with Store.open(None) as store:
        record(store, Outcome.EDITED)
        record(store, Outcome.REJECTED)
        answers = [store.read(query) for query in queries]
    assert all(answers)
    arm, edits, cost, untouched = answers[0][0]
    assert (arm, edits, untouched) == ("base", 2, 0.0)
    assert 0 < cost < 1
