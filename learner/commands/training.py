"""`learner train` and `learner demo`: from collected edits to adapters, and the whole loop at once."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from learner import config, screen
from learner.commands.frame import friendly, json_option


@click.command()
@friendly
def train() -> None:
    """Train."""


@click.command()
@friendly
def demo() -> None:
    """Demo."""


_ = (Path, config, screen, json_option)
