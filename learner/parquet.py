"""Edits in and out as Parquet: the columns of the view `edits`, `prompt` as JSON text. Needs pyarrow (extra `train`).

Both directions stream: a batch of rows is in memory, whatever the file holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any

from learner.exceptions import ImportFileError
from learner.records import Edit
from learner.store import Store

BATCH = 1000
SUFFIX = ".parquet"


def _arrow() -> tuple[Any, Any]:
    """pyarrow and its parquet module. Raises ImportFileError, saying what to install."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportFileError(
            "Parquet needs pyarrow: pip install 'redraft[train]', or write a .jsonl file instead"
        ) from None
    return pyarrow, parquet


def _schema(arrow: Any) -> Any:
    """The view's columns: whole numbers, numbers or texts, as the record says; all may be null."""
    kinds = {"int": arrow.int64(), "float": arrow.float64()}
    return arrow.schema([(f.name, kinds.get(str(f.type).split(" ")[0], arrow.string())) for f in fields(Edit)])


def export(store: Store, path: Path, edits: Iterable[Edit] | None = None) -> int:
    """Write every edit, or those given; the number of rows. Until it is whole the file has another name."""
    arrow, parquet = _arrow()
    schema, count, rows = _schema(arrow), 0, iter(store.edits("1") if edits is None else edits)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.touch(mode=0o600)
    try:
        with parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            while batch := [asdict(edit) for edit in islice(rows, BATCH)]:
                writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
                count += len(batch)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The rows as the lines of a JSONL file, numbered from 1. Raises ImportFileError for what is no Parquet."""
    arrow, parquet = _arrow()
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, json.dumps(_plain(row))
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ImportFileError(
            f"{path}: no Parquet file that can be read ({error}). Nothing of it was imported"
        ) from error


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a line has it: `prompt` as an object where it is one, nothing for columns without a value."""
    kept = {key: value for key, value in row.items() if value is not None or key in ("kept", "outcome")}
    prompt = kept.get("prompt")
    if isinstance(prompt, str):
        try:
            found = json.loads(prompt)
        except ValueError:
            return kept
        if isinstance(found, dict | list):
            kept["prompt"] = found
    return kept
