"""`nextframe eval circuit`: is the dreamt circuit as sharp, as steerable and as lasting as it must be?

Every number comes from episodes that were never trained on, and is set against the simulator. Histories are true
frames read by the tokenizer, not the teacher's own poses. The gates and their bounds are in `GATES`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from model.generator import Generator
from model.tokenizer import POSITION_SCALE_PX, SLOT_DIM
from tools.circuit.data import HELD_OUT_SEED, Driver, Episode, condition, drive
from tools.circuit.measures import (
    Image,
    edge_energy,
    likeness,
    moving,
    psnr_db,
    square_around,
    squared_error,
    strangers,
    visible_change,
)
from worlds.circuit import world as circuit
from worlds.circuit.render import Renderer
from worlds.circuit.simulator import TIMES, WEATHERS, Car, Controls, Simulator, State, one_hot
from worlds.circuit.track import HEIGHT_PX, WIDTH_PX

LADDER = (1, 2, 4)
PAST_TICKS = 32
STARTS = 32
LIKENESS = 0.7
"""A car is where it should be if its picture correlates this well with the teacher's of the same pose."""
STRANGER_PIXELS = 40
"""A second car would cover 150 pixels or more."""
BAND_LEVELS = 2.0
"""The band of real frames *in the same weather and hour* is a level or two wide; this much of 255 is added to it."""

GATES = {
    "next_frame_below_ceiling_db": ("<=", 2.0),
    "moving_gain_over_copy_last_db": (">=", 6.0),
    "true_actions_beat_others_db": (">=", 1.0),
    "rungs_never_fall_by_db": ("<=", 0.05),
    "edge_energy_at_300": (">=", 0.8), "edge_energy_at_1000": (">=", 0.8),
    "one_player_at_300": (">=", 30 / 32), "one_player_at_1000": (">=", 30 / 32),
    "colour_in_band_at_300": (">=", 30 / 32), "colour_in_band_at_1000": (">=", 30 / 32),
    "steering_correlation": (">=", 0.95),
    "tunnel_on_time": (">=", 0.80),
    "weather_in_next_frame": (">=", 0.95), "key_flip_in_next_frame": (">=", 0.95),
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What every measurement needs: the teacher, its pictures, the networks."""

    simulator: Simulator
    renderer: Renderer
    folder: Path

    def generator(self, rows: int, window: int | None = None) -> Generator:
        tokenizer, dynamics = circuit.load_networks(self.folder)
        return Generator(tokenizer, dynamics, rows=rows, window=window)

    def frames(self, states: list[State]) -> NDArrayFrames:
        return np.stack([self.renderer.draw(state) for state in states])

    def encode(self, generator: Generator, frames: NDArrayFrames) -> Tensor:
        with torch.inference_mode():
            return torch.cat(
                [
                    generator.tokenizer.encode(torch.from_numpy(part))
                    for part in np.array_split(frames, max(1, len(frames) // 32))
                ]
            )


NDArrayFrames = Any


# --- next frame, true history -------------------------------------------------------------------------------------


def next_frame(
    bench: Bench, rows: int, ticks: int, window: int | None = None, rungs: tuple[int, ...] = LADDER
) -> dict[str, Any]:
    """Teacher-forced: `rows` episodes, `ticks` predictions each after a full true memory."""
    total = PAST_TICKS + ticks
    episodes = [drive(bench.simulator, HELD_OUT_SEED + 500 + k, total, prompt_rate=0.01) for k in range(rows)]
    generator = bench.generator(rows, window)
    frames = np.stack([bench.frames(e.states) for e in track(episodes, "true frames")])
    latents = bench.encode(generator, frames.reshape(-1, *frames.shape[2:])).reshape(rows, total + 1, -1)
    conditions = torch.stack([torch.from_numpy(e.conditions) for e in episodes])
    generator.prefill(latents[:, :PAST_TICKS], conditions[:, :PAST_TICKS])
    shuffled = conditions.roll(1, 0).clone()
    shuffled[..., 4:] = conditions[..., 4:]
    errors: dict[str, list[float]] = {}
    masks: dict[str, list[float]] = {}

    def note(name: str, drawn: Image, true: Image, before: Image) -> None:
        error, mask = squared_error(drawn, true), moving(before, true)
        errors.setdefault(name, []).append(float(error.mean()))
        if mask.any():
            masks.setdefault(name, []).append(float(error[mask].mean()))

    near: dict[str, list[float]] = {"true": [], "shuffled": []}
    for t in track(range(PAST_TICKS, total), "next frame"):
        drawn = {"ceiling": generator.decode(latents[:, t]).numpy()}
        for name, rung, given in [*((f"steps_{k}", k, conditions) for k in rungs), ("shuffled", rungs[-1], shuffled)]:
            drawn[name] = generator.decode(denoise(generator, given[:, t], rung)).numpy()
        for k in range(rows):
            before, true = frames[k, t - 1], frames[k, t]
            note("copy_last", before, true, before)
            for name, images in drawn.items():
                note(name, images[k], true, before)
            car = episodes[k].states[t].player
            if (
                abs(float(conditions[k, t, 0] - shuffled[k, t, 0])) >= 0.5
                and car.speed > 1
                and bench.simulator.covered(car) is None
            ):
                rows_at, columns_at = square_around(true, car.x, car.y)
                for name, images in (("true", drawn[f"steps_{rungs[-1]}"]), ("shuffled", drawn["shuffled"])):
                    near[name].append(float(squared_error(images[k], true)[rows_at, columns_at].mean()))
        generator.commit(latents[:, t], conditions[:, t])
    right, wrong = np.array(near["true"]), np.array(near["shuffled"])
    return {
        "frames": rows * ticks,
        "other_steering": {
            "frames": len(right),
            "gain_db": psnr_db(right) - psnr_db(wrong),
            "true_wins": float((right < wrong).mean()),
        },
        "psnr_db": {name: psnr_db(np.array(values)) for name, values in errors.items()},
        "moving_psnr_db": {name: psnr_db(np.array(values)) for name, values in masks.items()},
    }


def denoise(generator: Generator, given: Tensor, steps: int, seed: int = 7) -> Tensor:
    job = generator.start(given, seed, steps)
    while job.can_step:
        job.step()
    return job.finish()


# --- free running -------------------------------------------------------------------------------------------------


class DreamDriver:
    """Drives by what the dream shows: the pose in the newest latent, speed from the last two. Switches on a script."""

    def __init__(self, bench: Bench, row: int, state: State) -> None:
        self._driver = Driver(bench.simulator, HELD_OUT_SEED + 9000 + row, prompt_rate=0.0)
        self.state = state
        self._row = row

    def controls(self, tick: int) -> Controls:
        controls = self._driver.controls(self.state)
        if tick % 100 == 20:
            turn = tick // 100 + self._row
            return replace(controls, weather=WEATHERS[turn % 4], time=TIMES[(turn // 2) % 3])
        return controls

    def see(self, bench: Bench, last: Tensor, before: Tensor, controls: Controls) -> None:
        """Follow the prompt as the teacher would, and take the cars from the dream where it shows them."""
        shadow = bench.simulator.step(self.state, controls)
        player = car_of(last, before, 0) or shadow.player
        rival = car_of(last, before, 1) or shadow.rival
        self.state = replace(shadow, player=player, rival=rival)


def car_of(last: Tensor, before: Tensor, slot: int) -> Car | None:
    """The car a latent shows, with its speed from the latent before; None while hidden."""
    a, b = (z[-2 * SLOT_DIM :].view(2, SLOT_DIM)[slot].tolist() for z in (last, before))
    if a[4] < 0:
        return None
    x, y = a[0] * POSITION_SCALE_PX + WIDTH_PX / 2, a[1] * POSITION_SCALE_PX + HEIGHT_PX / 2
    heading = math.atan2(a[3], a[2])
    if b[4] < 0:
        return Car(x, y, heading, 3 * math.cos(heading), 3 * math.sin(heading), float(a[5] > 0))
    return Car(x, y, heading, (a[0] - b[0]) * POSITION_SCALE_PX, (a[1] - b[1]) * POSITION_SCALE_PX, float(a[5] > 0))


@dataclass
class Dream:
    """A free run of `STARTS` rows: what it shows at the ticks asked for, and how it answered counterfactuals."""

    at: dict[int, list[dict[str, float]]]
    steering: list[tuple[float, float]]
    weather_seen: list[bool]
    flips_seen: list[bool]
    hidden_ticks: list[list[int]]
    film: list[Image]


def start_rows(bench: Bench, generator: Generator, rows: int) -> tuple[list[DreamDriver], Tensor]:
    """Fill the memory with eight true frames of each held-out start; returns drivers and the last conditions."""
    episodes: list[Episode] = []
    seed = HELD_OUT_SEED + 100
    while len(episodes) < rows:
        seed += 1
        episode = drive(bench.simulator, seed, 7, prompt_rate=0.0)
        if bench.simulator.covered(episode.states[-1].player) is None:
            episodes.append(episode)
    latents = torch.stack([bench.encode(generator, bench.frames(e.states)) for e in episodes])
    conditions = torch.stack([torch.from_numpy(e.conditions) for e in episodes])
    generator.prefill(latents, conditions)
    return [DreamDriver(bench, k, e.states[-1]) for k, e in enumerate(episodes)], conditions[:, -1]


def free_run(bench: Bench, rows: int, ticks: int, steps: int, ask_at: tuple[int, ...]) -> Dream:
    generator = bench.generator(rows)
    drivers, _ = start_rows(bench, generator, rows)
    dream = Dream({}, [], [], [], [[0] for _ in range(rows)], [])
    bands = real_bands(bench)
    for t in track(range(1, ticks + 1), f"free run, {rows} starts"):
        controls = [driver.controls(t) for driver in drivers]
        given = torch.stack(
            [torch.from_numpy(condition(c, one_ahead(d.state, c))) for c, d in zip(controls, drivers, strict=True)]
        )
        if t in ask_at or t % 250 == 150:
            ask(bench, generator, drivers, given, dream)
        latent = denoise(generator, given, steps)
        if t in ask_at or t % 20 == 0:
            frames = generator.decode(latent).numpy()
            dream.film.append(frames[0])
        generator.commit(latent, given)
        for k, driver in enumerate(drivers):
            driver.see(bench, generator.last[k], generator.before[k], controls[k])
            hidden = generator.last[k][-2 * SLOT_DIM + 4] < 0
            dream.hidden_ticks[k].append(dream.hidden_ticks[k][-1] + 1 if hidden else 0)
        if t in ask_at:
            dream.at[t] = [
                judge(bench, frames[k], drivers[k].state, dream.hidden_ticks[k][-1], bands) for k in range(rows)
            ]
    return dream


def one_ahead(state: State, controls: Controls) -> State:
    """The state whose prompt targets already include this tick's switch."""
    return replace(
        state, weather_target=controls.weather or state.weather_target, time_target=controls.time or state.time_target
    )


def real_bands(bench: Bench) -> dict[tuple[str, str], Any]:
    """Mean colour and contrast of real frames by weather and time: 1 % and 99 % quantiles, `(2, 4)`."""
    bands = {}
    for weather in WEATHERS:
        for time in TIMES:
            rows = []
            for k in range(40):
                state = bench.simulator.reset(HELD_OUT_SEED + 3000 + k, weather=weather, time=time)
                frame = bench.renderer.draw(state).astype(np.float64)
                rows.append([*frame.mean((0, 1)), frame.std()])
            low, high = np.quantile(rows, [0.01, 0.99], axis=0)
            bands[weather, time] = (low - BAND_LEVELS, high + BAND_LEVELS)
    return bands


def judge(
    bench: Bench, frame: Image, state: State, hidden_ticks: int, bands: dict[tuple[str, str], Any]
) -> dict[str, float]:
    """One dreamt frame against the teacher's picture of the same situation."""
    real, background = bench.renderer.draw(state), bench.renderer.background(state)
    player, rival = state.player, state.rival
    alike = likeness(frame, real, background, player.x, player.y)
    others = strangers(frame, real, [(player.x, player.y), (rival.x, rival.y)])
    if hidden_ticks or bench.renderer.visible(player) < 0.15:
        fine = hidden_ticks <= 30 and near_cover(bench, player) and others < STRANGER_PIXELS
    else:
        fine = alike >= LIKENESS and others < STRANGER_PIXELS
    low, high = bands[state.weather_target, state.time_target]
    numbers = np.array([*frame.astype(np.float64).mean((0, 1)), frame.std()])
    return {
        "edge_energy": edge_energy(frame) / edge_energy(real), "one_player": float(fine),
        "colour_in_band": float(((numbers >= low) & (numbers <= high)).all()),
        "likeness": alike, "stranger_pixels": others, "hidden_ticks": hidden_ticks,
    }  # fmt: skip


def near_cover(bench: Bench, car: Car) -> bool:
    """Under a roof or within a car's length of one."""
    lap = bench.simulator.track.lap(bench.simulator.track.locate(car.x, car.y)[0])
    margin = 19 / bench.simulator.track.length_px
    return any(cover.start - margin <= lap <= cover.stop + margin for cover in bench.simulator.track.covers)


def ask(bench: Bench, generator: Generator, drivers: list[DreamDriver], given: Tensor, dream: Dream) -> None:
    """Counterfactuals from here, same memory and noise: another weather; left against right; a held turn."""
    here = generator.snapshot()
    plain = generator.decode(denoise(generator, given, 4)).numpy()
    switched = given.clone()
    for k, driver in enumerate(drivers):
        now = WEATHERS.index(driver.state.weather_target)
        switched[k, 4 : 4 + len(WEATHERS)] = torch.tensor(one_hot(WEATHERS[(now + 1 + k % 3) % 4], WEATHERS))
    other = generator.decode(denoise(generator, switched, 4)).numpy()
    dream.weather_seen += [
        visible_change(a, b, levels=2) > 0.2 * WIDTH_PX * HEIGHT_PX for a, b in zip(plain, other, strict=True)
    ]
    left, right = given.clone(), given.clone()
    left[:, 0], right[:, 0] = -1.0, 1.0
    a, b = (generator.decode(denoise(generator, side, 4)).numpy() for side in (left, right))
    for k, driver in enumerate(drivers):
        shown = generator.last[k][-2 * SLOT_DIM + 4] > 0 and bench.renderer.visible(driver.state.player) > 0.5
        if shown and driver.state.player.speed > 1.0:
            dream.flips_seen.append(visible_change(a[k], b[k]) >= 10)
    held_turns(bench, generator, drivers, given, dream)
    generator.restore(here)


def held_turns(  # noqa: PLR0917 - as `ask`, which is its only caller
    bench: Bench, generator: Generator, drivers: list[DreamDriver], given: Tensor, dream: Dream, ticks: int = 8
) -> None:
    """Hold a steering level for a while in the dream and in the teacher from the same pose; compare the turns."""
    levels = torch.linspace(-1, 1, len(drivers))
    held = given.clone()
    held[:, 0], held[:, 1], held[:, 2], held[:, 3] = levels, 0.6, 0.0, 0.0
    states = [replace(d.state) for d in drivers]
    before = generator.last.clone()
    fair = [s.player.speed > 0.8 for s in states]
    for _ in range(ticks):
        generator.commit(denoise(generator, held, 2), held)
        for k, state in enumerate(states):
            states[k] = bench.simulator.step(state, Controls(float(levels[k]), 0.6))
            fair[k] &= not states[k].hit and bench.simulator.covered(states[k].player) is None
            fair[k] &= bool(generator.last[k][-2 * SLOT_DIM + 4] > 0)
    for k, (state, driver) in enumerate(zip(states, drivers, strict=True)):
        dreamt = car_of(generator.last[k], before[k], 0)
        if fair[k] and dreamt is not None:
            turn = [
                math.atan2(math.sin(h - driver.state.player.heading), math.cos(h - driver.state.player.heading))
                for h in (dreamt.heading, state.player.heading)
            ]
            dream.steering.append((turn[0], turn[1]))


# --- tunnels ------------------------------------------------------------------------------------------------------


def passages(bench: Bench, episodes: int, window: int | None = None, steps: int = 4) -> dict[str, Any]:
    """True history up to the tick before a car vanishes, then a free run under the true actions until it is back."""
    events = []
    for k in range(episodes):
        episode = drive(bench.simulator, HELD_OUT_SEED + 5000 + k, 420, prompt_rate=0.0)
        for slot in range(2):
            events += [(episode, slot, a, b) for a, b in hidden_spans(bench, episode, slot)]
    events = events[:160]
    generator = bench.generator(len(events), window)
    pasts, conditions = [], []
    for episode, _, a, _ in track(events, "tunnel histories"):
        pasts.append(bench.encode(generator, bench.frames(episode.states[a - PAST_TICKS : a])))
        conditions.append(torch.from_numpy(episode.conditions[a - PAST_TICKS : a]))
    generator.prefill(torch.stack(pasts), torch.stack(conditions))
    back = [0] * len(events)
    gone = [False] * len(events)
    ghosts, watched = 0, 0
    for t in range(45):
        given = torch.stack(
            [torch.from_numpy(e.conditions[min(a + t, len(e.conditions) - 1)]) for e, _, a, _ in events]
        )
        latent = denoise(generator, given, steps)
        generator.commit(latent, given)
        for k, (_, slot, a, b) in enumerate(events):
            if abs(t - (b - a)) <= 4:
                watched += 1
                ghosts += bool(abs(float(latent[k][-(2 - slot) * SLOT_DIM + 4])) < 0.7)
            hidden = bool(generator.last[k][-(2 - slot) * SLOT_DIM + 4] < 0)
            gone[k] |= hidden
            if gone[k] and not hidden and not back[k]:
                back[k] = t
    late = [back[k] - (b - a) if back[k] else 99 for k, (_, _, a, b) in enumerate(events)]
    on_time = [abs(x) <= 2 for x in late]
    player = [ok for ok, (_, slot, _, _) in zip(on_time, events, strict=True) if slot == 0]
    return {
        "passages": len(events), "on_time": float(np.mean(on_time)), "player_on_time": float(np.mean(player)),
        "median_late_ticks": float(np.median(np.abs(late))),
        "hidden_ticks_mean": float(np.mean([b - a for _, _, a, b in events])),
        "half_transparent_share": ghosts / max(watched, 1),
    }  # fmt: skip


def hidden_spans(bench: Bench, episode: Episode, slot: int) -> list[tuple[int, int]]:
    """First hidden and first visible tick again, of each whole passage with enough past."""
    cars = [s.player if slot == 0 else s.rival for s in episode.states]
    seen = [bench.simulator.covered(c) is None or bench.renderer.visible(c) > 0.10 for c in cars]
    spans, began = [], None
    for t, visible in enumerate(seen):
        if not visible and began is None:
            began = t
        if visible and began is not None:
            if began > PAST_TICKS and t - began <= 40:
                spans.append((began, t))
            began = None
    return spans


# --- the report ---------------------------------------------------------------------------------------------------


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure everything; `quick` takes a quarter of the samples. Writes JSON to `out` if given."""
    bench = Bench(Simulator(), Renderer(), folder)
    rows, ticks = (12, 12) if quick else (STARTS, 48)
    asks = (100, 300) if quick else (300, 1000)
    forced = next_frame(bench, rows, ticks)
    dream = free_run(bench, rows, asks[-1], 4, asks)
    tunnels = passages(bench, 12 if quick else 40)
    ladder = {str(k): passages(bench, 8 if quick else 24, steps=k) for k in LADDER}
    numbers = gate_numbers(forced, dream, tunnels, asks)
    report: dict[str, Any] = {
        "schema": "nextframe.eval/1", "world": "circuit", "quick": quick,
        "weights_sha256": circuit.weights_sha256(folder),
        "next_frame": forced, "tunnels": tunnels, "tunnels_by_steps": ladder,
        "free_run": {str(t): summary(rows_at) for t, rows_at in dream.at.items()},
        "counterfactuals": {
            "weather": len(dream.weather_seen), "key_flips": len(dream.flips_seen), "held_turns": len(dream.steering),
        },
        "gates": {name: gate(name, value) for name, value in numbers.items()},
    }  # fmt: skip
    if not quick:
        report["memory"] = {str(w): memory_row(bench, w) for w in (1, 4, 16, 32)}
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
        save_film(out.with_suffix(".png"), dream.film)
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


def gate(name: str, value: float) -> dict[str, Any]:
    sign, bound = GATES[name]
    return {
        "value": round(value, 4),
        "bound": f"{sign} {bound:.4g}",
        "met": bool(value <= bound if sign == "<=" else value >= bound),
    }


def save_film(path: Path, film: list[Image]) -> None:
    from runtime.video import write_png

    count = len(film) // 6 * 6
    if count:
        picked = film[:count][:: max(1, count // 24)][:24]
        rows = [np.concatenate(picked[k : k + 6], axis=1) for k in range(0, len(picked) - 5, 6)]
        write_png(path, np.ascontiguousarray(np.concatenate(rows, axis=0)))


def print_summary(report: dict[str, Any]) -> None:
    console = Console()
    table = Table(title=f"circuit, weights {report['weights_sha256'][:12]}{' (quick)' if report['quick'] else ''}")
    for heading in ("gate", "value", "bound", "met"):
        table.add_column(heading, justify="left" if heading == "gate" else "right")
    for name, row in report["gates"].items():
        table.add_row(name.replace("_", " "), f"{row['value']:.4g}", row["bound"], "yes" if row["met"] else "NO")
    console.print(table)
    for name, key in (("PSNR", "psnr_db"), ("moving pixels", "moving_psnr_db")):
        console.print(f"{name} dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"][key].items()))
    other = report["next_frame"]["other_steering"]
    console.print(
        f"around the car, where the steering differs: true actions {other['gain_db']:.2f} dB better, "
        f"in {other['true_wins']:.0%} of {other['frames']} frames"
    )
    console.print(f"tunnels: {report['tunnels']}")
    for steps, row in report["tunnels_by_steps"].items():
        console.print(
            f"{steps} steps: on time {row['on_time']:.3f}, "
            f"half transparent near the exit {row['half_transparent_share']:.3f}"
        )
    for window, row in report.get("memory", {}).items():
        console.print(f"memory of {window}: " + ", ".join(f"{k} {v:.3f}" for k, v in row.items()))
