"""Prints docs/cli.md from the commands themselves; `tests/test_cli_reference.py` checks that it is current."""

from __future__ import annotations

from collections.abc import Iterator

import click

from learner.cli import main as learner
from lsp_server.cli import main as redraft_lsp


def plain_help(command: click.Command, context: click.Context) -> str:
    """A command's help without colours and boxes."""
    formatter = click.HelpFormatter(width=96)
    click.Command.format_usage(command, context, formatter)
    click.Command.format_help_text(command, context, formatter)
    click.Command.format_options(command, context, formatter)
    if isinstance(command, click.Group):
        click.Group.format_commands(command, context, formatter)
    return formatter.getvalue().rstrip()


def walk(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """The help of a command and of all below it, as Markdown."""
    context = command.context_class(command, info_name=name, parent=parent, **command.context_settings)
    yield f"## `{context.command_path}`\n\n```text\n{plain_help(command, context)}\n```\n"
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from walk(command.commands[child], child, context)


def reference() -> str:
    """The whole page."""
    head = "# Command line\n\nMade by `make docs` from the commands; do not edit.\n"
    return "\n".join([head, *walk(learner, "learner"), *walk(redraft_lsp, "redraft-lsp")])


if __name__ == "__main__":
    print(reference(), end="")
