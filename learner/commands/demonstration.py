"""What `learner demo` does around its story: a home of its own, the base model, the pictures."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from learner import config, launch, models, screen
from learner.commands.training import run_training
from learner.progress import Work

if TYPE_CHECKING:
    from learner.demo.story import Outcome

KEPT = "models"
"""What of an earlier demo's home is kept: the prepared base takes a minute to make."""

EPOCHS = 2
"""One less than `learner train` makes: enough for this writer's habit, and a third sooner done."""


def _fresh(home: Path | None) -> Path:
    """An empty home, but for a base model that is prepared already (there, or in the user's own home)."""
    own = config.paths().models
    if home is None:
        home = Path(tempfile.mkdtemp(prefix="redraft-demo-"))
    home = config.private_folder(home.absolute())
    os.environ["REDRAFT_HOME"] = str(home)
    launch.stop_host(config.paths())
    for there in home.iterdir():
        if there.name != KEPT:
            shutil.rmtree(there) if there.is_dir() else there.unlink()
    if own.is_dir() and own != home / KEPT and not (home / KEPT).exists():
        shutil.copytree(own, home / KEPT, copy_function=_link)
    return home


def _link(source: str, target: str) -> str:
    """A hard link where the file system allows it, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def show(home: Path | None, before: int, after: int) -> tuple[Outcome, list[Path]]:
    """Run the demo, with progress on standard error; what came of it, and the pictures."""
    from learner import documents
    from learner.demo import story

    home = _fresh(home)
    paths = config.paths()
    with Work("Looking for real texts") as work:
        work.step("Looking for real texts on this machine", None)
        texts = documents.find(before + after)
        base = models.setup(None, paths, work.step)
    config.save(base=base.name)
    settings = config.load()

    def train() -> Mapping[str, Any]:
        report = run_training(settings.feedback, settings, epochs=EPOCHS)
        screen.training(report, False, to_err=True)
        return report

    try:
        with Work("Writing") as work:
            outcome = story.run(home, paths, settings, train, texts[:before], texts[before:], work.step, work.pause)
    finally:
        launch.stop_host(paths)
    return outcome, _pictures(outcome, home)


def _pictures(outcome: Outcome, home: Path) -> list[Path]:
    from learner.demo import picture

    try:
        return picture.draw(outcome, home / "cost")
    except ImportError:
        screen.note("No picture: pip install 'redraft[report]' for it.")
        return []


def summary(outcome: Outcome, pictures: Sequence[Path], home: Path) -> None:
    """What the demo found: before against after, and every arm on the same new texts."""
    before = sum(r.cost for r in outcome.before) / len(outcome.before)
    after = sum(r.cost for r in outcome.after) / len(outcome.after)
    kept = [sum(r.untouched for r in rounds) for rounds in (outcome.before, outcome.after)]
    rows = [
        {
            "who": "before training", "n": len(outcome.before), "cost": before,
            "untouched": f"{kept[0]} of {len(outcome.before)}",
        },
        {
            "who": "after, the bandit choosing", "n": len(outcome.after), "cost": after,
            "untouched": f"{kept[1]} of {len(outcome.after)}",
        },
    ]  # fmt: skip
    columns = {"who": "", "n": "Texts", "cost": "Mean edit cost", "untouched": "Left untouched"}
    screen.table(rows, columns, False, empty="", title="What the writer had to change")
    arms = [
        {
            "arm": arm, "cost": cost, "untouched": screen.share(outcome.untouched[arm]),
            "chosen": sum(r.arm == arm for r in outcome.after),
        }
        for arm, cost in sorted(outcome.edit_cost.items(), key=lambda item: item[1])
    ]  # fmt: skip
    columns = {"arm": "Arm", "cost": "Mean edit cost", "untouched": "Left untouched", "chosen": "Times chosen"}
    screen.table(arms, columns, False, empty="", title="\nEvery arm on the same new texts")
    words = [
        "",
        f"Regret in the last third: {outcome.regret_last_third:.3f} (0: as good as the best arm, 1: as the base)",
        "Edit cost: 0 is a text kept as it was, 1 one of which nothing was kept.",
        f"It took {outcome.seconds / 60:.1f} minutes.",
        *(f"Picture: {path}" for path in pictures),
        "",
        "Where to look next:",
        f"  export REDRAFT_HOME={home}",
        "  learner edits list       what was offered and what was kept",
        "  learner edits stats      cost by arm and by week",
        "  learner adapters         who serves, and why",
        "  docs/install.md          your own editor",
    ]
    for line in words:
        screen.out().print(Text(line), soft_wrap=True)
