"""How what Redraft takes grows with the work: fitted exponents as rows, and plots (extra `report`).

    python -m tests.benchmarks.growth [FOLDER]      # draws FOLDER/growth.svg, build/ by default

A series is a size and the seconds at each. `fit_exponent` is the slope in a double logarithmic plot: 1 is linear.
What a benchmark of another module measured can be added with `Series`, and drawn with `draw`.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from learner import bandit
from learner.bandit import Arm, Context
from learner.records import Task
from learner.store import Store
from lsp_server.delta import Position
from lsp_server.document import Document
from lsp_server.kept import Tracker
from lsp_server.span import Span
from tests.benchmarks import bench_offers, bench_store
from tests.benchmarks.instant_host import instant_host
from tests.benchmarks.row import Row, share, timed
from tests.benchmarks.wire import served

LINEAR = 1.1
"""The largest exponent that counts as linear: measured, it is never exact."""
REQUESTS = 24
DECADES = 3
"""Of a plot's height, the same in all, so that slopes can be compared."""


@dataclass(frozen=True, slots=True)
class Series:
    """Seconds of something at growing sizes, in the words that stand under its plot."""

    name: str
    axis: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """How fast it grows."""
        return fit_exponent(self.sizes, self.seconds)

    @property
    def row(self) -> Row:
        """Its line in the table."""
        name = f"growth of {self.name} with {self.axis}, {self.sizes[0]:,.0f} to {self.sizes[-1]:,.0f}: exponent"
        return Row.of(name, self.exponent, None, LINEAR, "")


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The b of seconds = a * sizes^b, by least squares on the logarithms. Needs two sizes that differ."""
    x, y = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    over = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return over / sum((a - middle_x) ** 2 for a in x)


def offers_by_length(sizes: Sequence[int] = (1_000, 10_000, 100_000, 300_000)) -> Series:
    """The latency of an offer, without the host's, by the document's length."""
    seconds = [share(bench_offers.ours(lines, REQUESTS).fresh, 0.5) / 1e3 for lines in sizes]
    return Series("an offer", "lines", tuple(sizes), tuple(seconds))


def keystrokes_by_offers(sizes: Sequence[int] = (10, 100, 1_000)) -> Series:
    """A keystroke by how many offers are open in the document."""
    seconds = []
    for count in sizes:
        document = Document("file:///bench", f"{bench_offers.LINE}\n" * 10_000, 1, "text", "utf-16")
        tracker = Tracker()
        for number in range(count):
            start = Position((number + 1) * 10_000 // (count + 1), 0)
            tracker.place(str(number), Span.placed(bench_offers.LINE, start), 0.0)
        place = Position(5_000, 7)

        def press(document: Document = document, tracker: Tracker = tracker, place: Position = place) -> None:
            tracker.apply([document.replace(place, place, "x")], document, 1.0)

        seconds.append(timed(press, 100))
    return Series("a keystroke", "open offers", tuple(sizes), tuple(seconds))


def choices_by_arms(sizes: Sequence[int] = (2, 8, 32, 128)) -> Series:
    """A choice by the number of arms."""
    thompson, context, random, seconds = bandit.load("thompson"), Context(Task.REWRITE), Random(1), []
    for count in sizes:
        arms = [Arm("base"), *(Arm(f"sft{n}", (f"sft{n}-1",)) for n in range(count - 1))]
        state = {bandit.key(Task.REWRITE, arm.name, arm.version): bandit.Tally(20, 5, 2) for arm in arms}

        def choose(arms: list[Arm] = arms, state: bandit.State = state) -> None:
            bandit.choose(thompson, context, arms, state, random)

        seconds.append(timed(choose, 20))
    return Series("a choice", "arms", tuple(sizes), tuple(seconds))


def offers_by_editors(sizes: Sequence[int] = (1, 2, 4, 8)) -> Series:
    """A round of offers in so many editors at once, each with a server of its own and one store for all."""
    seconds = []
    with (
        instant_host(bench_offers.OFFER) as host,
        tempfile.TemporaryDirectory(prefix="rd-") as home,
        ExitStack() as all,
    ):
        options = {"record": True, "host": {"url": host.url}}
        typists: list[bench_offers.Typist] = []
        for count in sizes:
            while len(typists) < count:
                wire = all.enter_context(served(["-m", "lsp_server.cli"], home, options))
                typists.append(bench_offers.Typist(wire, 1_000, f"file:///{len(typists)}.md"))
            rounds = []
            for number in range(REQUESTS):
                started = perf_counter()
                asked = [typist.send(f" {number}x") for typist in typists]
                for typist, request in zip(typists, asked, strict=True):
                    assert typist.receive(request) is not None, "a request was not answered"
                rounds.append(perf_counter() - started)
            seconds.append(share(rounds[4:], 0.5))
    return Series("a round of offers", "editors at once", tuple(sizes), tuple(seconds))


def store_by_edits(sizes: Sequence[int] = (1_000, 10_000, 100_000)) -> Iterator[Series]:
    """Recording an edit, opening and choosing by how many edits there are."""
    found: dict[str, list[float]] = {"an edit recorded": [], "the store opened": [], "the bandit's state read": []}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "home" / "edits.db"
            bench_store.fill(path, size)
            found["the store opened"].append(timed(lambda path=path: Store.open(path).close(), 20))  # type: ignore[misc]
            with Store.open(path) as store:
                store.bandit_state()
                found["the bandit's state read"].append(timed(store.bandit_state, 50))
                found["an edit recorded"].append(timed(lambda s=store: bench_store.record_accepted(s), 100))  # type: ignore[misc]
    for what, seconds in found.items():
        yield Series(what, "edits", tuple(sizes), tuple(seconds))


def training_by_edits() -> Series:
    """An epoch of sft. Last, since torch slows all that comes after its import."""
    from tests.benchmarks.bench_training import epochs

    sizes = (2, 4, 8)
    return Series("an epoch of sft", "edits", sizes, tuple(epochs(sizes)))


@cache
def series() -> tuple[Series, ...]:
    """All of them, measured once."""
    light = (offers_by_length(), keystrokes_by_offers(), choices_by_arms(), offers_by_editors(), *store_by_edits())
    return (*light, training_by_edits())


def rows() -> Iterator[Row]:
    """The exponents."""
    yield from (one.row for one in series())


def draw(found: Sequence[Series], target: Path) -> None:
    """One double logarithmic plot each, as SVG, with a line of exponent 1 to compare with."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = 4
    lines = math.ceil(len(found) / columns)
    figure, every = plt.subplots(
        lines, columns, figsize=(3.1 * columns, 2.7 * lines), layout="constrained", squeeze=False
    )
    for axes, one in zip(every.flat, found, strict=False):
        _plot(axes, one)
    for axes in list(every.flat)[len(found) :]:
        axes.set_visible(False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _plot(axes: Any, one: Series) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    milliseconds = [1e3 * second for second in one.seconds]
    axes.loglog(one.sizes, milliseconds, "o-", color="#2457a6", label="measured")
    linear = [milliseconds[0] * size / one.sizes[0] for size in one.sizes]
    axes.loglog(one.sizes, linear, "--", color="#9aa3b2", lw=1, label="linear")
    lowest = 10.0 ** math.floor(math.log10(min(milliseconds)))
    axes.set_ylim(lowest, lowest * 10**DECADES)
    axes.yaxis.set_major_locator(LogLocator(numticks=DECADES + 1))
    axes.set_xticks(one.sizes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_short))
        axis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_title(f"{one.name}: exponent {abs(one.exponent):.1f}", fontsize=9)
    axes.set_xlabel(one.axis, fontsize=8)
    axes.set_ylabel("ms", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def _short(value: float, _: object) -> str:
    """1000 as 1k."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def main() -> None:
    """Print the exponents and draw the plots."""
    for row in rows():
        print(row)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BUILD", "build"))
    draw(series(), folder / "growth.svg")


if __name__ == "__main__":
    main()
