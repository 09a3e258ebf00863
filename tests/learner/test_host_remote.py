"""A second real llama.cpp server, in a process of its own, over TCP with a key: what `host.url` reaches.

And `llama-server` from PATH, which takes over where the wheel cannot be loaded.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_arms import QUESTION, make_arms

from learner.armset import ArmSet, start_engine
from learner.client import HostClient
from learner.config import Config, HostConfig, Paths
from learner.engine import Engine, EngineError, EngineSpec, common_params, llama_server_command, threads_for
from learner.exceptions import HostUnavailableError, UnknownArmError
from learner.serving import ensure_host

STAND_IN = '''#!{python}
"""`llama-server` by the wheel: the flags that Redraft gives, and no others."""
import argparse, os, sys, threading
import xllamacpp

flags = argparse.ArgumentParser(allow_abbrev=False)
for name in ("model", "alias", "host", "spec-type", "reasoning-format"):
    flags.add_argument("--" + name, required=True)
numbers = ("cache-ram", "parallel", "ctx-size", "threads", "threads-batch", "timeout", "log-verbosity")
for name in (*numbers, "spec-ngram-simple-size-n", "spec-ngram-simple-size-m"):
    flags.add_argument("--" + name, type=int, required=True)
for name in ("lora-init-without-apply", "no-ui", "no-slots", "metrics", "offline"):
    flags.add_argument("--" + name, action="store_true", required=True)
flags.add_argument("--lora", action="append", default=[])
flags.add_argument("--port", type=int, default=0)
given = flags.parse_args()
assert os.environ["LLAMA_API_KEY"] not in " ".join(sys.argv)
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = given.model, {{given.alias}}
params.hostnames, params.port, params.api_keys = [given.host], given.port, [os.environ["LLAMA_API_KEY"]]
params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in given.lora]
params.lora_init_without_apply, params.cache_ram_mib = True, given.cache_ram
params.n_parallel, params.n_ctx, params.verbosity = given.parallel, given.ctx_size, given.log_verbosity
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
params.endpoint_metrics, params.ui, params.fit_params = True, False, False
server = xllamacpp.Server(params)
threading.Event().wait()
'''


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> ArmSet:
    return make_arms(tmp_path_factory.mktemp("arms"))


@pytest.fixture(scope="module")
def remote(arms: ArmSet) -> Iterator[Engine]:
    engine, left_out = start_engine(arms, Config(slots=2, context=1024), None)
    assert left_out == {}
    yield engine
    engine.stop()


def configured(remote: Engine, key: str | None) -> Config:
    return Config(host=HostConfig(url=remote.endpoint.url, api_key=key))


def nowhere(tmp_path: Path) -> Paths:
    return Paths(tmp_path, tmp_path / "config.toml", tmp_path / "run")


async def test_by_url_with_a_key_and_adapters(remote: Engine, tmp_path: Path) -> None:
    endpoint = await ensure_host(nowhere(tmp_path), configured(remote, remote.endpoint.key))
    assert endpoint.socket is None
    async with HostClient(endpoint) as client:
        info = await client.connect()
        assert info.engine == "llama.cpp"
        assert set(info.adapters) == {"zero", "a-1", "b-1", "plain-1"}
        answers = {
            arm: await client.generate(QUESTION, adapter=arm, max_tokens=6) for arm in (None, "a-1", "b-1", "plain-1")
        }
        assert [answer.adapter for answer in answers.values()] == list(answers)
        assert len({answer.text for answer in answers.values()}) == 4


async def test_by_url_a_wrong_adapter_is_never_answered(remote: Engine, tmp_path: Path) -> None:
    before = remote.activity()
    async with HostClient(await ensure_host(nowhere(tmp_path), configured(remote, remote.endpoint.key))) as client:
        with pytest.raises(UnknownArmError, match=r"no adapter 'sft-9' \(it has: a-1, b-1, plain-1\)"):
            await client.generate(QUESTION, adapter="sft-9", max_tokens=6)
    assert before is not None
    assert remote.activity() == before


@pytest.mark.parametrize("key", [None, "a-wrong-key"])
async def test_by_url_with_a_wrong_key(remote: Engine, tmp_path: Path, key: str | None) -> None:
    async with HostClient(await ensure_host(nowhere(tmp_path), configured(remote, key))) as client:
        with pytest.raises(HostUnavailableError, match=r"refused the key.*host\.apiKey") as caught:
            await client.connect()
    assert "a-wrong-key" not in str(caught.value)


def spec(arms: ArmSet, tmp_path: Path, **changes: object) -> EngineSpec:
    body = {
        "model": str(arms.gguf), "alias": "fp", "adapters": tuple(str(path) for path in arms.files.values()),
        "key": "k-1", "socket": None, "slots": 1, "context": 512, "threads": 1,
    } | changes  # fmt: skip
    return EngineSpec(**body)  # type: ignore[arg-type]


async def test_one_client_keeps_activated_arms_apart_on_a_host_with_several_slots(arms: ArmSet, tmp_path: Path) -> None:
    """Somebody else's llama-server has four slots by default, and would answer half of these as the base."""
    engine = Engine.start(spec(arms, tmp_path, slots=4, context=256))
    try:
        async with HostClient(engine.endpoint) as client:
            ask = {"max_tokens": 3, "logprobs": 1}
            alone = {arm: await client.generate(QUESTION, adapter=arm, **ask) for arm in (None, "a-1")}
            asked = (None, "a-1", "a-1", "a-1") * 2
            together = await asyncio.gather(*(client.generate(QUESTION, adapter=arm, **ask) for arm in asked))
        assert [answer.text for answer in together] == [alone[arm].text for arm in asked]
    finally:
        engine.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="an executable script")
@pytest.mark.parametrize("by_socket", [True, False])
async def test_llama_server_from_path_takes_over(
    arms: ArmSet, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, by_socket: bool
) -> None:
    folder = tmp_path_factory.mktemp("p")
    program = folder / "llama-server"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(folder))
    socket = str(folder / "host.sock") if by_socket else None
    engine = Engine.start(spec(arms, folder, socket=socket, use="llama-server"))
    try:
        async with HostClient(engine.endpoint) as client:
            base = await client.generate(QUESTION, adapter=None, max_tokens=6)
            adapted = await client.generate(QUESTION, adapter="a-1", max_tokens=6)
        assert base.text != adapted.text
        activity = engine.activity()
        assert activity is not None
        assert activity.total > 0
    finally:
        engine.stop()
    assert not engine.alive


def test_where_nothing_can_serve_the_message_names_the_way_out(
    arms: ArmSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel that cannot be loaded (here: one that is shadowed by a broken one), and no `llama-server`."""
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('no wheel for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"no wheel for this machine.*host\.url"):
        Engine.start(spec(arms, tmp_path))


def test_an_engine_that_dies_of_a_signal_on_loading_falls_back(
    arms: ArmSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an old CPU does, by SIGILL."""
    (tmp_path / "xllamacpp.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"cannot run on this machine.*host\.url"):
        Engine.start(spec(arms, tmp_path))


def test_the_wheel_still_has_the_settings_we_rely_on(arms: ArmSet, tmp_path: Path) -> None:
    params = common_params(spec(arms, tmp_path, socket="/x/host.sock", slots=3))
    assert params.cache_ram_mib == 0
    assert params.lora_init_without_apply
    assert [adapter.path for adapter in params.lora_adapters] == [str(path) for path in arms.files.values()]
    assert (params.n_parallel, params.n_ctx) == (3, 3 * 512)
    assert params.hostnames == ["/x/host.sock"]
    assert params.api_keys == ["k-1"]
    assert (params.ui, params.endpoint_slots, params.endpoint_metrics) == (False, False, True)
    assert params.timeout_read == 10
    assert [kind.name for kind in params.speculative.types] == ["COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE"]


def test_the_key_is_in_no_command_line(arms: ArmSet, tmp_path: Path) -> None:
    assert "k-1" not in " ".join(llama_server_command(spec(arms, tmp_path), 80))


def test_one_core_is_left_free() -> None:
    assert threads_for(3) == 3
    assert threads_for(0) >= 1
