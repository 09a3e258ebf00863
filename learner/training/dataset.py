"""From edits to tokenised rows, through `learner.prompt` only, so that training reads what was served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from rapidfuzz.distance import Levenshtein

from learner.cost import cost, cost_max
from learner.exceptions import PluginError
from learner.feedback import Prepared
from learner.prompt import answer_ids, prompt_ids
from learner.records import Edit, Outcome, Task
from learner.training.settings import TrainSettings

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One edit in tokens.

    `start` is the index in `prompt` from which an activated adapter acts (0 for a plain one).
    `kept` is empty when nothing was kept. The alignment masks are True where a token stands in
    both texts by the minimal edit script; `tables` holds the feedback type's own numbers, one per
    candidate.
    """

    offer_id: str
    document: str
    prompt: Ids
    start: int
    kept: Ids
    offered: Ids
    weight: float
    cost: float
    cost_max: float
    kept_aligned: tuple[bool, ...]
    offered_aligned: tuple[bool, ...]
    candidates: tuple[Ids, ...] = ()
    tables: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tokenised:
    """The rows that fit, the edits they came from, and why the others were left out, by reason."""

    rows: tuple[Row, ...]
    edits: tuple[Edit, ...]
    left_out: Mapping[str, int]

    def only(self, offers: Set[str]) -> Tokenised:
        """Those of these offers."""
        pairs = [(r, e) for r, e in zip(self.rows, self.edits, strict=True) if r.offer_id in offers]
        return replace(self, rows=tuple(r for r, _ in pairs), edits=tuple(e for _, e in pairs))


def tokenise(edits: Sequence[Edit], tokenizer: Any, settings: TrainSettings, invocation: Sequence[int]) -> Tokenised:
    """Turn edits into rows.

    `invocation` are the tokens from which an activated adapter acts; empty for a plain adapter.
    Nothing is cut: an edit over a limit is left out, and counted.
    """
    rows: list[Row] = []
    used: list[Edit] = []
    left_out: Counter[str] = Counter()
    for edit in edits:
        row = _row(edit, tokenizer, settings, tuple(invocation))
        if isinstance(row, str):
            left_out[row] += 1
        else:
            rows.append(row)
            used.append(edit)
    return Tokenised(tuple(rows), tuple(used), dict(left_out))


def _row(edit: Edit, tokenizer: Any, settings: TrainSettings, invocation: Ids) -> Row | str:
    """The row of an edit, or the reason why it has none."""
    prompt = tuple(prompt_ids(edit.chat, tokenizer))
    if len(prompt) > settings.max_prompt_tokens:
        return f"its prompt is longer than {settings.max_prompt_tokens} tokens"
    start = _last(prompt, invocation) if invocation else 0
    if start is None:
        return "its prompt does not hold the tokens that activate the adapter"
    offered = tuple(answer_ids(edit.offered, tokenizer, ended=stopped(edit)))
    kept: Ids = ()
    if edit.kept and edit.outcome != Outcome.REJECTED:
        kept = tuple(answer_ids(edit.kept, tokenizer, ended=end_is_settled(edit)))
    if max(len(offered), len(kept)) > settings.max_answer_tokens:
        return f"its offered or kept text is longer than {settings.max_answer_tokens} tokens"
    kept_aligned, offered_aligned = align(kept, offered)
    paper, bounded = _costs(edit)
    weight = settings.accepted_weight if edit.outcome == Outcome.ACCEPTED else 1.0
    return Row(
        edit.offer_id,
        edit.document,
        prompt,
        start,
        kept,
        offered,
        weight,
        paper,
        bounded,
        kept_aligned,
        offered_aligned,
    )


def stopped(edit: Edit) -> bool:
    """Whether the model ended the offered text by itself: end-of-text is a target after it.

    Not so when the end was cut off: by the token limit, by the trimming of endless repetition,
    or by a user who accepted a part.
    """
    whole = not edit.generated or edit.offered.rstrip() in (edit.generated.rstrip(), edit.generated.strip())
    fenced = edit.generated.rstrip().endswith("```") and edit.offered.rstrip() in edit.generated
    suffix = edit.generated.rstrip().endswith(edit.offered.rstrip())  # a preamble was trimmed
    return edit.finish_reason == "stop" and (whole or fenced or suffix)


def end_is_settled(edit: Edit) -> bool:
    """Whether the user settled where the kept text ends: end-of-text is a target after it.

    A rewrite or a draft stands on its own, so who accepts or edits it settles its end. A
    completion goes on where the user types on; there it needs the model to have stopped.
    """
    if edit.task in (Task.REWRITE, Task.DRAFT) and edit.outcome in (Outcome.ACCEPTED, Outcome.EDITED):
        return True
    return stopped(edit)


def align(kept: Ids, offered: Ids) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Masks over the tokens of both texts: True where the minimal edit script keeps a token."""
    in_kept, in_offered = [False] * len(kept), [False] * len(offered)
    for block in Levenshtein.opcodes(offered, kept).as_matching_blocks():
        in_offered[block.a : block.a + block.size] = [True] * block.size
        in_kept[block.b : block.b + block.size] = [True] * block.size
    return tuple(in_kept), tuple(in_offered)


def with_prepared(
    data: Tokenised,
    prepared: Prepared,
    tokenizer: Any,
    settings: TrainSettings,
    plugin: str,
    *,
    cut: Set[str] = frozenset(),
) -> Tokenised:
    """The rows with what `prepare` made of their edits.

    Candidates in `cut` were ended by the token limit. They are no answers (to imitate them teaches
    to run on), so they are dropped with their numbers, unless a user was offered or kept that text.
    Raises PluginError when the shapes do not fit the edits.
    """
    _check_prepared(data, prepared, plugin)
    rows: list[Row] = []
    used: list[Edit] = []
    left_out = Counter(data.left_out)
    for i, (row, edit) in enumerate(zip(data.rows, data.edits, strict=True)):
        known = {edit.offered: row.offered, **({edit.kept: row.kept} if edit.kept and row.kept else {})}
        places = [j for j, text in enumerate(prepared.candidates[i]) if text in known or text not in cut]
        drawn = [prepared.candidates[i][j] for j in places]
        texts = tuple(known.get(t) or tuple(answer_ids(t, tokenizer, ended=True)) for t in drawn)
        if any(len(t) > settings.max_answer_tokens for t in texts):
            left_out[f"a candidate is longer than {settings.max_answer_tokens} tokens"] += 1
            continue
        tables = {name: tuple(float(table[i][j]) for j in places) for name, table in prepared.tables.items()}
        rows.append(replace(row, candidates=texts, tables=tables))
        used.append(edit)
    return Tokenised(tuple(rows), tuple(used), dict(left_out))


def _check_prepared(data: Tokenised, prepared: Prepared, plugin: str) -> None:
    if len(prepared.candidates) != len(data.rows):
        raise PluginError(
            f"feedback type {plugin!r}: `prepare` made candidates for {len(prepared.candidates)} edits, "
            f"but was given {len(data.rows)}"
        )
    for name, table in prepared.tables.items():
        if [len(t) for t in table] != [len(c) for c in prepared.candidates]:
            raise PluginError(
                f"feedback type {plugin!r}: the table {name!r} of `prepare` should hold one number per candidate"
            )


def _costs(edit: Edit) -> tuple[float, float]:
    """`cost` and `cost_max`: the stored ones, or computed where an import left them out."""
    if edit.outcome == Outcome.REJECTED or not edit.kept:
        return 1.0, 1.0
    paper, bounded = edit.cost, edit.cost_max
    return (
        cost(edit.offered, edit.kept) if paper is None and edit.offered.strip() else float(paper or 0.0),
        cost_max(edit.offered, edit.kept) if bounded is None else float(bounded),
    )


def _last(ids: Ids, wanted: Ids) -> int | None:
    """Where `wanted` begins for the last time in `ids`."""
    for start in range(len(ids) - len(wanted), -1, -1):
        if ids[start : start + len(wanted)] == wanted:
            return start
    return None
