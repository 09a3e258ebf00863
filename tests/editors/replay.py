"""The text that a client's own messages say a document has: a mirror of our own, to compare editor and store with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from editor_client import offset_at
from lsp_tap import said
from lsprotocol import types


def text_of(log: Path, uri: str) -> str | None:
    """What `didOpen` and every `didChange` for `uri` add up to (UTF-16); None if it is not open."""
    text: str | None = None
    for message in said(log):
        params = message.get("params") or {}
        about = params.get("textDocument", {}).get("uri") if isinstance(params, dict) else None
        if about != uri:
            continue
        if message["method"] == types.TEXT_DOCUMENT_DID_OPEN:
            text = params["textDocument"]["text"]
        elif message["method"] == types.TEXT_DOCUMENT_DID_CLOSE:
            text = None
        elif message["method"] == types.TEXT_DOCUMENT_DID_CHANGE:
            assert text is not None
            for change in params["contentChanges"]:
                text = changed(text, change)
    return text


def changed(text: str, change: dict[str, Any]) -> str:
    if "range" not in change:
        return str(change["text"])
    start, end = (
        offset_at(text, types.Position(change["range"][side]["line"], change["range"][side]["character"]), "utf-16")
        for side in ("start", "end")
    )
    return text[:start] + str(change["text"]) + text[end:]
