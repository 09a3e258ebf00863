"""The table's arithmetic: MaxSubOpt, regret, intervals; and the poster's figures."""

import numpy as np
import pytest

from learner.experiment import table
from learner.experiment.result import Result
from learner.experiment.table import Cell


def cell(method, cost, *, domain="d", user="strong", seed=0, rounds=4, tester="strong"):
    costs = tuple([cost] * rounds) if not isinstance(cost, (list, tuple)) else tuple(cost)
    return Cell(domain, user, seed, tester, method, costs, costs)


def grid(costs, seeds=1):
    """{method: (strong, weak)} in one domain, alike in every seed."""
    return [
        cell(method, value, user=user, seed=seed)
        for seed in range(seeds)
        for method, pair in costs.items()
        for user, value in zip(("strong", "weak"), pair, strict=True)
    ]


def test_max_subopt_is_the_worst_distance_to_the_best_of_each_setting():
    cells = grid({"base": (0.9, 0.9), "sft": (0.2, 0.8), "dpo": (0.5, 0.3)})
    found = table.suboptimality(cells, ["base", "sft", "dpo"])
    assert {k: v[0] for k, v in found.items()} == {
        "base": pytest.approx(0.7), "sft": pytest.approx(0.5), "dpo": pytest.approx(0.3)
    }  # fmt: skip


def test_max_subopt_is_taken_in_each_seed_before_the_mean():
    cells = [*grid({"a": (0.1, 0.5), "b": (0.3, 0.1)}), *(
        cell(m, v, user=u, seed=1) for m, u, v in (
            ("a", "strong", 0.5), ("b", "strong", 0.1), ("a", "weak", 0.1), ("b", "weak", 0.3))
    )]  # fmt: skip
    assert table.suboptimality(cells, ["a", "b"]) == {"a": [pytest.approx(0.4)] * 2, "b": [pytest.approx(0.2)] * 2}


def test_a_seed_that_is_not_complete_does_not_count():
    cells = grid({"a": (0.1, 0.2), "b": (0.3, 0.1)}, seeds=2)[:-1]
    assert [len(v) for v in table.suboptimality(cells, ["a", "b"]).values()] == [1, 1]


def test_our_reading_of_max_subopt_fits_the_posters_column():
    """The maximum of its means is a lower bound of the mean of maxima, and nearly that where one setting decides."""
    for figures in (table.POSTER, table.POSTER_TRANSFER):
        best = [min(values[i] for values in figures.values()) for i in range(4)]
        for name, values in figures.items():
            worst = max(values[i] - best[i] for i in range(4))
            assert worst <= values[4] + 1e-3
            if name in ("base", "sft", "dpo"):
                assert worst == pytest.approx(values[4], abs=0.006)


def test_regret_is_a_share_of_the_gap():
    cells = [cell("base", 1.0), cell("sft", 0.2), cell("late_ensemble", 0.4)]
    assert table.regret(cells, "late_ensemble", ["base", "sft"]) == {("d", "strong"): [pytest.approx(0.25)]}


def test_means_and_deviations_are_over_seeds():
    cells = [cell("sft", cost, seed=seed) for seed, cost in enumerate((0.1, 0.2, 0.3))]
    (row,) = table.rows(cells)
    assert (row.cost_mean, row.cost_sd, row.seeds) == (pytest.approx(0.2), pytest.approx(0.1), 3)


def test_the_interval_is_paired_by_round():
    """Two methods whose costs swing together differ by a constant, and the interval knows it."""
    generator = np.random.default_rng(0)
    swing = generator.random(200)
    cells = []
    for user in ("strong", "weak"):
        cells += [cell("best", list(swing), user=user), cell("one", list(swing + 0.3), user=user)]
        cells += [cell("other", list(swing + 0.2), user=user)]
    draws = table.resampled(cells, ["best", "one", "other"])
    low, high = table.interval(draws["one"] - draws["other"])
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)
    wide_low, wide_high = table.interval(draws["one"])
    assert wide_low == pytest.approx(0.3)
    assert wide_high == pytest.approx(0.3)


def test_the_public_json_has_the_public_names():
    cells = grid({"base": (0.9, 0.9), "sft": (0.2, 0.8), "late_ensemble": (0.3, 0.8)})
    found = Result("tiny", cells, ("base", "sft")).to_json()
    assert {"rows", "max_subopt"} <= set(found)
    assert {"method", "domain", "user", "cost_mean", "cost_sd", "seeds"} <= set(found["rows"][0])
    assert found["max_subopt"] == {"base": pytest.approx(0.7), "sft": 0.0, "late_ensemble": pytest.approx(0.1)}
