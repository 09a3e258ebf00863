"""Settings of a session: `initializationOptions`, restricted by the workspace.

A cloned repository must not switch recording on or send code elsewhere: `record`, `host` and the
rewrites come from the client's `initializationOptions` (the user's own settings); what arrives
through `workspace/configuration` can only take away. Unknown keys and wrong types are refused, so
that consent is never given by a typo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from learner.config import HostConfig
from learner.exceptions import ConfigError
from learner.prompt import DEFAULT_REWRITES

if TYPE_CHECKING:
    from pygls.workspace import Workspace

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Refuses unknown keys; names are camelCase on the wire."""


class Settle(_Strict, frozen=True):
    """When an offer that was put in counts as finished."""

    quiet_seconds: Seconds = 60.0
    """No change in or next to it for this long, and the cursor elsewhere."""
    limit_seconds: Seconds = 1800.0
    """This long after it was put in, whatever happens."""


class InlineCompletion(_Strict, frozen=True):
    """Ghost text."""

    enabled: bool = True
    """False: only when asked for by hand."""
    languages: list[Name] | None = None
    """Language ids where it is offered; null for all."""
    disabled_languages: list[Name] = []
    """Language ids where it is not."""
    debounce_ms: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    """How long to wait for a pause in the typing; null: as rhythm and latency say (`pace.py`)."""
    prepare: bool = True
    """Ask the model what would follow an offer while the user reads it (the embedded model host only)."""


class RewriteSetting(_Strict, frozen=True):
    """An entry of the rewrite menu."""

    title: Name
    instruction: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Settings(_Strict, frozen=True):
    """`initializationOptions`."""

    record: bool | None = None
    """True: the client says that its user consented. False: never record. Null: the store's word."""
    host: HostConfig = HostConfig()
    settle: Settle = Settle()
    inline_completion: InlineCompletion = InlineCompletion()
    rewrites: list[RewriteSetting] = msgspec.field(
        default_factory=lambda: [RewriteSetting(title=r.title, instruction=r.instruction) for r in DEFAULT_REWRITES]
    )
    bandit: Name | None = None


def from_client(options: object) -> Settings:
    """Settings from `initializationOptions` (null for the defaults).

    Raises ConfigError that names the key and what was expected.
    """
    try:
        return msgspec.convert({} if options is None else options, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"initializationOptions: {error}") from error


class Changes(_Strict, frozen=True):
    """`redraft.configure`: what may change while the server runs; null leaves it as it is."""

    settle: Settle | None = None
    inline_completion: InlineCompletion | None = None
    rewrites: list[RewriteSetting] | None = None

    def onto(self, settings: Settings) -> Settings:
        """`settings` with these in place."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return msgspec.structs.replace(settings, **said)


def restrict(settings: Settings, workspace: Any) -> Settings:
    """Apply what the workspace says (section `redraft`), which can only take away.

    Anything else in it, and anything malformed, changes nothing.
    """
    if not isinstance(workspace, dict):
        return settings
    inline = settings.inline_completion
    said = workspace.get("inlineCompletion")
    if isinstance(said, dict):
        languages = said.get("languages")
        if said.get("enabled") is False:
            inline = msgspec.structs.replace(inline, enabled=False)
        off = said.get("disabledLanguages")
        if isinstance(off, list):
            both = {*inline.disabled_languages, *(x for x in off if isinstance(x, str))}
            inline = msgspec.structs.replace(inline, disabled_languages=sorted(both))
        if isinstance(languages, list):
            allowed = [x for x in languages if isinstance(x, str)]
            kept = allowed if inline.languages is None else [x for x in inline.languages if x in allowed]
            inline = msgspec.structs.replace(inline, languages=kept)
    record = False if workspace.get("record") is False else settings.record
    return msgspec.structs.replace(settings, inline_completion=inline, record=record)


def workspace_of(workspace: Workspace, uri: str) -> str:
    """URI of the innermost workspace folder around a document, "" where there is none."""
    folders = [folder.uri for folder in workspace.folders.values()] or [workspace.root_uri or ""]
    found = [f for f in folders if f and (uri == f or uri.startswith(f.rstrip("/") + "/"))]
    return max(found, key=len, default="")
