"""What every command shares: the `--json` flag, and errors without tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec

import rich_click as click

from learner import screen
from learner.exceptions import RedraftError

P = ParamSpec("P")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def friendly(command: Callable[P, None]) -> Callable[P, None]:
    """Print our errors without a traceback, and exit with their code."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
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
