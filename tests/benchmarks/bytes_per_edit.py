"""Bytes that an offer takes in SQLite, in Parquet and as an import, and what the bandit's state takes.

    python -m tests.benchmarks.bytes_per_edit [OFFERS]      # 10,000 by default: some 20 seconds of one core

The offers are those of `docs/scale.md`: a third teaches (put in and kept, changed or taken out), the others were shown
and passed over. Their words are drawn by Zipf's law, so that they compress no better than prose. They go through the
store's own calls, `parquet.export` and `exchange.load`; a file is measured after its WAL was written back.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

from learner import exchange, parquet
from learner.records import Decision, Message, Offer, Outcome, Prompt, SettledBy, Settlement, Task, new_id
from learner.store import Store

PROMPT_WORDS, ANSWER_WORDS = 240, 60
ARMS = ("base", "sft", "dpo", "rl", "early_ensemble")
OUTCOMES = (Outcome.EDITED,) * 4 + (Outcome.ACCEPTED,) * 2 + (Outcome.REJECTED,) + (Outcome.IGNORED,) * 14
VOCABULARY = 8_000
PER_DOCUMENT = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes an offer, but for `bandit_state`: bytes of the cached state of three tasks and five arms."""

    sqlite: float
    parquet: float
    imported: float
    jsonl: float
    bandit_state: float


class Writer:
    """Texts of a given number of words, the same ones for the same seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        letters = "etaoinshrdlu"
        self._words = ["".join(random.choices(letters, k=random.randint(2, 9))) for _ in range(VOCABULARY)]
        self._weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))

    def text(self, words: int) -> str:
        """So many words."""
        return " ".join(self._random.choices(self._words, cum_weights=self._weights, k=words))


def record(store: Store, offers: int) -> None:
    """So many offers, settled, as an editor records them."""
    random = Random(1)
    writer = Writer(random)
    for number in range(offers):
        task, arm = random.choice(list(Task)), random.choice(ARMS)
        version = None if arm == "base" else f"{arm}-1"
        at, document = 1.7e9 + 60 * number, f"file:///home/user/notes/{number // PER_DOCUMENT}.md"
        prompt = Prompt((Message("system", writer.text(20)), Message("user", writer.text(PROMPT_WORDS - 20))))
        answer = writer.text(ANSWER_WORDS)
        decision = Decision(new_id(), task, arm, version, 0.2, "thompson", document, at, at)
        offer = Offer(
            new_id(), decision.id, at, task, "markdown", document, "file:///home/user/notes", 1, (0, 0, 0, 0), prompt,
            "1", answer, answer, "stop", 320, 80, 800.0, arm, version, "9f86d081" * 8, "llama.cpp",
        )  # fmt: skip
        outcome = random.choice(OUTCOMES)
        kept = {Outcome.EDITED: f"{answer[: len(answer) // 2]} {writer.text(8)}", Outcome.ACCEPTED: answer}.get(outcome)
        with store.transaction():
            store.add_decision(decision)
            store.add_offer(offer)
            store.settle(
                Settlement(
                    offer.id, outcome, SettledBy.QUIET, at, kept=kept, kept_chars=len(answer) // 2 if kept else 0
                )
            )


def measure(offers: int = 10_000) -> Sizes:
    """Write them, out and in again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = folder / "first" / "edits.db", folder / "second" / "edits.db"
        file, line_file = folder / "edits.parquet", folder / "edits.jsonl"
        with Store.open(first) as store:
            record(store, offers)
            store.bandit_state()
            state = store.read("SELECT length(state) FROM bandit_cache")[0][0]
            parquet.export(store, file)
            with line_file.open("w", encoding="utf-8") as out:
                exchange.export(store, out)
            store.checkpoint(truncate=True)
        with Store.open(second) as store:
            assert exchange.load(store, file) == (offers, 0)
            store.checkpoint(truncate=True)
        sqlite, packed, imported, jsonl = (p.stat().st_size / offers for p in (first, file, second, line_file))
        return Sizes(sqlite, packed, imported, jsonl, state)


if __name__ == "__main__":
    for what, size in asdict(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)).items():
        print(f"{what}: {size:,.0f} bytes")
