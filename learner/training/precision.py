"""In which number format the base's weights train; the adapter's own are always fp32."""

from __future__ import annotations

import torch


def device() -> torch.device:
    """The device that accelerate gives this process."""
    from accelerate import PartialState

    found: torch.device = PartialState().device
    return found


def weights_dtype(on: torch.device) -> torch.dtype:
    """bf16 where the device multiplies it natively, which doubles the speed; fp32 elsewhere."""
    if on.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif on.type == "cpu":
        native = _cpu_multiplies_bf16()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bf16 dot products (AVX-512 BF16 or AMX). Emulated bf16 is slower than fp32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private in torch: absent counts as no
    mkldnn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return mkldnn and any(getattr(torch.cpu, name, bool)() for name in probes)
