"""Open loop: the world and its teacher from the same start under the same actions; how long do they agree?

PSNR by tick, on all pixels and on those where the teacher's picture has changed since the start, against a copy of the
start and against the world under another session's actions. Two true runs would part too where the future is a chance,
so this measures divergence as much as quality: read it together with drift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Action
from ....worlds.evaluation.players import Player, Recorder
from ....worlds.evaluation.subjects import Frames, Pair, play

MOVED_LEVELS = 8
SHOWN = (1, 2, 4, 8, 16, 32, 48, 64)


def open_loop(pair: Pair, seeds: Sequence[int], ticks: int) -> dict[str, Any]:
    """PSNR(t) in dB for t = 1..ticks, pooled over the seeds; `film`: pairs of pictures of the first seed."""
    recorder = Recorder(pair.player(pair.teacher, seeds))
    film: list[Frames] = []
    true = _compare(pair, seeds, ticks, recorder, recorder.again, film)
    tape = recorder.tape
    other = _compare(pair, seeds, ticks, tape, tape.shuffled().actions, [])
    curves = {
        "psnr_db": psnr(true["world"]), "moved_psnr_db": psnr(true["world_moved"]),
        "copy_start_psnr_db": psnr(true["copy"]), "copy_start_moved_psnr_db": psnr(true["copy_moved"]),
        "other_actions_psnr_db": psnr(other["world"]), "other_actions_moved_psnr_db": psnr(other["world_moved"]),
    }  # fmt: skip
    return {
        "seeds": len(seeds), "ticks": ticks,
        "ticks_above_copy_start": above(curves["psnr_db"], curves["copy_start_psnr_db"]),
        "ticks_moved_above_copy_start": above(curves["moved_psnr_db"], curves["copy_start_moved_psnr_db"]),
        "mean_gain_over_other_actions_db": _mean_gap(curves["moved_psnr_db"], curves["other_actions_moved_psnr_db"]),
        "at": {str(t): {name: curve[t - 1] for name, curve in curves.items()} for t in SHOWN if t <= ticks},
        "curves": curves, "film": film,
    }  # fmt: skip


def _compare(  # noqa: PLR0917 - two subjects, who plays each, and where the pictures go
    pair: Pair,
    seeds: Sequence[int],
    ticks: int,
    lead: Player,
    follow: Callable[[int], list[Action]],
    film: list[Frames],
) -> dict[str, list[tuple[float, float]]]:
    """Squared errors and how many pixels they are of, by tick. Teacher and world go in step, so no film is kept."""
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in ("world", "world_moved", "copy", "copy_moved")}
    pair.world.start(seeds)
    start: list[Frames] = []

    def see(tick: int) -> None:
        if tick == 0:
            start.append(pair.teacher.frames())
            return
        pair.world.step(follow(tick - 1))
        real, made = pair.teacher.frames(), pair.world.frames()
        moved = np.abs(real.astype(np.int16) - start[0]).max(-1) > MOVED_LEVELS
        for name, picture in (("world", made), ("copy", start[0])):
            error = np.square((picture.astype(np.float32) - real) / 255).mean(-1)
            errors[name].append((float(error.sum()), float(error.size)))
            errors[f"{name}_moved"].append((float(error[moved].sum()), float(moved.sum())))
        if tick in SHOWN:
            film.append(np.stack([real[0], made[0]]))

    play(pair.teacher, seeds, lead, ticks, see)
    return errors


def psnr(errors: Sequence[tuple[float, float]]) -> list[float | None]:
    """Pooled PSNR by tick in dB, 100 at most; None where no pixel was to be compared."""
    return [
        None if count == 0 else round(-10 * float(np.log10(max(total / count, 1e-10))), 3) for total, count in errors
    ]


def above(curve: Sequence[float | None], other: Sequence[float | None]) -> int:
    """For how many ticks from the start on the first curve is above the second, without a break."""
    for tick, (a, b) in enumerate(zip(curve, other, strict=True)):
        if a is not None and b is not None and a <= b:
            return tick
    return len(curve)


def _mean_gap(curve: Sequence[float | None], other: Sequence[float | None]) -> float | None:
    gaps: NDArray[np.float64] = np.array(
        [a - b for a, b in zip(curve, other, strict=True) if a is not None and b is not None]
    )
    return round(float(gaps.mean()), 3) if len(gaps) else None
