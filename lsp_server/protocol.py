"""Our seam into pygls: its documents, its commands and its treatment of bad messages are replaced.

pygls splits lines at characters that the LSP does not know (editors.md) and applies a change in
O(document); its built-in `workspace/executeCommand` answers a cancellation without stopping the
command; a request whose parameters are malformed gets no answer at all, and a malformed `didChange`
is dropped without a word, after which no text is what the editor has; `exit` ends the process in
the middle of what it does.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.protocol import LanguageServerProtocol, lsp_method

from learner.exceptions import RedraftError

if TYPE_CHECKING:
    from lsp_server.server import RedraftServer

logger = logging.getLogger(__name__)
REQUEST_FAILED = -32803
"""LSP 3.17 ErrorCodes.RequestFailed: a request that is valid and could not be served."""
NOT_INITIALIZED = -32002
"""LSP 3.17 ErrorCodes.ServerNotInitialized."""
INVALID_REQUEST = -32600
"""JSON-RPC 2.0: here, a request after `shutdown`."""


def failed(error: RedraftError) -> JsonRpcException:
    """One of our errors as the answer to a request."""
    return JsonRpcException(str(error), code=REQUEST_FAILED)


def plain(value: Any) -> Any:
    """What pygls made of JSON objects (named tuples) as plain containers again."""
    if hasattr(value, "_asdict"):
        return {k: plain(v) for k, v in value._asdict().items()}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message whose parameters are not what the LSP says."""

    body: dict[str, Any]
    reason: str
    jsonrpc: str = "2.0"

    @property
    def uri(self) -> str | None:
        """The document that it is about, if it says so."""
        found: Any = self.body.get("params")
        for key in ("textDocument", "uri"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, str) else None


class RedraftProtocol(LanguageServerProtocol):
    """LanguageServerProtocol with our documents, our commands, and an answer to everything."""

    @property
    def _redraft(self) -> RedraftServer:
        server: Any = self._server
        return server  # type: ignore[no-any-return]

    # --- messages ------------------------------------------------------------------------------

    def structure_message(self, data: dict[str, Any]) -> Any:
        """A message as lsprotocol has it, or a `Malformed`. Called for every JSON object, the inmost first."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            cause = error.__cause__
            inner = getattr(cause, "exceptions", (cause,))
            return Malformed(data, f"{type(inner[0]).__name__ if inner else 'Error'} in its parameters")

    def handle_message(self, message: Any) -> None:
        """Every request gets an answer, whatever is wrong with it."""
        if isinstance(message, Malformed):
            self._refuse(message)
            return
        if not hasattr(message, "jsonrpc"):
            logger.error("a message that is no JSON-RPC object was ignored")
            return
        method, identifier = getattr(message, "method", None), getattr(message, "id", None)
        early = self._workspace is None and method not in (None, types.INITIALIZE, types.EXIT)
        if method is None and identifier in self._request_futures and self._request_futures[identifier].done():
            self._request_futures.pop(identifier)  # whoever asked the client for something was cancelled meanwhile
            return
        if (early or self._shutdown) and method not in (None, types.EXIT):
            if identifier is not None:
                words = "initialize first" if early else "the server is shut down"
                code = NOT_INITIALIZED if early else INVALID_REQUEST
                self._send_response(identifier, error=types.ResponseError(code=code, message=f"{method}: {words}"))
            return
        self._dispatch(message, method, identifier)

    def _dispatch(self, message: Any, method: str | None, identifier: Any) -> None:
        """pygls' own `handle_message`, which tells the kinds of messages apart by runtime protocols: 0.1 ms each."""
        context = contextvars.copy_context()
        if method is None:
            context.run(
                self._handle_response, identifier, getattr(message, "result", None), getattr(message, "error", None)
            )
        elif identifier is None:
            context.run(self._handle_notification, method, message.params)
        else:
            context.run(self._handle_request, identifier, method, message.params)

    def _refuse(self, message: Malformed) -> None:
        method, identifier = message.body.get("method"), message.body.get("id")
        logger.error("malformed %s: %s", method or "answer", message.reason)
        if method is None:  # an answer to a request of ours: whoever waits must not wait for ever
            future = self._request_futures.pop(identifier, None) if isinstance(identifier, (str, int)) else None
            if future is not None and not future.done():
                future.set_exception(JsonRpcInvalidParams("the client's answer is malformed"))
        elif isinstance(identifier, (str, int)):
            words = f"{method}: malformed parameters ({message.reason}); see the LSP specification"
            error = types.ResponseError(code=JsonRpcInvalidParams.CODE, message=words)
            self._send_response(identifier, error=error)
        elif method == types.TEXT_DOCUMENT_DID_CHANGE and message.uri is not None:
            self._redraft.assistant.lose(message.uri, "a malformed change")

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> None:  # type: ignore[override]
        """End the loop that reads messages; what is open is saved after it (`lsp_server.transport`)."""
        self._redraft.leave()

    @property
    def was_shut_down(self) -> bool:
        """Whether the client asked for `shutdown`: without it, `exit` is an error (LSP 3.17, "Exit Notification")."""
        return self._shutdown

    # --- documents and commands ----------------------------------------------------------------

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """Mirror a document that the client opened."""
        self._redraft.assistant.did_open(params.text_document)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply every change by itself, in order."""
        self._redraft.assistant.did_change(params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """Settle and forget a document that the client closed."""
        self._redraft.assistant.did_close(params.text_document.uri)

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(self, params: types.ExecuteCommandParams) -> Any:  # type: ignore[override]
        """Run a command of ours as a task that `$/cancelRequest` and the progress' cancel button stop."""
        command: Callable[[types.ExecuteCommandParams], Awaitable[Any]] | None
        command = self._redraft.command_named(params.command)
        if command is None:
            raise JsonRpcInvalidParams(f"there is no command {params.command!r}")
        try:
            with self._redraft.assistant.under_way():
                return await command(params)
        except RedraftError as error:
            raise failed(error) from error
