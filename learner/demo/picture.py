"""The demo's picture: what each answer cost the writer, before and after training."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from learner.demo.story import Outcome, Round
from learner.records import BASE_ARM

COLOURS = {
    "base": "#8a8f98",
    "sft": "#2f6fde",
    "dpo": "#e0702f",
    "rl": "#2a9d62",
    "early_ensemble": "#8b4fc6",
}
OTHERS = ("#b8336a", "#0f8b8d", "#a17c00")
WINDOW = 8


def colours(arms: list[str]) -> dict[str, str]:
    """A colour for every arm, the same in every picture."""
    spare = iter(OTHERS * len(arms))
    return {arm: COLOURS.get(arm) or next(spare) for arm in arms}


def running_mean(rounds: list[Round]) -> list[float]:
    """Mean cost of each round and the `WINDOW - 1` before it."""
    return [fmean(r.cost for r in rounds[max(0, i - WINDOW + 1) : i + 1]) for i in range(len(rounds))]


def draw(outcome: Outcome, target: Path) -> list[Path]:
    """Draw cost over time beside every arm's cost on the new texts, as PNG and SVG. Needs the extra `report`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    mpl.rcParams.update(
        {"svg.hashsalt": "redraft", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    )
    before, after = list(outcome.before), list(outcome.after)
    arms = sorted(outcome.edit_cost, key=lambda a: (a != BASE_ARM, outcome.edit_cost[a]))
    colour = colours(arms)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.9), width_ratios=(2.2, 1), layout="constrained")

    start = len(before)
    left.axvspan(-1, start - 0.5, color="#f3f4f6", lw=0)
    for offset, rounds in ((0, before), (start, after)):
        xs = [offset + i for i in range(len(rounds))]
        left.scatter(xs, [r.cost for r in rounds], c=[colour[r.arm] for r in rounds], s=16, zorder=3, lw=0)
        left.plot(xs, running_mean(rounds), color="#20242b", lw=1.6, zorder=4)
    left.axvline(start - 0.5, color="#20242b", lw=1, ls=":")
    top = max(0.5, *(r.cost for r in before + after)) * 1.12
    left.set(xlim=(-1, start + len(after)), ylim=(-0.02, top), xlabel="request", ylabel="edit cost (0: kept as it was)")
    left.text(start - 1.5, top * 0.97, "before training", ha="right", va="top", color="#5a606b")
    left.text(start + 0.5, top * 0.97, "after: the bandit chooses", ha="left", va="top", color="#5a606b")
    used = [a for a in arms if any(r.arm == a for r in before + after)]
    handles = [Line2D([], [], marker="o", ls="", color=colour[a], label=a, ms=5) for a in used]
    handles.append(Line2D([], [], color="#20242b", label=f"mean of {WINDOW}"))
    # above the plot, where no point can be
    left.legend(
        handles=handles, frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=len(handles),
        columnspacing=1.2, handletextpad=0.3, borderpad=0.2,
    )  # fmt: skip

    order = sorted(arms, key=lambda a: -outcome.edit_cost[a])
    right.barh(order, [outcome.edit_cost[a] for a in order], color=[colour[a] for a in order], height=0.62)
    for i, arm in enumerate(order):
        words = f" {outcome.edit_cost[arm]:.3f}   {outcome.untouched[arm]:.0%} untouched"
        right.text(outcome.edit_cost[arm], i, words, va="center", fontsize=8.5)
    right.set(xlim=(0, max(outcome.edit_cost.values()) * 2.1 or 1), xlabel="mean edit cost, same new texts")
    figure.suptitle("What the writer still had to change", x=0.01, ha="left", fontsize=12, fontweight="bold")

    made = []
    for suffix, meta in ((".png", {}), (".svg", {"Date": None})):
        path = target.with_suffix(suffix)
        figure.savefig(path, dpi=150, metadata=meta)
        made.append(path)
    plt.close(figure)
    return made
