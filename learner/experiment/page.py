"""The experiment as one HTML page that needs nothing else: the tables beside the poster's, and the pictures."""

from __future__ import annotations

from importlib import resources
from statistics import fmean
from typing import Any

from learner.experiment import pictures, table
from learner.experiment.result import Result


def render(result: Result) -> str:
    """The page. Needs the extra `report`."""
    from jinja2 import Environment

    template = (resources.files("learner.experiment") / "page.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True)
    drawings = []
    if result.cells:
        drawings = [
            ("Every setting", "Whiskers are the standard deviation over seeds.", pictures.bars(result)),
            ("Cost over time", "Each line adds up what the user had to change.", pictures.cumulative(result)),
            (
                "Whom the late ensemble chose",
                f"Shares of the last {pictures.WINDOW} choices, over all seeds.",
                pictures.shares(result),
            ),
        ]
    if result.fits:
        words = "The dials of the lowest held-out log-loss are used in all other settings and seeds."
        drawings.append(("What was swept", words, pictures.swept(result)))
    for title, series in result.curves.items():
        drawings.append((title, "", pictures.lines(title, series, result.axes.get(title, ("", "")))))
    return environment.from_string(template).render(result=result, tables=_tables(result), drawings=drawings)


def _cell(text: str, small: str = "", mark: str = "") -> dict[str, str]:
    return {"text": text, "small": small, "mark": mark}


def _tables(result: Result) -> list[dict[str, Any]]:
    found = [_costs(result, "strong", "Edit cost", "The strong user edits in the online rounds.")]
    if result.tested("transfer"):
        words = "Another user edits in the online rounds than the one whose edits were learnt from."
        found.append(_costs(result, "transfer", "With a transfer user", words))
    found += [
        _poster(table.POSTER, "The poster's table"),
        _poster(table.POSTER_TRANSFER, "The poster's, transfer user"),
    ]
    if result.late_names():
        found.append(_regret(result))
    if differences := result.differences:
        found.append(_differences(differences))
    if result.fits:
        found.append(_fits(result))
    return found


def _costs(result: Result, tester: str, title: str, words: str) -> dict[str, Any]:
    settings = result.settings()
    by, worst = result.by_method(tester), result.max_subopt(tester)
    least = {s: min((own[s].cost_mean for own in by.values() if s in own), default=0.0) for s in settings}
    lines = []
    for name, own in by.items():
        cells = [
            _cell(f"{own[s].cost_mean:.3f}", own[s].spread, "best" if own[s].cost_mean == least[s] else "")
            if s in own
            else _cell("")
            for s in settings
        ]
        cells.append(_cell(f"{worst[name]:.3f}" if name in worst else ""))
        lines.append({"name": name, "cells": cells})
    seeds = max((row.seeds for own in by.values() for row in own.values()), default=0)
    heads = [f"{d}, {u}" for d, u in settings]
    words = f"{words} Mean ± standard deviation over up to {seeds} seeds; the lowest in bold."
    return {"title": title, "words": words, "first": "Method", "heads": [*heads, "MaxSubOpt"], "rows": lines}


def _poster(figures: Any, title: str) -> dict[str, Any]:
    heads = [*(f"{d}, {u}" for d, u in table.POSTER_SETTINGS), "MaxSubOpt"]
    lines = [{"name": n, "cells": [_cell(f"{x:.3f}") for x in values]} for n, values in figures.items()]
    words = "Llama-3.1-8B-Instruct, edited by Qwen3-32B (70B Llama in transfer); 20,000 and 10,000 offline edits."
    return {"title": title, "words": words, "first": "Method", "heads": heads, "rows": lines}


def _regret(result: Result) -> dict[str, Any]:
    regrets = result.regrets()
    settings = list(dict.fromkeys(key for values in regrets.values() for key in values))
    lines = [
        {
            "name": name,
            "cells": [_cell(f"{values[s]:.3f}") if s in values else _cell("") for s in settings]
            + [_cell(f"{fmean(values.values()):.3f}" if values else "")],
        }
        for name, values in regrets.items()
    ]
    words = (
        "(mean cost of the late ensemble - best fixed arm) / (base - best): 0 is the best arm from the first round on."
    )
    return {
        "title": "Regret of the late ensembles", "words": words, "first": "Late ensemble",
        "heads": [*(s.replace("/", ", ") for s in settings), "mean"], "rows": lines,
    }  # fmt: skip


def _differences(found: Any) -> dict[str, Any]:
    singles = list(dict.fromkeys(single for values in found.values() for single in values))
    lines = []
    for name, values in found.items():
        cells = []
        for single in singles:
            mean, low, high = values[single]
            mark = "met" if high < 0 else "missed" if low > 0 else ""
            cells.append(_cell(f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}", mark))
        lines.append({"name": name, "cells": cells})
    words = "MaxSubOpt of the ensemble less that of the single type, with a 95% bootstrap interval, paired by round."
    return {
        "title": "Ensembles against single types", "words": words, "first": "Ensemble",
        "heads": [f"less {s}" for s in singles], "rows": lines,
    }  # fmt: skip


def _fits(result: Result) -> dict[str, Any]:
    lines = [
        {
            "name": arm,
            "cells": [
                _cell(f"{fit['kept_loss']:.3f}"), _cell(f"{fit['first_loss']:.3f}"), _cell(f"{fit['last_loss']:.3f}"),
                _cell(f"{fit['steps']}"), _cell(f"{fit['seconds']:.0f}"),
            ],
        }
        for arm, fit in result.fits.items()
    ]  # fmt: skip
    words = "Log-loss: -log pi(y'|x) of held-out edits, in nats a token; the lowest picks among dials, as in the paper."
    heads = ["log-loss", "first loss", "last loss", "steps", "seconds"]
    return {
        "title": "All trainings",
        "words": words,
        "first": "Domain, seed, user, type, dials",
        "heads": heads,
        "rows": lines,
    }
