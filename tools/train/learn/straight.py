"""Fits the straight-line prediction, decides what the network starts from, and whether actions do anything at all.

The closed form is `nextframe.model.dynamics.grid_linear` on latents, its strength chosen on held-out frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....model.dynamics.grid_linear import LinearBase, LinearShape, Normal
from ....runtime.core import NextframeError
from ..data.clips import Clips

STRENGTHS = (1e-4, 1e-2, 1.0)
MAX_FIT_FRAMES = 6000
PART = 64
WINS_BY = 0.98
"""The ridge is what the network starts from if its error is below this share of copy-last's, in the next frame and
after `FREE_TICKS` free ticks: a base that dissolves still things has to be worked against ever after."""
FREE_TICKS = 16
FREE_RUNS = 64
SHUFFLES = 5
ASKED_CHANNELS = 12
ASKED_FRAMES = 2000


@dataclass(frozen=True)
class Straight:
    """`base`: the fitted ridge. `start`: "ridge" or "last". `error`, `copy_error`: mean squares on held-out latents.
    `free_ratio`: of the ridge's error to a held frame's after some free ticks; 0 if that was not asked."""

    base: LinearBase
    start: str
    error: float
    copy_error: float
    free_ratio: float = 0.0


@dataclass(frozen=True)
class Triples:
    """Frames with the two before them, and the action that led into each."""

    before: Tensor
    last: Tensor
    target: Tensor
    condition: Tensor

    def __len__(self) -> int:
        return len(self.target)


def triples(latents: Tensor, clips: Clips, most: int, *, seed: int = 0) -> Triples:
    """At most so many, evenly over the data and in its order."""
    at = clips.windows(3)
    if len(at) > most:
        at = np.sort(np.random.default_rng(seed).permutation(at)[:most])
    index = torch.from_numpy(at)
    conditions = torch.from_numpy(clips.conditions)
    return Triples(latents[index], latents[index + 1], latents[index + 2], conditions[index + 2])


def fit_straight(shape: LinearShape, train: Triples, held: Triples) -> Straight:
    base = LinearBase(shape)
    normal = Normal(base)
    for at in range(0, len(train), PART):
        part = slice(at, at + PART)
        normal.add(train.last[part], train.before[part], train.condition[part], train.target[part])
    errors: dict[float, tuple[float, Tensor]] = {}
    for strength in STRENGTHS:
        base.weight.copy_(normal.solve(strength))
        errors[strength] = (_error(base, held), base.weight.clone())
    error, weight = min(errors.values(), key=lambda found: found[0])
    base.weight.copy_(weight)
    copy_error = float((held.target - held.last).square().mean())
    return Straight(base, "ridge" if error < WINS_BY * copy_error else "last", error, copy_error)


def _error(base: LinearBase, held: Triples) -> float:
    total = 0.0
    for at in range(0, len(held), PART):
        part = slice(at, at + PART)
        guess = base(held.last[part], held.before[part], held.condition[part])
        total += float((guess - held.target[part]).square().sum())
    return total / held.target.numel()


def from_what(straight: Straight, latents: Tensor, clips: Clips) -> Straight:
    """The same with `start` decided by free runs as well: a ridge that wins a tick and loses a run is not used."""
    at = clips.windows(FREE_TICKS + 2)
    if not len(at):
        return straight
    index = torch.from_numpy(at[np.linspace(0, len(at) - 1, min(FREE_RUNS, len(at))).astype(int)])
    conditions = torch.from_numpy(clips.conditions)
    before, last = latents[index], latents[index + 1]
    held = last
    for tick in range(2, FREE_TICKS + 2):
        before, last = last, straight.base(last, before, conditions[index + tick])
    true = latents[index + FREE_TICKS + 1]
    ratio = float((last - true).square().mean() / (held - true).square().mean().clamp(min=1e-9))
    return replace(straight, start=straight.start if ratio < WINS_BY else "last", free_ratio=ratio)


def check_actions_matter(latents: Tensor, clips: Clips, shape: LinearShape) -> float:
    """How much of the held-out change the true actions explain beyond any other's, 0..1.

    A straight line from frames and actions is fitted to the true actions, and to actions moved to other times; if the
    true ones are not the best, the picture does not follow them. Raises `NextframeError` then.
    """
    channels = min(ASKED_CHANNELS, shape.channels)
    small = latents.view(len(latents), shape.tokens, shape.channels)[..., :channels].flatten(1)
    windows = clips.windows(6)
    if len(windows) > 2 * ASKED_FRAMES:
        windows = windows[:: len(windows) // (2 * ASKED_FRAMES)]
    recent = torch.from_numpy(with_recent(clips.conditions, windows + 5))
    index = torch.from_numpy(windows + 5)
    lesson = LinearShape(shape.rows, shape.columns, channels, recent.shape[1])
    rng = np.random.default_rng(5)
    shifts = [0, *(int(s) for s in rng.integers(len(index) // 5, 4 * len(index) // 5, SHUFFLES))]
    errors = []
    for shift in shifts:
        all_of = Triples(small[index - 2], small[index - 1], small[index], recent.roll(shift, 0))
        cut = 3 * len(index) // 4
        parts = [Triples(*(p[s] for p in (all_of.before, all_of.last, all_of.target, all_of.condition)))
                 for s in (slice(0, cut), slice(cut, None))]  # fmt: skip
        errors.append(fit_straight(lesson, *parts).error)
    change = float((small[index] - small[index - 1]).square().mean())
    if errors[0] >= min(errors[1:]):
        raise NextframeError(
            "the frames do not change with the actions: actions of other moments explain the next frame as well as the "
            f"true ones (errors {errors[0]:.4g} and {min(errors[1:]):.4g}); check that each action stands with the "
            "frame it led into, or train anyway with --force"
        )
    return (float(np.mean(errors[1:])) - errors[0]) / change if change else 0.0


def with_recent(conditions: NDArray[np.float32], index: NDArray[np.int64], ticks: int = 4) -> NDArray[np.float32]:
    """The action at each index, and the mean of the last ones: things with inertia answer late."""
    recent = np.mean([conditions[index - back] for back in range(ticks)], axis=0)
    return np.concatenate([conditions[index], recent], 1).astype(np.float32)
