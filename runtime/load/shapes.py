"""The shapes of a load: what a tick costs more, as a function of time.

Everything is a function of time and tick; random shapes take their numbers from a counter-based generator, so the
same moment costs the same in whatever order it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

STAGES = ("condition", "denoise", "decode", "commit")
_CELLS, _JITTER = 0, 1
"""Streams of the noisy neighbour's random numbers."""


class Moment(NamedTuple):
    """When a tick runs, in seconds since the shape began. `before_s`: the tick before it (None: there was none).

    `alone_ms`: what the stage costs without load, as far as is known.
    """

    time_s: float
    tick: int
    before_s: float | None = None
    alone_ms: float = 0.0


class Curve(Protocol):
    def cost_ms(self, moment: Moment) -> float: ...


@dataclass(frozen=True)
class Steady:
    ms: float

    def cost_ms(self, moment: Moment) -> float:
        return self.ms


@dataclass(frozen=True)
class Ramp:
    """From nothing to `ms` in `rise_s`, and then it stays: a device that gets hot."""

    ms: float
    rise_s: float

    def cost_ms(self, moment: Moment) -> float:
        return self.ms * min(1.0, moment.time_s / self.rise_s)


@dataclass(frozen=True)
class Burst:
    """`ms` during the first `for_s` of every `every_s`."""

    ms: float
    every_s: float
    for_s: float

    def cost_ms(self, moment: Moment) -> float:
        return self.ms if moment.time_s % self.every_s < self.for_s else 0.0


@dataclass(frozen=True)
class Noisy:
    """A noisy neighbour: in each `every_s` one stretch of random start, length and strength; `ms` is the most.

    A stretch has 50 to 100 % of `ms`, and each tick in it 70 to 100 % of that. It is on 45 % of the time.
    """

    ms: float
    seed: int
    every_s: float

    def cost_ms(self, moment: Moment) -> float:
        cell, inside_s = divmod(moment.time_s, self.every_s)
        start, length, strength = _uniform(self.seed, _CELLS, int(cell), 3)
        start_s = 0.5 * start * self.every_s
        length_s = (0.2 + 0.8 * length) * (self.every_s - start_s)
        if not start_s <= inside_s < start_s + length_s:
            return 0.0
        (jitter,) = _uniform(self.seed, _JITTER, moment.tick, 1)
        return self.ms * (0.5 + 0.5 * strength) * (0.7 + 0.3 * jitter)


def _uniform(seed: int, stream: int, index: int, count: int) -> list[float]:
    """Numbers in [0, 1) that belong to (seed, stream, index): the upper 53 bits of Philox's output."""
    bits = np.random.Philox(key=[seed, stream], counter=[0, index, 0, 0]).random_raw(count)
    return [int(value >> np.uint64(11)) * 2.0**-53 for value in bits]


@dataclass(frozen=True)
class Pause:
    """One tick of every `every_s` costs `ms` more, as when a garbage collector runs; the first one after `every_s`."""

    ms: float
    every_s: float

    def cost_ms(self, moment: Moment) -> float:
        before_s = moment.time_s if moment.before_s is None else max(0.0, moment.before_s)
        return self.ms if moment.time_s // self.every_s > before_s // self.every_s else 0.0


@dataclass(frozen=True)
class Scale:
    """A machine that is `times` slower. `base_ms`: what it costs alone; None: as measured until now."""

    times: float
    base_ms: float | None

    def cost_ms(self, moment: Moment) -> float:
        return (self.times - 1.0) * (moment.alone_ms if self.base_ms is None else self.base_ms)


@dataclass(frozen=True)
class Trace:
    """A recorded load: `values_ms[i]` from `i * every_s` on, nothing after its end."""

    every_s: float
    values_ms: tuple[float, ...]

    def cost_ms(self, moment: Moment) -> float:
        index = int(moment.time_s // self.every_s)
        return self.values_ms[index] if index < len(self.values_ms) else 0.0


@dataclass(frozen=True)
class Part:
    """One shape: where it strikes (`denoise`: per step, other stages: per tick) and when, from the first tick on."""

    curve: Curve
    stages: tuple[str, ...]
    from_s: float
    to_s: float

    @property
    def is_collector(self) -> bool:
        return isinstance(self.curve, Pause)

    def cost_ms(self, moment: Moment) -> float:
        if not self.from_s <= moment.time_s < self.to_s:
            return 0.0
        before_s = None if moment.before_s is None else moment.before_s - self.from_s
        return self.curve.cost_ms(moment._replace(time_s=moment.time_s - self.from_s, before_s=before_s))


@dataclass(frozen=True)
class LoadShape:
    """Several parts at once; their costs add up. `text`: as it was written."""

    text: str
    parts: tuple[Part, ...]

    def cost_ms(
        self,
        time_s: float,
        tick: int,
        *,
        before_s: float | None = None,
        stage: str = "denoise",
        alone_ms: float = 0.0,
        collector: bool | None = None,
    ) -> float:
        """Milliseconds that the load adds to `stage` of this tick (to each step, if it is `denoise`).

        `time_s`, `before_s`: of this tick and the one before, since the first. `collector`: only garbage collections
        (True), everything else (False), or both (None).
        """
        moment = Moment(time_s, tick, before_s, alone_ms)
        return sum(
            part.cost_ms(moment)
            for part in self.parts
            if stage in part.stages and collector in (None, part.is_collector)
        )
