"""Loads the base's weights for training, once for all feedback types."""

from __future__ import annotations

from transformers import AutoModelForCausalLM, AutoTokenizer

from learner.exceptions import ModelError
from learner.models import BaseModel
from learner.records import AdapterForm
from learner.training import precision
from learner.training.prefixes import Prefixes
from learner.training.reference import Reference
from learner.training.settings import TrainSettings
from learner.training.trainer import Policy


def load_policy(base: BaseModel, settings: TrainSettings) -> Policy:
    """The base, frozen, on accelerate's device, in the number format that is fast there.

    Raises ModelError when its folder cannot be loaded.
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
    return Policy(
        causal_lm=causal_lm,
        tokenizer=tokenizer,
        device=device,
        invocation=base.invocation if activated else (),
        prefixes=prefixes,
        reference=Reference(causal_lm, prefixes, device),
    )
