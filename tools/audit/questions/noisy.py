"""The next-frame test for targets of which two equal runs differ.

Frames are compared on a coarse picture, where pixel noise averages out. Differences between runs with a control and
without are held against those between runs without, over all moments, by a permutation test on the largest difference
along the frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....runtime.core import IDLE
from ..targets.controls import neutral
from ..targets.player import Run
from .correlation import Flips, correlation_test
from .counterfactual import FIRST_LOOK_FRAMES, Setup
from .evidence import ERROR_RATE, ControlResponse, NextFrame
from .frames import Mask, coarse
from .options import AuditOptions
from .statistics import Values, largest_difference, percentiles

MOST_CONTROLS = 4
"""Tried where runs differ by themselves: there every control needs every frame of the horizon."""
TOP_CELLS = 0.05
"""Share of the coarse picture in which a difference is measured: where it is largest."""
BLINDING_LEVELS = 12.0
"""A floor above this on the coarse picture, 5 % of white, hides reactions that are easily seen."""


def noisy_test(setup: Setup, options: AuditOptions) -> NextFrame:
    """Half of the error rate is for this test, shared between its two looks, half for the statistical one."""
    setup = replace(setup, controls=setup.controls[:MOST_CONTROLS])
    looks = sorted({min(FIRST_LOOK_FRAMES, setup.horizon), setup.horizon})
    rng = np.random.default_rng([options.seed, 0x5EED])
    floor = np.zeros((1, 1))
    for look in looks:
        setup.say(f"next frame: against a noise floor, {look} frames")
        effects = _measure(setup, look)
        floor = effects.floor
        found = _responses(setup, effects, ERROR_RATE / 2 / len(looks), rng)
        if any(response.changes for response in found):
            return _evidence(setup, found, effects, look)
    setup.say("next frame: an answer to random flips")
    flips = correlation_test(setup.player, options, setup.controls, setup.horizon, ERROR_RATE / 2)
    return _by_flips(setup, flips, float(floor.mean()))


@dataclass(frozen=True)
class Effects:
    """By control, and between equal runs: `(runs, frames)` in levels of the coarse picture."""

    controls: list[Values]
    floor: Values
    answer_ms: list[float]


def _measure(setup: Setup, look: int) -> Effects:
    player, controls, overlays = setup.player, setup.controls, setup.overlays
    rows: list[list[Values]] = [[] for _ in controls]
    floor, answer_ms = [], []
    for moment in setup.moments:
        plain = moment.play([IDLE] * look)
        for actions in ([IDLE] * look, [neutral(player.target.actions)] * look):
            floor.append(_distances(moment.play(actions), plain, None))
        for at, control in enumerate(controls):
            run = moment.play(control.held(look))
            answer_ms.append(float(np.median(run.answer_ms)))
            rows[at].append(_distances(run, plain, overlays.get(control.name)))
    return Effects([np.array(row) for row in rows], np.array(floor), answer_ms)


def _distances(a: Run, b: Run, overlay: Mask | None) -> Values:
    """Root mean square difference of the coarse pictures, by frame, over the cells that differ most.

    What a control moves is often small, and the noise of all other cells would hide it.
    """
    pairs = zip(a.frames, b.frames, strict=True)
    squares = np.array([((coarse(x, overlay) - coarse(y, overlay)) ** 2).mean(axis=1) for x, y in pairs])
    largest = np.sort(squares, axis=1)[:, -max(1, round(TOP_CELLS * squares.shape[1])) :]
    distances: Values = np.sqrt(largest.mean(axis=1))
    return distances


def _responses(setup: Setup, effects: Effects, error_rate: float, rng: np.random.Generator) -> list[ControlResponse]:
    player, controls = setup.player, setup.controls
    found = []
    for control, measured in zip(controls, effects.controls, strict=True):
        _, p_by_frame, p_value = largest_difference(measured, effects.floor, rng)
        first = next((at for at, p in enumerate(p_by_frame) if p * len(controls) <= error_rate), None)
        frame = None if first is None else first + 1
        times = [] if first is None else [first * player.period_ms + ms for ms in effects.answer_ms]
        found.append(
            ControlResponse(
                control.name,
                control.kind,
                None if first is None else True,
                float(first is not None),
                frame,
                frame,
                percentiles(times),
                0.0 if first is None else float(measured[:, first].mean()),
                min(1.0, p_value * len(controls)),
            )
        )
    return found


def _evidence(setup: Setup, found: list[ControlResponse], effects: Effects, look: int) -> NextFrame:
    """The response is that of the control that stands out first: a weaker one is as fast, and longer in the noise."""
    answered = [response for response in found if response.first_changed_frame is not None]
    first = min(answered, key=lambda response: (response.first_changed_frame or 0, -response.effect))
    best = max(effects.controls, key=lambda values: float(values.mean()))
    return NextFrame(
        True,
        first.first_changed_frame,
        "counterfactual",
        len(best),
        look,
        white_box=setup.white_box,
        response_frames=percentiles([float(first.first_changed_frame or 0)]),
        response_ms=first.response_ms,
        effect=max(response.effect for response in answered),
        noise_floor=float(effects.floor.mean()),
        no_op_effect=float(effects.floor[1::2].mean()),
        effect_by_frame=tuple(best.mean(axis=0).tolist()),
        noise_floor_by_frame=tuple(effects.floor.max(axis=0).tolist()),
        p_value=min(response.p_value or 1.0 for response in answered),
        overlay_share=setup.overlay_share,
        detectable_effect=float(effects.floor.max()),
        per_action=tuple(found),
        reason="two equal runs differ; the first frame is the first beyond chance for any control, an upper bound",
    )


def _by_flips(setup: Setup, flips: Flips, floor: float) -> NextFrame:
    player, controls, horizon = setup.player, setup.controls, setup.horizon
    changes: bool | None = flips.control is not None
    reason = "equal runs differ; the first frame is the first that stands out after random flips, an upper bound"
    if not changes:
        reason = f"no control changed the picture within {horizon} frames, as far as its noise lets see"
    if not changes and floor > BLINDING_LEVELS:
        changes = None
        reason = (
            f"two runs with equal inputs differ by {floor:.0f} levels on a coarse picture, and {flips.flips} random "
            "flips of a control left no trace above that"
        )
    times = None
    if flips.first_frame is not None:
        times = percentiles([(flips.first_frame - 1) * player.period_ms + ms for ms in flips.answer_ms])
    return NextFrame(
        changes,
        flips.first_frame,
        "statistical",
        flips.flips,
        horizon,
        white_box=setup.white_box,
        response_frames=None if flips.first_frame is None else percentiles([float(flips.first_frame)]),
        response_ms=times,
        noise_floor=floor,
        p_value=flips.p_value,
        overlay_share=setup.overlay_share,
        detectable_effect=floor,
        per_action=tuple(
            ControlResponse(
                control.name,
                control.kind,
                True if control is flips.control else None,
                float(control is flips.control),
                flips.first_frame if control is flips.control else None,
                flips.first_frame if control is flips.control else None,
                times if control is flips.control else None,
                0.0,
                flips.p_values.get(control.name),
            )
            for control in controls
        ),
        reason=reason,
    )
