"""VS Code's settings are the server's: same defaults, same limits; what could harm cannot be set by a repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from learner.prompt import DEFAULT_REWRITES
from lsp_server.commands import COMMANDS
from lsp_server.settings import Settings

FOLDER = Path(__file__).parents[2] / "plugins" / "editors" / "vscode"
PACKAGE: dict[str, Any] = json.loads((FOLDER / "package.json").read_text())
SETTINGS: dict[str, Any] = PACKAGE["contributes"]["configuration"]["properties"]
SCHEMA, DEFINITIONS = msgspec.json.schema_components([Settings], ref_template="{name}")
BY_HAND = {"redraft.record", "redraft.preview", "redraft.trace.server", "redraft.host.url", "redraft.rewrites"} | {
    f"redraft.server.{name}" for name in ("path", "python", "package")
}
"""Not handed on as they are: words for people, what only this client knows, or null for the server's own."""


def server_setting(key: str) -> dict[str, Any]:
    """The schema of `inlineCompletion.debounceMs` and its like."""
    found: dict[str, Any] = DEFINITIONS["Settings"]
    for part in key.split("."):
        found = DEFINITIONS[found["$ref"]] if "$ref" in found else found
        found = found["properties"][part]
    return found


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without the alternatives of a nullable one."""
    options = schema.get("anyOf", [schema])
    merged: dict[str, Any] = {"types": {o["type"] for o in options}}
    for option in options:
        merged |= {k: v for k, v in option.items() if k not in ("type", "items", "default")}
    return merged


@pytest.mark.parametrize("key", sorted(set(SETTINGS) - BY_HAND))
def test_a_setting_is_the_servers(key: str) -> None:
    mine, theirs = SETTINGS[key], server_setting(key.removeprefix("redraft."))
    kinds = mine["type"] if isinstance(mine["type"], list) else [mine["type"]]
    wanted = flat(theirs)
    assert set(kinds) == wanted["types"]
    assert mine["default"] == theirs.get("default")
    for limit in ("minimum", "maximum", "exclusiveMinimum", "minLength", "maxLength"):
        assert mine.get(limit) == wanted.get(limit), limit


def test_every_setting_of_the_server_is_there() -> None:
    inline = DEFINITIONS["InlineCompletion"]["properties"]
    settle = DEFINITIONS["Settle"]["properties"]
    wanted = {f"redraft.inlineCompletion.{name}" for name in inline} | {f"redraft.settle.{name}" for name in settle}
    assert wanted | {"redraft.bandit", "redraft.rewrites", "redraft.host.url", "redraft.record"} <= set(SETTINGS)


def test_a_repository_can_say_nothing_that_harms() -> None:
    """Scope `window` may come from a workspace's settings file: these can only take away, the server sees to it."""
    open_to_all = {key for key, setting in SETTINGS.items() if setting["scope"] != "machine"}
    assert open_to_all == {f"redraft.inlineCompletion.{n}" for n in ("enabled", "languages", "disabledLanguages")}


def test_every_setting_says_what_it_is() -> None:
    for key, setting in SETTINGS.items():
        assert len(setting["markdownDescription"]) > 20, key


def test_commands_are_not_the_servers_own() -> None:
    """The client registers the server's commands under their names: two of one name would end the extension."""
    mine = {entry["command"] for entry in PACKAGE["contributes"]["commands"]}
    assert not mine & set(COMMANDS)
    source = (FOLDER / "src" / "extension.ts").read_text()
    for command in mine:
        assert f"    {command.removeprefix('redraft.')}:" in source, f"{command} is not registered"


def test_the_menu_of_rewrites_is_the_servers() -> None:
    source = (FOLDER / "src" / "settings.ts").read_text()
    for entry in DEFAULT_REWRITES:
        assert f'{{ title: "{entry.title}", instruction: "{entry.instruction}" }}' in source


def test_versions_go_together() -> None:
    import tomllib

    project = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert PACKAGE["version"].split(".")[:2] == project.split(".")[:2]
