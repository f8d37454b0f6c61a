"""Every generator against the contract; and generators with one promise broken each, which it must notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nextframe.model.generator.graphs import GraphedGenerator, NoGraphs
from nextframe.model.generator.protocol import Inputs, Start, StatePiece
from nextframe.model.stages.generator import StagedGenerator
from tests.contracts.generator_contract import AnyGenerator, GeneratorContract
from tests.support.grids import grid_generator, grid_past
from tests.support.images import image_generator, image_start
from tests.support.networks import SMALL, random_dynamics, random_generator, random_past, random_tokenizer
from tests.support.toy_generator import ToyCondition, ToyGenerator, ToyJob, toy_inputs, toy_start
from tests.support.worlds.staged import TWO, staged_generator, store_weights


class SlotClaims(GeneratorContract):
    """Of latents of a scene and slots."""

    def start(self, number: int = 0) -> Start:
        latents, conditions = random_past(5, seed=2 + number)
        return Start(latents[0], controls=conditions[0])

    def inputs(self, tick: int) -> Inputs:
        return Inputs(tuple(random_past(1, seed=100 + tick)[1][0, 0].tolist()))


class TestSlots(SlotClaims):
    def make(self) -> AnyGenerator:
        return random_generator()


class TestSlotsThatSeeLess(SlotClaims):
    """A window of one tick, which also hides the motion."""

    def make(self) -> AnyGenerator:
        return random_generator(window=1)


class TestFixedShapes(SlotClaims):
    def make(self) -> AnyGenerator:
        return random_generator(fixed_shape=True)


class TestGraphs(SlotClaims):
    def make(self) -> AnyGenerator:
        return GraphedGenerator(random_tokenizer(), random_dynamics(SMALL), NoGraphs())


class TestStages(SlotClaims):
    """Sessions over two processes."""

    group: StagedGenerator
    made = 0

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def processes(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        cls.group = staged_generator(store_weights(tmp_path_factory.mktemp("weights")), TWO, sessions=4)
        yield
        cls.group.close()

    def make(self) -> AnyGenerator:
        TestStages.made += 1
        return self.group.beside(1 + TestStages.made % 3)


class TestGrid(GeneratorContract):
    def make(self) -> AnyGenerator:
        return grid_generator()

    def start(self, number: int = 0) -> Start:
        latents, conditions = grid_past(4, seed=2 + number)
        return Start(latents[0], controls=conditions[0])

    def inputs(self, tick: int) -> Inputs:
        return Inputs((float(tick % 2), 1.0 - tick % 3, 0.25 * tick))


class TestImages(GeneratorContract):
    ticks = 12

    def make(self) -> AnyGenerator:
        return image_generator()

    def start(self, number: int = 0) -> Start:
        return image_start(2 + number)

    def inputs(self, tick: int) -> Inputs:
        return Inputs((1.0 - tick % 3, 0.25 * tick))


class TestImagesInBfloat16(TestImages):
    def make(self) -> AnyGenerator:
        return image_generator(dtype=torch.bfloat16)


class TestImagesWithoutMemory(TestImages):
    def make(self) -> AnyGenerator:
        return image_generator(window=0)


class TestToy(GeneratorContract):
    def make(self) -> AnyGenerator:
        return ToyGenerator()

    def start(self, number: int = 0) -> Start:
        return toy_start(number)

    def inputs(self, tick: int) -> Inputs:
        return toy_inputs(tick)


# --- negative controls: the toy with one promise broken each -------------------------------------------------------


class TellsTheWrongSize(ToyGenerator):
    def decode(self, latent: Tensor) -> Tensor:
        return super().decode(latent)[:1]


class GrowsItsMemory(ToyGenerator):
    def commit(self, latent: Tensor, condition: ToyCondition) -> None:
        super().commit(latent, condition)
        self.spec = replace(self.spec, memory_bytes=self.spec.memory_bytes + 1)


class TakesAnyInputs(ToyGenerator):
    def condition(self, inputs: Inputs) -> ToyCondition:
        return super().condition(replace(inputs, controls=inputs.controls[:2], camera=toy_inputs(0).camera))


class CutsElsewhere(ToyGenerator):
    """Another schedule for each rung, so that a job cut short is no rung."""

    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        job = super().start(condition, seed, steps)
        job._noisy = job._noisy * (1 + steps)
        return job


class NeverEnds(ToyGenerator):
    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        return super().start(condition, seed, steps + 1)


class HasOneRungOnly(ToyGenerator):
    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        class Finished(ToyJob):
            def finish(self) -> Tensor:
                return self._target

        job = super().start(condition, seed, steps)
        job.__class__ = Finished
        return job


class FinishesWithoutAStep(ToyGenerator):
    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        class Hasty(ToyJob):
            def finish(self) -> Tensor:
                return self._estimate

        job = super().start(condition, seed, steps)
        job.__class__ = Hasty
        return job


class WritesWhileItDenoises(ToyGenerator):
    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        job = super().start(condition, seed, steps)
        self._past = self._past + 0.01
        return job


class DrawsItsNoise(ToyGenerator):
    """From a generator of random numbers that goes on, instead of by address."""

    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        job = super().start(condition, seed, steps)
        job._noisy = torch.randn_like(job._noisy)
        return job


class IsDeaf(ToyGenerator):
    def condition(self, inputs: Inputs) -> ToyCondition:
        return super().condition(replace(inputs, controls=(0.0, 0.0), text="", camera=toy_inputs(0).camera))


class HasOneNoise(ToyGenerator):
    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        return super().start(condition, 0, steps)


class SkipsMoreThanTheTick(ToyGenerator):
    def skip(self) -> None:
        super().skip()
        self._past = self._past.roll(1, 0)


class KeepsItsLastObject(ToyGenerator):
    def skip(self) -> None:
        self._tick += 1


class RemembersTheSessionBefore(ToyGenerator):
    def begin(self, seed: int, start: Start) -> None:
        past = self._past
        super().begin(seed, start)
        self._past = self._past + 0.1 * past


class ForgetsOnRestore(ToyGenerator):
    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore({**snapshot, "past": snapshot["past"] * 0})


class ForgetsItsReference(ToyGenerator):
    """In its snapshot and not taken from it: only a generator with another past shows it."""

    def restore(self, snapshot: dict[str, Any]) -> None:
        reference = self._reference
        super().restore(snapshot)
        self._reference = reference


class LendsItsState(ToyGenerator):
    """A snapshot that the next commit writes into."""

    def snapshot(self) -> dict[str, object]:
        return {**super().snapshot(), "past": self._past.numpy()}

    def commit(self, latent: Tensor, condition: ToyCondition) -> None:
        past = self._past
        super().commit(latent, condition)
        past.copy_(self._past)
        self._past = past


class StoresAnObject(ToyGenerator):
    def snapshot(self) -> dict[str, object]:
        return {**super().snapshot(), "tick": np.int64(self._tick)}


class LeavesAPartOut(ToyGenerator):
    def inventory(self) -> list[StatePiece]:
        return super().inventory()[1:]


class StartsItsChecksumAnew(ToyGenerator):
    def checksum(self, crc: int = 0) -> int:
        return super().checksum()


CLAIMS = GeneratorContract


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (TellsTheWrongSize, CLAIMS.test_frames_are_rgb_bytes_of_the_size_and_number_it_says),
        (GrowsItsMemory, CLAIMS.test_its_memory_is_of_the_size_it_says_whatever_was_played),
        (TakesAnyInputs, CLAIMS.test_it_says_what_is_wrong_with_inputs_and_with_a_start),
        (CutsElsewhere, CLAIMS.test_a_job_cut_after_k_steps_is_the_rung_k),
        (NeverEnds, CLAIMS.test_a_job_ends_after_the_steps_it_was_asked_for),
        (HasOneRungOnly, CLAIMS.test_the_rungs_differ),
        (FinishesWithoutAStep, CLAIMS.test_finishing_before_a_step_is_an_assertion_error),
        (WritesWhileItDenoises, CLAIMS.test_denoising_and_decoding_only_read),
        (DrawsItsNoise, CLAIMS.test_a_tick_that_was_dropped_can_be_made_again),
        (IsDeaf, CLAIMS.test_an_input_changes_the_very_next_frame),
        (HasOneNoise, CLAIMS.test_noise_is_addressed_by_the_seed_and_the_tick),
        (SkipsMoreThanTheTick, CLAIMS.test_a_commit_changes_what_comes_next_and_a_skip_only_the_tick),
        (KeepsItsLastObject, CLAIMS.test_a_commit_changes_what_comes_next_and_a_skip_only_the_tick),
        (DrawsItsNoise, CLAIMS.test_equal_seeds_starts_and_inputs_give_equal_sessions),
        (RemembersTheSessionBefore, CLAIMS.test_a_new_session_forgets_the_one_before),
        (ForgetsOnRestore, CLAIMS.test_it_goes_on_from_a_snapshot_as_if_nothing_had_happened),
        (ForgetsItsReference, CLAIMS.test_a_snapshot_fits_another_one_with_another_past),
        (LendsItsState, CLAIMS.test_a_snapshot_is_plain_data_that_later_ticks_leave_alone),
        (StoresAnObject, CLAIMS.test_a_snapshot_is_plain_data_that_later_ticks_leave_alone),
        (LeavesAPartOut, CLAIMS.test_the_inventory_names_every_part_of_the_snapshot_once),
        (StartsItsChecksumAnew, CLAIMS.test_a_checksum_goes_on_from_the_one_it_is_given),
    ],
)
def test_the_contract_notices_a_broken_generator(
    broken: type[ToyGenerator], claim: Callable[[GeneratorContract, AnyGenerator], None]
) -> None:
    class Suite(TestToy):
        def make(self) -> AnyGenerator:
            return broken()

    suite = Suite()
    generator = suite.make()
    generator.begin(suite.seed, suite.start())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        claim(suite, generator)
