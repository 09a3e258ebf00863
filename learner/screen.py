"""What the command line shows: tables for people, JSON for machines, progress on standard error.

Standard output carries the result and nothing else; `--json` is never coloured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from learner.records import AdapterVersion, Edit

MISSING = "–"


def out() -> Console:
    """Where results go."""
    return Console(file=sys.stdout, highlight=False)


def err() -> Console:
    """Where progress and errors go."""
    return Console(file=sys.stderr, highlight=False)


def note(words: str) -> None:
    """A line for people that is no result."""
    err().print(Text(words), soft_wrap=True)


def fail(words: str) -> None:
    """An error: what was wrong, where, and what to do."""
    err().print(Text.assemble(("Error: ", "bold red"), words), soft_wrap=True)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in asdict(value).items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return value


def dump(value: Any) -> None:
    """JSON on standard output."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def say(value: Any, words: str, as_json: bool) -> None:
    """A result: JSON, or a sentence."""
    if as_json:
        dump(value)
    else:
        out().print(Text(words), soft_wrap=True)


def number(value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    as_json: bool,
    *,
    empty: str,
    title: str | None = None,
    console: Console | None = None,
) -> None:
    """Rows as a table with these columns (key -> heading), or all of their keys as JSON."""
    rows = list(rows)
    if as_json:
        dump(rows)
        return
    if not rows:
        note(empty)
        return
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for key, heading in columns.items():
        figures = all(
            isinstance(r.get(key), (int, float, type(None))) and not isinstance(r.get(key), bool) for r in rows
        )
        shown.add_column(heading, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(number(row.get(key))) for key in columns))
    (console or out()).print(shown)


def models(found: Sequence[Any], as_json: bool) -> None:
    """The prepared base models, and what each can do here."""
    if as_json:
        dump(found)
        return
    if not found:
        note("No base model is set up: run `learner setup`.")
        return
    for model in found:
        can = [w for w, yes in (("train", model.trainable), ("serve", model.servable)) if yes]
        out().print(Text.assemble((model.name, "bold"), f"  can {' and '.join(can) or 'do nothing'} here"))
        for words in model.notes:
            out().print(Text(f"  {words}"), soft_wrap=True)


def host(status: Mapping[str, Any] | None, as_json: bool) -> None:
    """What the running model host says of itself; never its key."""
    if as_json:
        dump({"running": status is not None, **{k: v for k, v in (status or {}).items() if k != "key"}})
        return
    if status is None:
        out().print("No model host is running; editors start it on demand.")
        return
    arms = ", ".join(["base", *status.get("adapters", [])])
    out().print(Text(f"Running as process {status.get('pid')}, serving {arms}."), soft_wrap=True)


def _short(text: str | None, width: int = 40) -> str:
    if text is None:
        return MISSING
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def edits(rows: Sequence[Edit], total: int, as_json: bool) -> None:
    """The newest edits, one a line."""
    if as_json:
        dump(rows)
        return
    shown = [
        {
            "task": r.task, "arm": r.arm or MISSING, "outcome": r.outcome or "open", "cost": r.cost_max,
            "offered": _short(r.offered), "kept": _short(r.kept),
        }
        for r in rows
    ]  # fmt: skip
    columns = {
        "task": "Task", "arm": "Arm", "outcome": "Outcome", "cost": "Cost", "offered": "Offered", "kept": "Kept",
    }  # fmt: skip
    table(shown, columns, False, empty="No edit was recorded or imported yet.")
    if rows:
        note(f"{len(rows)} of {total} edits. Cost: 0 kept as it was, 1 nothing kept.")


def adapters(found: Sequence[AdapterVersion], as_json: bool) -> None:
    """Every adapter version with its held-out figures."""
    if as_json:
        dump(found)
        return
    rows = [
        {
            "id": a.id, "state": a.state.value, "rows": a.rows, "proxy": a.held_out.get("proxy_cost"),
            "base": a.held_out.get("base_proxy_cost"), "untouched": a.held_out.get("untouched"),
            "why": a.held_out.get("reason", ""),
        }
        for a in found
    ]  # fmt: skip
    columns = {
        "id": "Adapter", "state": "State", "rows": "Edits", "proxy": "Proxy cost", "base": "Base's",
        "untouched": "Untouched", "why": "Why",
    }  # fmt: skip
    table(rows, columns, False, empty="No adapter was trained yet: run `learner train`.")


def adapter(found: AdapterVersion, as_json: bool) -> None:
    """All that is known of one adapter version."""
    if as_json:
        dump(found)
        return
    for key, value in _plain(found).items():
        out().print(Text.assemble((f"{key:<18}", "bold"), str(value)), soft_wrap=True)


def training(report: Mapping[str, Any], as_json: bool, *, to_err: bool = False) -> None:
    """What a training did: one line per adapter, and why it serves or does not."""
    if as_json:
        dump(report)
        return
    console = err() if to_err else out()
    rows = [
        {
            "feedback": "base", "rows": None, "proxy": report["base_proxy_cost"], "untouched": report["base_untouched"],
            "interval": _interval(report["base_interval"]), "state": "", "seconds": None,
        }
    ]  # fmt: skip
    for a in report["adapters"]:
        state = "failed" if a["error"] else a["state"] or ("would train" if report["dry_run"] else MISSING)
        rows.append(
            {
                "feedback": a["feedback"], "rows": a["rows"], "proxy": a["proxy_cost"], "untouched": a["untouched"],
                "interval": _interval(a["interval"]), "state": state, "seconds": a["seconds"] or None,
            }
        )  # fmt: skip
    columns = {
        "feedback": "Adapter", "rows": "Edits", "seconds": "Seconds", "proxy": "Proxy cost", "interval": "95%",
        "untouched": "Untouched", "state": "State",
    }  # fmt: skip
    head = f"{report['edits']} edits, {report['held_out']} of them held out; base {report['base']}"
    table(rows if not report["dry_run"] else rows[1:], columns, False, empty="", title=head, console=console)
    for a in report["adapters"]:
        left = ", ".join(f"{n} {why}" for why, n in a["left_out"].items())
        words = [w for w in (a["error"], a["reason"], f"left out: {left}" if left else "") if w]
        for line in words:
            console.print(Text.assemble((f"{a['feedback']}: ", "bold"), line), soft_wrap=True)
    if not report["dry_run"]:
        console.print(Text("Proxy cost: how far its answers are from what you kept; 0 is the same."), soft_wrap=True)


def _interval(bounds: Sequence[float] | None) -> str:
    return MISSING if not bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def demo(outcome: Any, pictures: Sequence[Path], home: Path) -> None:
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
    table(rows, columns, False, empty="", title="What the writer had to change")
    arms = [
        {
            "arm": arm, "cost": cost, "untouched": f"{outcome.untouched[arm]:.0%}",
            "chosen": sum(r.arm == arm for r in outcome.after),
        }
        for arm, cost in sorted(outcome.edit_cost.items(), key=lambda item: item[1])
    ]  # fmt: skip
    columns = {"arm": "Arm", "cost": "Mean edit cost", "untouched": "Left untouched", "chosen": "Times chosen"}
    table(arms, columns, False, empty="", title="\nEvery arm on the same new texts")
    words = [
        "",
        f"Regret in the last third: {outcome.regret_last_third:.3f} (0: as good as the best arm, 1: as the base).",
        f"It took {outcome.seconds / 60:.1f} minutes. 0 is a text kept as it was, 1 one of which nothing was kept.",
        *(f"Picture: {path}" for path in pictures),
        "",
        "Where to look next:",
        f"  REDRAFT_HOME={home} learner edits list       what was offered and what was kept",
        f"  REDRAFT_HOME={home} learner adapters list    who serves, and why",
        "  docs/install.md                              your own editor",
    ]
    for line in words:
        out().print(Text(line), soft_wrap=True)


class Work:
    """A progress bar on standard error that knows the time left; plain lines where there is no terminal."""

    def __init__(self, title: str) -> None:
        self._console = err()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        terminal = self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not terminal)
        self._title = title
        self._task: TaskID | None = None
        self._last = ""

    def __enter__(self) -> Work:
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Hide the bar while something else shows its own."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def step(self, words: str, fraction: float | None = None) -> None:
        """Say what is being done; `fraction` of it is behind us (None: cannot be told)."""
        if self._task is None:
            return
        about = words.partition(":")[0]  # what follows a colon changes while the same goes on
        if about != self._last:
            self._last = about
            if not self._console.is_terminal:
                self._console.print(Text(about), soft_wrap=True)
            else:
                self._progress.reset(self._task, description=words, total=None)
        elif self._console.is_terminal:
            self._progress.update(self._task, description=words)
        if fraction is not None:
            self._progress.update(self._task, total=1.0, completed=min(1.0, fraction))
