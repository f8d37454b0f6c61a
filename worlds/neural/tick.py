"""One tick of a neural world: made in pieces, guarded, and only then committed.

The order of a tick's work, and what is done when its latent is no number or its device has no room. It reads the
world; only `write`, which the world calls for the commit, changes it.

A latent that is no number never reaches memory or screen: the frame before is shown again and only the tick counts.
Without room the tick is made again on the lowest rung, then with ever less memory in view. All of it comes out with
the result (`nextframe.runtime.core.Mishaps`), so that a recording can say it and a playback do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...model.generator.guards import FiniteCheck, lack_of_room
from ...model.generator.protocol import DenoiseJob, Generator, SeesLess
from ...runtime.core import (
    NO_MISHAPS,
    Action,
    Clock,
    ConfigError,
    Frame,
    Mishaps,
    NextframeError,
    StepGate,
    TickResult,
    WorldInfo,
    always_open,
)


class TickOwner(Protocol):
    """The session that a tick is of, as far as the tick reads it."""

    @property
    def info(self) -> WorldInfo: ...

    @property
    def generator(self) -> Generator[Any]: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def seed(self) -> int: ...

    @property
    def overlap(self) -> bool:
        """The commit runs beside the decoding."""
        ...

    @property
    def frame(self) -> Frame:
        """The last one that was committed."""
        ...

    def prompt_after(self, action: Action) -> dict[str, str]: ...

    def condition(self, action: Action, prompt: Mapping[str, str]) -> Any:
        """What the generator is told, in its own form."""
        ...

    def decode(self, latent: Any) -> list[Frame]: ...

    def begin_commit(self, tick: NeuralTick) -> None: ...

    def end_commit(self, tick: NeuralTick) -> None: ...


class OutOfRoomError(NextframeError):
    """The device has no room even for the smallest tick; the session ends with everything written so far."""


class NeuralTick:
    """One coming tick, made in pieces: `denoise`, `decode`, `result`.

    It may be dropped at any time before `result`, and is worth nothing once the world has gone on (`is_current`).
    `forced`: what happened in this tick when it was recorded. Raises OutOfRoomError.
    """

    def __init__(self, world: TickOwner, action: Action, steps: int, forced: Mishaps = NO_MISHAPS) -> None:
        self._world, self._clock, self._forced = world, world.clock, forced
        if (forced.window or forced.commit_window) and world.generator.can.see_less is None:
            raise ConfigError(
                f"{world.info.name}: this tick was played with less memory in view, which a world over several "
                "processes cannot; play it in one process"
            )
        started_ns = self._clock.now_ns()
        self._from = world.generator.last  # a new tensor after every commit, reset and restore
        self.prompt = world.prompt_after(action)
        self.condition: Any = None
        self._window, self._commit_window = forced.window, forced.commit_window
        self._lacked_room = forced.out_of_memory
        self._step_ns: list[int] = []
        self._denoise_ns = self._decode_ns = 0
        self._forget()
        self._action, self._committing = action, False
        if said := self._lack_of_room(lambda: self._begin(steps)):
            self._make_small(said)
        self._condition_ns = self._clock.now_ns() - started_ns

    @property
    def steps_done(self) -> int:
        return self._job.steps_done

    @property
    def _job(self) -> DenoiseJob:
        assert self._started is not None, "a tick that was never begun"
        return self._started

    @property
    def is_current(self) -> bool:
        """The state it was started from is still the world's."""
        return self._from is self._world.generator.last

    @property
    def discarded(self) -> bool:
        """Its latent is no number, or was none when it was recorded. Asked once there is one."""
        return self._forced.discarded or not self._finite.answer()

    @property
    def mishaps(self) -> Mishaps:
        """What happened in it, once it is committed."""
        return Mishaps(self.discarded, self._lacked_room, self._window, self._commit_window)

    def denoise(self, steps: int, gate: StepGate) -> None:
        """Go on until so many denoise steps are done, or the gate says no at a rung of the ladder."""
        began_ns = self._clock.now_ns()
        if said := self._lack_of_room(lambda: self._go_on(steps, gate)):
            self._make_small(said)
        self._denoise_ns += self._clock.now_ns() - began_ns

    def decode(self) -> Frame:
        """The frame of the steps done so far, the last of them if they are a chunk; made once."""
        if not self._frames:
            began_ns = self._clock.now_ns()
            if said := self._lack_of_room(self._draw):
                self._draw_again(said)
            self._decode_ns += self._clock.now_ns() - began_ns
        return self._frames[-1]

    def result(self) -> TickResult:
        """What is shown and committed. From here on the world waits for the commit."""
        assert self.is_current, "a tick of a state that is gone"
        if not self._world.overlap:
            self.decode()  # while there may still be another latent, if there is no room for this one's frame
        self._finished()
        self._committing = True
        self._world.begin_commit(self)
        self.decode()
        shown = [self._world.frame] if self.discarded else self._frames
        self.frame = shown[-1]
        stage_ns = {"condition": self._condition_ns, "denoise": self._denoise_ns, "decode": self._decode_ns}
        return TickResult(
            [frame.copy() for frame in shown], self.steps_done, stage_ns, tuple(self._step_ns),
            lambda: self._world.end_commit(self), mishaps=lambda: self.mishaps,
        )  # fmt: skip

    def write(self) -> None:
        """All that the commit changes in the generator."""
        generator = self._world.generator
        for window in (self._window, self._commit_window):
            if window is not None:
                self._see_less.see_less(window)
        if self.discarded:
            generator.skip()
        else:
            generator.commit(self._latent, self.condition)

    def write_with_less(self, said: str) -> None:
        """The commit again, after there was no room for it (`said`): first as it was, then with less in view."""
        self._lacked_room = True
        for window in (self._commit_window, *self._narrower):
            self._commit_window = window
            again = self._lack_of_room(self.write)
            if again is None:
                return
            said = again
        raise self._out_of_room(said)

    # --- the pieces -----------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._started: DenoiseJob | None = None
        self._latent: Any = None
        self._frames: list[Frame] = []
        self._finite = FiniteCheck()

    def _begin(self, steps: int) -> None:
        generator = self._world.generator
        self.condition = self._world.condition(self._action, self.prompt)
        if self._window is None:
            self._started = generator.start(self.condition, self._world.seed, steps)
            return
        with self._see_less.seeing(self._window):
            self._started = generator.start(self.condition, self._world.seed, steps)

    def _go_on(self, steps: int, gate: StepGate) -> None:
        while self.steps_done < steps and self._job.can_step:
            if self.steps_done in self._world.info.ladder and not gate(self.steps_done):
                break
            before_ns = self._clock.now_ns()
            self._job.step()
            self._frames, self._latent = [], None
            self._step_ns.append(self._clock.now_ns() - before_ns)

    def _finished(self) -> Any:
        """The latent of the steps done so far; whether it is a number is asked before anything is made of it."""
        if self._latent is None:
            self._latent = self._job.finish()
            self._finite.ask(self._latent)
        return self._latent

    def _draw(self) -> None:
        latent = self._finished()
        if self._finite.is_known_bad:  # what a decoder makes of no number may be no picture but an error
            self._frames = [self._world.frame.copy()]
        else:
            self._frames = self._world.decode(latent)

    # --- no room --------------------------------------------------------------------------------------------------

    @property
    def _narrower(self) -> list[int]:
        """Windows to try, in ticks; none where all of the memory is always in view."""
        less = self._world.generator.can.see_less
        return [] if less is None else less.narrower

    @property
    def _see_less(self) -> SeesLess:
        less = self._world.generator.can.see_less
        assert less is not None, "less memory in view of a generator that always sees all of it"
        return less

    def _lack_of_room(self, work: Callable[[], None]) -> str | None:
        return lack_of_room(work, self._world.generator.device)

    def _draw_again(self, said: str) -> None:
        if not self._committing:
            self._make_small(said)
            return
        self._lacked_room = True  # this latent is on its way to memory and cannot be another one any more
        again = self._lack_of_room(self._draw)
        if again is not None:
            raise self._out_of_room(again)

    def _make_small(self, said: str) -> None:
        """The whole tick on the lowest rung: with the memory it has in view, then with half of it, and half again."""
        self._lacked_room = True
        rung = self._world.info.ladder[0]

        def whole() -> None:
            self._begin(rung)
            self._go_on(rung, always_open)
            self._draw()

        for window in (self._window, *self._narrower):
            self._forget()
            self._window = window
            again = self._lack_of_room(whole)
            if again is None:
                return
            said = again
        raise self._out_of_room(said)

    def _out_of_room(self, said: str) -> OutOfRoomError:
        info, generator = self._world.info, self._world.generator
        less, in_view = generator.can.see_less, ""
        if less is not None:
            in_view = f" with {min(less.narrower, default=less.window_seen)} ticks of memory in view"
        return OutOfRoomError(
            f"{info.name}: expected room on {generator.device} for a tick of {info.ladder[0]} denoise steps{in_view}, "
            f"got: {said}; end other programs that use this device, or play on another"
        )
