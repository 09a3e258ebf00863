"""What a training did, in figures and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from learner.records import AdapterState


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """What became of one arm.

    `feedback` is the arm's name: the feedback type's, with `_own` where only one's own edits taught
    it. `rows` were trained on, `new` of them for the first time, where it `went_on_from` an adapter;
    `left_out` counts the others by reason. Losses are the plugin's, means over the first and last tenth
    of the steps; `held_out_loss` is None without held-out rows, or where `prepare` makes what the loss
    needs. `proxy_cost` (with its bootstrap `interval`), `untouched` (share), `length_ratio` (against
    kept texts) and `cut_share` (ended by the token limit) are the held-out figures on the engine that
    serves; `kept_loss` is -log pi(y' | x) per token of held-out kept texts, in nats. `error` is set
    where it failed.
    """

    feedback: str
    rows: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    adapter_id: str | None = None
    went_on_from: str | None = None
    new: int | None = None
    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    held_out_loss: float | None = None
    proxy_cost: float | None = None
    interval: tuple[float, float] | None = None
    untouched: float | None = None
    length_ratio: float | None = None
    cut_share: float | None = None
    kept_loss: float | None = None
    state: AdapterState | None = None
    reason: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training did. `held_out` counts the edits that were kept from it.

    `pruned` are the versions whose weights it removed, since they were replaced long ago (`learner.pruning`).
    """

    run_id: str
    base: str
    base_fingerprint: str
    edits: int
    held_out: int
    dry_run: bool = False
    seconds: float = 0.0
    base_proxy_cost: float | None = None
    base_interval: tuple[float, float] | None = None
    base_untouched: float | None = None
    base_length_ratio: float | None = None
    adapters: tuple[AdapterReport, ...] = ()
    pruned: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every feedback type came through: what the exit code says."""
        return all(a.error is None for a in self.adapters)

    def to_json(self) -> dict[str, Any]:
        """As plain values, for the run's row and for `--json`."""
        return asdict(self)
