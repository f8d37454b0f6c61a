"""What every generator promises. Subclass `GeneratorContract`, override three methods, and all claims run on yours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nextframe.model.generator.protocol import DenoiseJob, Generator, Inputs, Start, StartError
from nextframe.runtime.recording.compare import belongs_to, differences

AnyGenerator = Generator[Any]


def steps_taken(job: DenoiseJob, steps: int) -> Tensor:
    for _ in range(steps):
        job.step()
    return job.finish()


def is_plain(value: object) -> bool:
    """Whether it can be stored without the code of its generator."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in {bool, int, float, str, np.ndarray}


def leaves(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{path}/{key}" if path else key)
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from leaves(part, f"{path}/{at}")
    else:
        yield path


class GeneratorContract:
    """The claims. `ticks`: how many a claim plays; more than the memory holds, so that it rolls."""

    ticks = 8
    seed = 7

    def make(self) -> AnyGenerator:
        """A generator that no session has begun on."""
        raise NotImplementedError

    def start(self, number: int = 0) -> Start:
        """A short true past; another one for another number."""
        raise NotImplementedError

    def inputs(self, tick: int) -> Inputs:
        """What a tick is given; something else in every tick."""
        raise NotImplementedError

    def close(self, generator: AnyGenerator) -> None:
        """End what `make` has begun."""

    @pytest.fixture
    def generator(self) -> Iterator[AnyGenerator]:
        generator = self.make()
        generator.begin(self.seed, self.start())
        yield generator
        self.close(generator)

    def advance(self, generator: AnyGenerator, tick: int, steps: int | None = None, seed: int | None = None) -> Tensor:
        """One whole tick, committed; its latent."""
        condition = generator.condition(self.inputs(tick))
        steps = steps or generator.spec.ladder[-1]
        latent = steps_taken(generator.start(condition, self.seed if seed is None else seed, steps), steps)
        generator.commit(latent, condition)
        return latent

    def play(self, generator: AnyGenerator, first: int, ticks: int) -> list[tuple[bytes, int]]:
        """Latents and checksums, the rungs in turn."""
        ladder = generator.spec.ladder
        played = []
        for tick in range(first, first + ticks):
            latent = self.advance(generator, tick, ladder[tick % len(ladder)])
            played.append((latent.cpu().numpy().tobytes(), generator.checksum()))
        return played

    def begun(self, generator: AnyGenerator, tick: int = 0, steps: int | None = None) -> DenoiseJob:
        condition = generator.condition(self.inputs(tick))
        return generator.start(condition, self.seed, steps or generator.spec.ladder[-1])

    # --- description ---

    def test_frames_are_rgb_bytes_of_the_size_and_number_it_says(self, generator: AnyGenerator) -> None:
        spec = generator.spec
        for latent in (generator.last, self.advance(generator, 0)):
            frames = generator.decode(latent)
            assert frames.shape == (len(latent) * spec.frames_per_tick, *spec.frame, 3)
            assert frames.dtype == torch.uint8

    def test_its_memory_is_of_the_size_it_says_whatever_was_played(self, generator: AnyGenerator) -> None:
        before = generator.spec
        assert before.memory_bytes >= 0
        self.play(generator, 0, self.ticks)
        assert generator.spec == before

    def test_it_says_what_is_wrong_with_inputs_and_with_a_start(self, generator: AnyGenerator) -> None:
        controls = generator.spec.conditioning.controls
        with pytest.raises(ValueError, match="expected"):
            generator.condition(Inputs((0.0,) * (controls + 1)))
        with pytest.raises(StartError, match="expected"):
            generator.begin(0, Start(latents=torch.zeros(0, 1), controls=torch.zeros(3, controls + 1)))

    # --- a job ---

    def test_a_job_cut_after_k_steps_is_the_rung_k(self, generator: AnyGenerator) -> None:
        top = generator.spec.ladder[-1]
        cut = self.begun(generator)
        estimates = {}
        for steps in range(1, top + 1):
            cut.step()
            assert cut.steps_done == steps
            estimates[steps] = cut.finish().clone()
        for rung in generator.spec.ladder:
            assert torch.equal(steps_taken(self.begun(generator, steps=rung), rung), estimates[rung])

    def test_a_job_ends_after_the_steps_it_was_asked_for(self, generator: AnyGenerator) -> None:
        for rung in generator.spec.ladder:
            job, taken = self.begun(generator, steps=rung), 0
            while job.can_step:
                job.step()
                taken += 1
            assert taken == job.steps_done == rung

    def test_the_rungs_differ(self, generator: AnyGenerator) -> None:
        made = [steps_taken(self.begun(generator, steps=rung), rung).clone() for rung in generator.spec.ladder]
        assert all(not torch.equal(one, other) for one, other in pairwise(made))

    def test_finishing_before_a_step_is_an_assertion_error(self, generator: AnyGenerator) -> None:
        with pytest.raises(AssertionError):
            self.begun(generator).finish()

    def test_denoising_and_decoding_only_read(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 3)
        before, last = generator.checksum(), generator.last
        job = self.begun(generator, 3)
        while job.can_step:
            job.step()
        generator.decode(job.finish())
        assert generator.checksum() == before
        assert generator.last is last

    def test_a_tick_that_was_dropped_can_be_made_again(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 2)
        first = steps_taken(self.begun(generator, 2), 1).clone()
        self.begun(generator, 3).step()
        assert torch.equal(steps_taken(self.begun(generator, 2), 1), first)

    # --- what decides the future ---

    def test_an_input_changes_the_very_next_frame(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 3)
        one, same, other = (steps_taken(self.begun(generator, tick), 1).clone() for tick in (3, 3, 4))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_noise_is_addressed_by_the_seed_and_the_tick(self, generator: AnyGenerator) -> None:
        condition = generator.condition(self.inputs(0))
        one, other = (steps_taken(generator.start(condition, seed, 1), 1).clone() for seed in (1, 2))
        assert not torch.equal(one, other)
        generator.skip()
        assert not torch.equal(steps_taken(generator.start(condition, 1, 1), 1), one)

    def test_a_commit_changes_what_comes_next_and_a_skip_only_the_tick(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 2)
        before, last, crc = generator.snapshot(), generator.last, generator.checksum()
        generator.skip()
        assert {difference.path for difference in differences(before, generator.snapshot())} == {"tick"}
        assert generator.checksum() != crc
        assert generator.last is not last
        assert torch.equal(generator.last, last)
        crc = generator.checksum()
        self.advance(generator, 2)
        assert generator.checksum() != crc
        assert not torch.equal(generator.last, last)

    def test_equal_seeds_starts_and_inputs_give_equal_sessions(self, generator: AnyGenerator) -> None:
        other = self.make()
        other.begin(self.seed, self.start())
        assert self.play(other, 0, self.ticks) == self.play(generator, 0, self.ticks)
        self.close(other)

    def test_a_new_session_forgets_the_one_before(self, generator: AnyGenerator) -> None:
        played = self.play(generator, 0, 3)
        generator.begin(self.seed, self.start(1))
        assert self.play(generator, 0, 3) != played
        last = generator.last
        generator.begin(self.seed, self.start())
        assert generator.last is not last
        assert self.play(generator, 0, 3) == played

    # --- state ---

    def test_it_goes_on_from_a_snapshot_as_if_nothing_had_happened(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 3)
        saved, checksum, last = generator.snapshot(), generator.checksum(), generator.last
        played = self.play(generator, 3, self.ticks)
        generator.restore(saved)
        assert generator.checksum() == checksum
        assert generator.last is not last
        assert torch.equal(generator.last, last)
        assert self.play(generator, 3, self.ticks) == played

    def test_a_snapshot_fits_another_one_with_another_past(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 3)
        other = self.make()
        other.begin(self.seed + 1, self.start(1))
        self.play(other, 5, self.ticks)
        other.restore(generator.snapshot())
        assert not differences(other.snapshot(), generator.snapshot())
        assert self.play(other, 3, self.ticks) == self.play(generator, 3, self.ticks)
        self.close(other)

    def test_a_snapshot_is_plain_data_that_later_ticks_leave_alone(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 3)
        saved = generator.snapshot()
        again = deepcopy(saved)
        assert is_plain(saved)
        self.play(generator, 3, self.ticks)
        assert not differences(saved, again)
        assert differences(saved, generator.snapshot())

    def test_the_inventory_names_every_part_of_the_snapshot_once(self, generator: AnyGenerator) -> None:
        self.play(generator, 0, 2)
        names = [piece.name for piece in generator.inventory()]
        assert len(set(names)) == len(names)
        for leaf in leaves(generator.snapshot()):
            assert sum(belongs_to(leaf, name) for name in names) == 1, leaf
        assert all(piece.horizon_ticks is None or piece.horizon_ticks >= 0 for piece in generator.inventory())

    def test_a_checksum_goes_on_from_the_one_it_is_given(self, generator: AnyGenerator) -> None:
        assert generator.checksum() == generator.checksum(0)
        assert generator.checksum(1) != generator.checksum(0)

    # --- capabilities: only what it says it can ---

    def test_less_memory_in_view_decides_the_future_until_a_restore(self, generator: AnyGenerator) -> None:
        less = generator.can.see_less
        if less is None or not less.narrower:
            pytest.skip("always sees all of its memory")
        self.play(generator, 0, self.ticks)
        saved, crc, ticks = generator.snapshot(), generator.checksum(), less.narrower[-1]
        whole = steps_taken(self.begun(generator), 1)
        with less.seeing(ticks):
            assert less.window_seen == ticks
            assert not torch.equal(steps_taken(self.begun(generator), 1), whole)
        assert generator.checksum() == crc
        less.see_less(ticks)
        assert generator.checksum() != crc
        generator.restore(saved)
        assert generator.checksum() == crc
        assert torch.equal(steps_taken(self.begun(generator), 1), whole)

    def test_a_monitor_is_shown_what_was_committed(self, generator: AnyGenerator) -> None:
        watch = generator.can.watch
        if watch is None:
            pytest.skip("cannot be watched for drift")
        condition = generator.condition(self.inputs(0))
        generator.commit(steps_taken(generator.start(condition, self.seed, 1), 1), condition)
        latent, given = watch.watched(condition)
        assert latent.shape == (watch.latent_dim,)
        assert np.array_equal(latent, generator.last[0].cpu().numpy().ravel())
        assert given.dtype == np.float32
        assert watch.window >= 1

    def test_a_memory_rewritten_from_its_own_latents_is_the_same_memory(self, generator: AnyGenerator) -> None:
        mend, watch = generator.can.mend, generator.can.watch
        if mend is None or watch is None:
            pytest.skip("its memory cannot be written anew")
        shown = []
        for tick in range(3 * self.ticks):
            condition = generator.condition(self.inputs(tick))
            generator.commit(steps_taken(generator.start(condition, self.seed, 1), 1), condition)
            shown.append(watch.watched(condition))
        saved, recent = generator.snapshot(), shown[-watch.window :]
        latents = torch.from_numpy(np.stack([latent for latent, _ in recent]))
        after, committed = mend.rewritten(saved, latents, np.stack([given for _, given in recent]))
        assert not differences(generator.snapshot(), saved)
        assert np.allclose(committed, latents.numpy(), atol=1e-6)
        assert after.keys() == saved.keys()

    def test_moved_to_the_device_where_it_is_it_stays_the_same(self, generator: AnyGenerator) -> None:
        place = generator.can.place
        if place is None:
            pytest.skip("stays where it was made")
        self.play(generator, 0, 2)
        crc, played = generator.checksum(), self.begun(generator, 2)
        latent = steps_taken(played, 1)
        place.to(generator.device)
        assert generator.checksum() == crc
        assert torch.equal(steps_taken(self.begun(generator, 2), 1), latent)
