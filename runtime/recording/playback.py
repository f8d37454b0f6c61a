"""Plays a recording again, tick by tick, on a world: the recorded actions, quality, resets and events.

Where a playback may begin, what it needs of the world there, and the ticks from then on. What comes out is compared
with the recording by `nextframe.runtime.recording.verify.ReplayVerifier`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..core import Frame, ReplayError, Snapshot, World
from ..loop import Recorder
from ..tick.again import again
from .format import Replay, StoredSnapshot
from .reader import load_snapshot


@dataclass(frozen=True)
class Span:
    """The ticks asked for, `first` up to `last` without it, and where the playback must begin to reach them."""

    start: int
    first: int
    last: int
    snapshot: StoredSnapshot | None

    @property
    def ticks(self) -> int:
        return self.last - self.start


def span_of(replay: Replay, path: Path, first: int | None = None, last: int | None = None) -> Span:
    """The ticks from `first` up to `last`, which is not included; the whole recording when not given.

    Raises `ReplayError` for an empty recording, or for ticks that it does not have.
    """
    held = len(replay.ticks)
    if not held:
        raise ReplayError(f"{path}: the recording holds no ticks{'; ' + replay.message if replay.message else ''}")
    first, last = first or 0, held if last is None else last
    if not 0 <= first < last <= held:
        raise ReplayError(
            f"{path}: expected --from below --to, both in 0..{held}, got {first} and {last}; "
            f"the recording holds ticks 0 to {held - 1}"
        )
    start, snapshot = replay.start_before(first)
    return Span(start, first, last, snapshot)


def go_to_start(world: World, replay: Replay, span: Span, path: Path) -> None:
    """Restore what the span starts from; a reset there is carried out by the loop. Raises `ReplayError`."""
    if span.snapshot is None:
        return
    restore(world, load_snapshot(path, span.snapshot), f"{path}: the state before tick {span.start}")


def restore(world: World, snapshot: Snapshot, source: str) -> None:
    """`World.restore` for a snapshot from elsewhere. Raises `ReplayError`."""
    try:
        world.restore(snapshot)
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Shapes and names inside a snapshot are the world's own: only it can tell that they do not fit.
        raise ReplayError(
            f"{source}: expected a state that fits {world.info.name}, got one that does not "
            f"({type(error).__name__}: {error}); start from an earlier tick, or with the world that made it"
        ) from error


def check_steps(replay: Replay, path: Path) -> None:
    """A valid CRC does not make a level sane: only rungs can be forced."""
    for tick, recorded in enumerate(replay.ticks):
        if recorded.steps_applied not in replay.header.ladder:
            ladder = ", ".join(map(str, replay.header.ladder))
            raise ReplayError(f"{path}: tick {tick}: expected denoise steps of {ladder}, got {recorded.steps_applied}")


class Playback:
    """A recording played again on a world that stands before its tick `start`, one tick at a time.

    `recorder`: told of every tick as it came out, with a checksum where the recording has one. `steps`: another quality
    for every tick than the recorded one.
    """

    def __init__(
        self, replay: Replay, world: World, recorder: Recorder, start: int = 0, *, steps: int | None = None
    ) -> None:
        self.tick = start
        self._replay, self._world, self._recorder, self._steps = replay, world, recorder, steps
        self._seed = replay.header.seed

    def advance(self) -> list[Frame]:
        """Play the next tick; its frames. Raises `ReplayError` for a tick that this world cannot repeat."""
        recorded = self._replay.ticks[self.tick]
        played, frames = again(self._world, recorded, steps=self._steps, seed=self._seed)
        self._seed = self._seed if played.reset_seed is None else played.reset_seed
        checksum = None if recorded.checksum is None else self._world.checksum()
        self._recorder.record_tick(self.tick, replace(played, checksum=checksum))
        self.tick += 1
        return frames

    def run(self, ticks: int) -> None:
        """So many ticks, or up to the recording's end, without their frames."""
        for _ in range(min(ticks, len(self._replay.ticks) - self.tick)):
            self.advance()
