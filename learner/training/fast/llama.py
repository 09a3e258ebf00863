"""The pass itself: answers' token log-probabilities under a Llama, its LoRA included, with gradient.

It reads peft's own parameters, so optimiser, saving and taking the adapter off are peft's as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM

from learner.training.fast.activation import rms_norm, swiglu
from learner.training.fast.attention import SAVED_BYTES, Layout
from learner.training.fast.forest import Forest, plant
from learner.training.fast.head import chosen_logprobs
from learner.training.fast.lora import Projection, project
from learner.training.fast.parts import shares, together
from learner.training.fast.trees import TreesAttention
from learner.training.logprobs import Text
from learner.training.prefixes import Prefixes

Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]
FAMILIES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM)
FORMATS = (torch.float32, torch.bfloat16)
ROPES = ("default", "linear", "llama3", "yarn")
"""Whose angles depend on a token's position alone."""


def obstacle(causal_lm: Any) -> str | None:
    """Why this model cannot take the pass, or None if it can. Looks at exact classes: a near relative may differ."""
    if type(causal_lm) not in FAMILIES:
        return f"{type(causal_lm).__name__} is not one of {', '.join(f.__name__ for f in FAMILIES)}"
    config = causal_lm.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    windows = [t for t in getattr(config, "layer_types", None) or () if t != "full_attention"]
    if type(causal_lm) is MistralForCausalLM and config.sliding_window is not None:
        windows.append("sliding_attention")
    weights = causal_lm.lm_head.weight.dtype
    reasons = {
        f"its weights are {weights}": weights not in FORMATS,
        f"its activation is {config.hidden_act}": config.hidden_act != "silu",
        f"its rotary angles are of the kind {rope!r}": rope not in ROPES,
        "its attention drops out": getattr(config, "attention_dropout", 0.0) != 0,
        f"its layers have {', '.join(sorted(set(windows)))}": bool(windows),
        "its head has a bias": getattr(causal_lm.lm_head, "bias", None) is not None,
    }
    found = next((reason for reason, holds in reasons.items() if holds), None)
    return found or _strange_layers(causal_lm)


def _strange_layers(causal_lm: Any) -> str | None:
    """Why one of its layers cannot take the pass."""
    from peft.tuners.lora import Linear as LoraLinear

    layers: list[nn.Module] = [m for layer in causal_lm.model.layers for m in _linears(layer)]
    for layer in layers:
        base = layer.get_base_layer() if isinstance(layer, LoraLinear) else layer
        if type(base) is not nn.Linear:
            return f"one of its layers is a {type(base).__name__}"
        if not isinstance(layer, LoraLinear):
            continue
        if any(p > 0 for drop in layer.lora_dropout.values() for p in [getattr(drop, "p", 0.0)]):
            return "its adapter drops out"
        if any(layer.lora_bias.values()) or getattr(layer, "lora_variant", None) or layer.merged:
            return "its adapter is not a plain LoRA"
    return None


def _linears(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    return [
        attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
        mlp.gate_proj, mlp.up_proj, mlp.down_proj,
    ]  # fmt: skip


def answer_logprobs(
    causal_lm: Any, texts: Sequence[Text], *, device: torch.device, prefixes: Prefixes | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the answers' tokens, in nats, and their mask, as `logprobs.token_logprobs` gives them.

    Both are (texts, longest answer); padding holds 0 and False. Adapters act as they are on the layers of
    `causal_lm` now, on whole texts, or with `prefixes` from `start` on.
    """
    longest = max(len(t.answer) for t in texts)
    places = torch.full((len(texts), longest), -1)
    jobs, count = [], 0
    after_prefixes = prefixes is not None
    for numbers in _parts(texts, torch.get_num_threads() if device.type == "cpu" else 1, after_prefixes=after_prefixes):
        forest = plant([texts[i] for i in numbers], after_prefixes=after_prefixes)
        before = [] if prefixes is None else prefixes.tensors(forest.prefixes)
        there = forest.places < len(forest.sources)
        places[numbers, : there.shape[1]] = torch.where(there, forest.places + count, -1)
        count += len(forest.sources)
        jobs.append(partial(_predictions, causal_lm, forest, before, device))
    mask = (places >= 0).to(device)
    if not jobs:
        return torch.zeros(mask.shape, device=device), mask
    trained = [p for p in causal_lm.model.parameters() if p.requires_grad]
    found = together(jobs, trained)
    return torch.cat([found, found.new_zeros(1)])[places.to(device)], mask


def _parts(texts: Sequence[Text], count: int, *, after_prefixes: bool) -> list[list[int]]:
    """Numbers of the texts with an answer, in at most `count` parts of like length; a prompt's texts stay together.

    A prompt counts once, from where the pass begins: after its prefix, if that is known.
    """
    groups: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for i, text in enumerate(texts):
        if text.answer:
            groups.setdefault((text.prompt, text.start), []).append(i)
    held = list(groups.values())
    begun = [len(prompt) - (start if after_prefixes else 0) for prompt, start in groups]
    costs = [b + sum(len(texts[i].answer) for i in group) for b, group in zip(begun, held, strict=True)]
    return [[i for g in part for i in held[g]] for part in shares(costs, count)]


def _predictions(causal_lm: Any, forest: Forest, before: Sequence[Tensor], device: torch.device) -> Tensor:
    """The log-probability of each of the forest's predictions: (predictions,)."""
    hidden = _hidden(causal_lm, forest, before, device)
    normed = rms_norm(hidden, causal_lm.model.norm.weight, causal_lm.model.norm.variance_epsilon)
    return chosen_logprobs(normed, forest.targets.to(device), causal_lm.lm_head.weight)


def _hidden(causal_lm: Any, forest: Forest, before: Sequence[Tensor], device: torch.device) -> Tensor:
    """Last hidden states of the tokens that predict, before the final norm: (predictions, hidden)."""
    model = causal_lm.model
    x = model.embed_tokens(forest.ids.to(device))
    attend = _attention(causal_lm, forest, before, x)
    predicting, places = (found.to(device) for found in torch.unique(forest.sources, return_inverse=True))
    for number, layer in enumerate(model.layers):
        q, k, v, o, gate, up, down = map(Projection.of, _linears(layer))
        normed = rms_norm(x, layer.input_layernorm.weight, layer.input_layernorm.variance_epsilon)
        size = layer.self_attn.head_dim
        heads = [y.view(len(y), -1, size) for y in project(normed, (q, k, v))]
        mixed = attend(heads[0], heads[1], heads[2], number)
        if number == len(model.layers) - 1:  # the others have been seen for the last time
            mixed, x = mixed.index_select(0, predicting), x.index_select(0, predicting)
        (x,) = project(mixed, (o,), x)
        norm = layer.post_attention_layernorm
        (x,) = project(swiglu(*project(rms_norm(x, norm.weight, norm.variance_epsilon), (gate, up))), (down,), x)
    found: Tensor = x.index_select(0, places)
    return found


def at_once(device: torch.device) -> bool:
    """Whether one padded product for all trees is quicker there than many small ones without padding."""
    return device.type != "cpu"


def _attention(causal_lm: Any, forest: Forest, before: Sequence[Tensor], x: Tensor) -> Attention:
    """Segment by segment on the CPU, all trees at once elsewhere."""
    cos, sin = causal_lm.model.rotary_emb(x, forest.positions[None].to(x.device))
    half = cos.shape[-1] // 2
    cos, sin = cos[0, :, None, :half], sin[0, :, None, :half]
    scale = float(causal_lm.model.layers[0].self_attn.scaling)
    if at_once(x.device):
        return TreesAttention(forest, before, cos, sin, scale)
    seen = sum(
        (s.end - s.begin)
        * ((0 if s.prefix is None else before[s.prefix].shape[3]) + sum(e - b for b, e in s.above) + s.end - s.begin)
        for s in forest.segments
    )
    config = causal_lm.config
    kept_bytes = seen * config.num_attention_heads * config.num_hidden_layers * x.element_size()
    return Layout(forest.segments, before, cos, sin, scale, keep=kept_bytes <= SAVED_BYTES)
