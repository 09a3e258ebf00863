"""`learner adapters publish`: adapters for a model host on another machine."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import rich_click as click

from learner import config, screen
from learner.commands.frame import Command, friendly, json_option
from learner.exceptions import AdapterError, ConfigError

if TYPE_CHECKING:
    from learner.endpoint import Endpoint
    from learner.model_files import BaseModel
    from learner.publishing import Engine, Publication

KEY_VARIABLE = "REDRAFT_HOST_KEY"


@click.command("publish", cls=Command)
@click.argument("adapters", nargs=-1, metavar="[ADAPTER]...")
@click.option("--to", "destination", required=True, metavar="DEST", help="A folder, or the URL of a running vLLM.")
@click.option("--engine", type=click.Choice(["vllm", "llama-server"]), help="For this one only; default: both.")
@click.option(
    "--through",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="With a URL: a folder that the server's machine sees, too.",
)
@click.option("--seen-as", metavar="PATH", help="What the server's machine calls that folder, if not the same.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing, ask nobody.")
@json_option
@friendly
def publish(
    adapters: tuple[str, ...],
    destination: str,
    engine: Engine | None,
    through: Path | None,
    seen_as: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make adapters ready for a model host on another machine: vLLM or llama-server.

    Without names, those that serve or are on trial. A folder gets one folder per version, and the
    commands that serve them are printed. A vLLM that runs with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True
    is told to load them. Then name the server as `host.url`.

    \b
    Examples:
      learner adapters publish --to /mnt/shared/adapters
      learner adapters publish sft-3 --to /mnt/shared/adapters --engine vllm
      learner adapters publish --to http://gpu:8000 --through /mnt/shared/adapters
    """
    from learner import model_files, publishing

    paths, settings = config.paths(), config.load()
    base = model_files.current(paths, settings)
    chosen = [publishing.prepare(a) for a in _live(paths, base, adapters)]
    if "://" in destination:
        if engine == "llama-server":
            raise ConfigError("a llama-server loads adapters only when it starts: publish to a folder")
        able = _able(chosen, "vllm", named=bool(adapters))
        report = _to_server(able, _endpoint(destination, settings), through, seen_as, dry_run)
        report["left_out"] = {"vllm": publishing.choose(chosen, "vllm")[1]}
    else:
        if through is not None:
            raise ConfigError("--through goes with the URL of a server in --to")
        report = _to_folder(chosen, base, settings, Path(destination), engine, seen_as, dry_run, named=bool(adapters))
    report = {"base": base.name, "base_fingerprint": base.fingerprint, "to": destination, "dry_run": dry_run} | report
    if as_json:
        screen.dump(report)
    else:
        _tell(report)


def _live(paths: config.Paths, base: BaseModel, names: Sequence[str]) -> list[Any]:
    """The adapters to publish. Raises AdapterError for one that no request would ask for."""
    from learner import registry
    from learner.store import Store

    with Store.open(paths.database, read_only=True) as store:
        if not names:
            found = [a for a in registry.adapters(store, base_fingerprint=base.fingerprint) if a.state in registry.LIVE]
            if not found:
                raise AdapterError("no adapter serves or is on trial: run `learner train`, or promote one")
            return found
        found = [registry.find(store, name) for name in dict.fromkeys(names)]
    for adapter in found:
        if adapter.base_fingerprint != base.fingerprint:
            raise AdapterError(f"{adapter.id} was trained on another base than {base.name}, which is set up now")
        if adapter.state not in registry.LIVE:
            raise AdapterError(f"{adapter.id} is {adapter.state}: `learner adapters promote {adapter.id}` first")
    return found


def _able(chosen: Sequence[Publication], engine: Engine, *, named: bool) -> list[Publication]:
    """Those that `engine` can serve. Raises AdapterError where it is none, or one that was named is not."""
    from learner import publishing

    able, reasons = publishing.choose(chosen, engine)
    if reasons and (named or not able):
        raise AdapterError("; ".join(reasons.values()))
    return able


def _endpoint(url: str, settings: config.Config) -> Endpoint:
    """The server, with the key of `host.url` if it is that one, else `$REDRAFT_HOST_KEY`."""
    from learner.endpoint import Endpoint

    there = settings.host
    if there.url is not None and there.url.rstrip("/") == url.rstrip("/"):
        return Endpoint(url, None, there.api_key or os.environ.get(KEY_VARIABLE), there.kind, there.model)
    return Endpoint(url, None, os.environ.get(KEY_VARIABLE))


def _to_folder(
    chosen: Sequence[Publication],
    base: BaseModel,
    settings: config.Config,
    folder: Path,
    engine: Engine | None,
    seen_as: str | None,
    dry_run: bool,
    *,
    named: bool,
) -> dict[str, Any]:
    from learner import publishing, serve_commands
    from learner.records import AdapterForm

    folder = folder.expanduser().absolute()
    if folder.is_relative_to(config.paths().data):
        raise ConfigError(f"{folder} is Redraft's own: publish to a folder elsewhere")
    written = list(chosen) if engine is None else _able(chosen, engine, named=named)
    there = PurePath(seen_as) if seen_as else folder
    commands: dict[str, str] = {}
    left_out: dict[str, dict[str, str]] = {}
    zero = None
    for kind in publishing.ENGINES if engine is None else (engine,):
        able, left_out[kind] = publishing.choose(chosen, kind)
        if able and kind == "vllm":
            commands[kind] = shlex.join(serve_commands.vllm_command(base, able, there))
        elif able:
            if any(p.adapter.form is AdapterForm.ALORA for p in able):
                zero = publishing.zero_of(base)
            command = serve_commands.llama_server_command(base, able, zero, there, settings)
            commands[kind] = shlex.join(command)
    if not commands:
        raise AdapterError("; ".join(why for reasons in left_out.values() for why in reasons.values()))
    status = {p.name: "would be written" for p in written}
    if not dry_run:
        status = {p.name: "written" if publishing.write(p, folder) else "there already" for p in written}
        if zero is not None:
            publishing.write_zero(base, folder)
        publishing.write_manifest(folder)
    rows = [_row(p, str(there / p.name), status[p.name]) for p in written]
    return {"adapters": rows, "commands": commands, "left_out": left_out}


def _to_server(
    able: Sequence[Publication], endpoint: Endpoint, through: Path | None, seen_as: str | None, dry_run: bool
) -> dict[str, Any]:
    from learner import publishing
    from learner.endpoint import check

    check(endpoint)
    if through is None and not endpoint.here:
        raise ConfigError(
            f"{endpoint.where} is another machine, and vLLM loads adapters from its own disk: "
            "name a folder that both see with --through"
        )
    folder = None if through is None else through.expanduser().absolute()
    there = {p.name: str(p.adapter.path) if folder is None else str(PurePath(seen_as or folder) / p.name) for p in able}
    status = {p.name: "would be loaded" for p in able}
    if not dry_run:
        if folder is not None:
            for publication in able:
                publishing.write(publication, folder)
            publishing.write_manifest(folder)
        status = asyncio.run(_load(endpoint, there))
    return {"adapters": [_row(p, there[p.name], status[p.name]) for p in able], "commands": {}}


async def _load(endpoint: Endpoint, folders: dict[str, str]) -> dict[str, str]:
    """Have the server load what it lacks; what became of each, by name."""
    from learner.client import HostClient

    async with HostClient(endpoint, ours={name: name for name in folders}) as client:
        info = await client.connect()
        if info.engine == "llama.cpp":
            raise AdapterError(
                f"{endpoint.where} is a llama-server, which loads adapters only when it starts: publish to a folder"
            )
        if info.engine != "vllm":
            raise AdapterError(f"{endpoint.where} does not say that it is vLLM: publish to a folder")
        missing = [name for name in folders if name not in info.adapters]
        for name in missing:
            await client.load_adapter(name, folders[name])
        info = await client.connect()
    lost = [name for name in folders if name not in info.adapters]
    if lost:
        raise AdapterError(f"{endpoint.where} does not list {', '.join(lost)} after loading: see the server's log")
    return {name: "loaded" if name in missing else "there already" for name in folders}


def _row(publication: Publication, path: str, status: str) -> dict[str, Any]:
    adapter = publication.adapter
    return {
        "id": adapter.id,
        "name": publication.name,
        "form": adapter.form.value,
        "rank": publication.rank,
        "path": path,
        "status": status,
    }


def _tell(report: dict[str, Any]) -> None:
    columns = {"id": "Adapter", "name": "Served as", "form": "Form", "status": "State"}
    screen.table(report["adapters"], columns, False, empty="")
    for engine, reasons in report["left_out"].items():
        for why in reasons.values():
            screen.note(f"\nNot for {engine}: {why}.")
    for engine, command in report["commands"].items():
        screen.note(f"\nOn the machine that serves, with {engine}:")
        screen.say(None, command, False)
