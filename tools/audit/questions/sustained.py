"""Sustained frame rate: what arrives at the client while idle, while a player steers, and under the hardest input.

Everything is timed on the auditor's clock. A frame is new if enough pixels differ from the one before, outside overlays
that only echo the controls: a copy with a changed display, or with another rounding, is a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from ....runtime.core import Action
from ..targets.controls import flips, idle, mashing
from ..targets.player import Player
from .evidence import Percentiles, ScriptRun, Sustained
from .frames import Mask, differs
from .options import AuditOptions
from .statistics import percentiles

WARM_UP_TICKS = 3
"""Not counted: a new session may still be filling its pipeline; time to first frame is measured by itself."""
FEWEST_FRAMES = 8
SLOW_FACTOR = 4.0
MOST_FRAMES = 20_000
"""A target that answers at once on a clock that stands still would never end."""
STILL_S = 1.0
"""Copies for longer than this are a picture that stands still, not one shown twice."""

Say = Callable[[str], None]


def sustained_test(player: Player, options: AuditOptions, overlay: Mask | None, say: Say) -> Sustained:
    space = player.target.actions
    scripts: dict[str, Iterator[Action]] = {"idle": idle()}
    if space.names() or space.prompts:
        scripts["flips"] = flips(space)
        scripts["mashing"] = mashing(space, np.random.default_rng([options.seed, 0x3A58]))
    runs = []
    for index, (name, actions) in enumerate(scripts.items()):
        say(f"frame rate: {name}, {options.script_s:.0f} s")
        runs.append(
            run_script(
                player, name, actions, seed=options.seed_of(200 + index), seconds=options.script_s, overlay=overlay
            )
        )
    return summary(player.target.tick_hz, runs)


def summary(tick_hz: float | None, runs: Sequence[ScriptRun]) -> Sustained:
    """The worst of the scripts with input, measure by measure, and the one without."""
    measured = [run for run in runs if run.frames >= FEWEST_FRAMES and run.duration_s > 0]
    busy = [run for run in measured if run.script != "idle"]
    moving = [run for run in busy if not run.still]
    calm = [run for run in measured if run.script == "idle"]
    misses = [run.miss_rate for run in busy if run.miss_rate is not None]
    reason = ""
    if not busy:
        reason = f"fewer than {FEWEST_FRAMES} frames arrived while interacting, or no time passed"
    elif not moving:
        reason = "the picture stood still under input, so copies cannot be told from new frames"
    return Sustained(
        fps_interacting=min((run.fps for run in moving or busy), default=None),
        fps_idle=calm[0].fps if calm else None,
        unique_share=min((run.unique_share for run in moving), default=None),
        miss_rate=max(misses, default=None),
        jitter_ms=max((run.jitter_ms for run in busy), default=None),
        tick_hz=tick_hz,
        scripts=tuple(runs),
        reason=reason,
    )


def run_script(
    player: Player, name: str, actions: Iterator[Action], *, seed: int, seconds: float, overlay: Mask | None = None
) -> ScriptRun:
    """Ask at the target's rate, or as fast as it answers, for so many seconds."""
    clock = player.clock
    period_ns = round(1e9 / player.target.tick_hz) if player.target.tick_hz else 0
    previous = player.start(seed)
    for _ in range(WARM_UP_TICKS):
        previous = player.step(next(actions))
    began_ns = release_ns = clock.now_ns()
    seen = _Seen()
    while _goes_on(clock.now_ns() - began_ns, len(seen.shown_ns), seconds):
        if not period_ns and len(seen.shown_ns) >= 100 and clock.now_ns() == began_ns:
            break
        clock.sleep_until(release_ns)
        shown = player.step(next(actions))
        seen.answers_ms.append((shown.at_ns - release_ns) / 1e6)
        seen.misses += bool(period_ns) and shown.at_ns > release_ns + period_ns
        seen.shown_ns.append(shown.at_ns)
        seen.new.append(differs(shown.frame, previous.frame, overlay=overlay))
        previous = shown
        # One tick per slot: after an answer that is late the next is asked for at once, and nothing is caught up.
        release_ns = max(release_ns + period_ns, clock.now_ns()) if period_ns else clock.now_ns()
    return _counted(name, began_ns, max(release_ns, seen.shown_ns[-1]), seen, paced=bool(period_ns))


def _goes_on(passed_ns: int, frames: int, seconds: float) -> bool:
    """A slow target gets more time, so that there is something to count."""
    limit_s = seconds if frames >= FEWEST_FRAMES else SLOW_FACTOR * seconds
    return passed_ns < limit_s * 1e9 and frames < MOST_FRAMES


@dataclass
class _Seen:
    """`new`: whether each frame shown was no copy of the one before."""

    shown_ns: list[int] = field(default_factory=list)
    new: list[bool] = field(default_factory=list)
    answers_ms: list[float] = field(default_factory=list)
    misses: int = 0


def _counted(name: str, began_ns: int, ended_ns: int, seen: _Seen, *, paced: bool) -> ScriptRun:
    """FPS is frames over the time they took, never a mean of rates. The last frame has its slot too."""
    frames, unique = len(seen.shown_ns), sum(seen.new)
    duration_s = (ended_ns - began_ns) / 1e9
    shown_fps = frames / duration_s if duration_s > 0 else 0.0
    longest = max((len(list(run)) for is_new, run in groupby(seen.new) if not is_new), default=0)
    still = longest > max(STILL_S * shown_fps, FEWEST_FRAMES)
    new_ns = [at_ns for at_ns, is_new in zip(seen.shown_ns, seen.new, strict=True) if is_new or still]
    gaps_ms = np.diff(np.array([began_ns, *new_ns])) / 1e6
    return ScriptRun(
        script=name,  # type: ignore[arg-type]
        frames=frames,
        unique_frames=unique,
        duration_s=duration_s,
        fps=len(new_ns) / duration_s if duration_s > 0 else 0.0,
        shown_fps=shown_fps,
        unique_share=unique / frames if frames else 0.0,
        miss_rate=seen.misses / frames if paced and frames else None,
        jitter_ms=float(np.abs(gaps_ms - np.median(gaps_ms)).mean()) if len(gaps_ms) else 0.0,
        worst_gap_ms=float(gaps_ms.max()) if len(gaps_ms) else 0.0,
        answer_ms=percentiles(seen.answers_ms) or Percentiles(0.0, 0.0),
        still=still,
    )
