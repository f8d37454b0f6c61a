"""Which device to compute on when none is named, its instruction set, and small constants that stay there."""

from __future__ import annotations

import os
from functools import lru_cache

import torch
from torch import Tensor

HELD_DOWN_BY = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Environment variables by which torch, MKL and oneDNN use a smaller instruction set than the CPU has."""


def best_device() -> str:
    """cuda, else mps, else cpu: the fastest that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def instruction_set() -> str:
    """Of the CPU, as torch uses it, and what the environment holds it and its libraries down to. Bits are equal only
    where this is: `AVX512`, or `AVX2, ATEN_CPU_CAPABILITY=avx2, MKL_ENABLE_INSTRUCTIONS=AVX2`."""
    held = [f"{name}={os.environ[name]}" for name in HELD_DOWN_BY if name in os.environ]
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *held])


def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """`values` as float32, made once per device and then kept: it must not be written to.

    Making it anew would copy from the host each time, which takes a moment and is forbidden while a graph is captured.
    """
    if torch.compiler.is_compiling():  # a compiled program keeps its constants itself
        return torch.tensor(values, device=device)
    return _kept(values, device)


@lru_cache(maxsize=256)
def _kept(values: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # training may need it, too
        return torch.tensor(values, device=device)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for it; elsewhere bfloat16 is emulated, and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
