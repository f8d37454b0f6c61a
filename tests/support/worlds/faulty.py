"""Faults put into the generator of a small world at chosen places: numbers that are none, and a device without room."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from nextframe.worlds.neural.world import NeuralWorld


class PoisonedJob:
    """Another job whose finished latent has `value` in one place."""

    def __init__(self, job: Any, value: float) -> None:
        self._job, self._value = job, value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job, name)

    def finish(self) -> torch.Tensor:
        latent = self._job.finish().clone()
        latent[0, 1] = self._value
        return latent


def poison(
    world: NeuralWorld, ticks: Collection[int], value: float = float("nan"), *, only_once: bool = False
) -> NeuralWorld:
    """Every latent of these ticks of the generator is bad. `only_once`: a flipped bit, gone when it is made again."""
    left, start = set(ticks), world.generator.start

    def poisoned(condition: Any, seed: int, steps: int) -> Any:
        job, tick = start(condition, seed, steps), world.generator.tick
        if tick not in left:
            return job
        if only_once:
            left.discard(tick)
        return PoisonedJob(job, value)

    world.generator.start = poisoned  # type: ignore[method-assign]
    return world


class NoRoom:
    """Raises as an allocator does, at places of a world's tick where `lacks(place)` says so.

    Places: start, step, decode, commit. `calls` counts them. `error`: what is raised.
    """

    def __init__(self, world: NeuralWorld, lacks: Callable[[str], bool], error: Exception | None = None) -> None:
        self._lacks, self._error = lacks, error or torch.OutOfMemoryError("out of memory. Tried to allocate 2 MiB")
        self.calls: dict[str, int] = dict.fromkeys(("start", "step", "decode", "commit"), 0)
        generator: Any = world.generator
        start, decode, commit = generator.start, generator.decode, generator.commit

        def start_with_steps(condition: Any, seed: int, steps: int) -> Any:
            self._at("start")
            job = start(condition, seed, steps)
            step = job.step
            job.step = lambda: (self._at("step"), step())
            return job

        generator.start = start_with_steps
        generator.decode = lambda latent: (self._at("decode"), decode(latent))[1]
        generator.commit = lambda latent, condition: (self._at("commit"), commit(latent, condition))[1]

    def _at(self, place: str) -> None:
        self.calls[place] += 1
        if self._lacks(place):
            raise self._error


class Once:
    """A fault at one place, `times` times in a row, once it is armed."""

    def __init__(self, place: str, times: int = 1) -> None:
        self._place, self._times = place, times
        self.armed = False

    def __call__(self, place: str) -> bool:
        if not self.armed or place != self._place or not self._times:
            return False
        self._times -= 1
        return True
