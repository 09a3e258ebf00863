"""`learner plugins`: which feedback types and bandits there are, and which are on."""

from __future__ import annotations

import rich_click as click

from learner import bandit, config, feedback, screen
from learner.commands.frame import Group, friendly, json_option
from learner.exceptions import PluginError


def _names(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """For the shell's completion: the plugins there are."""
    return [name for name in [*sorted(feedback.installed()), *bandit.installed()] if name.startswith(typed)]


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def plugins(context: click.Context) -> None:
    """List, enable and disable plugins.

    \b
    Examples:
      learner plugins
      learner plugins disable rl
    """
    if context.invoked_subcommand is None:
        context.invoke(plugins_list)


@plugins.command("list")
@json_option
@friendly
def plugins_list(as_json: bool = False) -> None:
    """List the installed feedback types and bandits, and say which of them are broken.

    \b
    Example:
      learner plugins list --json
    """
    settings = config.load()
    rows = []
    for name, point in sorted(feedback.installed().items()):
        rows.append(_row("feedback", name, point.value, name not in settings.disabled_plugins, feedback.load))
    for name in bandit.installed():
        rows.append(_row("bandit", name, "", name == settings.bandit, bandit.load))
    columns = {"kind": "Kind", "name": "Name", "on": "On", "needs": "Needs"}
    screen.table(rows, columns, as_json, empty="No plugin is installed.")
    for row in rows:
        if row["problem"]:
            screen.fail(str(row["problem"]))


def _row(kind: str, name: str, value: str, on: bool, load: object) -> dict[str, object]:
    needs, problem = "", ""
    try:
        plugin = load(name)  # type: ignore[operator]
        needs = ", ".join(sorted(getattr(plugin, "needs", ())))
    except PluginError as error:
        problem = str(error)
    return {"kind": kind, "name": name, "on": on, "needs": needs, "from": value, "problem": problem}


def _switch(name: str, on: bool, as_json: bool) -> None:
    settings = config.load()
    if name in bandit.installed():
        if not on:
            raise PluginError(f"a bandit cannot be off; enable another one instead of {name!r}")
        config.save(bandit=name)
    elif name in feedback.installed():
        disabled = [x for x in settings.disabled_plugins if x != name] + ([] if on else [name])
        config.save(disabled_plugins=disabled)
    else:
        there = ", ".join([*sorted(feedback.installed()), *bandit.installed()])
        raise PluginError(f"no plugin {name!r} is installed; there are: {there}")
    screen.say({"name": name, "on": on}, f"{name} is {'on' if on else 'off'} now.", as_json)


@plugins.command("enable")
@click.argument("name", shell_complete=_names)
@json_option
@friendly
def plugins_enable(name: str, as_json: bool) -> None:
    """Switch a feedback type on, or make a bandit the one that chooses.

    \b
    Example:
      learner plugins enable ucb
    """
    _switch(name, True, as_json)


@plugins.command("disable")
@click.argument("name", shell_complete=_names)
@json_option
@friendly
def plugins_disable(name: str, as_json: bool) -> None:
    """Switch a feedback type off: `learner train` leaves it out.

    \b
    Example:
      learner plugins disable dpo
    """
    _switch(name, False, as_json)
