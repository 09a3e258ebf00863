"""Edits in and out as JSONL: one object a line, with the keys of the view `edits`.

An import needs only `prompt` (a string, chat messages, or what an export wrote), `offered` and
`kept`. Imported rows have no arm and no propensity: they teach the learner and not the bandit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rapidfuzz.distance import Levenshtein

from learner.cost import cost_max
from learner.exceptions import ImportFileError
from learner.privacy import secret_in
from learner.records import Message, Origin, Outcome, Prompt, SettledBy, Settlement, Task, now
from learner.store import EDIT_COLUMNS, Store, costs

_TEXTS = ("language", "document", "workspace", "author", "prompt_version", "finish_reason", "base_model", "engine")


def export(store: Store, out: TextIO, *, trl: bool = False) -> int:
    """Write every edit, streaming; the number of lines.

    With `trl`, writes `prompt`, `chosen` and `rejected` of the edited rows, for training elsewhere.
    """
    count = 0
    for edit in store.edits("outcome = 'edited' AND kept IS NOT NULL" if trl else "1"):
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
    if isinstance(value, str):
        if value.startswith('{"format"'):
            return Prompt.from_json(value)
        return Prompt((Message("user", value),))
    if isinstance(value, dict):
        return Prompt.from_json(json.dumps(value))
    if isinstance(value, list) and value:
        messages = []
        for message in value:
            role, content = message["role"], message["content"]
            if role not in ("system", "user", "assistant") or not isinstance(content, str):
                raise ValueError("each message of `prompt` needs a role (system, user, assistant) and a content")
            messages.append(Message(role, content))
        return Prompt(tuple(messages))
    raise ValueError("`prompt` should be a string or a list of chat messages")


def parse_line(line: str) -> tuple[dict[str, Any], Settlement]:
    """An import line as the row of an offer and its settlement. Raises ValueError saying what is wrong."""
    body = json.loads(line)
    if not isinstance(body, dict):
        raise ValueError("a line should be a JSON object")
    unknown = set(body) - set(EDIT_COLUMNS)
    if unknown:
        raise ValueError(f"unknown key(s) {', '.join(sorted(unknown))}; known are {', '.join(EDIT_COLUMNS)}")
    for key in ("prompt", "offered", "kept"):
        if key not in body:
            raise ValueError(f"`{key}` is missing")
    offered, kept = body["offered"], body["kept"]
    if not isinstance(offered, str) or not offered:
        raise ValueError("`offered` should be a text that is not empty")
    if kept is not None and not isinstance(kept, str):
        raise ValueError("`kept` should be a text, or null where nothing was kept")
    for key in _TEXTS:
        if body.get(key) is not None and not isinstance(body[key], str):
            raise ValueError(f"`{key}` should be a text")
    prompt = read_prompt(body["prompt"])
    found = secret_in(" ".join([*(m.content for m in prompt.messages), offered, kept or ""]))
    if found:
        raise ValueError(f"it holds what looks like {found}; remove it first")
    given = body.get("outcome")
    outcome = Outcome(given) if given else _outcome(offered, kept)
    created = body.get("created_at")
    digest = hashlib.sha256(json.dumps([prompt.to_json(), offered, kept]).encode()).hexdigest()
    text_of = {key: body.get(key) or "" for key in _TEXTS}
    text_of["document"] = text_of["document"] or f"import:{hashlib.sha256(prompt.to_json().encode()).hexdigest()[:16]}"
    offer = {
        "id": str(body.get("offer_id") or f"import-{digest[:32]}"),
        "created_at": float(created) if created is not None else now(),
        "task": Task(body.get("task") or Task.REWRITE),
        **text_of,
        "finish_reason": text_of["finish_reason"] or "stop",
        "origin": Origin.IMPORT,
        "version": 0,
        "range": "[0, 0, 0, 0]",
        "instruction": "",
        "prompt": prompt.to_json(),
        "generated": str(body.get("generated") or offered),
        "offered": offered,
        "prompt_tokens": 0,
        "completion_tokens": 0,
    }
    survived = _surviving(offered, kept) if outcome in (Outcome.EDITED, Outcome.ACCEPTED) else 0
    settlement = Settlement(
        offer["id"], outcome, SettledBy(body.get("settled_by") or SettledBy.COMMAND), now(),
        kept=kept, typed=body.get("typed"),
        kept_chars=survived, modified_chars=max(0, len(kept or "") - survived),
        deleted_chars=len(offered) - survived,
    )  # fmt: skip
    return offer, settlement


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
    """The lines of a file that are not blank, with their numbers from 1."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def load(store: Store, path: Path) -> tuple[int, int]:
    """Import a JSONL file, all of it or nothing: (imported, already there).

    Raises ImportFileError naming the file, the line and what is wrong with it.
    """
    imported = skipped = 0
    number = 0
    try:
        with store.transaction() as db:
            for number, line in lines(path):
                try:
                    offer, settlement = parse_line(line)
                except (ValueError, KeyError, TypeError) as error:
                    what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
                    raise ImportFileError(f"{path}, line {number}: {what}. Nothing of the file was imported") from error
                if db.execute("SELECT 1 FROM offers WHERE id = ?", [offer["id"]]).fetchone():
                    skipped += 1
                    continue
                db.table("offers").insert(offer)
                db.table("outcomes").insert(asdict(settlement) | costs(settlement, offer["offered"]))
                imported += 1
    except OSError as error:
        raise ImportFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ImportFileError(
            f"{path}, after line {number}: not UTF-8 ({error.reason}). Nothing was imported"
        ) from error
    return imported, skipped
