"""Rewrites and drafts: asked for by a command, generated with progress, put in by `workspace/applyEdit`.

While the model thinks, the user goes on: the stretch that was selected is followed through every
change, and the answer is put where it is then. If the stretch itself changed, nothing is put in.
A client may ask for a preview: then the offer waits until the user has seen it and applies it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from learner.exceptions import RedraftError
from learner.records import Decision, Offer, Outcome, SettledBy, new_id
from lsp_server import offers, placement
from lsp_server.ghost import Ghost
from lsp_server.offers import Ask, Place
from lsp_server.session import Session
from lsp_server.shown import Pending, Preview
from lsp_server.span import Span
from lsp_server.work import Work

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """How an offer is wanted: where progress goes, and whether the user looks at it before it is put in."""

    token: types.ProgressToken | None = None
    preview: bool = False


async def rewrite(assistant: Assistant, uri: str, range_: types.Range, instruction: str, wish: Wish) -> dict[str, Any]:
    """`redraft.rewrite`: the selection, rewritten by an instruction. Raises RedraftError, saying why not."""
    session, place, text, span = _selection(assistant, uri, range_)
    return await _serve(assistant, session, offers.rewrite(place, text, instruction), span, None, wish)


async def draft(assistant: Assistant, uri: str, range_: types.Range, kind: str, wish: Wish) -> dict[str, Any]:
    """`redraft.draft`: a new text from the selected notes. Raises RedraftError, saying why not."""
    session, place, notes, span = _selection(assistant, uri, range_)
    return await _serve(assistant, session, offers.draft(place, notes, kind), span, kind, wish)


async def apply(assistant: Assistant, offer_id: str) -> dict[str, Any]:
    """`redraft.apply`: put a previewed offer in. Raises RedraftError where there is none, or its text changed."""
    for session in assistant.sessions.values():
        preview = session.previews.get(offer_id)
        if preview is None:
            continue
        try:
            selected = _still_there(session, offer_id)
        except RedraftError as error:
            session.drop_preview(offer_id, SettledBy.SUPERSEDED)
            assistant.drain(session)
            session.why = str(error)
            raise
        del session.previews[offer_id], session.watched[offer_id]
        return await _put_in(assistant, session, preview, selected)
    raise RedraftError(f"no offer {offer_id} waits to be put in: it was applied or rejected before, or never made")


def _selection(assistant: Assistant, uri: str, range_: types.Range) -> tuple[Session, Place, str, Span]:
    """Where the selected text is, what it says, and its span.

    Without the white space around it: a selected line takes its line end along.
    """
    paused = assistant.paused()
    if paused:
        raise RedraftError(f"Redraft is {paused}: run redraft.resume first")
    session = assistant.session(uri)
    document = session.document
    start, end = document.from_client(range_.start), document.from_client(range_.end)
    if start > end:
        raise RedraftError(f"the range ends at {tuple(end)} before it begins at {tuple(start)}")
    text = document.slice(start, end)
    core = text.strip()
    if not core:
        raise RedraftError("nothing is selected: select the text to work on first")
    start = document.after(start, text.index(core))
    end = document.after(start, len(core))
    session.tracker.cursor = end
    place = Place(uri, document.language, session.workspace, document.version, (*start, *end))
    return session, place, core, Span.placed(core, start, end)


async def _serve(
    assistant: Assistant, session: Session, ask: Ask, selected: Span, kind: str | None, wish: Wish
) -> dict[str, Any]:
    """Generate, record, then put in what came of it or show it; `kind` of a draft, None for a rewrite."""
    watch = new_id()
    session.watched[watch] = selected
    try:
        async with Work(assistant.server, "Drafting" if kind else "Rewriting", wish.token) as work:
            made = await offers.make(ask, assistant.host, assistant.recorder, on_text=work.text)
        if made is None:
            raise RedraftError("the model had nothing to offer; try again with another selection or instruction")
        decision, offer = made
        if offer.offered == offers.readable(selected.offered):
            raise RedraftError("the model left the text as it is; try another instruction")
        _open_still(assistant, session, ask)
        _still_there(session, watch)
        if kind is not None:
            offer = placement.shaped(session, session.watched[watch], offer, kind)
        recorded = await _record(assistant, session, decision, offer)
        try:
            _open_still(assistant, session, ask)
            now_selected = _still_there(session, watch)
        except RedraftError:
            if recorded:
                session.unseen(offer.id, SettledBy.SUPERSEDED)
                assistant.drain(session)
            raise
    except RedraftError as error:
        session.why = str(error)
        raise
    finally:
        session.watched.pop(watch, None)
    preview = Preview(offer, kind, recorded, time.monotonic())
    if not wish.preview:
        return await _put_in(assistant, session, preview, now_selected)
    session.previews[offer.id] = preview
    session.watched[offer.id] = now_selected
    session.why = ""
    return _shown(session, preview, now_selected)


def _shown(session: Session, preview: Preview, selected: Span) -> dict[str, Any]:
    """What a client needs to show an offer before it is put in."""
    document, insertion = session.document, placement.insertion(session, preview, selected)
    start, end = document.to_client(insertion.start), document.to_client(insertion.end)
    return _result(preview, applied=False) | {
        "uri": document.uri,
        "range": {
            "start": {"line": start.line, "character": start.character},
            "end": {"line": end.line, "character": end.character},
        },
        "newText": insertion.whole,
    }


def _result(preview: Preview, *, applied: bool) -> dict[str, Any]:
    offer = preview.offer
    return {
        "offerId": offer.id,
        "arm": offer.arm,
        "text": offer.offered,
        "recorded": preview.recorded,
        "applied": applied,
    }


def _open_still(assistant: Assistant, session: Session, ask: Ask) -> None:
    """Raises RedraftError if the document is not followed any more."""
    if assistant.sessions.get(ask.place.uri) is not session:
        raise RedraftError("the document was closed meanwhile; nothing was put in")


def _still_there(session: Session, watch: str) -> Span:
    """The selected text where it is now. Raises RedraftError if it is not what the model saw."""
    if session.lost:
        raise RedraftError("the document was closed meanwhile; nothing was put in")
    found = session.watched[watch]
    if not found.untouched:
        raise RedraftError("the selected text was changed meanwhile; nothing was put in")
    return found


async def _record(assistant: Assistant, session: Session, decision: Decision, offer: Offer) -> bool:
    """Record an offer, whole even if the request is cancelled meanwhile: then nobody saw it."""
    task = asyncio.ensure_future(assistant.recorder.offered(decision, offer))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if await task:
            session.unseen(offer.id, SettledBy.COMMAND)
            assistant.drain(session)
        raise


async def _put_in(assistant: Assistant, session: Session, preview: Preview, selected: Span) -> dict[str, Any]:
    """Ask the client to put an offer in, and follow it from there."""
    document, offer = session.document, preview.offer
    insertion = placement.insertion(session, preview, selected)
    original = "" if preview.kind else selected.offered
    if preview.recorded:
        place = Ghost(insertion.whole, insertion.start, insertion.end, document)
        session.pending[offer.id] = Pending(
            offer, place, insertion.lead, insertion.text, insertion.tail, original, time.monotonic()
        )
    where = types.Range(start=document.to_client(insertion.start), end=document.to_client(insertion.end))
    version = document.version
    edit = types.TextEdit(range=where, new_text=insertion.whole)
    answer = await _apply(assistant, document.uri, version, edit)
    applied = answer is not None and bool(answer.applied)
    if offer.id in session.pending and not applied:
        # declined by the user, unless the document changed under it: then nobody judged the offer
        declined = document.version == version and answer is not None
        session.drop_pending(offer.id, SettledBy.COMMAND, Outcome.REJECTED if declined else Outcome.CENSORED)
        assistant.drain(session)
    result = _result(preview, applied=applied)
    if applied:
        session.why = ""
        return result
    reason = (answer.failure_reason if answer else "it answered with an error") or "it declined"
    session.why = f"the editor did not put the text in: {reason}"
    return result | {"reason": session.why}


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
    start, end = span.start, span.end
    lead, tail = session.framed.get(offer_id, ("", ""))
    before, after = document.before(start, len(lead)), document.after(end, len(tail))
    if document.slice(before, start) == lead and document.slice(end, after) == tail:
        start, end = before, after
    where = types.Range(start=document.to_client(start), end=document.to_client(end))
    edit = types.TextEdit(range=where, new_text=span.replaced)
    answer = await _apply(assistant, document.uri, document.version, edit)
    taken = answer is not None and bool(answer.applied)
    if taken and offer_id in session.tracker.open:
        session.reject(offer_id)
        assistant.drain(session)
    return taken
