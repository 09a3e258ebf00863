"""The settings of an experiment, written down before its first round: `plans/SIZE.toml`, and `plans/domains.toml`.

The commit history shows that they stood before the results did. A run keeps the plan's digest, and goes
on only under the same plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal

import msgspec

from learner.exceptions import ConfigError


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A hidden kind of document: where its texts come from, what the user wishes of answers about them.

    `source` may not be on this machine; then `fallback` is read, and the run says so. `style` is the wish in
    PRELUDE's words, for a user that is a language model.
    """

    source: str
    fallback: str
    rules: tuple[str, ...]
    style: str


class Domain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A task: what is asked about each document (of `words` words, at least and at most), and its kinds."""

    instruction: str
    words: tuple[int, int]
    max_tokens: int
    kinds: dict[str, Kind]


class Users(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules users: see `learner.experiment.users`."""

    firmness: float
    subset: int
    thorough: float
    transfer_beta: float
    transfer_weight: float
    transfer_base_rate: float


class Dials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a feedback type is trained. None is the product's own default."""

    rate_scale: float | None = None
    epochs: int | None = None
    beta: float | None = None
    lam: float | None = None

    def told(self) -> str:
        """In words, for tables: `epochs 3, beta 0.1`; `default` where nothing is set."""
        return ", ".join(f"{k} {v:g}" for k, v in msgspec.structs.asdict(self).items() if v is not None) or "default"


class Late(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The late ensembles: `alpha` of the paper's algorithm 1, and of its contextual kin."""

    alpha: float
    contextual_alpha: float
    contextual_size: int


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rounds of edit and retraining, for the strong and the weak user."""

    domain: str
    feedback: str
    rounds: int
    seeds: int


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a run of this size does.

    `offline` edits are trained on, `held_out` ones give the log-loss, `pool` documents are what the `rounds`
    of the online phase draw from. `grid` is swept in the first setting and seed; for each feedback type the
    dials of the lowest held-out log-loss are used everywhere. `settings` are (domain, user) pairs; a plan without
    `domains` of its own takes them from `domains.toml`.
    """

    size: Literal["tiny", "smollm2"]
    seeds: int
    offline: int
    held_out: int
    pool: int
    rounds: int
    epochs: int
    batch_size: int
    settings: tuple[tuple[str, str], ...]
    feedback: tuple[str, ...]
    beyond: tuple[str, ...]
    crossed: tuple[str, ...]
    users: Users
    late: Late
    grid: dict[str, tuple[Dials, ...]]
    growth: Growth | None = None
    domains: dict[str, Domain] = {}

    @property
    def digest(self) -> str:
        """Identifies the plan."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]

    def reading(self, sources: Mapping[str, str]) -> Plan:
        """The plan with other sources for some kinds. Raises ConfigError for a kind that it does not have."""
        known = {name for domain in self.domains.values() for name in domain.kinds}
        if unknown := sorted(set(sources) - known):
            raise ConfigError(f"the plan {self.size} has no kind {unknown[0]!r}; it has {', '.join(sorted(known))}")

        def kinds(domain: Domain) -> dict[str, Kind]:
            return {n: msgspec.structs.replace(k, source=sources.get(n, k.source)) for n, k in domain.kinds.items()}

        domains = {n: msgspec.structs.replace(d, kinds=kinds(d)) for n, d in self.domains.items()}
        return msgspec.structs.replace(self, domains=domains)


def load(size: str) -> Plan:
    """The plan of a size, with its domains. Raises ConfigError with what is wrong in which file."""
    folder = resources.files("learner.experiment") / "plans"

    def read(name: str, kind: Any) -> Any:
        try:
            return msgspec.toml.decode((folder / name).read_bytes(), type=kind)
        except FileNotFoundError as error:
            raise ConfigError(f"there is no plan for size {size!r}") from error
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"the plan {name}: {error}") from error

    plan: Plan = read(f"{size}.toml", Plan)
    if plan.domains:
        return plan
    domains: dict[str, Domain] = read("domains.toml", dict[str, Domain])
    used = {domain for domain, _ in plan.settings}
    return msgspec.structs.replace(plan, domains={name: d for name, d in domains.items() if name in used})
