"""An editor for tests: drives the real `redraft-lsp` over stdio, and holds the text of each document itself."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient, make_test_lsp_client

from learner.records import Edit
from learner.store import Store

LINE = re.compile(r"\r\n|\n|\r")
SECONDS = 60.0


def units(text: str, encoding: str) -> int:
    """Length of a text in LSP units, written without a look at the server's code."""
    per = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}[encoding]
    return len(text.encode(per[0], "surrogatepass")) // per[1]


def position_at(text: str, offset: int, encoding: str) -> types.Position:
    ends = [m.end() for m in LINE.finditer(text) if m.end() <= offset]
    start = ends[-1] if ends else 0
    return types.Position(line=len(ends), character=units(text[start:offset], encoding))


def offset_at(text: str, position: types.Position, encoding: str) -> int:
    starts = [0, *(m.end() for m in LINE.finditer(text))]
    start = starts[position.line]
    content = LINE.split(text[start:], maxsplit=1)[0]
    for count in range(len(content) + 1):
        if units(content[:count], encoding) >= position.character:
            return start + count
    return start + len(content)


def capabilities(
    encoding: str,
    *,
    inline: bool = True,
    configuration: bool = False,
    progress: bool = False,
    changes: bool = False,
    status: bool = False,
) -> types.ClientCapabilities:
    return types.ClientCapabilities(
        experimental={"redraftStatus": True} if status else None,
        general=types.GeneralClientCapabilities(position_encodings=[types.PositionEncodingKind(encoding)]),
        text_document=types.TextDocumentClientCapabilities(
            inline_completion=types.InlineCompletionClientCapabilities() if inline else None,
            completion=types.CompletionClientCapabilities(),
            code_action=types.CodeActionClientCapabilities(),
        ),
        window=types.WindowClientCapabilities(work_done_progress=progress),
        workspace=types.WorkspaceClientCapabilities(
            apply_edit=True,
            configuration=configuration,
            workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=changes),
        ),
    )


class Editor:
    """One editor process with one server."""

    def __init__(self, home: Path, encoding: str) -> None:
        self.home = home
        self.encoding = encoding
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.edits: list[types.ApplyWorkspaceEditParams] = []
        self.answer = "change first"
        """What `workspace/applyEdit` does: change first, answer first, change later, refuse, raise, hang."""
        self.later: list[Callable[[], None]] = []
        self.states: list[str] = []
        """What `redraft/status` said, in order."""
        self.client: LanguageClient = make_test_lsp_client()
        self.capabilities: types.ServerCapabilities | None = None
        self.client.feature(types.WORKSPACE_APPLY_EDIT)(self._handler())
        self.client.feature("redraft/status")(lambda params: self.states.append(params.state))

    def _handler(self) -> Callable[[types.ApplyWorkspaceEditParams], Any]:
        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            return await self._apply(params)

        return apply

    async def _apply(self, params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        self.edits.append(params)
        if self.answer == "raise":
            raise RuntimeError("the user said no")
        if self.answer == "refuse":
            return types.ApplyWorkspaceEditResult(applied=False, failure_reason="the user said no")
        if self.answer == "hang":
            await asyncio.Event().wait()
        changes = [(uri, edit) for uri, edits in (params.edit.changes or {}).items() for edit in edits]
        for change in params.edit.document_changes or ():
            assert isinstance(change, types.TextDocumentEdit)
            assert change.text_document.version == self.versions[change.text_document.uri]
            changes += [(change.text_document.uri, edit) for edit in change.edits]
        [(uri, edit)] = changes

        def change_it() -> None:
            self.change(uri, edit.range, edit.new_text)

        if self.answer == "change first":
            change_it()
        elif self.answer == "answer first":
            asyncio.get_running_loop().call_later(0.05, change_it)
        else:
            self.later.append(change_it)
        return types.ApplyWorkspaceEditResult(applied=True)

    # --- documents -----------------------------------------------------------------------------

    def open(self, uri: str, text: str, language: str = "markdown") -> None:
        self.texts[uri], self.versions[uri] = text, 1
        item = types.TextDocumentItem(uri=uri, language_id=language, version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))

    def change(self, uri: str, range_: types.Range, text: str) -> None:
        """One didChange with one change."""
        old = self.texts[uri]
        start, end = offset_at(old, range_.start, self.encoding), offset_at(old, range_.end, self.encoding)
        self.texts[uri] = old[:start] + text + old[end:]
        self.versions[uri] += 1
        self.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=self.versions[uri]),
                content_changes=[types.TextDocumentContentChangePartial(range=range_, text=text)],
            )
        )

    def range(self, uri: str, start: int, end: int) -> types.Range:
        text = self.texts[uri]
        return types.Range(start=position_at(text, start, self.encoding), end=position_at(text, end, self.encoding))

    def find(self, uri: str, part: str) -> types.Range:
        """Where `part` stands, once and only once."""
        assert self.texts[uri].count(part) == 1, f"{part!r} stands {self.texts[uri].count(part)} times"
        at = self.texts[uri].index(part)
        return self.range(uri, at, at + len(part))

    def replace(self, uri: str, part: str, text: str) -> None:
        self.change(uri, self.find(uri, part), text)

    def insert(self, uri: str, offset: int, text: str) -> None:
        self.change(uri, self.range(uri, offset, offset), text)

    def append(self, uri: str, text: str) -> None:
        self.insert(uri, len(self.texts[uri]), text)

    def save(self, uri: str, reason: types.TextDocumentSaveReason | None = types.TextDocumentSaveReason.Manual) -> None:
        document = types.TextDocumentIdentifier(uri=uri)
        if reason is not None:
            self.client.text_document_will_save(types.WillSaveTextDocumentParams(text_document=document, reason=reason))
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=document))

    def close(self, uri: str) -> None:
        document = types.TextDocumentIdentifier(uri=uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(text_document=document))
        del self.texts[uri], self.versions[uri]

    # --- requests ------------------------------------------------------------------------------

    async def command(self, name: str, body: Any = None, token: str | None = None) -> Any:
        params = types.ExecuteCommandParams(
            command=name, arguments=None if body is None else [body], work_done_token=token
        )
        return plain(await asyncio.wait_for(self.client.workspace_execute_command_async(params), SECONDS))

    async def rewrite(self, uri: str, part: str, instruction: str = "Make this text shorter.") -> Any:
        body = {"uri": uri, "range": wire(self.find(uri, part)), "instruction": instruction}
        return await self.command("redraft.rewrite", body)

    async def draft(self, uri: str, part: str, kind: str = "summary") -> Any:
        return await self.command("redraft.draft", {"uri": uri, "range": wire(self.find(uri, part)), "kind": kind})

    async def inline(self, uri: str, offset: int | None = None, *, asked: bool = True) -> Any:
        """The one inline completion at an offset (the end by default), or None."""
        text = self.texts[uri]
        kind = types.InlineCompletionTriggerKind.Invoked if asked else types.InlineCompletionTriggerKind.Automatic
        params = types.InlineCompletionParams(
            text_document=types.TextDocumentIdentifier(uri=uri),
            position=position_at(text, len(text) if offset is None else offset, self.encoding),
            context=types.InlineCompletionContext(trigger_kind=kind),
        )
        found = await asyncio.wait_for(self.client.text_document_inline_completion_async(params), SECONDS)
        if found is None:
            return None
        assert isinstance(found, types.InlineCompletionList)
        [item] = found.items
        return item

    async def settled(self) -> None:
        """Wait until the server has written down everything that happened before."""
        await self.command("redraft.status")

    async def finished(self, uri: str) -> Edit:
        """Close a document, and what was recorded of its one offer."""
        self.close(uri)
        await self.settled()
        return self.row(uri)

    def raw(self, body: Any) -> None:
        """Send a message that no client library would."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer = self.client.protocol.writer
        assert writer is not None
        writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def ask(self, identifier: int | str, method: str, params: Any) -> asyncio.Future[Any]:
        """A request as raw JSON, answered with raw JSON."""
        answer: Future[Any] = Future()
        self.client.protocol._request_futures[identifier] = answer
        self.raw({"jsonrpc": "2.0", "id": identifier, "method": method, "params": params})
        return asyncio.wrap_future(answer)

    @property
    def said(self) -> list[str]:
        return [message.message for message in self.client.messages]

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self.client._server is not None
        return self.client._server

    # --- rows ----------------------------------------------------------------------------------

    def rows(self, uri: str | None = None) -> list[Edit]:
        return rows(self.home, uri)

    def row(self, uri: str) -> Edit:
        [row] = self.rows(uri)
        return row


def rows(home: Path, uri: str | None = None) -> list[Edit]:
    """Rows of the view `edits`, of a document or all."""
    if not (home / "edits.db").exists():
        return []
    with Store.open(home / "edits.db", read_only=True) as store:
        return list(store.edits() if uri is None else store.edits("document = ?", [uri]))


def plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {k: plain(v) for k, v in value._asdict().items()}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def wire(range_: types.Range) -> dict[str, Any]:
    return {
        "start": {"line": range_.start.line, "character": range_.start.character},
        "end": {"line": range_.end.line, "character": range_.end.character},
    }


@asynccontextmanager
async def editor(
    home: Path,
    options: Any = None,
    *,
    encoding: str = "utf-16",
    root: str = "file:///w",
    name: str = "tests",
    configuration: Any = None,
    server: tuple[str, ...] = (sys.executable, "-m", "lsp_server.cli"),
    **more: bool,
) -> Any:
    """A started editor, initialized with `options`; shut down in order at the end, if the server lives."""
    it = Editor(home, encoding)
    client = it.client
    if configuration is not None:
        client.set_configuration(configuration)
        more["configuration"] = True
    environment = {**os.environ, "REDRAFT_HOME": str(home)}
    await client.start_io(*server, env=environment)
    try:
        answer = await client.initialize_session(
            types.InitializeParams(
                capabilities=capabilities(encoding, **more),
                root_uri=root,
                initialization_options=options,
                client_info=types.ClientInfo(name=name),
            )
        )
        it.capabilities = answer.capabilities
        yield it
        if it.process.returncode is None:
            await asyncio.wait_for(client.shutdown_session(), SECONDS)
    finally:
        if it.process.returncode is None:
            it.process.kill()
        await client.stop()
