"""Fixtures that all tests share: the prepared base model, a fresh home, a tiny random Llama."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from learner.config import Paths
from learner.models import BaseModel, setup

# Before anything imports transformers. No test reaches the network or the developer's own data.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # workers share the cores; more threads than cores wait for each other
os.environ.pop("REDRAFT_HOME", None)


def pytest_configure(config: pytest.Config) -> None:
    home = tempfile.mkdtemp(prefix="rd-")
    os.environ["REDRAFT_HOME"] = home
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


def paths_of(home: Path) -> Paths:
    return Paths(home, home / "config.toml", home / "run")


@pytest.fixture(scope="session")
def prepared_base(pytestconfig: pytest.Config) -> BaseModel:
    """SmolLM2, prepared once in a folder that outlives the test run (setup takes its own file lock)."""
    cache = os.environ.get("REDRAFT_TEST_CACHE") or pytestconfig.rootpath / "build" / "test-home"
    return setup(None, paths_of(Path(cache).absolute()), lambda words, share: None)


@pytest.fixture
def redraft_home(prepared_base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh REDRAFT_HOME with the base set up, in a path short enough for a socket."""
    home = Path(tempfile.mkdtemp(prefix="rd-"))
    monkeypatch.setenv("REDRAFT_HOME", str(home))
    assert prepared_base.folder is not None
    prepared_folder = prepared_base.folder.parent
    shutil.copytree(prepared_folder, home / "models" / prepared_folder.name, copy_function=_share)
    yield home
    shutil.rmtree(home, ignore_errors=True)


def _share(source: str, target: str) -> None:
    """Hard-link a file, or symlink it across file systems: weights are large, and nobody writes to them."""
    try:
        os.link(source, target)
    except OSError:
        Path(target).symlink_to(source)


@pytest.fixture(scope="session")
def tiny_llama(prepared_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder: a random Llama (2 layers, hidden 64) with SmolLM2's tokenizer and chat template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    assert prepared_base.folder is not None
    folder = tmp_path_factory.mktemp("tiny-llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(prepared_base.folder / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The home in which `tiny_base` is set up."""
    return paths_of(tmp_path_factory.mktemp("tiny-home"))


@pytest.fixture(scope="session")
def tiny_base(tiny_llama: Path, tiny_home: Paths) -> BaseModel:
    """The tiny random Llama as a base model that is set up: trained, converted and served like any other."""
    return setup(str(tiny_llama), tiny_home, lambda words, share: None)


@dataclass(frozen=True)
class Repository:
    """A git repository, and git in it."""

    folder: Path

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(self.folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A fresh repository with one commit on `main`."""
    made = Repository(tmp_path / "repository")
    made.folder.mkdir()
    made.git("init", "-q", "-b", "main")
    made.git("commit", "-q", "--allow-empty", "-m", "First")
    return made
