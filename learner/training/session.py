"""The work of one training: load the base once, train each feedback type on it, publish, measure, judge."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from learner import registry
from learner.adapter_files import adapter_sha256
from learner.armset import ArmSet
from learner.config import Config, Paths
from learner.exceptions import NothingToLearnError, RedraftError
from learner.feedback import FeedbackType
from learner.models import BaseModel, Progress
from learner.records import AdapterState, AdapterVersion, Run, now
from learner.store import Store
from learner.training import batches
from learner.training.again import GoingOn, going_on
from learner.training.dataset import Row, Tokenised, tokenise
from learner.training.evaluate import Figures, Likelihood, interval, judge, measure, second_moment
from learner.training.fit import SHORTEST_ANSWER, Samples, trained
from learner.training.follower import Beginning
from learner.training.logprobs import Text
from learner.training.policy import load_policy
from learner.training.processes import ALONE, World
from learner.training.publish import publish
from learner.training.report import AdapterReport, TrainReport
from learner.training.settings import TrainSettings
from learner.training.trainer import Policy

if TYPE_CHECKING:
    from learner.training.run import Plan


class Session:
    """A training at work; `report` says how far it came."""

    def __init__(
        self,
        store: Store,
        base: BaseModel,
        settings: TrainSettings,
        plan: Plan,
        run: Run,
        paths: Paths,
        config: Config,
        work: Path,
        progress: Progress,
        world: World = ALONE,
    ) -> None:
        self._store, self._base, self._settings, self._plan = store, base, settings, plan
        self._run, self._paths, self._config, self._work, self._progress = run, paths, config, work, progress
        self._reports = {name: AdapterReport(name, error=plan.failed.get(name)) for name in plan.arms}
        self._world = world
        self._versions: dict[str, AdapterVersion] = {}
        self._likely: list[Row] = []
        self._kept_losses: dict[str | None, list[float]] = {}
        self.report = TrainReport(run.id, base.name, base.fingerprint, plan.total, len(plan.held_out))
        self.report = replace(self.report, adapters=tuple(self._reports.values()))

    def run(self) -> None:
        """Train, then measure. An error of one feedback type is in its report."""
        self._train_all()
        self._measure()

    def _train_all(self) -> None:
        self._world.share(Beginning(self._settings, self._base.fingerprint))
        self._progress("Loading the base model", None)
        policy = load_policy(self._base, self._settings, self._paths.data / "cache" / "computed")
        data = self._rows(policy)
        self._base_losses(policy)
        for number, (name, rows) in enumerate(data.items(), 1):
            try:
                with self._world.together():
                    self._world.share(self._plan.types[name].name)
                    self._train_one(policy, name, rows, f"({number} of {len(data)})")
            except Exception as error:  # a plugin may raise anything; the others go on
                if self._world.lost:
                    raise
                self._update(name, error=_words(error))
        self._world.share("")
        self._world.part()

    def _base_losses(self, policy: Policy) -> None:
        """How likely the held-out kept texts are under the base; the same rows are asked of every adapter."""
        data = tokenise(self._plan.held_out, policy.tokenizer, self._settings, policy.invocation)
        self._likely = [r for r in data.rows if r.kept]
        if policy.prefixes is not None:
            policy.prefixes.fill([r.prompt[: r.start] for r in self._likely])
        kept = [Text(r.prompt, r.start, r.kept) for r in self._likely]
        policy.reference.fill(kept)
        self._kept_losses[None] = [-float(policy.reference.get(t).mean()) for t in kept]

    def _update(self, name: str, **changes: Any) -> None:
        self._reports[name] = replace(self._reports[name], **changes)
        self.report = replace(self.report, adapters=tuple(self._reports.values()))

    def _rows(self, policy: Policy) -> dict[str, Tokenised]:
        """The rows of every feedback type, less those without a text that it needs."""
        found: dict[str, Tokenised] = {}
        for name in self._plan.types:
            data = tokenise(self._plan.edits[name], policy.tokenizer, self._settings, policy.invocation)
            self._update(name, rows=len(data.rows), left_out=data.left_out)
            if data.rows:
                found[name] = data
            else:
                why = "; ".join(f"{n} left out since {r}" for r, n in data.left_out.items())
                words = why or "no edit that is not held out teaches it"
                self._update(name, error=str(NothingToLearnError(f"{name} has nothing to learn from: {words}")))
        return found

    def _train_one(self, policy: Policy, name: str, data: Tokenised, which: str) -> None:
        started = time.monotonic()
        feedback = self._plan.types[name]
        offers = [r.offer_id for r in data.rows]
        again = going_on(self._store, name, feedback.name, self._base.fingerprint, self._settings, offers)
        settings = self._settings if again is None else again.slowed(self._settings)
        held = [] if getattr(feedback, "prepare", None) is not None else self._held_rows(policy, feedback)
        samples = Samples(self._base.fingerprint, self._paths.data / "cache" / "samples")
        with trained(
            policy,
            feedback,
            data,
            settings,
            self._work / f"{name}-run",
            samples,
            held=held,
            tell=lambda words, share: self._progress(f"{words} {which}", share),
            world=self._world,
            going_on=again,
        ) as (trainer, data):
            self._update(name, rows=len(trainer.rows), left_out=data.left_out)
            losses = trainer.losses
            tenth = max(1, len(losses) // 10)
            self._update(
                name,
                steps=trainer.state.global_step,
                tokens=trainer.tokens,
                first_loss=fmean(losses[:tenth]),
                last_loss=fmean(losses[-tenth:]),
                held_out_loss=trainer.held_out_loss(held),
            )
            self._kept_losses[name] = trainer.kept_losses(self._likely)
            trainer.save_adapter(self._work / name)
            offers = [r.offer_id for r in trainer.rows]
        if again is not None:
            self._update(name, went_on_from=again.adapter_id, new=len(again.new.intersection(offers)))
            offers = sorted({*offers, *again.known})
        self._progress(f"Converting {name} {which}", None)
        self._publish(name, offers, again)
        self._update(name, seconds=time.monotonic() - started)

    def _held_rows(self, policy: Policy, feedback: FeedbackType) -> list[Any]:
        data = tokenise(self._plan.held_out, policy.tokenizer, self._settings, policy.invocation)
        return [r for r in data.rows if batches.answers(r, feedback.needs)]

    def _publish(self, name: str, offer_ids: list[str], again: GoingOn | None) -> None:
        """Make the version's folder, whole, and register it as a candidate."""
        number = registry.next_version(self._store, name)
        target = publish(self._work / name, self._base, self._paths.adapters / f"{name}-{number}")
        version = AdapterVersion(
            id=target.name,
            name=name,
            version=number,
            feedback=self._plan.types[name].name,
            base_fingerprint=self._base.fingerprint,
            form=self._settings.form,
            state=AdapterState.CANDIDATE,
            path=str(target),
            sha256=adapter_sha256(target),
            created_at=now(),
            run_id=self._run.id,
            rows=len(offer_ids),
            settings=dict(self._settings.to_json()) | ({} if again is None else {"again": again.to_json()}),
        )
        try:
            registry.register(self._store, version, offer_ids)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        self._versions[name] = version
        self._update(name, adapter_id=version.id, state=AdapterState.CANDIDATE)

    def _measure(self) -> None:
        """Held-out figures on the engine that serves, and the promotion by them."""
        arms = self._arms({v.id: Path(v.path) / "adapter.gguf" for v in self._versions.values()})
        if not self._versions:
            return
        if arms is None:
            for name, version in self._versions.items():
                words = f"not measured: {self._base.name} has no GGUF here; promote it by hand"
                self._update(name, state=version.state, reason=words)
            return
        edits = self._plan.held_out
        if not edits:
            for name in self._versions:
                self._settle(name, AdapterState.TRIAL, "no held-out edit to measure by yet", {})
            return
        words = "Measuring on held-out edits"
        self._progress(words, None)
        longest = max((len(r.kept) for r in self._likely), default=0)
        figures = measure(edits, arms, self._config, max_tokens=self._answer_tokens(longest), done=self._steps(words))
        base = figures[None]
        self.report = replace(
            self.report,
            base_proxy_cost=base.proxy_cost,
            base_interval=interval(base.costs),
            base_untouched=base.untouched,
            base_length_ratio=base.length_ratio,
        )
        for name, version in self._versions.items():
            self._judge(name, base, figures[version.id])

    def _judge(self, name: str, base: Figures, own: Figures) -> None:
        likelier = Likelihood(
            tuple(r.document for r in self._likely), tuple(self._kept_losses[None]), tuple(self._kept_losses[name])
        )
        state, reason = judge(base, own, likelier)
        figures = {
            "proxy_cost": own.proxy_cost,
            "interval": interval(own.costs),
            "untouched": own.untouched,
            "length_ratio": own.length_ratio,
            "cut_share": own.cut_share,
            "kept_loss": likelier.adapter_mean,
        }
        moment = second_moment(likelier, [len(r.kept) for r in self._likely])
        self._update(name, **figures)
        shared = {
            "base_proxy_cost": base.proxy_cost,
            "base_untouched": base.untouched,
            "base_kept_loss": likelier.base_mean,
            "edits": len(own.costs),
            "documents": len(set(own.documents)),
            "second_moment": moment,
        }
        self._settle(name, state, reason, figures | shared)

    def _settle(self, name: str, state: AdapterState, reason: str, figures: dict[str, Any]) -> None:
        registry.set_state(self._store, self._versions[name].id, state, held_out=figures | {"reason": reason})
        self._update(name, state=state, reason=reason)

    def _arms(self, adapters: dict[str, Path]) -> ArmSet | None:
        base = self._base
        if base.gguf is None:
            return None
        return ArmSet(base.gguf, base.fingerprint, base.zero_adapter, adapters)

    def _answer_tokens(self, longest: int) -> int:
        """Room for an answer: twice the longest known one, within the settings."""
        return min(self._settings.max_answer_tokens, max(SHORTEST_ANSWER, 2 * longest))

    def _steps(self, words: str) -> Callable[[int, int], None]:
        def tell(done: int, total: int) -> None:
            self._progress(words, done / total if total else None)

        return tell


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, RedraftError) else f"{type(error).__name__}: {error}"
