"""`python -m tests.benchmarks [--only NAME] [--json FILE]`: run the benchmarks and print one table."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from time import perf_counter

import click
import psutil

from learner import screen
from tests.benchmarks.row import Row

MODULES = (
    "bench_kept",
    "bench_server",
    "bench_offers",
    "bench_answering",
    "bench_store",
    "growth",
    "bench_training",
    "bench_again",
    "bench_forms",
)
"""Modules of this folder, each with a function `rows`. One is imported when its turn comes: torch slows all others."""


def measured(names: tuple[str, ...]) -> Iterator[Row]:
    """The rows of the modules that are named, or of all."""
    for name in MODULES:
        if names and name not in names and name.removeprefix("bench_") not in names:
            continue
        started = perf_counter()
        yield from import_module(f"tests.benchmarks.{name}").rows()
        print(f"{name}: {perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def machine() -> str:
    """What it is measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows there.")
@click.option("--only", multiple=True, metavar="NAME", help="A benchmark by its name (`offers`); may be repeated.")
def main(target: Path | None, only: tuple[str, ...]) -> None:
    """Print what each thing takes, what a peer takes in the same run, the ratio and the goal."""
    known = {name for module in MODULES for name in (module, module.removeprefix("bench_"))}
    for name in only:
        if name not in known:
            raise click.UsageError(f"no benchmark {name!r}; there are: {', '.join(MODULES)}")
    found = list(measured(only))
    table = [
        {
            "What": row.name,
            "Ours": f"{row.ours:.3g} {row.unit}".strip(),
            "Peer": "" if row.peer is None else f"{row.peer:.3g}",
            "Ratio": "" if row.ratio is None else f"{row.ratio:.3g}",
            "Goal": row.goal,
            "Met": {True: "yes", False: "no", None: ""}[row.met],
        }
        for row in found
    ]
    columns = {name: name for name in ("What", "Ours", "Peer", "Ratio", "Goal", "Met")}
    screen.table(table, columns, False, empty="", title=f"{machine()}. Ratio: ours over the peer's; goals are at most")
    if target is not None:
        rows = [{**asdict(row), "met": row.met} for row in found]
        target.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
