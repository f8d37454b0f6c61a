"""How often the guess "everything stays held" is right, on recorded input. `python -m
nextframe.tools.lab.ahead.accuracy`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from ....runtime.ahead.world import hold
from ....runtime.core import Action
from ....runtime.session.registry import find_world
from .inputs import recordings

TICKS = 5000


@dataclass(frozen=True)
class Accuracy:
    """`right`: share of ticks whose action is the one before, held. `held_ticks`: mean length of a stretch without a
    change. `ahead_right`: by number of ticks, share of stretches of so many ticks that a guess is right for as a whole:
    what running so far ahead would see."""

    name: str
    ticks: int
    right: float
    held_ticks: float
    ahead_right: dict[int, float]


def accuracy_of(name: str, actions: Sequence[Action], depths: Sequence[int] = (2, 3, 7)) -> Accuracy:
    """ValueError for fewer than two ticks."""
    if len(actions) < 2:
        raise ValueError(f"accuracy: expected at least 2 ticks, got {len(actions)}")
    right = [after == hold(before) for before, after in pairwise(actions)]
    changes = len(right) - sum(right)
    return Accuracy(
        name,
        len(actions),
        sum(right) / len(right),
        len(actions) / (changes + 1),
        {depth: _share_of_whole(right, depth) for depth in depths},
    )


def _share_of_whole(right: Sequence[bool], depth: int) -> float:
    stretches = [all(right[at : at + depth]) for at in range(len(right) - depth + 1)]
    return sum(stretches) / len(stretches) if stretches else 0.0


def measure(ticks: int = TICKS, world: str = "circuit") -> list[Accuracy]:
    return [accuracy_of(name, actions) for name, actions in recordings(find_world(world), ticks).items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.ahead.accuracy", description=__doc__)
    parser.add_argument("--ticks", type=int, default=TICKS, help=f"of each recording (default {TICKS})")
    options = parser.parse_args(arguments)
    found = measure(options.ticks)
    print(f"{'input':20} {'ticks':>6} {'right':>7} {'held for':>9} {'2 ahead':>8} {'3 ahead':>8} {'7 ahead':>8}")
    for one in found:
        ahead = " ".join(f"{100 * share:6.1f} %" for share in one.ahead_right.values())
        print(f"{one.name:20} {one.ticks:6} {100 * one.right:5.1f} % {one.held_ticks:9.1f} {ahead}")
    print(json.dumps({"schema": "nextframe.ahead_accuracy/1", "rows": [asdict(one) for one in found]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
