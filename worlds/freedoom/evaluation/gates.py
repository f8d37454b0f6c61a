"""`nextframe eval freedoom`: is the dreamt keep as sharp, as steerable, as lasting and as much the same as the game's?

Every number comes from walks that were never trained on, and is set against the game itself (ViZDoom) under the same
actions, or at the same place. Histories are the game's own poses as latents; how well the tokenizer reads a frame is a
figure of its own. The gates and their bounds are in `GATES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from ....model.tokenizers.scenes.place_view import POSITION_SCALE_UNITS
from ...evaluation.card import gate_tables, next_frame_table, rows_of
from ...evaluation.forced import against_teacher, next_frame, next_frame_numbers
from ...evaluation.gates import DYNAMICS, RENDERER, Gate, judged_all, print_head, write_report, write_strip
from ...evaluation.measures import Image, visible_change
from ...recipe.rollout import denoised, pictures
from .. import world as keep
from ..recipe.walks import CONDITION_DIM, HELD_OUT_SEED, Players, condition, in_walls
from ..teacher.script import looks
from .bench import PAST_TICKS, KeepBench, bench_of, told
from .place import Frames, staying, turn_around, turning
from .returns import SHOWN_PX, away_and_back, lamps_remembered

STRIP = Path("out/freedoom_strip.png")
SETTLED_TICKS, IDLE_TICKS = 30, 175
DEEP_UNITS = 2.0
"""Further inside a wall than this shows."""

GATES = {
    "next_frame_below_ceiling_db": Gate("<=", 1.0, DYNAMICS, "next frame below the tokenizer's ceiling, dB"),
    "gain_over_copy_last_db": Gate(">=", 4.0, DYNAMICS, "next frame better than copy-last, dB"),
    "true_actions_beat_others_db": Gate(">=", 1.0, DYNAMICS, "true look better than the opposite, dB"),
    "rungs_never_fall_by_db": Gate("<=", 0.05, DYNAMICS, "largest fall from one rung to the next, dB"),
    "edge_energy_at_300": Gate(
        ">=",
        0.5,
        RENDERER,
        "free walking, tick 300: edge energy of the game's picture at the dreamt place (worst tenth)",
    ),
    "edge_energy_at_10000": Gate(">=", 0.5, RENDERER, "tick 10,000: the same"),
    "agrees_with_its_own_pose_db_at_300": Gate(
        ">=", 20.0, RENDERER, "tick 300: picture against the game's at the dreamt place, dB"
    ),
    "agrees_with_its_own_pose_db_at_10000": Gate(
        ">=", 20.0, RENDERER, "tick 10,000: picture against the game's at the dreamt place, dB"
    ),
    "turning_gain_at_300": Gate(
        ">=", 0.9, DYNAMICS, "after 300 free ticks: how far the view turns for what the game's turns"
    ),
    "turning_correlation_at_300": Gate(
        ">=", 0.95, DYNAMICS, "after 300 free ticks: correlation of the view's turns with the look"
    ),
    "retrieval_inside_window": Gate(">=", 0.95, DYNAMICS, "turned away and back inside the window: retrieval@1"),
    "retrieval_beyond_window": Gate(
        ">=", 0.95, DYNAMICS, "turned away and back by 96, 184, 360 degrees, beyond the window: retrieval@1, worst"
    ),
    "same_place_after_going_away": Gate(
        ">=", 0.95, RENDERER, "walked out of sight and back: retrieval@1 of the place left"
    ),
    "lamp_in_next_frame": Gate(
        ">=", 0.95, DYNAMICS, "a lamp switched is visible in the very next frame, and only then (share)"
    ),
    "lamp_remembered_when_back": Gate(
        ">=", 0.95, DYNAMICS, "walked away from a room darkened, or not, and back: as it was left (share)"
    ),
    "in_walls": Gate("<=", 0.01, DYNAMICS, "walked without looking: more than 2 units inside a wall (share of ticks)"),
    "idle_drift_units": Gate("<=", 1.0, DYNAMICS, "hands off for 10 s: farthest any walker moved, units"),
    "idle_turn_degrees": Gate("<=", 0.5, DYNAMICS, "the same: farthest any walker turned, degrees"),
    "key_flip_in_next_frame": Gate(">=", 0.95, DYNAMICS, "look flip visible in the very next frame (share)"),
}


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure everything; `quick` takes a quarter of the samples. Writes JSON to `out` if given. NextframeError without
    the game."""
    rows, long = (4, 1000) if quick else (16, 10_000)

    def strip(real: Frames, made: Frames) -> None:
        if out is not None:
            write_strip(STRIP, real, made)

    with torch.inference_mode(), bench_of(folder, rows) as bench:
        forced = one_ahead(bench, rows, 8 if quick else 24)
        free, film = free_run(bench, rows, (300, long))
        turns = {str(after): turning(bench, after) for after in (0, 100, 300)}
        around = [turn_around(bench, n) for n in (3, 12, 23, 45)]
        stays = staying(bench, 100 if quick else 300, strip)
        same = away_and_back(bench, rows * 2)
        lamps = lamps_remembered(bench, 1 if quick else 3)
        still = idle(bench, rows * 3)
        flips = key_flips(bench, rows * 6)
        read = reading(bench, rows * 4)
    first, last = free["300"], free[str(long)]
    numbers = next_frame_numbers(forced) | {
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
        "gates": judged_all(numbers, GATES),
    }  # fmt: skip
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        write_report(out, report, film)
    return report


# --- one frame ahead ------------------------------------------------------------------------------------------------


def one_ahead(bench: KeepBench, rows: int, ticks: int) -> dict[str, Any]:
    """See `nextframe.worlds.evaluation.forced.next_frame`."""
    players = Players(rows, np.random.Generator(np.random.Philox(key=HELD_OUT_SEED + 500)))
    given = torch.from_numpy(np.stack([condition(players.steps()) for _ in range(PAST_TICKS + ticks)], 1))
    frames, latents = bench.played(given.numpy(), bench.starts(rows, 500))
    return next_frame(
        bench.generator(rows), latents, given, lambda tick: list(frames[:, tick].numpy()), past_ticks=PAST_TICKS
    )


# --- free walks -----------------------------------------------------------------------------------------------------


def free_run(bench: KeepBench, rows: int, asks: tuple[int, int]) -> tuple[dict[str, Any], list[Image]]:
    """Pictures after long free walks against the game's pictures from the same places; and whether a walker is in a
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
            found[str(tick)] = against_teacher(made, truth) | {"in_walls": float(np.mean(deep))}
    return found, film


def idle(bench: KeepBench, rows: int) -> dict[str, float]:
    """Let go in the middle of a walk: how far does a walker still move in ten seconds, once it stands?"""
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
    print_head(report, console)
    console.print("PSNR dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"]["psnr_db"].items()))
    for tick, row in report["free_run"].items():
        console.print(f"after {tick} free ticks: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
    console.print(f"away and back: {report['away_and_back']}; lamps: {report['lamps']}; read: {report['reading']}")


def card(report: dict[str, Any]) -> str:
    turned = [
        (
            f"{part['degrees']:.0f}", str(part["ticks"]), f"{part['retrieval_at_1']:.2f}", f"{part['psnr_db']:.1f}",
            f"{part['game_psnr_db']:.1f}",
        )
        for part in report["turn_around"]
    ]  # fmt: skip
    away, lamps = report["away_and_back"], report["lamps"]
    lines = [*gate_tables(report, GATES), *next_frame_table(report["next_frame"])]
    lines += ["", "Turned away and back, 16 places (chance 0.06):", ""]
    lines += rows_of(("degrees", "ticks", "retrieval@1", "dB", "the game, dB"), turned)
    lines += [
        "",
        f"Walked out of sight and back: {away['ticks']} ticks, {away['arrived']:.0%} of {away['rows']} arrived. Lamps: "
        f"{lamps['ticks_away']} ticks, {lamps['rows']} walks. The memory of frames is {away['window_ticks']} ticks.",
    ]
    return "\n".join(lines)
