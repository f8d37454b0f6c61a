"""Response latency in frames: the same moment twice, once with a control, once without; when do the pictures part?

1 is the very next frame. What counts as a difference is measured: more pixels than two runs under equal actions differ
by, and enough to be seen. Only moments count in which the teacher answers too: a car in a tunnel or at a standstill
shows none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Action
from ....worlds.evaluation.players import Key, Recorder, Tape, keys_of, pressed
from ....worlds.evaluation.subjects import Frames, Pair, Subject, play

WARM_UP_TICKS = 12
HORIZON_TICKS = 10
SEEN_LEVELS = 8
SEEN_SHARE = 0.0002
"""Ten pixels of a 256x192 picture: the least that is called an answer."""


@dataclass(frozen=True)
class Probe:
    """A control to be tried: what every session does after the warm-up, with it and without it."""

    name: str
    without: Action
    with_it: Action


def latency(pair: Pair, seeds: Sequence[int]) -> dict[str, Any]:
    """Frames from a control to its first visible effect, by control; the teacher's beside it."""
    recorder = Recorder(pair.player(pair.teacher, seeds))
    play(pair.teacher, seeds, recorder, WARM_UP_TICKS)
    moments = Moments(tuple(seeds), recorder.tape)
    rows: dict[str, dict[str, Any]] = {}
    all_world: list[float] = []
    all_excess: list[float] = []
    asked = answered = 0
    for probe in probes(pair):
        world, teacher = (moments.first_difference(subject, probe) for subject in (pair.world, pair.teacher))
        fair = np.isfinite(teacher)
        both = fair & np.isfinite(world)
        asked, answered = asked + int(fair.sum()), answered + int(both.sum())
        all_world += world[both].tolist()
        all_excess += (world[both] - teacher[both]).tolist()
        rows[probe.name] = {
            "asked": int(fair.sum()), "answered": int(both.sum()),
            "median_frames": _median(world[both]), "teacher_median_frames": _median(teacher[fair]),
            "excess_frames_mean": round(float(np.mean(world[both] - teacher[both])), 3) if both.any() else None,
        }  # fmt: skip
    return {
        "moments": len(seeds), "horizon_frames": HORIZON_TICKS, "asked": asked, "answered": answered,
        "answered_share": round(answered / asked, 4) if asked else None,
        "median_frames": _median(np.array(all_world)),
        "p95_frames": float(np.quantile(all_world, 0.95)) if all_world else None,
        "excess_frames_mean": round(float(np.mean(all_excess)), 4) if all_excess else None,
        "next_frame_share": round(sum(frames <= 1 for frames in all_world) / asked, 4) if asked else None,
        "controls": rows,
    }  # fmt: skip


def _median(frames: NDArray[np.float64]) -> float | None:
    return float(np.median(frames)) if len(frames) else None


def probes(pair: Pair) -> list[Probe]:
    """Every key against its absence, and every prompt group against another of its words."""
    base = pair.palette.base
    found = []
    for key in keys_of(pair.palette):
        rest = _released(base, key)
        found.append(Probe(key.name, rest, pressed(rest, key, 1.0)))
    for group, words in pair.palette.space.prompts.items():
        if len(words) > 1:
            found.append(Probe(group, replace(base, prompt=words[0]), replace(base, prompt=words[1])))
    return found


def _released(action: Action, key: Key) -> Action:
    """Neither this key nor its opposite held."""
    if key.sign == 0:
        return replace(action, buttons=action.buttons - {key.control})
    return replace(action, axes={**action.axes, key.control: 0})


@dataclass(frozen=True)
class Moments:
    """Where the question is asked: these seeds, after these actions."""

    seeds: tuple[int, ...]
    warm_up: Tape

    def first_difference(self, subject: Subject, probe: Probe) -> NDArray[np.float64]:
        """The first frame that differs, from 1 on, by row; infinite where none does."""
        without = self._shown(subject, probe.without)
        again = self._shown(subject, probe.without)
        floor = max(changed(a, b).max() for a, b in zip(without, again, strict=True))
        with_it = self._shown(subject, probe.with_it)
        first = np.full(len(self.seeds), np.inf)
        least = max(float(floor), SEEN_SHARE * without[0].shape[1] * without[0].shape[2])
        for tick, (a, b) in enumerate(zip(without, with_it, strict=True)):
            new = np.isinf(first) & (changed(a, b) > least)
            first[new] = tick + 1
        return first

    def _shown(self, subject: Subject, action: Action) -> list[Frames]:
        """The frames after the warm-up. A prompt is said once; everything else is held."""
        frames: list[Frames] = []
        rows, warm = len(self.seeds), len(self.warm_up.ticks)
        held = replace(action, prompt=None)
        ticks = [*self.warm_up.ticks, [action] * rows, [held] * rows]

        def see(tick: int) -> None:
            if tick > warm:
                frames.append(subject.frames())

        play(subject, self.seeds, Tape(ticks), warm + HORIZON_TICKS, see)
        return frames


def changed(a: Frames, b: Frames) -> NDArray[np.int64]:
    """How many pixels of each row differ by at least `SEEN_LEVELS`."""
    return (np.abs(a.astype(np.int16) - b).max(-1) >= SEEN_LEVELS).sum((1, 2))
