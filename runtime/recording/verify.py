"""Holds a playback against its recording: does the world fit, and which tick is the first to differ in what.

Owns the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core import Action, PlayedTick, ReplayError, WorldInfo
from .format import Replay


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
