"""Runs a world for a long time and takes its vital signs once a minute of world time.

Keeps one row a minute and nothing per tick beyond the minute under way, so that the soak itself does not grow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ....model.drift.bank import DriftBank, load_bank
from ....model.drift.monitor import ALARM_AFTER_TICKS, DriftMonitor
from ....model.tokenizers.scenes.still import SLOT_DIM
from ....runtime.core import Action, Clock, Controller, TickPlan, TickResult, World
from ....runtime.core import Frame as Picture
from ....runtime.display.null import NullDisplay
from ....runtime.governor.adaptive import FixedGovernor
from ....runtime.loop import Observer
from ....runtime.session.builder import Session
from ....runtime.session.parts.part import Setting
from ....runtime.tick.forwarding import ForwardingWorld
from ....runtime.tick.record import TickRecord
from ....worlds.evaluation.measures import edge_energy
from ....worlds.neural.world import NeuralWorld

PICTURES_A_MINUTE = 12
BANK = "drift_bank.safetensors"


@dataclass(frozen=True)
class Minute:
    """One minute of world time. `end_minutes`: world time at its end.

    `rss_bytes`: resident memory at its end, None where the system does not say. `tick_p50_ms`, `tick_p99_ms`: advance
    and commit together. `clock_drift_ms`: how far the last tick's poll is from n*T after the first one's, absolute, and
    `dilation_ms`: the part of it that overruns account for; both None unless the clock is real. `drift_score`: median
    of the monitor's. `outside_share`: ticks with a score above the alarm, of those judged. `edge_energy`: mean over
    some pictures. `cars`: objects in sight, mean over ticks. The last four are None for worlds without them.
    """

    end_minutes: float
    ticks: int
    rss_bytes: int | None
    tick_p50_ms: float
    tick_p99_ms: float
    clock_drift_ms: float | None
    dilation_ms: float | None
    drift_score: float | None
    outside_share: float | None
    alarms: int
    edge_energy: float
    cars: float | None


class TimedWorld(ForwardingWorld):
    """A world whose ticks are timed by the machine's clock, whatever clock the loop has."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tick_ns = 0
        self.frame: Picture | None = None

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        began_ns = time.perf_counter_ns()
        result = self._world.advance(action, plan)
        advanced_ns = time.perf_counter_ns() - began_ns
        self.frame = result.frames[-1]

        def commit() -> None:
            commit_ns = time.perf_counter_ns()
            result.commit()
            self.tick_ns = advanced_ns + time.perf_counter_ns() - commit_ns

        return replace(result, commit=commit)


class LatentSigns:
    """Drift and cars of a neural world, read from what it commits."""

    def __init__(self, world: NeuralWorld, bank: DriftBank) -> None:
        self._world = world
        self._groups = world.info.actions.prompts
        self._condition = np.zeros(world.generator.config.condition_dim, np.float32)
        self.monitor = DriftMonitor(bank, remember_ticks=world.generator.config.window)

    def observe(self) -> float:
        """Take in the tick just committed; returns how many objects are in sight."""
        latent = self._world.generator.last[0].numpy()
        chosen = self._world.prompt.split()
        flags = [word == now for words, now in zip(self._groups.values(), chosen, strict=True) for word in words]
        self._condition[len(self._condition) - len(flags) :] = flags
        self.monitor.observe(latent, self._condition)
        return float(np.count_nonzero(latent[self.monitor.bank.scene_dim + 4 :: SLOT_DIM] > 0))


class VitalSigns:
    """An observer that turns ticks into minutes. `minute_ticks`: ticks in one; tests make it small."""

    def __init__(
        self,
        world: TimedWorld,
        tick_period_ns: Fraction,
        *,
        minute_ticks: int,
        real: bool,
        latents: LatentSigns | None = None,
        rss: Callable[[], int | None] | None = None,
    ) -> None:
        self.minutes: list[Minute] = []
        self._world, self._latents, self._rss = world, latents, rss or resident_bytes
        self._period_ns, self._minute_ticks, self._real = tick_period_ns, minute_ticks, real
        self._first: tuple[int, int] | None = None  # release and poll of the first tick
        self._ticks = 0
        self._begin_minute()

    def _begin_minute(self) -> None:
        self._tick_ms: list[float] = []
        self._scores: list[tuple[float, bool]] = []
        self._cars: list[float] = []
        self._edges: list[float] = []
        self._alarms = 0

    def observe(self, record: TickRecord) -> None:
        self._first = self._first or (record.release_ns, record.poll_ns)
        self._tick_ms.append(self._world.tick_ns / 1e6)
        if self._ticks % max(1, self._minute_ticks // PICTURES_A_MINUTE) == 0 and self._world.frame is not None:
            self._edges.append(edge_energy(self._world.frame))
        if self._latents is not None:
            self._cars.append(self._latents.observe())
            monitor = self._latents.monitor
            if monitor.report.judged:
                self._scores.append((monitor.report.score, monitor.report.outside_for_ticks > 0))
            self._alarms += monitor.report.outside_for_ticks == ALARM_AFTER_TICKS
        self._ticks += 1
        if self._ticks % self._minute_ticks == 0:
            self._end_minute(record)
            self._begin_minute()

    def _end_minute(self, record: TickRecord) -> None:
        assert self._first is not None
        due_ns = (self._ticks - 1) * self._period_ns
        dilation_ns = float(record.release_ns - self._first[0] - due_ns)
        drift_ns = float(abs(record.poll_ns - self._first[1] - due_ns))
        scores = np.array(self._scores).reshape(-1, 2)
        p50, p99 = np.percentile(self._tick_ms, [50, 99]).tolist()
        self.minutes.append(
            Minute(
                end_minutes=self._ticks / self._minute_ticks,
                ticks=len(self._tick_ms),
                rss_bytes=self._rss(),
                tick_p50_ms=p50,
                tick_p99_ms=p99,
                clock_drift_ms=drift_ns / 1e6 if self._real else None,
                dilation_ms=dilation_ns / 1e6 if self._real else None,
                drift_score=float(np.median(scores[:, 0])) if len(scores) else None,
                outside_share=float(scores[:, 1].mean()) if len(scores) else None,
                alarms=self._alarms,
                edge_energy=float(np.mean(self._edges)),
                cars=float(np.mean(self._cars)) if self._cars else None,
            )
        )


def latent_signs(world: World, folder: Path) -> LatentSigns | None:
    """What watches the latents of a world that has some, and a bank beside its weights. Raises `CheckpointError`."""
    path = folder / BANK
    return LatentSigns(world, load_bank(path)) if isinstance(world, NeuralWorld) and path.is_file() else None


def resident_bytes() -> int | None:
    """Resident memory of this process; None where there is no /proc."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def soak(
    world: World,
    controller: Controller,
    clock: Clock,
    ticks: int,
    *,
    steps: int,
    real: bool,
    folder: Path,
    minute_ticks: int | None = None,
    more: Observer | None = None,
    rss: Callable[[], int | None] | None = None,
) -> list[Minute]:
    """The vital signs of `ticks` ticks through the loop itself, at one quality. The caller closes the world."""
    setting = Setting.at(world.info.tick_hz, clock)
    timed = TimedWorld(world)
    signs = VitalSigns(
        timed,
        setting.tick_period_ns,
        minute_ticks=minute_ticks or round(60 * world.info.tick_hz),
        real=real,
        latents=latent_signs(world, folder),
        rss=rss,
    )
    loop = Session(timed, setting).loop(
        controller,
        NullDisplay(clock),
        FixedGovernor(steps),
        observers=(signs,) if more is None else (signs, more),
        checksum_every=0,
    )
    loop.run(ticks)
    return signs.minutes
