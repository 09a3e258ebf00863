"""`learner edits`: look at, export, import and forget the collected edits."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from learner import config, screen
from learner.commands.frame import Command, Group, friendly, json_option
from learner.records import Task


@click.group(cls=Group)
def edits() -> None:
    """Look at, export, import and forget the collected edits.

    \b
    Examples:
      learner edits list
      learner edits stats
    """


@edits.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The newest so many.")
@json_option
@friendly
def edits_list(limit: int, as_json: bool) -> None:
    """Show the newest edits.

    \b
    Example:
      learner edits list --limit 5
    """
    from learner.store import Store

    with Store.open(config.paths().database, read_only=True) as store:
        total = store.db.execute("SELECT count(*) FROM offers").fetchone()[0]
        start = max(0, total - limit)
        rows = list(store.edits(f"offer_id IN (SELECT id FROM offers ORDER BY created_at, id LIMIT -1 OFFSET {start})"))
    screen.edits(rows, total, as_json)


@edits.command("stats")
@click.option("--task", type=click.Choice(list(Task)), help="Only offers of this task.")
@json_option
@friendly
def edits_stats(task: str | None, as_json: bool) -> None:
    """Show how edit cost went, by arm and by week: whether learning helped.

    \b
    Examples:
      learner edits stats
      learner edits stats --task rewrite --json
    """
    from learner.stats import edit_stats
    from learner.store import Store

    with Store.open(config.paths().database, read_only=True) as store:
        screen.stats(edit_stats(store, task), as_json)


@edits.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["redraft", "trl"]),
    default="redraft",
    show_default=True,
    help="All of each edit, or prompt, chosen and rejected of those that were changed.",
)
@click.option("--team", is_flag=True, help="Only your own that teach, without the names of documents and folders.")
@click.option("--author", metavar="NAME", help="Your name on your edits; default: the setting `author`, or pseudonym.")
@friendly
def edits_export(file: Path, kind: str, team: bool, author: str | None) -> None:
    """Write the edits to a JSONL file (- for standard output), or to a Parquet file.

    The texts leave as they are. Who made an edit is a pseudonym, unless you give a name.

    \b
    Examples:
      learner edits export my-edits.jsonl
      learner edits export --team my-edits.parquet
      learner edits export --format trl preferences.jsonl
    """
    from learner import authors, exchange, parquet
    from learner.store import Store

    name = config.load().author if author is None else author
    if len(name) > authors.LONGEST or not name.isprintable():
        raise click.UsageError(f"an author's name is a line of at most {authors.LONGEST} characters")
    with Store.open(config.paths().database, read_only=True) as store:
        edits = authors.leaving(store, name, team=team)
        if str(file) == "-":
            exchange.export(store, sys.stdout, edits=edits, trl=kind == "trl")
            return
        if file.suffix == parquet.SUFFIX:
            if kind == "trl":
                raise click.UsageError("--format trl is written as JSONL: give a .jsonl file")
            screen.note(f"Wrote {parquet.export(store, file, edits)} edits to {file}.")
            return
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            count = exchange.export(store, out, edits=edits, trl=kind == "trl")
    screen.note(f"Wrote {count} edits to {file}.")


@edits.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@friendly
def edits_import(file: Path, as_json: bool) -> None:
    """Read edits from a JSONL or Parquet file: all of it, or nothing. What is there already is not read twice.

    A line needs `prompt` (a string or chat messages), `offered` and `kept`.

    \b
    Example:
      learner edits import their-edits.jsonl
    """
    from learner import exchange
    from learner.store import Store

    with Store.open(config.paths().database) as store:
        imported, skipped = exchange.load(store, file)
    words = f"Imported {imported} edits" + (f"; {skipped} were there already." if skipped else ".")
    screen.say({"imported": imported, "skipped": skipped}, words, as_json)


@edits.command("authors")
@json_option
@friendly
def edits_authors(as_json: bool) -> None:
    """Show whose edits there are, and what you are called in an export.

    \b
    Example:
      learner edits authors
    """
    from dataclasses import asdict

    from learner.authors import authors
    from learner.store import Store

    with Store.open(config.paths().database, read_only=True) as store:
        rows = [asdict(a) for a in authors(store, config.load().author)]
    columns = {"author": "Author", "own": "You", "edits": "Edits", "taught": "That teach"}
    screen.table(rows, columns, as_json, empty="No edits yet.")


@edits.command("forget")
@click.option("--document", help="The URI of one document.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Everything of the last so many hours.")
@click.option("--author", metavar="NAME", help="All that came from somebody else, as `authors` names them.")
@click.option("--everything", is_flag=True, help="Everything there is.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@json_option
@friendly
def edits_forget(
    document: str | None, hours: float | None, author: str | None, everything: bool, yes: bool, as_json: bool
) -> None:
    """Delete edits for good, and retire the adapters that saw them.

    \b
    Examples:
      learner edits forget --hours 1
      learner edits forget --author author-0123456789ab
    """
    from dataclasses import asdict

    from learner.forget import forget
    from learner.records import now
    from learner.store import Store

    if sum([document is not None, hours is not None, author is not None, everything]) != 1:
        raise click.UsageError("give one of --document, --hours, --author and --everything")
    if not yes:
        words = "This deletes edits for good and retires the adapters that saw them. Go on?"
        click.confirm(words, abort=True, err=True)
    since = None if hours is None else now() - hours * 3600
    with Store.open(config.paths().database) as store:
        receipt = forget(store, document=document, since=since, author=author, everything=everything)
    screen.say(asdict(receipt), str(receipt), as_json)


@click.command(cls=Command)
@click.argument("word", type=click.Choice(["yes", "no", "show"]), default="show")
@click.option("--workspace", default="*", help="URI of one workspace folder; default: all.")
@json_option
@friendly
def consent(word: str, workspace: str, as_json: bool) -> None:
    """Say whether edits may be recorded; nothing is before a yes.

    \b
    Examples:
      learner consent yes
      learner consent no --workspace file:///home/me/secret
    """
    from learner.store import Store

    paths = config.paths()
    if word == "show" and not paths.database.exists():
        screen.say({"recording": False}, "No consent was given; nothing is recorded.", as_json)
        return
    with Store.open(paths.database) as store:
        if word != "show":
            store.set_consent(word == "yes", scope=workspace, source="learner consent")
        granted = store.consent(workspace) is not None
    where = "everywhere" if workspace == "*" else f"in {workspace}"
    words = f"Edits are recorded {where}, in {paths.database}." if granted else f"Nothing is recorded {where}."
    screen.say({"recording": granted, "database": str(paths.database)}, words, as_json)
