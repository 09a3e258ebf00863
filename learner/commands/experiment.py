"""`learner reproduce` and `learner diagnose`: the paper's experiment, and what its theory says of one's own log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from learner import config, screen
from learner.commands.frame import Command, friendly, json_option
from learner.commands.training import need_training
from learner.exceptions import ConfigError
from learner.progress import Work

if TYPE_CHECKING:
    from learner.diagnose import Diagnosis
    from learner.experiment.protocol import Cast
    from learner.experiment.result import Result
    from learner.models import BaseModel, Progress

SIZES = ("enumerable", "tiny", "smollm2")


corpora_option = click.option(
    "--corpora",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/corpora"),
    show_default=True,
    help="Where corpora lie; what is not there is replaced by texts of this machine.",
)


@click.command(cls=Command)
@click.option("--size", type=click.Choice(SIZES), default="enumerable", show_default=True, help="How large.")
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the table there.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write the page there.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder; the same one goes on.")
@corpora_option
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="KIND=SOURCE",
    help="Read a kind's documents from there, such as news=folder:PATH or news=jsonl:FILE; may be repeated.",
)
@click.option("--model", help="The base model of size smollm2, as `learner setup --list` names it.")
@click.option("--user", type=click.Choice(("rules", "llm")), default="rules", show_default=True, help="Who edits.")
@click.option("--user-url", help="Where the user's language model answers (OpenAI-compatible).")
@click.option("--user-model", default="", help="Its name there.")
@click.option("--transfer-model", default="", help="Another one at the same URL, as the transfer user.")
@click.option("--user-key-env", default="", help="The environment variable that holds its key.")
@click.option("--jobs", type=click.IntRange(1), help="Trainings at once; default: one for each core, 1 with a GPU.")
@click.option("--seeds", type=click.IntRange(1), help="Fewer or more seeds than the plan says.")
@click.option("--report", is_flag=True, help="Only show what the run in --out has found so far.")
@friendly
def reproduce(
    size: str, target: Path | None, page: Path | None, out: Path | None, jobs: int | None, report: bool, **how: Any
) -> None:
    """Run the paper's experiment: learn from simulated users' edits, and see what each way of learning is worth.

    `enumerable` counts everything exactly, in seconds; `tiny` trains a small transformer made here, in
    minutes; `smollm2` trains the real base, in hours on two cores. A run that was stopped goes on from where
    it was. docs/reproduce.md has the paper's own setting, for a machine with a GPU.

    \b
    Examples:
      learner reproduce
      learner reproduce --size tiny --html tiny.html
      learner reproduce --size smollm2 --out build/reproduce/smollm2 --json smollm2.json
    """
    need_training()
    folder = (out or Path("build/reproduce") / size).absolute()
    with Work(f"The experiment, size {size}") as work:
        if size == "enumerable":
            from learner.experiment import enumerable

            found = enumerable.result(how["seeds"], work.step)
        else:
            found = _trained(size, folder, jobs, report, how, work.step)
    _show(found)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
        screen.note(f"Table: {target}")
    if page is not None:
        _write_page(found, page)


def _trained(size: str, folder: Path, jobs: int | None, report: bool, how: Mapping[str, Any], say: Progress) -> Result:
    """Run a size that trains, or only look at what it has found; `how` are the options that name its parts."""
    from learner.experiment import run
    from learner.experiment.reproduce import place, result

    started = time.monotonic()
    base = None if size == "tiny" else partial(_base, how["model"])
    sources = dict(_pair(words) for words in how["sources"])
    here = place(size, folder, how["corpora"].absolute(), base, _cast(how), how["seeds"], say, sources=sources)
    if not report:
        run.work(here, jobs or _jobs(), say)
    return result(here, time.monotonic() - started)


def _pair(words: str) -> tuple[str, str]:
    kind, separator, source = words.partition("=")
    if not (kind and separator and source):
        raise ConfigError(f"--source {words!r}: expected KIND=SOURCE, such as news=folder:PATH")
    return kind, source


def _cast(how: Mapping[str, Any]) -> Cast:
    """Who edits."""
    from learner.experiment.protocol import Cast
    from learner.experiment.users import LanguageModel

    if how["user"] == "rules":
        return Cast()
    url, key = how["user_url"], how["user_key_env"]
    if not url:
        raise ConfigError("--user llm needs --user-url, where a language model answers")
    other = LanguageModel(url, how["transfer_model"], key) if how["transfer_model"] else None
    return Cast(LanguageModel(url, how["user_model"], key), other)


def _base(model: str | None) -> BaseModel:
    import msgspec

    from learner import model_files

    settings = config.load()
    if model is not None:
        settings = msgspec.structs.replace(settings, base=model)
    return model_files.current(config.paths(), settings)


def _jobs() -> int:
    import torch

    from learner.engine import cores

    if torch.cuda.is_available():
        return 1
    return cores()


def _write_page(found: Result, page: Path) -> None:
    try:
        from learner.experiment import pictures
        from learner.experiment.page import render

        text, bars = render(found), pictures.bars(found)
    except ImportError as error:
        raise ConfigError("the page needs matplotlib and jinja2: pip install 'redraft[report]'") from error
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    page.with_suffix(".svg").write_text(bars, encoding="utf-8")
    screen.note(f"Page: {page}, and its first picture: {page.with_suffix('.svg')}")


def _show(found: Result) -> None:
    """The tables, for people."""
    for tester, title in (("strong", "Mean edit cost (± sd over seeds)"), ("transfer", "With a transfer user")):
        if found.tested(tester):
            _show_costs(found, tester, title)
    _show_poster()
    regrets = [{"late": name, **values} for name, values in found.regrets().items()]
    if regrets:
        names = {key: key.replace("/", " ") for row in regrets for key in row if key != "late"}
        screen.table(
            regrets, {"late": "Late ensemble", **names}, False, empty="", title="\nRegret (0: as the best arm)"
        )
    differences = [
        {"ensemble": name, "single": single, "difference": f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"}
        for name, values in found.differences.items()
        for single, (mean, low, high) in values.items()
    ]
    if differences:
        heads = {"ensemble": "Ensemble", "single": "less", "difference": "MaxSubOpt, 95% interval"}
        screen.table(differences, heads, False, empty="", title="\nEnsembles against single types")


def _show_costs(found: Result, tester: str, title: str) -> None:
    settings, worst = found.settings(), found.max_subopt(tester)
    rows = [
        {
            "method": name,
            **{
                "/".join(s): f"{own[s].cost_mean:.3f} {own[s].spread}" if s in own else screen.MISSING for s in settings
            },
            "worst": worst.get(name),
        }
        for name, own in found.by_method(tester).items()
    ]
    heads = {"/".join(s): f"{s[0]} {s[1]}" for s in settings}
    columns = {"method": "Method", **heads, "worst": "MaxSubOpt"}
    screen.table(rows, columns, False, empty="", title=f"\n{title}")


def _show_poster() -> None:
    from learner.experiment.table import POSTER, POSTER_SETTINGS

    keys = ["/".join(s) for s in POSTER_SETTINGS]
    rows = [
        {"method": name, **{key: f"{x:.3f}" for key, x in zip(keys, values, strict=False)}, "worst": values[-1]}
        for name, values in POSTER.items()
    ]
    columns = {"method": "Method", **{key: key.replace("/", " ") for key in keys}, "worst": "MaxSubOpt"}
    screen.table(rows, columns, False, empty="", title="\nThe poster's table (8B model, 32B user)")


@click.command(cls=Command)
@click.option(
    "--run",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check the predictions on a run of `learner reproduce` instead.",
)
@click.option("--size", type=click.Choice(SIZES[1:]), default="smollm2", show_default=True, help="That run's size.")
@corpora_option
@json_option
@friendly
def diagnose(folder: Path | None, size: str, corpora: Path, as_json: bool) -> None:
    """Say what your log tells of edit quality and coverage, and which way of learning to expect to win.

    Edit quality is how often you go all the way when you change an answer; coverage is how often the base
    does by itself what you wish. The paper's theory says what each way of learning makes of them.

    \b
    Examples:
      learner diagnose
      learner diagnose --run build/reproduce/smollm2
    """
    if folder is not None:
        need_training()
        _check_run(folder.absolute(), size, corpora.absolute(), as_json)
        return
    from learner import registry
    from learner.diagnose import diagnose as estimate
    from learner.store import Store

    paths = config.paths()
    if not paths.database.exists():
        raise ConfigError(f"there is no log yet: {paths.database} does not exist. Write with an editor first")
    with Store.open(paths.database, read_only=True) as store:
        edits = list(store.edits("outcome IN ('accepted', 'edited', 'rejected')"))
        moments = {
            a.id: float(a.held_out["second_moment"])
            for a in registry.adapters(store)
            if a.held_out and a.held_out.get("second_moment") is not None
        }
    found = estimate(edits, moments)
    if as_json:
        screen.dump(found.to_json())
    else:
        _show_diagnosis(found)


def _show_diagnosis(found: Diagnosis) -> None:
    finished = screen.number(found.finished)
    if found.finished_interval:
        finished += " ({:.2f} to {:.2f})".format(*found.finished_interval)
    rows = {
        "Edits": str(found.edits),
        "Habits (changes that come back)": ", ".join(found.habits[:6]) or screen.MISSING,
        "Completeness: habits made together": screen.number(found.completeness),
        "Finished: adapters' answers left as they were": finished,
        "Base rate: habits that the base follows": screen.number(found.base_rate),
        **{f"log E[(pi/pi_ref)^2] of {name}, in nats": f"{m:.1f}" for name, m in found.second_moment.items()},
    }
    lines = [{"what": what, "value": value} for what, value in rows.items()]
    screen.table(lines, {"what": "Estimate", "value": ""}, False, empty="")
    order = " > ".join(found.expected) or "not to be told yet"
    screen.say(None, f"\nExpected: {order}\n{found.why}", False)


def _check_run(folder: Path, size: str, corpora: Path, as_json: bool) -> None:
    from learner.experiment import foresight

    rows = foresight.check(folder, size, corpora)
    columns = {
        "setting": "Edits", "completeness": "Completeness", "base_rate": "Base rate", "expected": "Expected to win",
        "won": "Won, of the trained", "cost_expected": "Cost of the expected", "cost_won": "of the winner",
        "cost_base": "of the base",
    }  # fmt: skip
    screen.table(rows, columns, as_json, empty="nothing is finished in that run yet", title="Predicted, and found")
