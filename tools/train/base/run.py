"""What all parts of one run share: names, folders, the plan. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .budget import WORK, Plan
from .part import Part


@dataclass(frozen=True)
class Run:
    """`out`: the world's folder. `force`: train although actions seem dead. `part`: when to stop for now."""

    name: str
    out: Path
    plan: Plan
    device: str
    force: bool = False
    part: Part = field(default_factory=Part)

    @property
    def work(self) -> Path:
        return self.out / WORK
