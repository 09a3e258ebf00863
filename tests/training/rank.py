"""One process of several that train the tiny Llama, for the tests of `learner.training.processes`.

Called as `rank.py SCENE FOLDER`, with the launcher's variables in the environment. Prints a line of JSON.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from policies import policy, rows, tiny_lm

from learner.feedback import Signal
from learner.training import batches
from learner.training import trainer as trainer_module
from learner.training.dataset import Tokenised
from learner.training.fit import Samples, fitting
from learner.training.processes import ALONE, ProcessLostError, joined
from learner.training.quiet import quiet
from learner.training.reference import Reference
from learner.training.settings import TrainSettings
from learner.training.sharding import fill_reference
from learner.training.trainer import EditTrainer
from plugins.feedback.aligned import Aligned
from plugins.feedback.dpo import DPO
from plugins.feedback.early_ensemble import EarlyEnsemble
from plugins.feedback.rl import RL
from plugins.feedback.sft import SFT

LONG = 500


def long_rows():
    """Seven, which with four to a step make a last one that is not full; two fit in memory at once."""
    some = rows(7)
    return [replace(r, kept=(*[20 + i] * LONG, 2), kept_aligned=(False,) * (LONG + 1)) for i, r in enumerate(some)]


def candidate_rows():
    """Rows with candidates and how much each is worth, as `rl` makes them; one has a candidate fewer."""
    made = []
    for i, row in enumerate(rows(5)):
        candidates = (row.kept, row.offered, (30 + i, 31, 2))[: 2 + (i != 3)]
        count = len(candidates)
        tables = {"weight": tuple((j + 1 + i) / 10 for j in range(count))}
        made.append(replace(row, candidates=candidates, tables=tables))
    return made


SCENES = {
    "sft": (SFT(), rows, {}),
    "dpo": (DPO(), rows, {}),
    "early_ensemble": (EarlyEnsemble(), rows, {}),
    "aligned": (Aligned(), rows, {}),
    "rl": (RL(), candidate_rows, {}),
    "split": (SFT(), long_rows, {}),
    "one row": (SFT(), lambda: rows(1), {}),
    "fast": (EarlyEnsemble(), rows, {"fast": True}),
    "plain": (SFT(), lambda: rows(activated=False), {"activated": False}),
}


class Trainer(EditTrainer):
    """Notes each step's gradient, before it is clipped: Adam hides its size from the adapter."""

    def training_step(self, *arguments, **options):
        loss = super().training_step(*arguments, **options)
        if self.accelerator.sync_gradients:
            squares = [float(p.grad.square().sum()) for p in self.model.parameters() if p.grad is not None]
            self.__dict__.setdefault("norms", []).append(sum(squares) ** 0.5)
        return loss


def trained(scene, folder, world):
    feedback, make, how = SCENES[scene]
    fast, activated = how.get("fast", False), how.get("activated", True)
    base = policy(activated=activated, model=tiny_lm(max_position_embeddings=1024))
    reference = Reference(base.causal_lm, base.prefixes, base.device, fast=fast)
    base = replace(base, reference=reference, fast=fast)
    some_rows = make()
    if Signal.REFERENCE in feedback.needs:
        fill_reference(world, reference, batches.texts(some_rows, feedback.needs))
    settings = TrainSettings(("sft",), epochs=2, batch_size=4, rank=4, alpha=8, learning_rate=5e-3)
    trainer = Trainer(base, some_rows, feedback, settings, folder, world=world)
    trainer.train()
    return trainer


def weights(trainer):
    return {n: p.detach() for n, p in trainer.model.named_parameters() if "lora_" in n}


def compare(scene, folder, world):
    """How far the adapter of all processes is from that of one, as a share of how far it moved."""
    together = trained(scene, folder / f"together-{world.rank}", world)
    differing = world.gather({n: w.double().sum().item() for n, w in weights(together).items()})
    if not world.leads:
        return {}
    alone = trained(scene, folder / "alone", ALONE)
    own, expected = weights(together), weights(alone)
    moved = max(float(w.abs().max()) for n, w in expected.items() if "lora_B" in n)
    return {
        "error": max(float((own[n] - w).abs().max()) for n, w in expected.items()),
        "moved": moved,
        "losses": [together.losses, alone.losses],
        "norms": [together.norms, alone.norms],
        "tokens": [together.tokens, alone.tokens],
        "steps": [together.state.global_step, alone.state.global_step],
        "calls": [t.args.per_device_train_batch_size for t in (together, alone)],
        "same everywhere": differing[0] == differing[1],
    }


class Failing(SFT):
    """Ends this process's training at its second batch, in a way that nobody else's ends."""

    def __init__(self, how):
        super().__init__()
        self.how, self.seen = how, 0

    def loss(self, batch):
        self.seen += 1
        if self.seen == 2:
            if self.how == "error":
                raise torch.OutOfMemoryError("no memory left here")
            os.kill(os.getpid(), signal.SIGINT if self.how == "interrupt" else signal.SIGKILL)
        return super().loss(batch)


def fail(how, folder, world):
    """What this process hears when the second fails, and whether it can go on afterwards."""
    feedback = SFT() if world.leads else Failing(how)
    settings = TrainSettings(("sft",), epochs=3, batch_size=2, rank=4, alpha=8, learning_rate=5e-3)
    trainer = EditTrainer(policy(), rows(), feedback, settings, folder / f"{how}-{world.rank}", world=world)
    try:
        with world.together():
            trainer.train()
    except Exception as error:
        heard = f"{type(error).__name__}: {error}"
        if isinstance(error, ProcessLostError):
            return {"heard": heard, "lost": world.lost}
        return {"heard": heard, "after": world.share("onwards" if world.leads else None)}
    return {"heard": None}


def obey(folder, world, monkey):
    """Whether all train with the first's settings, and with as many edits at once as the least has room for."""
    monkey.step_tokens = lambda causal_lm, device, *, fast: 10_000 if world.leads else 20
    own = {"learning_rate": 5e-3 if world.leads else 1e-1}
    settings = TrainSettings(("sft",), epochs=2, batch_size=4, rank=4, alpha=8, **own)
    data = Tokenised(tuple(rows(7)), (None,) * 7, {}) if world.leads else None
    samples, quiet_ = Samples("tiny", folder), lambda words, share: None
    fit = fitting(policy(), SFT(), data, settings, folder / f"obey-{world.rank}", samples, tell=quiet_, world=world)
    with fit as (trainer, _):
        trainer.train()
        sums = world.gather({n: w.double().sum().item() for n, w in weights(trainer).items()})
        return {"same": all(s == sums[0] for s in sums), "micro": world.gather(trainer._micro)}


def main():
    scene, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    with quiet(), joined() as world:
        if scene == "compare":
            said = {name: compare(name, folder / name, world) for name in SCENES}
        elif scene == "obey":
            said = obey(folder, world, trainer_module)
        else:
            said = {how: fail(how, folder, world) for how in scene.split()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
