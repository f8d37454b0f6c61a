"""`nextframe eval freedoom`: is the dreamt keep as sharp, as steerable, as lasting and as much the same as the game's?

Every number comes from walks that were never trained on, and is set against the game itself (ViZDoom) under the same
actions, or at the same place. Histories are the game's own poses as latents; how well the tokenizer reads a frame is a
figure of its own. The gates and their bounds are in `GATES`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ....model.tokenizers.scenes.place_view import POSITION_SCALE_UNITS
from ...evaluation.gates import judged, print_gates, write_report, write_strip
from ...evaluation.measures import Image, edge_energy, psnr_db, squared_error, ssim, visible_change
from ...recipe.rollout import denoised, pictures
from .. import world as keep
from ..recipe.walks import CONDITION_DIM, HELD_OUT_SEED, Players, condition, in_walls
from ..teacher.script import looks
from .bench import PAST_TICKS, KeepBench, bench_of, told
from .place import Frames, staying, turn_around, turning
from .returns import SHOWN_PX, away_and_back, lamps_remembered

LADDER = (1, 2, 4)
STRIP = Path("out/freedoom_strip.png")
SETTLED_TICKS, IDLE_TICKS = 30, 175
DEEP_UNITS = 2.0
"""Further inside a wall than this shows."""

GATES = {
    "next_frame_below_ceiling_db": ("<=", 1.0),
    "gain_over_copy_last_db": (">=", 4.0),
    "true_actions_beat_others_db": (">=", 1.0),
    "rungs_never_fall_by_db": ("<=", 0.05),
    "edge_energy_at_300": (">=", 0.5), "edge_energy_at_10000": (">=", 0.5),
    "agrees_with_its_own_pose_db_at_300": (">=", 20.0), "agrees_with_its_own_pose_db_at_10000": (">=", 20.0),
    "turning_gain_at_300": (">=", 0.9), "turning_correlation_at_300": (">=", 0.95),
    "retrieval_inside_window": (">=", 0.95), "retrieval_beyond_window": (">=", 0.95),
    "same_place_after_going_away": (">=", 0.95),
    "lamp_in_next_frame": (">=", 0.95), "lamp_remembered_when_back": (">=", 0.95),
    "in_walls": ("<=", 0.01),
    "idle_drift_units": ("<=", 1.0), "idle_turn_degrees": ("<=", 0.5),
    "key_flip_in_next_frame": (">=", 0.95),
}  # fmt: skip


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure everything; `quick` takes a quarter of the samples. Writes JSON to `out` if given. NextframeError without
    the game."""
    rows, long = (4, 1000) if quick else (16, 10_000)

    def strip(real: Frames, made: Frames) -> None:
        if out is not None:
            write_strip(STRIP, real, made)

    with torch.inference_mode(), bench_of(folder, rows) as bench:
        forced = next_frame(bench, rows, 8 if quick else 24)
        free, film = free_run(bench, rows, (300, long))
        turns = {str(after): turning(bench, after) for after in (0, 100, 300)}
        around = [turn_around(bench, n) for n in (3, 12, 23, 45)]
        stays = staying(bench, 100 if quick else 300, strip)
        same = away_and_back(bench, rows * 2)
        lamps = lamps_remembered(bench, 1 if quick else 3)
        still = idle(bench, rows * 3)
        flips = key_flips(bench, rows * 6)
        read = reading(bench, rows * 4)
    rungs = [forced["psnr_db"][f"steps_{k}"] for k in LADDER]
    first, last = free["300"], free[str(long)]
    numbers = {
        "next_frame_below_ceiling_db": forced["psnr_db"]["ceiling"] - rungs[-1],
        "gain_over_copy_last_db": rungs[-1] - forced["psnr_db"]["copy_last"],
        "true_actions_beat_others_db": forced["other_actions"]["gain_db"],
        "rungs_never_fall_by_db": max(a - b for a, b in pairwise(rungs)),
        "edge_energy_at_300": first["edge_energy_worst_tenth"],
        "edge_energy_at_10000": last["edge_energy_worst_tenth"],
        "agrees_with_its_own_pose_db_at_300": first["psnr_to_own_pose_db"],
        "agrees_with_its_own_pose_db_at_10000": last["psnr_to_own_pose_db"],
        "turning_gain_at_300": turns["300"]["gain"], "turning_correlation_at_300": turns["300"]["correlation"],
        "retrieval_inside_window": around[0]["retrieval_at_1"],
        "retrieval_beyond_window": min(part["retrieval_at_1"] for part in around[1:]),
        "same_place_after_going_away": same["retrieval_at_1"],
        "lamp_in_next_frame": lamps["in_next_frame"], "lamp_remembered_when_back": lamps["remembered"],
        "in_walls": max(part["in_walls"] for part in free.values()),
        **still, "key_flip_in_next_frame": flips,
    }  # fmt: skip
    report: dict[str, Any] = {
        "schema": "nextframe.eval/1", "world": "freedoom", "quick": quick,
        "weights_sha256": keep.weights_sha256(folder),
        "next_frame": forced, "free_run": free, "turning": turns, "turn_around": around, "staying": stays,
        "away_and_back": same, "lamps": lamps, "reading": read,
        "gates": {name: judged(value, *GATES[name]) for name, value in numbers.items()},
    }  # fmt: skip
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        write_report(out, report, film)
    return report


# --- one frame ahead ------------------------------------------------------------------------------------------------


def next_frame(bench: KeepBench, rows: int, ticks: int) -> dict[str, Any]:
    """Pooled PSNR of the next frame after true histories, per rung, beside copy-last and the tokenizer alone."""
    players = Players(rows, np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 500)))
    given = torch.from_numpy(np.stack([condition(players.steps()) for _ in range(PAST_TICKS + ticks)], 1))
    frames, latents = bench.played(given.numpy(), bench.starts(rows, 500))
    generator = bench.generator(rows)
    generator.prefill(latents[:, :PAST_TICKS], given[:, :PAST_TICKS])
    errors: dict[str, list[float]] = {name: [] for name in ("copy_last", "ceiling", *(f"steps_{k}" for k in LADDER))}
    alike: dict[str, list[float]] = {name: [] for name in errors}
    gains = []
    for t in range(PAST_TICKS, PAST_TICKS + ticks):
        truth, last = list(frames[:, t].numpy()), list(frames[:, t - 1].numpy())
        made = {f"steps_{k}": pictures(generator, denoised(generator, given[:, t], k)) for k in LADDER}
        made |= {"copy_last": last, "ceiling": pictures(generator, latents[:, t])}
        for name, drawn in made.items():
            errors[name] += [float(squared_error(a, b).mean()) for a, b in zip(drawn, truth, strict=True)]
            alike[name] += [ssim(a, b) for a, b in zip(drawn, truth, strict=True)]
        other = given[:, t].clone()
        other[:, 0] = torch.where(other[:, 0] > 0, -1.0, 1.0)
        wrong = pictures(generator, denoised(generator, other))
        gains += [
            psnr_db(squared_error(a, b)) - psnr_db(squared_error(c, b))
            for a, b, c in zip(made[f"steps_{LADDER[-1]}"], truth, wrong, strict=True)
        ]
        generator.commit(latents[:, t], given[:, t])
    pairs = zip(errors["ceiling"], errors[f"steps_{LADDER[-1]}"], strict=True)
    below = np.array([psnr_db(np.array(alone)) - psnr_db(np.array(made)) for alone, made in pairs])
    return {
        "frames": len(gains),
        "psnr_db": {name: psnr_db(np.array(values)) for name, values in errors.items()},
        "ssim": {name: float(np.mean(values)) for name, values in alike.items()},
        "below_ceiling_db": {"median": float(np.median(below)), "share_within_1_db": float((below <= 1).mean())},
        "other_actions": {"gain_db": float(np.mean(gains)), "true_wins": float(np.mean(np.array(gains) > 0))},
    }


# --- free walks -----------------------------------------------------------------------------------------------------


def free_run(bench: KeepBench, rows: int, asks: tuple[int, int]) -> tuple[dict[str, Any], list[Image]]:
    """Pictures after long free walks against the game's pictures from the same places; and whether anybody is in a
    wall."""
    generator = bench.dreaming(bench.starts(rows, 900))
    players = Players(rows, np.random.Generator(np.random.Philox(key=HELD_OUT_SEED)))
    found: dict[str, Any] = {}
    film: list[Image] = []
    deep: list[float] = []
    for tick in range(1, asks[-1] + 1):
        given = torch.from_numpy(condition(players.steps()))
        generator.commit(denoised(generator, given, 2), given)
        deep.append(in_walls(bench.walk, generator.last, DEEP_UNITS))
        if tick % (asks[-1] // 12) == 0:
            film += [pictures(generator, generator.last[:1])[0], bench.shown_at(generator.last[:1])[0]]
        if tick in asks:
            made, truth = pictures(generator, generator.last), bench.shown_at(generator.last)
            edges = [edge_energy(a) / edge_energy(b) for a, b in zip(made, truth, strict=True)]
            errors = np.array([float(squared_error(a, b).mean()) for a, b in zip(made, truth, strict=True)])
            found[str(tick)] = {
                "edge_energy": float(np.mean(edges)), "edge_energy_worst_tenth": float(np.quantile(edges, 0.1)),
                "psnr_to_own_pose_db": psnr_db(errors), "in_walls": float(np.mean(deep)),
            }  # fmt: skip
    return found, film


def idle(bench: KeepBench, rows: int) -> dict[str, float]:
    """Let go in the middle of a walk: how far does anybody still move in ten seconds, once they stand?"""
    generator = bench.dreaming(bench.starts(rows, 3000))
    players = Players(rows, np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 3)))
    for _ in range(20):
        given = torch.from_numpy(condition(players.steps()))
        generator.commit(denoised(generator, given, 2), given)
    nothing, began = torch.zeros(rows, CONDITION_DIM), generator.last
    for tick in range(SETTLED_TICKS + IDLE_TICKS):
        if tick == SETTLED_TICKS:
            began = generator.last
        generator.commit(denoised(generator, nothing, 2), nothing)
    moved = (generator.last - began).numpy()
    turned = np.degrees(np.hypot(moved[:, -4], moved[:, -3]))
    away = np.hypot(moved[:, -6], moved[:, -5]) * POSITION_SCALE_UNITS
    return {"idle_drift_units": float(away.max()), "idle_turn_degrees": float(turned.max())}


def key_flips(bench: KeepBench, rows: int) -> float:
    """Twins that differ in one look of the coming tick: does the very next picture show it?"""
    generator = bench.dreaming(bench.starts(rows, 4000))
    shown = [
        pictures(generator, denoised(generator, torch.from_numpy(told(np.repeat(looks([value]), rows, 0))), 1))
        for value in (-1.0, 1.0)
    ]
    return float(np.mean([visible_change(a, b) >= SHOWN_PX for a, b in zip(*shown, strict=True)]))


def reading(bench: KeepBench, rows: int) -> dict[str, float]:
    """How far off the tokenizer reads a picture's place (units) and heading (degrees), medians."""
    tokenizer = bench.generator(1).tokenizer
    latents = torch.from_numpy(keep.latents_of(bench.starts(rows, 5000)))
    read = tokenizer.encode(torch.from_numpy(np.stack(bench.shown_at(latents))))
    wrong = (read - latents)[:, -6:-2]
    return {
        "units": float(wrong[:, :2].norm(dim=-1).median()) * POSITION_SCALE_UNITS,
        "degrees": float(torch.rad2deg(wrong[:, 2:].norm(dim=-1)).median()),
    }


# --- telling ----------------------------------------------------------------------------------------------------------


def print_summary(report: dict[str, Any]) -> None:
    console = Console()
    title = f"freedoom, weights {report['weights_sha256'][:12]}{' (quick)' if report['quick'] else ''}"
    print_gates(title, report["gates"], console)
    console.print("PSNR dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"]["psnr_db"].items()))
    for tick, row in report["free_run"].items():
        console.print(f"after {tick} free ticks: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
    console.print(f"away and back: {report['away_and_back']}; lamps: {report['lamps']}; read: {report['reading']}")
