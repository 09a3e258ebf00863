"""A tiny random Llama and rows for it, for the tests of training."""

import copy

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from learner.training.dataset import Row, align
from learner.training.logprobs import Text
from learner.training.prefixes import Prefixes
from learner.training.reference import Reference
from learner.training.trainer import Policy

INVOCATION = (5, 6, 7)
CPU = torch.device("cpu")


TINY = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 1,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""A configuration of two layers and 64 tokens, of any family like Llama."""


def tiny_lm(**changes):
    """A random Llama in fp32, with the same weights each time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**(TINY | changes))).eval()


def tiny_tokenizer():
    """Words w0 ... w63, whose ids are their numbers; 2 ends a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    names = {1: "<pad>", 2: "<end>"}
    words = Tokenizer(models.WordLevel({names.get(i, f"w{i}"): i for i in range(64)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<pad>", unk_token="w0")


def policy(*, activated=True, shared=True, model=None):
    """The tiny base, for activated or plain adapters, with or without shared prompts."""
    causal_lm = model or tiny_lm()
    prefixes = Prefixes.where_supported(causal_lm) if activated and shared else None
    reference = Reference(causal_lm, prefixes, CPU)
    return Policy(causal_lm, tiny_tokenizer(), CPU, INVOCATION if activated else (), prefixes, reference)


def rows(count=6, *, activated=True, seed=0):
    """Edits of different lengths whose kept text always ends alike, so that there is something to learn."""
    generator = torch.Generator().manual_seed(seed)

    def draw(size):
        return tuple(torch.randint(8, 64, (size,), generator=generator).tolist())

    made = []
    for i in range(count):
        before = draw(4 + 3 * (i % 3))
        offered = (*draw(3 + i % 4), 2)
        kept = (*offered[:2], 9, 10, 11, 12, 2)
        kept_aligned, offered_aligned = align(kept, offered)
        made.append(
            Row(
                offer_id=f"o{i}",
                document=f"d{i}",
                prompt=before + INVOCATION,
                start=len(before) if activated else 0,
                kept=kept,
                offered=offered,
                weight=1.0,
                cost=0.5,
                cost_max=0.5,
                kept_aligned=kept_aligned,
                offered_aligned=offered_aligned,
            )
        )
    return made


def kept_texts(some_rows):
    return [Text(r.prompt, r.start, r.kept) for r in some_rows]


def plain_logprobs(model, text, **kwargs):
    """The answer's log-probabilities by the model's own forward pass, one sequence, no padding."""
    ids = torch.tensor([[*text.prompt, *text.answer]])
    logits = model(input_ids=ids, **kwargs).logits[0, len(text.prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(-1, torch.tensor(text.answer)[:, None])[:, 0]


def randomise(peft_model, scale=0.3):
    """Give an untrained adapter something to say: its B matrices start at zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return peft_model


def clone(model):
    return copy.deepcopy(model)
