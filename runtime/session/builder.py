"""Makes every loop of the product: the parts around the world, the observers beside each other, then the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..core import Controller, Display, World
from ..loop import Governor, Interlude, Loop, Observer, Recorder
from ..tick.record import TickRecord
from .instruments import Instruments
from .parts.part import SessionPart, Setting
from .startup import OpenWorld, StartUp

Seam = TypeVar("Seam")


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, record: TickRecord) -> None:
        for observer in self._observers:
            observer.observe(record)


class Session:
    """One world with its parts, to be played once.

    `world`: reset and warm, closed by the caller. `parts`: each wraps the world that the one before it gave.
    `instruments`: what measures the session, where it is measured.
    """

    def __init__(
        self,
        world: World,
        setting: Setting,
        *,
        parts: Sequence[SessionPart] = (),
        instruments: Instruments | None = None,
    ) -> None:
        self.setting, self._parts, self._instruments = setting, tuple(parts), instruments
        for part in self._parts:
            world = part.wrap(world)
        self.world = world
        """As the loop runs it."""

    def loop(
        self,
        controller: Controller,
        display: Display,
        governor: Governor,
        *,
        recorder: Recorder | None = None,
        interlude: Interlude | None = None,
        observers: Sequence[Observer] = (),
        checksum_every: int = 20,
    ) -> Loop:
        """The loop of this session; see `Loop`. `observers`: told of each tick after the instruments and the parts."""
        setting, instruments = self.setting, self._instruments
        watching = [part.observer for part in self._parts if part.observer is not None]
        if instruments is not None:
            watching = [*instruments.observers, *watching]
        return Loop(
            self.world,
            controller,
            display,
            governor,
            setting.clock,
            tick_period_ns=setting.tick_period_ns,
            deadline_ns=setting.deadline_ns,
            observer=Observers(*watching, *observers),
            recorder=recorder,
            controls=setting.controls,
            seed=setting.seed,
            checksum_every=checksum_every,
            probe=None if instruments is None else instruments.probe,
            interlude=interlude,
            ahead=_only([part.ahead for part in self._parts if part.ahead is not None]),
            aftercare=_only([part.aftercare for part in self._parts if part.aftercare is not None]),
        )

    def report(
        self, opened: OpenWorld, startup: StartUp, *, clock: str, governor_name: str, load: str | None = None
    ) -> dict[str, Any]:
        """The instruments' report with what each part adds. `load`: the load as it was asked for."""
        assert self._instruments is not None, "a session that is reported has instruments"
        costs = [part.load_ms for part in self._parts if part.load_ms is not None]
        report = self._instruments.report(
            opened,
            startup,
            clock=clock,
            governor_name=governor_name,
            load=load,
            load_ms=costs[-1] if load and costs else None,
        )
        for part in self._parts:
            report |= part.as_report()
        return report

    def check(self) -> None:
        """Raises NextframeError if a part ended the session."""
        for part in self._parts:
            part.check()


def _only(seams: Sequence[Seam]) -> Seam | None:
    """A loop has one such seam, so at most one part of a session may use it."""
    assert len(seams) <= 1, f"expected one part for each seam of the loop, got {seams}"
    return seams[0] if seams else None
