"""The trainer: that the plugin's loss is what trains, and that its figures are trl's on the same batch."""

import json
import math

import pytest
import torch
from policies import CPU, INVOCATION, kept_texts, plain_logprobs, policy, rows, tiny_lm
from safetensors.torch import load_file
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer

from learner.exceptions import AdapterError, ConfigError, PluginError, TrainingError
from learner.feedback import EditBatch, Signal
from learner.training import batches
from learner.training.quiet import quiet
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer, lora_config
from plugins.feedback.dpo import DPO
from plugins.feedback.early_ensemble import EarlyEnsemble
from plugins.feedback.sft import SFT


@pytest.fixture(autouse=True)
def _quiet():
    with quiet():
        yield


def settings(**changes):
    return TrainSettings(
        feedback=("sft",), **({"batch_size": 4, "rank": 4, "alpha": 8, "learning_rate": 5e-3} | changes)
    )


def prepared(base, some_rows, feedback):
    if base.prefixes is not None:
        base.prefixes.fill([r.prompt[: r.start] for r in some_rows])
    if Signal.REFERENCE in feedback.needs:
        base.reference.fill(batches.texts(some_rows, feedback.needs))


def trainer_of(feedback, folder, *, activated=True, shared=True, some_rows=None, steps=None, **changes):
    base = policy(activated=activated, shared=shared)
    some_rows = rows(activated=activated) if some_rows is None else some_rows
    prepared(base, some_rows, feedback)
    return EditTrainer(base, some_rows, feedback, settings(**changes), folder, steps)


@pytest.mark.parametrize("feedback", [SFT(), DPO(), EarlyEnsemble()], ids=lambda f: f.name)
@pytest.mark.parametrize("form", ["activated, shared prompts", "activated", "plain"])
def test_a_few_steps_lower_the_loss(feedback, form, tmp_path):
    trainer = trainer_of(feedback, tmp_path, activated=form != "plain", shared="shared" in form, epochs=6)
    before = trainer.held_out_loss(trainer.rows)
    trainer.train()
    assert trainer.held_out_loss(trainer.rows) < 0.9 * before
    assert len(trainer.losses) == 12


def test_activated_adapters_are_the_same_with_and_without_shared_prompts(tmp_path):
    losses = []
    for shared in (True, False):
        trainer = trainer_of(SFT(), tmp_path, shared=shared, batch_size=6)
        trainer.train()
        losses.append(trainer.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


class FirstBatch(DPOTrainer):
    """trl's own trainer, asked for the loss of one batch at given adapter weights."""

    def _prepare_dataset(self, dataset, *_args, **_kwargs):
        return dataset


def trl_loss(some_rows, state, folder, **changes):
    from datasets import Dataset
    from policies import tiny_tokenizer

    columns = {
        "prompt_ids": [list(r.prompt) for r in some_rows],
        "chosen_ids": [list(r.kept) for r in some_rows],
        "rejected_ids": [list(r.offered) for r in some_rows],
    }
    trainer = FirstBatch(
        model=tiny_lm(),
        args=DPOConfig(
            output_dir=str(folder), bf16=False, use_cpu=True, gradient_checkpointing=False, report_to=[], **changes
        ),
        train_dataset=Dataset.from_dict({"prompt": [""] * len(some_rows), **columns}),
        processing_class=tiny_tokenizer(),
        peft_config=lora_config(settings(), INVOCATION),
    )
    names = trainer.model.load_state_dict(state, strict=False)
    assert not names.unexpected_keys
    (batch,) = DataLoader(list(trainer.train_dataset), batch_size=len(some_rows), collate_fn=trainer.data_collator)
    with torch.no_grad():
        return trainer._compute_loss(trainer.model, batch, return_outputs=False).item()


@pytest.mark.parametrize(
    ("feedback", "changes"),
    [
        (DPO(beta=0.3), {"loss_type": ["sigmoid"], "beta": 0.3}),
        (EarlyEnsemble(), {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0], "beta": 0.1}),
    ],
    ids=["dpo", "early_ensemble"],
)
def test_loss_is_trls_on_the_same_batch(feedback, changes, tmp_path):
    trainer = trainer_of(feedback, tmp_path / "ours", epochs=4)
    trainer.train()
    state = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora_" in n}
    assert max(p.abs().max() for n, p in state.items() if "lora_B" in n) > 1e-3
    some_rows = trainer.rows[:4]
    ours = trainer.held_out_loss(some_rows)
    assert ours == pytest.approx(trl_loss(some_rows, state, tmp_path / "trl", **changes), rel=1e-5)
    assert ours != pytest.approx(math.log(2), abs=1e-3)


class Recorder:
    """Keeps the batch that it saw."""

    name = "recorder"

    def __init__(self, *needs):
        self.needs = frozenset(needs)
        self.seen = []

    def loss(self, batch: EditBatch):
        self.seen.append(batch)
        parts = [p.sum().mean() for p in (batch.kept, batch.offered, batch.candidates) if p is not None]
        return -sum(parts), {}


def test_only_the_needed_signals_are_computed(tmp_path):
    feedback = Recorder(Signal.KEPT)
    trainer_of(feedback, tmp_path, epochs=1).train()
    for batch in feedback.seen:
        assert batch.offered is batch.candidates is batch.kept_aligned is batch.kept.reference is None


def test_every_signal_is_what_its_name_says(tmp_path):
    feedback = Recorder(*Signal)
    some_rows = [r.__class__(**{f: getattr(r, f) for f in r.__slots__}) for r in rows(3)]
    some_rows[1] = _with(some_rows[1], candidates=(some_rows[1].kept, (20, 2)), tables={"q": (0.25, 0.75)})
    some_rows[0] = _with(some_rows[0], candidates=((30, 31, 2),), tables={"q": (1.0,)})
    some_rows[2] = _with(some_rows[2], kept=(), kept_aligned=(), cost=1.0, tables={"q": ()})
    trainer = trainer_of(feedback, tmp_path, some_rows=some_rows)
    trainer.held_out_loss(some_rows)
    (batch,) = feedback.seen
    assert batch.candidates.policy.shape == batch.candidates.mask.shape == (3, 2, len(some_rows[1].kept))
    assert batch.candidates.mask.sum(-1).tolist() == [[3, 0], [len(some_rows[1].kept), 2], [0, 0]]
    assert batch.tables["q"].tolist() == [[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]]
    assert batch.kept.mask.sum(-1).tolist() == [len(some_rows[0].kept), len(some_rows[1].kept), 0]
    assert batch.cost.tolist() == [0.5, 0.5, 1.0]
    assert batch.kept_aligned[0].tolist()[: len(some_rows[0].kept)] == list(some_rows[0].kept_aligned)
    assert batch.offered_aligned[2].tolist()[: len(some_rows[2].offered)] == list(some_rows[2].offered_aligned)
    # an untrained adapter is the base, and the base is the reference
    torch.testing.assert_close(batch.kept.policy, batch.kept.reference)
    texts = kept_texts(some_rows[:2])
    expected = torch.stack([plain_logprobs(tiny_lm(), t).sum() for t in texts])
    torch.testing.assert_close(batch.kept.sum()[:2], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.candidates.sum()[1, 0], batch.kept.sum()[1])


def _with(row, **changes):
    from dataclasses import replace

    return replace(row, **changes)


def test_saved_settings_say_activated(tmp_path):
    trainer = trainer_of(SFT(), tmp_path / "run", epochs=1)
    trainer.train()
    trainer.save_adapter(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["alora_invocation_tokens"] == list(INVOCATION)
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert len(weights) == 2 * 7 * 2
    assert {w.dtype for w in weights.values()} == {torch.float32}


def test_plain_adapters_say_so(tmp_path):
    trainer = trainer_of(SFT(), tmp_path / "run", activated=False, epochs=1)
    trainer.save_adapter(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["alora_invocation_tokens"] is None


def test_one_base_trains_several_adapters(tmp_path):
    base = policy()
    some_rows = rows()
    ensemble = EarlyEnsemble()
    prepared(base, some_rows, ensemble)
    before = {n: p.clone() for n, p in base.causal_lm.named_parameters()}
    first = []
    for feedback in (SFT(), ensemble, SFT()):
        trainer = EditTrainer(base, some_rows, feedback, settings(epochs=1), tmp_path)
        trainer.train()
        first.append(trainer.losses[0])
        trainer.release()
    assert first[0] == first[2]
    after = dict(base.causal_lm.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)


def test_steps_are_told(tmp_path):
    heard = []
    trainer_of(SFT(), tmp_path, epochs=2, steps=lambda done, total: heard.append((done, total))).train()
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_long_batches_are_split(tmp_path, capsys):
    long = [_with(r, kept=(*[20] * 500, 2), kept_aligned=(False,) * 501) for r in rows(4)]
    base = policy(model=tiny_lm(max_position_embeddings=1024))
    split = EditTrainer(base, long, SFT(), settings(epochs=1), tmp_path)
    assert (split.args.per_device_train_batch_size, split.args.gradient_accumulation_steps) == (2, 2)
    split.train()
    assert split.state.global_step == 1
    assert capsys.readouterr().out == ""


class Broken:
    name = "broken"
    needs = frozenset({Signal.KEPT})

    def __init__(self, value):
        self.value = value

    def loss(self, batch):
        return self.value, {}


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.5, PluginError, "scalar Tensor"),
        (torch.ones(3), PluginError, "scalar Tensor"),
        (torch.tensor(float("nan"), requires_grad=True), TrainingError, "lower learning rate"),
    ],
)
def test_a_broken_loss_is_named(value, error, words, tmp_path):
    with pytest.raises(error, match="broken.*" + words):
        trainer_of(Broken(value), tmp_path).train()


def test_settings_that_cannot_be_served_are_refused():
    assert lora_config(settings(), INVOCATION).r == 4
    with pytest.raises(AdapterError, match="r=1000"):
        lora_config(TrainSettings(feedback=("sft",), rank=1000), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 3.0}, "learning_rate is 3.0"),
        ({"accepted_weight": -1}, "accepted_weight is -1"),
    ],
)
def test_settings_out_of_range(changes, words):
    with pytest.raises(ConfigError, match=words):
        TrainSettings(feedback=("sft",), **changes)


def test_feedback_types_are_named_once():
    with pytest.raises(ConfigError, match="named twice"):
        TrainSettings(feedback=("sft", "sft"))
    with pytest.raises(ConfigError, match="no feedback type"):
        TrainSettings(feedback=())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_trains_on_a_gpu(tmp_path):
    from learner.training.precision import device, weights_dtype
    from learner.training.prefixes import Prefixes
    from learner.training.reference import Reference
    from learner.training.trainer import Policy

    on = device()
    assert on.type == "cuda"
    causal_lm = tiny_lm().to(on, weights_dtype(on))
    prefixes = Prefixes.where_supported(causal_lm)
    base = Policy(causal_lm, policy().tokenizer, on, INVOCATION, prefixes, Reference(causal_lm, prefixes, on))
    ensemble = EarlyEnsemble()
    prepared(base, rows(), ensemble)
    trainer = EditTrainer(base, rows(), ensemble, settings(epochs=6), tmp_path)
    before = trainer.held_out_loss(trainer.rows)
    trainer.train()
    assert trainer.held_out_loss(trainer.rows) < 0.9 * before
    assert trainer.model.device.type == "cuda"
    assert on != CPU
