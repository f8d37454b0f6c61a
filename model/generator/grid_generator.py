"""The generator of `nextframe.model.generator.ticks` over a frame tokenizer and grid dynamics, for pixel worlds."""

from __future__ import annotations

from torch import Tensor

from ..dynamics.grid import GridDynamics
from ..tokenizers.frames import FrameTokenizer
from .ticks import RollingGenerator


class GridGenerator(RollingGenerator[FrameTokenizer, GridDynamics]):
    """See `RollingGenerator`. A latent is `(rows, tokens * channels)`; there are no slots."""

    def straight_line(self, condition: Tensor) -> Tensor:
        """What the ridge alone says of the coming frame, `(rows, latent_dim)`: the baseline of the network."""
        return self.dynamics.base(self.last, self.before, condition)
