"""The two kinds of arithmetic of the large network alone, at its shapes: attention by each backend, matrix products."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..precision import has_eight_bit_product, to_eight_bits
from ..timing import seconds_of
from .net import LargeConfig

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}  # fmt: skip


def _budget_s(device: torch.device) -> float:
    return 0.3 if device.type == "cuda" else 0.005


def attention_rates(config: LargeConfig, device: torch.device) -> dict[str, Any]:
    """TFLOP/s of self-attention in bfloat16, as a denoise step asks it, by backend; why not where one cannot."""
    n, seen, head = config.tokens, (1 + config.remembered) * config.tokens, config.head_dim
    # In memory tokens come before heads, as the ring has them.
    q, k, v = (
        torch.randn(size, config.heads, head, device=device).to(torch.bfloat16).transpose(0, 1)[None]
        for size in (n, seen, seen)
    )
    flop = 4 * n * seen * config.width
    found: dict[str, float | str] = {}
    for name, backend in BACKENDS.items():
        try:
            with sdpa_kernel(backend):
                seconds = seconds_of(lambda: F.scaled_dot_product_attention(q, k, v), device, _budget_s(device))
            found[name] = round(flop / seconds / 1e12, 4)
        except RuntimeError as reason:  # not built in, or not for these shapes
            found[name] = str(reason).splitlines()[0][:160]
    return {"tflops": found}


def best_attention(rates: dict[str, Any]) -> str | None:
    """The fastest backend by name; None to leave the choice to torch."""
    measured = {name: rate for name, rate in rates.get("tflops", {}).items() if isinstance(rate, float)}
    return max(measured, key=lambda name: measured[name]) if measured else None


def preferring(name: str | None) -> AbstractContextManager[Any]:
    """Attention by this backend where it can, by another where not."""
    if name is None:
        return nullcontext()
    others = [backend for other, backend in BACKENDS.items() if other != name]
    return sdpa_kernel([BACKENDS[name], *others, SDPBackend.MATH], set_priority=True)


def product_rates(config: LargeConfig, device: torch.device) -> dict[str, Any]:
    """TFLOP/s of a block's matrix products, for the tokens of one latent and of two, in bfloat16 and eight bits."""
    w, found = config.width, {}
    shapes = {"qkv": (w, 3 * w), "out": (w, w), "up": (w, config.hidden), "down": (config.hidden, w)}
    for latents in (1, 2):
        rows = latents * config.tokens
        for name, (inner, outer) in shapes.items():
            a, b = torch.randn(rows, inner, device=device), torch.randn(outer, inner, device=device)
            found[f"{name}, {rows} tokens"] = _rates(a, b, device)
    return {"tflops": found}


def _rates(a: torch.Tensor, b: torch.Tensor, device: torch.device) -> dict[str, float]:
    flop = 2 * a.shape[0] * a.shape[1] * b.shape[0]
    left, right = a.to(torch.bfloat16), b.to(torch.bfloat16)
    rates = {"bf16": flop / seconds_of(lambda: left @ right.t(), device, _budget_s(device)) / 1e12}
    if has_eight_bit_product(device):
        (rows, scale_a), (columns, scale_b) = to_eight_bits(a), to_eight_bits(b)

        def product() -> None:
            torch._scaled_mm(
                rows, columns.t(), scale_a=scale_a, scale_b=scale_b.t(), out_dtype=torch.bfloat16, use_fast_accum=True
            )

        rates["fp8"] = flop / seconds_of(product, device, _budget_s(device)) / 1e12
    return {name: round(rate, 4) for name, rate in rates.items()}
