"""Pruning: the weights of versions that were replaced long ago go, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_calls import call, said
from filelock import FileLock
from store_rows import record

from learner import pruning, registry
from learner.forget import forget
from learner.pruning import Pruned, prune
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.store import Store

WEIGHTS = b"w" * 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    return tmp_path


@contextmanager
def store_of(home: Path) -> Iterator[Store]:
    with Store.open(home / "edits.db") as store:
        if not registry.runs(store):
            registry.start_run(store, Run("run", 10.0, None, "finished", "fp", {}, {}))
            record(store, id="o1")
        yield store


def add(store: Store, home: Path, name: str, state: AdapterState = AdapterState.RETIRED, base: str = "fp") -> Path:
    number = registry.next_version(store, name)
    folder = home / "adapters" / f"{name}-{number}"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    version = AdapterVersion(
        folder.name, name, number, name, base, AdapterForm.ALORA, state, str(folder), "abc", 20.0, "run", 1, {}, {}
    )
    registry.register(store, version, ["o1"])
    return folder


def there(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "adapters").iterdir())


def test_the_newest_replaced_versions_stay_and_all_that_are_not_replaced(home: Path) -> None:
    with store_of(home) as store:
        for _ in range(4):
            add(store, home, "sft")
        add(store, home, "sft", base="other")  # of another base: counted by itself
        add(store, home, "sft", AdapterState.SERVING)
        add(store, home, "sft", AdapterState.TRIAL)
        add(store, home, "sft", AdapterState.CANDIDATE)
        add(store, home, "dpo")
        before = registry.adapters(store)

        would = prune(store, home / "adapters", 2, dry_run=True)
        assert len(there(home)) == 9
        assert prune(store, home / "adapters", 2) == would == Pruned(("sft-1", "sft-2"), 2000)
        assert there(home) == ["dpo-1", "sft-3", "sft-4", "sft-5", "sft-6", "sft-7", "sft-8"]
        assert registry.adapters(store) == before, "what is known of them stays"
        seen = {a for (a,) in store.read("SELECT adapter_id FROM adapter_rows")}
        assert seen == set(there(home)), "which edits they saw goes with the weights"

        assert prune(store, home / "adapters", 2) == Pruned()
        assert prune(store, home / "adapters", 0).versions == ("dpo-1", "sft-3", "sft-4", "sft-5")
        forgotten = forget(store, everything=True)
        assert forgotten.adapters_retired == ("sft-6", "sft-7", "sft-8")
    assert there(home) == []


@pytest.mark.parametrize("then", ["prune", "forget"])
def test_what_a_kill_leaves_is_still_known_and_removed(home: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    def killed(path: Path) -> None:
        (path / "adapter_model.safetensors").unlink()
        raise KeyboardInterrupt

    with store_of(home) as store:
        folder = add(store, home, "sft")
        (folder / "adapter.gguf").write_bytes(WEIGHTS)
        with monkeypatch.context() as patched:
            patched.setattr(pruning.shutil, "rmtree", killed)
            with pytest.raises(KeyboardInterrupt):
                prune(store, home / "adapters", 0)
        assert [path.name for path in folder.iterdir()] == ["adapter.gguf"]
        assert store.read("SELECT adapter_id FROM adapter_rows") == [("sft-1",)]
        if then == "prune":
            assert prune(store, home / "adapters", 0).versions == ("sft-1",)
            assert store.read("SELECT adapter_id FROM adapter_rows") == []
        else:
            assert forget(store, everything=True).adapters_retired == ("sft-1",)
    assert there(home) == []


def test_what_lies_elsewhere_is_left_alone(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with store_of(home) as store:
        outside = add(store, elsewhere, "sft")
        link = add(store, home, "dpo")
        kept = link.rename(elsewhere / "kept")
        link.symlink_to(kept)
        found = prune(store, home / "adapters", 0)
    assert found.versions == ()
    assert len(found.left) == 2
    assert (outside / "adapter_model.safetensors").exists()
    assert (kept / "adapter_model.safetensors").exists()


def test_one_that_is_promoted_meanwhile_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store_of(home) as store:
        folder = add(store, home, "sft")
        chosen = pruning._old(store, 0)
        registry.set_state(store, "sft-1", AdapterState.SERVING)
        monkeypatch.setattr(pruning, "_old", lambda store, keep: chosen)
        assert prune(store, home / "adapters", 0) == Pruned()
    assert folder.exists()


def test_the_command(home: Path) -> None:
    with store_of(home) as store:
        for _ in range(5):
            folder = add(store, home, "sft")
    assert "sft-1, sft-2 (0.0 MB)" in call("adapters", "prune", "--dry-run").stdout
    assert said("adapters", "prune") == {"versions": ["sft-1", "sft-2"], "bytes": 2000, "left": []}
    assert there(home) == ["sft-3", "sft-4", "sft-5"]
    gone = call("adapters", "promote", "sft-1")
    assert gone.exit_code != 0
    assert "weights of sft-1 are gone" in " ".join(gone.output.split())

    with FileLock(home / "train.lock"):
        busy = call("adapters", "prune", "--keep", "0")
    assert busy.exit_code != 0
    assert "a training runs" in busy.output
    assert folder.exists()
    (home / "config.toml").write_text("keep_versions = -1\n")
    refused = call("adapters", "prune")
    assert refused.exit_code != 0
    assert "keep_versions" in refused.output
