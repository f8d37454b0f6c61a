"""Does the world answer? One start, one row of pictures for each control held down, and how far each leads from idling.

The cheapest look at what players complain about most: a world that ignores its controls shows the same row several
times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...model.generator.grid_generator import GridGenerator
from .data.clips import condition_names
from .data.controls import Controls
from .evaluate import HeldOut, free_run

MOST_ROWS = 8
SHOWN = (3, 7, 15, 23)
"""Ticks of the figures: odd, since four quarter turns lead back."""
MOVING_LEVELS = 16
"""Grey levels out of 255 by which a pixel must differ from idling to count as led elsewhere."""


@dataclass(frozen=True)
class Held:
    """A row's name and its condition `(condition_dim,)`, the same every tick."""

    name: str
    condition: NDArray[np.float32]


def rows_of(controls: Controls, *, most: int = MOST_ROWS) -> list[Held]:
    """Idle, then each axis to its ends and each button alone; the first ones where there are many."""
    names = condition_names(controls.space)[: controls.condition_dim]
    rest = np.zeros(len(names), np.float32)
    rows = [Held("idle", rest)]
    axes = len(controls.space.axes)
    for at, name in enumerate(names):
        ends: tuple[float, ...] = (1.0,)
        if at < axes:
            low, high = (controls.low[at], controls.high[at]) if controls.low else (-1.0, 1.0)
            beside_zero = not low <= 0 <= high  # then the range is spread over both sides
            ends = tuple(end for end, there in ((-1.0, low < 0), (1.0, high > 0)) if there or beside_zero)
        for end in ends:
            condition = rest.copy()
            condition[at] = end
            rows.append(Held(f"{name} {end:+g}" if at < axes else name, condition))
    return rows[:most]


@torch.inference_mode()
def answers(
    generator_of: Callable[[int], GridGenerator], controls: Controls, start: HeldOut, *, ticks: int, steps: int = 2
) -> tuple[list[Held], NDArray[np.uint8], dict[str, dict[str, float]]]:
    """Rows, their frames `(rows, ticks, h, w, 3)`, and by row and tick the share of pixels led elsewhere than idling.

    `generator_of(rows)`: a `GridGenerator` of so many rows. `start`: held-out runs; the first one is where all begin.
    """
    rows = rows_of(controls)
    generator = generator_of(len(rows))
    context = min(generator.config.window, start.latents.shape[1])

    def spread(part: torch.Tensor) -> torch.Tensor:
        return part[:1, :context].expand(len(rows), -1, -1).contiguous()

    conditions = torch.from_numpy(np.stack([row.condition for row in rows]))[:, None].expand(-1, ticks, -1)
    run = HeldOut(
        torch.zeros(len(rows), context + ticks, 1, 1, 3, dtype=torch.uint8), spread(start.latents),
        torch.cat([spread(start.conditions), conditions], 1),
    )  # fmt: skip
    made = free_run(generator, run, context, steps)
    apart = (made.int() - made[:1].int()).abs().amax(-1) > MOVING_LEVELS
    shown = sorted({min(ticks, t) for t in SHOWN})
    figures = {
        row.name: {str(t): round(float(apart[at, t - 1].float().mean()), 5) for t in shown}
        for at, row in enumerate(rows)
        if at
    }
    return rows, made.numpy(), figures


def sheet(made: NDArray[np.uint8], *, most: int = 10) -> NDArray[np.uint8]:
    """One row of pictures for each row of `made`, white lines between, `(height, width, 3)`."""
    ticks = np.linspace(0, made.shape[1] - 1, min(most, made.shape[1])).astype(int)
    gap = 2
    lines: list[NDArray[np.uint8]] = []
    for row in made:
        framed = [np.pad(frame, ((0, gap), (0, gap), (0, 0)), constant_values=255) for frame in row[ticks]]
        lines.append(np.concatenate(framed, 1))
    return np.concatenate(lines)[:-gap, :-gap]
