"""The two ways to attend in training, plain products and torch's fused attention, give the same numbers."""

from __future__ import annotations

import torch

from nextframe.model.dynamics.grid import GridConfig, GridDynamics

CONFIG = GridConfig(rows=2, columns=2, channels=3, condition_dim=2, width=16, layers=2, heads=2, window=3)


def _predicted(*, fused: bool, window: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    dynamics = GridDynamics(CONFIG)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    dynamics.fused = fused
    clean, noisy, estimate = torch.randn(3, 2, 6, CONFIG.latent_dim).unbind(0)
    condition, tau = torch.randn(2, 6, 2), torch.rand(2, 6)
    with torch.no_grad():
        return dynamics(clean, noisy, estimate, condition, tau, torch.full((2,), window))


def test_fused_attention_predicts_what_plain_products_do() -> None:
    assert torch.allclose(_predicted(fused=True), _predicted(fused=False), atol=1e-5)


def test_another_memory_would_have_been_noticed() -> None:
    assert not torch.allclose(_predicted(fused=True, window=2), _predicted(fused=False), atol=1e-3)
