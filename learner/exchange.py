"""Edits in and out as JSONL: one object a line, with the keys of the view `edits` (`parquet.py`: as Parquet).

An import needs only `prompt` (a string, chat messages, or what an export wrote), `offered` and
`kept`. Imported rows have no arm and no propensity: they teach the learner and not the bandit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO, TypeVar

from rapidfuzz.distance import Levenshtein

from learner import parquet
from learner.cost import cost_max
from learner.exceptions import ImportFileError
from learner.privacy import secret_in
from learner.records import Edit, Message, Origin, Outcome, Prompt, SettledBy, Settlement, Task, now
from learner.store import EDIT_COLUMNS, Store, columns, costs, insert

_TEXTS = ("language", "document", "workspace", "author", "prompt_version", "finish_reason", "base_model", "engine")
_TAUGHT = (Outcome.ACCEPTED, Outcome.EDITED, Outcome.REJECTED)
_E = TypeVar("_E", bound=StrEnum)


def export(store: Store, out: TextIO, *, edits: Iterable[Edit] | None = None, trl: bool = False) -> int:
    """Write every edit as it stands, or those given (`authors.leaving`), streaming; the number of lines.

    With `trl`, writes `prompt`, `chosen` and `rejected` of the edited rows, for training elsewhere.
    """
    count = 0
    for edit in store.edits() if edits is None else edits:
        if trl and (edit.outcome != Outcome.EDITED or edit.kept is None):
            continue
        prompt = json.loads(edit.prompt)
        if trl:
            row: dict[str, Any] = {
                "prompt": prompt["messages"],
                "chosen": [{"role": "assistant", "content": edit.kept}],
                "rejected": [{"role": "assistant", "content": edit.offered}],
            }
        else:
            row = asdict(edit) | {"prompt": prompt}
        out.write(json.dumps(row, ensure_ascii=True) + "\n")
        count += 1
    return count


def read_prompt(value: Any) -> Prompt:
    """A prompt as an import may write it. Raises ValueError saying what was expected."""
    prefill = ""
    if isinstance(value, str):
        return Prompt((Message("user", value),))
    if isinstance(value, dict):
        if value.get("format") != "chat":
            raise ValueError('`prompt` as an object should have the format "chat", as an export writes it')
        prefill, value = value.get("prefill", ""), value.get("messages")
    if not isinstance(value, list) or not value or not isinstance(prefill, str):
        raise ValueError("`prompt` should be a string or a list of chat messages")
    messages = []
    for message in value:
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise ValueError("each message of `prompt` needs a role (system, user, assistant) and a content")
        messages.append(Message(role, content))
    return Prompt(tuple(messages), prefill)


def parse_line(line: str) -> tuple[dict[str, Any], Settlement | None]:
    """An import line as the row of an offer and its settlement (None where it never settled).

    Raises ValueError saying what is wrong.
    """
    body = _body(line)
    prompt = read_prompt(body["prompt"])
    offered, kept = body["offered"], body["kept"]
    digest = hashlib.sha256(json.dumps([prompt.to_json(), offered, kept]).encode()).hexdigest()
    texts = {key: body.get(key) or "" for key in _TEXTS}
    texts["document"] = texts["document"] or f"import:{hashlib.sha256(prompt.to_json().encode()).hexdigest()[:16]}"
    texts["finish_reason"] = texts["finish_reason"] or "stop"
    created = _number(body, "created_at")
    offer = {
        "id": body.get("offer_id") or f"import-{digest[:32]}",
        "created_at": now() if created is None else created,
        "task": _one_of(Task, body, "task") or Task.REWRITE,
        **texts,
        "origin": Origin.IMPORT,
        "version": 0,
        "range": "[0, 0, 0, 0]",
        "instruction": "",
        "prompt": prompt.to_json(),
        "generated": body.get("generated") or offered,
        "offered": offered,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "latency_ms": _number(body, "latency_ms"),
    }
    if "outcome" in body and body["outcome"] is None:
        if kept is not None:
            raise ValueError("`outcome` is null, as of an offer that never settled, but there is a `kept`")
        return offer, None
    outcome = _one_of(Outcome, body, "outcome") or _outcome(offered, kept)
    if outcome in _TAUGHT and outcome is not _outcome(offered, kept):
        raise ValueError(f"`outcome` is {outcome}, but by `offered` and `kept` it is {_outcome(offered, kept)}")
    survived = _surviving(offered, kept) if outcome in (Outcome.EDITED, Outcome.ACCEPTED) else 0
    settlement = Settlement(
        offer["id"], outcome, _one_of(SettledBy, body, "settled_by") or SettledBy.COMMAND, now(),
        kept=kept or None, typed=body.get("typed"),
        kept_chars=_count(body, "kept_chars", survived),
        modified_chars=_count(body, "modified_chars", max(0, len(kept or "") - survived)),
        deleted_chars=_count(body, "deleted_chars", len(offered) - survived),
        appended_chars=_count(body, "appended_chars", 0),
        shown_ms=_number(body, "shown_ms"),
    )  # fmt: skip
    return offer, settlement


def _body(line: str) -> dict[str, Any]:
    """A line as an object whose keys, texts and secrets are checked. Raises ValueError."""
    try:
        body = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("a line should be a JSON object")
    unknown = set(body) - set(EDIT_COLUMNS)
    if unknown:
        raise ValueError(f"unknown key(s) {', '.join(sorted(unknown))}; known are {', '.join(EDIT_COLUMNS)}")
    for key in ("prompt", "offered", "kept"):
        if key not in body:
            raise ValueError(f"`{key}` is missing")
    if not isinstance(body["offered"], str) or not body["offered"]:
        raise ValueError("`offered` should be a text that is not empty")
    if body["kept"] is not None and not isinstance(body["kept"], str):
        raise ValueError("`kept` should be a text, or null where nothing was kept")
    for key in (*_TEXTS, "offer_id", "generated", "typed"):
        if body.get(key) is not None and not isinstance(body[key], str):
            raise ValueError(f"`{key}` should be a text")
    texts = list(_texts(body))
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise ValueError("a text holds a lone surrogate (\\ud800 to \\udfff)") from None
    found = secret_in("\n".join(texts))
    if found:
        raise ValueError(f"it holds what looks like {found}; remove it first")
    return body


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _number(body: dict[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(f"`{key}` should be a number that is not negative")
    return float(value)


def _count(body: dict[str, Any], key: str, default: int) -> int:
    value = _number(body, key)
    return default if value is None else int(value)


def _one_of(kind: type[_E], body: dict[str, Any], key: str) -> _E | None:
    value = body.get(key)
    if value is None:
        return None
    if value not in list(kind):
        raise ValueError(f"`{key}` should be one of {', '.join(kind)}")
    return kind(value)


def _outcome(offered: str, kept: str | None) -> Outcome:
    if kept is None or kept == "":
        return Outcome.REJECTED
    return Outcome.ACCEPTED if cost_max(offered, kept) == 0 else Outcome.EDITED


def _surviving(offered: str, kept: str | None) -> int:
    """Characters of the offer that stand in the kept text, by the minimal edit script."""
    if kept is None:
        return 0
    return sum(block.size for block in Levenshtein.opcodes(offered, kept).as_matching_blocks())


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, with their numbers from 1.

    Raises ImportFileError where a line is not UTF-8.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ImportFileError(
                    f"{path}, line {number}: not UTF-8 ({error.reason}). Nothing of the file was imported"
                ) from error
            if line.strip():
                yield number, line


def load(store: Store, path: Path) -> tuple[int, int]:
    """Import a JSONL or Parquet file, all of it or nothing: (imported, already there).

    The file is read and checked first, and held in memory, so that editors wait for the writing
    alone. Raises ImportFileError naming the file, the line and what is wrong with it.
    """
    rows = []
    try:
        for number, line in parquet.lines(path) if path.suffix == parquet.SUFFIX else lines(path):
            try:
                offer, settlement = parse_line(line)
            except (ValueError, RecursionError) as error:
                raise ImportFileError(f"{path}, line {number}: {error}. Nothing of the file was imported") from error
            outcome = columns(settlement) | costs(settlement, offer["offered"]) if settlement else None
            rows.append((offer, outcome))
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror or error}") from error
    imported = 0
    with store.transaction() as db:
        for offer, outcome in rows:
            if db.execute("SELECT 1 FROM offers WHERE id = ?", [offer["id"]]).fetchone():
                continue
            insert(db, "offers", offer)
            if outcome:
                insert(db, "outcomes", outcome)
            imported += 1
    return imported, len(rows) - imported
