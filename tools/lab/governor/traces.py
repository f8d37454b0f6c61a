"""Cost traces: what each tick of a session would cost at each quality, recorded or shaped from a seed.

Times are in ms, by tick.

A hiccup (a page fault, another process) strikes one part of a tick at random, each part as often as it is long. A
step that is not taken does not suffer its hiccup: a shorter tick is struck more rarely, as on a real machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ....runtime.core import NextframeError

Array: TypeAlias = NDArray[np.float64]

RECORDED_FOLDER = Path(__file__).parent / "traces"
LADDER = (1, 2, 4)
DEADLINE_MS = 50.0
HEAD_MS, STEP_MS, TAIL_MS, COMMIT_MS = 6.0, 8.0, 6.0, 1.5
"""A tick at the top takes 44 of 50 ms: no room to spare, so that every disturbance asks for a decision."""
SHAPED_TICKS = 1200
JITTER = 0.02
"""Standard deviation of the logarithm of each part's cost."""
HICCUP_RATE = 0.004
LARGEST_FILE_BYTES = 32 * 2**20


@dataclass(frozen=True)
class CostTrace:
    """What each tick costs, in ms.

    `fixed_ms`: release to picture, less the denoise steps; `tail_ms` is the part of it after the last step.
    `step_ms`: each denoise step at top quality. `commit_ms`: after the picture. `family`: the kind of load.
    """

    family: str
    world: str
    machine: str
    ladder: tuple[int, ...]
    deadline_ms: float
    fixed_ms: tuple[float, ...]
    step_ms: tuple[tuple[float, ...], ...]
    tail_ms: tuple[float, ...]
    commit_ms: tuple[float, ...]

    @property
    def ticks(self) -> int:
        return len(self.fixed_ms)

    def picture_ms(self, tick: int, steps: int) -> float:
        """From start to picture at this quality."""
        return self.fixed_ms[tick] + sum(self.step_ms[tick][:steps])


def save_trace(path: Path, trace: CostTrace) -> None:
    """As JSON, times rounded to microseconds."""
    rounded = {
        name: np.round(value, 3).tolist() if name.endswith("_ms") and name != "deadline_ms" else value
        for name, value in asdict(trace).items()
    }
    path.write_text(json.dumps(rounded) + "\n", encoding="utf-8")


def load_trace(path: Path) -> CostTrace:
    """Read a trace. `tail_ms` defaults to half of `fixed_ms`, `commit_ms` to 0, `family` to the file's name.

    Raises `NextframeError` when the file is no trace or its lists do not fit together.
    """
    where = f"{path}: not a cost trace"
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise NextframeError(f"{where}: expected at most {LARGEST_FILE_BYTES >> 20} MiB; record fewer ticks")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NextframeError(
            f"{where}: {error}; record one with python -m nextframe.tools.lab.governor.record"
        ) from error
    try:
        trace = _from_document(document, path.stem)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NextframeError(f"{where}: missing or wrong field: {error}; see docs/governor.md") from error
    problem = _problem_of(trace)
    if problem:
        raise NextframeError(f"{where}: {problem}")
    return trace


def _from_document(document: Mapping[str, Any], family: str) -> CostTrace:
    fixed_ms = tuple(float(value) for value in document["fixed_ms"])
    return CostTrace(
        family=str(document.get("family", family)),
        world=str(document["world"]),
        machine=str(document["machine"]),
        ladder=tuple(int(rung) for rung in document["ladder"]),
        deadline_ms=float(document["deadline_ms"]),
        fixed_ms=fixed_ms,
        step_ms=tuple(tuple(float(value) for value in row) for row in document["step_ms"]),
        tail_ms=tuple(float(value) for value in document.get("tail_ms", [value / 2 for value in fixed_ms])),
        commit_ms=tuple(float(value) for value in document.get("commit_ms", [0.0] * len(fixed_ms))),
    )


def _problem_of(trace: CostTrace) -> str | None:
    lengths = {name: len(getattr(trace, name)) for name in ("fixed_ms", "step_ms", "tail_ms", "commit_ms")}
    if trace.ticks == 0 or len(set(lengths.values())) > 1:
        return f"expected lists of one length, at least 1, got {lengths}"
    if not trace.ladder or sorted(set(trace.ladder)) != list(trace.ladder) or trace.ladder[0] < 1:
        return f"ladder: expected ascending step counts from 1 up, got {trace.ladder}"
    if any(len(row) != trace.ladder[-1] for row in trace.step_ms):
        return f"step_ms: expected {trace.ladder[-1]} steps in each tick, the top of the ladder"
    costs = np.concatenate([trace.fixed_ms, trace.tail_ms, trace.commit_ms, np.ravel(trace.step_ms)])
    if not (np.all(np.isfinite(costs)) and np.all(costs >= 0) and 0 < trace.deadline_ms < np.inf):
        return "expected times of at least 0 ms, and a deadline above 0"
    return None


def recorded_traces(folder: Path = RECORDED_FOLDER) -> list[CostTrace]:
    """Every trace in the folder, by name; its family is the file's name."""
    return [replace(load_trace(path), family=path.stem) for path in sorted(folder.glob("*.json"))]


# --- shapes: by what each tick's costs are multiplied, and what is added ---------------------------------------


@dataclass
class _Costs:
    """Costs under construction: `head`, `tail`, `commit` are `(ticks,)`, `steps` is `(ticks, top)`, all in ms."""

    head: Array
    steps: Array
    tail: Array
    commit: Array

    def slow(self, factor: Array | float, *, steps_only: bool = False) -> None:
        """Multiply by a factor for each tick."""
        by_tick = np.broadcast_to(np.asarray(factor, dtype=np.float64), self.head.shape)
        self.steps *= by_tick[:, None]
        if not steps_only:
            self.head, self.tail, self.commit = self.head * by_tick, self.tail * by_tick, self.commit * by_tick

    def strike(self, tick: int, duration_ms: float, random: Generator) -> None:
        """Add a hiccup to one part of the tick, chosen by how long the parts are."""
        parts = np.array([self.head[tick], *self.steps[tick], self.tail[tick]])
        part = int(random.choice(len(parts), p=parts / parts.sum()))
        if part == 0:
            self.head[tick] += duration_ms
        elif part == len(parts) - 1:
            self.tail[tick] += duration_ms
        else:
            self.steps[tick, part - 1] += duration_ms


Shape: TypeAlias = Callable[[_Costs, Generator], None]


def _steady(costs: _Costs, random: Generator) -> None:
    pass


def _step(costs: _Costs, random: Generator) -> None:
    """Each denoise step costs twice as much from the first tick to 60, and from a third to two thirds."""
    ticks = len(costs.head)
    loaded = np.zeros(ticks, dtype=bool)
    loaded[:60] = loaded[ticks // 3 : 2 * ticks // 3] = True
    costs.slow(np.where(loaded, 2.0, 1.0), steps_only=True)


def _decode_step(costs: _Costs, random: Generator) -> None:
    """A cost that no step can save: the decode takes 22 ms longer for the middle third."""
    ticks = len(costs.tail)
    costs.tail[ticks // 3 : 2 * ticks // 3] += 22.0


def _ramp(costs: _Costs, random: Generator) -> None:
    """Everything grows to 2.2 times its cost and falls back."""
    costs.slow(np.interp(np.linspace(0, 1, len(costs.head)), [0, 0.1, 0.5, 0.6, 0.9, 1], [1, 1, 2.2, 2.2, 1, 1]))


def _burst(costs: _Costs, random: Generator) -> None:
    """Every 150 ticks or so, 10 to 40 ticks that cost 1.8 times as much."""
    factor, tick = np.ones(len(costs.head)), 0
    while (tick := tick + int(random.uniform(100, 200))) < len(factor):
        length = int(random.integers(10, 41))
        factor[tick : tick + length] = 1.8
        tick += length
    costs.slow(factor)


def _noisy_neighbour(costs: _Costs, random: Generator) -> None:
    """Another program comes and goes: all is 1.5 times slower while it is there, and every fifth tick must wait."""
    tick, ticks = 0, len(costs.head)
    factor = np.ones(ticks)
    while (tick := tick + int(random.exponential(160)) + 40) < ticks:
        length = int(random.exponential(80)) + 20
        factor[tick : tick + length] = 1.5
        tick += length
    costs.slow(factor)
    for struck in np.flatnonzero((factor > 1) & (random.random(ticks) < 0.2)):
        costs.strike(int(struck), float(random.uniform(2, 10)), random)


def _periodic_gc(costs: _Costs, random: Generator) -> None:
    """A garbage collector stops the tick for 12 ms, every 90 ticks."""
    for tick in range(int(random.integers(20, 90)), len(costs.head), 90):
        costs.strike(tick, 12.0, random)


def _rolling_window(costs: _Costs, random: Generator) -> None:
    """A memory that fills makes each step dearer, from 0.7 to 1.5 times, and a reset empties it."""
    filled = np.minimum(np.arange(len(costs.head)) % 400 / 300, 1.0)
    costs.slow(0.7 + 0.8 * filled, steps_only=True)


SHAPES: Mapping[str, Shape] = {
    "steady, tight": _steady,
    "step overload": _step,
    "slow decode": _decode_step,
    "ramp": _ramp,
    "burst": _burst,
    "noisy neighbour": _noisy_neighbour,
    "periodic GC": _periodic_gc,
    "rolling window": _rolling_window,
}


def shaped_trace(family: str, seed: int, ticks: int = SHAPED_TICKS) -> CostTrace:
    """One shape of load over a world whose top quality takes 88 % of the deadline, with jitter and rare hiccups."""
    random = np.random.default_rng([seed, *family.encode()])

    def jittered(mean_ms: float, *shape: int) -> Array:
        return mean_ms * np.asarray(random.lognormal(0.0, JITTER, shape), dtype=np.float64)

    costs = _Costs(
        head=jittered(HEAD_MS, ticks),
        steps=jittered(STEP_MS, ticks, LADDER[-1]),
        tail=jittered(TAIL_MS, ticks),
        commit=jittered(COMMIT_MS, ticks),
    )
    SHAPES[family](costs, random)
    for tick in np.flatnonzero(random.random(ticks) < HICCUP_RATE):
        costs.strike(int(tick), float(random.uniform(5, 25)), random)
    return CostTrace(
        family=family,
        world="shaped",
        machine=f"seed {seed}",
        ladder=LADDER,
        deadline_ms=DEADLINE_MS,
        fixed_ms=tuple((costs.head + costs.tail).tolist()),
        step_ms=tuple(tuple(row) for row in costs.steps.tolist()),
        tail_ms=tuple(costs.tail.tolist()),
        commit_ms=tuple(costs.commit.tolist()),
    )
