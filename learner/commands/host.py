"""`learner setup` and `learner serve`: the base model, and the host that serves it."""

from __future__ import annotations

import rich_click as click

from learner import config, screen
from learner.commands.frame import Command, friendly, json_option
from learner.progress import Work


@click.command(cls=Command)
@click.option("--model", help="A folder, a GGUF file, or a hub id. Default: SmolLM2 from its package.")
@click.option("--download", is_flag=True, help="Allow a hub id to download; nothing else ever does.")
@click.option("--list", "list_only", is_flag=True, help="List what is prepared.")
@json_option
@friendly
def setup(model: str | None, download: bool, list_only: bool, as_json: bool) -> None:
    """Prepare a base model: what trains and what serves, once.

    \b
    Examples:
      learner setup
      learner setup --model ~/models/Qwen2.5-0.5B-Instruct
      learner setup --model Qwen/Qwen2.5-0.5B-Instruct --download
    """
    from learner import model_files, models

    paths = config.paths()
    if not list_only:
        with Work("Preparing the base model") as work:
            base = models.setup(model, paths, work.step, allow_download=download)
        if config.load().base != base.name:
            config.save(base=base.name)
    screen.models(model_files.prepared(paths), as_json)


@click.command(cls=Command)
@click.option("--status", is_flag=True, help="Say whether a host runs, and what it serves.")
@click.option("--stop", is_flag=True, help="Stop the host that runs.")
@json_option
@friendly
def serve(status: bool, stop: bool, as_json: bool) -> None:
    """Run the model host: one per user, shared by all editor windows.

    Editors start it by themselves, and it leaves when it is idle.

    \b
    Examples:
      learner serve
      learner serve --status --json
    """
    from learner import launch

    paths = config.paths()
    if stop:
        stopped = launch.stop_host(paths)
        screen.say({"stopped": stopped}, "Stopped." if stopped else "No host was running.", as_json)
        return
    if status:
        found = launch.host_status(paths)
        screen.host(found, as_json)
        raise SystemExit(0 if found else 1)
    from learner import serving
    from learner.arms import load_arms

    settings = config.load()
    serving.serve(lambda: load_arms(paths, settings), paths, settings)
