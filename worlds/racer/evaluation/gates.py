"""The racer's own evaluation: next frames, what actions do, and long free runs with a driver at the wheel.

    nextframe eval racer --quick

Free runs are judged by what a person would see: does the driver stay on the road as in the game, does the road bend and
have kerbs as in the game, is the picture as sharp, how far is it from the game's pictures in MobileNetV2's features.
PSNR alone would rank a blurred mean of all futures first.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from ....model.base.devices import multiplies_bfloat16
from ...evaluation.card import gate_tables, rows_of
from ...evaluation.gates import DYNAMICS, FILM_COLUMNS, RENDERER, Gate, judged_all, print_head, write_report
from ..teacher.driver import Explorer
from ..teacher.game import Game
from ..world import SCHEDULE, load_network, load_seeds, weights_sha256
from .features import Features, Statistics, distance, load_features, statistics
from .look import Frames, bend_spread, edge_energy, kerb_share, psnr
from .open_loop import measure_open_loop
from .rollouts import Dreamer, drive_the_game, drive_the_network

LADDER = (1, 2, 4)
GAME_SEEDS = range(900_000_000, 900_000_032)
"""Tracks that were never trained on."""
MOMENT_SEEDS = 900_100_000
HISTORY = 68
"""Ticks before a moment: as many as the memory reaches back, and the frames that are seen whole."""
LOST_BELOW = 0.5
"""A session whose last quarter is on the road for less than this share has lost it."""
HEARD_LEVELS = 8
"""Grey levels by which another steering must change some pixel of the next frame."""


@dataclass(frozen=True)
class Size:
    sessions: int
    ticks: int
    moments: int


FULL, QUICK = Size(32, 5000, 256), Size(6, 200, 48)


FILM_GATES = {
    "on_road_share_apart": Gate(
        "<=", 0.05, DYNAMICS, "free run: share of ticks on the road, difference from the game's"
    ),
    "sessions_kept": Gate(">=", 30 / 32, DYNAMICS, "free run: sessions that are still on a road in the last quarter"),
    "bends_apart": Gate("<=", 0.2, DYNAMICS, "free run: spread of the road's bends, off the game's by a share of"),
    "kerbs_apart": Gate("<=", 0.2, DYNAMICS, "free run: frames with kerbs, off the game's by a share of"),
    "edge_energy_apart": Gate("<=", 0.05, RENDERER, "free run: squared edge energy, off the game's by a share of"),
}
GATES = {
    "gain_over_copy_last_db": Gate(">=", 12.0, DYNAMICS, "next frame better than copy-last, best rung, dB"),
    "true_actions_beat_others_db": Gate(">=", 4.5, DYNAMICS, "true actions better than another moment's, dB"),
    **FILM_GATES,
    "key_flip_in_next_frame": Gate(">=", 1.0, DYNAMICS, "the other steering shows in the very next frame (share)"),
    "distance_of_one_step_over_four": Gate(
        ">=", 1.5, RENDERER, "free run: Fréchet distance at one step over that at four"
    ),
}
"""In pixels there is no renderer: `RENDERER` gates test the picture's looks."""


@dataclass(frozen=True)
class Moments:
    """Held-out: `frames (n, HISTORY + 1, 64, 64, 3)` uint8, the last to be predicted, and `actions (n, HISTORY, 3)`."""

    frames: Frames
    actions: NDArray[np.float32]


def held_out_moments(count: int, per_episode: int = 12) -> Moments:
    """Of an exploring driver on held-out tracks: on the road, off it, standing, turning."""
    frames, actions = [], []
    for seed in range(-(-count // per_episode)):
        game, driver = Game(), Explorer(np.random.default_rng((seed, 77)))
        seen, given = [game.reset(MOMENT_SEEDS + seed)], []
        for _ in range(HISTORY + per_episode * 5):
            controls = driver(seen[-1], game.pose.speed_m_s)
            frame, goes_on = game.tick(controls)
            seen.append(frame)
            given.append(controls)
            if not goes_on:
                break
        for at in range(0, len(given) - HISTORY + 1, 5):
            frames.append(np.stack(seen[at : at + HISTORY + 1]))
            actions.append(np.stack(given[at : at + HISTORY]))
    return Moments(np.stack(frames[:count]), np.stack(actions[:count]))


def next_frames(dreamer: Dreamer, moments: Moments, actions: NDArray[np.float32], steps: int, seed: int = 0) -> Frames:
    """`(n, 64, 64, 3)`: the network's frame after each moment's history. `actions (n, past, 3)`."""
    net, past = dreamer.net, dreamer.net.config.past
    random = torch.Generator().manual_seed(seed)
    made = []
    for at in range(0, len(actions), 16):
        frames = torch.from_numpy(moments.frames[at : at + 16, :-1])
        memory = dreamer.remember(len(frames))
        seen = torch.stack([dreamer.commit(memory, net.pack(one)) for one in frames.unbind(1)][-past:], 1)
        given = torch.from_numpy(actions[at : at + 16])
        image = dreamer.next_frames(seen, given, dreamer.recall(memory), steps, random)
        made.append(net.unpack(image).numpy())
    return np.concatenate(made)


def measure_next(dreamer: Dreamer, moments: Moments) -> dict[str, float]:
    """PSNR of the next frame by rung, with true and with other moments' actions; of rung 2 with the memory unread; and
    of the last frame. All in dB."""
    truth, copied = moments.frames[:, -1], moments.frames[:, -2]
    actions = moments.actions[:, -dreamer.net.config.past :]
    shuffled = np.roll(actions, len(actions) // 2, 0)
    found = {"copy_last_db": psnr(copied, truth)}
    for steps in LADDER:
        found[f"rung_{steps}_db"] = psnr(next_frames(dreamer, moments, actions, steps), truth)
        found[f"rung_{steps}_shuffled_db"] = psnr(next_frames(dreamer, moments, shuffled, steps), truth)
    blind = replace(dreamer, window=0)
    found["without_memory_db"] = psnr(next_frames(blind, moments, actions, LADDER[1]), truth)
    return found


def measure_response(dreamer: Dreamer, moments: Moments) -> dict[str, float]:
    """Share of moments in which steering right instead of left, from the same noise, shows in the next frame."""
    found = {}
    for steps in LADDER:
        frames = []
        for steer in (-1.0, 1.0):
            actions = moments.actions[:, -dreamer.net.config.past :].copy()
            actions[:, -1, 0] = steer
            frames.append(next_frames(dreamer, moments, actions, steps).astype(np.int16))
        heard = np.abs(frames[0] - frames[1]).reshape(len(frames[0]), -1).max(1) >= HEARD_LEVELS
        found[f"rung_{steps}"] = float(heard.mean())
    return found


def measure_film(frames: Frames, on_road: NDArray[np.bool_], reference: Statistics | None,
                 features: Features | None) -> dict[str, float | None]:  # fmt: skip
    """Of frames `(ticks, sessions, 64, 64, 3)` and `on_road (ticks, sessions)`."""
    ticks = len(frames)
    thinned = frames[:: max(1, ticks * frames.shape[1] // 1500)].reshape(-1, *frames.shape[2:])
    last_quarter = on_road[-max(1, ticks // 4) :].mean(0)
    return {
        "on_road_share": float(on_road.mean()), "sessions_kept": float((last_quarter >= LOST_BELOW).mean()),
        "bend_spread_px": bend_spread(thinned), "kerb_share": kerb_share(thinned),
        "edge_energy": edge_energy(thinned),
        "feature_distance": None if features is None or reference is None
        else distance(reference, statistics(features, thinned)),
    }  # fmt: skip


def blurred(frames: Frames) -> Frames:
    """The negative control: what a mean of futures looks like. Box-blurred twice, above the gauges."""
    soft = frames.astype(np.float32)
    for _ in range(2):
        padded = np.pad(soft, [(0, 0)] * (soft.ndim - 3) + [(1, 1), (1, 1), (0, 0)], mode="edge")
        soft = np.mean([padded[..., i : i + 64, j : j + 64, :] for i in range(3) for j in range(3)], 0, np.float32)
    soft[..., 52:, :, :] = frames[..., 52:, :, :]
    return soft.round().astype(np.uint8)


def evaluate(folder: Path, out: Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure the weights in `folder`; writes JSON to `out` if given."""
    began, size = time.monotonic(), QUICK if quick else FULL
    dtype = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
    net = load_network(folder).eval().requires_grad_(False)
    net.trunk.to(dtype)
    dreamer, moments, features = Dreamer(net, SCHEDULE, dtype), held_out_moments(size.moments), load_features()
    following, response = measure_next(dreamer, moments), measure_response(dreamer, moments)
    held = measure_open_loop(dreamer, size.sessions * 2, HISTORY)
    films = {"game": drive_the_game(list(GAME_SEEDS)[: size.sessions], ticks=min(size.ticks, 400))}
    reference = None
    if features is not None:
        reference = statistics(features, films["game"].frames.reshape(-1, 64, 64, 3)[::3])
    runs = {"game": measure_film(*films["game"], reference, features)}
    clips = load_seeds(folder)
    of_session = np.arange(size.sessions) % len(clips.frames)
    shown = [films["game"].frames]
    for steps in LADDER:
        film = drive_the_network(
            dreamer, clips.frames[of_session], clips.controls.numpy()[of_session], steps=steps, ticks=size.ticks
        )
        runs[f"rung_{steps}"] = measure_film(*film, reference, features)
        shown.append(film.frames)
    film = films["game"]
    runs["game_blurred"] = measure_film(blurred(film.frames), film.on_road, reference, features)
    numbers = gate_numbers(following, response, runs)
    control = judged_all(film_numbers("game_blurred", runs), FILM_GATES)
    report: dict[str, Any] = {
        "schema": "nextframe.eval/1", "world": "racer", "quick": quick, "weights_sha256": weights_sha256(folder),
        "size": asdict(size), "next_frame": following, "response": response, "open_loop": held,
        "free_run": runs,
        "gates": judged_all(numbers, GATES),
        "blurred_game_fails": not all(row["met"] for row in control.values()),
        "seconds": round(time.monotonic() - began), "torch": torch.__version__, "threads": torch.get_num_threads(),
        "dtype": str(dtype),
    }  # fmt: skip
    report["met"] = all(row["met"] for row in report["gates"].values())
    if out is not None:
        write_report(out, report, filmstrip(shown))
    return report


def filmstrip(films: list[Frames]) -> list[Frames]:
    """Of each film of `(ticks, sessions, 64, 64, 3)`, two sessions at six moments, a row each."""
    return [
        film[at, session].repeat(2, 0).repeat(2, 1)
        for film in films for session in range(2) for at in np.linspace(0, len(film) - 1, FILM_COLUMNS).astype(int)
    ]  # fmt: skip


def film_numbers(name: str, runs: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """What a free run must share with the game."""
    game, run = runs["game"], runs[name]

    def apart(key: str) -> float | None:
        return abs(run[key] / game[key] - 1) if game[key] else None

    return {
        "on_road_share_apart": abs(run["on_road_share"] - game["on_road_share"]),
        "sessions_kept": run["sessions_kept"], "bends_apart": apart("bend_spread_px"),
        "kerbs_apart": apart("kerb_share"), "edge_energy_apart": apart("edge_energy"),
    }  # fmt: skip


def gate_numbers(
    following: dict[str, float], response: dict[str, float], runs: dict[str, dict[str, Any]]
) -> dict[str, float | None]:
    best = max(LADDER, key=lambda steps: following[f"rung_{steps}_db"])
    made, top = following[f"rung_{best}_db"], f"rung_{LADDER[-1]}"
    one, four = (runs[f"rung_{steps}"]["feature_distance"] for steps in (LADDER[0], LADDER[-1]))
    return {
        "gain_over_copy_last_db": made - following["copy_last_db"],
        "true_actions_beat_others_db": made - following[f"rung_{best}_shuffled_db"],
        **film_numbers(top, runs), "key_flip_in_next_frame": min(response.values()),
        "distance_of_one_step_over_four": None if one is None or four is None else one / four,
    }  # fmt: skip


def print_summary(report: dict[str, Any]) -> None:
    console = Console()
    print_head(report, console)
    console.print("PSNR dB: " + ", ".join(f"{k} {v:.2f}" for k, v in report["next_frame"].items()))
    for name, run in report["free_run"].items():
        console.print(f"{name}: " + ", ".join(f"{k} {v:.3f}" for k, v in run.items() if v is not None))
    for name, row in report["open_loop"].items():
        console.print(f"free ticks, {name}: {row}")
    console.print(f"the game's own pictures, blurred, fail: {report['blurred_game_fails']}")


def card(report: dict[str, Any]) -> str:
    following, size = report["next_frame"], report["size"]
    lines = gate_tables(report, GATES)
    lines += [f"Next frame, {size['moments']} held-out moments, dB (copy-last {following['copy_last_db']:.2f}):", ""]
    rungs = [
        (str(steps), *(f"{following[f'rung_{steps}{kind}_db']:.2f}" for kind in ("", "_shuffled"))) for steps in LADDER
    ]
    lines += rows_of(("steps", "true actions", "another moment's actions"), rungs)
    lines += [
        "",
        "Free ticks under the actions really taken, PSNR in dB and overlap of the road (1 is the same road):",
        "",
    ]
    ticks = list(next(iter(report["open_loop"].values())))
    held = [
        (name.replace("_", " "), *(f"{row[tick]['psnr_db']:.1f}, {row[tick]['road_overlap']:.2f}" for tick in ticks))
        for name, row in report["open_loop"].items()
    ]
    lines += rows_of(("", *(f"after {tick}" for tick in ticks)), held)
    lines += ["", f"Free runs, {size['sessions']} sessions of {size['ticks']} ticks, the road driver at the wheel:", ""]
    names = ("on_road_share", "sessions_kept", "bend_spread_px", "kerb_share", "edge_energy", "feature_distance")
    rows = [
        (name.replace("_", " "), *("-" if run[key] is None else f"{run[key]:.3g}" for key in names))
        for name, run in report["free_run"].items()
    ]
    lines += rows_of(("", *(name.replace("_", " ") for name in names)), rows)
    return "\n".join(lines)
