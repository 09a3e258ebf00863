"""What a run has found so far: rows in `run.db` of its folder. A run that was stopped goes on from them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.exceptions import ConfigError
from learner.sqlite import Database

LAYOUT = 1
BUSY_SECONDS = 60.0
TABLES: Sequence[tuple[str, Mapping[str, str], Sequence[str]]] = (
    ("meta", {"key": "TEXT", "value": "TEXT"}, ["key"]),
    ("answers", {"arm": "TEXT", "document": "TEXT", "text": "TEXT", "cut": "INTEGER"}, ["arm", "document"]),
    ("fits", {"arm": "TEXT", "feedback": "TEXT", "dials": "TEXT", "figures": "TEXT"}, ["arm"]),
    (
        "costs",
        {
            "domain": "TEXT", "user": "TEXT", "seed": "INTEGER", "tester": "TEXT", "method": "TEXT",
            "costs": "TEXT", "bounded": "TEXT",
        },
        ["domain", "user", "seed", "tester", "method"],
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm answered about a document, trimmed; `cut` says that the token limit ended it."""

    text: str
    cut: bool


class Ledger:
    """One run's rows. Several processes may write at once."""

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        """Open or begin the run in `folder`. Raises ConfigError where another plan, model or version made it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "run.db"
        self._connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        self._db = Database(self._connection)
        with self._writing():
            self._make()
            self._check({"layout": str(LAYOUT), **identity})

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _make(self) -> None:
        for name, columns, key in TABLES:
            if not self._db[name].exists():
                kinds = ", ".join(f"{column} {kind}" for column, kind in columns.items())
                self._connection.execute(f"CREATE TABLE {name} ({kinds}, PRIMARY KEY ({', '.join(key)}))")

    def _check(self, identity: Mapping[str, str]) -> None:
        known = {row["key"]: row["value"] for row in self._db["meta"].rows}
        for key, value in identity.items():
            if key in known and known[key] != value:
                raise ConfigError(
                    f"the run in {self.path.parent} was made with {key} {known[key]}, and this is {value}: "
                    "give another --out, or remove that folder"
                )
            if key not in known:
                self._connection.execute("INSERT INTO meta VALUES (?, ?)", (key, value))

    def answers(self, arm: str) -> dict[str, Answer]:
        """What the arm answered, by document."""
        rows = self._connection.execute("SELECT document, text, cut FROM answers WHERE arm = ?", (arm,))
        return {document: Answer(text, bool(cut)) for document, text, cut in rows}

    def put_answers(self, arm: str, answers: Mapping[str, Answer]) -> None:
        """Keep answers; all or none."""
        with self._writing():
            self._connection.executemany(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                [(arm, document, a.text, int(a.cut)) for document, a in answers.items()],
            )

    def fits(self) -> dict[str, dict[str, Any]]:
        """Every training that is done, by arm: feedback, dials and figures."""
        return {
            arm: {"feedback": feedback, "dials": json.loads(dials), **json.loads(figures)}
            for arm, feedback, dials, figures in self._connection.execute("SELECT * FROM fits ORDER BY rowid")
        }

    def put_fit(self, arm: str, feedback: str, dials: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """A training is done."""
        with self._writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO fits VALUES (?, ?, ?, ?)",
                (arm, feedback, json.dumps(dials), json.dumps(figures)),
            )

    def put_costs(
        self,
        setting: tuple[str, str],
        seed: int,
        tester: str,
        method: str,
        costs: Sequence[float],
        bounded: Sequence[float],
    ) -> None:
        """The costs of a method's rounds: the paper's, and `cost_max`."""
        with self._writing():
            self._connection.execute(
                "INSERT OR REPLACE INTO costs VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*setting, seed, tester, method, json.dumps(costs), json.dumps(bounded)),
            )

    def costs(self) -> list[dict[str, Any]]:
        """Every method's rounds: domain, user, seed, tester, method, costs, bounded."""
        names = ("domain", "user", "seed", "tester", "method", "costs", "bounded")
        rows = self._connection.execute("SELECT * FROM costs ORDER BY domain, user, seed, tester, method")
        return [dict(zip(names, (*row[:5], json.loads(row[5]), json.loads(row[6])), strict=True)) for row in rows]
