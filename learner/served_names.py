"""The names under which adapters are served on another machine, such as `redraft-sft-3-9f86d081`.

There the version id alone (`sft-3`) says too little: every user has one, and a store that is begun anew
counts from 1 again. So the name carries the first eight hex digits of the SHA-256 that the registry
records: it is stable, and an adapter of that name is that adapter.
"""

from __future__ import annotations

import re

from learner.records import AdapterVersion

MARK_DIGITS = 8
_NAME = re.compile(rf"redraft-(?P<id>.+)-[0-9a-f]{{{MARK_DIGITS}}}")
_ZERO = "zero"


def served_name(adapter: AdapterVersion) -> str:
    """`redraft-ID-MARK`."""
    return f"redraft-{adapter.id}-{adapter.sha256[:MARK_DIGITS]}"


def zero_name(base_fingerprint: str) -> str:
    """The name of the untrained adapter that makes the base an arm like any other, per base model."""
    return f"redraft-{_ZERO}-{base_fingerprint[:MARK_DIGITS]}"


def is_served_name(name: str) -> bool:
    """Whether `name` has the form of a published adapter, anybody's."""
    return _NAME.fullmatch(name) is not None


def is_zero(name: str) -> bool:
    """Whether `name` is that of an untrained adapter."""
    found = _NAME.fullmatch(name)
    return name == _ZERO or (found is not None and found["id"] == _ZERO)
