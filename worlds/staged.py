"""A neural world whose generator runs in several processes. Owns that they end with the world, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from model.stage_processes import StageFault
from model.stages import StagedGenerator
from runtime.core import Clock, WorldInfo
from worlds.neural import NeuralWorld, SeedClips


class StagedWorld(NeuralWorld):
    """One session over stage processes. Raises `model.stage_processes.StageFault` when one is gone; after `restart`
    it must be reset or restored."""

    def __init__(
        self,
        info: WorldInfo,
        generator: StagedGenerator,
        seeds: SeedClips,
        synonyms: Mapping[str, str],
        clock: Clock | None = None,
    ) -> None:
        self.stages = generator
        super().__init__(info, generator, seeds, synonyms, clock)

    def restart(self) -> None:
        """New stage processes, with nothing in their memory."""
        with suppress(StageFault):  # a commit beside the tick that failed may have failed with it
            self._forget_tick()
        self.stages.restart()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.stages.close()
