"""Linear layers in eight-bit floats: weights scaled once per output, activations once per token.

The scheme of "FP8 Formats for Deep Learning" (Micikevicius et al., 2022) with E4M3 for both and row-wise scales;
products are summed in float32 by the device. Where a device has no such product it is computed from the very same
rounded numbers in float32, so that the rounding can be tested anywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EIGHT_BITS = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest number of E4M3."""


def to_eight_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """`(n, k)` to E4M3 of the same shape, and the scale `(n, 1)` that brings each row back."""
    scale = rows.float().abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (rows.float() / scale).clamp(-LARGEST, LARGEST).to(EIGHT_BITS), scale


def has_eight_bit_product(device: torch.device) -> bool:
    """Row-wise scaled products need compute capability 9.0."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


class EightBitLinear(nn.Module):
    """As the `nn.Linear` it is made from, `(..., k)` to `(..., n)` in the precision of its input."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = to_eight_bits(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach(), requires_grad=False)
        self._has_product = has_eight_bit_product(weight.device)

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = to_eight_bits(x.flatten(0, -2))
        if self._has_product:
            out = torch._scaled_mm(
                rows, self.weight.t(), scale_a=scale, scale_b=self.scale.t(), out_dtype=x.dtype, use_fast_accum=True
            )
        else:
            out = ((rows.float() * scale) @ (self.weight.float() * self.scale).t()).to(x.dtype)
        if self.bias is not None:
            out = out + self.bias
        return out.unflatten(0, x.shape[:-1])


def in_eight_bits(network: nn.Module, names: tuple[str, ...]) -> int:
    """Replace the linear layers with these attribute names, everywhere in the network; returns how many."""
    replaced = 0
    for module in list(network.modules()):
        for name in names:
            linear = getattr(module, name, None)
            if isinstance(linear, nn.Linear):
                setattr(module, name, EightBitLinear(linear))
                replaced += 1
    return replaced
