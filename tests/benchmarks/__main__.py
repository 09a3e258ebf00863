"""`python -m tests.benchmarks --json FILE`: run all benchmarks and print one table."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import click
import psutil

from learner import screen
from tests.benchmarks import bench_kept, bench_offers, bench_server, bench_store


@click.command()
@click.option("--json", "target", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows there.")
def main(target: Path | None) -> None:
    """Print what each thing takes, what a peer takes in the same run, and the ratio."""
    found: list[dict[str, Any]] = []
    for module in (bench_kept, bench_server, bench_offers, bench_store):
        found += [asdict(row) if is_dataclass(row) else dict(row) for row in module.rows()]  # type: ignore[call-overload]
    machine = f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    columns = {"name": "What", "ours": "Ours", "peer": "Peer", "ratio": "Ratio", "limit": "Limit", "unit": "Unit"}
    screen.table(found, columns, False, empty="", title=f"{machine}. Ratio: ours over the peer's")
    if target is not None:
        target.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
