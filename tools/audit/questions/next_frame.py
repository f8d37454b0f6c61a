"""The next-frame test: one moment played twice, with a control and without; which frame is the first to differ?

For each of several moments (a seed and the inputs up to there) the target is run without input (B), without input again
(the noise floor), with a neutral input spelled out (the no-op), and with each control (A). A white box is restored to
the moment, a black box brought there anew.

1. If the floor is zero every difference was caused by the control and its frame is exact: `counterfactual`.
2. If it is not, differences on a coarse picture are held against the floor by a permutation test: `noisy`.
3. Where that finds nothing, an answer is looked for in the response to many flips drawn at random: `correlation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....runtime.core import IDLE
from ..targets.controls import Control, controls_of
from ..targets.player import Moment, Player
from .counterfactual import Setup, exact_test
from .evidence import ControlResponse, NextFrame, Pictures
from .frames import Mask, as_overlay, distance, echo_mask
from .noisy import noisy_test
from .options import AuditOptions

HOLD_TICKS, RELEASE_TICKS = 4, 6
CALIBRATION_MOMENTS = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class NextFrameResult:
    """`evidence` and what later tests need. `overlays`: by control, the pixels that only echo it. `levels`: how far
    pixels of equal runs are apart, 0 for a repeatable target."""

    evidence: NextFrame
    pictures: Pictures | None = None
    overlays: Mapping[str, Mask] = field(default_factory=dict)
    levels: int = 0
    controls: tuple[Control, ...] = ()

    @property
    def overlay(self) -> Mask | None:
        """All echoes together."""
        return np.logical_or.reduce(list(self.overlays.values())) if self.overlays else None

    def answered(self) -> list[tuple[Control, ControlResponse]]:
        """The controls that change the picture, those with the largest effect first."""
        by_name = {control.name: control for control in self.controls}
        found = [response for response in self.evidence.per_action if response.changes]
        found.sort(key=lambda response: -response.effect)
        return [(by_name[response.control], response) for response in found]


def next_frame_test(player: Player, options: AuditOptions, say: Say) -> NextFrameResult:
    """Every control of the target, at most as many as the options allow."""
    target = player.target
    controls = controls_of(target.actions, options.most_controls)
    horizon = options.horizon_ticks(target.tick_hz)
    if not controls:
        return NextFrameResult(NextFrame(None, None, "none", 0, horizon, reason="the target has no controls to try"))
    say("next frame: overlays and noise floor")
    moments = [player.moment(options.seed_of(index)) for index in range(options.moments)]
    overlays, levels = calibrate(moments[:CALIBRATION_MOMENTS], controls)
    setup = Setup(player, moments, controls, overlays, horizon, say)
    if levels == 0:
        exact = exact_test(setup)
        if exact is not None:
            return NextFrameResult(*exact, overlays, 0, controls)
        levels = 1
    evidence = noisy_test(setup, options)
    return NextFrameResult(evidence, None, overlays, levels, controls)


def calibrate(moments: Sequence[Moment], controls: Sequence[Control]) -> tuple[dict[str, Mask], int]:
    """The overlay of each control that has one, and how far pixels of two equal runs are apart, in levels."""
    ticks = HOLD_TICKS + RELEASE_TICKS
    plain = [moment.play([IDLE] * ticks) for moment in moments]
    again = [moment.play([IDLE] * ticks) for moment in moments]
    levels = max(
        int(distance(a, b).max())
        for first, second in zip(plain, again, strict=True)
        for a, b in zip(first.frames, second.frames, strict=True)
    )
    overlays = {}
    for control in controls:
        pairs = [
            (moment.play(control.pulse(HOLD_TICKS, RELEASE_TICKS)).frames, run.frames)
            for moment, run in zip(moments, plain, strict=True)
        ]
        overlay = as_overlay(echo_mask(pairs, HOLD_TICKS, levels + 1))
        if overlay is not None:
            overlays[control.name] = overlay
    return overlays, levels
