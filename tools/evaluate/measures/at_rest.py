"""Two ways to play badly: touch nothing, and press everything. Does the world still behave as its teacher does?

Idle: what stands still in the teacher must stand still, and what moves there must move. Mash: the pictures must stay in
the teacher's band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....worlds.evaluation.players import HandsOff, masher
from ....worlds.evaluation.subjects import Frames, Pair, Subject, play
from .bands import MOTION_LEVELS, Bands
from .drift import prompted, summary, watch_group

LOOK_EVERY_TICKS = 4
"""What drives by at 3 px a tick covers 12 px between two looks, less than its own length: no gap is left on its way."""
MOVERS_TICKS = 600
"""For so long the teacher is watched for what moves by itself: a rival has been everywhere it will be."""
WIDEN_PX = 4
"""What moves may do so a little beside its way in the teacher."""
MOVED_LEVELS = 16
MOTION_BAND = (0.5, 2.0)
FILM_PICTURES = 6
MOST_RESTLESS = 0.01
"""One in a hundred pixels of what must be still."""


def idle(pair: Pair, seeds: Sequence[int], ticks: int) -> dict[str, Any]:
    """What happens in `ticks` once everything has rolled out, `pair.roll_out_ticks` after the last input.
    Where the view goes along with a player, the teacher goes on from where the world has come to rest.

    `motion_ratio`: the world's motion over the teacher's, None where the teacher does not move either.
    `restless_share`: of the pixels where nothing ever moves in the teacher, those that change in the world.
    `still_share`: sessions in which fewer than one in a hundred do. `crept_px`: how far each player got by itself."""
    untouched = HandsOff(len(seeds))
    play(pair.world, seeds, untouched, pair.roll_out_ticks)
    if pair.teacher_joins is not None:
        pair.teacher_joins()
    else:
        play(pair.teacher, seeds, untouched, pair.roll_out_ticks)
    real = _rest(pair.teacher, untouched, ticks, max(ticks, MOVERS_TICKS))
    made = _rest(pair.world, untouched, ticks, ticks)
    still = ~_widened(real.moved)
    restless = (still & made.moved).sum((1, 2)) / np.maximum(still.sum((1, 2)), 1)
    real_motion, made_motion = real.motion, made.motion
    teacher_moves = float(real_motion.mean()) > MOTION_LEVELS
    ratio = float(made_motion.mean() / real_motion.mean()) if teacher_moves else None
    moves_as_it_should = (
        MOTION_BAND[0] <= ratio <= MOTION_BAND[1]
        if ratio is not None
        else bool(made_motion.mean() <= 5 * MOTION_LEVELS)
    )
    return {
        "sessions": len(seeds), "ticks": ticks, "roll_out_ticks": pair.roll_out_ticks,
        "teacher_motion_levels": round(float(real_motion.mean()), 4),
        "motion_levels": round(float(made_motion.mean()), 4),
        "motion_ratio": None if ratio is None else round(ratio, 4),
        "restless_share": round(float(restless.mean()), 5),
        "still_share": round(float((restless <= MOST_RESTLESS).mean()), 4),
        "crept_px": made.crept_px, "teacher_crept_px": real.crept_px, "moves_as_it_should": moves_as_it_should,
        "film": [np.concatenate(looks) for looks in zip(real.film, made.film, strict=True)],
    }  # fmt: skip


@dataclass(frozen=True)
class Rest:
    """`motion`: mean grey levels between two looks, `(looks, rows)`. `moved`: pixels that ever change, `(rows, height,
    width)`. `film`: some of the looks. `crept_px`: how far each session's player got, None if that is not known.
    """

    motion: NDArray[np.float64]
    moved: NDArray[np.bool_]
    film: list[Frames]
    crept_px: list[float] | None


def _rest(subject: Subject, untouched: HandsOff, ticks: int, watched_ticks: int) -> Rest:
    """The subject goes on. `motion` and `film` are of the first `ticks`, `moved` of all that are watched."""
    motion: list[NDArray[np.float64]] = []
    last = lowest = highest = subject.frames()
    film = [last[:1].copy()]
    begun = ended = subject.poses()
    film_at = set(np.linspace(0, ticks // LOOK_EVERY_TICKS, FILM_PICTURES).astype(int) * LOOK_EVERY_TICKS)
    for tick in range(1, watched_ticks + 1):
        subject.step(untouched.actions(tick))
        if tick % LOOK_EVERY_TICKS:
            continue
        now = subject.frames()
        lowest, highest = np.minimum(lowest, now), np.maximum(highest, now)
        if tick <= ticks:
            motion.append(np.abs(now.astype(np.int16) - last).mean((1, 2, 3)))
            ended = subject.poses()
        if tick in film_at:
            film.append(now[:1].copy())
        last = now
    moved = (highest.astype(np.int16) - lowest).max(-1) > MOVED_LEVELS
    crept = None
    if begun is not None and ended is not None:
        crept = np.linalg.norm(ended[:, :2] - begun[:, :2], axis=1).round(2).tolist()
    return Rest(np.array(motion), moved, film, crept)


def _widened(moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same with everything around it, `WIDEN_PX` to every side."""
    wide = moved.copy()
    for axis in (1, 2):
        before = wide.copy()
        for shift in range(1, WIDEN_PX + 1):
            there, here = np.swapaxes(wide, 0, axis), np.swapaxes(before, 0, axis)
            there[shift:] |= here[:-shift]
            there[:-shift] |= here[shift:]
    return wide


def mash(pair: Pair, bands: Bands, seeds: Sequence[int], ticks: int) -> dict[str, Any]:
    """As `drift`, with everything pressed all the time; `in_band_share`: of the chunks."""
    film: list[Frames] = []
    player = prompted(pair, masher(pair.palette, seeds), seeds, every_ticks=max(ticks // 2, 100))
    rows = [watch.plain for watch in watch_group(pair, seeds, player, ticks, bands, film)]
    found = summary(rows, ticks)
    share = None if found["outside_share"] is None else round(1 - found["outside_share"], 4)
    kept = ("sessions", "ticks", "survived", "median_ticks_to_failure", "failed_at", "reasons")
    return {**{name: found[name] for name in kept}, "in_band_share": share, "film": film}
