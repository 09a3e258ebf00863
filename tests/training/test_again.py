"""Training again: from the adapter there is, on the new edits and a sample of the old ones; or from scratch."""

from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file
from test_run import add_edit, fill, paths_of, run, settings

from learner import registry
from learner.adapter_files import WEIGHTS
from learner.config import Config
from learner.exceptions import AdapterError
from learner.forget import forget
from learner.records import AdapterState
from learner.store import Store
from learner.training.again import GROWTH, LEAST_REPLAY, RATE, GoingOn, going_on
from learner.training.run import train

FIRST, NEW = 30, 5


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory):
    """A store of 30 edits and the serving adapter sft-1 of those that are not held out."""
    paths = paths_of(tmp_path_factory.mktemp("again") / "home")
    with Store.open(paths.database) as store:
        fill(store, FIRST)
        report = run(store, tiny_base, settings("sft"), paths)
        assert report.ok, report
        registry.set_state(store, "sft-1", AdapterState.SERVING)
        yield store, paths, tiny_base


def seen(store, adapter):
    return {o for (o,) in store.read("SELECT offer_id FROM adapter_rows WHERE adapter_id = ?", [adapter])}


def plan(trained, offers, **changes):
    store, _, base = trained
    return going_on(store, "sft", "sft", base.fingerprint, settings("sft", **changes), offers)


def test_which_edits_are_trained_on(trained):
    known = sorted(seen(trained[0], "sft-1"))
    again = plan(trained, [*known, "new-1", "new-2"])
    assert again.adapter_id == "sft-1"
    assert again.new == {"new-1", "new-2"}
    assert again.known == set(known)
    assert again.replayed < again.known
    assert len(again.replayed) == LEAST_REPLAY
    assert again.start.name == "sft-1"
    assert plan(trained, [*known, "new-1", "new-2"]) == again, "the sample is the same each time"
    many = plan(trained, [*known, *(f"new-{i}" for i in range(11))])
    assert len(many.replayed) == len(many.new) == 11


def test_from_scratch_where_that_is_right(trained):
    known = sorted(seen(trained[0], "sft-1"))
    room = int((GROWTH - 1) * len(known))
    assert plan(trained, [*known, *map(str, range(room))]) is not None
    assert plan(trained, [*known, *map(str, range(room + 1))]) is None, "it has grown too much"
    assert plan(trained, known) is None, "nothing is new"
    assert plan(trained, [*known, "new"], from_scratch=True) is None
    for changed in ({"rank": 8}, {"epochs": 2}, {"learning_rate": 1e-3}, {"max_answer_tokens": 64}):
        assert plan(trained, [*known, "new"], **changed) is None
    store, _, base = trained
    assert going_on(store, "sft", "dpo", base.fingerprint, settings("sft"), [*known, "new"]) is None
    assert going_on(store, "sft", "sft", "another base", settings("sft"), [*known, "new"]) is None
    assert going_on(store, "sft_own", "sft", base.fingerprint, settings("sft"), [*known, "new"]) is None
    for state, there in ((AdapterState.RETIRED, False), (AdapterState.TRIAL, True), (AdapterState.SERVING, True)):
        registry.set_state(store, "sft-1", state)
        assert (plan(trained, [*known, "new"]) is not None) == there


def test_from_scratch_where_the_files_are_damaged(trained):
    known = sorted(seen(trained[0], "sft-1"))
    file = plan(trained, [*known, "new"]).start / WEIGHTS
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert plan(trained, [*known, "new"]) is None
        file.unlink()
        assert plan(trained, [*known, "new"]) is None
    finally:
        file.write_bytes(whole)
    assert plan(trained, [*known, "new"]) is not None


def test_a_training_goes_on_and_forgetting_reaches_it(trained, monkeypatch):
    monkeypatch.setattr("learner.training.again.RATE", 1e-7)
    store, paths, base = trained
    for number in range(100, 100 + NEW):
        add_edit(store, number)
    foreseen = run(store, base, settings("sft"), paths, dry_run=True).adapters[0]
    report = run(store, base, settings("sft"), paths)
    (sft,) = report.adapters
    assert (foreseen.went_on_from, foreseen.new, foreseen.rows) == ("sft-1", sft.new, sft.rows)
    assert report.ok, sft.error
    assert sft.went_on_from == "sft-1"
    assert 0 < sft.new <= NEW
    assert sft.rows == sft.new + LEAST_REPLAY
    assert seen(store, "sft-2") > seen(store, "sft-1")
    assert len(seen(store, "sft-2")) == len(seen(store, "sft-1")) + sft.new
    version = registry.find(store, "sft-2")
    assert version.settings["again"]["from"] == "sft-1"
    assert version.settings["again"]["whole"] == len(seen(store, "sft-1"))
    before, after = (load_file(paths.adapters / name / WEIGHTS) for name in ("sft-1", "sft-2"))
    moved = max(float((after[n] - w).abs().max()) for n, w in before.items())
    assert 0 < moved < 1e-5, "at that rate it hardly moves from where it began"

    scratch = run(store, base, settings("sft", from_scratch=True), paths).adapters[0]
    assert scratch.went_on_from is None
    assert scratch.rows == len(seen(store, "sft-2"))
    other = load_file(paths.adapters / "sft-3" / WEIGHTS)
    assert max(float((other[n] - w).abs().max()) for n, w in before.items()) > 1e-3

    with FileLock(paths.data / "train.lock"):
        assert any("a training that runs now" in left for left in forget(store, document="file:///none").left)
    assert not forget(store, document="file:///none").left
    only_first = min(seen(store, "sft-1"))
    document = store.read("SELECT document FROM offers WHERE id = ?", [only_first])[0][0]
    forget(store, document=document)
    left = {a.id: a for a in registry.adapters(store) if (paths.adapters / a.id).exists()}
    assert "sft-2" not in left, "it learnt from what is forgotten, by way of sft-1"


def test_an_adapter_of_what_was_forgotten_meanwhile_is_not_kept(trained):
    store, *_ = trained
    begun = registry.find(store, "sft-1")
    late = replace(begun, id="sft-9", version=9)
    known = [offer for (offer,) in store.read("SELECT id FROM offers ORDER BY id LIMIT 2")]
    with pytest.raises(AdapterError, match="1 of the edits that sft-9 saw were forgotten"):
        registry.register(store, late, [*known, "forgotten"])
    assert not seen(store, "sft-9")


def test_the_rate_of_going_on_is_lower():
    slower = GoingOn("sft-1", Path(), frozenset(), frozenset(), frozenset(), 1).slowed
    assert slower(settings("sft", learning_rate=None)).rate_scale == RATE
    assert slower(settings("sft", learning_rate=0.1)).learning_rate == 0.1 * RATE


def test_a_training_removes_what_was_replaced_long_ago(trained):
    store, paths, base = trained
    before = {a.id for a in registry.adapters(store) if Path(a.path).exists()}
    for version in before:
        registry.set_state(store, version, AdapterState.RETIRED)
    report = train(
        store, base, settings("sft"), progress=lambda words, share: None, paths=paths, config=Config(keep_versions=0)
    )
    assert report.ok, report
    assert before <= set(report.pruned)
    there = {a.id for a in registry.adapters(store) if Path(a.path).exists()}
    assert there == ({report.adapters[0].adapter_id} - set(report.pruned))
    assert {path.name for path in paths.adapters.iterdir()} == there
