"""Whether `learner diagnose` would have been right: its prediction from a run's offline edits, against its table."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from learner.diagnose import diagnose
from learner.exceptions import ConfigError
from learner.experiment import plan as plans
from learner.experiment.ledger import Ledger
from learner.experiment.protocol import BASE, Cast, documents, offline_edits


def check(folder: Path, size: str, corpora: Path) -> list[dict[str, Any]]:
    """For every finished setting and seed: the estimates, what they let one expect, and what won.

    The edits are those of the rules users. Costs are means over the online rounds, kept in the run. Raises
    ConfigError for a folder without a run, or a run on other documents.
    """
    plan = plans.load(size)
    if not (folder / "run.db").is_file():
        raise ConfigError(f"{folder} holds no run of `learner reproduce`: there is no run.db in it")
    ledger = Ledger(folder, {})
    try:
        means = {
            (c["domain"], c["user"], c["seed"], c["method"]): fmean(c["costs"])
            for c in ledger.costs()
            if c["tester"] == "strong"
        }
        found = []
        for domain, user in plan.settings:
            for seed in range(plan.seeds):
                costs = {m: cost for (d, u, s, m), cost in means.items() if (d, u, s) == (domain, user, seed)}
                arms = [name for name in plan.feedback if name in costs]
                if len(arms) < len(plan.feedback):
                    continue
                offline = documents(plan, domain, seed, corpora).offline
                answers = ledger.answers(f"{domain}/{seed}/{BASE}")
                if any(case.id not in answers for case in offline):
                    raise ConfigError(
                        f"the run in {folder} read other documents than {corpora} holds: give its --corpora"
                    )
                edits = offline_edits(Cast().users(plan, domain)[user], domain, seed, offline, answers)
                said = diagnose(edits)
                won = min(arms, key=lambda arm: costs[arm])
                expected = next((name for name in said.expected if name in arms), None)
                found.append(
                    {
                        "setting": f"{domain}, {user}, seed {seed}",
                        "completeness": said.completeness,
                        "base_rate": said.base_rate,
                        "expected": expected,
                        "won": won,
                        "cost_expected": costs.get(expected or ""),
                        "cost_won": costs[won],
                        "cost_base": costs[BASE],
                    }
                )
    finally:
        ledger.close()
    return found
