"""Rewrites and drafts: asked for by a command, generated with progress, put in by `workspace/applyEdit`.

While the model thinks, the user goes on: the stretch that was selected is followed through every
change, and the answer is put where it is then. If the stretch itself changed, nothing is put in.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from learner.exceptions import RedraftError
from learner.records import Decision, Offer, Outcome, SettledBy, new_id
from lsp_server import offers
from lsp_server.delta import Position
from lsp_server.ghost import Ghost
from lsp_server.offers import Ask
from lsp_server.session import Pending, Session
from lsp_server.span import Span
from lsp_server.work import Work

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

logger = logging.getLogger(__name__)
_DEFINITION = re.compile(r"\s*(?:async\s+def|def|class)\b")


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where a text goes: it replaces `start` to `end`, between `lead` and `tail`."""

    start: Position
    end: Position
    lead: str
    text: str
    tail: str


async def rewrite(
    assistant: Assistant, uri: str, range_: types.Range, instruction: str, token: types.ProgressToken | None
) -> dict[str, Any]:
    """`redraft.rewrite`: the selection, rewritten by an instruction. Raises RedraftError, saying why not."""
    session, start, end = _selection(assistant, uri, range_)
    document = session.document
    text = document.slice(start, end)
    place = (*start, *end)
    ask = offers.rewrite(uri, document.language, session.workspace, document.version, place, text, instruction)
    return await _serve(assistant, session, ask, Span.placed(text, start, end), token, "Rewriting")


async def draft(
    assistant: Assistant, uri: str, range_: types.Range, kind: str, token: types.ProgressToken | None
) -> dict[str, Any]:
    """`redraft.draft`: a new text from the selected notes. Raises RedraftError, saying why not."""
    session, start, end = _selection(assistant, uri, range_)
    document = session.document
    notes = document.slice(start, end)
    place = (*start, *end)
    ask = offers.draft(uri, document.language, session.workspace, document.version, place, notes, kind)
    return await _serve(assistant, session, ask, Span.placed(notes, start, end), token, "Drafting", kind)


def _selection(assistant: Assistant, uri: str, range_: types.Range) -> tuple[Session, Position, Position]:
    paused = assistant.paused()
    if paused:
        raise RedraftError(f"Redraft is {paused}: run redraft.resume first")
    session = assistant.session(uri)
    start, end = session.document.from_client(range_.start), session.document.from_client(range_.end)
    if start >= end:
        raise RedraftError("nothing is selected: select the text to work on first")
    session.tracker.cursor = end
    return session, start, end


async def _serve(
    assistant: Assistant,
    session: Session,
    ask: Ask,
    selected: Span,
    token: types.ProgressToken | None,
    title: str,
    kind: str | None = None,
) -> dict[str, Any]:
    """Generate, then put in what came of it."""
    watch = new_id()
    session.watched[watch] = selected
    try:
        async with Work(assistant.server, title, token) as work:
            made = await offers.make(ask, assistant.host, assistant.recorder, on_text=work.text)
        if made is None:
            session.why = "the model had nothing to offer"
            raise RedraftError("the model had nothing to offer; try again with another selection or instruction")
        decision, offer = made
        if assistant.sessions.get(ask.uri) is not session or session.lost:
            raise RedraftError("the document was closed meanwhile; nothing was put in")
        now_selected = session.watched[watch]
        if now_selected.text != selected.offered:
            raise RedraftError("the selected text was changed meanwhile; nothing was put in")
    finally:
        session.watched.pop(watch, None)
    if kind is None:
        insertion = Insertion(now_selected.start, now_selected.end, "", _in(session, offer.offered), "")
    else:
        insertion, offer = below(session, now_selected, offer, kind)
    return await _put_in(assistant, session, decision, offer, insertion, selected.offered if kind is None else "")


def _in(session: Session, text: str) -> str:
    """A text with the document's own line ends."""
    return text.replace("\n", session.eol)


def below(session: Session, notes: Span, offer: Offer, kind: str) -> tuple[Insertion, Offer]:
    """Where a draft goes: a docstring under the definition, a commit message on top, all else under the notes."""
    document, eol = session.document, session.eol
    first = document.line(notes.start.line)
    if kind == "docstring" and document.language == "python" and _DEFINITION.match(first):
        line = _end_of_signature(session, notes.start.line)
        indent = re.match(r"\s*", first)[0].rstrip("\r\n") + "    "  # type: ignore[index]
        body = offer.offered.strip().strip('"').strip()
        body = f"\n{indent}".join(part.strip() for part in body.split("\n"))
        offer = replace(offer, offered=re.sub(r"[ \t]+\n", "\n", body))
        at = _line_end(session, line)
        return Insertion(at, at, f'{eol}{indent}"""', _in(session, offer.offered), '"""'), offer
    if kind == "commit" and document.language in ("git-commit", "gitcommit"):
        at = Position(0, 0)
        return Insertion(at, at, "", _in(session, offer.offered), eol), offer
    at = _line_end(session, notes.end.line if notes.end.char or notes.end == notes.start else notes.end.line - 1)
    return Insertion(at, at, eol + eol, _in(session, offer.offered), ""), offer


def _line_end(session: Session, line: int) -> Position:
    return Position(line, len(session.document.line(line).rstrip("\r\n")))


def _end_of_signature(session: Session, line: int) -> int:
    """The line on which the definition that begins on `line` ends with a colon (at most 30 lines down)."""
    for number in range(line, min(line + 30, session.document.line_count)):
        if session.document.line(number).split("#")[0].rstrip().endswith(":"):
            return number
    return line


async def _put_in(
    assistant: Assistant, session: Session, decision: Decision, offer: Offer, insertion: Insertion, original: str
) -> dict[str, Any]:
    """Record the offer, ask the client to put it in, and follow it from there."""
    document = session.document
    recorded = await assistant.recorder.offered(decision, offer)
    whole = insertion.lead + insertion.text + insertion.tail
    if recorded:
        place = Ghost(whole, insertion.start, insertion.end, document)
        session.pending[offer.id] = Pending(offer, place, insertion.lead, insertion.text, original)
    where = types.Range(start=document.to_client(insertion.start), end=document.to_client(insertion.end))
    version = document.version
    edit = types.TextEdit(range=where, new_text=whole)
    answer = await _apply(assistant, document.uri, version, edit)
    if offer.id in session.pending and (answer is None or not answer.applied):
        # declined by the user, unless the document changed under it: then nobody judged the offer
        declined = document.version == version
        session.drop_pending(offer.id, SettledBy.COMMAND, Outcome.REJECTED if declined else Outcome.CENSORED)
        assistant.drain(session)
    result = {"offerId": offer.id, "arm": offer.arm, "text": offer.offered, "recorded": recorded}
    if answer is None or not answer.applied:
        reason = (answer.failure_reason if answer else None) or "the editor declined"
        session.why = f"the editor did not put the text in: {reason}"
        return result | {"applied": False, "reason": reason}
    session.changed_at = time.monotonic()
    return result | {"applied": True}


async def _apply(
    assistant: Assistant, uri: str, version: int, edit: types.TextEdit
) -> types.ApplyWorkspaceEditResult | None:
    """`workspace/applyEdit`; None where the client raised instead of answering."""
    server = assistant.server
    workspace = server.client_capabilities.workspace
    capability = workspace.workspace_edit if workspace else None
    if capability is not None and capability.document_changes:
        identifier = types.OptionalVersionedTextDocumentIdentifier(uri=uri, version=version)
        changes = types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, [edit])])
    else:
        changes = types.WorkspaceEdit(changes={uri: [edit]})
    try:
        return await server.workspace_apply_edit_async(types.ApplyWorkspaceEditParams(edit=changes, label="Redraft"))
    except Exception as error:
        logger.warning("workspace/applyEdit for %s failed: %s", uri, error)
        return None


async def take_out(assistant: Assistant, session: Session, offer_id: str) -> bool:
    """`redraft.reject` of a text that stands: put back what was there before. False if the client declined."""
    span = session.tracker.open[offer_id].span
    document = session.document
    where = types.Range(start=document.to_client(span.start), end=document.to_client(span.end))
    answer = await _apply(
        assistant, document.uri, document.version, types.TextEdit(range=where, new_text=span.replaced)
    )
    taken = answer is not None and bool(answer.applied)
    if taken and offer_id in session.tracker.open:
        session.reject(offer_id)
        assistant.drain(session)
    return taken
