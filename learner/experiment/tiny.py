"""A small transformer that knows a few sentences, for an experiment of minutes: made from nothing, trained here.

It reads real documents and says of each what it is about, in one of a few stock sentences by the look of
the document, and follows each rule of style with a small probability. What it has to learn from edits is
which rules the user wants where.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

from learner.experiment.agent import Case
from learner.experiment.plan import Plan
from learner.experiment.rules import RULES, resampled
from learner.models import BaseModel, Progress

STOCK = (
    "It defines something that others call.",
    "It tells how the language works.",
    "It says what a part of the library is for.",
    "It changes a file of the library.",
)
"""What the base says, by the look of a document."""
HABIT = 0.1
"""How often the base follows a rule by itself."""
VOCABULARY, HIDDEN, LAYERS, HEADS = 2048, 128, 3, 4
STEPS, BATCH, RATE = 300, 8, 2e-3
LONGEST = 224
ANSWERS = 4
"""Answers that the base is shown to each document."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def answer(document: str, rules: Sequence[str], rng: Random) -> str:
    """What the base has learnt to say about a document."""
    if document.startswith("---"):
        text = STOCK[3]
    elif "def " in document or "class " in document:
        text = STOCK[0]
    else:
        text = STOCK[1] if '"' in document else STOCK[2]
    return resampled(text, rules, {name: rng.random() < HABIT for name in rules})


def base(folder: Path, plan: Plan, cases: Sequence[Case], tell: Progress) -> BaseModel:
    """The tiny base in `folder`, made if it is not there: the same one from the same documents."""
    made = folder / "tiny"
    if not made.is_dir():
        part = folder / f".{uuid4().hex}"
        try:
            _make(part, plan, cases, tell)
            part.replace(made)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(made)
    invocation = tuple(tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"])
    digest = hashlib.sha256((made / "model.safetensors").read_bytes()).hexdigest()[:16]
    return BaseModel("tiny", digest, made, None, None, invocation, True, False, False, ())


def _make(folder: Path, plan: Plan, cases: Sequence[Case], tell: Progress) -> None:
    """Write the tiny base to `folder`: its tokenizer and weights."""
    from learner import prompt

    rng = Random(0)
    names = sorted({rule for d in plan.domains.values() for kind in d.kinds.values() for rule in kind.rules})
    examples = [
        (case.prompt, answer(case.prompt.messages[-1].content.partition("\n\n")[2], rng.sample(names, 5), rng))
        for case in cases
        for _ in range(ANSWERS)
    ]
    styled = [RULES[name].apply(text) for name in names for text in STOCK]
    tokenizer = _tokenizer([m.content for question, _ in examples for m in question.messages] + styled * 20)
    texts = []
    for question, said in examples:
        head, body = prompt.prompt_ids(question, tokenizer), prompt.answer_ids(said, tokenizer, ended=True)
        if len(head) + len(body) <= LONGEST:
            texts.append((head, body))
    _pretrained(texts, len(tokenizer), rng, tell).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    """Byte pairs of these texts, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )


def _pretrained(texts: Sequence[tuple[list[int], list[int]]], vocabulary: int, rng: Random, tell: Progress) -> Any:
    """A small Llama that has learnt to give these answers to these prompts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    lm = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        loss = lm(**_batch(rng.sample(texts, min(BATCH, len(texts))))).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        tell("Training the tiny base", (step + 1) / STEPS)
    return lm


def _batch(texts: Sequence[tuple[list[int], list[int]]]) -> dict[str, Any]:
    """Prompts and answers, padded on the right; the answers' tokens are the labels."""
    import torch

    width = max(len(head) + len(body) for head, body in texts)
    ids, mask = torch.zeros(len(texts), width, dtype=torch.long), torch.zeros(len(texts), width, dtype=torch.long)
    labels = torch.full((len(texts), width), -100)
    for i, (head, body) in enumerate(texts):
        both = torch.tensor([*head, *body])
        ids[i, : len(both)], mask[i, : len(both)] = both, 1
        labels[i, len(head) : len(both)] = both[len(head) :]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
