"""The protocol of the paper's experiment: offline edits of the base's answers, training, T online rounds.

For every (domain, user) setting and seed: the base answers the offline documents and the user edits the
answers; every feedback type trains on these edits; then the strong user (and a transfer user) edits what
each arm answers about documents never seen. Every arm is greedy and a document's answer does not depend
on the round, so each arm answers each document of the pool once and the rounds draw from these answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

from filelock import FileLock

from learner import prompt
from learner.cost import cost, cost_max
from learner.exceptions import ConfigError
from learner.experiment import sources
from learner.experiment.agent import Agent, Case, edit_of
from learner.experiment.ledger import Answer, Ledger
from learner.experiment.plan import Dials, Domain, Plan
from learner.experiment.users import GibbsUser, LanguageModel, LlmUser, RulesUser, User
from learner.models import Progress
from learner.records import Edit

BASE = "base"
Setting = tuple[str, str]
"""(domain, user who made the offline edits)."""


@dataclass(frozen=True, slots=True)
class Split:
    """The documents of a domain under a seed."""

    offline: Sequence[Case]
    held: Sequence[Case]
    pool: Sequence[Case]


@dataclass(frozen=True, slots=True)
class Fit:
    """One training: a setting, a seed, a feedback type and its dials."""

    setting: Setting
    seed: int
    feedback: str
    dials: Dials

    @property
    def arm(self) -> str:
        """Where its answers stand in the ledger."""
        return f"{self.setting[0]}/{self.seed}/{self.setting[1]}/{self.feedback}/{self.dials.told()}"


def rng(*names: object) -> Random:
    """Random numbers of their own for everything that has a name."""
    return Random("/".join(map(str, names)))


def growth_arm(domain: str, seed: int, user: str, number: int) -> str:
    """Where the answers of a round of edit and retraining stand in the ledger."""
    return f"{domain}/{seed}/{user}/growth/{number}"


@dataclass(frozen=True, slots=True)
class Cast:
    """Who edits: rules, or language models, whose answers are kept in `cache`; `transfer` tests in the second table."""

    strong: LanguageModel | None = None
    transfer: LanguageModel | None = None
    cache: Path = Path()

    def users(self, plan: Plan, domain: str) -> dict[str, User]:
        """The users of a domain: strong, weak, and the transfer user of the online rounds."""
        kinds, wish = plan.domains[domain].kinds, plan.users
        if self.strong is not None:
            styles = {name: kind.style for name, kind in kinds.items()}
            ask, name = self.strong.ask(), self.strong.model
            other = self.transfer or self.strong
            return {
                "strong": LlmUser(styles, ask, self.cache, name),
                "weak": LlmUser(styles, ask, self.cache, name, wish.subset, wish.thorough),
                "transfer": LlmUser(styles, other.ask(), self.cache, other.model),
            }
        rules = {name: kind.rules for name, kind in kinds.items()}
        return {
            "strong": RulesUser(rules, wish.firmness),
            "weak": RulesUser(rules, wish.firmness, wish.subset, wish.thorough),
            "transfer": GibbsUser(rules, wish.transfer_beta, wish.transfer_base_rate, wish.transfer_weight),
        }

    def told(self) -> str:
        """For the identity of a run."""
        models = [m.model for m in (self.strong, self.transfer) if m is not None]
        return f"llm {' '.join(models)}" if models else "rules"


def documents(plan: Plan, domain: str, seed: int, corpora: Path) -> Split:
    """The documents of a domain: as many of each kind, no document in two parts or two domains.

    Raises ConfigError where a source holds too few, with how many there are and how many are needed.
    """
    here = plan.domains[domain]
    parts: tuple[list[Case], list[Case], list[Case]] = ([], [], [])
    sizes = [size // len(here.kinds) for size in (plan.offline, plan.held_out, plan.pool)]
    for name, kind in here.kinds.items():
        spec = source_of(kind.source, kind.fallback, corpora)
        before = _sharing(plan, domain, spec, corpora)
        texts = sources.load(spec, corpora, here.words, seed)
        first, needed = before * sum(sizes), (before + 1) * sum(sizes)
        if len(texts) < needed:
            raise ConfigError(
                f"source {spec} holds {len(texts)} documents of {here.words[0]} to {here.words[1]} words, and the "
                f"plan {plan.size} needs {needed}: give another source, or fetch the corpora (docs/reproduce.md)"
            )
        for part, size in zip(parts, sizes, strict=True):
            part += [_case(here, name, text.body) for text in texts[first : first + size]]
            first += size
    return Split(*parts)


def source_of(source: str, fallback: str, corpora: Path) -> str:
    """The source, or its fallback where the corpus is not on this machine."""
    return fallback if source.startswith("brown:") and not (corpora / "brown").is_dir() else source


def _sharing(plan: Plan, domain: str, spec: str, corpora: Path) -> int:
    """How many domains before this one read the same source."""
    names = list(plan.domains)
    return sum(
        any(source_of(k.source, k.fallback, corpora) == spec for k in plan.domains[name].kinds.values())
        for name in names[: names.index(domain)]
    )


def _case(domain: Domain, kind: str, text: str) -> Case:
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Case(name, kind, prompt.rewrite(text, domain.instruction))


class Protocol:
    """Does the work of a run, as far as it is not in the ledger yet."""

    def __init__(self, plan: Plan, ledger: Ledger, agent: Agent, corpora: Path, cast: Cast, tell: Progress) -> None:
        self.plan, self.ledger, self._agent, self._corpora, self._tell = plan, ledger, agent, corpora, tell
        self._cast = cast
        self._at: tuple[str, int] | None = None

    def split(self, domain: str, seed: int) -> Split:
        """The documents; the agent forgets those of another domain or seed."""
        if self._at != (domain, seed):
            self._agent.forget()
            self._at = (domain, seed)
        return documents(self.plan, domain, seed, self._corpora)

    def base_answers(self, domain: str, seed: int) -> dict[str, Answer]:
        """What the base answers about all documents of a domain; asked once, by whoever comes first."""
        arm = f"{domain}/{seed}/{BASE}"
        split = self.split(domain, seed)
        cases = [*split.offline, *split.held, *split.pool]
        with FileLock(self.ledger.path.with_name(f"{domain}-{seed}.lock")):
            known = self.ledger.answers(arm)
            missing = [case for case in cases if case.id not in known]
            if missing:
                self._tell(f"{domain}, seed {seed}: the base answers {len(missing)} documents", None)
                found = self._agent.answers(missing, self.plan.domains[domain].max_tokens)
                self.ledger.put_answers(arm, found)
                known |= found
        return known

    def edits(self, setting: Setting, seed: object, cases: Sequence[Case], answers: Mapping[str, Answer]) -> list[Edit]:
        """What the user of the setting makes of these answers."""
        domain, name = setting
        return offline_edits(self._cast.users(self.plan, domain)[name], domain, seed, cases, answers)

    def fit(self, fit: Fit, also: Sequence[str] = ()) -> None:
        """Train, and let the adapter answer the pool, and the pools of the domains `also`."""
        domain, seed = fit.setting[0], fit.seed
        split = self.split(domain, seed)
        pools = {domain: split.pool, **{name: documents(self.plan, name, seed, self._corpora).pool for name in also}}
        arms = {name: fit.arm if name == domain else f"{fit.arm}>{name}" for name in pools}
        missing = {n: [c for c in pool if c.id not in self.ledger.answers(arms[n])] for n, pool in pools.items()}
        if fit.arm in self.ledger.fits() and not any(missing.values()):
            return
        answers = self.base_answers(domain, seed)
        edits = self.edits(fit.setting, seed, split.offline, answers)
        held = self.edits(fit.setting, seed, split.held, answers)
        words = f"{domain}, {fit.setting[1]} user, seed {seed}: {fit.feedback} ({fit.dials.told()})"
        with self._agent.trained(
            fit.feedback, fit.dials, edits, held, seed, lambda what, share: self._tell(f"{words}: {what}", share)
        ) as figures:
            for name, cases in missing.items():
                self._tell(f"{words}: answering about {len(cases)} documents", None)
                found = self._agent.answers(cases, self.plan.domains[name].max_tokens)
                self.ledger.put_answers(arms[name], found)
            self.ledger.put_fit(fit.arm, fit.feedback, _plain(fit.dials), dict(figures))

    def grow(self, user: str, seed: int) -> list[float]:
        """Rounds of edit and retraining: mean cost with the strong user before the first round and after each.

        In each round the adapter so far answers the offline documents, the user edits its answers, and a
        new adapter is trained on these edits alone.
        """
        growth = self.plan.growth
        assert growth is not None
        domain, name = growth.domain, growth.feedback
        split, size = self.split(domain, seed), self.plan.domains[growth.domain].max_tokens
        answers = self.base_answers(domain, seed)
        known = {k: v["costs"] for k, v in self.ledger.fits().items() if "costs" in v}
        held = self.edits((domain, user), seed, split.held, answers)
        found = [self._cost(domain, seed, split.pool, answers)]
        for number in range(1, growth.rounds + 1):
            arm = growth_arm(domain, seed, user, number)
            offline = [case for case in split.offline if case.id in answers]
            if arm in known:
                found.append(known[arm])
                answers = self.ledger.answers(arm)
                continue
            self._tell(f"{domain}, {user} user, seed {seed}: round {number} of edit and retraining", None)
            edits = self.edits((domain, user), f"{seed}/{number}", offline, answers)
            with self._agent.trained(name, Dials(), edits, held, seed, lambda _what, _share: None) as figures:
                answers = self._agent.answers([*split.offline, *split.pool], size)
            found.append(self._cost(domain, seed, split.pool, answers))
            self.ledger.put_answers(arm, answers)
            self.ledger.put_fit(arm, name, {}, {**figures, "costs": found[-1]})
        return found

    def _cost(self, domain: str, seed: int, pool: Sequence[Case], answers: Mapping[str, Answer]) -> float:
        return fmean(rounds(self.plan, domain, seed, "strong", pool, answers, self._cast)[0])


def offline_edits(
    user: User, domain: str, seed: object, cases: Sequence[Case], answers: Mapping[str, Answer]
) -> list[Edit]:
    """What a user makes of these answers. An empty answer is no offer."""
    return [
        edit_of(case, answer, user.edit(case.kind, answer.text, rng(seed, domain, case.id)))
        for case in cases
        for answer in [answers[case.id]]
        if answer.text.strip()
    ]


def _plain(dials: Dials) -> dict[str, float]:
    import msgspec

    return {k: v for k, v in msgspec.structs.asdict(dials).items() if v is not None}


def rounds(
    plan: Plan, domain: str, seed: int, tester: str, pool: Sequence[Case], answers: Mapping[str, Answer], cast: Cast
) -> tuple[list[float], list[float]]:
    """The paper's cost and `cost_max` of each of T rounds, for one arm's answers. An empty answer costs 1."""
    user = cast.users(plan, domain)[tester]
    drawn = contexts(plan, domain, seed, pool)
    costs, bounded = [], []
    for t, case in enumerate(drawn):
        offered = answers[case.id].text
        if not offered.strip():
            costs.append(1.0)
            bounded.append(1.0)
            continue
        kept = user.edit(case.kind, offered, rng(seed, domain, tester, t))
        costs.append(cost(offered, kept))
        bounded.append(cost_max(offered, kept))
    return costs, bounded


def contexts(plan: Plan, domain: str, seed: int, pool: Sequence[Case]) -> list[Case]:
    """x_1 ... x_T, the same for every method."""
    return rng(seed, domain, "contexts").choices(list(pool), k=plan.rounds)


def picked(plan: Plan, ledger: Ledger, name: str) -> Dials:
    """The dials of the lowest held-out log-loss in the first setting and seed (the paper's rule)."""
    grid = plan.grid.get(name, (Dials(),))
    if len(grid) == 1:
        return grid[0]
    fits = ledger.fits()
    return min(grid, key=lambda dials: fits[Fit(plan.settings[0], 0, name, dials).arm]["kept_loss"])
