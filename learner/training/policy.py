"""Loads the base's weights for training, once for all feedback types."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.exceptions import ModelError, TrainingError
from learner.models import BaseModel
from learner.records import AdapterForm
from learner.training import precision
from learner.training.computed import Computed
from learner.training.fast.llama import obstacle
from learner.training.prefixes import Prefixes
from learner.training.reference import Reference
from learner.training.settings import TrainSettings
from learner.training.trainer import Policy

log = logging.getLogger(__name__)


def load_policy(base: BaseModel, settings: TrainSettings, cache: Path | None = None) -> Policy:
    """The base, frozen, on accelerate's device, in the number format that is fast there.

    What it computes of texts once and for all is kept in the folder `cache`, if there is one.

    Raises ModelError when its folder cannot be loaded, TrainingError where the settings insist on the fast
    pass and the model does not allow it.
    """
    device = precision.device()
    dtype = precision.weights_dtype(device)
    try:
        causal_lm = AutoModelForCausalLM.from_pretrained(
            base.folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{base.folder} cannot be loaded for training ({error}): run `learner setup` again") from error
    causal_lm.requires_grad_(False)
    causal_lm.to(device)
    activated = settings.form is AdapterForm.ALORA and bool(base.invocation)
    prefixes = Prefixes.where_supported(causal_lm) if activated else None
    fast = takes_fast(causal_lm, settings, shared=prefixes is not None or not activated)
    computed = None if cache is None else Computed(cache, f"{base.fingerprint} {dtype}")
    return Policy(
        causal_lm=causal_lm,
        tokenizer=tokenizer,
        device=device,
        invocation=base.invocation if activated else (),
        prefixes=prefixes,
        reference=Reference(causal_lm, prefixes, device, fast=fast, computed=computed),
        fast=fast,
        computed=computed,
    )


def takes_fast(causal_lm: Any, settings: TrainSettings, *, shared: bool) -> bool:
    """Whether this model is to take the fast pass; why not goes to the log.

    `shared` is False where an activated adapter has to read whole prompts. Raises TrainingError for
    `trainer="fast"` on a model that does not allow it.
    """
    if settings.trainer == "trl":
        return False
    reason = obstacle(causal_lm) if shared else "its prompts cannot be shared"
    if reason is None:
        return True
    if settings.trainer == "fast":
        raise TrainingError(f"the fast trainer does not know this model: {reason}. Use --trainer auto or trl")
    log.info("training takes the path through peft: %s", reason)
    return False
