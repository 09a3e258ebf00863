"""The language server: which requests there are. What they do stands in the modules they call."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version
from threading import Event
from typing import Any, TypeVar

from lsprotocol import types
from pygls.exceptions import FeatureRequestError, JsonRpcException, JsonRpcInternalError
from pygls.lsp.server import LanguageServer

from learner.config import Paths
from learner.exceptions import RedraftError
from learner.privacy import excluded
from learner.prompt import DRAFT_KINDS
from lsp_server.assistant import Assistant
from lsp_server.commands import COMMANDS
from lsp_server.inline import Inline, Suggestion
from lsp_server.protocol import RedraftProtocol, failed, plain
from lsp_server.training import Training

logger = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


class RedraftServer(LanguageServer):
    """pygls' server, with an assistant."""

    def __init__(self, paths: Paths | None = None) -> None:
        super().__init__("redraft-lsp", version("redraft"), protocol_cls=RedraftProtocol)
        self.stopping: Event | None = None
        self.assistant = Assistant(self, paths)
        self.inline = Inline(self.assistant)
        self.training = Training(self.assistant)
        register(self)

    def command_named(self, name: str) -> Callable[[types.ExecuteCommandParams], Awaitable[Any]] | None:
        """The command `name`, ready to be called, None if there is none."""
        command = COMMANDS.get(name)
        return None if command is None else partial(command, self)

    @property
    def exit_code(self) -> int:
        """0 after `shutdown`, else 1 (LSP 3.17, "Exit Notification")."""
        return 0 if isinstance(self.protocol, RedraftProtocol) and self.protocol.was_shut_down else 1

    def leave(self) -> None:
        """Stop reading messages: the client said `exit`."""
        if self.stopping is not None:
            self.stopping.set()

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log every failure; show one message for those that no request waits for."""
        expected = isinstance(error, JsonRpcException) and not isinstance(error, JsonRpcInternalError)
        level = logging.INFO if expected else logging.ERROR
        logger.log(level, "%s: %s", getattr(source, "__name__", source), error, exc_info=None if expected else error)
        if source is not FeatureRequestError:
            self.assistant.say(f"Redraft met an error it did not expect and goes on: {error}")

    def supports_inline(self) -> bool:
        """Whether the client asks for ghost text by itself."""
        document = self.client_capabilities.text_document
        return document is not None and document.inline_completion is not None


def register(server: RedraftServer) -> None:
    """Register every feature that is no document change and no command (those are the protocol's)."""

    def feature(name: str, options: Any = None) -> Callable[[F], F]:
        registered: Callable[[F], F] = server.feature(name, options)
        return registered

    for name in COMMANDS:
        server.command(name)(lambda *_: None)  # advertised here, run by RedraftProtocol
    _register_life(server.assistant, feature)
    _register_offers(server, feature)


Feature = Callable[..., Callable[[F], F]]


def _register_life(assistant: Assistant, feature: Feature[Any]) -> None:
    """The life of the server and of its documents."""

    @feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        assistant.initialize(params)

    @feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        await assistant.initialized()

    @feature(types.SHUTDOWN)
    async def shutdown(params: None = None) -> None:
        await assistant.shutdown()

    @feature(types.TEXT_DOCUMENT_WILL_SAVE)
    def will_save(params: types.WillSaveTextDocumentParams) -> None:
        assistant.will_save(params.text_document.uri, params.reason)

    @feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(params: types.DidSaveTextDocumentParams) -> None:
        assistant.did_save(params.text_document.uri)

    @feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def changed_configuration(params: types.DidChangeConfigurationParams) -> None:
        await assistant.read_workspace_settings()

    @feature("textDocument/didShowCompletion")
    def did_show(params: Any) -> None:
        said = plain(params)
        item = said.get("item") if isinstance(said, dict) else None
        command = item.get("command") if isinstance(item, dict) else None
        found = command.get("arguments") if isinstance(command, dict) else None
        for argument in found if isinstance(found, list) else []:
            if isinstance(argument, dict) and isinstance(argument.get("offerId"), str):
                assistant.tell_shown(argument["offerId"])

    @feature("textDocument/didPartiallyAcceptCompletion")
    def did_partially_accept(params: Any) -> None:
        """The change itself says what was accepted; the notification needs only to be understood."""


def _register_offers(server: RedraftServer, feature: Feature[Any]) -> None:
    """What the editor asks for: rewrites in its menu, ghost text, completions."""

    @feature(
        types.TEXT_DOCUMENT_CODE_ACTION,
        types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.RefactorRewrite]),
    )
    def code_actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        return actions(server, params)

    # with options, or pygls does not tell the client of it, and VS Code never asks
    @feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        asked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
        selected = params.context.selected_completion_info
        found = await suggest(server, params, asked=asked, selected=selected.text if selected else None)
        if found is None:
            return None
        place, suggestion = found
        item = types.InlineCompletionItem(insert_text=suggestion.text, range=place, command=accept(suggestion))
        return types.InlineCompletionList(items=[item])

    # with an option: some clients (ALE) take an empty object for no
    @feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(resolve_provider=False))
    async def completion(params: types.CompletionParams) -> types.CompletionList | None:
        if server.supports_inline():
            return None
        # "invoked" says nothing here: editors send it for a typed letter too
        found = await suggest(server, params, asked=False, selected=None)
        if found is None:
            return None
        place, suggestion = found
        typed = server.assistant.session(params.text_document.uri).document.slice(suggestion.start, suggestion.end)
        item = types.CompletionItem(
            label=suggestion.text.strip().split("\n")[0][:60] or "…",
            detail="Redraft",
            documentation=suggestion.text,
            kind=types.CompletionItemKind.Text,
            text_edit=types.TextEdit(range=place, new_text=suggestion.text),
            filter_text=typed or suggestion.text,
            command=accept(suggestion),
        )
        return types.CompletionList(is_incomplete=True, items=[item])


async def suggest(
    server: RedraftServer, params: Any, *, asked: bool, selected: str | None
) -> tuple[types.Range, Suggestion] | None:
    """Ghost text for a request of either kind, and the range that it takes, in the client's units."""
    uri, assistant = params.text_document.uri, server.assistant
    try:
        with assistant.under_way():
            await assistant.restricted()
            position = assistant.session(uri).document.from_client(params.position)
            found = await server.inline.suggest(uri, position, asked=asked, selected=selected)
            if found is None:
                return None
            document = assistant.session(uri).document
            return types.Range(start=document.to_client(found.start), end=document.to_client(found.end)), found
    except RedraftError as error:
        raise failed(error) from error


def accept(found: Suggestion) -> types.Command:
    """What a client runs after it put ghost text in."""
    return types.Command(title="Accept", command="redraft.accept", arguments=[{"offerId": found.offer_id}])


def actions(server: RedraftServer, params: types.CodeActionParams) -> list[types.CodeAction]:
    """Rewrites and drafts of the selected text; nothing is generated before one is chosen."""
    session = server.assistant.sessions.get(params.text_document.uri)
    if session is None or session.lost or server.assistant.paused() or params.range.start == params.range.end:
        return []
    only = params.context.only
    kind = types.CodeActionKind.RefactorRewrite
    if only is not None and not any(str(getattr(o, "value", o)) in ("refactor", kind.value) for o in only):
        return []
    uri = params.text_document.uri
    if excluded(uri):
        return []
    stretch = {
        "start": {"line": params.range.start.line, "character": params.range.start.character},
        "end": {"line": params.range.end.line, "character": params.range.end.character},
    }
    found = []
    for entry in server.assistant.settings.rewrites:
        body = {"uri": uri, "range": stretch, "instruction": entry.instruction}
        found.append((entry.title, "redraft.rewrite", body))
    for draft in DRAFT_KINDS:
        found.append((f"Draft: {draft}", "redraft.draft", {"uri": uri, "range": stretch, "kind": draft}))
    return [
        types.CodeAction(title=title, kind=kind, command=types.Command(title=title, command=command, arguments=[body]))
        for title, command, body in found
    ]
