"""`nextframe eval drive`: is the dreamt road as sharp, as steerable, as lasting and as much the same as it must be?

Every number comes from drives that were never trained on, and is set against the simulator. Histories are the
teacher's own poses as latents; how well the tokenizer reads a frame is a figure of its own. The gates and their
bounds are in `GATES`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from ....model.generator.ticks import RollingGenerator
from ...evaluation.card import gate_tables, next_frame_table
from ...evaluation.forced import against_teacher, next_frame, next_frame_numbers
from ...evaluation.gates import DYNAMICS, RENDERER, Gate, judged_all, print_head, write_report
from ...evaluation.measures import Image, visible_change
from ...recipe.rollout import denoised, pictures
from .. import world as drive_world
from ..recipe.data import (
    HELD_OUT_SEED,
    Drivers,
    Pilot,
    condition,
    drive,
    latents_of,
    none_of,
    random_states,
)
from ..recipe.on_policy import seen
from ..teacher.camera import FOCAL_PX, HORIZON_PX
from ..teacher.render import Renderer
from ..teacher.simulator import Controls, Simulator, States
from ..teacher.track import WALL_M

PAST_TICKS = 16
GATES_A_LAP = 24
SHOWN_PX = 150
"""A change of the picture counts from so many pixels on."""

GATES = {
    "next_frame_below_ceiling_db": Gate("<=", 1.0, DYNAMICS, "next frame below the tokenizer's ceiling, dB"),
    "gain_over_copy_last_db": Gate(">=", 4.0, DYNAMICS, "next frame better than copy-last, dB"),
    "true_actions_beat_others_db": Gate(">=", 1.0, DYNAMICS, "true steering better than the opposite, dB"),
    "rungs_never_fall_by_db": Gate("<=", 0.05, DYNAMICS, "largest fall from one rung to the next, dB"),
    "edge_energy_at_300": Gate(
        ">=",
        0.5,
        RENDERER,
        "free driving, tick 300: edge energy of the simulator's picture at the dreamt poses (worst tenth)",
    ),
    "edge_energy_at_1000": Gate(">=", 0.5, RENDERER, "tick 1,000: the same"),
    "agrees_with_its_own_pose_db_at_1000": Gate(
        ">=", 20.0, RENDERER, "tick 1,000: picture against the simulator's at the dreamt poses, dB"
    ),
    "steering_correlation": Gate(
        ">=", 0.95, DYNAMICS, "skyline shift under a held wheel against the simulator's, from pixels, correlation"
    ),
    "same_landmarks_after_a_lap": Gate(
        ">=", 0.95, RENDERER, "second lap: of the first lap's pictures, the most alike is the same place's (share)"
    ),
    "beyond_fence_when_careless": Gate(
        "<=", 0.01, DYNAMICS, "driven without looking: more than 1 m beyond the fence (share of ticks)"
    ),
    "idle_drift_m": Gate("<=", 0.1, DYNAMICS, "hands off for 10 s at rest: farthest any car moved, m"),
    "weather_in_next_frame": Gate(">=", 0.95, DYNAMICS, "weather switch visible in the very next frame (share)"),
    "key_flip_in_next_frame": Gate(">=", 0.95, DYNAMICS, "key flip visible in the very next frame (share)"),
}


@dataclass(frozen=True)
class Bench:
    """The teacher, its pictures, and where the weights are."""

    simulator: Simulator
    renderer: Renderer
    folder: Path

    def generator(self, rows: int, window: int | None = None) -> RollingGenerator:
        tokenizer, dynamics = drive_world.load_networks(self.folder)
        return drive_world.new_generator(tokenizer, dynamics, rows, window)

    def begin(self, generator: RollingGenerator, states: States, ticks: int = PAST_TICKS) -> States:
        """A past of the teacher's, hands off but for some throttle; returns where it ends."""
        rows = len(states)
        controls = replace(none_of(rows), throttle=np.full(rows, 0.5))
        latents, given = [], []
        for _ in range(ticks):
            states = self.simulator.step(states, controls)
            latents.append(torch.from_numpy(latents_of(self.simulator, states)))
            given.append(torch.from_numpy(condition(controls, states)))
        generator.prefill(torch.stack(latents, 1), torch.stack(given, 1))
        return states


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure everything; `quick` takes a quarter of the samples. Writes JSON to `out` if given."""
    simulator = Simulator()
    bench = Bench(simulator, Renderer(simulator), folder)
    rows, asks = (8, (100, 300)) if quick else (32, (300, 1000))
    with torch.inference_mode():
        forced = one_ahead(bench, rows, 12 if quick else 48)
        free, film = free_run(bench, rows, asks)
        laps = same_landmarks(bench, 4 if quick else 12)
        steering = held_turns(bench, 12 if quick else 60)
        careless = careless_drive(bench, 16 if quick else 64, asks[-1])
        flips = counterfactuals(bench, 24 if quick else 120)
        idle = idle_drift_m(bench, 8 if quick else 24)
    numbers = next_frame_numbers(forced) | {
        "edge_energy_at_300": free[str(asks[0])]["edge_energy_worst_tenth"],
        "edge_energy_at_1000": free[str(asks[1])]["edge_energy_worst_tenth"],
        "agrees_with_its_own_pose_db_at_1000": free[str(asks[1])]["psnr_to_own_pose_db"],
        "steering_correlation": steering["correlation"],
        "same_landmarks_after_a_lap": laps["retrieval_at_1"],
        "beyond_fence_when_careless": careless,
        "idle_drift_m": idle,
        **flips,
    }
    report: dict[str, Any] = {
        "schema": "nextframe.eval/1", "world": "drive", "quick": quick,
        "weights_sha256": drive_world.weights_sha256(folder),
        "next_frame": forced, "free_run": free, "laps": laps, "held_turns": steering,
        "gates": judged_all(numbers, GATES),
    }  # fmt: skip
    if not quick:
        report["memory"] = {str(w): one_ahead(bench, 12, 24, window=w)["psnr_db"]["steps_2"] for w in (1, 4, 16)}
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        write_report(out, report, film)
    return report


# --- one frame ahead ------------------------------------------------------------------------------------------------


def one_ahead(bench: Bench, rows: int, ticks: int, window: int | None = None) -> dict[str, Any]:
    """See `nextframe.worlds.evaluation.forced.next_frame`."""
    seed, total = HELD_OUT_SEED + 500, PAST_TICKS + ticks
    latents, given = (torch.from_numpy(part)[:, :total] for part in drive(bench.simulator, rows, total + 1, seed))
    states = _states_again(bench, rows, total + 1, seed)
    return next_frame(
        bench.generator(rows, window), latents, given,
        lambda tick: [bench.renderer.draw(states[tick], k) for k in range(rows)], past_ticks=PAST_TICKS,
        every=max(1, ticks // 12),
    )  # fmt: skip


def _states_again(bench: Bench, rows: int, ticks: int, seed: int) -> list[States]:
    """The states behind `drive`, which follow from the same seed."""
    states = bench.simulator.reset([seed + k for k in range(rows)])
    drivers, found = Drivers(bench.simulator, rows, seed), []
    for _ in range(ticks):
        found.append(states)
        states = bench.simulator.step(states, drivers.controls(states))
    return found


# --- free drives ----------------------------------------------------------------------------------------------------


def dream(bench: Bench, generator: RollingGenerator, states: States, controls: Controls, steps: int = 4) -> States:
    """One tick of the dream; returns the teacher's states with the cars where the dream now shows them."""
    shadows = bench.simulator.step(states, controls)
    given = torch.from_numpy(condition(controls, shadows))
    generator.commit(denoised(generator, given, steps), given)
    return seen(bench.simulator, shadows, generator.last, generator.before)


def free_run(bench: Bench, rows: int, asks: tuple[int, ...]) -> tuple[dict[str, Any], list[Image]]:
    """Pictures after long free drives against the teacher's pictures of the same poses."""
    generator = bench.generator(rows)
    states = bench.begin(generator, bench.simulator.reset([HELD_OUT_SEED + k for k in range(rows)]))
    drivers = Drivers(bench.simulator, rows, HELD_OUT_SEED, prompt_rate=0.01)
    found: dict[str, Any] = {}
    film: list[Image] = []
    for tick in range(1, asks[-1] + 1):
        states = dream(bench, generator, states, drivers.controls(states), 2)
        if tick % (asks[-1] // 12) == 0:
            film += [pictures(generator, generator.last[:1])[0], bench.renderer.draw(states, 0)]
        if tick in asks:
            made = pictures(generator, generator.last)
            truth = [bench.renderer.draw(states, k) for k in range(rows)]
            found[str(tick)] = against_teacher(made, truth)
    return found, film


def same_landmarks(bench: Bench, rows: int) -> dict[str, Any]:
    """Two laps: is a picture of the second lap most like the first lap's picture of the same place?"""
    generator = bench.generator(rows)
    starts = bench.simulator.reset([HELD_OUT_SEED + 900 + k for k in range(rows)], weather=0, time=0)
    states = bench.begin(generator, starts)
    pilot, length_m = Pilot(bench.simulator.track, np.linspace(-2.5, 2.5, rows)), bench.simulator.track.length_m
    gap_m = length_m / GATES_A_LAP
    laps: list[list[dict[int, Image]]] = [[{}, {}] for _ in range(rows)]
    _, along, _ = bench.simulator.track.locate(states.x, states.y)
    driven = np.zeros(rows)
    for _ in range(2400):
        states = dream(bench, generator, states, pilot.controls(states), 2)
        _, now, _ = bench.simulator.track.locate(states.x, states.y)
        step = (now - along + length_m / 2) % length_m - length_m / 2
        passed = np.floor((driven + step) / gap_m) > np.floor(driven / gap_m)
        driven, along = driven + step, now
        for k in np.flatnonzero(passed & (driven < 2 * length_m)):
            number = int(driven[k] / gap_m)
            laps[k][number // GATES_A_LAP][number % GATES_A_LAP] = pictures(generator, generator.last[k : k + 1])[0]
        if (driven > 2 * length_m).all():
            break
    hits, asked = 0, 0
    for first, second in laps:
        for place, frame in second.items():
            if place in first:
                likeness = {other: _alike(frame, seen_then) for other, seen_then in first.items()}
                hits += max(likeness, key=lambda other: likeness[other]) == place
                asked += 1
    full = rows * (GATES_A_LAP - 1)
    return {"rows": rows, "asked": asked, "of": full, "retrieval_at_1": hits / max(asked, full // 2)}


def _alike(a: Image, b: Image) -> float:
    """Correlation of what stands around the horizon, coarsely, at the best of some shifts; the panel left out."""
    one, two = (_coarse(f) for f in (a, b))
    return max(_correlation(one[:, 3:-3], two[:, 3 + s : two.shape[1] - 3 + s]) for s in range(-3, 4))


def _coarse(frame: Image) -> NDArray[np.float64]:
    """Rows above and just below the horizon at a sixth of the size, `(15, 30, 3)`, each row's mean taken away."""
    small = frame[6:96, :180].astype(np.float64).reshape(15, 6, 30, 6, 3).mean((1, 3))
    return small - small.mean(1, keepdims=True)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float((a * b).sum() / (np.sqrt((a * a).sum() * (b * b).sum()) + 1e-9))


# --- steering -------------------------------------------------------------------------------------------------------


def held_turns(bench: Bench, count: int) -> dict[str, float]:
    """How far the skyline moves under a held wheel, px a tick, in the dream and in the teacher's pictures."""
    rng = np.random.Generator(np.random.Philox(key=5))
    generator = bench.generator(count)
    starts = bench.simulator.reset([HELD_OUT_SEED + 2000 + k for k in range(count)], weather=0, time=0)
    states = bench.begin(generator, replace(starts, speed=np.full(count, 1.2)))
    controls = replace(none_of(count), steer=rng.uniform(-1, 1, count), throttle=np.full(count, 0.5))
    true, dreamt = states, states
    for _ in range(3):
        true, dreamt = bench.simulator.step(true, controls), dream(bench, generator, dreamt, controls)
    before = pictures(generator, generator.last), [bench.renderer.draw(true, k) for k in range(count)]
    true, dreamt = bench.simulator.step(true, controls), dream(bench, generator, dreamt, controls)
    after = pictures(generator, generator.last), [bench.renderer.draw(true, k) for k in range(count)]
    moved, really = (
        np.array([skyline_shift_px(a, b) for a, b in zip(x, y, strict=True)])
        for x, y in zip(before, after, strict=True)
    )
    slope = float((moved * really).sum() / max((really**2).sum(), 1e-9))
    return {"correlation": float(np.corrcoef(moved, really)[0, 1]), "gain": slope, "turns": count}


def skyline_shift_px(before: Image, after: Image) -> float:
    """By how many pixels the skyline moved to the left, by the best match of its columns."""
    a, b = (f[HORIZON_PX - 26 : HORIZON_PX - 2, :180].astype(np.float64).mean(-1) for f in (before, after))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    reach = int(0.08 * FOCAL_PX) + 2
    middle = b[:, reach:-reach]
    scores = [
        float(np.square(a[:, reach + s : a.shape[1] - reach + s] - middle).mean()) for s in range(-reach, reach + 1)
    ]
    best = int(np.argmin(scores))
    if 0 < best < len(scores) - 1:  # a parabola through the best three
        left, here, right = scores[best - 1 : best + 2]
        curve = left - 2 * here + right
        return best - reach + (0.5 * (left - right) / curve if curve > 1e-9 else 0.0)
    return float(best - reach)


def counterfactuals(bench: Bench, count: int) -> dict[str, float]:
    """Twins that differ in one input of the coming tick: does the very next picture show it?"""
    generator = bench.generator(count)
    starts = bench.simulator.reset([HELD_OUT_SEED + 3000 + k for k in range(count)])
    states = bench.begin(generator, replace(starts, speed=np.maximum(starts.speed, 0.6)))
    base = condition(none_of(count), states)
    left, right, other = base.copy(), base.copy(), base.copy()
    left[:, 0], right[:, 0] = -1, 1
    other[:, 3:7] = np.roll(base[:, 3:7], 1, axis=1)
    frames = [pictures(generator, denoised(generator, torch.from_numpy(g), 1)) for g in (base, left, right, other)]
    flips = [visible_change(a, b) >= SHOWN_PX for a, b in zip(frames[1], frames[2], strict=True)]
    weather = [visible_change(a, b, 3) >= 10 * SHOWN_PX for a, b in zip(frames[0], frames[3], strict=True)]
    return {"weather_in_next_frame": float(np.mean(weather)), "key_flip_in_next_frame": float(np.mean(flips))}


def careless_drive(bench: Bench, rows: int, ticks: int) -> float:
    """Share of ticks more than a metre beyond the fence under drivers that never look."""
    generator = bench.generator(rows)
    states = bench.begin(generator, bench.simulator.reset([HELD_OUT_SEED + 5000 + k for k in range(rows)]))
    drivers = Drivers(bench.simulator, rows, HELD_OUT_SEED + 1, careless=1.0)
    beyond = 0
    for _ in range(ticks):
        states = dream(bench, generator, states, drivers.controls(states), 1)
        _, _, side = bench.simulator.track.locate(states.x, states.y)
        beyond += int((np.abs(side) > WALL_M + 1).sum())
    return beyond / (rows * ticks)


def idle_drift_m(bench: Bench, rows: int) -> float:
    """How far a car that stands moves in ten seconds of hands off: the worst of those that the rival does not push."""
    generator = bench.generator(rows)
    states = random_states(bench.simulator, rows, HELD_OUT_SEED)
    still = np.zeros(rows)
    states = replace(states, speed=still, slip=still, lean=still, braking=still)
    latents = torch.from_numpy(latents_of(bench.simulator, states))[:, None].expand(-1, PAST_TICKS, -1)
    given = torch.from_numpy(condition(none_of(rows), states))
    generator.prefill(latents, given[:, None].expand(-1, PAST_TICKS, -1))
    teacher = states
    for _ in range(200):
        generator.commit(denoised(generator, given, 2), given)
        teacher = bench.simulator.step(teacher, none_of(rows))
    now = seen(bench.simulator, states, generator.last, generator.before)
    untouched = np.hypot(teacher.x - states.x, teacher.y - states.y) == 0
    return float(np.hypot(now.x - states.x, now.y - states.y)[untouched].max())


# --- telling ----------------------------------------------------------------------------------------------------------


def print_summary(report: dict[str, Any]) -> None:
    console = Console()
    print_head(report, console)
    console.print("PSNR dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"]["psnr_db"].items()))
    for tick, row in report["free_run"].items():
        console.print(f"after {tick} free ticks: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
    console.print(f"laps: {report['laps']}; turns: {report['held_turns']}")


def card(report: dict[str, Any]) -> str:
    return "\n".join([*gate_tables(report, GATES), *next_frame_table(report["next_frame"])])
