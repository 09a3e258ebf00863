"""From rows to what a loss sees: only the signals that are needed, each distinct text computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import torch
from torch import Tensor

from learner.feedback import EditBatch, Signal, TokenLogprobs
from learner.training.dataset import Ids, Row
from learner.training.logprobs import Text

Score = Callable[[Sequence[Text]], tuple[Tensor, Tensor]]
"""Texts -> log-probabilities under the policy and mask, each (texts, longest answer)."""


def answers(row: Row, needs: Set[Signal]) -> list[Ids]:
    """The answers of a row that are wanted, without doubles and without empty ones."""
    wanted: list[Ids] = []
    if Signal.KEPT in needs:
        wanted.append(row.kept)
    if Signal.OFFERED in needs:
        wanted.append(row.offered)
    if Signal.CANDIDATES in needs:
        wanted.extend(row.candidates)
    return [a for a in dict.fromkeys(wanted) if a]


def texts(rows: Sequence[Row], needs: Set[Signal]) -> list[Text]:
    """Every distinct text of these rows that is wanted."""
    return list(dict.fromkeys(Text(r.prompt, r.start, a) for r in rows for a in answers(r, needs)))


def length(row: Row, needs: Set[Signal], *, from_start: bool) -> int:
    """Tokens that a row costs per text: the longest of its texts, with or without the shared prompt."""
    longest = max((len(a) for a in answers(row, needs)), default=0)
    return longest + len(row.prompt) - (row.start if from_start else 0)


def tokens(row: Row, needs: Set[Signal], *, from_start: bool, shared: bool) -> int:
    """Tokens that a row costs: of all its texts, with the prompt before each, or once where they share it."""
    wanted = answers(row, needs)
    if not shared:
        return len(wanted) * length(row, needs, from_start=from_start)
    return sum(map(len, wanted)) + len(row.prompt) - (row.start if from_start else 0)


def edit_batch(
    rows: Sequence[Row],
    needs: Set[Signal],
    score: Score,
    reference: Callable[[Text], Tensor] | None,
    device: torch.device,
) -> EditBatch:
    """The batch of these rows; `reference` is given where `needs` asks for it."""
    wanted = texts(rows, needs)
    if wanted:
        policy, mask = score(wanted)
    else:
        policy, mask = torch.zeros(0, 0, device=device), torch.zeros(0, 0, dtype=torch.bool, device=device)
    before = None
    if reference is not None and Signal.REFERENCE in needs:
        before = torch.zeros(policy.shape, device=device)
        for i, text in enumerate(wanted):
            known = reference(text)
            before[i, : len(known)] = known.to(device)
    scored = _Scored({t: i for i, t in enumerate(wanted)}, policy, mask, before)

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float32, device=device)

    kept = scored.one(rows, [r.kept for r in rows]) if Signal.KEPT in needs else None
    offered = scored.one(rows, [r.offered for r in rows]) if Signal.OFFERED in needs else None
    candidates = scored.many(rows, [list(r.candidates) for r in rows]) if Signal.CANDIDATES in needs else None
    both = kept is not None and offered is not None
    width = max((len(r.candidates) for r in rows), default=0)
    names = sorted({name for r in rows for name in r.tables})
    return EditBatch(
        weight=column([r.weight for r in rows]),
        cost=column([r.cost for r in rows]),
        cost_max=column([r.cost_max for r in rows]),
        kept=kept,
        offered=offered,
        candidates=candidates,
        kept_aligned=_padded([r.kept_aligned for r in rows], kept.mask) if both and kept else None,
        offered_aligned=_padded([r.offered_aligned for r in rows], offered.mask) if both and offered else None,
        tables={
            name: torch.tensor(
                [[*r.tables[name], *[0.0] * (width - len(r.tables[name]))] for r in rows],
                dtype=torch.float32,
                device=device,
            )
            for name in names
        },
    )


class _Scored:
    """Scored texts by number; a missing one is the row of zeros at the end."""

    def __init__(self, number: dict[Text, int], policy: Tensor, mask: Tensor, reference: Tensor | None) -> None:
        self._number = number
        pad = (0, 0, 0, 1)
        self._policy = torch.nn.functional.pad(policy, pad)
        self._mask = torch.nn.functional.pad(mask, pad)
        self._reference = None if reference is None else torch.nn.functional.pad(reference, pad)

    def one(self, rows: Sequence[Row], chosen: Sequence[Ids]) -> TokenLogprobs:
        """One text per row: (rows, tokens)."""
        return self._take(rows, [[a] for a in chosen], squeeze=True)

    def many(self, rows: Sequence[Row], chosen: Sequence[Sequence[Ids]]) -> TokenLogprobs:
        """Several texts per row: (rows, texts, tokens)."""
        return self._take(rows, chosen, squeeze=False)

    def _take(self, rows: Sequence[Row], chosen: Sequence[Sequence[Ids]], *, squeeze: bool) -> TokenLogprobs:
        width = max((len(c) for c in chosen), default=0)
        tokens = max((len(a) for c in chosen for a in c), default=0)
        missing = len(self._number)
        numbers = [
            [self._number.get(Text(r.prompt, r.start, a), missing) for a in c] + [missing] * (width - len(c))
            for r, c in zip(rows, chosen, strict=True)
        ]
        index = torch.tensor(numbers, dtype=torch.long, device=self._policy.device).view(len(rows), width)
        if squeeze:
            index = index[:, 0]
        reference = None if self._reference is None else self._reference[index][..., :tokens]
        return TokenLogprobs(self._policy[index][..., :tokens], self._mask[index][..., :tokens], reference)


def _padded(masks: Sequence[Sequence[bool]], like: Tensor) -> Tensor:
    width = like.shape[1]
    rows = [[*m, *[False] * (width - len(m))] for m in masks]
    return torch.tensor(rows, dtype=torch.bool, device=like.device).view(len(rows), width)
