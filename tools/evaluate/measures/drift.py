"""Drift: a world plays for 10,000 ticks on its own pictures. When do they stop being like the teacher's?

The measure is time to failure. A session has failed from the first of three chunks in a row that have a statistic out
of the teacher's band, or a thing lost that must be there. Its prompt changes every 500 ticks. Sessions are done in
groups, and what is done is kept beside the report, so a long run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError
from ....worlds.evaluation.players import Player, Prompted
from ....worlds.evaluation.subjects import Frames, Pair, play
from .bands import CHUNK_TICKS, SETTLE_TICKS, STATISTICS, Bands, free_player, statistics

FAILED_CHUNKS = 3
PROMPT_EVERY_TICKS = 500
GROUP_ROWS = 8
FIRST_SEED = 120_000
LOST = "lost"
FILM_PICTURES = 12


@dataclass
class Watch:
    """One session as it goes on: where its present run of bad chunks began, and what was out of the band in it."""

    bad_since: int | None = None
    bad_chunks: int = 0
    reasons: list[str] = field(default_factory=list)
    failed_at: int | None = None
    edges: list[float] = field(default_factory=list)
    judged: int = 0
    outside: int = 0

    def take(self, tick: int, outside: Sequence[str], edges: float) -> None:
        """A judged chunk that ended at `tick`."""
        self.edges.append(round(edges, 4))
        self.judged += 1
        self.outside += bool(outside)
        if self.failed_at is not None:
            return
        if not outside:
            self.bad_since, self.bad_chunks, self.reasons = None, 0, []
            return
        if self.bad_since is None:
            self.bad_since = tick - CHUNK_TICKS
        self.bad_chunks += 1
        self.reasons += [name for name in outside if name not in self.reasons]
        if self.bad_chunks >= FAILED_CHUNKS:
            self.failed_at = self.bad_since

    def skip(self) -> None:
        """A chunk that is not judged: the prompt has just changed. A run of bad ones does not go through it."""
        if self.failed_at is None:
            self.bad_since, self.bad_chunks, self.reasons = None, 0, []

    @property
    def plain(self) -> dict[str, Any]:
        return {
            "failed_at": self.failed_at, "reasons": self.reasons if self.failed_at is not None else [],
            "judged_chunks": self.judged, "outside_chunks": self.outside, "edges": self.edges,
        }  # fmt: skip


def watch_group(  # noqa: PLR0917 - a run: of whom, by whom, how long, against what, and the film
    pair: Pair, seeds: Sequence[int], player: Prompted, ticks: int, bands: Bands, film: list[Frames] | None = None
) -> list[Watch]:
    """Play the world and judge every chunk. `film` gets pictures of the first session."""
    watches = [Watch() for _ in seeds]
    before: list[Frames] = []
    film_at = {round(ticks * k / FILM_PICTURES / CHUNK_TICKS) * CHUNK_TICKS for k in range(1, FILM_PICTURES + 1)}

    def see(tick: int) -> None:
        phase = tick % CHUNK_TICKS
        if phase == CHUNK_TICKS - 1:
            before[:] = [pair.world.frames()]
        if phase or tick == 0:
            return
        now = pair.world.frames()
        if film is not None and tick in film_at:
            film.append(now[:1])
        found, lost = statistics(before[0], now), pair.world.lost()
        for row, watch in enumerate(watches):
            if (tick - 1) % player.every_ticks < SETTLE_TICKS:
                watch.skip()
                continue
            mood = player.mood(row, tick - 1)
            outside = [] if pair.place_decides else bands.outside(found[row], mood)
            outside += [LOST] if lost[row] else []
            watch.take(tick, outside, found[row][STATISTICS.index("edges")] / bands.middle(mood, "edges"))

    play(pair.world, seeds, player, ticks, see)
    return watches


def prompted(pair: Pair, player: Player, seeds: Sequence[int], every_ticks: int = PROMPT_EVERY_TICKS) -> Prompted:
    """Every session goes through all prompts, in an order of its own."""
    moods = pair.palette.moods()
    orders = [np.random.Generator(np.random.Philox(key=[seed, 5])).permutation(len(moods)) for seed in seeds]
    return Prompted(player, [[moods[k] for k in order] for order in orders], every_ticks)


def drift(
    pair: Pair, bands: Bands, sessions: int, ticks: int, *, kept: Path | None = None, identity: str = ""
) -> dict[str, Any]:
    """Time to failure over the sessions. `kept`: where finished groups are written, and read if they are of the same
    `identity`, which says what is measured (weights and length). NextframeError: it cannot be read or written."""
    identity = f"{identity} {pair.name} {ticks} ticks, groups of {GROUP_ROWS}"
    done = _load(kept, identity)
    film: list[Frames] = []
    for first in range(0, sessions, GROUP_ROWS):
        seeds = [FIRST_SEED + k for k in range(first, min(first + GROUP_ROWS, sessions))]
        if str(seeds) in done:
            continue
        player = prompted(pair, free_player(pair, pair.world, seeds), seeds)
        watches = watch_group(pair, seeds, player, ticks, bands, film if first == 0 else None)
        done[str(seeds)] = [watch.plain for watch in watches]
        _save(kept, identity, done)
    rows = [row for group in done.values() for row in group][:sessions]
    return summary(rows, ticks) | {"film": film}


def summary(rows: Sequence[dict[str, Any]], ticks: int) -> dict[str, Any]:
    """`median_ticks_to_failure` is None when more than half of the sessions never fail: it is then above `ticks`."""
    times = sorted(row["failed_at"] if row["failed_at"] is not None else np.inf for row in rows)
    median = float(np.median(times))
    reasons: dict[str, int] = {}
    for row in rows:
        for name in row["reasons"]:
            reasons[name] = reasons.get(name, 0) + 1
    judged = sum(row["judged_chunks"] for row in rows)
    return {
        "sessions": len(rows), "ticks": ticks, "survived": sum(row["failed_at"] is None for row in rows),
        "median_ticks_to_failure": median if np.isfinite(median) else None,
        "first_failure_tick": None if not np.isfinite(times[0]) else times[0],
        "failed_at": [row["failed_at"] for row in rows], "reasons": reasons,
        "outside_share": round(sum(row["outside_chunks"] for row in rows) / judged, 4) if judged else None,
        "chunk_ticks": CHUNK_TICKS, "edge_energy": _edge_curve([row["edges"] for row in rows]),
    }  # fmt: skip


def _edge_curve(edges: Sequence[Sequence[float]], points: int = 60) -> dict[str, list[float]]:
    """Edge energy over the middle of the teacher's band, over the session: lowest tenth, median, highest tenth."""
    if not edges or not edges[0]:
        return {"low": [], "median": [], "high": []}
    table: NDArray[np.float64] = np.array(edges)
    parts = np.array_split(table, min(points, table.shape[1]), axis=1)
    low, median, high = ([round(float(np.quantile(part, share)), 4) for part in parts] for share in (0.1, 0.5, 0.9))
    return {"low": low, "median": median, "high": high}


def _load(kept: Path | None, identity: str) -> dict[str, list[dict[str, Any]]]:
    if kept is None or not kept.exists():
        return {}
    try:
        stored = json.loads(kept.read_text(encoding="utf-8"))
        same = stored["identity"] == identity
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NextframeError(
            f"{kept}: expected the finished part of an evaluation, got {error!r}; delete it"
        ) from error
    return dict(stored["groups"]) if same else {}


def _save(kept: Path | None, identity: str, done: dict[str, list[dict[str, Any]]]) -> None:
    if kept is None:
        return
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"identity": identity, "groups": done}), encoding="utf-8")
    except OSError as error:
        raise NextframeError(f"{kept}: expected a place for the finished part: {error.strerror}") from error
