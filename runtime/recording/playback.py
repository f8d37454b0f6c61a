"""Plays a recording again, tick by tick, on a world: the recorded actions, quality, resets and events.

Where a playback may begin, what it needs of the world there, the ticks from then on, and the comparison of what comes
out with the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..core import Action, Frame, PlayedTick, ReplayError, Snapshot, World, WorldInfo
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


def check_fits(replay: Replay, info: WorldInfo) -> None:
    """Refuse a world that is not the one recorded. Raises `ReplayError` that shows both values."""
    header = replay.header
    for what, recorded, here in (
        ("world", header.world, info.name),
        ("weights (SHA-256)", header.weights_sha256, info.weights_sha256),
        ("world configuration (SHA-256)", header.config_sha256, info.config_sha256),
        ("tick rate", header.tick_hz, info.tick_hz),
        ("ladder", header.ladder, info.ladder),
        ("buttons", header.actions.buttons, info.actions.buttons),
        ("axes", header.actions.axes, info.actions.axes),
    ):
        if recorded != here:
            raise ReplayError(f"the recording does not fit this world: {what}: recorded {recorded}, here {here}")


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


# --- held against the recording --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """The first tick at which a playback left its recording, and in what."""

    tick: int
    what: str
    recorded: object
    played: object

    def __str__(self) -> str:
        return f"tick {self.tick}: {self.what}: recorded {self.recorded}, played {self.played}"


class ReplayVerifier:
    """A `Recorder` that compares a playback with its recording, tick by tick, from `first_tick` up to `last_tick`.

    `first_checksum_difference`, `first_steps_difference`, `first_action_difference`: None while they agree.
    `checksums_compared`: with 0 nothing was verified, and `verified` stays false. `last_tick` is not included.
    """

    problem = ""

    def __init__(self, replay: Replay, first_tick: int = 0, last_tick: int | None = None) -> None:
        self._recorded = replay.ticks
        self._range = range(first_tick, len(replay.ticks) if last_tick is None else last_tick)
        self.ticks_compared = 0
        self.checksums_compared = 0
        self.first_checksum_difference: Difference | None = None
        self.first_steps_difference: Difference | None = None
        self.first_action_difference: Difference | None = None

    @property
    def first_difference(self) -> Difference | None:
        """The earliest of them; of one tick the action before the steps before the checksum, cause before effect."""
        found = (self.first_action_difference, self.first_steps_difference, self.first_checksum_difference)
        return min((d for d in found if d is not None), key=lambda difference: difference.tick, default=None)

    @property
    def verified(self) -> bool:
        """Every tick of the range was played, checksums were compared, and nothing differs."""
        played_all = self.ticks_compared == len(self._range)
        expected = sum(self._recorded[tick].checksum is not None for tick in self._range)
        return played_all and 0 < expected == self.checksums_compared and self.first_difference is None

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        if tick not in self._range:
            return
        recorded = self._recorded[tick]
        self.ticks_compared += 1
        if self.first_action_difference is None and not same_action(played.action, recorded.action):
            self.first_action_difference = Difference(tick, "action", recorded.action, played.action)
        if self.first_steps_difference is None and played.steps_applied != recorded.steps_applied:
            steps = recorded.steps_applied, played.steps_applied
            self.first_steps_difference = Difference(tick, "denoise steps", *steps)
        if played.checksum is None or recorded.checksum is None:
            return
        self.checksums_compared += 1
        if self.first_checksum_difference is None and played.checksum != recorded.checksum:
            shown = f"{recorded.checksum:#010x}", f"{played.checksum:#010x}"
            self.first_checksum_difference = Difference(tick, "checksum", *shown)

    def close(self) -> None:
        pass


def same_action(one: Action, other: Action) -> bool:
    """An axis that is left out is at rest."""
    same_axes = all(one.axes.get(name, 0) == other.axes.get(name, 0) for name in one.axes.keys() | other.axes.keys())
    return same_axes and (one.buttons, one.prompt, one.reset) == (other.buttons, other.prompt, other.reset)
