"""What every command shares: its help, the `--json` flag, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import rich_click as click
from rich.text import Text

from learner import screen
from learner.exceptions import RedraftError

P = ParamSpec("P")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


class _Formatter(click.RichHelpFormatter):
    def rich_text(self, text: Any, style: Any = "") -> Any:
        """The text as it stands: rich-click would take the indentation off the examples."""
        return Text(text.strip("\n"), style) if isinstance(text, str) else text


class _Context(click.RichContext):
    formatter_class = _Formatter


class Command(click.RichCommand):
    """A command whose help keeps its paragraphs and examples as they are written."""

    context_class = _Context


class Group(click.RichGroup):
    """A group of such commands."""

    context_class = _Context
    command_class = Command
    group_class = type


HELP = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "rich_help_config": {
        "text_paragraph_linebreaks": "\n\n",
        "text_markup": None,
        "padding_helptext_first_line": (0, 0, 1, 0),
    },
}
"""Settings of the outermost command, which all others inherit."""


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Print our errors without a traceback, and exit with their code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()  # a reader that went away is noticed here, not at exit
        except RedraftError as error:
            screen.fail(str(error))
            raise SystemExit(error.exit_code) from error
        except KeyboardInterrupt:
            screen.fail("interrupted; nothing is half-written")
            raise SystemExit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None

    return run


def terminated(signum: int, frame: object) -> NoReturn:
    """SIGTERM ends a command as Ctrl-C does: in order."""
    raise KeyboardInterrupt
