"""The experiment's pictures, as SVG: cumulative cost, who was chosen, the sweeps, and the curves of a size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from learner.demo.picture import colours
from learner.experiment.result import LATE, Result
from learner.experiment.table import Cell, Key

LATE_COLOUR = "#111318"
WINDOW = 20


def _plots() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update(
        {
            "svg.hashsalt": "redraft",
            "svg.fonttype": "none",
            "font.size": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    return plt


def _svg(plt: Any, figure: Any) -> str:
    page = io.StringIO()
    figure.savefig(page, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = page.getvalue()
    return text[text.index("<svg") :]


def _palette(result: Result) -> dict[str, str]:
    return colours(list(result.arms)) | {LATE: LATE_COLOUR}


def _panels(plt: Any, count: int, height: float = 2.9) -> tuple[Any, list[Any]]:
    columns = min(count, 2 if count != 3 else 3)
    lines = -(-count // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(10.4, height * lines), layout="constrained", squeeze=False)
    flat = [axis for line in axes for axis in line]
    for spare in flat[count:]:
        spare.axis("off")
    return figure, flat[:count]


def cumulative(result: Result) -> str:
    """Cost so far over the rounds, mean over seeds, a panel for each setting."""
    plt, palette = _plots(), _palette(result)
    settings = result.settings()
    figure, axes = _panels(plt, len(settings))
    for axis, setting in zip(axes, settings, strict=True):
        for method in result.methods:
            series = _mean_costs(result.tested(), setting, method)
            total, sums = 0.0, []
            for cost in series:
                total += cost
                sums.append(total)
            late = method == LATE
            axis.plot(range(1, len(sums) + 1), sums, color=palette[method], lw=2 if late else 1.3,
                      ls="--" if late else "-", label=method)  # fmt: skip
        axis.set(title=f"{setting[0]}, {setting[1]} edits", xlabel="round", ylabel="edit cost so far")
    axes[0].legend(frameon=False, fontsize=8.5)
    return _svg(plt, figure)


def _mean_costs(cells: Sequence[Cell], setting: Key, method: str) -> list[float]:
    series = [c.costs for c in cells if (c.domain, c.user) == setting and c.method == method]
    return [fmean(at) for at in zip(*series, strict=True)] if series else []


def shares(result: Result) -> str:
    """Which arm the late ensemble chose, as shares of a window over the rounds, a panel for each setting."""
    plt, palette = _plots(), _palette(result)
    settings = result.settings()
    figure, axes = _panels(plt, len(settings), 2.3)
    for axis, setting in zip(axes, settings, strict=True):
        played = [c.played for c in result.tested() if (c.domain, c.user) == setting and c.method == LATE]
        if not played:
            continue
        rounds = len(played[0])
        stacks = [
            [fmean(p == arm for run in played for p in run[max(0, t - WINDOW + 1) : t + 1]) for t in range(rounds)]
            for arm in result.arms
        ]
        axis.stackplot(range(1, rounds + 1), stacks, labels=result.arms, colors=[palette[a] for a in result.arms], lw=0)
        axis.set(title=f"{setting[0]}, {setting[1]} edits", xlabel="round", ylabel="share of choices",
                 ylim=(0, 1), xlim=(1, rounds))  # fmt: skip
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8.5)
    return _svg(plt, figure)


def bars(result: Result) -> str:
    """Mean cost of every method in every setting, with the standard deviation over seeds."""
    plt, palette = _plots(), _palette(result)
    settings = result.settings()
    by = result.by_method()
    figure, axis = plt.subplots(figsize=(10.4, 3.3), layout="constrained")
    width = 0.8 / len(result.methods)
    for number, method in enumerate(result.methods):
        there = [(i, by[method][s]) for i, s in enumerate(settings) if s in by.get(method, {})]
        places = [i + (number - (len(result.methods) - 1) / 2) * width for i, _ in there]
        axis.bar(
            places, [r.cost_mean for _, r in there], width * 0.92, yerr=[r.cost_sd for _, r in there],
            color=palette[method], label=method, error_kw={"lw": 0.9, "ecolor": "#5a606b"},
        )  # fmt: skip
    axis.set_xticks(range(len(settings)), [f"{d}\n{u} edits" for d, u in settings])
    axis.set(ylabel="mean edit cost (lower is better)")
    axis.legend(frameon=False, fontsize=8.5, ncols=len(result.methods), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return _svg(plt, figure)


def swept(result: Result) -> str:
    """Every point of the grid, in the setting where it was swept: its cost, and the log-loss that picks."""
    plt, palette = _plots(), _palette(result)
    setting = result.settings()[0]
    losses = {}
    for arm, fit in result.fits.items():
        domain, seed, user, name, dials = arm.split("/", 4)
        if (domain, user, seed) == (*setting, "0"):
            losses[name, dials] = fit["kept_loss"]
    costs = {c.method: c.mean for c in result.tested() if (c.domain, c.user) == setting and c.seed == 0}
    bars = []
    for (name, dials), loss in losses.items():
        cost = costs.get(f"{name} ({dials})", costs.get(name))
        if cost is not None:
            bars.append((f"{name}, {dials}", cost, loss, palette.get(name, "#8a8f98")))
    figure, axis = plt.subplots(figsize=(8.2, 0.6 + 0.34 * len(bars)), layout="constrained")
    bars.reverse()
    axis.barh([b[0] for b in bars], [b[1] for b in bars], color=[b[3] for b in bars], height=0.64)
    for i, (_, cost, loss, _) in enumerate(bars):
        axis.text(cost, i, f" {cost:.3f}   log-loss {loss:.2f}", va="center", fontsize=8.5)
    axis.set(xlabel=f"mean edit cost, {setting[0]}, {setting[1]} edits", xlim=(0, 1.3 * max(b[1] for b in bars)))
    return _svg(plt, figure)


def lines(title: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], axes: tuple[str, str]) -> str:
    """One of a result's own curves."""
    plt = _plots()
    palette = colours(list(series))
    figure, axis = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    positive = all(y > 0 for _, ys in series.values() for y in ys)
    for name, (xs, ys) in series.items():
        axis.plot(xs, ys, marker="o", ms=3.5, lw=1.5, color=palette[name], label=name)
    if max(max(xs) for xs, _ in series.values()) > 50:
        axis.set_xscale("log")
    if positive and "SubOpt" in axes[1]:
        axis.set_yscale("log")
    axis.set(title=title, xlabel=axes[0], ylabel=axes[1])
    axis.legend(frameon=False, fontsize=8.5)
    return _svg(plt, figure)
