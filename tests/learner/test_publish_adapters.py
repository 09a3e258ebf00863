"""`learner adapters publish`: to a folder, to a running vLLM, and what a real llama-server makes of the folder."""

from __future__ import annotations

import asyncio
import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_calls import call, said
from host_arms import QUESTION, smollm2, write_adapter
from vllm_stub import LOAD, VLLM

from learner import registry
from learner.adapter_files import adapter_sha256
from learner.client import HostClient
from learner.engine import Engine, EngineSpec
from learner.exceptions import AdapterError
from learner.model_files import LAYOUT, Record, write_record
from learner.publishing import MANIFEST, prepare, write
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.serve_commands import vllm_command
from learner.store import Store

FINGERPRINT = "0f" * 32


def adapter_folder(folder: Path, seed: int, form: AdapterForm, rank: int = 4) -> Path:
    """As a training leaves it; the weights for vLLM are no weights, those for llama.cpp are real."""
    write_adapter(folder / "adapter.gguf", seed, 1.0, activated=form is AdapterForm.ALORA)
    (folder / "adapter_model.safetensors").write_bytes(b"weights %d" % seed)
    config = {"r": rank, "alora_invocation_tokens": [1, 2] if form is AdapterForm.ALORA else None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    origin = {"base": "small", "base_fingerprint": FINGERPRINT, "form": form}
    (folder / "origin.json").write_text(json.dumps(origin))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base with its zero adapter, `plain-1` and `act-1` that serve, and a candidate."""
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REDRAFT_HOST_KEY", raising=False)
    home = tmp_path / "home"
    model = home / "models" / "small"
    write_adapter(model / "zero" / "adapter.gguf", 0, 0.0)
    (model / "model.gguf").symlink_to(smollm2())
    record = Record(
        layout=LAYOUT, name="small", fingerprint=FINGERPRINT, source="x", source_files={}, files={}, folder="hf",
        gguf="model.gguf", zero_adapter="zero/adapter.gguf", invocation=[1, 2], trainable=True, convertible=True,
        notes=[], training_extra=True,
    )  # fmt: skip
    write_record(model, record)
    with Store.open(home / "edits.db") as store:
        registry.start_run(store, Run("run", 1.0, None, "running", FINGERPRINT, {}, {}))
    add(home, "plain", AdapterForm.LORA, 1)
    add(home, "act", AdapterForm.ALORA, 2)
    add(home, "late", AdapterForm.LORA, 3, AdapterState.CANDIDATE)
    return home


def add(
    home: Path, name: str, form: AdapterForm, seed: int, state: AdapterState = AdapterState.SERVING, rank: int = 4
) -> str:
    folder = adapter_folder(home / "adapters" / f"{name}-1", seed, form, rank)
    made = AdapterVersion(
        f"{name}-1", name, 1, name, FINGERPRINT, form, state, str(folder), adapter_sha256(folder), 1.0, "run", 10
    )
    with Store.open(home / "edits.db") as store:
        registry.register(store, made, [])
    return name


def found(home: Path, version: str) -> AdapterVersion:
    with Store.open(home / "edits.db", read_only=True) as store:
        return registry.find(store, version)


def name_of(home: Path, version: str) -> str:
    return f"redraft-{version}-{found(home, version).sha256[:8]}"


@contextmanager
def running(server: VLLM) -> Iterator[VLLM]:
    """A vLLM in a thread of its own: the command has a loop of its own."""
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        ready.set()
        await over.wait()
        listening.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()


# --- a folder -------------------------------------------------------------------------------------


def test_a_folder_gets_both_and_says_how_to_serve_each(home: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    report = said("adapters", "publish", "--to", str(shared))
    plain, act = name_of(home, "plain-1"), name_of(home, "act-1")
    zero = f"redraft-zero-{FINGERPRINT[:8]}"
    assert {row["name"]: row["status"] for row in report["adapters"]} == {plain: "written", act: "written"}
    assert sorted(p.name for p in shared.iterdir()) == sorted([plain, act, zero, MANIFEST]), "and nothing beside them"
    for version, name in (("plain-1", plain), ("act-1", act)):
        assert adapter_sha256(shared / name) == found(home, version).sha256
    assert json.loads((shared / MANIFEST).read_text())["adapters"] == [
        {"name": name, "base": "small", "base_fingerprint": FINGERPRINT, "form": form, "rank": 4, "gguf": True}
        for name, form in sorted([(plain, "lora"), (act, "alora")])
    ]
    assert shlex.split(report["commands"]["vllm"]) == [
        "vllm", "serve", str(home / "models" / "small" / "hf"), "--served-model-name", "small",
        "--generation-config", "vllm", "--enable-lora", "--max-loras", "1", "--max-lora-rank", "8",
        "--lora-modules", f"{plain}={shared / plain}",
    ]  # fmt: skip
    assert shlex.split(report["commands"]["llama-server"]) == [
        "llama-server", "--model", str(home / "models" / "small" / "model.gguf"), "--alias", "small",
        "--lora", f"{shared / zero}/adapter.gguf", "--lora", f"{shared / act}/adapter.gguf",
        "--lora", f"{shared / plain}/adapter.gguf", "--lora-init-without-apply", "--cache-ram", "0",
        "--parallel", "1", "--ctx-size", "4096", "--port", "8080",
    ]  # fmt: skip
    (why,) = report["left_out"]["vllm"].values()
    assert "act-1" in why
    assert "--form lora" in why
    assert report["left_out"]["llama-server"] == {}


def test_again_changes_nothing_and_a_damaged_copy_is_mended(home: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    said("adapters", "publish", "--to", str(shared))
    weights = shared / name_of(home, "plain-1") / "adapter_model.safetensors"
    weights.write_bytes(b"half")
    report = said("adapters", "publish", "--to", str(shared))
    assert {row["id"]: row["status"] for row in report["adapters"]} == {"act-1": "there already", "plain-1": "written"}
    assert weights.read_bytes() == b"weights 1"
    assert [p.name for p in shared.iterdir() if p.name.startswith(".")] == []


def test_a_copy_that_fails_leaves_what_was_there(home: Path, tmp_path: Path) -> None:
    publication = prepare(found(home, "plain-1"))
    (Path(publication.adapter.path) / "adapter_model.safetensors").write_bytes(b"changed since")
    with pytest.raises(AdapterError, match="not what was recorded"):
        write(publication, tmp_path / "shared")
    assert list((tmp_path / "shared").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(AdapterError, match="cannot be written"):
        write(publication, tmp_path / "file")


def test_a_dry_run_writes_nothing(home: Path, tmp_path: Path) -> None:
    report = said("adapters", "publish", "--to", str(tmp_path / "shared"), "--dry-run", "--seen-as", "/srv/lora")
    assert {row["status"] for row in report["adapters"]} == {"would be written"}
    assert "/srv/lora/redraft-plain-1-" in report["commands"]["vllm"]
    assert not (tmp_path / "shared").exists()


def test_words_for_people_hold_the_commands(home: Path, tmp_path: Path) -> None:
    result = call("adapters", "publish", "--to", str(tmp_path / "shared"))
    assert result.exit_code == 0
    assert "vllm serve" in result.stdout
    assert "llama-server --model" in result.stdout
    assert "Not for vllm: act-1 acts from the end of the prompt" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "said_why"),
    [
        (["act-1", "--engine", "vllm"], "--form lora"),
        (["late-1"], "promote late-1"),
        (["nobody-1"], "no adapter 'nobody-1'"),
        (["--through", "/x"], "goes with the URL"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(home: Path, tmp_path: Path, words: list[str], said_why: str) -> None:
    result = call("adapters", "publish", *words, "--to", str(tmp_path / "shared"))
    assert result.exit_code != 0
    assert said_why in " ".join(result.stderr.split())
    assert not (tmp_path / "shared").exists()


def test_redrafts_own_folder_is_no_destination(home: Path) -> None:
    result = call("adapters", "publish", "--to", str(home / "adapters"))
    assert result.exit_code == 2
    assert "Redraft's own" in " ".join(result.stderr.split())


def test_the_rank_that_vllm_is_started_with(home: Path) -> None:
    from learner import config, model_files

    base = model_files.current(config.paths(), config.Config())
    add(home, "wide", AdapterForm.LORA, 4, rank=33)
    publication = prepare(found(home, "wide-1"))
    command = vllm_command(base, [publication], Path("/x"))
    assert command[command.index("--max-lora-rank") + 1] == "64"


# --- a running vLLM -------------------------------------------------------------------------------


def test_a_running_vllm_is_told_to_load_what_it_lacks(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, shared = name_of(home, "plain-1"), tmp_path / "shared"
    monkeypatch.setenv("REDRAFT_HOST_KEY", "k-1")
    with running(VLLM(runtime_loading=True, key="k-1")) as server:
        words = ["adapters", "publish", "--to", server.url, "--through", str(shared)]
        assert said(*words, "--dry-run")["adapters"][0]["status"] == "would be loaded"
        assert server.asked == []
        assert not shared.exists()
        report = said(*words)
        assert [(row["name"], row["status"]) for row in report["adapters"]] == [(name, "loaded")]
        assert list(report["left_out"]["vllm"]) == ["act-1"]
        assert server.bodies(LOAD) == [{"lora_name": name, "lora_path": str(shared / name)}]
        assert server.adapters == {name: str(shared / name)}
        assert said(*words)["adapters"][0]["status"] == "there already"
        assert len(server.bodies(LOAD)) == 1


def test_on_this_machine_it_loads_from_where_the_adapter_is(home: Path) -> None:
    with running(VLLM(runtime_loading=True)) as server:
        said("adapters", "publish", "plain-1", "--to", server.url)
        assert list(server.adapters.values()) == [found(home, "plain-1").path]


def test_a_server_elsewhere_needs_a_folder_that_both_see(home: Path) -> None:
    result = call("adapters", "publish", "--to", "http://gpu.invalid:8000")
    assert result.exit_code == 2
    assert "--through" in result.stderr


def test_what_a_server_refuses_is_passed_on(home: Path) -> None:
    for state, words in (
        ({}, "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        ({"runtime_loading": True, "max_lora_rank": 2}, "greater than max_lora_rank 2"),
        ({"runtime_loading": True, "key": "k-1"}, "refused the key"),
    ):
        with running(VLLM(**state)) as server:  # type: ignore[arg-type]
            result = call("adapters", "publish", "--to", server.url)
            assert result.exit_code == 1
            assert words in " ".join(result.stderr.split())


# --- a real llama-server --------------------------------------------------------------------------


async def test_a_real_llama_server_started_with_what_is_published(home: Path, tmp_path: Path) -> None:
    """By TCP, with a key; each request chooses by the id that /lora-adapters gives the published name."""
    report = said("adapters", "publish", "--to", str(tmp_path / "shared"))
    given = shlex.split(report["commands"]["llama-server"])
    files = tuple(given[i + 1] for i, word in enumerate(given) if word == "--lora")
    assert len(files) == 3
    spec = EngineSpec(
        model=given[given.index("--model") + 1], alias="small", adapters=files, key="k-1", socket=None,
        slots=int(given[given.index("--parallel") + 1]), context=1024, threads=1,
    )  # fmt: skip
    ours = {name_of(home, version): version for version in ("plain-1", "act-1")}
    engine = await asyncio.to_thread(Engine.start, spec)
    try:
        async with HostClient(engine.endpoint, ours=ours) as client:
            info = await client.connect()
            assert (info.engine, dict(info.adapters)) == ("llama.cpp", {"zero": 0, "act-1": 1, "plain-1": 2})
            arms = (None, "plain-1", "act-1", None)
            answers = [await client.generate(QUESTION, adapter=arm, max_tokens=6, logprobs=1) for arm in arms]
            assert [answer.adapter for answer in answers] == list(arms)
            assert len({answer.text for answer in answers}) == 3
            assert answers[0].logprobs == answers[3].logprobs, "the base is the base again, exactly"
        async with HostClient(engine.endpoint, ours={}) as stranger:
            assert set((await stranger.connect()).adapters) == {"zero"}, "what is published is its owner's"
            base = await stranger.generate(QUESTION, adapter=None, max_tokens=6, logprobs=1)
            assert base.logprobs == answers[0].logprobs
    finally:
        await asyncio.to_thread(engine.stop)


def test_a_llama_server_loads_nothing_while_it_runs(home: Path) -> None:
    result = call("adapters", "publish", "--to", "http://127.0.0.1:1", "--engine", "llama-server")
    assert result.exit_code == 2
    assert "only when it starts" in " ".join(result.stderr.split())
