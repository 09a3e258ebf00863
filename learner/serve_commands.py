"""The commands that serve published adapters elsewhere: `vllm serve`, `llama-server`. Pure.

No key is in them: vLLM reads `VLLM_API_KEY`, llama-server `LLAMA_API_KEY`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from learner.adapter_files import GGUF
from learner.config import Config
from learner.exceptions import AdapterError
from learner.model_files import BaseModel
from learner.publishing import Publication
from learner.records import AdapterForm

VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (vLLM 0.14, `MaxLoRARanks`; 1 as well, which older ones refuse)."""


def vllm_command(base: BaseModel, publications: Sequence[Publication], folder: PurePath) -> list[str]:
    """`vllm serve`, as arguments, for published folders in `folder`.

    vLLM's defaults are one adapter per batch and rank 16. `--generation-config vllm` keeps the model's own
    sampling defaults out, which would change greedy answers. Raises AdapterError for a rank that vLLM has not.
    """
    highest = max(p.rank for p in publications)
    rank = next((r for r in VLLM_RANKS if r >= highest), None)
    if rank is None:
        raise AdapterError(f"rank {highest} is more than vLLM serves ({VLLM_RANKS[-1]}): train with a lower one")
    model = str(base.folder) if base.folder is not None else base.name
    command = ["vllm", "serve", model, "--served-model-name", base.name, "--generation-config", "vllm"]
    command += ["--enable-lora", "--max-loras", str(len(publications)), "--max-lora-rank", str(rank)]
    return [*command, "--lora-modules", *(f"{p.name}={folder / p.name}" for p in publications)]


def llama_server_command(
    base: BaseModel, publications: Sequence[Publication], zero: str | None, folder: PurePath, config: Config
) -> list[str]:
    """`llama-server`, as arguments, for published folders in `folder`; `zero` names the untrained adapter there.

    All adapters are off until a request names one. The RAM cache stays off, since it answers one adapter from
    another's prompt; with activated adapters there is one slot, since llama.cpp mixes them up in parallel slots.
    """
    activated = any(p.adapter.form is AdapterForm.ALORA for p in publications)
    slots = 1 if activated else config.slots
    command = ["llama-server", "--model", str(base.gguf), "--alias", base.name]
    for name in [*([zero] if zero else []), *(p.name for p in publications)]:
        command += ["--lora", str(folder / name / GGUF)]
    command += ["--lora-init-without-apply", "--cache-ram", "0", "--parallel", str(slots)]
    return [*command, "--ctx-size", str(slots * config.context), "--port", "8080"]
