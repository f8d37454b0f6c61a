"""A neural generator as a `World`: actions become conditions, jobs become ticks, state becomes snapshots.

Owns the adapter and the session around one generator row. Knows no torch by name, no clock but the one it times with.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.generator import DenoiseJob, Generator
from runtime.core import Action, Clock, Frame, MonotonicClock, Snapshot, StatePart, TickPlan, TickResult, WorldInfo
from worlds.inventory import NUMBER_BYTES, plain_bytes
from worlds.prompts import parse_prompt


@dataclass(frozen=True)
class SeedClips:
    """Short true pasts that sessions start from.

    `latents`: `(clips, ticks, latent_dim)`. `conditions`: `(clips, ticks, condition_dim)`.
    """

    latents: Any
    conditions: Any


class NeuralWorld:
    """One session of a trained generator. See `runtime.core.World` for the contract."""

    def __init__(
        self,
        info: WorldInfo,
        generator: Generator,
        seeds: SeedClips,
        synonyms: Mapping[str, str],
        clock: Clock | None = None,
    ) -> None:
        self.info = info
        self.generator = generator
        self._seeds = seeds
        self._synonyms = synonyms
        self._clock = clock or MonotonicClock()
        self._awaits_commit = False
        self.reset(0)

    def reset(self, seed: int) -> Frame:
        clip = seed % len(self._seeds.latents)
        self._seed = seed
        self._awaits_commit = False
        self.generator.prefill(self._seeds.latents[clip][None], self._seeds.conditions[clip][None])
        self._prompt = self._prompt_of(self._seeds.conditions[clip][-1].tolist())
        self._frame = self._decode(self.generator.last)
        return self._frame.copy()

    @property
    def prompt(self) -> str:
        """The prompt in force, in words of the vocabulary."""
        return " ".join(self._prompt.values())

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        assert not self._awaits_commit, "advance before the commit of the tick before"
        assert plan.denoise_steps in self.info.ladder, f"{plan.denoise_steps} steps are not in {self.info.ladder}"
        started_ns = self._clock.now_ns()
        prompt = self._prompt
        if action.prompt is not None:
            prompt = {**prompt, **parse_prompt(action.prompt, self.info.actions.prompts, self._synonyms).chosen}
        condition = self.generator.to_condition(self._condition(action, prompt))
        job = self.generator.start(condition, self._seed, plan.denoise_steps)
        conditioned_ns = self._clock.now_ns()
        step_ns = self._denoise(job, plan)
        latent = job.finish()
        denoised_ns = self._clock.now_ns()
        frame = self._decode(latent)
        decoded_ns = self._clock.now_ns()

        def commit() -> None:
            assert self._awaits_commit, "a tick is committed once"
            self.generator.commit(latent, condition)
            self._prompt, self._frame = prompt, frame
            self._awaits_commit = False

        self._awaits_commit = True
        stage_ns = {
            "condition": conditioned_ns - started_ns, "denoise": denoised_ns - conditioned_ns,
            "decode": decoded_ns - denoised_ns,
        }  # fmt: skip
        return TickResult([frame.copy()], job.steps_done, stage_ns, step_ns, commit)

    def _denoise(self, job: DenoiseJob, plan: TickPlan) -> tuple[int, ...]:
        step_ns: list[int] = []
        while job.can_step:
            if job.steps_done in self.info.ladder and not plan.gate(job.steps_done):
                break
            before_ns = self._clock.now_ns()
            job.step()
            step_ns.append(self._clock.now_ns() - before_ns)
        return tuple(step_ns)

    def _decode(self, latent: Any) -> Frame:
        return self.generator.decode(latent)[0].numpy()

    # --- conditions -----------------------------------------------------------------------------------------------

    def _condition(self, action: Action, prompt: Mapping[str, str]) -> list[float]:
        """Axes, buttons, then one number per prompt word: the order of the action space."""
        space = self.info.actions
        values = [action.axis(axis) for axis in space.axes]
        values += [float(button in action.buttons) for button in space.buttons]
        for group, words in space.prompts.items():
            values += [float(prompt[group] == word) for word in words]
        return values

    def _prompt_of(self, condition: list[float]) -> dict[str, str]:
        space = self.info.actions
        at = len(space.axes) + len(space.buttons)
        prompt = {}
        for group, words in space.prompts.items():
            weights = condition[at : at + len(words)]
            prompt[group] = words[weights.index(max(weights))]
            at += len(words)
        return prompt

    # --- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        assert not self._awaits_commit, "snapshot between advance and commit: half a tick cannot be saved"
        return {
            "generator": self.generator.snapshot(), "seed": self._seed, "prompt": dict(self._prompt),
            "frame": self._frame.copy(),
        }  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot; a tick that was never committed is forgotten."""
        state: dict[str, Any] = dict(snapshot)
        self.generator.restore(state["generator"])
        self._seed, self._prompt, self._frame = state["seed"], dict(state["prompt"]), state["frame"].copy()
        self._awaits_commit = False

    def checksum(self) -> int:
        crc = zlib.crc32(f"{self._seed} {self._prompt}".encode())
        return zlib.crc32(self._frame.tobytes(), self.generator.checksum(crc))

    def state_inventory(self) -> list[StatePart]:
        """Named as the snapshot names them: a part is everything under its path."""
        generator, config = self.generator, self.generator.config
        return [
            # A layer attends `window` ticks back to what the layer below made, which looked as far back again.
            StatePart("generator/memory", plain_bytes(generator.memory.snapshot()), config.window * config.layers),
            StatePart("generator/last", generator.last.nbytes, horizon_ticks=2),
            StatePart("generator/before", generator.before.nbytes, horizon_ticks=1),
            StatePart("generator/tick", NUMBER_BYTES, horizon_ticks=None),  # with the seed: the address of the noise
            StatePart("seed", NUMBER_BYTES, horizon_ticks=None),
            StatePart("prompt", plain_bytes(self._prompt), horizon_ticks=None),
            StatePart("frame", self._frame.nbytes, horizon_ticks=0),  # shown again after a restore; decides nothing
        ]

    def warm_up(self) -> None:
        before = self.snapshot()
        for rung in self.info.ladder * 2:
            self.advance(Action(), TickPlan(rung, deadline_ns=0)).commit()
        self.restore(before)

    def close(self) -> None:
        """Nothing is held open."""
