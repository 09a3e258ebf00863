"""`learner train` and `learner demo`: from collected edits to adapters, and the whole loop at once."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from learner import config, feedback, screen
from learner.commands.frame import Command, friendly, json_option
from learner.exceptions import RedraftError, TrainingError
from learner.progress import Work

if TYPE_CHECKING:
    from learner.training.processes import World

DEMO_BEFORE, DEMO_AFTER = 46, 75


def need_training() -> None:
    """Raise TrainingError where the training packages are not installed."""
    missing = [m for m in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(m) is None]
    if missing:
        raise TrainingError(f"training needs {', '.join(missing)}: pip install 'redraft[train]'")


@click.command(cls=Command)
@click.option("--feedback", "names", multiple=True, metavar="NAME", help="Train this feedback type; may be repeated.")
@click.option("--base", metavar="MODEL", help="The base model, as `learner setup --list` names it.")
@click.option("--epochs", type=click.IntRange(1, 100), help="Passes over the edits.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="Peak learning rate; default: what suits the model's size.",
)
@click.option(
    "--trainer",
    type=click.Choice(["auto", "fast", "trl"]),
    default="auto",
    show_default=True,
    help="Through transformers and peft, or by our own pass for Llama and its kin: where possible, or always.",
)
@click.option(
    "--form",
    type=click.Choice(["alora", "lora"]),
    help="Acting from the end of the prompt on (the default where the base allows it), or on all of it: for vLLM.",
)
@click.option(
    "--people",
    type=click.Choice(["shared", "own", "both"]),
    help="Learn from everybody's edits, from your own only, or an adapter of each; default: the setting `people`.",
)
@click.option("--from-scratch", is_flag=True, help="Do not go on from the adapters there are.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained on; write nothing.")
@json_option
@friendly
def train(
    names: tuple[str, ...],
    base: str | None,
    epochs: int | None,
    learning_rate: float | None,
    trainer: str,
    form: str | None,
    people: Literal["shared", "own", "both"] | None,
    from_scratch: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train one adapter per feedback type on the collected edits, and let those serve that help.

    A fifth of the documents is held out for ever. Each adapter answers their prompts on the engine
    that serves; one that is clearly better than the base serves from then on, one that cannot be
    told gets a fifth of the requests, one that is worse is not used. After a few new edits a training
    goes on from the adapter that is in use, with the new ones and as many of the old.

    \b
    Examples:
      learner train
      learner train --feedback sft --feedback dpo
      learner train --people both
      learner train --dry-run
    """
    import msgspec

    settings = config.load()
    if base is not None:
        settings = msgspec.structs.replace(settings, base=base)
    if people is not None:
        settings = msgspec.structs.replace(settings, people=people)
    chosen = names or tuple(n for n in settings.feedback if n not in settings.disabled_plugins)
    need_training()
    from learner.training import processes

    if dry_run and processes.follows():
        return
    try:
        with processes.joined(meet=not dry_run) as world:
            if not world.leads:
                train_along(settings, world)
                return
            report = run_training(
                chosen, settings, epochs=epochs, learning_rate=learning_rate, trainer=trainer, form=form,
                from_scratch=from_scratch, dry_run=dry_run, world=world,
            )  # fmt: skip
    except (processes.PeerError, processes.ProcessLostError) as error:
        if processes.follows():  # the first process says it
            raise SystemExit(error.exit_code) from error
        raise
    screen.training(report, as_json)
    if any(a["error"] for a in report["adapters"]):
        raise SystemExit(1)


def train_along(settings: config.Config, world: World) -> None:
    """What `learner train` does in a process that is not the first of several: nothing is written, nothing said."""
    from learner import model_files
    from learner.training import run

    run.train_along(model_files.current(config.paths(), settings), world)


def run_training(
    names: tuple[str, ...],
    settings: config.Config,
    *,
    epochs: int | None = None,
    learning_rate: float | None = None,
    trainer: str = "auto",
    form: str | None = None,
    from_scratch: bool = False,
    dry_run: bool = False,
    world: World | None = None,
) -> dict[str, Any]:
    """What `learner train` does; its report as plain values. Raises RedraftError, saying what to do."""
    need_training()
    there = feedback.installed()
    for name in names:
        if name not in there:
            raise RedraftError(f"no feedback type {name!r} is installed; there are: {', '.join(sorted(there))}")
    from learner import model_files
    from learner.records import AdapterForm
    from learner.store import Store
    from learner.training.processes import ALONE
    from learner.training.run import train as run
    from learner.training.settings import TrainSettings

    paths = config.paths()
    if not paths.database.exists():
        raise TrainingError(
            f"there is nothing to learn from: {paths.database} does not exist. Write with an editor first "
            "(after `learner consent yes`), or `learner edits import FILE`, or try `learner demo`"
        )
    base = model_files.current(paths, settings)
    dials: dict[str, Any] = {"learning_rate": learning_rate, "trainer": trainer, "people": settings.people}
    dials["from_scratch"] = from_scratch
    if epochs is not None:
        dials["epochs"] = epochs
    if form is not None:
        dials["form"] = AdapterForm(form)
    with Store.open(paths.database) as store, Work("Training") as work:
        report = run(
            store,
            base,
            TrainSettings(names, **dials),
            progress=work.step,
            dry_run=dry_run,
            paths=paths,
            config=settings,
            world=world or ALONE,
        )
    body: dict[str, Any] = json.loads(json.dumps(report.to_json()))
    return body


@click.command(cls=Command)
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), help="Where to keep it; default: a new folder."
)
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
@click.option(
    "--before", default=DEMO_BEFORE, show_default=True, type=click.IntRange(12), help="Texts before training."
)
@click.option("--after", default=DEMO_AFTER, show_default=True, type=click.IntRange(12), help="New texts after it.")
@friendly
def demo(home: Path | None, target: Path | None, before: int, after: int) -> None:
    """See the whole loop on texts of this machine: write, keep, train, choose.

    A scripted writer with a habit of its own works with the real server and the real model. Nothing
    of yours is read but what installed packages say of themselves, and nothing of yours is changed:
    the demo has a home of its own.

    \b
    Example:
      learner demo --json demo.json
    """
    need_training()
    from learner.commands import demonstration

    outcome, pictures = demonstration.show(home, before, after)
    demonstration.summary(outcome, pictures, Path(os.environ["REDRAFT_HOME"]))
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(outcome.to_json(), indent=2) + "\n", encoding="utf-8")
        screen.note(f"Figures: {target}")
