"""From evidence to words: which of three kinds a target is, and whether a claim is proven.

Every threshold is here, with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .claims import Claim
from .findings import Estimate, Findings

CategoryName: TypeAlias = Literal["interactive", "streaming", "batch"]
Outcome: TypeAlias = Literal["proven", "refuted", "insufficient"]

INTERACTIVE_FRAMES = 4
"""A live loop may answer a few frames late: video models make four pixel frames from one latent, pipelines add one
frame a stage. Output that was made ahead is later than this by whole segments. The next-frame claim asks for 1."""

INTERACTIVE_MS = 250.0
"""Above a quarter of a second people stop steering and begin to move and wait."""

STALL_MS = 500.0
"""An answer this much later than its frames alone would take means that playing stopped while something was made."""

HELD_SHARE = 0.5
"""A target that shows less than half of its new pictures a second once a player steers has its rate from playback."""

RATE_TOLERANCE = 0.01
"""A rate is called by its round name: 29.97 is 30. And a run of seconds is counted to one frame only."""


@dataclass(frozen=True)
class Category:
    """`category` is None where the evidence does not reach. `sentence` is for people, `reasons` are the rules used."""

    category: CategoryName | None
    sentence: str
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"category": self.category, "category_sentence": self.sentence, "category_reasons": list(self.reasons)}


@dataclass(frozen=True)
class Verdict:
    """`measured` stands beside the claim; `uncertainty` says how far it can be trusted."""

    claim: Claim
    outcome: Outcome
    measured: str
    uncertainty: str

    def as_json(self) -> dict[str, Any]:
        evidence = {"measured": self.measured, "uncertainty": self.uncertainty}
        return {"claim": self.claim.text, "line": self.claim.line, "verdict": self.outcome, "evidence": evidence}


# --- the category ------------------------------------------------------------------------------------------------


def categorise(findings: Findings) -> Category:
    """Batch if no control reaches the picture while it plays, streaming if it comes late, interactive if at once."""
    if findings.responds is None:
        why = findings.missing.get("responds", "the next-frame test gave no answer")
        return Category(None, f"It could not be told what this is: {why}.", (why,))
    if not findings.responds:
        return _batch(findings)
    if findings.response_frames is None:
        why = findings.missing.get("response_frames", "the response was not timed")
        return Category(None, f"It reacts, but it could not be told how fast: {why}.", (why,))
    if findings.response_frames.value > _frames_allowed(findings):
        return _late(findings)
    return _paused(findings) or _collapsed(findings) or _interactive(findings)


def _frames_allowed(findings: Findings) -> float:
    """Copies of a frame are no frames: the limit is counted in new ones."""
    share = findings.unique_share
    return INTERACTIVE_FRAMES * max(1.0, round(1 / max(share.value, 0.1))) if share else INTERACTIVE_FRAMES


def _stalled_ms(findings: Findings) -> float | None:
    """How much later the answer came than its number of frames explains, at the rate of undisturbed playback."""
    if findings.response_ms is None or findings.response_frames is None or findings.tick_hz is None:
        return None
    return findings.response_ms.value - 1000 * findings.response_frames.value / findings.tick_hz


def _batch(findings: Findings) -> Category:
    overlay = (
        " A display drawn over the picture answers at once, the picture does not." if findings.overlay_only else ""
    )
    horizon = f"{findings.horizon_frames} frames" if findings.horizon_frames else "the frames observed"
    return Category(
        "batch",
        "This is fast batch: a clip is made first and then shown, and nothing done while it plays changes it."
        + overlay,
        (f"no control changed the picture within {horizon}",),
    )


def _late(findings: Findings) -> Category:
    """Later than a live loop: with a standstill it is the next clip, without one it is output made ahead."""
    assert findings.response_frames is not None
    frames, allowed = findings.response_frames.value, _frames_allowed(findings)
    reasons = [f"response at frame {frames:.0f}, more than {allowed:.0f}"]
    stalled_ms = _stalled_ms(findings)
    if stalled_ms is not None and stalled_ms > STALL_MS:
        reasons.append(f"it came {stalled_ms:.0f} ms later than its frames explain, more than {STALL_MS:.0f} ms")
        words = "a control waits for the end of the clip, then the picture stands still while the next clip is made"
        return Category("batch", f"This is fast batch: {words}.", tuple(reasons))
    seconds = f", {findings.response_ms.value / 1000:.1f} s" if findings.response_ms else ""
    words = f"it plays output made ahead, and a control shows only after {frames:.0f} frames{seconds}"
    overlay = " A display drawn over the picture answers at once, but that is not the world." * findings.overlay_only
    return Category("streaming", f"This is streaming: {words}.{overlay}", tuple(reasons))


def _paused(findings: Findings) -> Category | None:
    """Early in frames, late on the clock."""
    ms = findings.response_ms
    if ms is None or ms.value <= INTERACTIVE_MS:
        return None
    words = f"the picture stands still for {ms.value:.0f} ms when a control changes, while what comes next is made"
    reason = f"response of {ms.value:.0f} ms, more than {INTERACTIVE_MS:.0f} ms"
    return Category("streaming", f"This is streaming: {words}.", (reason,))


def _collapsed(findings: Findings) -> Category | None:
    """Early, but at a rate that only playback has."""
    if findings.fps_interacting is None or findings.fps_idle is None:
        return None
    steering, idle = findings.fps_interacting.value, findings.fps_idle.value
    if steering >= HELD_SHARE * idle:
        return None
    words = f"{idle:.1f} new pictures a second while it plays, {steering:.1f} once a player steers"
    reason = f"{steering:.1f} FPS while interacting is less than {HELD_SHARE:.0%} of {idle:.1f} FPS idle"
    return Category("streaming", f"This is streaming: {words}.", (reason,))


def _interactive(findings: Findings) -> Category:
    assert findings.response_frames is not None
    frame = round(findings.response_frames.value)
    when = "the very next frame" if frame <= 1 else f"frame {frame} after it"
    ms = f", {findings.response_ms.value:.0f} ms later" if findings.response_ms else ""
    reasons = [f"response at frame {frame}, at most {_frames_allowed(findings):.0f}"]
    if findings.response_ms:
        reasons.append(f"response of {findings.response_ms.value:.0f} ms, at most {INTERACTIVE_MS:.0f} ms")
    if findings.fps_interacting and findings.fps_idle:
        reasons.append(
            f"{findings.fps_interacting.value:.1f} FPS while interacting, at least {HELD_SHARE:.0%} of "
            f"{findings.fps_idle.value:.1f} FPS idle"
        )
    return Category("interactive", f"This is interactive: a new input changes {when}{ms}.", tuple(reasons))


# --- claims ------------------------------------------------------------------------------------------------------

UNITS: Mapping[str, tuple[str, float, str]] = {
    "fps": ("fps_interacting", 1, "FPS"),
    "idle_fps": ("fps_idle", 1, "FPS"),
    "response_frames": ("response_frames", 1, "frames"),
    "response_ms": ("response_ms", 1, "ms"),
    "ttff_ms": ("ttff_ms", 1, "ms"),
    "memory_s": ("memory_s", 1, "s"),
    "memory_ticks": ("memory_ticks", 1, "ticks"),
    "miss_rate": ("miss_rate", 100, "%"),
    "jitter_ms": ("jitter_ms", 1, "ms"),
    "unique_share": ("unique_share", 100, "%"),
}
"""Kind of claim -> field of the findings, factor to the unit shown, the unit."""


def judge(claims: Sequence[Claim], findings: Findings, category: Category) -> tuple[Verdict, ...]:
    return tuple(judge_claim(claim, findings, category) for claim in claims)


def judge_claim(claim: Claim, findings: Findings, category: Category) -> Verdict:
    """Proven if the whole range of the measurement fulfils the claim, refuted if none of it does, else insufficient."""
    if claim.bound == "is":
        return _judge_name(claim, findings, category)
    if claim.kind in ("response_frames", "response_ms") and findings.responds is False:
        return Verdict(claim, "refuted", "no control changed the picture", f"within {findings.horizon_frames} frames")
    field, factor, unit = UNITS[claim.kind]
    estimate: Estimate | None = getattr(findings, field)
    if estimate is None:
        return Verdict(
            claim, "insufficient", "not measured", findings.missing.get(field, "this audit did not reach it")
        )
    value = float(claim.value)
    if claim.kind in ("fps", "idle_fps"):
        value *= 1 - RATE_TOLERANCE
    at_least = claim.bound == "at least"
    met = estimate.low >= value if at_least else estimate.high <= value
    failed = estimate.high < value if at_least else estimate.low > value
    outcome: Outcome = "proven" if met else "refuted" if failed else "insufficient"
    return Verdict(claim, outcome, _shown(estimate.value * factor, unit), _range(estimate, factor, unit))


def _judge_name(claim: Claim, findings: Findings, category: Category) -> Verdict:
    found: object = {
        "category": category.category,
        "breadth": findings.breadth,
        "survives_prompt_change": findings.survives_prompt_change,
    }[claim.kind]
    if found is None:
        return Verdict(claim, "insufficient", "not measured", findings.missing.get(claim.kind, category.sentence))
    words = (
        {True: "state survives", False: "state is lost"}.get(found, str(found)) if isinstance(found, bool) else found
    )
    reasons = "; ".join(category.reasons) if claim.kind == "category" else findings.missing.get(claim.kind, "")
    return Verdict(claim, "proven" if found == claim.value else "refuted", str(words), reasons)


def _shown(value: float, unit: str) -> str:
    text = f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"
    return f"{text} {unit.removesuffix('s') if text == '1' and len(unit) > 2 else unit}"


def _range(estimate: Estimate, factor: float, unit: str) -> str:
    low, high = _shown(estimate.low * factor, unit), _shown(estimate.high * factor, unit)
    text = f"at least {low}" if math.isinf(estimate.high) else "no spread" if low == high else f"{low} to {high}"
    counted = f", {estimate.count} measurements" if estimate.count > 1 else ""
    return text + counted + (f" ({estimate.how})" if estimate.how else "")


# --- the exit code -----------------------------------------------------------------------------------------------


def exit_code(
    category: Category, verdicts: Sequence[Verdict], findings: Findings, max_response_frames: int | None = None
) -> int:
    """0: every claim is proven. 1: one is refuted, or the response is later than asked. 2: something was not measured.

    A refuted claim goes before one that could not be judged: it cannot become true again.
    """
    if any(verdict.outcome == "refuted" for verdict in verdicts):
        return 1
    late = max_response_frames is not None and responds_later_than(findings, max_response_frames)
    if late:
        return 1
    unknown = category.category is None or any(verdict.outcome == "insufficient" for verdict in verdicts)
    return 2 if unknown or late is None else 0


def responds_later_than(findings: Findings, frames: int) -> bool | None:
    """Whether a control can take more than so many frames; None if that was not measured."""
    if findings.responds is False:
        return True
    return None if findings.response_frames is None else findings.response_frames.high > frames
