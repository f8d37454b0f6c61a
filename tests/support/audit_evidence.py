"""Evidence made by hand, for tests of what is done with it: a live world as the audit would see it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nextframe.runtime.core import Frame, StatePart
from nextframe.tools.audit.questions.evidence import (
    ControlResponse,
    Evidence,
    Memory,
    MemoryPoint,
    NextFrame,
    Percentiles,
    Pictures,
    ScriptRun,
    Source,
    Sustained,
    Ttff,
    TurnBack,
)


def script(name: str, fps: float = 20.0) -> ScriptRun:
    frames = round(4 * fps)
    return ScriptRun(name, frames, frames, 4.0, fps, fps, 1.0, 0.0, 0.4, 55.0, Percentiles(12.0, 18.0))  # type: ignore[arg-type]


def picture(ball_x: int) -> Frame:
    frame = np.full((48, 64, 3), 60, np.uint8)
    frame[20:28, ball_x : ball_x + 8] = (255, 214, 92)
    return frame


def live_evidence() -> Evidence:
    """Responds in the next frame after 12 ms, 20 FPS, remembers 24 ticks, broad."""
    controls = tuple(
        ControlResponse(name, "axis", True, 1.0, 1, 1, Percentiles(12.0, 18.0), 3.1, 0.002)
        for name in ("steer +", "steer -", "throttle +")
    )
    next_frame = NextFrame(
        True, 1, "counterfactual", 6, 90, white_box=True, response_frames=Percentiles(1, 1),
        response_ms=Percentiles(12.0, 18.0), effect=3.1, noise_floor=0.2, p_value=0.002, per_action=controls,
        effect_by_frame=tuple(3 + 0.4 * frame for frame in range(20)), noise_floor_by_frame=(0.2,) * 20,
    )  # fmt: skip
    runs = (script("idle"), script("flips", 19.8), script("mashing", 19.9))
    curve = tuple(MemoryPoint(ticks, 8 * 0.85**ticks, 0.2) for ticks in (1, 2, 4, 8, 16, 24, 32))
    return Evidence(
        "circuit", 20.0, next_frame, Sustained(19.8, 20.0, 1.0, 0.0, 0.4, 20.0, runs),
        Ttff({"open": 900.0, "start": 60.0, "again": 12.0, "total": 960.0}),
        Memory(22, curve=curve, control="steer +", reach_ticks=32, reach_at_least=True,
               reach_curve=tuple(MemoryPoint(ticks, 2 / ticks, 0.1) for ticks in (1, 2, 4, 8, 16, 32)),
               survives_prompt_change=True, turn_back=TurnBack("steer", 20, 24.2, 15.1)),
        Source("broad", {"share_of_pixels": 0.8}), (StatePart("memory", 1_400_000, 32), StatePart("seed", 8, None)),
        Pictures("steer +", picture(10), tuple(picture(10 + n) for n in range(1, 31)),
                 tuple(picture(10) for _ in range(30))),
        tuple(picture(4 * n) for n in range(8)), 4000, 48.0, True, (),
    )  # fmt: skip


def silent_evidence() -> Evidence:
    """Nothing done changes anything, and not much else could be measured."""
    live = live_evidence()
    return replace(
        live,
        tick_hz=None,
        next_frame=NextFrame(False, None, "statistical", 60, 90, reason="no control stands out"),
        sustained=Sustained(None, None, None, None, None, None, reason="it ended after 3 frames"),
        memory=Memory(None, reason="no control changes anything", prompt_reason="it has no prompts"),
        source=Source(None, reason="it has one seed"),
        inventory=(),
        pictures=None,
        gallery=(),
    )
