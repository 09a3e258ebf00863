"""Bad input on the command line: what, where and what to do, an exit code that is not zero, the rest intact."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from cli_calls import add_adapter, call, command, edits_file, environment, run, said, some_edits
from polling import until

from learner import migrations, registry
from learner.adapter_files import CONFIG, GGUF, ORIGIN, WEIGHTS, adapter_sha256
from learner.config import Paths
from learner.exceptions import RedraftError
from learner.models import BaseModel
from learner.records import AdapterState
from learner.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    return tmp_path


def refused(*words: str, code: int = 1) -> str:
    """The error of a command that prints no result and no traceback."""
    result = call(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize("words", ["edits list", "edits stats", "edits export out.jsonl", "adapters show sft-1",
    "adapters promote sft-1", "adapters retire sft-1", "train"])  # fmt: skip
def test_no_database(home: Path, words: str) -> None:
    error = refused(*words.replace("out.jsonl", str(home / "out.jsonl")).split())
    assert str(home / "edits.db") in error
    assert [p for p in home.iterdir() if p.name != "run"] == []


def test_no_model(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 2)))
    for words in (["train"], ["train", "--dry-run"], ["serve"]):
        assert "learner setup" in refused(*words)
    assert call("setup", "--list").exit_code == 0


def test_a_hub_id_is_not_downloaded_unless_it_is_said(home: Path) -> None:
    assert "--download" in refused("setup", "--model", "nobody/nothing")


def test_a_broken_line(home: Path) -> None:
    file = edits_file(home / "in.jsonl", [("Say hi.", "Hello there.", "Hello.")])
    file.write_text(file.read_text() + '{"prompt": "x", "offered": "y"}\n')
    error = refused("edits", "import", str(file))
    assert f"{file}, line 2: `kept` is missing" in error
    assert "Nothing of the file was imported" in error
    assert said("edits", "list") == []


def test_a_newer_database_is_read_and_not_written(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 2)))
    with contextlib.closing(sqlite3.connect(home / "edits.db", isolation_level=None)) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('redraft', 'm999_future', '2030')"
        )
        db.execute(f"PRAGMA user_version = {migrations.VERSION + 1}")
    assert "update" in refused("edits", "import", str(home / "in.jsonl"))
    assert "update" in refused("consent", "yes")
    assert len(said("edits", "list")) == 2


def test_a_damaged_database(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 2)))
    (home / "edits.db").write_bytes(b"no database at all" * 1000)
    assert str(home / "edits.db") in refused("edits", "list")
    assert str(home / "edits.db") in refused("consent", "yes")
    assert (home / "edits.db").read_bytes().startswith(b"no database at all")
    store = next(f for f in said("doctor", code=1) if f["what"] == "store")
    assert store["level"] == "bad"
    assert "copy the file away" in store["advice"]


@pytest.mark.parametrize("words", [["train", "--feedback", "nope"], ["plugins", "enable", "nope"]])
def test_an_unknown_plugin(home: Path, words: list[str]) -> None:
    error = refused(*words)
    assert "'nope'" in error
    assert "early_ensemble" in error


@pytest.mark.parametrize("words", ["show", "promote", "retire"])
def test_an_unknown_adapter(home: Path, words: str) -> None:
    with Store.open(home / "edits.db") as store:
        add_adapter(store, home, "dpo", 3)
    assert "no adapter 'sft-9'; there are: dpo-3" in refused("adapters", words, "sft-9")


@pytest.mark.parametrize("text", ["threads = 'many'\n", "colour = 1\n", "= = =\n"])
def test_a_bad_config(home: Path, text: str) -> None:
    (home / "config.toml").write_text(text)
    for words in (["train"], ["plugins", "list"], ["serve"]):
        error = refused(*words, code=2)
        assert str(home / "config.toml") in error
        assert "remove it to go back" in error
    settings = next(f for f in said("doctor", code=1) if f["what"] == "settings")
    assert settings["level"] == "bad"


def test_no_host_to_ask_or_to_stop(home: Path) -> None:
    assert said("serve", "--status", code=1) == {"running": False}
    assert "start it on demand" in call("serve", "--status").stdout
    assert said("serve", "--stop") == {"stopped": False}


@pytest.mark.model
def test_setup_is_repeated_at_will(redraft_home: Path, prepared_base: BaseModel) -> None:
    before = {p: p.stat().st_mtime_ns for p in (redraft_home / "models").rglob("*") if p.is_file()}
    [model] = said("setup")
    assert model["name"] == prepared_base.name
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert said("setup", "--list") == [model]


@pytest.mark.model
def test_an_adapter_that_must_not_serve(redraft_home: Path, prepared_base: BaseModel) -> None:
    folder = redraft_home / "adapters" / "sft-1"
    folder.mkdir(parents=True)
    for name in (WEIGHTS, CONFIG, ORIGIN, GGUF):
        (folder / name).write_bytes(b"bytes of " + name.encode())
    with Store.open(redraft_home / "edits.db") as store:
        fingerprint = prepared_base.fingerprint
        add_adapter(store, redraft_home, "sft", 1, base=fingerprint, folder=folder, sha256=adapter_sha256(folder))
        add_adapter(store, redraft_home, "dpo", 1, base="another", folder=folder, sha256=adapter_sha256(folder))
    assert "trained on another base model" in refused("adapters", "promote", "dpo-1")
    (folder / GGUF).write_bytes(b"damaged")
    error = refused("adapters", "promote", "sft-1")
    assert str(folder) in error
    assert "train again" in error
    with Store.open(redraft_home / "edits.db") as store:
        assert {a.state for a in registry.adapters(store)} == {AdapterState.CANDIDATE}


@pytest.mark.model
@pytest.mark.parametrize("words", [["train"], ["train", "--dry-run"]])
def test_nothing_to_learn(redraft_home: Path, words: list[str]) -> None:
    call("consent", "yes")
    error = refused(*words)
    assert "there is no edit to learn from yet" in error
    assert "learner edits import" in error


# --- processes --------------------------------------------------------------------------------------


def test_results_and_messages_go_apart(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 3)))
    done = run(home, "edits", "list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 4  # nothing is folded
    assert lines[1].split()[:4] == ["rewrite", "–", "edited", "0.167"]  # 2 of 12 tokens
    assert "In Rome they painted" in lines[1]
    assert max(map(len, lines)) <= 80
    assert "3 of 3 edits" in done.stderr
    assert "3 of 3 edits" not in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def on_a_terminal(home: Path, *words: str, **env: str) -> str:
    """What a command writes when its output and errors are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*words), env=environment(home, TERM="xterm-256color", **env), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    found = b""
    with contextlib.suppress(OSError):  # how Linux says that the other end closed
        while part := os.read(ours, 65536):
            found += part
    os.close(ours)
    process.wait(30)
    return found.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_colours_on_a_terminal_and_only_there(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 1)))
    assert "\x1b[" in on_a_terminal(home, "edits", "list")
    assert "\x1b[" not in on_a_terminal(home, "edits", "list", "--json")
    plain = on_a_terminal(home, "edits", "list", NO_COLOR="1")
    assert not any(f"\x1b[{code}m" in plain for code in range(30, 38))
    assert "31m" not in on_a_terminal(home, "adapters", "show", "x", NO_COLOR="1")


@pytest.mark.skipif(os.name != "posix", reason="pipes that break quietly")
def test_a_reader_that_goes_away(home: Path) -> None:
    call("edits", "import", str(some_edits(home / "in.jsonl", 600)))
    process = subprocess.Popen(
        command("edits", "export", "-"), env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"{")
    process.stdout.close()
    assert process.wait(30) == 0
    with process.stderr as stream:
        assert stream.read() == b""


def test_a_broken_plugin_is_named(home: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    facts = site / "broken-1.dist-info"
    facts.mkdir(parents=True)
    (site / "broken.py").write_text("class Broken:\n    name = 'broken'\n    needs = ['kept']\n")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[redraft.feedback]\nbroken = broken:Broken\n")
    done = run(home, "plugins", "list", env={"PYTHONPATH": str(site)})
    assert done.returncode == 0
    assert "feedback type 'broken' (broken:Broken): `needs` should be a non-empty frozenset" in done.stderr
    assert "sft" in done.stdout


@pytest.mark.model
@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_interrupted(
    tiny_base: BaseModel, tiny_home: Paths, home: Path, sent: signal.Signals
) -> None:
    shutil.copytree(tiny_home.models, home / "models", copy_function=os.link)
    call("edits", "import", str(some_edits(home / "in.jsonl", 60)))
    process = subprocess.Popen(
        command("train", "--feedback", "sft", "--epochs", "100"),
        env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen: list[str] = []

    def begun() -> bool:
        with contextlib.suppress(RedraftError), Store.open(home / "edits.db", read_only=True) as store:
            seen[:] = [run.status for run in registry.runs(store)]
        return seen == ["running"]

    until(begun, "a run is recorded", 60)
    process.send_signal(sent)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert out == ""
    assert errors.splitlines()[-1] == "Error: interrupted; nothing is half-written"
    with Store.open(home / "edits.db", read_only=True) as store:
        assert [run.status for run in registry.runs(store)] == ["interrupted"]
        assert registry.adapters(store) == []
    assert list((home / "adapters").iterdir()) == []
