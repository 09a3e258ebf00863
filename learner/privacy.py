"""The privacy gate: what reaches neither a model, nor the store, nor a training.

One gate stands before all three, so that no surface can leak what another withholds. Built-in
exclusions always apply, in addition to the user's `.redraftignore` files.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pathspec import GitIgnoreSpec

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

_SECRETS = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",
    "an AWS secret": r"(?i:aws.{0,20}secret.{0,20})['\"=:\s]+[0-9a-zA-Z/+]{40}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})",
    "a GitLab token": r"\bgl(?:pat|ptt|dt|rt|soat|cbt)-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a Google OAuth token": r"\bya29\.[0-9A-Za-z_-]{20,}",
    "a Stripe key": r"\b(?:sk|rk)_(?:live|test)_[0-9a-zA-Z]{20,}",
    "a model provider's key": r"\bsk-(?:ant-|proj-|svcacct-|or-)?[A-Za-z0-9_-]{20,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "a Twilio key": r"\bSK[0-9a-f]{32}\b",
    "a DigitalOcean token": r"\bdo[opr]_v1_[a-f0-9]{64}\b",
    "an Azure storage key": r"(?i:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}",
    "a password in a URL": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>]{1,64}:[^\s/@'\"<>{}$]{3,}@[\w.-]+",
    "a bearer token": r"(?i:authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}",
    "an assigned secret": (
        r"(?i:\b[\w-]*(?:password|passwd|secret|api[_-]?key|auth[_-]?token|access[_-]?token|private[_-]?key)"
        r"['\"]?\s*(?::|=>?)\s*)(?:\"[^\"\s$<{]{8,}\"|'[^'\s$<{]{8,}')"
    ),
}
_ANY_SECRET = re.compile("|".join(f"(?P<k{i}>{pattern})" for i, pattern in enumerate(_SECRETS.values())))
_KINDS = tuple(_SECRETS)


def secret_in(text: str) -> str | None:
    """What kind of secret `text` seems to hold, in words; None where none was found."""
    found = _ANY_SECRET.search(text)
    return _KINDS[int(str(found.lastgroup)[1:])] if found else None


def redacted(text: str) -> str:
    """`text` with everything that looks like a secret blacked out, of the same length."""
    return _ANY_SECRET.sub(lambda match: re.sub(r"\S", "*", match[0]), text)


@lru_cache(maxsize=256)
def _ignore_rules(path: Path, modified_ns: int) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8", errors="replace").splitlines())


def file_path(uri: str) -> Path | None:
    """The path of a file: URI, None for any other (an untitled buffer)."""
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def excluded(uri: str) -> str | None:
    """Why a document is excluded, in words; None where it is not.

    Asks the built-in list, then the `.redraftignore` of every folder above the file.
    """
    path = file_path(uri)
    if path is None:
        return None
    if ALWAYS_EXCLUDED.match_file(str(path).lstrip("/")):
        return f"{path.name} is a file of a kind that holds secrets; Redraft never reads it"
    for folder in path.parents:
        ignore = folder / IGNORE_FILE
        try:
            modified = ignore.stat().st_mtime_ns
        except OSError:
            continue
        if _ignore_rules(ignore, modified).match_file(str(path.relative_to(folder))):
            return f"{path.name} is excluded by {ignore}"
    return None
