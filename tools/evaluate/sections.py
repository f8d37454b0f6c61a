"""All measures of a pair, in one go: the sections of the report, their gates, and the pictures for the page.

A gate without a number is not met and not missed: it was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from ...worlds.evaluation.gates import judged, print_gates
from ...worlds.evaluation.subjects import Frames, Pair
from .measures.at_rest import idle, mash
from .measures.bands import real_bands
from .measures.drift import drift
from .measures.following import FULL as FULL_EFFORT
from .measures.following import QUICK as QUICK_EFFORT
from .measures.following import Effort, following
from .measures.latency import latency
from .measures.memory_return import memory_return
from .measures.open_loop import open_loop

Sections: TypeAlias = dict[str, dict[str, Any]]
Films: TypeAlias = dict[str, list[Frames]]
NAMES = ("open_loop", "following", "latency", "drift", "memory_return", "idle", "mash")


@dataclass(frozen=True)
class Sizes:
    """How much of everything: sessions, and ticks of each."""

    open_sessions: int = 32
    open_ticks: int = 64
    effort: Effort = FULL_EFFORT
    moments: int = 24
    band_sessions: int = 8
    band_ticks: int = 480
    drift_sessions: int = 32
    drift_ticks: int = 10_000
    idle_sessions: int = 12
    idle_ticks: int = 400
    mash_sessions: int = 12
    mash_ticks: int = 2_000


FULL = Sizes()
QUICK = Sizes(8, 48, QUICK_EFFORT, 6, 4, 240, 4, 1_000, 4, 120, 4, 400)

GATES: Mapping[str, tuple[str, str, float]] = {
    "ticks_above_copy_start": ("open_loop", ">=", 48),
    "follows_keys_f1": ("following", ">=", 0.9),
    "follows_axes_correlation": ("following", ">=", 0.9),
    "controls_answered": ("latency", ">=", 0.95),
    "frames_later_than_teacher": ("latency", "<=", 0.25),
    "sessions_without_failure": ("drift", ">=", 30 / 32),
    "memory_inside_window": ("memory_return", ">=", 0.8),
    "idle_stays_still": ("idle", ">=", 0.95),
    "idle_moves_as_it_should": ("idle", ">=", 1.0),
    "mash_in_band": ("mash", ">=", 0.95),
}
"""Name: the section it is of, and its bound."""


def evaluate_pair(
    pair: Pair,
    sizes: Sizes,
    *,
    kept: Path | None = None,
    identity: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Sections, Films]:
    """Every section, and the pictures of those that have some. `kept`, `identity`: see
    `nextframe.tools.evaluate.measures.drift`."""
    sections: Sections = {}
    films: Films = {}

    def take(name: str, found: dict[str, Any]) -> None:
        films[name] = found.pop("film", [])
        sections[name] = found

    say("open loop")
    take("open_loop", open_loop(pair, _seeds(10_000, sizes.open_sessions), sizes.open_ticks))
    say("action following")
    take("following", following(pair, sizes.effort))
    say("response latency")
    take("latency", latency(pair, _seeds(20_000, sizes.moments)))
    say("the teacher's bands")
    bands = real_bands(pair, sizes.band_sessions, sizes.band_ticks)
    say(f"drift, {sizes.drift_sessions} sessions of {sizes.drift_ticks:,} ticks")
    take("drift", drift(pair, bands, sizes.drift_sessions, sizes.drift_ticks, kept=kept, identity=identity))
    say("memory")
    take("memory_return", memory_return(pair, sizes is not FULL))
    say("idle and mash")
    take("idle", idle(pair, _seeds(30_000, sizes.idle_sessions), sizes.idle_ticks))
    take("mash", mash(pair, bands, _seeds(35_000, sizes.mash_sessions), sizes.mash_ticks))
    return sections, films


def _seeds(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


def gate_values(sections: Mapping[str, Any]) -> dict[str, float | None]:
    follow, latency_, drift_ = sections["following"], sections["latency"], sections["drift"]
    inside = sections["memory_return"]["inside"]
    return {
        "ticks_above_copy_start": sections["open_loop"]["ticks_above_copy_start"],
        "follows_keys_f1": _worst(follow["keys"], "f1"),
        "follows_axes_correlation": _worst(follow["axes"], "correlation"),
        "controls_answered": latency_["answered_share"],
        "frames_later_than_teacher": latency_["excess_frames_mean"],
        "sessions_without_failure": round(drift_["survived"] / drift_["sessions"], 4),
        "memory_inside_window": None if inside is None else inside["retrieval_at_1"],
        "idle_stays_still": sections["idle"]["still_share"],
        "idle_moves_as_it_should": float(sections["idle"]["moves_as_it_should"]),
        "mash_in_band": sections["mash"]["in_band_share"],
    }  # fmt: skip


def _worst(rows: Mapping[str, Any], name: str) -> float | None:
    """The lowest among the controls that can be judged; 0 for one that the reader is never sure of in the world."""
    found = [row["world"][name] or 0.0 for row in rows.values() if row["judged"]]
    return min(found) if found else None


def gates(sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`met` is None where there is no number."""
    table = {}
    for name, value in gate_values(sections).items():
        section, sign, bound = GATES[name]
        table[name] = {"section": section, **judged(value, sign, bound)}
    return table


def print_sections(report: Mapping[str, Any]) -> None:
    """The full gates as a table, then what a judge refused."""
    console = Console()
    title = f"{report['world']}: the full evaluation{' (quick)' if report['quick'] else ''}"
    print_gates(title, report["full_gates"], console)
    for line in refusals(report["following"]):
        console.print(line)


def refusals(section: Mapping[str, Any]) -> Sequence[str]:
    """A line for each control that has no judge."""
    return [
        f"{kind} {name}: not judged, the reader {row['refused']}"
        for kind, rows in (("key", section["keys"]), ("axis", section["axes"]))
        for name, row in rows.items()
        if not row["judged"]
    ]
