"""The exact next-frame test, for targets that show the same frames for the same inputs.

Two runs of one moment that differ in one control are compared frame by frame; since two equal runs are equal to the
last bit, whatever differs was caused by the control. How likely such a result would be for a target that does not react
is still said, by a permutation test over moments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....runtime.core import IDLE, Frame
from ..targets.contract import WhiteBox
from ..targets.controls import Control, neutral
from ..targets.player import Moment, Player, Run
from .evidence import ERROR_RATE, ControlResponse, NextFrame, Percentiles, Pictures
from .frames import Mask, differs, effect
from .statistics import Values, largest_difference, percentiles

FIRST_LOOK_FRAMES = 24
"""Most targets that answer at all do so within these; only where none does is the whole horizon looked at."""
FEWEST_LOOK_FRAMES = 16
AFTER_FRAMES = 6
"""Looked at after the first that differs, to see how the effect goes on."""


@dataclass(frozen=True)
class Setup:
    """What both pair tests work on. `overlays`: by control, the pixels that only echo it. `horizon`: most frames."""

    player: Player
    moments: Sequence[Moment]
    controls: Sequence[Control]
    overlays: Mapping[str, Mask]
    horizon: int
    say: Callable[[str], None]

    @property
    def overlay_share(self) -> float:
        """Of the picture, the largest."""
        return max((float(mask.mean()) for mask in self.overlays.values()), default=0.0)

    @property
    def white_box(self) -> bool:
        return isinstance(self.player.target, WhiteBox)


@dataclass(frozen=True)
class Trial:
    """One control in one moment. `first`: index of the first frame that differs, None if none did."""

    control: Control
    moment: int
    first: int | None
    response_ms: float
    effects: list[float]

    @property
    def first_effect(self) -> float:
        return 0.0 if self.first is None else self.effects[self.first]

    @property
    def largest_effect(self) -> float:
        """Nothing that is not visible counts."""
        return 0.0 if self.first is None else max(self.effects)


@dataclass
class Gathered:
    """What has been seen so far; `floors`, `no_ops`: the largest effect of each moment."""

    trials: list[Trial] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    no_ops: list[float] = field(default_factory=list)
    pictures: Pictures | None = None

    @property
    def answered(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.first is not None]


def exact_test(setup: Setup) -> tuple[NextFrame, Pictures | None] | None:
    """Every pair compared pixel by pixel; None if two equal runs turn out to differ after all."""
    look, gathered, index = min(FIRST_LOOK_FRAMES, setup.horizon), Gathered(), 0
    while index < len(setup.moments):
        setup.say(f"next frame: moment {index + 1} of {len(setup.moments)}, {look} frames")
        if not _try_moment(setup, index, look, gathered):
            return None
        firsts = [trial.first for trial in gathered.answered if trial.first is not None]
        if not firsts and look < setup.horizon:
            look, gathered, index = setup.horizon, Gathered(), 0
            continue
        if firsts:
            # Frames beyond twice the slowest answer so far are not looked at again: they cost most of the time.
            look = min(setup.horizon, max(FEWEST_LOOK_FRAMES, 2 * (max(firsts) + 1) + AFTER_FRAMES))
        index += 1
    return _evidence(setup, gathered, look), gathered.pictures


def _try_moment(setup: Setup, index: int, look: int, gathered: Gathered) -> bool:
    moment = setup.moments[index]
    plain = moment.play([IDLE] * look)
    again = moment.play([IDLE] * look)
    if any(not np.array_equal(a, b) for a, b in zip(again.frames, plain.frames, strict=True)):
        return False
    no_op = moment.play([neutral(setup.player.target.actions)] * look)
    gathered.floors.append(0.0)
    gathered.no_ops.append(max(_effects(no_op, plain, None)))
    best = max((trial.first_effect for trial in gathered.trials), default=0.0)
    for control in setup.controls:
        trial, run = _trial(setup, index, control, plain)
        gathered.trials.append(trial)
        if trial.first_effect > best:
            best, frames = trial.first_effect, len(run.frames)
            gathered.pictures = Pictures(
                control.name,
                moment.before,
                tuple(run.frames),
                tuple(plain.frames[:frames]),
                setup.overlays.get(control.name),
            )
    return True


def _trial(setup: Setup, index: int, control: Control, plain: Run) -> tuple[Trial, Run]:
    first: int | None = None
    overlay = setup.overlays.get(control.name)

    def enough(at: int, frame: Frame) -> bool:
        nonlocal first
        if first is None and differs(frame, plain.frames[at], overlay=overlay):
            first = at
        return first is not None and at >= first + AFTER_FRAMES

    run = setup.moments[index].play(control.held(len(plain.frames)), enough)
    return Trial(control, index, first, response_ms(setup.player, run, first), _effects(run, plain, overlay)), run


def response_ms(player: Player, run: Run, first: int | None) -> float:
    """From the control to its frame: what was measured, and at least what the target's own rate makes of it, since
    here the target is asked as fast as it answers."""
    return 0.0 if first is None else max(run.since_ms[first], first * player.period_ms + run.answer_ms[first])


def _effects(run: Run, plain: Run, overlay: Mask | None) -> list[float]:
    return [effect(a, b, overlay) for a, b in zip(run.frames, plain.frames, strict=False)]


# --- what it adds up to ----------------------------------------------------------------------------------------------


def _evidence(setup: Setup, gathered: Gathered, horizon: int) -> NextFrame:
    floors, no_op = np.array(gathered.floors)[:, None], max(gathered.no_ops)
    answered = gathered.answered
    by_moment = [
        float(np.mean([trial.largest_effect for trial in gathered.trials if trial.moment == index]))
        for index in range(len(setup.moments))
    ]
    rng = np.random.default_rng(0x5EED)
    p_value = largest_difference(np.array(by_moment)[:, None], floors, rng)[2]
    changes, reason = _conclusion(answered, p_value, no_op, horizon)
    response = percentiles([float(trial.first + 1) for trial in answered if trial.first is not None])
    length = max((len(trial.effects) for trial in answered), default=0)
    return NextFrame(
        changes,
        rounded(response),
        "counterfactual",
        len(setup.moments),
        horizon,
        white_box=setup.white_box,
        response_frames=response,
        response_ms=percentiles([trial.response_ms for trial in answered]),
        effect=float(np.mean([trial.first_effect for trial in answered])) if answered else 0.0,
        noise_floor=float(floors.max()),
        no_op_effect=no_op,
        effect_by_frame=tuple(
            float(np.mean([trial.effects[at] for trial in answered if at < len(trial.effects)])) for at in range(length)
        ),
        noise_floor_by_frame=(float(floors.max()),) * length,
        p_value=p_value,
        overlay_share=setup.overlay_share,
        per_action=tuple(_response_of(control, gathered.trials, floors, rng) for control in setup.controls),
        reason=reason,
    )


def _conclusion(answered: list[Trial], p_value: float, no_op: float, horizon: int) -> tuple[bool | None, str]:
    if not answered:
        return False, f"no control changed the picture within {horizon} frames"
    if no_op > 0 and no_op >= min(trial.largest_effect for trial in answered):
        return None, "a neutral input changes the picture as much as a control does"
    if p_value > ERROR_RATE:
        moments = len({trial.moment for trial in answered})
        return None, f"a control was answered in {moments} moments only, which is too few to be sure"
    return True, ""


def _response_of(
    control: Control, trials: Sequence[Trial], floors: Values, rng: np.random.Generator
) -> ControlResponse:
    trials = [trial for trial in trials if trial.control is control]
    answered = [trial for trial in trials if trial.first is not None]
    frames = [float(trial.first + 1) for trial in answered if trial.first is not None]
    sizes = np.array([trial.largest_effect for trial in trials])[:, None]
    return ControlResponse(
        control.name,
        control.kind,
        bool(answered),
        len(answered) / len(trials),
        rounded(percentiles(frames)),
        int(max(frames)) if frames else None,
        percentiles([trial.response_ms for trial in answered]),
        float(np.mean([trial.first_effect for trial in answered])) if answered else 0.0,
        largest_difference(sizes, floors, rng)[2],
    )


def rounded(frames: Percentiles | None) -> int | None:
    """The median frame; between two it is the later one."""
    return None if frames is None else int(np.ceil(frames.p50))
