"""The generator of `nextframe.model.generator.ticks` over a frame tokenizer and grid dynamics: the same session,
sampler and memory.

Owns nothing but the types: both pairs of networks offer the same pieces by the same names.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from ..dynamics.grid import GridDynamics
from ..tokenizers.frames import FrameTokenizer
from .ticks import RollingGenerator


class GridGenerator(RollingGenerator):
    """See `RollingGenerator`. A latent is `(rows, tokens * channels)`; there are no slots."""

    def __init__(
        self, tokenizer: FrameTokenizer, dynamics: GridDynamics, rows: int = 1, window: int | None = None
    ) -> None:
        super().__init__(cast(Any, tokenizer), cast(Any, dynamics), rows, window)
        self.grid_dynamics = dynamics

    def straight_line(self, condition: Tensor) -> Tensor:
        """What the ridge alone says of the coming frame, `(rows, latent_dim)`: the baseline of the network."""
        return self.grid_dynamics.base(self.last, self.before, condition)
