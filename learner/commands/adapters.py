"""`learner adapters`: list, show, promote, retire, publish and prune adapters."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from learner import config, screen
from learner.commands.frame import Group, friendly, json_option
from learner.commands.publishing import publish
from learner.exceptions import AdapterError, RedraftError
from learner.records import AdapterState


def _ids(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """For the shell's completion: the adapters there are."""
    from learner import registry
    from learner.store import Store

    try:
        with Store.open(config.paths().database, read_only=True) as store:
            return [a.id for a in registry.adapters(store) if a.id.startswith(typed)]
    except RedraftError:
        return []


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def adapters(context: click.Context) -> None:
    """List, show, promote, retire, publish and prune adapters.

    \b
    Examples:
      learner adapters
      learner adapters show sft-1
    """
    if context.invoked_subcommand is None:
        context.invoke(adapters_list)


adapters.add_command(publish)


@adapters.command("list")
@click.option("--all", "every", is_flag=True, help="Retired versions that were replaced, too.")
@json_option
@friendly
def adapters_list(every: bool = False, as_json: bool = False) -> None:
    """List the adapters with their held-out figures: those that serve, and the newest of each.

    \b
    Examples:
      learner adapters list
      learner adapters list --all
    """
    from learner import registry
    from learner.store import Store

    paths = config.paths()
    if not paths.database.exists():
        screen.adapters([], as_json)
        return
    with Store.open(paths.database, read_only=True) as store:
        screen.adapters(registry.adapters(store), as_json, every=every)


@adapters.command("show")
@click.argument("adapter", shell_complete=_ids)
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


def _move(adapter: str, state: AdapterState, as_json: bool) -> None:
    from learner import model_files, registry
    from learner.adapter_files import verify_adapter
    from learner.store import Store

    paths = config.paths()
    with Store.open(paths.database, read_only=True) as store:  # makes no database where there is none
        found = registry.find(store, adapter)
    if state is AdapterState.SERVING:
        if not Path(found.path).exists():
            raise AdapterError(
                f"the weights of {adapter} are gone: it was replaced long ago and pruned, or had learned from what was "
                "forgotten. Promote another version (`learner adapters list --all`), or run `learner train`"
            )
        base = model_files.current(paths, config.load())
        if found.base_fingerprint != base.fingerprint:
            raise AdapterError(
                f"{adapter} was trained on another base model than {base.name}, which is set up now: "
                "go back to that one with `learner setup`, or run `learner train` for this one"
            )
        verify_adapter(Path(found.path), found.sha256)
    with Store.open(paths.database) as store:
        moved = registry.set_state(store, adapter, state)
    screen.say({"id": moved.id, "state": moved.state}, f"{moved.id} is {moved.state} now.", as_json)


@adapters.command("promote")
@click.argument("adapter", shell_complete=_ids)
@json_option
@friendly
def adapters_promote(adapter: str, as_json: bool) -> None:
    """Let an adapter serve, whatever its held-out figures say.

    \b
    Example:
      learner adapters promote sft-1
    """
    _move(adapter, AdapterState.SERVING, as_json)


@adapters.command("retire")
@click.argument("adapter", shell_complete=_ids)
@json_option
@friendly
def adapters_retire(adapter: str, as_json: bool) -> None:
    """Take an adapter out of the choice.

    \b
    Example:
      learner adapters retire dpo-2
    """
    _move(adapter, AdapterState.RETIRED, as_json)


@adapters.command("prune")
@click.option(
    "--keep",
    type=click.IntRange(0),
    help="Replaced versions of each adapter that stay; default: the setting `keep_versions`, which is 3.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@json_option
@friendly
def adapters_prune(keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove the weights of versions that were replaced long ago.

    Every training does this. What serves, what is on trial and what was never judged stays; so does what is known of
    the removed versions, but for which edits they saw: copies that you published elsewhere are not known to
    `learner forget` then.

    \b
    Examples:
      learner adapters prune --dry-run
      learner adapters prune --keep 0
    """
    from filelock import FileLock, Timeout

    from learner.forget import TRAINING_LOCK
    from learner.pruning import prune
    from learner.store import Store

    paths = config.paths()
    with Store.open(paths.database, read_only=True):  # makes no database where there is none
        pass
    keep = config.load().keep_versions if keep is None else keep
    try:
        with FileLock(paths.data / TRAINING_LOCK, timeout=0, mode=0o600), Store.open(paths.database) as store:
            found = prune(store, paths.adapters, keep, dry_run=dry_run)
    except Timeout as error:
        raise AdapterError("a training runs, which prunes by itself: wait for it, or stop it") from error
    what = ", ".join(found.versions) or "nothing"
    words = f"{'Would remove' if dry_run else 'Removed'} the weights of {what} ({found.bytes / 1e6:.1f} MB)."
    screen.say({"versions": list(found.versions), "bytes": found.bytes, "left": list(found.left)}, words, as_json)
    if found.left:
        raise AdapterError(f"not removed: {'; '.join(found.left)}")
