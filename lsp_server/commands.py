"""The commands of `workspace/executeCommand`: their arguments, checked, and what they do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from learner.exceptions import RedraftError
from learner.records import SettledBy, now
from lsp_server import drafting
from lsp_server import status as states
from lsp_server.protocol import plain

if TYPE_CHECKING:
    from lsp_server.server import RedraftServer

A = TypeVar("A", bound=msgspec.Struct)
Command = Callable[["RedraftServer", types.ExecuteCommandParams], Awaitable[Any]]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Arguments arrive as one object; unknown keys are refused."""


class Place(msgspec.Struct, frozen=True):
    """An LSP position."""

    line: int
    character: int


class Stretch(msgspec.Struct, frozen=True):
    """An LSP range."""

    start: Place
    end: Place

    def lsp(self) -> types.Range:
        """As lsprotocol has it. Raises RedraftError for numbers that are no positions."""
        numbers = (self.start.line, self.start.character, self.end.line, self.end.character)
        if any(not 0 <= n < 2**31 for n in numbers):
            raise RedraftError(f"range {numbers} holds a number that is no position")
        return types.Range(
            start=types.Position(line=self.start.line, character=self.start.character),
            end=types.Position(line=self.end.line, character=self.end.character),
        )


class RewriteArguments(_Strict, frozen=True):
    """`redraft.rewrite`."""

    uri: str
    range: Stretch
    instruction: str


class DraftArguments(_Strict, frozen=True):
    """`redraft.draft`."""

    uri: str
    range: Stretch
    kind: str = "summary"


class OfferArguments(_Strict, frozen=True):
    """`redraft.accept` and `redraft.reject`."""

    offer_id: str


class PauseArguments(_Strict, frozen=True):
    """`redraft.pause`; without minutes until `redraft.resume`."""

    minutes: float | None = None


class ForgetArguments(_Strict, frozen=True):
    """`redraft.forget`: one of a document, the last hours, everything."""

    uri: str | None = None
    hours: float | None = None
    everything: bool = False


class WhyArguments(_Strict, frozen=True):
    """`redraft.why`."""

    uri: str | None = None


def arguments(params: types.ExecuteCommandParams, kind: type[A]) -> A:
    """The one object that a command takes. Raises JsonRpcInvalidParams saying what was expected."""
    given = list(params.arguments or [])
    try:
        if len(given) > 1:
            raise msgspec.ValidationError(f"expected one object, got {len(given)} arguments")
        return msgspec.convert(plain(given[0]) if given else {}, kind)
    except msgspec.ValidationError as error:
        raise JsonRpcInvalidParams(f"{params.command}: {error}") from error


async def rewrite(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Rewrite the selection by an instruction."""
    given = arguments(params, RewriteArguments)
    return await drafting.rewrite(
        server.assistant, given.uri, given.range.lsp(), given.instruction, params.work_done_token
    )


async def draft(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Write a new text from the selected notes."""
    given = arguments(params, DraftArguments)
    return await drafting.draft(server.assistant, given.uri, given.range.lsp(), given.kind, params.work_done_token)


async def accept(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """The client put ghost text in; VS Code sends the change first. The text alone decides what it was."""
    given = arguments(params, OfferArguments)
    sessions = server.assistant.sessions.values()
    return {"accepted": any(given.offer_id in session.tracker.open for session in sessions)}


async def reject(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """The user declines an offer: ghost text goes, a text that stands is taken out again."""
    given = arguments(params, OfferArguments)
    for session in server.assistant.sessions.values():
        if session.reject_ghost(given.offer_id, time.monotonic()):
            server.assistant.drain(session)
            return {"rejected": True}
        if given.offer_id in session.tracker.open:
            return {"rejected": await drafting.take_out(server.assistant, session, given.offer_id)}
    raise RedraftError(f"no offer {given.offer_id} is open: it was settled, or never recorded")


async def status(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Say what is going on, once everything that happened before is written down."""
    await server.assistant.ledger.done()
    return await states.status(server.assistant)


async def pause(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Offer and record nothing, for some minutes or until resumed."""
    given = arguments(params, PauseArguments)
    if given.minutes is not None and not 0 < given.minutes < float("inf"):
        raise RedraftError("minutes should be a number above 0; leave it out to pause until redraft.resume")
    assistant = server.assistant
    seconds = float("inf") if given.minutes is None else given.minutes * 60
    assistant.paused_until = time.monotonic() + seconds
    assistant.withdraw(None, SettledBy.COMMAND)
    return {"text": f"Redraft is {assistant.paused()}."}


async def resume(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Go on after a pause."""
    server.assistant.paused_until = None
    return {"text": "Redraft is on."}


async def forget(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Delete what was recorded, for good."""
    given = arguments(params, ForgetArguments)
    if sum([given.uri is not None, given.hours is not None, given.everything]) != 1:
        raise RedraftError("say what to forget: one of uri, hours and everything")
    if given.hours is not None and not 0 < given.hours < float("inf"):
        raise RedraftError("hours should be a number above 0")
    since = None if given.hours is None else now() - given.hours * 3600
    assistant = server.assistant
    assistant.withdraw(given.uri, SettledBy.COMMAND)
    await assistant.ledger.done()
    return {"text": await assistant.recorder.forget(given.uri, since, given.everything)}


async def why(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Say why there was no suggestion."""
    return states.why(server.assistant, arguments(params, WhyArguments).uri)


COMMANDS: dict[str, Command] = {
    "redraft.rewrite": rewrite,
    "redraft.draft": draft,
    "redraft.accept": accept,
    "redraft.reject": reject,
    "redraft.status": status,
    "redraft.pause": pause,
    "redraft.resume": resume,
    "redraft.forget": forget,
    "redraft.why": why,
}
