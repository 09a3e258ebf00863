"""`learner adapters`: list, show, promote and retire adapters."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from learner import config, screen
from learner.commands.frame import Group, friendly, json_option


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def adapters(context: click.Context) -> None:
    """List, show, promote and retire adapters."""
    if context.invoked_subcommand is None:
        context.invoke(adapters_list)


@adapters.command("list")
@json_option
@friendly
def adapters_list(as_json: bool = False) -> None:
    """List every adapter version with its held-out figures.

    \b
    Example:
      learner adapters list --json
    """
    from learner import registry
    from learner.store import Store

    paths = config.paths()
    if not paths.database.exists():
        screen.adapters([], as_json)
        return
    with Store.open(paths.database, read_only=True) as store:
        screen.adapters(registry.adapters(store), as_json)


@adapters.command("show")
@click.argument("adapter")
@json_option
@friendly
def adapters_show(adapter: str, as_json: bool) -> None:
    """Show all that is known of one adapter version.

    \b
    Example:
      learner adapters show sft-1
    """
    from learner import registry
    from learner.store import Store

    with Store.open(config.paths().database, read_only=True) as store:
        screen.adapter(registry.find(store, adapter), as_json)


def _move(adapter: str, state: str, as_json: bool) -> None:
    from learner import registry
    from learner.adapter_files import verify_adapter
    from learner.records import AdapterState
    from learner.store import Store

    with Store.open(config.paths().database) as store:
        found = registry.find(store, adapter)
        if state == "serving":
            verify_adapter(Path(found.path), found.sha256)
        moved = registry.set_state(store, adapter, AdapterState(state))
    screen.say({"id": moved.id, "state": moved.state}, f"{moved.id} is {moved.state} now.", as_json)


@adapters.command("promote")
@click.argument("adapter")
@json_option
@friendly
def adapters_promote(adapter: str, as_json: bool) -> None:
    """Let an adapter serve, whatever its held-out figures say.

    \b
    Example:
      learner adapters promote sft-1
    """
    _move(adapter, "serving", as_json)


@adapters.command("retire")
@click.argument("adapter")
@json_option
@friendly
def adapters_retire(adapter: str, as_json: bool) -> None:
    """Take an adapter out of the choice.

    \b
    Example:
      learner adapters retire dpo-2
    """
    _move(adapter, "retired", as_json)
