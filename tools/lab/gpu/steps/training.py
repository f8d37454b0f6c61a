"""Step `training`: go on with the circuit's dynamics for some minutes, from what the repository has.

The teacher drives on all cores, the shipped weights are where training begins, and what comes out is held against them
on frames that neither has seen. Leaves `dynamics.safetensors`; whether it ships is decided by the world's own
evaluation, not here.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from .....model.base.checkpoint import load_into, load_tensors
from .....model.dynamics.slots import Dynamics, DynamicsConfig
from .....worlds.circuit.world import DYNAMICS, TOKENIZER
from ..queue import ROOT
from ..sessions import FOLDER
from ..step import Context, SkippedError

LARGEST_MIB = 16.0
"""Weights beyond this do not belong in a repository."""
RATE, OWN_SHARE = "5e-4", "0.25"
"""To go on from weights that are good already: slower than from nothing, and with the network's own drives."""
CHUNK = 6
"""Episodes a process makes at a time; a multiple of three, as the teacher's habits come in threes."""


@dataclass(frozen=True)
class Sizes:
    """`episodes` at most, of `ticks` each; `held_out` of `held_out_ticks`. `rows`, `frames`: of the comparison."""

    episodes: int = 2400
    ticks: int = 240
    held_out: int = 66
    held_out_ticks: int = 1100
    batch: int = 64
    rows: int = 12
    frames: int = 24


REHEARSED = Sizes(episodes=6, ticks=50, held_out=3, held_out_ticks=50, batch=4, rows=2, frames=1)


def run(context: Context) -> None:
    sizes = REHEARSED if context.rehearse else Sizes()
    if context.left_s < (10 if context.rehearse else 120):
        raise SkippedError(f"needs two minutes, {context.left_s:.0f} s are left")
    with tempfile.TemporaryDirectory(prefix="nextframe-training-") as scratch:
        folder = Path(scratch)
        begin_from_the_shipped(folder, context.device)
        context.attempt("episodes", lambda: drive_in_parallel(folder, sizes, context.left_s * 0.3, context.rehearse))
        trained = context.attempt("training", lambda: train(folder, sizes, context))
        if trained.get("status") != "failed":
            context.attempt("weights", lambda: keep(folder, context.folder))
            context.attempt("compared", lambda: compare(folder, sizes, context))


def begin_from_the_shipped(folder: Path, device: torch.device) -> None:
    """A checkpoint as training leaves it, with the shipped weights and an optimiser that has seen nothing."""
    shutil.copy(FOLDER / TOKENIZER, folder / TOKENIZER)
    shutil.copy(FOLDER / DYNAMICS, folder / DYNAMICS)
    dynamics = Dynamics(DynamicsConfig())
    load_into(dynamics, FOLDER / DYNAMICS)
    dynamics.to(device)
    optimiser = torch.optim.AdamW(dynamics.parameters())
    weights = dynamics.state_dict()
    stored = {"dynamics": weights, "ema": weights, "optimiser": optimiser.state_dict(), "spent_s": 0.0, "step": 0}
    torch.save(stored, folder / "dynamics.checkpoint")


# --- data ---------------------------------------------------------------------------------------------------------


def drive_in_parallel(folder: Path, sizes: Sizes, seconds: float, rehearse: bool) -> dict[str, Any]:
    """As many episodes as fit the time, at most `sizes.episodes`; the held-out ones first, all of them."""
    from .....worlds.circuit.recipe.data import HELD_OUT_SEED

    processes = 1 if rehearse else max(1, os.cpu_count() or 1)
    began = time.monotonic()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _prepare) as pool:
        held_out = _collect(pool, sizes.held_out, sizes.held_out_ticks, HELD_OUT_SEED)
        save_file(held_out, folder / "held_out.safetensors")
        driven: list[dict[str, torch.Tensor]] = []
        count = 0
        while count < sizes.episodes and (not driven or time.monotonic() - began < seconds):
            batch = min(processes * CHUNK, sizes.episodes - count)
            driven.append(_collect(pool, batch, sizes.ticks, count))
            count += batch
    save_file({name: torch.cat([part[name] for part in driven]) for name in driven[0]}, folder / "episodes.safetensors")
    taken = time.monotonic() - began
    ticks = count * sizes.ticks + sizes.held_out * sizes.held_out_ticks
    return {
        "episodes": count, "ticks_each": sizes.ticks, "held_out": sizes.held_out, "processes": processes,
        "seconds": round(taken, 1), "ticks_per_s": round(ticks / taken, 1),
    }  # fmt: skip


def _prepare() -> None:
    torch.set_num_threads(1)


def _collect(pool: ProcessPoolExecutor, count: int, ticks: int, first_seed: int) -> dict[str, torch.Tensor]:
    starts = range(0, count, CHUNK)
    parts = list(pool.map(_drive, [(first_seed + at, min(CHUNK, count - at), ticks) for at in starts]))
    return {name: torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in parts[0]}


def _drive(asked: tuple[int, int, int]) -> dict[str, Any]:
    from .....worlds.circuit.recipe.clips import Latents, make_episodes
    from .....worlds.circuit.world import load_networks

    first_seed, count, ticks = asked
    made = make_episodes(Latents(load_networks(FOLDER)[0].eval().requires_grad_(False)), count, ticks, first_seed)
    return {"latents": made.latents.numpy(), "conditions": made.conditions.numpy()}


# --- training and comparing ---------------------------------------------------------------------------------------


def train(folder: Path, sizes: Sizes, context: Context) -> dict[str, Any]:
    """The world's own training program, for most of what is left."""
    seconds = 1.0 if context.rehearse else context.left_s * 0.7
    more = [] if context.rehearse else ["--compile", "--own-share", OWN_SHARE]
    command = [
        sys.executable, "-m", "nextframe.worlds.circuit.recipe.dynamics", "--out", str(folder),
        "--minutes", f"{seconds / 60:.3f}", "--device", context.device.type, "--batch", str(sizes.batch),
        "--rate", RATE, "--resume", *more,
    ]  # fmt: skip
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=max(30.0, context.left_s * 0.85), check=False
        )
        said, code = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as cut:
        said, code = str(cut.stdout or ""), 0  # what it had saved last counts
    stored = torch.load(folder / "dynamics.checkpoint", weights_only=True, map_location="cpu")
    if code != 0 or not stored["step"]:
        raise RuntimeError(f"training took no step (code {code}): {said[-1500:]}")
    steps, spent = int(stored["step"]), float(stored["spent_s"])
    return {
        "minutes": round((time.monotonic() - began) / 60, 2), "steps": steps, "steps_per_s": round(steps / spent, 2),
        "batch": sizes.batch, "rate": float(RATE), "compiled": "--compile" in more,
        "log": [line for line in said.splitlines() if "loss" in line][-3:],
    }  # fmt: skip


def keep(folder: Path, out: Path) -> dict[str, Any]:
    """The weights beside the document, if they are of a size to keep."""
    tensors = load_tensors(folder / DYNAMICS)
    finite = all(bool(torch.isfinite(part).all()) for part in tensors.values())
    mib = (folder / DYNAMICS).stat().st_size / 2**20
    if not finite or mib > LARGEST_MIB:
        raise RuntimeError(f"expected finite weights of at most {LARGEST_MIB} MiB, got {mib:.1f}, finite: {finite}")
    shutil.copy(folder / DYNAMICS, out / DYNAMICS)
    return {"file": DYNAMICS, "mib": round(mib, 2), "differs_from_shipped": _differs(tensors)}


def _differs(tensors: dict[str, torch.Tensor]) -> bool:
    shipped = load_tensors(FOLDER / DYNAMICS)
    return any(not torch.equal(part, shipped[name]) for name, part in tensors.items())


def compare(folder: Path, sizes: Sizes, context: Context) -> dict[str, Any]:
    """Next frames from true histories, the new weights and the shipped ones on the same held-out drives, in dB."""
    from .....worlds.circuit.evaluation.forced import next_frame
    from .....worlds.circuit.evaluation.rig import Bench
    from .....worlds.circuit.teacher.render import Renderer
    from .....worlds.circuit.teacher.simulator import Simulator

    if context.left_s < (2 if context.rehearse else 25):
        raise SkippedError("no time left to compare: evaluate the weights elsewhere")
    simulator, renderer = Simulator(), Renderer()
    found = {}
    for name, weights in (("trained", folder), ("shipped", FOLDER)):
        forced = next_frame(Bench(simulator, renderer, weights), sizes.rows, sizes.frames)
        found[name] = {key: forced[key] for key in ("psnr_db", "moving_psnr_db")}
    return found
