"""Where Redraft keeps what, and the user's settings.

Data lives in the platform's user-data folder for `redraft`, or in `$REDRAFT_HOME`, which also
holds the settings and the runtime folder then. Folders are made 0700 and must belong to the user.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import platformdirs

from learner.endpoint import EngineKind
from learner.exceptions import ConfigError

SOCKET_PATH_LIMIT = 100
"""Bytes; Unix sockets fail past 104 (macOS) or 108 (Linux), terminator included."""
PROGRESS_VARIABLE = "REDRAFT_PROGRESS"
"""Set to `json` in the environment of a command: its progress is lines `{"words", "share"}` on standard error."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and folders of one installation."""

    data: Path
    config_file: Path
    runtime: Path

    @property
    def database(self) -> Path:
        """`edits.db`."""
        return self.data / "edits.db"

    @property
    def adapters(self) -> Path:
        """One folder per adapter version."""
        return self.data / "adapters"

    @property
    def models(self) -> Path:
        """One folder per prepared base model."""
        return self.data / "models"

    @property
    def host_file(self) -> Path:
        """`host.json`: where the running model host listens, and its key."""
        return self.runtime / "host.json"

    @property
    def host_lock(self) -> Path:
        """The lock that the one model host per user holds."""
        return self.runtime / "host.lock"


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A model host by URL; without `url` the embedded one is started on demand."""

    url: str | None = None
    api_key: str | None = None
    kind: EngineKind | None = None
    """Which server it is; by default it is asked. For a gateway that does not pass on what its server says."""
    model: str | None = None
    """The base's served name where the server has several models; by default the first that is no adapter."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`config.toml`. Unknown keys and wrong types are refused."""

    base: str | None = None
    """Name of the base model that serves and trains, as `learner setup` lists it."""
    host: HostConfig = HostConfig()
    bandit: str = "thompson"
    feedback: tuple[str, ...] = ("sft", "dpo", "rl", "early_ensemble")
    disabled_plugins: tuple[str, ...] = ()
    author: str = ""
    """Your name on edits that you export; without one they bear a pseudonym."""
    people: Literal["shared", "own", "both"] = "shared"
    """Whose edits `learner train` learns from: everybody's, your own, or an adapter of each."""
    keep_versions: Annotated[int, msgspec.Meta(ge=0)] = 3
    """Replaced versions of each adapter whose weights stay, to go back to; a training removes older ones."""
    threads: int = 0
    """Threads of the model host; 0 leaves one core free, without which any other load slows it many times over."""
    slots: int = 4
    """Requests that the model host answers at once; always 1 with activated adapters, which llama.cpp mixes up."""
    context: int = 4096
    """Tokens of context per slot."""
    idle_minutes: float = 15.0
    """The model host exits after this long without a request; 0 never."""


def paths() -> Paths:
    """The paths of this user's installation. Makes nothing; see `private_folder`."""
    home = os.environ.get("REDRAFT_HOME")
    if home:
        root = Path(home).expanduser().absolute()
        runtime = root / "run"
        if len(os.fsencode(runtime / "host-00000000.sock")) > SOCKET_PATH_LIMIT:
            short = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
            runtime = _platform_runtime() / short
        return Paths(root, root / "config.toml", runtime)
    return Paths(
        Path(platformdirs.user_data_dir("redraft", appauthor=False)),
        Path(platformdirs.user_config_dir("redraft", appauthor=False)) / "config.toml",
        _platform_runtime(),
    )


def _platform_runtime() -> Path:
    with warnings.catch_warnings():
        # where there is no session (a container, cron) platformdirs falls back to a folder in /tmp, and warns
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        return Path(platformdirs.user_runtime_dir("redraft", appauthor=False))


def private_folder(path: Path) -> Path:
    """Make `path` (and its parents) if needed, readable by its user only.

    Raises ConfigError when it is not a folder or belongs to somebody else.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(
            f"{error.filename} is not a folder (a link?): remove it, or point REDRAFT_HOME elsewhere"
        ) from error
    if os.name == "posix":
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path} is not a folder (a link?): remove it, or point REDRAFT_HOME elsewhere")
        if status.st_uid != os.getuid():
            raise ConfigError(f"{path} belongs to another user: point REDRAFT_HOME to a folder of your own")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    return path


def load(path: Path | None = None) -> Config:
    """Read `config.toml`; defaults where there is none.

    Raises ConfigError that names the file, the key and what was expected.
    """
    path = path or paths().config_file
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except FileNotFoundError:
        return Config()
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}. Mend the file, or remove it to go back to the defaults") from error


def save(**changes: object) -> Config:
    """Set top-level keys in `config.toml`, keeping its comments; the result must be valid."""
    import tomlkit

    path = paths().config_file
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    document.update(changes)
    text = tomlkit.dumps(document)
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    private_folder(path.parent)
    temporary = path.with_suffix(".toml.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return config
