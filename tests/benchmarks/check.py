"""`python -m tests.benchmarks.check NEW [BASELINE]`: whether a ratio has become much worse than it was.

Ratios alone are compared, each against a peer of the same run, so a slow machine changes little; and by a wide
margin, so that a busy one changes nothing. Rows that the other file lacks are left out, but not all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).parents[2] / "docs" / "performance.json"
MARGIN = 4.0
"""A ratio this many times the baseline's is worse: a busy machine alone has made 2.6 of it."""
TAILS = ("p95", "p99")
"""Rows that are not compared: a busy machine makes them what it likes."""
LEAST = 0.02
"""Ratios below this are as good as nothing: five times of it is noise."""


def ratios(report: Mapping[str, Any]) -> dict[str, float]:
    """The ratio of each row by its name, without the figures of the run that follow a semicolon."""
    rows = [row for row in report["rows"] if not any(tail in row["name"] for tail in TAILS)]
    return {row["name"].split(";")[0]: row["ratio"] for row in rows if row["ratio"] is not None}


def worse(new: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """The rows whose ratio is MARGIN times the baseline's, in words. Raises ValueError where no row is in both."""
    found, before = ratios(new), ratios(baseline)
    both = found.keys() & before.keys()
    if not both:
        raise ValueError("no row is in both files: make the baseline anew with `make bench`")
    return [
        f"{name}: {found[name]:.3g}, was {before[name]:.3g}"
        for name in sorted(both)
        if found[name] > MARGIN * max(before[name], LEAST)
    ]


def main() -> None:
    """Exit with 1, and say which, where ratios are worse."""
    new, baseline = (json.loads(Path(p).read_text()) for p in (*sys.argv[1:], str(BASELINE))[:2])
    lines = worse(new, baseline)
    if lines:
        sys.exit(f"worse than {MARGIN:g} times the baseline:\n" + "\n".join(lines))
    print(f"{len(ratios(new).keys() & ratios(baseline).keys())} ratios are within {MARGIN:g} times the baseline's")


if __name__ == "__main__":
    main()
