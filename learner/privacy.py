"""The privacy gate: what reaches neither a model, nor the store, nor a training.

One gate stands before all three, so that no surface can leak what another withholds. Built-in
exclusions always apply, in addition to the user's `.redraftignore` files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pathspec import GitIgnoreSpec

from learner.secret_kinds import COMPILED

IGNORE_FILE = ".redraftignore"
ALWAYS_EXCLUDED = GitIgnoreSpec.from_lines(
    [
        ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.asc",
        "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd",
        ".git-credentials", "credentials", "credentials.json", "secrets.*", ".ssh/", ".gnupg/", ".aws/", ".kube/",
        "*.tfstate", "*.tfvars", "wallet.dat",
    ]
)  # fmt: skip
"""Files that no setting can include."""

IGNORE_BYTES = 1_000_000
"""More than this is not read of a `.redraftignore`; the folder counts as excluded."""


@lru_cache(maxsize=8)
def secret_in(text: str) -> str | None:
    """What kind of secret `text` seems to hold, in words; None where none was found."""
    for what, _ in _found(text):
        return what
    return None


@lru_cache(maxsize=8)
def redacted(text: str) -> str:
    """`text` with everything that looks like a secret blacked out, of the same length.

    The last few are remembered: what stands above the line that is being typed is asked about at every letter.
    """
    found = [match.span() for _, match in _found(text)]
    for start, end in found:
        text = text[:start] + re.sub(r"\S", "*", text[start:end]) + text[end:]
    return text


def _found(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    lowered = text.lower()
    for what, hints, pattern in COMPILED:
        if any(hint in lowered for hint in hints):
            yield from ((what, match) for match in pattern.finditer(text))


@lru_cache(maxsize=256)
def _ignore_rules(path: Path, modified_ns: int, size: int) -> GitIgnoreSpec | None:
    """The rules of an ignore file; None where it cannot be read."""
    if size > IGNORE_BYTES:
        return None
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    rules = []
    for line in lines:
        with suppress(ValueError):  # a line that is no pattern excludes nothing, as with git
            GitIgnoreSpec.from_lines([line])
            rules.append(line)
    return GitIgnoreSpec.from_lines(rules)


def _local_path(uri: str) -> tuple[str, Path | None]:
    """Scheme of a URI, and its path if it has an absolute one. Raises ValueError for what is no URI."""
    parts = urlsplit(uri)
    text = unquote(parts.path)
    if "\0" in text:
        raise ValueError("a path cannot hold NUL")
    if os.name == "nt":
        text = text.removeprefix("/")
    path = Path(text)
    return parts.scheme, path if path.is_absolute() else None


def file_path(uri: str) -> Path | None:
    """The path of a file: URI, None for any other (an untitled buffer)."""
    try:
        scheme, path = _local_path(uri)
    except ValueError:
        return None
    return path if scheme == "file" else None


def excluded(uri: str) -> str | None:
    """Why a document is excluded, in words; None where it is not.

    Asks the built-in list, then the `.redraftignore` of every folder above the file, for the name
    that was given and for the file that a link leads to. Other schemes than file: (a notebook's
    cell, the old side of a diff) are judged by their path as well: excluded is excluded on every
    surface. No ignore file can take back what another one, or the list, excludes.
    """
    try:
        _, path = _local_path(uri)
    except ValueError as error:
        return f"{uri!r} is no address of a document ({error})"
    if path is None:
        return None
    reason = _excluded_path(path)
    if reason is None:
        with suppress(OSError, RuntimeError):
            real = os.path.realpath(path)
            reason = _excluded_path(Path(real)) if real != str(path) else None
    return reason


@lru_cache(maxsize=256)
def _always_excluded(path: str) -> bool:
    return bool(ALWAYS_EXCLUDED.match_file(path))


def _excluded_path(path: Path) -> str | None:
    if _always_excluded(path.as_posix().lower().lstrip("/")):
        return f"{path.name} is a file of a kind that holds secrets; Redraft never reads it"
    name = str(path)
    while (above := os.path.dirname(name)) != name:  # noqa: PTH120 - strings, since it is asked at every letter
        name = above
        try:
            status = os.stat(os.path.join(name, IGNORE_FILE))  # noqa: PTH116, PTH118
        except OSError:
            continue
        folder = Path(name)
        ignore = folder / IGNORE_FILE
        if not stat.S_ISREG(status.st_mode):
            continue
        rules = _ignore_rules(ignore, status.st_mtime_ns, status.st_size)
        if rules is None:
            return f"{ignore} cannot be read, so everything below it is excluded"
        if rules.match_file(path.relative_to(folder).as_posix()):
            return f"{path.name} is excluded by {ignore}"
    return None
