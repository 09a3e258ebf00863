"""A team's edits: out of two stores, into both, and an adapter of everybody's beside one of one's own."""

import json
from dataclasses import replace
from random import Random

import pytest
from test_run import add_edit, paths_of, run, settings

from learner import authors, bandit, exchange, holdout, parquet, registry
from learner.exceptions import ConfigError, NothingToLearnError
from learner.forget import forget
from learner.records import AdapterState, Task
from learner.store import Store


@pytest.fixture
def team(tmp_path):
    """Ann's and Ben's stores: she writes of tea, he of rain."""
    stores = {}
    for name, words, begin in (("ann", "Tea is ready", 0), ("ben", "It rains a lot", 100)):
        stores[name] = Store.open(paths_of(tmp_path / name).database)
        for number in range(12):
            add_edit(stores[name], begin + number, kept=words)
    yield stores
    for store in stores.values():
        store.close()


def swap(team, folder, **names):
    """Each exports for the team, in a format of its own, and each imports both files; (imported, there) by file."""
    with (folder / "ann.jsonl").open("w") as out:
        exchange.export(team["ann"], out, edits=authors.leaving(team["ann"], names.get("ann", ""), team=True))
    parquet.export(team["ben"], folder / "ben.parquet", authors.leaving(team["ben"], names.get("ben", ""), team=True))
    files = (folder / "ann.jsonl", folder / "ben.parquet")
    return {name: [exchange.load(store, file) for file in files] for name, store in team.items()}


def trained_on(store, adapter_id):
    sql = "SELECT kept, count(*) FROM edits JOIN adapter_rows USING (offer_id) WHERE adapter_id = ? GROUP BY kept"
    return dict(store.read(sql, [adapter_id]))


def test_two_people_train_both_kinds_and_either_is_chosen(team, tmp_path, tiny_base):
    assert swap(team, tmp_path) == {"ann": [(0, 12), (12, 0)], "ben": [(12, 0), (0, 12)]}
    assert swap(team, tmp_path) == {"ann": [(0, 12), (0, 12)], "ben": [(0, 12), (0, 12)]}  # again: nothing new
    ann, paths = team["ann"], paths_of(tmp_path / "ann")
    report = run(ann, tiny_base, settings("sft", people="both"), paths)
    assert report.ok, [a.error for a in report.adapters]
    assert [a.adapter_id for a in report.adapters] == ["sft-1", "sft_own-1"]
    assert [registry.find(ann, i).feedback for i in ("sft-1", "sft_own-1")] == ["sft", "sft"]
    shared, own = trained_on(ann, "sft-1"), trained_on(ann, "sft_own-1")
    assert set(shared) == {"Tea is ready", "It rains a lot"}
    assert own == {"Tea is ready": shared["Tea is ready"]}
    held = {d for d, out in holdout.assign(ann, []).items() if out}
    assert report.held_out == sum(e.document in held and e.kept == "Tea is ready" for e in ann.edits())
    for adapter_id in ("sft-1", "sft_own-1"):
        registry.set_state(ann, adapter_id, AdapterState.SERVING)
    arms = registry.arms(ann, tiny_base.fingerprint)
    assert [a.name for a in arms] == ["base", "sft", "sft_own"]
    chosen = {
        bandit.choose(bandit.load("thompson"), bandit.Context(Task.DRAFT), arms, {}, Random(seed)).arm.name
        for seed in range(60)
    }
    assert chosen == {"base", "sft", "sft_own"}
    assert set(registry.live_files(ann, tiny_base.fingerprint)) == {"sft-1", "sft_own-1"}
    assert all(f.is_file() for f in registry.live_files(ann, tiny_base.fingerprint).values())

    (ben,) = {e.author for e in ann.edits() if e.origin == "import"}
    receipt = forget(ann, author=ben)
    assert (receipt.offers, receipt.adapters_retired) == (12, ("sft-1",))
    assert registry.find(ann, "sft_own-1").state is AdapterState.SERVING
    assert {e.kept for e in ann.edits()} == {"Tea is ready"}


def test_without_others_nothing_is_trained_twice(team, tmp_path, tiny_base):
    paths = paths_of(tmp_path / "ann")
    for people, arms in {"shared": ["sft"], "own": ["sft_own"], "both": ["sft"]}.items():
        report = run(team["ann"], tiny_base, settings("sft", people=people), paths, dry_run=True)
        assert [a.feedback for a in report.adapters] == arms
        assert [a.rows for a in report.adapters] == [12 - report.held_out]


def test_who_has_no_edits_of_their_own_has_no_such_arm(team, tmp_path, tiny_base):
    swap(team, tmp_path)
    guest = paths_of(tmp_path / "guest")
    with Store.open(guest.database) as store:
        exchange.load(store, tmp_path / "ann.jsonl")
        with pytest.raises(NothingToLearnError, match="12 settled edits"):
            run(store, tiny_base, settings("sft", people="own"), guest, dry_run=True)
        report = run(store, tiny_base, settings("sft", people="both"), guest, dry_run=True)
        assert [a.rows > 0 for a in report.adapters] == [True, False]
        assert report.held_out == 0  # there is nothing of one's own to measure by


def test_what_leaves_for_a_team_names_nobody(team, tmp_path):
    swap(team, tmp_path)
    text = (tmp_path / "ann.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert {r["author"] for r in rows} == {authors.pseudonym(team["ann"])}
    assert "file://" not in text
    assert len({r["document"] for r in rows}) == 12
    assert {r["workspace"] for r in rows} == {""}
    with team["ben"].transaction() as db:
        db.execute("UPDATE offers SET workspace = 'file:///home/ben' WHERE author = ''")
    assert {e.workspace for e in authors.leaving(team["ben"])} == {"file:///home/ben", ""}
    assert {e.author for e in authors.leaving(team["ben"], team=True)} == {authors.pseudonym(team["ben"])}


def test_a_name_is_given_by_choice_and_known_again(team, tmp_path):
    swap(team, tmp_path, ann="Ann")
    found = authors.authors(team["ben"])
    assert [(a.author, a.own, a.edits, a.taught) for a in found] == [
        (authors.pseudonym(team["ben"]), True, 12, 12),
        ("Ann", False, 12, 12),
    ]
    with Store.open(None) as laptop:  # another machine of hers
        exchange.load(laptop, tmp_path / "ann.jsonl")
        assert [authors.own(laptop, name)(e) for name in ("Ann", "") for e in laptop.edits(limit=1)] == [True, False]


def test_what_says_nobody_is_nobodys_own(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "x", "offered": "a b", "kept": "a c"}\n')
    with Store.open(None) as store:
        exchange.load(store, tmp_path / "in.jsonl")
        assert [(a.author, a.own) for a in authors.authors(store, "Ann")] == [("", False)]
        (edit,) = store.edits()
        assert not authors.own(store, "Ann")(edit)
        assert authors.own(store, "Ann")(replace(edit, origin="editor"))
        assert [e.author for e in authors.leaving(store, "Ann")] == [""]


def test_settings_of_people():
    assert settings("sft", "dpo", people="both").arms == {
        "sft": "sft", "dpo": "dpo", "sft_own": "sft", "dpo_own": "dpo",
    }  # fmt: skip
    assert settings("sft").arms == {"sft": "sft"}
    assert not settings("sft").is_own("sft")
    assert settings("sft", people="own").is_own("sft_own")
    with pytest.raises(ConfigError, match="people is 'all'"):
        settings("sft", people="all")
    with pytest.raises(ConfigError, match="another's name"):
        settings("sft", "sft_own", people="both")
