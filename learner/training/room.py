"""How much of a batch fits into memory at once, and what to do when it did not."""

from __future__ import annotations

from typing import Any

import torch

from learner.exceptions import TrainingError

CPU_TOKENS = 1536
"""Most tokens with gradient in a CPU's memory at once (nearly 2 MB each for SmolLM2); longer batches are split."""
FAST_CPU_TOKENS = 3072
"""With the fast pass, which takes less for each. With few edits at once a core would have nothing to do."""
BYTES = 30
"""Of activations per token, layer, hidden dimension and byte of the number format: 1 MB for SmolLM2 in bf16."""
SHARE = 0.5
"""Of a GPU's free memory that activations may take."""


def step_tokens(causal_lm: Any, device: torch.device, *, fast: bool) -> int:
    """Most tokens with gradient in memory at once; a GPU takes what it has room for, since small steps are slow."""
    if device.type != "cuda":
        return FAST_CPU_TOKENS if fast else CPU_TOKENS
    config = causal_lm.config.get_text_config()
    free, _ = torch.cuda.mem_get_info(device)
    per_token = BYTES * config.num_hidden_layers * config.hidden_size * causal_lm.dtype.itemsize
    return max(FAST_CPU_TOKENS if fast else CPU_TOKENS, int(SHARE * free / per_token))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, on a GPU or for torch's allocator on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def halved(batch_size: int, at_once: int) -> int:
    """Half of the edits at once, or the next smaller number that divides the batch.

    Raises TrainingError where one edit is too much already.
    """
    if at_once == 1:
        raise TrainingError(
            "out of memory with one edit at a time: free some memory, set a smaller base up "
            "(`learner setup --list`), or lower max_prompt_tokens"
        )
    return max(n for n in range(1, at_once // 2 + 1) if batch_size % n == 0)
