"""The commands of `workspace/executeCommand`: their arguments, checked, and what they do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from learner.exceptions import RedraftError
from learner.records import Outcome, SettledBy, now
from lsp_server import drafting
from lsp_server import status as states
from lsp_server.drafting import Wish
from lsp_server.protocol import plain
from lsp_server.settings import Changes

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
    preview: bool = False


class DraftArguments(_Strict, frozen=True):
    """`redraft.draft`."""

    uri: str
    range: Stretch
    kind: str = "summary"
    preview: bool = False


class OfferArguments(_Strict, frozen=True):
    """`redraft.accept`, `redraft.reject` and `redraft.apply`."""

    offer_id: str


class PauseArguments(_Strict, frozen=True):
    """`redraft.pause`; without minutes until `redraft.resume`."""

    minutes: float | None = None


class ForgetArguments(_Strict, frozen=True):
    """`redraft.forget`: one of a document, the last hours, everything."""

    uri: str | None = None
    hours: float | None = None
    everything: bool = False


class ConsentArguments(_Strict, frozen=True):
    """`redraft.consent`; without a workspace the word is about all of them."""

    granted: bool
    workspace: str | None = None


class StatusArguments(_Strict, frozen=True):
    """`redraft.status`; a workspace folder's URI, null for that of an open document."""

    workspace: str | None = None


class TrainArguments(_Strict, frozen=True):
    """`redraft.train`; without names those of `config.toml`."""

    feedback: list[str] = []


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
    wish = Wish(params.work_done_token, given.preview)
    return await drafting.rewrite(server.assistant, given.uri, given.range.lsp(), given.instruction, wish)


async def draft(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Write a new text from the selected notes."""
    given = arguments(params, DraftArguments)
    wish = Wish(params.work_done_token, given.preview)
    return await drafting.draft(server.assistant, given.uri, given.range.lsp(), given.kind, wish)


async def apply(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Put in what was asked for with `preview`."""
    return await drafting.apply(server.assistant, arguments(params, OfferArguments).offer_id)


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
            server.assistant.windows.forget_answers(session.document.uri)
            server.assistant.drain(session)
            return {"rejected": True}
        if session.drop_preview(given.offer_id, SettledBy.COMMAND, Outcome.REJECTED):
            server.assistant.drain(session)
            return {"rejected": True}
        if given.offer_id in session.tracker.open:
            return {"rejected": await drafting.take_out(server.assistant, session, given.offer_id)}
    raise RedraftError(f"no offer {given.offer_id} is open: it was settled, or never recorded")


async def status(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Say what is going on, once everything that happened before is written down."""
    given = arguments(params, StatusArguments)
    await server.assistant.ledger.done()
    return await states.status(server.assistant, given.workspace)


async def pause(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Offer and record nothing, for some minutes or until resumed."""
    given = arguments(params, PauseArguments)
    if given.minutes is not None and not 0 < given.minutes < float("inf"):
        raise RedraftError("minutes should be a number above 0; leave it out to pause until redraft.resume")
    assistant = server.assistant
    seconds = float("inf") if given.minutes is None else given.minutes * 60
    assistant.paused_until = time.monotonic() + seconds
    assistant.withdraw(None, SettledBy.COMMAND)
    assistant.announce()
    return {"text": f"Redraft is {assistant.paused()}."}


async def resume(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Go on after a pause."""
    server.assistant.paused_until = None
    server.assistant.announce()
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
    server.inline.forget(given.uri)
    await assistant.ledger.done()
    return {"text": await assistant.recorder.forget(given.uri, since, given.everything)}


async def why(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Say why there was no suggestion."""
    return states.why(server.assistant, arguments(params, WhyArguments).uri)


async def consent(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Take the user's word about recording."""
    given, assistant = arguments(params, ConsentArguments), server.assistant
    await assistant.recorder.consent(given.granted, given.workspace, assistant.client_name)
    if not given.granted:
        for session in list(assistant.sessions.values()):
            if given.workspace in (None, session.workspace):
                assistant.withdraw(session.document.uri, SettledBy.GATE)
    state = await states.status(server.assistant, given.workspace)
    where = "in all workspaces" if given.workspace is None else "here"
    words = f"Edits are recorded {where}, in {state['database']}." if given.granted else f"Nothing is recorded {where}."
    return {"recording": state["recording"], "text": words}


async def configure(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Take the client's new settings; what the workspace took away stays away."""
    server.assistant.configure(arguments(params, Changes))
    await server.assistant.read_workspace_settings()
    return {"text": "The new settings are in use."}


async def learnt(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Say what became of the edit cost."""
    await server.assistant.ledger.done()
    return await server.assistant.recorder.learnt(server.assistant.host.fingerprint)


async def train(server: RedraftServer, params: types.ExecuteCommandParams) -> Any:
    """Train on what was kept so far."""
    given = arguments(params, TrainArguments)
    return await server.training.run(given.feedback, params.work_done_token)


COMMANDS: dict[str, Command] = {
    "redraft.rewrite": rewrite,
    "redraft.draft": draft,
    "redraft.apply": apply,
    "redraft.accept": accept,
    "redraft.reject": reject,
    "redraft.status": status,
    "redraft.pause": pause,
    "redraft.resume": resume,
    "redraft.forget": forget,
    "redraft.why": why,
    "redraft.consent": consent,
    "redraft.configure": configure,
    "redraft.learnt": learnt,
    "redraft.train": train,
}
