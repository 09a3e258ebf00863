"""Our seam into pygls: documents go to our own mirror, and a cancelled command is really cancelled.

pygls splits lines at characters that the LSP does not know (editors.md) and applies a change in
O(document); its built-in handler of `workspace/executeCommand` answers a cancellation without
stopping the command. Both are replaced here, and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
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


def failed(error: RedraftError) -> JsonRpcException:
    """One of our errors as the answer to a request."""
    return JsonRpcException(str(error), code=REQUEST_FAILED)


class RedraftProtocol(LanguageServerProtocol):
    """LanguageServerProtocol with our documents and our commands."""

    @property
    def _redraft(self) -> RedraftServer:
        server: Any = self._server
        return server  # type: ignore[no-any-return]

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
            return await command(params)
        except RedraftError as error:
            raise failed(error) from error
