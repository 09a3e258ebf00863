"""The theory, where everything can be counted (arXiv 2601.19055, section "Theory")."""

import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

from learner.cli import main
from learner.experiment import enumerable as exact
from learner.experiment.table import suboptimality

WORLDS = [(domain, user) for domain in exact.COVERAGE for user in exact.SUBSETS]


@pytest.fixture(scope="module")
def curves():
    return {key: exact.subopt_curve(*key, seeds=exact.SEEDS) for key in WORLDS}


@pytest.mark.parametrize(("domain", "user"), WORLDS)
def test_the_rules_user_satisfies_the_balance_assumption_exactly(domain, user):
    here = exact.world(domain, user, 0)
    flow = here.optimum[:, :, None] * here.kernel
    assert np.allclose(here.kernel.sum(2), 1, atol=1e-12)
    assert np.allclose(flow, flow.transpose(0, 2, 1), atol=1e-12)
    assert np.allclose(here.optimum, exact.product(here.wishes), atol=1e-9)
    assert (here.weights > 0).all()


def test_a_user_who_looks_at_the_answer_first_would_not_be_balanced():
    here = exact.world("covered", "weak", 0)
    kernel = here.kernel.copy()
    kernel[:, 0] = np.eye(2**exact.RULES)[0]  # leaves one answer always alone
    flow = here.optimum[:, :, None] * kernel
    assert not np.allclose(flow, flow.transpose(0, 2, 1), atol=1e-6)


@pytest.mark.parametrize(("domain", "user"), WORLDS)
def test_an_edit_contracts_towards_the_optimum(domain, user):
    """Lemma 1, with gamma the probability that an edit draws all rules."""
    here = exact.world(domain, user, 1)
    gamma = sum(p for mask, p in here.sets if mask.all())
    generator = np.random.default_rng(0)
    for _ in range(50):
        policy = generator.dirichlet(np.full(2**exact.RULES, 0.3), size=exact.KINDS)
        before = np.abs(policy - here.optimum).sum(1) / 2
        after = np.abs(np.einsum("xy,xyz->xz", policy, here.kernel) - here.optimum).sum(1) / 2
        assert (after <= (1 - gamma) * before + 1e-12).all()


def test_subopt_is_beta_times_the_divergence_from_the_optimum():
    here = exact.world("covered", "weak", 2)
    policy = exact.product(np.full_like(here.rates, 0.4))
    divergence = (policy * np.log(policy / here.optimum)).sum(1).mean()
    assert here.subopt(policy) == pytest.approx(exact.BETA * divergence)
    assert here.subopt(here.optimum) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("key", WORLDS)
def test_everyone_is_better_than_the_base_and_subopt_falls_with_n(curves, key):
    found = curves[key]
    for method in ("sft", "dpo", "rl", "early_ensemble"):
        assert found[method][-1] < found["base"][-1]
        assert found[method][-1] <= found[method][0] * 1.05
    assert found["rl"][-1] < 0.7 * found["rl"][0]


def test_sft_is_as_good_as_the_edits_are(curves):
    """It imitates the edited base: near the optimum for whole edits, stuck for partial ones, whatever n is."""
    for domain in exact.COVERAGE:
        assert curves[domain, "strong"]["sft"][-1] < 0.01 * curves[domain, "strong"]["base"][-1]
        weak = curves[domain, "weak"]
        assert weak["sft"][-1] > 0.4 * weak["base"][-1]
        assert abs(weak["sft"][-1] - weak["sft"][-2]) < 0.1 * weak["sft"][-1]


def test_dpo_goes_on_where_edits_are_partial(curves):
    for domain in exact.COVERAGE:
        found = curves[domain, "weak"]
        assert found["dpo"][-1] < 0.1 * found["sft"][-1]


def test_dpo_pays_for_coverage(curves):
    """With whole edits sft beats dpo, and by far where the base hardly ever follows the wishes by itself."""
    for domain in exact.COVERAGE:
        assert curves[domain, "strong"]["sft"][-1] < curves[domain, "strong"]["dpo"][-1]
    assert curves["narrow", "strong"]["dpo"][-1] > 5 * curves["covered", "strong"]["dpo"][-1]


@pytest.mark.parametrize("domain", exact.COVERAGE)
def test_the_weak_user_is_slower_to_converge(domain):
    strong, weak = (exact.convergence(domain, user, 6) for user in ("strong", "weak"))
    assert strong[1] < 1e-9  # one whole edit reaches the optimum
    assert all(later < earlier for earlier, later in itertools.pairwise(weak))
    assert weak[6] > 0.1


def test_no_single_type_is_safe_and_the_late_ensemble_is():
    cells = exact.cells(exact.SEEDS)
    methods = [*exact.METHODS, "late_ensemble"]
    worst = {name: np.mean(values) for name, values in suboptimality(cells, methods).items()}
    assert worst["late_ensemble"] < 0.1
    assert all(worst["late_ensemble"] < 0.25 * worst[name] for name in ("sft", "dpo", "rl"))


def test_the_same_seed_gives_the_same_table():
    assert exact.cells(2) == exact.cells(2)


def test_the_command_writes_the_public_table(tmp_path):
    target, page = tmp_path / "e.json", tmp_path / "e.html"
    result = CliRunner().invoke(main, ["reproduce", "--seeds", "3", "--json", str(target), "--html", str(page)])
    assert result.exit_code == 0, result.output
    found = json.loads(target.read_text())
    assert {"method", "domain", "user", "cost_mean", "cost_sd", "seeds"} <= set(found["rows"][0])
    assert set(found["max_subopt"]) == {*exact.METHODS, "late_ensemble"}
    assert {row["seeds"] for row in found["rows"]} == {3}
    html = page.read_text()
    assert html.count("<svg") == 8
    assert "0.2092" in html or "0.209" in html  # the poster's
