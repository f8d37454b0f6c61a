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

from ...evaluation.card import gate_tables, next_frame_table, rows_of
from ...evaluation.gates import DYNAMICS, FILM_COLUMNS, RENDERER, Gate, judged_all, print_head, write_report
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
    "next_frame_below_ceiling_db": Gate("<=", 2.0, DYNAMICS, "next frame below the tokenizer's ceiling, dB"),
    "moving_gain_over_copy_last_db": Gate(">=", 6.0, DYNAMICS, "moving pixels better than copy-last, dB"),
    "true_actions_beat_others_db": Gate(">=", 1.0, DYNAMICS, "around the car, true steering better than another's, dB"),
    "rungs_never_fall_by_db": Gate("<=", 0.05, DYNAMICS, "largest fall from one rung to the next on moving pixels, dB"),
    "edge_energy_at_300": Gate(
        ">=",
        0.8,
        RENDERER,
        "free running, tick 300: edge energy of the simulator's picture of the dreamt cars (worst tenth)",
    ),
    "edge_energy_at_1000": Gate(">=", 0.8, RENDERER, "tick 1,000: the same"),
    "one_player_at_300": Gate(
        ">=", 30 / 32, DYNAMICS, "tick 300: exactly one player's car, or hidden under a roof (share of 32)"
    ),
    "one_player_at_1000": Gate(
        ">=", 30 / 32, DYNAMICS, "tick 1,000: exactly one player's car, or hidden under a roof (share of 32)"
    ),
    "colour_in_band_at_300": Gate(
        ">=", 30 / 32, DYNAMICS, "tick 300: colour and contrast in the real band (share of 32)"
    ),
    "colour_in_band_at_1000": Gate(
        ">=", 30 / 32, DYNAMICS, "tick 1,000: colour and contrast in the real band (share of 32)"
    ),
    "steering_correlation": Gate(">=", 0.95, DYNAMICS, "turn per steering input against the simulator, correlation"),
    "tunnel_on_time": Gate(">=", 0.95, DYNAMICS, "back from under a roof within 2 ticks of the true time (share)"),
    "deep_in_walls_when_careless": Gate(
        "<=", 0.01, DYNAMICS, "driven without looking: more than 2 px deep in a wall (share of ticks)"
    ),
    "idle_drift_px": Gate("<=", 1.0, DYNAMICS, "hands off for 12 s at rest: farthest any car moved, px"),
    "weather_in_next_frame": Gate(">=", 0.95, DYNAMICS, "weather switch visible in the very next frame (share)"),
    "key_flip_in_next_frame": Gate(">=", 0.95, DYNAMICS, "key flip visible in the very next frame (share)"),
}


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
        "gates": judged_all(numbers, GATES),
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
    print_head(report, console)
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


def card(report: dict[str, Any]) -> str:
    lines = [*gate_tables(report, GATES), *next_frame_table(report["next_frame"])]
    lines += ["", "Back from under a roof on time, by denoise steps and by remembered frames:", ""]
    lines += rows_of(
        ("denoise steps", "on time"),
        [(steps, f"{row['on_time']:.2f}") for steps, row in report["tunnels_by_steps"].items()],
    )
    memory = [
        (window, f"{row['moving_psnr_db']:.2f}", f"{row['tunnel_on_time']:.2f}")
        for window, row in report.get("memory", {}).items()
    ]
    return "\n".join([*lines, "", *rows_of(("remembered frames", "moving pixels, dB", "on time"), memory)])
