"""Several processes train as one: the same adapter, and one end for all, whatever happens to one of them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from policies import kept_texts, rows

from learner.exceptions import TrainingError
from learner.training.logprobs import Text
from learner.training.processes import ALONE, World, follows, joined
from learner.training.sharding import portions

HERE = Path(__file__).parent
RANK = HERE / "rank.py"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ranks(scene, folder, count=2):
    """What each of `count` processes printed, and how it ended."""
    shared = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    started = [
        subprocess.Popen(
            [sys.executable, RANK, scene, folder],
            env={**shared, "RANK": str(i), "LOCAL_RANK": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]
    try:
        ended = [(*p.communicate(timeout=200), p.returncode) for p in started]
    finally:
        for process in started:
            process.kill()
    said = [json.loads(out.splitlines()[-1]) if out.strip() else {} for out, _, _ in ended]
    return said, [code for *_, code in ended], "\n".join(err[-3000:] for _, err, _ in ended)


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.nightly)])
def compared(request, tmp_path_factory):
    """What the first of two processes, and of three, says of every scene."""
    (said, *others), codes, err = ranks("compare", tmp_path_factory.mktemp("ranks"), count=request.param)
    assert codes == [0] * request.param, err
    assert not any(scene for other in others for scene in other.values())
    return said


def test_several_processes_make_the_adapter_of_one(compared):
    assert set(compared) >= {"sft", "dpo", "early_ensemble", "aligned", "rl", "split", "one row", "fast", "plain"}
    for scene, said in compared.items():
        assert said["moved"] > 1e-3, scene
        assert said["error"] < 0.01 * said["moved"], (scene, said)
        for name, near in {"losses": 1e-4, "norms": 1e-3}.items():
            assert said[name][0] == pytest.approx(said[name][1], rel=near), (scene, name)
        assert said["same everywhere"], scene
        assert said["tokens"][0] == said["tokens"][1], scene
        assert said["steps"][0] == said["steps"][1], scene


def test_all_train_as_the_first_says_and_as_the_smallest_can(tmp_path):
    (first, second), codes, err = ranks("obey", tmp_path)
    assert codes == [0, 0], err
    assert first == second
    assert first["same"]
    assert first["micro"][0] == first["micro"][1] < 4


def test_what_a_step_holds_at_once_grows_with_the_processes(compared):
    said = compared["split"]
    assert said["calls"] == [4, 2]
    assert len(said["losses"][0]) == 8  # each epoch two micro-batches, then two of which the last holds one row


@pytest.mark.slow
def test_an_error_of_one_is_heard_by_all_and_an_interrupt_ends_all(tmp_path):
    (first, second), codes, err = ranks("error interrupt", tmp_path)
    assert first["error"]["heard"].startswith("PeerError: OutOfMemoryError: no memory left here (process 1, on ")
    assert first["error"]["after"] == "onwards"
    assert first["interrupt"]["heard"].startswith("ProcessLostError: another process of this training ended"), err
    assert first["interrupt"]["lost"]
    assert second == {}
    assert codes[0] == 0
    assert codes[1] != 0


def test_a_process_that_is_killed_ends_the_others(tmp_path):
    (first, _), codes, err = ranks("death", tmp_path)
    assert first["death"]["heard"].startswith("ProcessLostError: another process of this training ended"), err
    assert codes == [0, -signal.SIGKILL]


def test_portions_are_whole_and_in_order():
    texts = kept_texts(rows(6))
    for size in (1, 2, 3, 6, 9):
        shares = portions(texts, size)
        assert len(shares) == size
        assert [t for share in shares for t in share] == texts
    heavy = [Text((1,), 0, (5,) * 90), *(Text((i,), 0, (5,) * 10) for i in range(2, 11))]
    first, second = portions(heavy, 2)
    assert [len(first), len(second)] == [1, 9]


def test_alone_nothing_is_exchanged():
    assert ALONE.leads
    assert ALONE.alone
    assert ALONE.share("own") == "own"
    assert ALONE.gather(3) == [3]
    with pytest.raises(KeyError, match="own"), ALONE.together():
        raise KeyError("own")
    with joined() as world:
        assert world is ALONE


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WORLD_SIZE": "2", "RANK": "1", "ACCELERATE_USE_FSDP": "true"}, "FSDP has no use here"),
        ({"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "True"}, "give --multi_gpu instead of --cpu"),
    ],
)
def test_launchers_that_do_not_fit_are_told(variables, words, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=words), joined():
        pytest.fail("it went on")


def test_an_mpi_launcher_is_understood(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert follows()
    with joined(meet=False) as world:
        assert world is ALONE
    assert not World(1, 2).leads
