"""A world whose workers may die: it is brought back, and the tick that was lost is made again, bit for bit.

The way back is a snapshot now and then, and what was done since. What a fault looks like and how to restart is given.
A caller of the world sees a tick that takes long, nothing else; the last picture stays on the screen meanwhile, and for
how many frames it was held is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeVar

from ..ahead.world import TickJob
from ..core import (
    Action,
    DriftAction,
    Frame,
    NextframeError,
    PlayedTick,
    Snapshot,
    StatePart,
    StepGate,
    TickPlan,
    TickResult,
    World,
    always_open,
)
from ..tick.again import again, mend
from ..tick.events import gathered
from ..tick.forwarding import ForwardingWorld

T = TypeVar("T")
MAX_FAULTS_KEPT = 1_000


class TooManyFaults(NextframeError):  # noqa: N818 - says what happened
    """The world's workers died again and again; the session ends with everything written so far."""


class WorkerFault(Protocol):
    """What the exception for a lost worker carries. `noticed_ns`: when that was noticed, on the monotonic clock."""

    noticed_ns: int


@dataclass(frozen=True)
class SupervisorLimits:
    """`snapshot_every_ticks`: so many ticks are made again at most. `deaths` within `within_s` are too many."""

    snapshot_every_ticks: int = 20
    deaths: int = 3
    within_s: float = 60.0


@dataclass(frozen=True)
class Fault:
    """`tick`: ticks committed since the session began, when it happened. `what`: in one line. `noticed_ms`: from the
    call that failed to the notice; `restored_ms`: until the world stood where it had stood. `ticks_again`: made again
    for that. `held_frames`: whole tick periods without a new picture."""

    tick: int
    what: str
    noticed_ms: float
    restored_ms: float
    ticks_again: int
    held_frames: int


class SupervisedWorld(ForwardingWorld):
    """A world in front of one that raises `fault` when a worker is gone and works again after `restart`.

    A snapshot is taken every so many commits, also at none of the caller's asking; between two of them actions and
    applied steps are kept. Raises TooManyFaults. `restart` may itself raise `fault`: it counts as the next one.
    `period_ns`: of a tick, for counting held frames. `now_ns`: monotonic.
    """

    def __init__(
        self,
        world: World,
        fault: type[WorkerFault],
        restart: Callable[[], None],
        *,
        period_ns: int,
        limits: SupervisorLimits | None = None,
        say: Callable[[str], None] = lambda text: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(world)
        self._fault, self._restart, self._period_ns = fault, restart, period_ns
        self._limits, self._say, self._now_ns = limits or SupervisorLimits(), say, now_ns
        self.faults: list[Fault] = []
        self._fault_count = 0
        self._deaths_ns: list[int] = []
        self._base: Callable[[], object] = lambda: world.reset(0)
        self._since: list[PlayedTick] = []
        self._ticks = 0

    @property
    def inner(self) -> World:
        """The world that is looked after."""
        return self._world

    # --- a session ----------------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> Frame:
        frame = self._safely(lambda: self._world.reset(seed))
        self._go_from(lambda: self._world.reset(seed))
        return frame

    def restore(self, snapshot: Snapshot) -> None:
        self._safely(lambda: self._world.restore(snapshot))
        self._go_from(lambda: self._world.restore(snapshot))

    def start(self, action: Action, steps: int | None = None) -> TickJob:
        """The coming tick in pieces, for worlds that can (`nextframe.runtime.ahead.world.StepwiseWorld`)."""
        return SupervisedTick(self, lambda: _stepwise(self._world).start(action, steps), action)

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        return self.made(action, self._safely(lambda: self._world.advance(action, plan)))

    def made(self, action: Action, result: TickResult) -> TickResult:
        """A tick that was made, with a commit that is looked after."""

        def played() -> PlayedTick:
            return PlayedTick(action, result.steps_applied, events=gathered(result.mishaps()))

        def commit() -> None:
            self._safely(result.commit, instead=lambda: self._again(played()))
            self._ticks += 1
            self._since.append(played())
            if len(self._since) >= self._limits.snapshot_every_ticks:
                self._take_snapshot()

        return replace(result, commit=commit)

    def safely(self, call: Callable[[], T]) -> T:
        """The call; after a fault the world as it was before the tick that is being made, and the call again."""
        return self._safely(call)

    @property
    def fault_count(self) -> int:
        return self._fault_count

    def mend(self, action: str) -> None:
        """A drift action, by its name; see `nextframe.worlds.neural.world.NeuralWorld.mend`."""
        done = DriftAction(action)
        self._safely(lambda: mend(self._world, done))
        if self._since:
            last = self._since[-1]
            self._since[-1] = replace(last, events=(*last.events, done))
            return
        base = self._base

        def mended() -> None:
            base()
            mend(self._world, done)

        self._go_from(mended)

    def snapshot(self) -> Snapshot:
        return self._safely(self._world.snapshot)

    def checksum(self) -> int:
        return self._safely(self._world.checksum)

    def state_inventory(self) -> list[StatePart]:
        return self._safely(self._world.state_inventory)

    def warm_up(self) -> None:
        self._safely(self._world.warm_up)

    def as_report(self) -> dict[str, Any]:
        """`faults` of a report."""
        return {
            "fault_count": self._fault_count,
            "held_frames": sum(fault.held_frames for fault in self.faults),
            "faults": [asdict(fault) for fault in self.faults],
        }

    # --- the way back -------------------------------------------------------------------------------------------------

    def _go_from(self, base: Callable[[], object]) -> None:
        self._base, self._since = base, []

    def _take_snapshot(self) -> None:
        snapshot = self._safely(self._world.snapshot)
        self._go_from(lambda: self._world.restore(snapshot))

    def _safely(self, call: Callable[[], T], *, instead: Callable[[], T] | None = None) -> T:
        """The call; after a fault, the world brought back to before it and the call again, or `instead` of it."""
        began_ns = self._now_ns()
        try:
            return call()
        except self._fault as fault:  # type: ignore[misc]  # no type says "an exception with this field"
            self._bring_back(fault, fault.noticed_ns, began_ns)
        return self._safely(instead or call, instead=instead)

    def _bring_back(self, fault: Exception, noticed_ns: int, began_ns: int) -> None:
        first = fault
        while True:
            self._count_death(fault)
            try:
                self._restart()
                self._base()
                for played in self._since:
                    self._again(played)
                break
            except self._fault as another:  # type: ignore[misc]  # as above
                fault = another
        restored_ns = self._now_ns()
        self._note(first, began_ns, noticed_ns, restored_ns)

    def _again(self, played: PlayedTick) -> None:
        again(self._world, played, reason="made again after a fault")

    def _count_death(self, fault: Exception) -> None:
        now_ns, within_ns = self._now_ns(), int(self._limits.within_s * 1e9)
        self._fault_count += 1
        self._deaths_ns = [at for at in self._deaths_ns if now_ns - at < within_ns] + [now_ns]
        if len(self._deaths_ns) >= self._limits.deaths:
            raise TooManyFaults(
                f"stages: {len(self._deaths_ns)} faults within {self._limits.within_s:g} s, the last: {fault}; the "
                "session ends here, what was recorded is whole; look at that process's device and memory"
            ) from fault

    def _note(self, fault: Exception, began_ns: int, noticed_ns: int, restored_ns: int) -> None:
        held_ns = restored_ns - began_ns
        noted = Fault(
            self._ticks,
            " ".join(str(fault).split()),
            noticed_ms=round(max(0, noticed_ns - began_ns) / 1e6, 3),
            restored_ms=round(held_ns / 1e6, 3),
            ticks_again=len(self._since),
            held_frames=held_ns // self._period_ns,
        )
        if len(self.faults) < MAX_FAULTS_KEPT:
            self.faults.append(noted)
        self._say(
            f"{noted.what}; restarted, {noted.ticks_again} ticks made again, "
            f"picture held for {noted.restored_ms / 1e3:.1f} s"
        )


def _stepwise(world: World) -> Any:
    """Its `start` is asked for where there is one; a world without is a mistake of the caller."""
    return world


class SupervisedTick:
    """One coming tick in pieces; after a fault it is begun anew and made as far as it was.

    See `nextframe.runtime.ahead.world.TickJob`.
    """

    def __init__(self, world: SupervisedWorld, begin: Callable[[], TickJob], action: Action) -> None:
        self._world, self._begin, self._action = world, begin, action
        self._steps_done = 0
        self._job = world.safely(begin)
        self._begun_after = world.fault_count

    @property
    def steps_done(self) -> int:
        return self._steps_done

    @property
    def is_current(self) -> bool:
        return self._begun_after == self._world.fault_count and self._job.is_current

    def denoise(self, steps: int, gate: StepGate) -> None:
        self._piece(lambda job: job.denoise(steps, gate))

    def decode(self) -> Frame:
        return self._piece(lambda job: job.decode())

    def result(self) -> TickResult:
        return self._world.made(self._action, self._piece(lambda job: job.result()))

    def _piece(self, work: Callable[[TickJob], T]) -> T:
        def whole() -> T:
            if self._begun_after != self._world.fault_count:
                self._begun_after, self._job = self._world.fault_count, self._begin()
                self._job.denoise(self._steps_done, always_open)
            return work(self._job)

        made = self._world.safely(whole)
        self._steps_done = self._job.steps_done
        return made
