"""`accelerate launch ... -m learner train`, as docs/teams.md says it: one training, whoever starts it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file
from test_processes import free_port
from test_run import fill

from learner import registry
from learner.store import Store

TRAIN = ("-m", "learner", "train", "--feedback", "sft", "--feedback", "early_ensemble", "--epochs", "1", "--json")
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--mixed_precision", "no")


@pytest.fixture
def home(tiny_base):
    """A home with the tiny base and fourteen edits, in a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="rd-"))
    own = tiny_base.folder.parent  # others may have set more up beside it
    shutil.copytree(own, folder / "models" / own.name)
    with Store.open(folder / "edits.db") as store:
        fill(store)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def environment(home):
    return {**os.environ, "REDRAFT_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def weights(home, adapter_id):
    return load_file(home / "adapters" / adapter_id / "adapter_model.safetensors")


def test_two_processes_publish_what_one_does(home):
    with Store.open(home / "edits.db") as store:
        store.db.execute("VACUUM INTO ?", [str(home / "copy.db")])
    alone = subprocess.run(
        [sys.executable, *TRAIN], env=environment(home), capture_output=True, text=True, check=False, timeout=280
    )
    assert alone.returncode == 0, alone.stderr[-3000:]
    expected = {name: weights(home, f"{name}-1") for name in ("sft", "early_ensemble")}
    shutil.rmtree(home / "adapters")
    for file in home.glob("edits.db*"):
        file.unlink()
    (home / "copy.db").rename(home / "edits.db")

    command = [*LAUNCH, "--num_processes", "2", "--main_process_port", str(free_port()), *TRAIN]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)  # one process speaks
    assert [a["adapter_id"] for a in report["adapters"]] == ["sft-1", "early_ensemble-1"]
    assert {k: v["rows"] for k, v in zip("ab", report["adapters"], strict=True)} == {
        k: v["rows"] for k, v in zip("ab", json.loads(alone.stdout)["adapters"], strict=True)
    }
    for name, tensors in expected.items():
        found = weights(home, f"{name}-1")
        moved = max(float(t.abs().max()) for n, t in tensors.items() if "lora_B" in n)
        assert moved > 0
        for key, tensor in tensors.items():
            assert float((found[key] - tensor).abs().max()) < 0.01 * moved, (name, key)
    assert sorted(p.name for p in (home / "adapters").iterdir()) == ["early_ensemble-1", "sft-1"]
    with Store.open(home / "edits.db") as store:
        assert [r.status for r in registry.runs(store)] == ["finished"]


@pytest.mark.slow
def test_two_machines_of_which_one_is_killed_leave_nothing(home):
    """Two launchers, as on two machines; the second has a home without a store, and its training is killed."""
    second = Path(tempfile.mkdtemp(prefix="rd-"))
    shutil.copytree(home / "models", second / "models")
    port = str(free_port())
    machines = [
        subprocess.Popen(
            [*LAUNCH, "--num_machines", "2", "--num_processes", "2", "--machine_rank", str(rank),
             "--main_process_ip", "127.0.0.1", "--main_process_port", port,
             *(w if w != "1" else "100" for w in TRAIN)],
            env={**environment(where), "REDRAFT_PROGRESS": "json"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank, where in enumerate((home, second))
    ]  # fmt: skip
    try:
        said = []
        for line in machines[0].stderr:
            said.append(line)
            if '"Training sft (1 of 2)"' in line and '"share": 0.0' in line:  # in the steps
                for worker in psutil.Process(machines[1].pid).children(recursive=True):
                    worker.kill()
                break
        rest = machines[0].communicate(timeout=200)[1]
        assert machines[0].returncode != 0
        assert "another process of this training ended" in rest, "".join(said)[-2000:] + rest[-3000:]
    finally:
        for machine in machines:
            with contextlib.suppress(psutil.NoSuchProcess):
                for worker in psutil.Process(machine.pid).children(recursive=True):
                    worker.kill()
            machine.kill()
            machine.communicate()
        shutil.rmtree(second, ignore_errors=True)
    assert list((home / "adapters").iterdir()) == []
    with Store.open(home / "edits.db") as store:
        assert [r.status for r in registry.runs(store)] == ["failed"]
        assert registry.adapters(store) == []
