"""The demo's story: write, keep, train, choose; and what came of it.

1. A writer asks for drafts and rewrites of real texts, changes the answers to their liking, saves.
2. `learner train` learns one adapter per feedback type from those edits.
3. The writer goes on with new texts; the bandit chooses who answers, and learns from each edit.
4. Every arm answers the same new texts (the last third), so that one can see what the choice was worth.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from learner import model_files, prompt, registry
from learner.arms import load_arms
from learner.armset import ArmSet
from learner.client import HostClient
from learner.config import Config, Paths, private_folder
from learner.cost import cost_max
from learner.demo.editor import Editor
from learner.demo.writer import habit, keystrokes
from learner.documents import Text
from learner.exceptions import RedraftError
from learner.model_files import BaseModel
from learner.models import Progress
from learner.records import BASE_ARM, Edit, Prompt, Task
from learner.serving import PrivateHost
from learner.store import Store
from learner.trimming import trim

REWRITE = "Rewrite this text in simpler words."
ANSWER_TOKENS = 160
MOST_REFUSED = 0.2
"""Share of texts for which the model may have nothing to offer."""


@dataclass(frozen=True, slots=True)
class Round:
    """One request of the writer's: which text, who answered, what it cost."""

    number: int
    document: str
    arm: str
    cost: float
    untouched: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found. Costs are `cost_max`: 0 nothing changed, 1 nothing kept."""

    before: Sequence[Round]
    after: Sequence[Round]
    edit_cost: Mapping[str, float]
    untouched: Mapping[str, float]
    regret_last_third: float
    seconds: float
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The public result of `learner demo --json`."""
        return {
            "edit_cost": dict(self.edit_cost),
            "untouched": dict(self.untouched),
            "regret_last_third": self.regret_last_third,
            "seconds": self.seconds,
        }


def asked_for(number: int) -> Task:
    """Drafts and rewrites take turns."""
    return Task.DRAFT if number % 2 == 0 else Task.REWRITE


async def write(home: Path, folder: Path, texts: Sequence[Text], step: Progress, words: str) -> list[Round]:
    """The writer works through `texts`, one document each, through the real server.

    Raises RedraftError if what was recorded is not what the writer kept.
    """
    private_folder(folder)
    rounds: list[Round] = []
    meant: dict[str, str] = {}
    refused = 0
    async with Editor(home, folder) as editor:
        for number, text in enumerate(texts):
            path = folder / f"{number:03}.md"
            path.write_text(f"# {text.source}\n\n{text.body}\n\nNotes of mine.\n", encoding="utf-8")
            buffer = editor.open(path)
            start = buffer.text.index(text.body)
            end = start + len(text.body)
            try:
                answer = await editor.ask(*_question(number), buffer, start, end)
            except RedraftError:  # the model had nothing to offer; the writer goes on with the next text
                editor.close(buffer)
                refused += 1
                if refused > len(texts) * MOST_REFUSED:
                    raise
                continue
            offered = str(answer["text"])
            # a draft stands below the text it was made of, and may repeat a sentence of it
            place = buffer.text.index(offered, end if asked_for(number) is Task.DRAFT else start)
            kept = habit(offered)
            for key in keystrokes(offered, kept):
                editor.type(buffer, place, key)
            meant[str(answer["offerId"])] = kept
            editor.save(buffer)
            editor.close(buffer)
            await editor.settled()
            cost = cost_max(offered, kept)
            rounds.append(Round(number, buffer.uri, str(answer["arm"]), cost, cost == 0))
            recent = fmean(r.cost for r in rounds[-10:])
            step(f"{words}: edit cost {recent:.2f} lately", (number + 1) / len(texts))
    _check_records(home, meant)
    return rounds


def _check_records(home: Path, meant: Mapping[str, str]) -> None:
    """What the store holds must be what the writer kept, character by character."""
    with Store.open(home / "edits.db", read_only=True) as store:
        rows: dict[str, Edit] = {edit.offer_id: edit for edit in store.edits()}
    for offer_id, kept in meant.items():
        if offer_id not in rows or rows[offer_id].kept != kept:
            found = rows[offer_id].kept if offer_id in rows else "nothing"
            raise RedraftError(f"offer {offer_id}: the writer kept {kept!r}, and recorded was {found!r}")


def _question(number: int) -> tuple[str, dict[str, str]]:
    """The command for a text, and its arguments."""
    if asked_for(number) is Task.DRAFT:
        return "redraft.draft", {"kind": "summary"}
    return "redraft.rewrite", {"instruction": REWRITE}


def prompts_of(texts: Sequence[Text]) -> list[tuple[Task, Prompt]]:
    """What the server asks the model for these texts."""
    return [
        (task, prompt.draft(t.body, "summary") if task is Task.DRAFT else prompt.rewrite(t.body, REWRITE))
        for number, t in enumerate(texts)
        for task in [asked_for(number)]
    ]


async def answer_all(
    arms: ArmSet, config: Config, texts: Sequence[Text], numbers: Sequence[int], known: Sequence[Round], step: Progress
) -> dict[str, dict[int, float]]:
    """Every arm's edit cost on the texts `numbers`, by the same writer: greedy, on the engine that serves.

    What an arm answered the writer already (`known`) is not asked again.
    """
    asked = prompts_of(texts)
    names: dict[str, str | None] = {BASE_ARM: None} | {i.rsplit("-", 1)[0]: i for i in arms.adapters}
    costs: dict[str, dict[int, float]] = {name: {} for name in names}
    for r in known:
        if r.number in numbers:
            costs[r.arm][r.number] = r.cost
    # all arms of one text one after the other: they share its prompt in the engine's cache
    open_ = [(i, name) for i in numbers for name in names if i not in costs[name]]
    with PrivateHost(arms, config) as endpoint:
        async with HostClient(endpoint) as client:
            await client.connect()
            for done, (i, name) in enumerate(open_, 1):
                task, question = asked[i]
                answer = await client.generate(question, adapter=names[name], max_tokens=ANSWER_TOKENS)
                text = trim(answer.text, task)
                costs[name][i] = cost_max(text, habit(text)) if text else 1.0
                step("Asking every arm the same", done / len(open_))
    return costs


def trained(store: Store, base: BaseModel, config: Config, paths: Paths) -> ArmSet:
    """The base with every adapter that was trained, whatever became of it."""
    arms = load_arms(paths, config)
    every = {a.id: Path(a.path) / "adapter.gguf" for a in registry.adapters(store, base_fingerprint=base.fingerprint)}
    return replace(arms, adapters=every)


def last_third(rounds: Sequence[Round]) -> Sequence[Round]:
    """By when the bandit has learnt whom to choose."""
    return rounds[-(len(rounds) // 3) :]


def regret(chosen: Sequence[Round], costs: Mapping[str, Mapping[int, float]]) -> float:
    """(mean cost of the bandit's last third - best arm's on those texts) / (base's - best arm's)."""
    last = last_third(chosen)
    means = {name: fmean(c[r.number] for r in last) for name, c in costs.items()}
    best, base = min(means.values()), means[BASE_ARM]
    bandit = fmean(r.cost for r in last)
    return (bandit - best) / (base - best) if base > best else 0.0


def run(
    home: Path,
    paths: Paths,
    config: Config,
    train: Callable[[], Mapping[str, Any]],
    old: Sequence[Text],
    new: Sequence[Text],
    step: Progress,
    pause: Callable[[], AbstractContextManager[None]],
) -> Outcome:
    """The whole story. `train` does what `learner train` does, on what was recorded meanwhile.

    `pause` hides the progress of the story while the training shows its own.
    """
    started = time.monotonic()
    base = model_files.current(paths, config)
    before = asyncio.run(write(home, home / "before", old, step, "Writing, and keeping"))
    with pause():
        training = train()
    with Store.open(paths.database, read_only=True) as store:
        arms = registry.arms(store, base.fingerprint)
        every = trained(store, base, config, paths)
    if len(arms) < 2:
        raise RedraftError("no adapter was promoted: see the table of the training above")
    after = asyncio.run(write(home, home / "after", new, step, "Writing on, the bandit choosing"))
    numbers = [r.number for r in last_third(after)]
    costs = asyncio.run(answer_all(every, config, new, numbers, after, step))
    return Outcome(
        before,
        after,
        {name: fmean(c.values()) for name, c in costs.items()},
        {name: sum(x == 0 for x in c.values()) / len(c) for name, c in costs.items()},
        regret(after, costs),
        time.monotonic() - started,
        training,
    )
