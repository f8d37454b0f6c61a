"""What the audit saw, as values. Every part says how it was measured, and may say that it could not.

Judges nothing: `nextframe.tools.audit.judge.verdict` does. In all parts None means "not measured", and then `reason`
says why. Effects are root mean squares over pixels, in levels of 0..255.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from ....runtime.core import Frame, StatePart

Method: TypeAlias = Literal["counterfactual", "statistical", "none"]
Breadth: TypeAlias = Literal["narrow", "broad"]

ERROR_RATE = 0.01
"""How often a target that does not react at all may be called reacting."""


@dataclass(frozen=True)
class Percentiles:
    """numpy's linear percentiles."""

    p50: float
    p95: float


@dataclass(frozen=True)
class ControlResponse:
    """One control against its absence. `first_changed_frame`: 1 is the very next frame; the median over repeats.

    `answered`: share of repeats in which the picture changed within the horizon. `effect`: at the first changed frame.
    """

    control: str
    kind: Literal["button", "axis", "prompt"]
    changes: bool | None
    answered: float
    first_changed_frame: int | None
    worst_frame: int | None
    response_ms: Percentiles | None
    effect: float
    p_value: float | None


@dataclass(frozen=True)
class NextFrame:
    """Does an input change the frames, and how soon.

    `changes`: whether any control changes the picture within `horizon_frames`; None insufficient.
    `first_changed_frame`: 1 is the very next frame; the median over controls and repeats that were answered.
    `effect_by_frame`, `noise_floor_by_frame`: mean over answered pairs, and the largest A against A; frame 1 first.
    `no_op_effect`: a neutral control, spelled out, against none. `overlay_share`: of the picture, left out because it
    only echoes what is pressed. `p_value`: permutation test of the best control, corrected for the number of controls;
    a target that does not react is called reacting with a probability of at most `error_rate`.
    `detectable_effect`: the statistical method cannot see less.
    """

    changes: bool | None
    first_changed_frame: int | None
    method: Method
    repeats: int
    horizon_frames: int
    white_box: bool = False
    response_frames: Percentiles | None = None
    response_ms: Percentiles | None = None
    effect: float = 0.0
    noise_floor: float = 0.0
    no_op_effect: float = 0.0
    effect_by_frame: tuple[float, ...] = ()
    noise_floor_by_frame: tuple[float, ...] = ()
    p_value: float | None = None
    error_rate: float = ERROR_RATE
    overlay_share: float = 0.0
    detectable_effect: float | None = None
    per_action: tuple[ControlResponse, ...] = ()
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ScriptRun:
    """One script, paced at the target's rate. `fps`: new frames a second; `shown_fps`: all frames, copies too.

    `unique_share`: new frames of those shown. `miss_rate`: answers later than a period after asking; None without a
    rate. `jitter_ms`: mean distance of the time between two new frames from its median. `answer_ms`: asking to frame.
    `still`: the picture stood still for over a second, so copies say nothing.
    """

    script: Literal["idle", "flips", "mashing"]
    frames: int
    unique_frames: int
    duration_s: float
    fps: float
    shown_fps: float
    unique_share: float
    miss_rate: float | None
    jitter_ms: float
    worst_gap_ms: float
    answer_ms: Percentiles
    still: bool = False


@dataclass(frozen=True)
class Sustained:
    """Frame rate under input against playback. `fps_interacting`: the worst of the scripts with input.

    `unique_share`, `miss_rate`, `jitter_ms`: of the worst script with input, each by itself.
    """

    fps_interacting: float | None
    fps_idle: float | None
    unique_share: float | None
    miss_rate: float | None
    jitter_ms: float | None
    tick_hz: float | None
    scripts: tuple[ScriptRun, ...] = ()
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Ttff:
    """By the client's clock, ms. `open`: making or connecting the target; `start`: the first session's first frame;
    `again`: a later session on the same target."""

    phases: Mapping[str, float]

    @property
    def total_ms(self) -> float:
        return self.phases["total"]

    def as_json(self) -> dict[str, Any]:
        return dict(self.phases)


@dataclass(frozen=True)
class MemoryPoint:
    """`effect` of what happened `ticks_back` ticks ago on the frame of now, with everything since the same."""

    ticks_back: int
    effect: float
    floor: float

    @property
    def felt(self) -> bool:
        return self.effect > self.floor


@dataclass(frozen=True)
class TurnBack:
    """Away and back, as PSNR in dB. `returned`: the frame after coming back, against the one before leaving;
    `away`: the farthest frame against it. With a simulator as truth: `truth` is the frame after coming back against
    the simulator's; `truth_away` the farthest frame against the simulator's; `truth_returned` what `returned` is in
    the simulator itself, the most that can be asked for."""

    control: str
    away_ticks: int
    returned: float
    away: float
    truth: float | None = None
    truth_away: float | None = None
    truth_returned: float | None = None


@dataclass(frozen=True)
class Memory:
    """What persists. `effective_memory_ticks`: how long the picture still shows a past input, in ticks.

    `at_least`: the probe ended before the memory did. `curve`: the same by ticks. `reach_ticks`, `reach_curve`: white
    boxes only: the oldest frame whose erasure from memory changes what comes, with everything else left.
    `survives_prompt_change`: the difference that a past input made is still there after a new prompt.
    """

    effective_memory_ticks: int | None
    at_least: bool = False
    curve: tuple[MemoryPoint, ...] = ()
    control: str = ""
    reach_ticks: int | None = None
    reach_at_least: bool = False
    reach_curve: tuple[MemoryPoint, ...] = ()
    survives_prompt_change: bool | None = None
    prompt_reason: str = ""
    turn_back: TurnBack | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """How much there is to see. `evidence`: what was counted, and the thresholds it was held against."""

    breadth: Breadth | None
    evidence: Mapping[str, float | int | str] = field(default_factory=dict)
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pictures:
    """One answered control in pictures: the frame before, then the frames with it (`a`) and without it (`b`).

    `overlay`: `(height, width)` bool, the pixels that were left out.
    """

    control: str
    before: Frame
    a: tuple[Frame, ...]
    b: tuple[Frame, ...]
    overlay: Any = None


@dataclass(frozen=True)
class Evidence:
    """All that the audit saw of one target. `gallery`: frames of the breadth test, for people."""

    target: str
    tick_hz: float | None
    next_frame: NextFrame
    sustained: Sustained
    ttff: Ttff
    memory: Memory
    source: Source
    inventory: tuple[StatePart, ...] = ()
    pictures: Pictures | None = None
    gallery: tuple[Frame, ...] = ()
    ticks: int = 0
    seconds: float = 0.0
    quick: bool = True
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data under the keys of the report; the pictures are not in it."""
        return {
            "target": self.target,
            "tick_hz": self.tick_hz,
            "next_frame": self.next_frame.as_json(),
            "sustained": self.sustained.as_json(),
            "ttff_ms": self.ttff.as_json(),
            "state": {"inventory": [asdict(part) for part in self.inventory], **self.memory.as_json()},
            "source": self.source.as_json(),
            "ticks": self.ticks,
            "seconds": self.seconds,
            "quick": self.quick,
            "notes": list(self.notes),
        }
