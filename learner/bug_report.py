"""What goes into a bug report: versions and findings, without user, host, paths and secrets."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from learner.config import Paths
from learner.privacy import redacted

PACKAGES = (
    "redraft", "xllamacpp", "torch", "transformers", "peft", "trl", "pygls", "lsprotocol", "sqlite-utils", "click",
)  # fmt: skip
_PATH = re.compile(r"""(?<![\w:/>])(?:~|/|[A-Za-z]:[\\/])[^\s'"`,;:()]*[\\/][^\s'"`,;:()]*""")
_URL = re.compile(r"\b(?:https?|file)://[^\s'\"`,;)]+")


def versions() -> dict[str, str]:
    """Installed version of every package that matters; those that are missing say so."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _names() -> list[str]:
    """Names that tell who this is. Empty where the system does not know."""
    names = [Path.home().name, socket.gethostname()]
    with contextlib.suppress(OSError, KeyError):
        names.append(getpass.getuser())
    return sorted({n for n in names if len(n) > 1}, key=len, reverse=True)


def bare(value: Any, paths: Paths) -> Any:
    """`value` (of dicts, lists, texts) with all that is personal replaced: our folders by their role."""
    if isinstance(value, Mapping):
        return {k: bare(v, paths) for k, v in value.items()}
    if isinstance(value, list):
        return [bare(v, paths) for v in value]
    if not isinstance(value, str):
        return value
    text = _URL.sub("<url>", redacted(value))
    known = {
        str(paths.config_file): "<settings>", str(paths.database): "<data>:edits.db", str(paths.runtime): "<runtime>",
        str(paths.data): "<data>", str(Path.home()): "~",
    }  # fmt: skip
    for path, role in known.items():
        if len(path) > 1:
            text = text.replace(path, role)
    text = re.sub(r"(<data>|<runtime>|~)[\\/][^\s'\"`,;:()]+", r"\1", text)
    text = _PATH.sub("<path>", text)
    for name in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text)
    return text


def as_text(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"- {name} {version}" for name, version in report["versions"].items()]
    for finding in report["findings"]:
        lines.append(f"- {finding['what']} ({finding['level']}): {finding['words']}")
    return "\n".join(lines)
