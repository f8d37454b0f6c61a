"""A neural world whose generator runs in several processes. They end with the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ...model.base.checkpoint import CheckpointError
from ...model.dynamics.slots import DynamicsConfig
from ...model.stages.generator import StagedGenerator
from ...model.stages.kinds import AnyTokenizer
from ...model.stages.layout import StageLayout
from ...model.stages.process.processes import StageFault, StageLimits
from ...model.stages.ring import StageWeights
from ...runtime.core import Clock, WeightsError, WorldInfo
from .world import NeuralWorld, SeedClips


@dataclass(frozen=True)
class StagedParts:
    """What a world is made of over several processes. `weights`: of its layers each process reads only its own."""

    tokenizer: AnyTokenizer
    config: DynamicsConfig
    weights: StageWeights
    seeds: SeedClips


class StagedWorld(NeuralWorld):
    """One session over stage processes. Raises `nextframe.model.stages.process.processes.StageFault` when one is gone;
    after `restart` it must be reset or restored."""

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


def build_staged(
    info: WorldInfo,
    parts: StagedParts,
    synonyms: Mapping[str, str],
    layout: Callable[[DynamicsConfig, AnyTokenizer], StageLayout],
    clock: Clock | None = None,
    *,
    sessions: int = 1,
    limits: StageLimits | None = None,
) -> StagedWorld:
    """`layout`: chosen once it is known what is to be laid out. `sessions`: how many the processes have memories for,
    this one among them (`nextframe.model.stages.sessions` plays the others). Raises WeightsError, StageStartError,
    StageFault."""
    try:
        generator = StagedGenerator(
            parts.tokenizer, parts.config, parts.weights, layout(parts.config, parts.tokenizer), sessions=sessions,
            limits=limits,
        )  # fmt: skip
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return StagedWorld(info, generator, parts.seeds, synonyms, clock)
