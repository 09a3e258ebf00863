"""From what became of a span to the record of it: line ends as the store has them, characters counted."""

from __future__ import annotations

from learner.records import Outcome, SettledBy, Settlement, now
from lsp_server.kept import Tracked, Verdict
from lsp_server.segments import Kept


def unix(text: str) -> str:
    """A document's text with the line ends that the store uses."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def of_span(offer_id: str, tracked: Tracked, judged: Verdict, by: SettledBy, shown_ms: float | None) -> Settlement:
    """The settlement of an offer that was put in and judged (not censored)."""
    span = tracked.last()
    assert span is not None
    offered, kept = unix(span.offered), None if judged.kept is None else unix(judged.kept)
    surviving = 0
    if judged.outcome is Outcome.ACCEPTED:
        surviving = len(offered)
    elif judged.kept_chars:
        pieces = (span.offered[s.a : s.b] for s in span.segments if isinstance(s, Kept))
        surviving = min(sum(len(unix(piece)) for piece in pieces), len(offered), len(kept or ""))
    first = None if tracked.first_change_at is None else 1000 * (tracked.first_change_at - tracked.placed_at)
    return Settlement(
        offer_id,
        judged.outcome,
        by,
        now(),
        kept=kept,
        offered=offered if span.rest else None,
        kept_chars=surviving,
        modified_chars=len(kept or "") - surviving,
        deleted_chars=len(offered) - surviving,
        appended_chars=judged.appended_chars,
        shown_ms=shown_ms,
        first_change_ms=first,
    )
