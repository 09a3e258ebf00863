"""One model host for all tests here; each has a home and a database of its own."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from learner.config import Config, Paths
from learner.launch import ensure_host, stop_host
from learner.models import BaseModel

sys.path.append(str(Path(__file__).parents[1] / "learner"))  # the scripted host


def share_models(base: BaseModel, home: Path) -> None:
    assert base.folder is not None
    folder = base.folder.parent

    def share(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            Path(target).symlink_to(source)

    shutil.copytree(folder, home / "models" / folder.name, copy_function=share)


@pytest.fixture(scope="session")
def warm(prepared_base: BaseModel) -> Iterator[Path]:
    """A home whose model host runs."""
    home = Path(tempfile.mkdtemp(prefix="rd-"))
    share_models(prepared_base, home)
    paths = Paths(home, home / "config.toml", home / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDRAFT_HOME", str(home))
        asyncio.run(ensure_host(paths, Config()))
    yield home
    stop_host(paths)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def home(warm: Path, prepared_base: BaseModel) -> Iterator[Path]:
    """A fresh home, served by the host that runs."""
    home = Path(tempfile.mkdtemp(prefix="rd-"))
    share_models(prepared_base, home)
    (home / "run").mkdir(mode=0o700)
    shutil.copyfile(warm / "run" / "host.json", home / "run" / "host.json")
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def bare() -> Iterator[Path]:
    """A home with nothing in it."""
    home = Path(tempfile.mkdtemp(prefix="rd-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def own(prepared_base: BaseModel) -> Iterator[Path]:
    """A fresh home that starts a model host of its own."""
    home = Path(tempfile.mkdtemp(prefix="rd-"))
    share_models(prepared_base, home)
    yield home
    stop_host(Paths(home, home / "config.toml", home / "run"))
    shutil.rmtree(home, ignore_errors=True)
