"""An editor for the demo: a client of the real `redraft-lsp`, over stdio, as any editor is one.

It holds the text of each document itself, sends every change as a `didChange`, and puts in what
the server asks it to. The server is found as an editor finds it: by its command.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

from learner.demo.writer import Keystroke
from learner.exceptions import RedraftError

REQUEST_SECONDS = 120.0


@dataclass(slots=True)
class Buffer:
    """An open document, as the editor has it. Positions are code points (utf-32)."""

    uri: str
    text: str
    version: int = 1

    def offset(self, position: types.Position) -> int:
        """Offset of a position."""
        lines = self.text.split("\n")
        return sum(len(line) + 1 for line in lines[: position.line]) + position.character

    def position(self, offset: int) -> types.Position:
        """Position of an offset."""
        before = self.text[:offset]
        return types.Position(line=before.count("\n"), character=offset - (before.rfind("\n") + 1))


class Editor:
    """Starts the server, opens documents, asks, types, saves, closes."""

    def __init__(self, home: Path, workspace: Path) -> None:
        self._home = home
        self._workspace = workspace
        self._buffers: dict[str, Buffer] = {}
        self._client = LanguageClient("redraft-demo", "1")
        self.messages: list[str] = []
        # pygls marks the functions it is given, which a bound method does not allow
        self._client.feature(types.WORKSPACE_APPLY_EDIT)(lambda params: self._apply_edit(params))
        self._client.feature(types.WINDOW_SHOW_MESSAGE)(lambda params: self.messages.append(params.message))

    async def __aenter__(self) -> Editor:
        command = shutil.which("redraft-lsp", path=str(Path(sys.executable).parent)) or shutil.which("redraft-lsp")
        if command is None:
            raise RedraftError("redraft-lsp is not on PATH: install redraft into this environment first")
        environment = os.environ | {"REDRAFT_HOME": str(self._home)}
        await self._client.start_io(command, "--log-file", str(self._home / "redraft-lsp.log"), env=environment)
        general = types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind.Utf32])
        await self._client.initialize_async(
            types.InitializeParams(
                capabilities=types.ClientCapabilities(general=general),
                process_id=os.getpid(),
                client_info=types.ClientInfo(name="redraft-demo"),
                workspace_folders=[types.WorkspaceFolder(uri=self._workspace.as_uri(), name="demo")],
                initialization_options={"record": True},
            )
        )
        self._client.initialized(types.InitializedParams())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.wait_for(self._client.shutdown_async(None), REQUEST_SECONDS)
        self._client.exit(None)
        await self._client.stop()  # type: ignore[no-untyped-call]

    def open(self, path: Path) -> Buffer:
        """Open a file."""
        buffer = Buffer(path.as_uri(), path.read_text(encoding="utf-8"))
        self._buffers[buffer.uri] = buffer
        item = types.TextDocumentItem(uri=buffer.uri, language_id="markdown", version=1, text=buffer.text)
        self._client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))
        return buffer

    async def ask(
        self, command: str, arguments: dict[str, str], buffer: Buffer, start: int, end: int
    ) -> dict[str, Any]:
        """Run a command of the server's on a selection; what it answers. Raises RedraftError if it failed."""
        where = {
            "start": {"line": buffer.position(start).line, "character": buffer.position(start).character},
            "end": {"line": buffer.position(end).line, "character": buffer.position(end).character},
        }
        body = {"uri": buffer.uri, "range": where} | arguments
        try:
            answer = await asyncio.wait_for(
                self._client.workspace_execute_command_async(
                    types.ExecuteCommandParams(command=command, arguments=[body])
                ),
                REQUEST_SECONDS,
            )
        except Exception as error:
            raise RedraftError(f"{command} failed: {error}. See {self._home / 'redraft-lsp.log'}") from error
        fields: dict[str, Any] = answer if isinstance(answer, dict) else answer._asdict()  # type: ignore[union-attr]
        return fields

    def type(self, buffer: Buffer, base: int, key: Keystroke) -> None:
        """Make one change; `base` is where the text that the keystroke speaks of begins."""
        self._change(buffer, base + key.start, base + key.end, key.text)

    def save(self, buffer: Buffer) -> None:
        """Save, as a person does."""
        identifier = types.TextDocumentIdentifier(uri=buffer.uri)
        reason = types.TextDocumentSaveReason.Manual
        self._client.text_document_will_save(types.WillSaveTextDocumentParams(text_document=identifier, reason=reason))
        Path(types_path(buffer.uri)).write_text(buffer.text, encoding="utf-8")
        self._client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=identifier))

    def close(self, buffer: Buffer) -> None:
        """Close: what stands in the document settles."""
        del self._buffers[buffer.uri]
        identifier = types.TextDocumentIdentifier(uri=buffer.uri)
        self._client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=identifier))

    async def settled(self) -> None:
        """Wait until the server has written everything down: it answers `redraft.status` after that."""
        await self._client.workspace_execute_command_async(types.ExecuteCommandParams(command="redraft.status"))

    def _change(self, buffer: Buffer, start: int, end: int, text: str) -> None:
        where = types.Range(start=buffer.position(start), end=buffer.position(end))
        buffer.text = buffer.text[:start] + text + buffer.text[end:]
        buffer.version += 1
        self._client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=buffer.uri, version=buffer.version),
                content_changes=[types.TextDocumentContentChangePartial(range=where, text=text)],
            )
        )

    def _apply_edit(self, params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        changes = params.edit.changes or {}
        for uri, edits in changes.items():
            buffer = self._buffers[uri]
            for edit in edits:
                self._change(buffer, buffer.offset(edit.range.start), buffer.offset(edit.range.end), edit.new_text)
        return types.ApplyWorkspaceEditResult(applied=True)


def types_path(uri: str) -> str:
    """The path of a file: URI."""
    from pygls.uris import to_fs_path

    path = to_fs_path(uri)
    if path is None:
        raise RedraftError(f"{uri} is no file")
    return path
