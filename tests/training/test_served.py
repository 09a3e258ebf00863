"""What was trained is what is served: SmolLM2 with a trained adapter, in torch and in the engine."""

import pytest
from edit_rows import an_edit

from learner.armset import ArmSet
from learner.client import Generation
from learner.config import Config
from learner.feedback import load
from learner.prompt import draft, prompt_ids
from learner.serving import PrivateHost
from learner.training.answers import Question, ask
from learner.training.dataset import tokenise
from learner.training.logprobs import Text, answer_head, token_logprobs
from learner.training.policy import load_policy
from learner.training.publish import publish
from learner.training.quiet import quiet
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer

NOTES = [
    "The ferry to the island leaves at nine and comes back at four.",
    "Rain is expected in the north, and the south stays dry until Friday.",
    "The library opens an hour later on Mondays, since the heating is old.",
    "Our train was late, so we walked along the river and had soup.",
]
SETTINGS = TrainSettings(feedback=("sft",), epochs=14, learning_rate=2e-3, rank=8, alpha=16)


@pytest.mark.model
@pytest.mark.timeout(600)
def test_log_probabilities_served_are_those_trained(prepared_base, tmp_path):
    """Rounding of the served base (Q8_0) is the only difference; without the adapter the figures are far off."""
    kept = "Note:\n- short and to the point\n- nothing else"
    edits = [an_edit("It is so.", kept, prompt=n, document=n) for n in NOTES]
    question = draft("The bakery has moved to the corner of the market square.", "summary")
    with quiet():
        policy = load_policy(prepared_base, SETTINGS)
        rows = tokenise(edits, policy.tokenizer, SETTINGS, policy.invocation).rows
        policy.prefixes.fill([r.prompt[: r.start] for r in rows])
        trainer = EditTrainer(policy, rows, load("sft"), SETTINGS, tmp_path / "run")
        trainer.train()
        trainer.save_adapter(tmp_path / "peft")
        published = publish(tmp_path / "peft", prepared_base, tmp_path / "sft-1")
        arms = ArmSet(
            prepared_base.gguf,
            prepared_base.fingerprint,
            prepared_base.zero_adapter,
            {"sft-1": published / "adapter.gguf"},
        )
        with PrivateHost(arms, Config(slots=1, context=512)) as endpoint:
            asked = [Question(question, arm, 24, logprobs=1) for arm in ("sft-1", None)]
            served, base = ask(endpoint, asked, parallel=1)
        assert served.text != base.text, served.text
        assert len(served.logprobs) >= 10, served
        assert served.text.startswith("Note:")
        trained = scored(trainer.model, policy, question, served)
        with trainer.model.disable_adapter():
            without = scored(trainer.model, policy, question, served)
    engine = [value for _, value in served.logprobs][: len(trained)]
    off = sum(abs(a - b) for a, b in zip(engine, trained, strict=True)) / len(trained)
    dropped = sum(abs(a - b) for a, b in zip(engine, without, strict=True)) / len(trained)
    assert off < 0.1
    assert dropped > 1.0


def scored(model, policy, question, answer: Generation):
    """Log-probabilities of the tokens that the engine generated, by our own training path."""
    ids = tuple(int(token) for token, _ in answer.logprobs)
    prompt = tuple(prompt_ids(question, policy.tokenizer))
    text = Text(prompt, len(prompt) - len(policy.invocation), ids)
    model.eval()
    with answer_head(policy.causal_lm):
        logprobs, mask = token_logprobs(model, [text], device=policy.device, prefixes=policy.prefixes)
    return logprobs[mask].tolist()
