"""What a log says of edit quality and coverage, and whether the prediction tells whole edits from partial ones."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from cli_calls import call, edits_file

from learner.diagnose import FEWEST_EDITS, diagnose
from learner.experiment.agent import edit_of
from learner.experiment.ledger import Answer
from learner.experiment.plan import load
from learner.experiment.protocol import Cast, documents

SAYINGS = ("The board meets on Monday.", "It is late, and nobody came.", "A new bridge is built here.")


def log(user, seed=0, answers=SAYINGS):
    """Offline edits of the tiny plan's user."""
    plan = load("tiny")
    editor = Cast().users(plan, "summarization")[user]
    cases = documents(plan, "summarization", seed, Path("nowhere")).offline
    rng = Random(seed)
    return [
        edit_of(case, Answer(said, False), editor.edit(case.kind, said, rng))
        for case in cases
        for said in [rng.choice(answers)]
    ]


def test_whole_edits_are_told_from_partial_ones():
    strong, weak = diagnose(log("strong")), diagnose(log("weak"))
    assert strong.completeness > 0.85
    assert weak.completeness < 0.6
    assert strong.expected[0] == "sft"
    assert weak.expected[0] == "early_ensemble"
    assert strong.expected.index("dpo") == 3
    assert "partial" in weak.why
    assert "Lemma 1" in strong.why


def test_a_base_that_follows_some_habits_covers_them():
    half = [
        *SAYINGS,
        *(f"In short:\n- {s}\nWhat do you think?" for s in SAYINGS),
        *(f"{s}\n#goodtoknow" for s in SAYINGS),
    ]
    found = diagnose(log("weak", answers=half))
    assert found.base_rate > 0.1
    assert found.completeness < 0.6
    assert found.expected[0] == "dpo"


def test_habits_are_what_comes_back():
    found = diagnose(log("strong"))
    assert {"In short:", "What do you think?", "- …"} <= set(found.habits)


def test_answers_left_alone_say_how_often_edits_finish():
    edits = [
        replace(e, adapter_version="sft-1", outcome="accepted" if i % 4 else "edited")
        for i, e in enumerate(log("strong"))
    ]
    found = diagnose(edits)
    assert found.finished == pytest.approx(0.75)
    low, high = found.finished_interval
    assert low < 0.75 < high


def test_few_edits_say_nothing():
    found = diagnose(log("strong")[: FEWEST_EDITS - 1])
    assert found.expected == ()
    assert "too few" in found.why
    assert diagnose([]).edits == 0


def test_the_command_reads_the_log(tmp_path, monkeypatch):
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    missing = call("diagnose")
    assert missing.exit_code != 0
    assert "there is no log yet" in missing.stderr
    rows = [(f"Say {i}.", f"Text number {i}.", f"In short:\n- Text number {i}.\nThank you.\nBye.") for i in range(24)]
    assert call("edits", "import", str(edits_file(tmp_path / "in.jsonl", rows))).exit_code == 0
    found = json.loads(call("diagnose", "--json").stdout)
    assert found["edits"] == 24
    assert found["completeness"] == 1.0
    assert found["expected"][0] == "sft"
    shown = call("diagnose")
    assert "Expected: sft > early_ensemble" in shown.stdout


def test_a_folder_without_a_run_is_refused_and_left_alone(tmp_path):
    result = call("diagnose", "--run", str(tmp_path))
    assert result.exit_code == 2
    assert "holds no run of `learner reproduce`" in result.stderr
    assert list(tmp_path.iterdir()) == []
