"""A generator as a `World`: actions become conditions, jobs become ticks, state becomes snapshots.

One session around one row of any `nextframe.model.generator.protocol.Generator`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from typing_extensions import TypeVar

from ...model.drift.actions import ACTIONS, carry_out
from ...model.drift.monitor import DriftMonitor
from ...model.generator.guards import lack_of_room
from ...model.generator.overlap import HostCopy, SideWork
from ...model.generator.protocol import Generator, Inputs, Start
from ...model.generator.ticks import RollingGenerator
from ...runtime.core import (
    NO_MISHAPS,
    Action,
    Clock,
    ConfigError,
    Frame,
    Mishaps,
    MonotonicClock,
    Snapshot,
    StatePart,
    TickPlan,
    TickResult,
    WorldInfo,
)
from ..inventory import NUMBER_BYTES, plain_bytes
from ..prompts.words import parse_prompt
from .tick import NeuralTick

# The condition's type is the generator's own: a world only hands it back.
GeneratorT = TypeVar("GeneratorT", bound=Generator[Any], default=RollingGenerator)


@dataclass(frozen=True)
class SeedClips:
    """Short true pasts that sessions start from.

    `latents`: `(clips, ticks, latent_dim)`. `conditions`: `(clips, ticks, condition_dim)`.
    """

    latents: Any
    conditions: Any

    def start(self, seed: int) -> Start:
        clip = seed % len(self.latents)
        return Start(self.latents[clip], controls=self.conditions[clip])


class Starts(Protocol):
    """What a session begins from, by its seed. `SeedClips` for what was trained here."""

    def start(self, seed: int) -> Start: ...


class NeuralWorld(Generic[GeneratorT]):
    """One session of a trained generator. See `nextframe.runtime.core.World` for the contract.

    `overlap`: commit on another thread while the frame is decoded and presented; the same bits. A tick must then be
    committed, or the world reset or restored, before its state may be looked at: as without it.
    """

    def __init__(
        self,
        info: WorldInfo,
        generator: GeneratorT,
        seeds: Starts,
        synonyms: Mapping[str, str],
        clock: Clock | None = None,
        *,
        overlap: bool = False,
    ) -> None:
        self.info = info
        self.generator = generator
        self._frames_per_tick = generator.spec.frames_per_tick
        self.overlap = overlap
        self.clock = clock or MonotonicClock()
        self._seeds = seeds
        self._synonyms = synonyms
        self._beside, self._to_host = SideWork(), HostCopy()
        self._awaits_commit = self._commit_begun = False
        self._monitor: DriftMonitor | None = None
        self._monitor_is_state = False
        self.reset(0)

    def reset(self, seed: int) -> Frame:
        self._forget_tick()
        if self._monitor is not None:
            self._monitor.reset()
        self.seed, start = seed, self._seeds.start(seed)
        self.generator.begin(seed, start)
        self._prompt = {} if start.controls is None else self._prompt_of(start.controls[-1].tolist())
        self._frame = self.decode(self.generator.last)[-1]
        return self._frame.copy()

    @property
    def prompt(self) -> str:
        """The prompt in force, in words of the vocabulary."""
        return " ".join(self._prompt.values())

    @property
    def frame(self) -> Frame:
        """The last one that was committed; not to be changed."""
        return self._frame

    def start(self, action: Action, steps: int | None = None, forced: Mishaps = NO_MISHAPS) -> NeuralTick:
        """The coming tick in pieces, of at most `steps` denoise steps (the top of the ladder when not given).

        `forced`: what is known to have happened in it, to happen again.
        """
        assert not self._awaits_commit, "advance before the commit of the tick before"
        return NeuralTick(self, action, steps or self.info.ladder[-1], forced)

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        assert plan.denoise_steps in self.info.ladder, f"{plan.denoise_steps} steps are not in {self.info.ladder}"
        tick = self.start(action, plan.denoise_steps, plan.mishaps)
        tick.denoise(plan.denoise_steps, plan.gate)
        return tick.result()

    def begin_commit(self, tick: NeuralTick) -> None:
        """A tick is made; with `overlap` its commit runs from here on."""
        assert not self._awaits_commit, "a second tick before the commit of the first"
        self._awaits_commit = True
        if self.overlap:
            self._commit_begun = True
            self._beside.begin(tick.write, self.generator.device)

    def end_commit(self, tick: NeuralTick) -> None:
        assert self._awaits_commit, "a tick is committed once"
        said = lack_of_room(self._beside.join if self._commit_begun else tick.write, self.generator.device)
        if said is not None:
            tick.write_with_less(said)
        self._prompt, self._frame = tick.prompt, tick.frame
        self._awaits_commit = self._commit_begun = False
        if self._monitor is not None and not tick.discarded:
            watched = self.generator.can.watch
            assert watched is not None, "a monitor of a generator that cannot be watched"
            self._monitor.observe(*watched.watched(tick.condition))

    def watch(self, monitor: DriftMonitor, *, decides: bool) -> None:
        """The monitor sees every tick from now on, once it is committed.

        `decides`: what it says will change the world (see `mend`), so it is part of the state: of snapshots, checksum
        and inventory. Else it only watches, and begins anew with every reset and restore.
        """
        self._monitor, self._monitor_is_state = monitor, decides

    def mend(self, action: str) -> None:
        """Carry out a drift action, by its name in `nextframe.model.drift.actions`, between a commit and the next tick.

        Raises ConfigError for an unknown one, and for a world that is not watched or whose monitor is no state.
        """
        assert not self._awaits_commit, "an action between advance and commit"
        if action not in ACTIONS:
            raise ConfigError(f"drift: expected an action of {', '.join(ACTIONS)}, got {action!r}")
        if self._monitor is None or not self._monitor_is_state:
            raise ConfigError(f"drift: expected a monitor that decides, to {action} with, got none; open it with one")
        mend = self.generator.can.mend
        if mend is None:
            raise ConfigError(f"drift: expected a world whose memory can be written anew, {self.info.name} has none")
        carry_out(action, mend, self._monitor, self.seed)

    def _state_monitor(self) -> DriftMonitor | None:
        return self._monitor if self._monitor_is_state else None

    def _forget_tick(self) -> None:
        """A tick that was never committed: the state is about to be replaced as a whole, room for it or not."""
        lack_of_room(self._beside.join, self.generator.device)
        self._awaits_commit = self._commit_begun = False

    def decode(self, latent: Any) -> list[Frame]:
        """The frames of one tick, in the order in which they are shown."""
        return list(self._to_host(self.generator.decode(latent)[: self._frames_per_tick]))

    # --- conditions -----------------------------------------------------------------------------------------------

    def prompt_after(self, action: Action) -> dict[str, str]:
        """The prompt in force once this action is taken."""
        if action.prompt is None:
            return self._prompt
        return {**self._prompt, **parse_prompt(action.prompt, self.info.actions.prompts, self._synonyms).chosen}

    def condition(self, action: Action, prompt: Mapping[str, str]) -> Any:
        """What the network is told, `(rows, condition_dim)`: axes, buttons, then one number per prompt word, in the
        order of the action space."""
        space = self.info.actions
        values = [action.axis(axis) for axis in space.axes]
        values += [float(button in action.buttons) for button in space.buttons]
        for group, words in space.prompts.items():
            values += [float(prompt[group] == word) for word in words]
        return self.generator.condition(Inputs(tuple(values)))

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
        monitor = self._state_monitor()
        return {
            "generator": self.generator.snapshot(), "seed": self.seed, "frame": self._frame.copy(),
            **({"prompt": dict(self._prompt)} if self._prompt else {}),
            **({} if monitor is None else {"drift": monitor.snapshot()}),
        }  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot; a tick that was never committed is forgotten."""
        self._forget_tick()
        state: dict[str, Any] = dict(snapshot)
        self.generator.restore(state["generator"])
        self.seed, self._prompt, self._frame = state["seed"], dict(state.get("prompt", {})), state["frame"].copy()
        if self._monitor is not None:
            self._monitor.reset()
            if self._monitor_is_state and "drift" in state:  # not in one of a session without such a monitor
                self._monitor.restore(state["drift"])

    def checksum(self) -> int:
        crc = zlib.crc32(f"{self.seed} {self._prompt}".encode())
        if (monitor := self._state_monitor()) is not None:
            crc = monitor.checksum(crc)
        return zlib.crc32(self._frame.tobytes(), self.generator.checksum(crc))

    def state_inventory(self) -> list[StatePart]:
        """Named as the snapshot names them: a part is everything under its path."""
        monitor, state = self._state_monitor(), self.generator.snapshot()
        return [
            *(
                StatePart(f"generator/{piece.name}", plain_bytes(state[piece.name]), piece.horizon_ticks)
                for piece in self.generator.inventory()
            ),
            StatePart("seed", NUMBER_BYTES, horizon_ticks=None),
            *([StatePart("prompt", plain_bytes(self._prompt), horizon_ticks=None)] if self._prompt else []),
            StatePart("frame", self._frame.nbytes, horizon_ticks=0),  # shown again after a restore; decides nothing
            *([] if monitor is None else [StatePart("drift", plain_bytes(monitor.snapshot()), horizon_ticks=None)]),
        ]

    def warm_up(self) -> None:
        before = self.snapshot()
        for rung in self.info.ladder * 2:
            self.advance(Action(), TickPlan(rung, deadline_ns=0)).commit()
        self.restore(before)

    def close(self) -> None:
        self._beside.close()
