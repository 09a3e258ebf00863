"""What the user kept, by our measure and by the published formulas of others, against what the writer means.

The formulas are written from their descriptions (`docs/kept-text.md` names them); each sees what its
system sees: the document when the offer was put in and the document now. Ours sees every change.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rapidfuzz.distance import Levenshtein

from learner.cost import cost_max, tokens
from learner.records import Outcome
from lsp_server.document import Document
from lsp_server.kept import Tracked, Tracker
from lsp_server.reanchor import resumed
from lsp_server.span import Span
from tests.benchmarks.row import Row
from tests.benchmarks.writing_sessions import KINDS, Writing, sessions

SESSIONS = 100
"""Of each kind."""
GONE = 0.9
"""Others give a figure and no outcome: from here on it counts as rejected, at 0 as accepted."""
CONTEXT = 20
REACH = 1500


@dataclass(frozen=True, slots=True)
class Reading:
    """What a measure says of a session: a cost in [0, 1] and an outcome; None where it does not say."""

    cost: float | None
    outcome: Outcome | None


def ours(writing: Writing) -> Reading:
    """Provenance per character, through every change."""
    document = Document("file:///w.md", writing.before + writing.behind, 1, "markdown", "utf-16")
    place = document.position(len(writing.before))
    delta = document.replace(place, place, writing.offer)
    tracker = Tracker()
    tracker.place("o", Span.placed(writing.offer, delta.new_start, delta.new_end), 0.0)
    for number, step in enumerate(writing.steps, 1):
        at = float(number)
        change = document.replace(document.position(step.start), document.position(step.end), step.text)
        if step.restart:
            tracked = Tracked.from_json(tracker.open["o"].to_json(at), at)
            span = resumed(tracked.span, document)
            if span is None:
                return Reading(None, None)
            tracked.span, tracker = span, Tracker()
            tracker.resume("o", tracked)
            continue
        tracker.apply([change], document, at, machine=step.machine)
    found = tracker.settle("o", document)
    if found.outcome is Outcome.CENSORED:
        return Reading(None, None)
    return Reading(1.0 if found.kept is None else cost_max(writing.offer, found.kept), found.outcome)


def _outcome(cost: float) -> Outcome:
    return Outcome.ACCEPTED if cost == 0 else Outcome.REJECTED if cost >= GONE else Outcome.EDITED


def dice(writing: Writing) -> Reading:
    """Dice over character 4-grams, on the offer's range after realigning by its surroundings (Copilot, edits)."""
    head, tail = writing.before[-CONTEXT:], writing.behind[:CONTEXT]
    near = max(0, len(writing.before) - REACH)
    start = writing.text.find(head, near)
    begin = start + len(head) if start >= 0 else len(writing.before)
    end = writing.text.find(tail, begin)
    region = writing.text[begin : end if end >= 0 else begin + len(writing.offer)]
    a, b = _grams(writing.offer), _grams(region)
    cost = 1 - 2 * (a & b).total() / max(1, a.total() + b.total())
    return Reading(cost, _outcome(cost))


def _grams(text: str) -> Counter[str]:
    return Counter(text[i : i + 4] for i in range(max(1, len(text) - 3)))


def original_range(writing: Writing) -> Reading:
    """Levenshtein over the offer's length, at the range where the offer was put in (AWS language server)."""
    at = len(writing.before)
    region = writing.text[at : at + len(writing.offer)]
    cost = min(1.0, Levenshtein.distance(writing.offer, region) / len(writing.offer))
    return Reading(cost, _outcome(cost))


def lcs(writing: Writing) -> Reading:
    """Longest common subsequence of the whole document's tokens then and now; what the offer lost and gained (Zed)."""
    a, b = tokens(writing.accepted), tokens(writing.text)
    first, last = len(tokens(writing.before)), len(tokens(writing.before + writing.offer))
    survived = gained = 0
    for tag, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        inside = max(0, min(a2, last) - max(a1, first))
        if tag == "equal":
            survived += inside
        elif inside or (a1 == a2 and first < a1 < last):
            gained += b2 - b1
    size = last - first
    cost = max(size - survived, gained) / max(1, size, survived + gained)
    return Reading(cost, _outcome(cost))


MEASURES: dict[str, Callable[[Writing], Reading]] = {
    "ours": ours,
    "4-gram Dice": dice,
    "Levenshtein at the original range": original_range,
    "document LCS": lcs,
}


@dataclass(frozen=True, slots=True)
class Score:
    """Mean absolute error of the cost, share of wrong outcomes, share of sessions that it says nothing of."""

    error: float
    wrong: float
    censored: float


def truth(writing: Writing) -> Reading:
    """What the writer means."""
    if writing.kept is None:
        return Reading(1.0, Outcome.REJECTED)
    same = writing.kept == writing.offer
    return Reading(cost_max(writing.offer, writing.kept), Outcome.ACCEPTED if same else Outcome.EDITED)


def scores(count: int = SESSIONS) -> dict[str, dict[str, Score]]:
    """Score by measure and kind of session; the kind "all" holds the mean over kinds."""
    found: dict[str, dict[str, list[tuple[Reading, Reading]]]] = {m: {k: [] for k in KINDS} for m in MEASURES}
    for writing in sessions(count):
        meant = truth(writing)
        for name, measure in MEASURES.items():
            found[name][writing.kind].append((measure(writing), meant))
    table = {m: {kind: _score(pairs) for kind, pairs in kinds.items()} for m, kinds in found.items()}
    for kinds in table.values():
        each = list(kinds.values())
        kinds["all"] = Score(*(fmean(getattr(s, n) for s in each) for n in ("error", "wrong", "censored")))
    return table


def _score(pairs: list[tuple[Reading, Reading]]) -> Score:
    told = [(said, meant) for said, meant in pairs if said.cost is not None]
    errors = [abs((said.cost or 0.0) - (meant.cost or 0.0)) for said, meant in told]
    wrong = [said.outcome is not meant.outcome for said, meant in told]
    return Score(fmean(errors) if told else 0.0, fmean(wrong) if told else 0.0, 1 - len(told) / len(pairs))


def rows() -> list[Row]:
    """Ours against the best of the others, for each kind of session and in all."""
    table = scores()
    made = []
    for kind in [*KINDS, "all"]:
        best = min(kinds[kind].error for name, kinds in table.items() if name != "ours")
        limit = 0.1 if kind == "all" else None
        made.append(
            Row.of(f"kept text, {kind}: error of the cost", table["ours"][kind].error, best, limit, "cost", on="ours")
        )
    best = min(kinds["all"].wrong for name, kinds in table.items() if name != "ours")
    made.append(Row.of("kept text, all: wrong outcomes", table["ours"]["all"].wrong, best, 0.1, "share", on="ours"))
    made.append(Row.of("kept text, all: censored", table["ours"]["all"].censored, None, 0.05, "share"))
    return made


def markdown(table: dict[str, dict[str, Score]]) -> str:
    """The table of `docs/kept-text.md`: error of the cost, and wrong outcomes in percent."""
    lines = ["| session | " + " | ".join(table) + " |", "|---|" + "---|" * len(table)]
    for kind in [*KINDS, "all"]:
        cells = (f"{kinds[kind].error:.3f} ({kinds[kind].wrong:.0%})" for kinds in table.values())
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(table: dict[str, dict[str, Score]], target: Path) -> None:
    """A heat map of the errors, as PNG. Needs the extra `report`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    kinds = [*KINDS, "all"]
    errors = [[table[name][kind].error for name in table] for kind in kinds]
    figure, axes = plt.subplots(figsize=(7.6, 5.6), layout="constrained")
    axes.imshow(errors, cmap="Reds", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(table)), [name.replace(" at the", "\nat the") for name in table])
    axes.set_yticks(range(len(kinds)), kinds)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for y, row in enumerate(errors):
        for x, error in enumerate(row):
            axes.text(x, y, f"{error:.3f}", ha="center", va="center", color="white" if error > 0.6 else "#20242b")
    axes.axhline(len(KINDS) - 0.5, color="#20242b", lw=1)
    figure.suptitle("Error of the edit cost: 0 is what the writer means", x=0.01, ha="left", fontweight="bold")
    figure.savefig(target, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    found = scores()
    print(markdown(found))
    draw(found, Path("docs/pictures/kept-text.png"))
