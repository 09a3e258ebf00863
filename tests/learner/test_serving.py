"""The model host as a process: started on demand, one per user, reloaded, killed, frozen, idle, stopped."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from host_arms import QUESTION, STORY, make_arms
from polling import until, until_async

from learner.client import Endpoint, HostClient
from learner.config import Config, HostConfig, Paths
from learner.exceptions import AdapterError, HostUnavailableError
from learner.launch import HostFile, read_host_file
from learner.serving import ArmSet, PrivateHost, ensure_host, host_status, published, stop_host

SERVE = Path(__file__).with_name("serve_arms.py")
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and Unix sockets")


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> ArmSet:
    return make_arms(tmp_path_factory.mktemp("arms"))


@dataclass
class Home:
    """An installation of its own, and how its host is started."""

    folder: Path
    idle_minutes: float = 0.0

    @property
    def paths(self) -> Paths:
        return Paths(self.folder, self.folder / "config.toml", self.folder / "run")

    @property
    def arms_file(self) -> Path:
        return self.folder / "arms.json"

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(SERVE), str(self.arms_file), str(self.folder), str(self.idle_minutes)]

    @property
    def log(self) -> str:
        return (self.paths.runtime / "host.log").read_text()

    def write(self, arms: ArmSet) -> None:
        adapters = {name: str(path) for name, path in arms.adapters.items()}
        body = {"gguf": str(arms.gguf), "fingerprint": arms.fingerprint, "zero": str(arms.zero_adapter)}
        fresh = self.folder / "arms.new"
        fresh.write_text(json.dumps({**body, "adapters": adapters}))
        fresh.replace(self.arms_file)

    async def ensure(self) -> Endpoint:
        return await ensure_host(self.paths, Config(), self.command, seconds=60)

    def host(self) -> HostFile:
        found = read_host_file(self.paths)
        assert found is not None
        return found

    def sockets(self) -> list[str]:
        return sorted(path.name for path in self.paths.runtime.glob("host-*.sock"))


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, arms: ArmSet) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("h"))
    home.write(arms)
    yield home
    stop_host(home.paths, 5)


async def text(endpoint: Endpoint, adapter: str | None = None) -> str:
    async with HostClient(endpoint) as client:
        return (await client.generate(QUESTION, adapter=adapter, max_tokens=6)).text


def one_adapter(arms: ArmSet, *names: str) -> ArmSet:
    return replace(arms, adapters={name: arms.adapters[name] for name in names})


async def test_started_on_demand_private_and_stopped(home: Home) -> None:
    assert published(home.paths) is None
    assert host_status(home.paths) is None
    endpoint = await home.ensure()
    assert await text(endpoint) != await text(endpoint, "a-1")
    assert published(home.paths) == endpoint
    assert await home.ensure() == endpoint
    status = host_status(home.paths)
    assert status is not None
    assert status["adapters"] == ["a-1", "b-1", "plain-1"]
    assert (status["health"], status["left_out"], status["generation"]) == ("well", {}, 1)
    assert endpoint.key
    assert endpoint.key not in json.dumps(status) + home.log
    if os.name == "posix":
        assert home.paths.runtime.stat().st_mode & 0o777 == 0o700
        assert home.paths.host_file.stat().st_mode & 0o777 == 0o600
    pid = status["pid"]
    engines = psutil.Process(pid).children()
    assert await asyncio.to_thread(stop_host, home.paths)
    assert not psutil.pid_exists(pid)
    assert not any(engine.is_running() for engine in engines)
    assert not home.paths.host_file.exists()
    assert home.sockets() == []
    assert not stop_host(home.paths)


async def test_fifty_simultaneous_starts_give_one_host(home: Home) -> None:
    ask = (
        "import asyncio, sys; from pathlib import Path; from learner.config import Config, Paths; "
        "from learner.serving import ensure_host; home = Path(sys.argv[1]); "
        "p = Paths(home, home / 'c', home / 'run'); "
        "print(asyncio.run(ensure_host(p, Config(), sys.argv[2:], 60)).socket)"
    )
    others = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", ask, str(home.folder), *home.command, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(5)
    ]
    here = await asyncio.gather(*(home.ensure() for _ in range(45)))
    there = [(await other.communicate())[0].decode().strip() for other in others]
    assert {str(endpoint.socket) for endpoint in here} | set(there) == {str(here[0].socket)}
    hosts = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[1:] == home.command[1:]]
    assert len(hosts) == 1
    assert home.host().generation == 1


@POSIX
async def test_after_kill_9_the_next_host_takes_over(home: Home) -> None:
    first = await home.ensure()
    host = psutil.Process(home.host().pid)
    (engine,) = host.children()
    host.kill()
    await until_async(lambda: not engine.is_running(), "the engine does not outlive its host", 10)
    assert first.socket is not None
    assert first.socket.exists(), "a stale socket is left"
    assert home.paths.host_file.exists()
    second = await home.ensure()
    assert second.socket != first.socket
    assert not first.socket.exists()
    assert await text(second)


@POSIX
async def test_a_killed_engine_is_replaced(home: Home) -> None:
    first = await home.ensure()
    (engine,) = psutil.Process(home.host().pid).children()
    async with HostClient(first) as client:
        begun = asyncio.Event()
        task = asyncio.create_task(
            client.generate(STORY, adapter=None, max_tokens=800, temperature=1.5, on_text=lambda _: begun.set())
        )
        await begun.wait()
        engine.kill()
        with pytest.raises(HostUnavailableError):
            await task
    await until_async(lambda: home.host().generation == 2, "another engine", 15)
    assert await text(await home.ensure())
    assert "ended by itself" in home.log


@POSIX
async def test_a_frozen_host_is_replaced(home: Home) -> None:
    await home.ensure()
    host = psutil.Process(home.host().pid)
    (engine,) = host.children()
    host.suspend()
    engine.suspend()
    second = await home.ensure()
    assert home.host().pid != host.pid
    assert not host.is_running()
    assert await text(second)
    engine.resume()
    await until_async(lambda: not engine.is_running(), "the frozen engine ends when it wakes", 10)


async def test_idle_exit_leaves_nothing(home: Home) -> None:
    home.idle_minutes = 0.03
    await home.ensure()
    pid = home.host().pid
    await until_async(lambda: not psutil.pid_exists(pid) or published(home.paths) is None, "idle exit", 15)
    await until_async(lambda: not home.paths.host_file.exists() and home.sockets() == [], "tidied up", 10)
    assert "idle for" in home.log
    assert await text(await home.ensure()), "and it is started again on demand"


async def test_a_request_keeps_an_idle_host_up(home: Home) -> None:
    home.idle_minutes = 0.02
    async with HostClient(await home.ensure()) as client:
        answer = await client.generate(STORY, adapter=None, max_tokens=250, temperature=1.5, seed=7)
    assert answer.latency_ms > 1200, "longer than the idle time, so this could fail"
    assert answer.completion_tokens > 100


@POSIX
async def test_reload_fails_no_request_in_flight(home: Home, arms: ArmSet) -> None:
    home.write(one_adapter(arms, "a-1"))
    first = await home.ensure()
    async with HostClient(first) as client:
        begun = asyncio.Event()
        task = asyncio.create_task(
            client.generate(STORY, adapter="a-1", max_tokens=150, temperature=1.5, on_text=lambda _: begun.set())
        )
        await begun.wait()
        home.write(one_adapter(arms, "a-1", "b-1"))
        os.kill(home.host().pid, signal.SIGHUP)
        await until_async(lambda: home.host().generation == 2, "a new engine", 15)
        second = await home.ensure()
        assert second.socket != first.socket
        assert await text(second, "b-1")
        assert (await task).completion_tokens > 0
        assert (await client.generate(QUESTION, adapter="a-1", max_tokens=2)).adapter == "a-1"
    await until_async(lambda: len(home.sockets()) == 1, "the old engine has left", 20)
    assert await text(second, "b-1")


async def test_a_damaged_adapter_is_left_out_and_named(home: Home, arms: ArmSet, tmp_path: Path) -> None:
    torn = tmp_path / "torn-2" / "adapter.gguf"
    torn.parent.mkdir()
    torn.write_bytes(arms.adapters["b-1"].read_bytes()[:50_000])
    home.write(replace(arms, adapters={"a-1": arms.adapters["a-1"], "torn-2": torn, "gone-1": tmp_path / "gone"}))
    endpoint = await home.ensure()
    assert home.host().adapters == ["a-1"]
    assert set(home.host().left_out) == {"torn-2", "gone-1"}
    assert "corrupted or incomplete" in home.host().left_out["torn-2"]
    assert "left out adapter torn-2" in home.log
    assert await text(endpoint) != await text(endpoint, "a-1")


async def test_whatever_goes_wrong_later_the_old_set_goes_on(home: Home, arms: ArmSet) -> None:
    home.write(one_adapter(arms, "a-1"))
    endpoint = await home.ensure()
    home.arms_file.write_text("{")
    await until_async(lambda: "goes on with what it serves: no base model" in home.log, "the complaint", 10)
    home.write(replace(one_adapter(arms, "b-1"), gguf=home.folder / "no-such.gguf"))
    await until_async(lambda: home.log.count("goes on with what it serves") == 2, "the second complaint", 15)
    assert published(home.paths) == endpoint
    assert await text(endpoint, "a-1")
    home.write(one_adapter(arms, "b-1"))
    await until_async(lambda: home.host().adapters == ["b-1"], "the mended set", 15)


async def test_a_host_that_cannot_start_says_why_and_is_not_tried_at_once_again(home: Home) -> None:
    home.arms_file.unlink()
    with pytest.raises(HostUnavailableError, match="run `learner setup`") as first:
        await home.ensure()
    logged = (home.paths.runtime / "host.log").stat().st_mtime_ns
    with pytest.raises(HostUnavailableError) as second:
        await home.ensure()
    assert str(second.value) == str(first.value)
    assert (home.paths.runtime / "host.log").stat().st_mtime_ns == logged, "nothing was started"


async def test_a_failed_start_is_tried_again_after_a_while(home: Home, arms: ArmSet) -> None:
    home.arms_file.unlink()
    with pytest.raises(HostUnavailableError):
        await home.ensure()
    home.write(arms)

    async def served() -> Endpoint | None:
        with contextlib.suppress(HostUnavailableError):
            return await home.ensure()
        return None

    assert await text(await until_async(served, "another try", 15))
    assert not (home.paths.runtime / "host-failed.json").exists()


async def test_a_host_by_url_starts_nothing(home: Home) -> None:
    config = Config(host=HostConfig(url="https://example.org/v1", api_key="k"))
    assert await ensure_host(home.paths, config, ["false"]) == Endpoint("https://example.org/v1", None, "k")
    assert not home.paths.runtime.exists()


@POSIX
def test_sigterm_is_a_clean_exit(home: Home) -> None:
    with subprocess.Popen(home.command, stderr=subprocess.PIPE) as process:
        until(lambda: home.paths.host_file.exists(), "serving", 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not home.paths.host_file.exists()
    assert home.sockets() == []


SIGNALLED = """
import os, runpy, signal, sys
from learner import supervisor
publish = supervisor.write_private
def and_signalled(path, body):
    publish(path, body)
    os.kill(os.getpid(), signal.SIGTERM)
supervisor.write_private = and_signalled
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@POSIX
def test_sigterm_in_the_moment_it_can_be_found_is_a_clean_exit_too(home: Home) -> None:
    command = [sys.executable, "-c", SIGNALLED, *home.command[1:]]
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
    assert not home.paths.host_file.exists()
    assert home.sockets() == []


def test_a_private_host_is_gone_afterwards(arms: ArmSet) -> None:
    before = {child.pid for child in psutil.Process().children()}
    with PrivateHost(one_adapter(arms, "a-1"), Config(slots=1, context=512)) as endpoint:
        assert asyncio.run(text(endpoint, "a-1"))
        assert endpoint.socket is None or endpoint.socket.parent.stat().st_mode & 0o077 == 0
    assert endpoint.socket is None or not endpoint.socket.parent.exists()
    assert {child.pid for child in psutil.Process().children()} == before


def test_a_private_host_refuses_a_damaged_adapter(arms: ArmSet, tmp_path: Path) -> None:
    torn = tmp_path / "adapter.gguf"
    torn.write_bytes(b"GGUF")
    with (
        pytest.raises(AdapterError, match="torn-2"),
        PrivateHost(replace(arms, adapters={"torn-2": torn}), Config(slots=1, context=512)),
    ):
        pytest.fail("not reached")
    assert not any(child.is_running() and "learner.engine" in child.cmdline() for child in psutil.Process().children())
