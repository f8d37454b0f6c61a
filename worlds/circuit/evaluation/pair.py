"""The circuit as a pair: the shipped network, and the simulator that taught it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...evaluation.subjects import Pair, Subject
from ..teacher.render import Renderer
from ..teacher.simulator import Simulator
from .returns import circuit_returns
from .rig import Bench
from .rows import CircuitDream, CircuitRows, CircuitTeacher, Drivers, palette


def pair(folder: Path, bench: Bench | None = None) -> Pair:
    """The circuit in `folder` against its simulator. WeightsError: weights that are missing or damaged."""
    bench = bench or Bench(Simulator(), Renderer(), folder)
    dream = CircuitDream(bench)
    return Pair(
        "circuit", dream, CircuitTeacher(bench), palette(), dream.window_ticks, drivers, circuit_returns,
        notes=("The inverse-dynamics network sees 32x32 pixels around the player's car, turned with it.",),
    )  # fmt: skip


def drivers(subject: Subject, seeds: Sequence[int]) -> Drivers:
    assert isinstance(subject, CircuitRows)
    return Drivers(subject, seeds)
