"""`nextframe eval circuit`: is the dreamt circuit as sharp, as steerable and as lasting as it must be?

Every number comes from episodes that were never trained on, and is set against the simulator. Histories are true
frames read by the tokenizer, not the teacher's own poses. The gates and their bounds are in `GATES`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ...evaluation.gates import FILM_COLUMNS, judged, print_gates, write_report
from .. import world as circuit
from ..teacher.render import Renderer
from ..teacher.simulator import Simulator
from .dreams import Dream, free_run
from .forced import next_frame
from .passages import passages
from .rest import idle_drift_px
from .rig import LADDER, Bench
from .walls import careless_drive

STARTS = 32
FILM_PICTURES = 24

GATES = {
    "next_frame_below_ceiling_db": ("<=", 2.0),
    "moving_gain_over_copy_last_db": (">=", 6.0),
    "true_actions_beat_others_db": (">=", 1.0),
    "rungs_never_fall_by_db": ("<=", 0.05),
    "edge_energy_at_300": (">=", 0.8), "edge_energy_at_1000": (">=", 0.8),
    "one_player_at_300": (">=", 30 / 32), "one_player_at_1000": (">=", 30 / 32),
    "colour_in_band_at_300": (">=", 30 / 32), "colour_in_band_at_1000": (">=", 30 / 32),
    "steering_correlation": (">=", 0.95),
    "tunnel_on_time": (">=", 0.95),
    "deep_in_walls_when_careless": ("<=", 0.01),
    "idle_drift_px": ("<=", 1.0),
    "weather_in_next_frame": (">=", 0.95), "key_flip_in_next_frame": (">=", 0.95),
}  # fmt: skip


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure everything; `quick` takes a quarter of the samples. Writes JSON to `out` if given."""
    bench = Bench(Simulator(), Renderer(), folder)
    rows, ticks = (12, 12) if quick else (STARTS, 48)
    asks = (100, 300) if quick else (300, 1000)
    forced = next_frame(bench, rows, ticks)
    dream = free_run(bench, rows, asks[-1], 4, asks)
    tunnels = passages(bench, 12 if quick else 40)
    ladder = {str(k): passages(bench, 8 if quick else 24, steps=k) for k in LADDER}
    walls = careless_drive(bench, rows, asks[-1])
    numbers = gate_numbers(forced, dream, tunnels, asks) | {
        "deep_in_walls_when_careless": walls["deep_share"],
        "idle_drift_px": idle_drift_px(bench, 12 if quick else 64),
    }
    report: dict[str, Any] = {
        "schema": "nextframe.eval/1", "world": "circuit", "quick": quick,
        "weights_sha256": circuit.weights_sha256(folder),
        "next_frame": forced, "tunnels": tunnels, "tunnels_by_steps": ladder, "careless": walls,
        "free_run": {str(t): summary(rows_at) for t, rows_at in dream.at.items()},
        "counterfactuals": {
            "weather": len(dream.weather_seen), "key_flips": len(dream.flips_seen), "held_turns": len(dream.steering),
        },
        "gates": {name: judged(value, *GATES[name]) for name, value in numbers.items()},
    }  # fmt: skip
    if not quick:
        report["memory"] = {str(w): memory_row(bench, w) for w in (1, 4, 16, 32)}
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        whole = dream.film[: len(dream.film) // FILM_COLUMNS * FILM_COLUMNS]
        write_report(out, report, whole[:: max(1, len(whole) // FILM_PICTURES)][:FILM_PICTURES])
    return report


def memory_row(bench: Bench, window: int) -> dict[str, float]:
    """The same weights with less to remember."""
    forced = next_frame(bench, 12, 24, window, rungs=(2,))
    tunnels = passages(bench, 16, window, steps=2)
    return {"moving_psnr_db": forced["moving_psnr_db"]["steps_2"], "tunnel_on_time": tunnels["on_time"]}


def gate_numbers(
    forced: dict[str, Any], dream: Dream, tunnels: dict[str, Any], asks: tuple[int, ...]
) -> dict[str, float]:
    best = f"steps_{LADDER[-1]}"
    whole, moved = forced["psnr_db"], forced["moving_psnr_db"]
    rungs = [moved[f"steps_{k}"] for k in LADDER]
    turns = np.array(dream.steering)
    numbers = {
        "next_frame_below_ceiling_db": whole["ceiling"] - whole[best],
        "moving_gain_over_copy_last_db": moved[best] - moved["copy_last"],
        "true_actions_beat_others_db": forced["other_steering"]["gain_db"],
        "rungs_never_fall_by_db": max(a - b for a, b in pairwise(rungs)),
    }
    for name, tick in zip(("300", "1000"), asks, strict=True):
        at = summary(dream.at[tick])
        numbers |= {f"{key}_at_{name}": at[key] for key in ("edge_energy", "one_player", "colour_in_band")}
    numbers |= {
        "steering_correlation": float(np.corrcoef(turns.T)[0, 1]) if len(turns) > 2 else 0.0,
        "tunnel_on_time": tunnels["on_time"],
        "weather_in_next_frame": float(np.mean(dream.weather_seen)),
        "key_flip_in_next_frame": float(np.mean(dream.flips_seen)),
    }  # fmt: skip
    return numbers


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means; edge energy by its worst tenth, so that one melted row shows."""
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    means["edge_energy"] = float(np.quantile([row["edge_energy"] for row in rows], 0.1))
    return means


def print_summary(report: dict[str, Any]) -> None:
    console = Console()
    title = f"circuit, weights {report['weights_sha256'][:12]}{' (quick)' if report['quick'] else ''}"
    print_gates(title, report["gates"], console)
    for name, key in (("PSNR", "psnr_db"), ("moving pixels", "moving_psnr_db")):
        console.print(f"{name} dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"][key].items()))
    other = report["next_frame"]["other_steering"]
    console.print(
        f"around the car, where the steering differs: true actions {other['gain_db']:.2f} dB better, "
        f"in {other['true_wins']:.0%} of {other['frames']} frames"
    )
    console.print(f"tunnels: {report['tunnels']}")
    console.print(f"careless driving: {report['careless']}")
    for steps, row in report["tunnels_by_steps"].items():
        console.print(
            f"{steps} steps: on time {row['on_time']:.3f}, "
            f"half transparent near the exit {row['half_transparent_share']:.3f}"
        )
    for window, row in report.get("memory", {}).items():
        console.print(f"memory of {window}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
