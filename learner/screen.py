"""What the command line shows: tables for people, JSON for machines.

Standard output carries the result and nothing else; `--json` is never coloured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from learner.records import AdapterVersion, Edit

if TYPE_CHECKING:
    from learner.stats import EditStats

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


def share(value: float | None) -> str:
    """A share in [0, 1] as a percentage."""
    return MISSING if value is None else f"{value:.0%}"


def _short(text: str, width: int) -> str:
    """A text on one line, cut to `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def _figure(value: Any) -> bool:
    """Whether a cell is set to the right."""
    if isinstance(value, str):
        return value == MISSING or value.endswith("%")
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    as_json: bool,
    *,
    empty: str,
    title: str | None = None,
    console: Console | None = None,
    cut: Sequence[str] = (),
) -> None:
    """Rows as a table with these columns (key -> heading), or all of their keys as JSON.

    Columns in `cut` take the room that is left, on one line; others are folded if they must.
    """
    rows = list(rows)
    if as_json:
        dump(rows)
        return
    if not rows:
        note(empty)
        return
    console = console or out()
    cells = [{key: number(row.get(key)) for key in columns} for row in rows]
    others = sum(max(len(heading), *(len(c[k]) for c in cells)) + 2 for k, heading in columns.items() if k not in cut)
    room = max(12, (console.width - others) // max(1, len(cut)) - 2)
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for key, heading in columns.items():
        justify: Literal["left", "right"] = "right" if all(_figure(r.get(key)) for r in rows) else "left"
        shown.add_column(heading, justify=justify, overflow="fold")
    for cell in cells:
        shown.add_row(*(Text(_short(cell[key], room) if key in cut else cell[key]) for key in columns))
    console.print(shown)


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


def edits(rows: Sequence[Edit], total: int, as_json: bool) -> None:
    """The newest edits, one a line."""
    if as_json:
        dump(rows)
        return
    shown = [
        {
            "task": r.task, "arm": r.arm or MISSING, "outcome": r.outcome or "open", "cost": r.cost_max,
            "offered": r.offered, "kept": r.kept,
        }
        for r in rows
    ]  # fmt: skip
    columns = {
        "task": "Task", "arm": "Arm", "outcome": "Outcome", "cost": "Cost", "offered": "Offered", "kept": "Kept",
    }  # fmt: skip
    table(shown, columns, False, empty="No edit was recorded or imported yet.", cut=("offered", "kept"))
    if rows:
        note(f"{len(rows)} of {total} edits. Cost: 0 kept as it was, 1 nothing kept.")


def stats(found: EditStats, as_json: bool) -> None:
    """How edit cost went: by arm, and week by week."""
    if as_json:
        dump(found)
        return
    if not found.count:
        note("No edit was recorded or imported yet.")
        return
    counts = ", ".join(f"{n} {outcome}" for outcome, n in found.outcomes.items())
    out().print(Text(f"{found.count} offers: {counts}"), soft_wrap=True)
    arms = [
        {
            "arm": a.arm, "offers": a.offers, "cost": a.cost_max, "untouched": share(a.untouched),
            "censored": share(a.censored),
        }
        for a in found.arms
    ]  # fmt: skip
    columns = {
        "arm": "Arm", "offers": "Offers", "cost": "Mean cost", "untouched": "Untouched", "censored": "Cannot be told",
    }  # fmt: skip
    table(arms, columns, False, empty="", title="\nBy arm")
    names = [a.arm for a in found.arms if a.measured]
    weeks = [{"week": w.week, "edits": w.edits, "cost": w.cost_max, **w.arms} for w in found.weeks]
    columns = {"week": "Week", "edits": "Edits", "cost": "Mean cost"} | {name: name for name in names}
    table(weeks, columns, False, empty="", title="\nMean cost by week")
    note("Cost: 0 kept as it was, 1 nothing kept. Costs of different tasks do not compare: see --task.")


def adapters(found: Sequence[AdapterVersion], as_json: bool, *, every: bool = True) -> None:
    """Adapter versions with their held-out figures; unless `every`, of each name the live ones and the newest."""
    if as_json:
        dump(found)
        return
    from learner.registry import LIVE

    newest = {a.name: a.version for a in found}  # they come by name and version
    shown = [a for a in found if every or a.state in LIVE or a.version == newest[a.name]]
    rows = [
        {
            "id": a.id, "state": a.state.value, "rows": a.rows, "proxy": a.held_out.get("proxy_cost"),
            "base": a.held_out.get("base_proxy_cost"), "untouched": share(a.held_out.get("untouched")),
        }
        for a in shown
    ]  # fmt: skip
    columns = {
        "id": "Adapter", "state": "State", "rows": "Edits", "proxy": "Proxy cost", "base": "Base's",
        "untouched": "Untouched",
    }  # fmt: skip
    table(rows, columns, False, empty="No adapter was trained yet: run `learner train`.")
    for a in shown:
        if a.held_out.get("reason"):
            out().print(Text.assemble((f"{a.id}: ", "bold"), str(a.held_out["reason"])), soft_wrap=True)
    if len(shown) < len(found):
        note(f"{len(found) - len(shown)} older versions are not shown: --all shows them.")


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
            "feedback": "base", "rows": None, "proxy": report["base_proxy_cost"],
            "untouched": share(report["base_untouched"]),
            "interval": _interval(report["base_interval"]), "state": "", "seconds": None,
        }
    ]  # fmt: skip
    for a in report["adapters"]:
        state = "failed" if a["error"] else a["state"] or ("would train" if report["dry_run"] else MISSING)
        rows.append(
            {
                "feedback": a["feedback"], "rows": a["rows"], "proxy": a["proxy_cost"],
                "untouched": share(a["untouched"]),
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
        went_on = (
            f"{'would go' if report['dry_run'] else 'went'} on from {a['went_on_from']} with {a['new']} new edit(s)"
            if a["went_on_from"]
            else ""
        )
        words = [w for w in (a["error"], went_on, a["reason"], f"left out: {left}" if left else "") if w]
        for line in words:
            console.print(Text.assemble((f"{a['feedback']}: ", "bold"), line), soft_wrap=True)
    if report.get("pruned"):
        names = ", ".join(report["pruned"])
        removed = f"Removed the weights of {names}: replaced long ago (`keep_versions` in config.toml: how many stay)."
        console.print(Text(removed), soft_wrap=True)
    if not report["dry_run"]:
        console.print(Text("Proxy cost: how far its answers are from what you kept; 0 is the same."), soft_wrap=True)


def _interval(bounds: Sequence[float] | None) -> str:
    return MISSING if not bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
