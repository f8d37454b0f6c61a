"""What the numbers were measured on, and what this machine's own ceilings are."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from .timing import seconds_of

SMI_FIELDS = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "pstate")


def describe(device: torch.device) -> dict[str, Any]:
    """Hardware, driver and versions; nothing that says whose machine it is."""
    found: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "device": device.type,
        "cpu": _cpu(), "cores": os.cpu_count(), "platform": platform.system(),
        "python": platform.python_version(), "torch": str(torch.__version__),
        "packages": {name: importlib.util.find_spec(name) is not None for name in ("triton", "pytest")},
    }  # fmt: skip
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name, "gpu_memory_gib": round(properties.total_memory / 2**30, 1),
            "multiprocessors": properties.multi_processor_count,
            "capability": ".".join(map(str, torch.cuda.get_device_capability(device))),
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "nvidia_smi": _smi(),
        }  # fmt: skip
    return found


def short_name(device: torch.device) -> str:
    """For a file's name: letters, digits and dashes."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _smi() -> dict[str, str]:
    try:
        asked = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    first = asked.stdout.strip().splitlines()[:1]
    return dict(zip(SMI_FIELDS, (part.strip() for part in first[0].split(",")), strict=False)) if first else {}


def matmul_tflops(device: torch.device, size: int, dtype: torch.dtype, budget_s: float) -> float:
    """A square product of random numbers, back to back: what matrix products reach on this device at best."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=dtype)
    return 2 * size**3 / seconds_of(lambda: torch.mm(a, b, out=out), device, budget_s) / 1e12


def eight_bit_tflops(device: torch.device, size: int, budget_s: float) -> float:
    """The same in E4M3 with a scale per row, as `precision` multiplies."""
    from .precision import to_eight_bits

    (a, scale_a), (b, scale_b) = (to_eight_bits(torch.randn(size, size, device=device)) for _ in range(2))

    def product() -> None:
        torch._scaled_mm(a, b.t(), scale_a=scale_a, scale_b=scale_b.t(), out_dtype=torch.bfloat16, use_fast_accum=True)

    return 2 * size**3 / seconds_of(product, device, budget_s) / 1e12


def copy_gbps(device: torch.device, megabytes: int, budget_s: float) -> float:
    """Bytes read and written by a copy within the device's memory, in 1e9 a second."""
    source = torch.empty(megabytes * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds_of(lambda: target.copy_(source), device, budget_s) / 1e9


def ceilings(device: torch.device, *, rehearse: bool) -> dict[str, Any]:
    """Measured, not from a data sheet."""
    from .precision import has_eight_bit_product

    size, budget_s, megabytes = (256, 0.05, 8) if rehearse else (8192, 1.0, 2048)
    measured: dict[str, Any] = {
        "matmul_size": size,
        "bf16_tflops": round(matmul_tflops(device, size, torch.bfloat16, budget_s), 4),
        "fp32_tflops": round(matmul_tflops(device, size, torch.float32, budget_s), 4),
        "copy_gbps": round(copy_gbps(device, megabytes, budget_s), 2),
    }
    if has_eight_bit_product(device):
        measured["fp8_tflops"] = round(eight_bit_tflops(device, size, budget_s), 4)
    return measured
