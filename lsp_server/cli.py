"""`redraft-lsp`: the language server, over stdio (default) or TCP on loopback."""

from __future__ import annotations

import gc
import logging
import os
import sys

import click

SWITCH_SECONDS = 0.0005
"""How long the store's thread may hold the interpreter while an answer waits for it; Python's own is ten times that."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stdio", is_flag=True, help="Speak over standard input and output (the default).")
@click.option("--tcp", type=click.IntRange(1, 65535), help="Listen on this port of 127.0.0.1, for one client.")
@click.option("--log-file", type=click.Path(dir_okay=False), help="Write the log there instead of standard error.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="warning")
@click.version_option(package_name="redraft")
def main(stdio: bool, tcp: int | None, log_file: str | None, log_level: str) -> None:
    """The language server of Redraft; editors start it.

    \b
    Examples:
      redraft-lsp
      redraft-lsp --tcp 8731
    """
    if stdio and tcp:
        raise click.UsageError("give one of --stdio and --tcp")
    os.umask(0o077)  # whatever is written here is its user's only
    logging.basicConfig(
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[logging.FileHandler(log_file) if log_file else logging.StreamHandler(sys.stderr)],
    )
    if log_level != "debug":
        logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it logs whole messages, and so the user's text
    gc.disable()  # a seventh of the time that the imports take
    from lsp_server import transport
    from lsp_server.server import RedraftServer

    gc.freeze()  # what is there now stays, and need not be looked through again
    gc.enable()
    sys.setswitchinterval(SWITCH_SECONDS)
    server = RedraftServer()
    sys.exit(transport.tcp(server, tcp) if tcp else transport.stdio(server))


if __name__ == "__main__":
    main()
