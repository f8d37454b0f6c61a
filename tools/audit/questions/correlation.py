"""The statistical next-frame test, for targets of which no moment can be played twice.

In a running session a control is turned over at times drawn at random, and what changes in the picture is held against
those times. If inputs did nothing, any other draw of times would have gone with the same frames, so other draws say how
large a correlation chance makes (Fisher's randomisation test; Ernst, Permutation Methods, Statistical Science 2004).
Nothing is assumed about the picture.

The input is a random telegraph: on each tick it turns over with a fixed probability. Held against frames are the turns
themselves, which are independent from tick to tick, and the innovation of the input, the part that its own past does
not foretell. Both are independent of all earlier ticks, so a frame cannot correlate with a turn that comes after the
one it answers, and the first lag that stands out is a lag at which the picture really answers. It is an upper bound:
an answer too small to stand out may come before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....runtime.core import IDLE, Action, Frame
from ..targets.controls import Control, opening
from ..targets.player import Player
from .frames import coarse
from .options import AuditOptions
from .statistics import Values, randomisation_test

HOLDS_TICKS = (6, 30)
"""Mean time between turns. The short one gives many turns and a sharp answer; the long one reaches targets that look
at the input once a second."""
LONG_FLIPS = 40
SESSION_CONTROLS = 3
WARM_UP_TICKS = 5
DRAWS = 1000
"""The error rate of one of four sessions, one in eight hundred, must be among the values that chance can take."""
CLIP = 4.0


@dataclass(frozen=True)
class Flips:
    """`first_frame`: 1 is the very next. `control` is None where nothing was found."""

    control: Control | None
    first_frame: int | None
    p_value: float
    flips: int
    answer_ms: list[float] = field(default_factory=list)
    p_values: dict[str, float] = field(default_factory=dict)


def correlation_test(
    player: Player, options: AuditOptions, controls: Sequence[Control], horizon: int, error_rate: float
) -> Flips:
    """Several sessions, one control each, until one answers. The error rate is shared between the sessions."""
    chosen = _one_of_each_kind(controls)[:SESSION_CONTROLS]
    sessions = [(control, HOLDS_TICKS[0], options.flips) for control in chosen]
    sessions += [(control, HOLDS_TICKS[1], LONG_FLIPS) for control in chosen[:1]]
    p_values: dict[str, float] = {}
    total, answer_ms = 0, []
    for index, (control, hold, flips) in enumerate(sessions):
        rng = np.random.default_rng([options.seed, 0xF11B, index])
        ticks = flips * hold
        pressed = telegraph(ticks, hold, rng)
        player.start(options.seed_of(100 + index))
        run = player.play(_actions(control, pressed, opening(player.target.actions)))
        answer_ms += run.answer_ms
        features = features_of(run.frames)[WARM_UP_TICKS:]
        lags = min(horizon, ticks // 4)
        _, p_by_lag, p = randomisation_test(
            lambda drawn, x=features, n=lags, h=hold: correlations(x, drawn, n, h),  # type: ignore[misc]
            pressed, lambda t=ticks, h=hold, r=rng: telegraph(t, h, r), DRAWS,  # type: ignore[misc]
        )  # fmt: skip
        total += int(np.abs(np.diff(pressed)).sum())
        p_values[control.name] = min(p_values.get(control.name, 1.0), p * len(sessions))
        first = next((lag for lag, value in enumerate(p_by_lag) if value * len(sessions) <= error_rate), None)
        if first is not None:
            return Flips(control, first + 1, p_values[control.name], total, answer_ms, p_values)
    return Flips(None, None, min(p_values.values()), total, answer_ms, p_values)


def telegraph(ticks: int, hold: int, rng: np.random.Generator) -> Values:
    """`(ticks,)` of 0 and 1, turned over with probability 1 / hold on every tick."""
    turns = rng.random(ticks) < 1 / hold
    pressed: Values = ((np.cumsum(turns) + rng.integers(2)) % 2).astype(np.float64)
    return pressed


def features_of(frames: Sequence[Frame]) -> Values:
    """What changed at each frame, `(frames, features)`, each of mean 0 and deviation 1 and without extremes.

    How much changed, how much the change changed, which colours rose, and whether the whole picture moved across or
    down (the least-squares shift of Lucas and Kanade, 1981).
    """
    grids = np.array([coarse(frame) for frame in frames], dtype=np.float64)
    change = np.diff(grids, axis=0, prepend=grids[:1])
    size = np.log1p(np.sqrt((change**2).mean(axis=(1, 2))))
    jerk = np.log1p(np.sqrt((np.diff(change, axis=0, prepend=change[:1]) ** 2).mean(axis=(1, 2))))
    side = round(np.sqrt(grids.shape[1]))
    shifts = np.zeros((len(frames), 2))
    if side * side == grids.shape[1] and side > 1:
        light = grids.mean(axis=2).reshape(-1, side, side)
        moved = change.mean(axis=2).reshape(-1, side, side)
        for axis in (1, 2):
            slope = np.gradient(light, axis=axis)
            shifts[:, axis - 1] = (slope * moved).sum(axis=(1, 2)) / ((slope**2).sum(axis=(1, 2)) + 1e-6)
    values = np.column_stack([size, jerk, change.mean(axis=1), shifts])
    middle = np.median(values, axis=0)
    spread = np.median(np.abs(values - middle), axis=0) * 1.4826 + 1e-3
    values = np.clip((values - middle) / spread, -CLIP, CLIP)
    values -= values.mean(axis=0)
    scaled: Values = values / (values.std(axis=0) + 1e-9)
    return scaled


def correlations(features: Values, pressed: Values, lags: int, hold: int) -> Values:
    """The largest correlation, at each lag, of any feature with the turns or with the innovation; `(lags,)`.

    `features` starts `WARM_UP_TICKS` after `pressed`. Lag 0 is the frame that the tick itself returned.
    """
    before = np.concatenate([pressed[:1], pressed[:-1]])
    rate = 1 / hold
    turns = np.abs(pressed - before) - rate
    centred, centred_before = 2 * pressed - 1, 2 * before - 1
    innovation = centred - (1 - 2 * rate) * centred_before
    found = np.zeros(lags)
    for series in (turns, innovation):
        padded = np.concatenate([np.zeros(lags - 1), series])
        windows = np.lib.stride_tricks.sliding_window_view(padded, lags)[WARM_UP_TICKS:, ::-1]
        scale = np.sqrt(len(features)) * (np.sqrt((windows**2).sum(axis=0)) + 1e-9)
        found = np.maximum(found, (np.abs(features.T @ windows) / scale).max(axis=0))
    return found


def _one_of_each_kind(controls: Sequence[Control]) -> list[Control]:
    by_kind: dict[str, Control] = {}
    for control in controls:
        by_kind.setdefault(control.kind, control)
    return [*by_kind.values(), *(control for control in controls if control not in by_kind.values())]


def _actions(control: Control, pressed: Values, first: Action) -> Iterator[Action]:
    """The control held where `pressed` is 1; a prompt is said only when it turns."""
    was = 0.0
    for tick, now in enumerate(pressed):
        if tick == 0 and now == 0:
            yield first
        elif control.kind == "prompt":
            yield IDLE if now == was else (control.pressed if now else control.released)
        else:
            yield control.pressed if now else IDLE
        was = now
