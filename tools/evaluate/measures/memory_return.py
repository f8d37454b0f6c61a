"""Memory: a view is left and comes back. Is what comes back what was there?

Retrieval@1: of many of the teacher's views, is the true one the nearest to what the world shows? Blur flatters PSNR but
not this. Split by whether the view was out of sight for no longer than the world can see back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....runtime.core import Frame
from ....worlds.evaluation.players import Key, Palette, Player, Tape, keys_of, pressed
from ....worlds.evaluation.subjects import Frames, Pair, Return, Subject, play
from .open_loop import psnr

SAME_LEVELS = 0.05
"""Views of the teacher that differ by less than this, in mean grey levels, are the same view."""
LEAST_AWAY_LEVELS = 4.0
"""Those that differ by more, in the middle of a trip, show that it was left."""
MOST_LEFT_SHARE = 0.35
"""And a view has come back when so much of that difference at most is left: other things may have moved."""
FIRST_SEED = 200_000


@dataclass(frozen=True)
class Found:
    """How a return went: its rank among the candidates (0: the nearest), their number, the error on 0..1 squared."""

    rank: int
    candidates: int
    error: float


def found(case: Return) -> Found:
    errors = [_error(case.shown, other) for other in case.others if _apart(case.true, other)]
    own = _error(case.shown, case.true)
    return Found(sum(error <= own for error in errors), 1 + len(errors), own)


def _error(a: Frame, b: Frame) -> float:
    return float(np.square((a.astype(np.float32) - b) / 255).mean())


def _apart(a: Frame, b: Frame) -> bool:
    return float(np.abs(a.astype(np.int16) - b).mean()) > SAME_LEVELS


def memory_return(pair: Pair, quick: bool) -> dict[str, Any]:
    """The pair's own returns, and there and back along every axis whose teacher really comes back."""
    cases = list(pair.returns(pair, quick)) if pair.returns else []
    notes: list[str] = []
    if pair.returns is None:
        cases, notes = there_and_back(pair, quick)
    sections = {
        name: score([case for case in cases if case.inside == inside])
        for name, inside in (("inside", True), ("beyond", False))
    }
    film = [np.stack([case.true, case.shown]) for case in cases[:6]]
    return {**sections, "window_ticks": pair.window_ticks, "notes": notes, "film": film}


def score(cases: Sequence[Return]) -> dict[str, Any] | None:
    """None without a case: nothing was measured."""
    results = [found(case) for case in cases]
    cases, results = _askable(cases, results)
    if not results:
        return None
    hits = np.array([r.rank == 0 for r in results])
    return {
        "returns": len(results), "kinds": _by_kind(cases, results),
        "away_ticks_median": float(np.median([case.away_ticks for case in cases])),
        "retrieval_at_1": round(float(hits.mean()), 4),
        "standard_error": round(float(np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))), 4),
        "chance": round(float(np.mean([1 / r.candidates for r in results])), 4),
        "candidates_mean": round(float(np.mean([r.candidates for r in results])), 1),
        "psnr_db": psnr([(sum(r.error for r in results), len(results))])[0],
    }  # fmt: skip


def _askable(cases: Sequence[Return], results: Sequence[Found]) -> tuple[list[Return], list[Found]]:
    """Those with another view to take it for."""
    kept = [k for k, result in enumerate(results) if result.candidates > 1]
    return [cases[k] for k in kept], [results[k] for k in kept]


def _by_kind(cases: Sequence[Return], results: Sequence[Found]) -> dict[str, dict[str, float]]:
    rows: dict[str, list[bool]] = {}
    for case, result in zip(cases, results, strict=True):
        rows.setdefault(case.kind, []).append(result.rank == 0)
    return {
        kind: {"returns": len(hits), "retrieval_at_1": round(float(np.mean(hits)), 4)} for kind, hits in rows.items()
    }


# --- there and back -----------------------------------------------------------------------------------------------


def there_and_back(pair: Pair, quick: bool) -> tuple[list[Return], list[str]]:
    """For every axis with two directions: out one way for n ticks, and the same way back."""
    window = pair.window_ticks or 16
    cases: list[Return] = []
    notes: list[str] = []
    seeds = [FIRST_SEED + k for k in range(4 if quick else 16)]
    for key in _turning(pair.palette):
        for away in sorted({max(2, round(window * part)) for part in (0.5, 1, 2, 4)}):
            trips = list(_trips(pair, key, max(1, away // 2), seeds))
            cases += trips
            if not trips:
                notes.append(f"{key.name}: the teacher does not come back after {away} ticks")
    if not cases:
        notes.append("no way to leave a view and come back was found: memory was not measured")
    return cases, notes


def _turning(palette: Palette) -> list[Key]:
    keys = keys_of(palette)
    return [key for key in keys if key.sign == 1 and Key(key.control, -1) in keys]


def _trips(pair: Pair, key: Key, half_ticks: int, seeds: Sequence[int]) -> Iterator[Return]:
    out, back = (pressed(pair.palette.base, Key(key.control, sign), 1.0) for sign in (1, -1))
    rows = len(seeds)
    player = Tape([[out] * rows] * half_ticks + [[back] * rows] * half_ticks)
    real, made = (_looks(subject, seeds, player, 2 * half_ticks) for subject in (pair.teacher, pair.world))
    views = np.concatenate([*real[:: max(1, half_ticks // 8)]])
    for row in range(rows):
        start, end, middle = real[0][row], real[-1][row], real[half_ticks][row]
        away = _levels(start, middle)
        if away < LEAST_AWAY_LEVELS or _levels(start, end) > MOST_LEFT_SHARE * away:
            continue
        yield Return(f"{key.control} there and back", made[-1][row], end, views, 2 * half_ticks, pair.window_ticks)


def _levels(a: Frame, b: Frame) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def _looks(subject: Subject, seeds: Sequence[int], player: Player, ticks: int) -> list[Frames]:
    looks: list[Frames] = []
    play(subject, seeds, player, ticks, lambda _: looks.append(subject.frames()))
    return looks
