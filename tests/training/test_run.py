"""A training from the store to judged adapters, on a tiny base that is really converted and really served."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from learner import holdout, registry
from learner.config import Config, Paths
from learner.exceptions import ModelError, NothingToLearnError, TrainingError
from learner.prompt import draft
from learner.records import AdapterForm, AdapterState, Decision, Offer, Outcome, SettledBy, Settlement, Task, new_id
from learner.store import Store
from learner.training.run import train
from learner.training.settings import TrainSettings

CONFIG = Config(context=512, slots=2)


def paths_of(home):
    return Paths(home, home / "config.toml", home / "run")


@pytest.fixture
def paths(tmp_path):
    return paths_of(tmp_path / "home")


def add_edit(store, number, kept="Tea is ready"):
    decision = Decision(new_id(), Task.DRAFT, "base", None, 1.0, "thompson", f"file:///{number}.md", 1.0, 1.0)
    prompt = draft(f"Notes number {number} about {'abcdefgh'[number % 8] * 9} and nothing else at all", "summary")
    offer = Offer(
        new_id(), decision.id, 1.0 + number, Task.DRAFT, "text", decision.document, "", 0, (0, 0, 0, 0),
        prompt, "1", "Tea is made", "Tea is made", "stop", 9, 4, 1.0, "base", None, "tiny", "llama.cpp",
    )  # fmt: skip
    store.add_decision(decision)
    store.add_offer(offer)
    store.settle(Settlement(offer.id, Outcome.EDITED, SettledBy.SAVE, 2.0, kept=kept))


def fill(store, count=14):
    for number in range(count):
        add_edit(store, number)


@pytest.fixture
def store(paths):
    with Store.open(paths.database) as opened:
        fill(opened)
        yield opened


def settings(*names, **changes):
    return TrainSettings(feedback=names, **({"epochs": 1, "rank": 4, "alpha": 8, "learning_rate": 1e-2} | changes))


def run(store, base, chosen, paths, *, progress=lambda words, share: None, **changes):
    return train(store, base, chosen, progress=progress, paths=paths, config=CONFIG, **changes)


def files_under(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def test_from_the_store_to_judged_adapters(store, tiny_base, paths, capfd):
    heard = []
    report = run(
        store,
        tiny_base,
        settings("sft", "dpo", epochs=2),
        paths,
        progress=lambda words, share: heard.append((words, share)),
    )
    assert report.ok, [a.error for a in report.adapters]
    assert [a.adapter_id for a in report.adapters] == ["sft-1", "dpo-1"]
    assert report.edits == 14
    for own in report.adapters:
        assert own.rows == 14 - report.held_out
        assert own.last_loss < own.first_loss
        assert own.seconds > 0
        assert own.state in (AdapterState.TRIAL, AdapterState.SERVING, AdapterState.RETIRED)
        assert own.reason
        version = registry.find(store, own.adapter_id)
        assert (version.state, version.rows, version.form) == (own.state, own.rows, AdapterForm.ALORA)
        assert version.held_out["reason"] == own.reason
        if report.held_out:
            assert version.held_out["proxy_cost"] == own.proxy_cost
            assert version.held_out["base_proxy_cost"] == report.base_proxy_cost
        assert {"adapter.gguf", "adapter_model.safetensors"} <= set(files_under(Path(version.path)))
    assert files_under(paths.adapters)[0] == "dpo-1"  # and no hidden folder before it
    (row,) = registry.runs(store)
    assert (row.status, row.id) == ("finished", report.run_id)
    assert json.loads(json.dumps(report.to_json())) == row.report
    assert ("Training sft (1 of 2)", 1.0) in heard
    assert capfd.readouterr().out == ""


def test_held_out_documents_are_never_trained_on(store, tiny_base, paths):
    fill(store, 30)
    report = run(store, tiny_base, settings("sft"), paths)
    held = {document for document, out in holdout.assign(store, []).items() if out}
    assert report.held_out > 0
    assert held
    trained = {
        row[0]
        for row in store.db.execute(
            "SELECT document FROM edits JOIN adapter_rows USING (offer_id) WHERE adapter_id = 'sft-1'"
        )
    }
    assert trained
    assert not trained & held
    run(store, tiny_base, settings("sft"), paths)
    assert holdout.assign(store, []) == holdout.assign(store, [])
    assert registry.find(store, "sft-2").version == 2


def dump(store):
    return list(store.db.iterdump())


def test_dry_run_writes_nothing(store, tiny_base, paths):
    before, files = dump(store), files_under(paths.data)
    report = run(store, tiny_base, settings("sft", "dpo", "missing"), paths, dry_run=True)
    assert report.dry_run
    assert [a.rows for a in report.adapters] == [14 - report.held_out] * 2 + [0]
    assert "missing" in report.adapters[2].error
    assert dump(store) == before
    assert files_under(paths.data) == files


def test_an_empty_store_teaches_nothing(tiny_base, paths):
    with Store.open(paths.database) as empty:
        for dry_run in (True, False):
            with pytest.raises(NothingToLearnError, match="learner edits import"):
                run(empty, tiny_base, settings("sft"), paths, dry_run=dry_run)
        assert registry.runs(empty) == []
    assert not paths.adapters.exists() or files_under(paths.adapters) == []


def test_a_base_that_cannot_be_trained_is_named(store, tiny_base, paths):
    from dataclasses import replace

    with pytest.raises(ModelError, match="no training here"):
        run(store, replace(tiny_base, trainable=False, notes=("no training here",)), settings("sft"), paths)


BROKEN = """
class Broken:
    name = "broken"
    from learner.feedback import Signal
    needs = frozenset({Signal.KEPT})

    def loss(self, batch):
        raise KeyError("oops")
"""


@pytest.fixture
def broken_plugin(tmp_path, monkeypatch):
    """A package whose feedback type fails in training, put on the path as pip would."""
    site = tmp_path / "site"
    (site / "broken-1.dist-info").mkdir(parents=True)
    (site / "broken_plugin.py").write_text(BROKEN)
    (site / "broken-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (site / "broken-1.dist-info" / "entry_points.txt").write_text("[redraft.feedback]\nbroken = broken_plugin:Broken\n")
    monkeypatch.syspath_prepend(str(site))


def test_one_that_fails_does_not_take_the_others_with_it(store, tiny_base, paths, broken_plugin):
    report = run(store, tiny_base, settings("missing", "broken", "sft"), paths)
    missing, broken, sft = report.adapters
    assert "no feedback type 'missing'" in missing.error
    assert broken.error == "KeyError: 'oops'"
    assert (sft.error, sft.adapter_id) == (None, "sft-1")
    assert not report.ok
    assert [a.id for a in registry.adapters(store)] == ["sft-1"]
    assert registry.runs(store)[0].status == "failed"


def test_sigterm_is_recorded_and_leaves_nothing(store, tiny_base, paths):
    def terminate(words, share):
        if words.startswith("Training") and share:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run(store, tiny_base, settings("sft"), paths, progress=terminate)
    assert registry.runs(store)[0].status == "interrupted"
    assert registry.adapters(store) == []
    assert files_under(paths.adapters) == []


KILLED = """
import os, signal, sys
sys.path[:0] = {here!r}
from test_run import *
from learner.models import setup

base = setup({source!r}, paths_of(Path({home!r})), lambda words, share: None)

def die(words, share):
    if words.startswith({stage!r}):
        os.kill(os.getpid(), signal.SIGKILL)

paths = paths_of(Path({data!r}))
with Store.open(paths.database) as store:
    run(store, base, settings("sft"), paths, progress=die)
"""


@pytest.mark.slow
def test_a_killed_training_is_swept_by_the_next(store, tiny_base, tiny_llama, paths):
    code = KILLED.format(
        here=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
        source=str(tiny_llama),
        home=str(tiny_base.folder.parents[2]),
        data=str(paths.data),
        stage="Converting",
    )
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, check=False, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert registry.runs(store)[0].status == "running"
    assert files_under(paths.adapters) != []
    (paths.adapters / "sft-7").mkdir()  # published, and killed before it was recorded
    report = run(store, tiny_base, settings("sft"), paths)
    assert [r.status for r in registry.runs(store)] == ["finished", "interrupted"]
    assert report.adapters[0].adapter_id == "sft-1"
    assert [p.name for p in paths.adapters.iterdir()] == ["sft-1"]


def test_one_training_at_a_time(store, tiny_base, paths):
    def second(words, share):
        if words.startswith("Loading"):
            with pytest.raises(TrainingError, match=r"another training runs in .* since \d\d:\d\d:\d\d: wait"):
                run(store, tiny_base, settings("sft"), paths)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, tiny_base, settings("sft"), paths, progress=second)
    assert [r.status for r in registry.runs(store)] == ["interrupted"]


def test_plain_adapters_where_asked_for(store, tiny_base, paths):
    report = run(store, tiny_base, settings("early_ensemble", form=AdapterForm.LORA), paths)
    assert report.ok, report.adapters[0].error
    assert registry.find(store, "early_ensemble-1").form is AdapterForm.LORA
