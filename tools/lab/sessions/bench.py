"""`python -m nextframe.tools.lab.sessions.bench`: frames per second of many sessions, batched against one at a time, in
one run.

A table, then one JSON line. Both ways take turns, round by round, with the same sessions, the same inputs and the same
denoise steps, so that what else the machine does falls on both. On a CPU rates are also given per second of this
process's CPU time: that is per core, and it does not fall because other programs run. Rates are of a round's median.
Exit code 0, or 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ....model.base.checkpoint import load_tensors
from ....model.base.devices import best_device
from ....model.batch.sessions import ROW_STEP, SessionBatch, TickRequest
from ....model.dynamics.slots import Dynamics
from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import SlotTokenizer
from ....runtime.core import NextframeError
from ....runtime.session.registry import find_world
from ....runtime.session.startup import cpu_name, prepare_torch
from ....worlds.circuit.world import SEEDS, load_networks

SCHEMA = "nextframe.sessions/1"
COUNTS = (1, 2, 4, 8, 16, 32, 64)
TICK_HZ = 20
MOST_ROWS = 32
"""Rows in one block. 64 were not clearly faster than 32 on the machine of docs/sessions.md."""


@dataclass(frozen=True)
class Networks:
    """`latents` `(clips, ticks, latent_dim)` and `conditions` `(clips, ticks, condition_dim)`: true pasts."""

    tokenizer: SlotTokenizer
    dynamics: Dynamics
    latents: Tensor
    conditions: Tensor


@dataclass(frozen=True)
class Cost:
    """Of one tick of one session, medians over rounds."""

    wall_ms: float
    cpu_ms: float

    @property
    def fps(self) -> float:
        return 1e3 / self.wall_ms

    def sessions_at(self, hz: float) -> float:
        """How many of these one core can tick at this rate, if nothing else runs on it."""
        return 1e3 / self.cpu_ms / hz


@dataclass(frozen=True)
class Row:
    """What `sessions` sessions cost. `alone`, `batched`: denoise and commit. `decode`: frames, as the batch decodes;
    `decode_together`: all of them in one call."""

    sessions: int
    block_rows: int
    alone: Cost
    batched: Cost
    decode: Cost
    decode_together: Cost

    @property
    def gain(self) -> float:
        return self.alone.cpu_ms / self.batched.cpu_ms

    def with_decode(self, cost: Cost) -> Cost:
        return Cost(cost.wall_ms + self.decode.wall_ms, cost.cpu_ms + self.decode.cpu_ms)


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.sessions.bench", description=__doc__)
    arguments.add_argument("--sessions", default=",".join(map(str, COUNTS)), help="counts to measure")
    arguments.add_argument("--steps", type=int, default=4, help="denoise steps of every tick")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--round-ticks", type=int, default=2, help="ticks of every session in a round")
    arguments.add_argument("--block-rows", type=int, default=MOST_ROWS, help="rows computed together, at most")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cpu", help="cpu, cuda, or auto")
    arguments.add_argument("--out", type=Path, help="write the JSON document here, too")
    return arguments


def load(device: str) -> Networks:
    folder = find_world("circuit").path
    seeds = load_tensors(folder / SEEDS)
    return Networks(*load_networks(folder, device), seeds["latents"].to(device), seeds["conditions"].to(device))


class Alone:
    """Each session with a generator of its own, one after the other."""

    def __init__(self, networks: Networks, sessions: int, steps: int) -> None:
        self._steps = steps
        self._generators = [RollingGenerator(networks.tokenizer, networks.dynamics) for _ in range(sessions)]
        for at, generator in enumerate(self._generators):
            clip = at % len(networks.latents)
            generator.prefill(networks.latents[clip][None], networks.conditions[clip][None])

    def tick(self, conditions: Sequence[Tensor]) -> None:
        for seed, (generator, condition) in enumerate(zip(self._generators, conditions, strict=True)):
            job = generator.start(condition[None], seed, self._steps)
            while job.can_step:
                job.step()
            generator.commit(job.finish(), condition[None])


class Batched:
    """All sessions in a batch."""

    def __init__(self, networks: Networks, sessions: int, steps: int, block_rows: int) -> None:
        self._steps = steps
        self.batch = SessionBatch(networks.tokenizer, networks.dynamics, sessions, block_rows=block_rows)
        clips = [at % len(networks.latents) for at in range(sessions)]
        self._sessions = [
            self.batch.join(seed, networks.latents[clip], networks.conditions[clip]) for seed, clip in enumerate(clips)
        ]
        self.latents: list[Tensor] = []

    def tick(self, conditions: Sequence[Tensor]) -> None:
        pairs = zip(self._sessions, conditions, strict=True)
        made = self.batch.advance({s: TickRequest(condition, self._steps) for s, condition in pairs})
        self.latents = [made[session] for session in self._sessions]


def measure_row(networks: Networks, sessions: int, options: argparse.Namespace) -> Row:
    block_rows = min(options.block_rows, -(-sessions // ROW_STEP) * ROW_STEP)
    alone = Alone(networks, sessions, options.steps)
    batched = Batched(networks, sessions, options.steps, block_rows)
    clips = [at % len(networks.latents) for at in range(sessions)]
    drawn = iter(range(10**9))

    def conditions() -> list[Tensor]:
        """True controls, another moment of the clips each time."""
        at = next(drawn) % networks.conditions.shape[1]
        return [networks.conditions[clip][at] for clip in clips]

    ways: dict[str, Callable[[], object]] = {
        "alone": lambda: alone.tick(conditions()),
        "batched": lambda: batched.tick(conditions()),
        "decode": lambda: batched.batch.decode(batched.latents),
        "decode_together": lambda: networks.tokenizer.decode(torch.cat(batched.latents)),
    }
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with torch.inference_mode():
        for number in range(1 + options.rounds):
            for name, way in ways.items():
                cost = _timed(way, options.round_ticks, sessions)
                if number:  # the first round warms up
                    costs[name].append(cost)
    return Row(
        sessions, block_rows,
        **{name: Cost(*(median(part) for part in zip(*found, strict=True))) for name, found in costs.items()},
    )  # fmt: skip


def _timed(way: Callable[[], object], ticks: int, sessions: int) -> tuple[float, float]:
    """Wall and CPU milliseconds of one tick of one session."""
    _wait()
    wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    for _ in range(ticks):
        way()
    _wait()
    share = 1e6 * ticks * sessions
    return (time.perf_counter_ns() - wall_ns) / share, (time.process_time_ns() - cpu_ns) / share


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    try:
        counts = [int(part) for part in options.sessions.split(",")]
    except ValueError as error:
        raise NextframeError(f"--sessions: expected counts such as 1,2,4, got {options.sessions!r}") from error
    if min(counts) < 1 or options.rounds < 1 or options.round_ticks < 1:
        raise NextframeError("expected at least 1 session, 1 round and 1 tick a round")
    device = best_device() if options.device == "auto" else options.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise NextframeError("--device: expected a CUDA device here, found none; use --device cpu")
    if not 1 <= options.steps <= len((networks := load(device)).dynamics.config.taus):
        raise NextframeError(f"--steps: expected 1 to {len(networks.dynamics.config.taus)}, got {options.steps}")
    rows = [measure_row(networks, sessions, options) for sessions in counts]
    cuda = device.startswith("cuda")
    return {
        "schema": SCHEMA, "world": "circuit", "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "device_type": device, "denoise_steps": options.steps, "rounds": options.rounds,
        "round_ticks": options.round_ticks, "threads": torch.get_num_threads(), "torch": str(torch.__version__),
        "load_average": [round(part, 2) for part in os.getloadavg()],
        "rows": [
            {**asdict(row), "gain": row.gain, "fps_alone": row.alone.fps, "fps_batched": row.batched.fps,
             "fps_with_decode_alone": row.with_decode(row.alone).fps,
             "fps_with_decode_batched": row.with_decode(row.batched).fps}
            for row in rows
        ],
    }  # fmt: skip


def show(document: dict[str, Any], console: Console) -> None:
    per_core = document["device_type"] == "cpu"
    unit = "cpu_ms" if per_core else "wall_ms"
    table = Table(
        "sessions", "rows a block", "alone", "batched", "gain", "with decode: alone", "batched", "gain",
        f"sessions at {TICK_HZ} Hz",
        title=f"frames/s of all sessions, {document['denoise_steps']} denoise steps, {document['device']}"
        + (", per second of CPU time" if per_core else ""),
    )  # fmt: skip
    for row in document["rows"]:
        alone, batched, decode = (row[name][unit] for name in ("alone", "batched", "decode"))
        table.add_row(
            str(row["sessions"]), str(row["block_rows"]), f"{1e3 / alone:.0f}", f"{1e3 / batched:.0f}",
            f"{alone / batched:.2f}", f"{1e3 / (alone + decode):.0f}", f"{1e3 / (batched + decode):.0f}",
            f"{(alone + decode) / (batched + decode):.2f}", f"{1e3 / (batched + decode) / TICK_HZ:.1f}",
        )  # fmt: skip
    console.print(table)
    decode = document["rows"][-1]
    console.print(
        f"decode: {decode['decode'][unit]:.2f} ms a frame, all together {decode['decode_together'][unit]:.2f}"
    )


def main() -> int:
    options = parser().parse_args()
    prepare_torch(options.threads)
    try:
        document = measure(options)
    except (NextframeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    show(document, Console(width=120))
    if options.out:
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
