"""The check for ratios that have become worse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.check import LEAST, worse


def report(**ratios):
    return {"rows": [{"name": name, "ratio": ratio} for name, ratio in ratios.items()]}


def test_only_what_is_much_worse_is_named():
    before = report(quick=0.2, slow=1.5, tiny=LEAST / 100, gone=0.1)
    assert worse(report(quick=0.79, slow=5.9, tiny=3 * LEAST, new=9.0), before) == []
    assert worse(report(quick=0.81, slow=5.9, tiny=5 * LEAST), before) == [
        "quick: 0.81, was 0.2",
        "tiny: 0.1, was 0.0002",
    ]


def test_figures_of_the_run_are_no_part_of_the_name():
    before = {"rows": [{"name": "training sft; held-out loss 1.2", "ratio": 0.3}, {"name": "bytes", "ratio": None}]}
    new = {"rows": [{"name": "training sft; held-out loss 1.3", "ratio": 1.5}]}
    assert worse(new, before) == ["training sft: 1.5, was 0.3"]


def test_tails_are_not_compared():
    assert (
        worse(report(**{"offer, p50": 1.0, "offer, p95": 9.0}), report(**{"offer, p50": 1.0, "offer, p95": 1.0})) == []
    )


def test_nothing_in_common_is_no_pass():
    with pytest.raises(ValueError, match="make bench"):
        worse(report(a=1.0), report(b=1.0))


def test_it_ends_with_1(tmp_path):
    files = [tmp_path / "new.json", tmp_path / "before.json"]
    for file, ratio in zip(files, (1.0, 0.1), strict=True):
        file.write_text(json.dumps(report(offers=ratio)))
    root = Path(__file__).parents[1]

    def check(*files):
        return subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.check", *files], cwd=root, capture_output=True, text=True
        )

    bad = check(*files)
    assert (bad.returncode, "offers: 1, was 0.1" in bad.stderr) == (1, True)
    good = check(files[1], files[1])
    assert (good.returncode, good.stdout) == (0, "1 ratios are within 4 times the baseline's\n")
