"""Where things live, and what config.toml may say."""

import os
import stat
from pathlib import Path

import pytest

from learner.config import SOCKET_PATH_LIMIT, Config, HostConfig, load, paths, private_folder, save
from learner.exceptions import ConfigError

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path))
    return tmp_path


def written(home, text):
    path = home / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_redraft_home_holds_everything(home):
    found = paths()
    assert found.database == home / "edits.db"
    assert (found.adapters, found.models) == (home / "adapters", home / "models")
    assert found.config_file == home / "config.toml"
    assert not list(home.iterdir())  # asking makes nothing


def test_without_it_the_platforms_folders_are_used(monkeypatch):
    monkeypatch.delenv("REDRAFT_HOME", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    found = paths()
    assert found.data.name == "redraft"
    assert found.config_file.name == "config.toml"
    assert found.config_file.parent.name == "redraft"


def test_a_long_home_gets_a_short_runtime_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / ("long" * 30)))
    first = paths()
    assert not first.runtime.is_relative_to(first.data)
    assert len(os.fsencode(first.runtime / "host-00000000.sock")) <= SOCKET_PATH_LIMIT
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / ("other" * 30)))
    assert paths().runtime != first.runtime


def test_no_file_means_defaults(home):
    assert load() == Config()
    assert load().feedback == ("sft", "dpo", "rl", "early_ensemble")


def test_settings_are_read(home):
    written(home, 'bandit = "ucb"\nslots = 2\n[host]\nurl = "http://localhost:8080"\napiKey = "k"\n')
    assert load() == Config(bandit="ucb", slots=2, host=HostConfig("http://localhost:8080", "k"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1\n", "colour"),
        ("[host]\nurls = 'x'\n", "urls"),
        ("slots = 'four'\n", "slots"),
        ("slots = '4'\n", "slots"),
        ("slots = true\n", "slots"),
        ("feedback = 'sft'\n", "feedback"),
        ("bandit = false\n", "bandit"),
        ("idle_minutes = 'false'\n", "idle_minutes"),
        ("slots = \n", "line 1"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(home, text, words):
    path = written(home, text)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "Mend the file" in str(caught.value)


def test_bytes_that_are_no_text_are_a_config_error(home):
    (home / "config.toml").write_bytes(b"base = '\xff'\n")
    with pytest.raises(ConfigError, match="Mend the file"):
        load()


def test_save_keeps_comments_and_other_keys(home):
    written(home, '# mine\nslots = 2 # few\nbandit = "ucb"\n')
    assert save(bandit="thompson", base="smollm2") == Config(slots=2, bandit="thompson", base="smollm2")
    text = (home / "config.toml").read_text(encoding="utf-8")
    assert text.startswith("# mine\nslots = 2 # few\n")
    assert load().base == "smollm2"


def test_save_refuses_what_load_would_and_leaves_the_file(home):
    path = written(home, "slots = 2\n")
    with pytest.raises(ConfigError, match="slots"):
        save(slots="many")
    assert path.read_text(encoding="utf-8") == "slots = 2\n"
    assert list(home.iterdir()) == [path]


@posix
def test_a_private_folder_is_ours_alone(tmp_path):
    made = private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    private_folder(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_in_place_of_the_folder_is_refused(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    with pytest.raises(ConfigError, match=r"is not a folder \(a link\?\)"):
        private_folder(link)


@posix
@pytest.mark.parametrize("inside", ["", "adapters"])
def test_a_file_in_place_of_the_folder_is_refused(tmp_path, inside):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        private_folder(tmp_path / "file" / inside)


@posix
def test_a_folder_of_somebody_else_is_refused(tmp_path):
    if os.getuid() == 0:
        folder = tmp_path / "theirs"
        folder.mkdir()
        os.chown(folder, 12345, 12345)
    else:
        folder = Path("/usr")  # root's, as on every system
    with pytest.raises(ConfigError, match="belongs to another user"):
        private_folder(folder)
