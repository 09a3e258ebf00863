"""Every command of `learner`: its help, its JSON, what it says and does."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_calls import add_adapter, call, commands, edits_file, said
from store_rows import decision, offer, record, settlement

from learner import bug_report, config
from learner.records import AdapterState, Outcome, Task
from learner.stats import edit_stats, week_of
from learner.store import Store

ALL = [path for path, _ in commands()]
FILES = ("demo", "reproduce")
"""Their --json names a file."""
TAKING_JSON = [path for path, c in commands() if any("--json" in p.opts for p in c.params) and path[0] not in FILES]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def edited(home: Path) -> Path:
    """A home with two imported edits."""
    file = edits_file(home / "in.jsonl", [("Say hi.", "Hello there.", "Hello."), ("Say bye.", "Bye now.", "Bye now.")])
    assert call("edits", "import", str(file)).exit_code == 0
    return home


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_help_shows_an_example_and_fits_80_columns(path: tuple[str, ...]) -> None:
    result = call(*path, "--help")
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    head = [i for i, line in enumerate(lines) if line.strip() in ("Example:", "Examples:", "Begin with:")]
    assert len(head) == 1, result.stdout
    assert lines[head[0] - 1] == ""
    words = " ".join(["learner", *path])
    assert lines[head[0] + 1].startswith("   learner" if not path else f"   {words}"), result.stdout


def test_every_listing_takes_json() -> None:
    assert {("adapters", "list"), ("plugins", "list"), ("edits", "list"), ("edits", "stats"), ("doctor",), ("setup",),
            ("serve",), ("train",)} <= set(TAKING_JSON)  # fmt: skip


@pytest.mark.parametrize("words", [["nonsense"], ["train", "--epochs", "none"], ["edits", "forget"], ["edits", "list",
    "--limit", "0"], ["train", "--learning-rate", "0"], ["edits", "import", "/nowhere.jsonl"]])  # fmt: skip
def test_wrong_usage_is_2(home: Path, words: list[str]) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""


def test_the_shell_completes_commands_and_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(home / "edits.db") as store:
        add_adapter(store, home, "sft", 1)

    def completed(line: str) -> list[str]:
        from click.shell_completion import BashComplete

        from learner.cli import main

        words = line.split(" ")
        found = BashComplete(main, {}, "learner", "_LEARNER_COMPLETE").get_completions(words[:-1], words[-1])
        return [item.value for item in found]

    assert completed("ad") == ["adapters"]
    assert completed("adapters pro") == ["promote"]
    assert completed("adapters promote s") == ["sft-1"]
    assert completed("plugins disable d") == ["dpo"]
    assert "--feedback" in completed("train --")


def test_consent_yes_no_show(home: Path) -> None:
    assert said("consent") == {"recording": False}
    assert not (home / "edits.db").exists()
    assert said("consent", "yes") == {"recording": True, "database": str(home / "edits.db")}
    assert said("consent", "no", "--workspace", "file:///secret")["recording"] is False
    assert said("consent", "show")["recording"] is True
    assert "Nothing is recorded in file:///secret." in call("consent", "--workspace", "file:///secret").stdout
    assert said("consent", "no")["recording"] is False


def test_edits_come_in_show_and_go_out(edited: Path) -> None:
    rows = said("edits", "list")
    assert [(r["offered"], r["kept"], r["outcome"]) for r in rows] == [
        ("Hello there.", "Hello.", "edited"), ("Bye now.", "Bye now.", "accepted"),
    ]  # fmt: skip
    shown = call("edits", "list", "--limit", "1")
    assert "Bye now." in shown.stdout
    assert "Hello" not in shown.stdout
    assert "1 of 2 edits" in shown.stderr
    assert said("edits", "import", str(edited / "in.jsonl")) == {"imported": 0, "skipped": 2}
    assert call("edits", "export", str(edited / "out.jsonl")).exit_code == 0
    out = [json.loads(line) for line in (edited / "out.jsonl").read_text().splitlines()]
    assert [row["kept"] for row in out] == ["Hello.", "Bye now."]
    if os.name == "posix":
        assert (edited / "out.jsonl").stat().st_mode & 0o077 == 0
    trl = call("edits", "export", "--format", "trl", "-").stdout.splitlines()
    assert [json.loads(line)["chosen"][0]["content"] for line in trl] == ["Hello."]


def test_forgetting_asks_and_gives_a_receipt(edited: Path) -> None:
    refused = call("edits", "forget", "--everything", "--json", answer="n\n")
    assert refused.exit_code == 1
    assert refused.stdout == ""  # the question is no result
    assert len(said("edits", "list")) == 2
    receipt = said("edits", "forget", "--everything", "--yes")
    assert (receipt["offers"], receipt["documents"], receipt["left"]) == (2, 2, [])
    assert said("edits", "list") == []
    assert "No edit was recorded" in call("edits", "list").stderr


def test_a_teams_edits_go_out_under_a_pseudonym_and_are_forgotten_by_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "colleague"
    with Store.open(home / "edits.db") as store:
        record(store, Outcome.EDITED, document="file:///home/kim/secret.md")
        record(store, Outcome.IGNORED, document="file:///home/kim/secret.md")
    files = [there / "team.jsonl", there / "named.jsonl", there / "all.parquet"]
    there.mkdir()
    assert call("edits", "export", "--team", str(files[0])).exit_code == 0
    assert call("edits", "export", "--team", "--author", "Kim", str(files[1])).exit_code == 0
    assert call("edits", "export", str(files[2])).exit_code == 0
    (me,) = said("edits", "authors")
    assert (me["own"], me["edits"], me["taught"]) == (True, 2, 1)
    assert me["author"].startswith("author-")
    (row,), (named,) = ([json.loads(line) for line in file.read_text().splitlines()] for file in files[:2])
    assert (row["author"], named["author"]) == (me["author"], "Kim")
    assert "kim" not in files[0].read_text()
    assert call("edits", "export", "--team", "--author", "a\nb", str(files[0])).exit_code == 2
    config.save(author="Kim")
    assert [a["author"] for a in said("edits", "authors")] == ["Kim"]
    monkeypatch.setenv("REDRAFT_HOME", str(there))
    assert said("edits", "import", str(files[0])) == {"imported": 1, "skipped": 0}
    assert said("edits", "import", str(files[2])) == {"imported": 1, "skipped": 1}  # the ignored one
    assert said("edits", "import", str(files[1])) == {"imported": 0, "skipped": 1}
    assert [(a["author"], a["own"]) for a in said("edits", "authors")] == [(me["author"], False)]
    assert said("edits", "forget", "--author", me["author"], "--yes")["offers"] == 2
    assert said("edits", "authors") == []


def in_week(store: Store, week: int, arm: str, outcome: Outcome, kept: str | None = None) -> None:
    """An offer of ISO week `week` of 2026."""
    at = datetime.fromisocalendar(2026, week, 3).replace(tzinfo=UTC).timestamp()
    chosen = replace(decision(), arm=arm, adapter_version=None if arm == "base" else f"{arm}-1")
    made = offer(chosen, created_at=at)
    store.add_decision(chosen)
    store.add_offer(made)
    if outcome is Outcome.EDITED:
        assert kept is not None
    store.settle(settlement(made, outcome, kept))


def test_stats_say_whether_it_helped(home: Path) -> None:
    with Store.open(home / "edits.db") as store:
        in_week(store, 10, "base", Outcome.REJECTED)
        in_week(store, 10, "base", Outcome.ACCEPTED)
        in_week(store, 11, "base", Outcome.CENSORED)
        in_week(store, 11, "sft", Outcome.ACCEPTED)
        record(store, None)
        found = edit_stats(store)
        assert edit_stats(store, Task.DRAFT).count == 0
    assert found.count == 5
    assert found.outcomes == {"accepted": 2, "rejected": 1, "censored": 1, "open": 1}
    base, sft = found.arms
    assert (base.arm, base.offers, base.measured, base.cost_max, base.untouched) == ("base", 4, 2, 0.5, 0.5)
    assert base.censored == pytest.approx(1 / 3)
    assert (sft.cost_max, sft.censored) == (0, 0)
    assert [(w.week, w.edits, w.cost_max, w.arms) for w in found.weeks] == [
        ("2026-W10", 2, 0.5, {"base": 0.5}), ("2026-W11", 1, 0, {"sft": 0}),
    ]  # fmt: skip
    assert said("edits", "stats")["weeks"][0] == {
        "week": "2026-W10",
        "edits": 2,
        "cost_max": 0.5,
        "arms": {"base": 0.5},
    }
    shown = call("edits", "stats").stdout
    assert "2026-W10" in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_a_week_is_an_iso_week_in_utc() -> None:
    assert week_of(0) == "1970-W01"
    assert week_of(datetime(2027, 1, 3, 23, 59, tzinfo=UTC).timestamp()) == "2026-W53"


def test_many_versions_are_listed_shortly(home: Path) -> None:
    assert "learner train" in call("adapters").stderr
    assert said("adapters", "list") == []
    with Store.open(home / "edits.db") as store:
        for version in range(1, 21):
            add_adapter(store, home, "early_ensemble", version, AdapterState.SERVING)
        add_adapter(store, home, "sft", 1, AdapterState.RETIRED)
    shown = call("adapters")
    assert "early_ensemble-20" in shown.stdout
    assert "sft-1" in shown.stdout
    assert "early_ensemble-19" not in shown.stdout
    assert "19 older versions" in shown.stderr
    table = [line.rstrip() for line in shown.stdout.splitlines() if ": " not in line]
    assert max(map(len, table)) <= 80
    assert len(table) == 3  # nothing is folded
    assert "early_ensemble-19" in call("adapters", "list", "--all").stdout
    assert len(said("adapters", "list")) == 21
    assert said("adapters", "show", "sft-1")["held_out"]["proxy_cost"] == 0.1
    assert said("adapters", "retire", "early_ensemble-20") == {"id": "early_ensemble-20", "state": "retired"}


def test_plugins_are_listed_and_switched(home: Path) -> None:
    rows = {row["name"]: row for row in said("plugins", "list")}
    assert {"sft", "dpo", "rl", "early_ensemble", "thompson", "ucb"} <= set(rows)
    assert rows["dpo"]["on"] is True
    assert rows["dpo"]["needs"] == "kept, offered, reference"
    assert not any(row["problem"] for row in rows.values())
    said("plugins", "disable", "dpo")
    said("plugins", "enable", "ucb")
    on = {row["name"]: row["on"] for row in said("plugins", "list")}
    assert (on["dpo"], on["ucb"], on["thompson"]) == (False, True, False)
    said("plugins", "enable", "dpo")
    assert config.load().disabled_plugins == ()
    assert "a bandit cannot be off" in call("plugins", "disable", "ucb").stderr


def test_the_doctor_says_what_to_do(home: Path) -> None:
    result = call("doctor")
    assert result.exit_code == 1
    assert "model: run `learner setup`" in result.stderr
    found = {f["what"]: f for f in said("doctor", code=1)}
    assert found["model"]["level"] == "bad"
    assert all(f["advice"] for f in found.values() if f["level"] != "ok")


def test_the_bug_report_names_nobody(home: Path) -> None:
    call("consent", "yes")
    result = call("doctor", "--report")
    assert "redraft 0." in result.stdout
    assert "<data>" in result.stdout
    assert str(home) not in result.output
    assert str(Path.home()) + "/" not in result.output
    assert "sent nowhere" in result.stderr
    assert json.loads(call("doctor", "--report", "--json").stdout)["versions"]["redraft"]


def test_what_a_report_replaces(home: Path) -> None:
    paths = config.paths()
    me = Path.home()
    texts = {
        f"{paths.database} is damaged": "<data>:edits.db is damaged",
        f"no model in {paths.models}/Mine: run it": "no model in <data>: run it",
        f"cannot read {me}/notes/diary.md, sorry": "cannot read ~, sorry",
        "look at /srv/alice/book.md": "look at <path>",
        "by URL: https://alice.example/v1": "by URL: <url>",
        "Linux-6.1 and/or 3.11": "Linux-6.1 and/or 3.11",
    }
    for text, bare in texts.items():
        assert bug_report.bare(text, paths) == bare
