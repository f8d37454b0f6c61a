"""What `--drift` adds to a session: a monitor at the world's commits, an action at an alarm, and a part of the report.

What drift is and what can be done about it is in `nextframe.model.drift.monitor` and `nextframe.model.drift.actions`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...core import ConfigError, DriftAction, WeightsError, World
from ..registry import WorldFolder
from .part import SessionPart

if TYPE_CHECKING:
    from ....model.drift.monitor import DriftMonitor

BANK = "drift_bank.safetensors"
OFF, LOG = "off", DriftAction.LOG
REMEDIES = ("renoise", "reanchor")
"""The actions that change the world. With one of them the monitor's state decides the future, so it is the world's."""
CHOICES = (OFF, LOG, *REMEDIES)
MAX_ALARMS = 1_000


def drift_choice(wanted: str | None, found: WorldFolder, *, side_by_side: bool = False) -> str:
    """`--drift` for this world; when not given, `log` where there is a drift bank. Raises `ConfigError`."""
    path = found.path / BANK
    able = path.is_file() and not side_by_side
    if wanted is None:
        return LOG if able else OFF
    if wanted not in CHOICES:
        raise ConfigError(f"--drift: expected one of {', '.join(CHOICES)}, got {wanted!r}")
    if wanted != OFF and side_by_side:
        raise ConfigError(f"--drift {wanted}: the simulator beside the network is not watched; leave one of them out")
    if wanted != OFF and not able:
        raise ConfigError(f"--drift {wanted}: {found.name} has no drift bank: expected {path}; leave out --drift")
    if wanted in REMEDIES and not found.kind.mends_drift:
        raise ConfigError(
            f"--drift {wanted}: expected a world whose drift can be mended, that is one whose places are pixels of the "
            f"picture; {found.name} is none: take --drift {LOG}"
        )
    return wanted


def bank_sha256(found: WorldFolder) -> str:
    """Of the world's drift bank, which must be there."""
    return hashlib.sha256((found.path / BANK).read_bytes()).hexdigest()


def watch(world: World, found: WorldFolder, action: str) -> DriftMonitor:
    """Put a monitor at the world's commits, with the bank beside its weights. Raises `WeightsError`, `ConfigError`."""
    from ....model.base.checkpoint import CheckpointError
    from ....model.drift.bank import load_bank
    from ....model.drift.monitor import DriftMonitor
    from ....worlds.neural.world import NeuralWorld

    if not isinstance(world, NeuralWorld):
        raise ConfigError(f"--drift {action}: expected a world of latents, {found.name} has none; leave out --drift")
    path = found.path / BANK
    try:
        bank = load_bank(path)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    groups = tuple(len(words) for words in world.info.actions.prompts.values())
    latent_dim = world.generator.config.latent_dim
    if (bank.latent_dim, bank.groups) != (latent_dim, groups):
        raise WeightsError(
            f"{path}: expected bands of {latent_dim} channels and prompt groups of {groups} words, "
            f"got {bank.latent_dim} and {bank.groups}; make the bank of these weights"
        )
    monitor = DriftMonitor(bank, world.generator.window)
    world.watch(monitor, decides=action in REMEDIES)
    return monitor


@dataclass(frozen=True)
class Alarm:
    """`part`: what lay furthest outside, such as `slot 1 x mean`. `score`: None for a latent that is no number."""

    tick: int
    score: float | None
    part: str
    action: str


class DriftPart(SessionPart):
    """The aftercare of a live session: asks the monitor after every commit, acts once for each alarm.

    `monitor` None: nothing is watched. `say`: tells the player, on the loop's thread.
    """

    def __init__(
        self, world: World, monitor: DriftMonitor | None, action: str, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self._world: Any = world
        self._monitor, self._action, self._say = monitor, action, say
        self._alarms: list[Alarm] = []
        self._alarm_count = 0
        if monitor is not None:
            from ....model.drift.actions import DriftPolicy

            self._policy = DriftPolicy(action)
            self.aftercare = self

    def after_commit(self, tick: int) -> DriftAction | None:
        assert self._monitor is not None, "only a session that is watched has an aftercare"
        report = self._monitor.report
        name = self._policy.due(report)
        if name is None:
            return None
        part = next(iter(report.channels), "nothing now")  # an alarm that was loaded, by a bank that has changed since
        self._note(Alarm(tick, _finite(report.score), part, name))
        if name != LOG:
            self._world.mend(name)
        return DriftAction(name)

    def _note(self, alarm: Alarm) -> None:
        self._alarm_count += 1
        if len(self._alarms) < MAX_ALARMS:
            self._alarms.append(alarm)
        self._say(in_words(alarm))

    def as_report(self) -> dict[str, Any]:
        """`drift` of the report, nothing where nothing is watched. A score that is no number is null."""
        if self._monitor is None:
            return {}
        drift = {
            "action": self._action,
            "alarm_count": self._alarm_count,
            "alarms": [asdict(alarm) for alarm in self._alarms],
            "last_score": _finite(self._monitor.report.score),
        }
        return {"drift": drift}


def in_words(alarm: Alarm) -> str:
    score = "not a number" if alarm.score is None else f"{alarm.score:.2f} band widths outside"
    done = "" if alarm.action == LOG else f"; {alarm.action} done"
    return f"drift: {alarm.part}, {score}{done}"


def summary(drift: dict[str, Any]) -> str:
    """The `drift` of a report in one line."""
    score = "no number" if drift["last_score"] is None else f"{drift['last_score']:.2f}"
    if not drift["alarm_count"]:
        return f"drift: none, score {score} at the end"
    first = Alarm(**drift["alarms"][0])
    count = "1 alarm" if drift["alarm_count"] == 1 else f"{drift['alarm_count']} alarms, the first"
    return f"drift: {count} at tick {first.tick}{in_words(first).removeprefix('drift')}; score {score} at the end"


def _finite(score: float) -> float | None:
    return round(score, 4) if math.isfinite(score) else None
