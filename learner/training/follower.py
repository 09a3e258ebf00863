"""The part in a training of a process that is not the first: to help with the steps, and to leave nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from learner import feedback as plugins
from learner.exceptions import ModelError
from learner.models import BaseModel
from learner.training.fit import Samples, trained
from learner.training.policy import load_policy
from learner.training.processes import World
from learner.training.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the first process tells the others before anything else."""

    settings: TrainSettings
    fingerprint: str


def follow(base: BaseModel, world: World) -> None:
    """Train along until the first process says that all is done.

    What fails in one feedback type fails everywhere, and the next is waited for. Raises ModelError for another
    base than the first process's, PeerError or ProcessLostError where that one ended.
    """
    begun: Beginning = world.share(None)
    if begun.fingerprint != base.fingerprint:
        raise ModelError(f"{base.name} is not the base that is trained ({begun.fingerprint}): set the same one up")
    policy = load_policy(base, begun.settings)
    with tempfile.TemporaryDirectory(prefix="redraft-") as work:
        samples = Samples(base.fingerprint, Path(work))
        while True:
            try:
                with world.together():
                    name: str = world.share(None)
                    if not name:
                        break
                    kind = plugins.load(name)
                    with trained(
                        policy, kind, None, begun.settings, Path(work) / name, samples, tell=_silent, world=world
                    ):
                        pass
            except Exception:  # a plugin may raise anything; the first process reports it and says what is next
                if world.lost:
                    raise
    world.part()


def _silent(_words: str, _share: float | None) -> None:
    pass
