"""Claims about the supervisor, with a world that fails on command: no processes, no network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nextframe.runtime.ahead.world import TickJob
from nextframe.runtime.core import Action, Frame, NextframeError, StepGate, TickPlan, TickResult, World, always_open
from nextframe.runtime.session.supervisor import SupervisedWorld, SupervisorLimits, TooManyFaults
from nextframe.runtime.tick.forwarding import ForwardingWorld
from nextframe.worlds.toy.world import ToyWorld
from tests.support.worlds.staged import whole_world

PERIOD_NS = 50_000_000
PLAN = TickPlan(1, deadline_ns=0)


class WorkerGone(Exception):  # noqa: N818 - as what it stands for
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.noticed_ns = time.monotonic_ns()


class Fragile(ForwardingWorld):
    """A toy world whose worker is gone whenever a name is in `breaks`; `restart` loses all state."""

    def __init__(self, world: World | None = None) -> None:
        super().__init__(world or ToyWorld())
        self.breaks: list[str] = []
        self.broken = False
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1
        self.broken = False
        self._break("restart")
        self._world.reset(999)

    def _break(self, name: str) -> None:
        if name in self.breaks:
            self.breaks.remove(name)
            self.broken = True
        if self.broken:
            raise WorkerGone(name)

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self._break("advance")
        result = super().advance(action, plan)

        def commit() -> None:
            self._break("commit")
            result.commit()

        return replace(result, commit=commit)

    def checksum(self) -> int:
        self._break("checksum")
        return super().checksum()


def supervised(**limits: float) -> tuple[SupervisedWorld, Fragile]:
    fragile = Fragile()
    chosen = SupervisorLimits(**{"snapshot_every_ticks": 4, "deaths": 100, **limits})  # type: ignore[arg-type]
    return SupervisedWorld(fragile, WorkerGone, fragile.restart, period_ns=PERIOD_NS, limits=chosen), fragile


def action_at(tick: int, world: ForwardingWorld) -> Action:
    return Action(axes={world.info.actions.axes[0]: (tick % 5 - 2) / 2})


def go(world: ForwardingWorld, first: int, end: int) -> list[tuple[bytes, int]]:
    made = []
    for tick in range(first, end):
        result = world.advance(action_at(tick, world), PLAN)
        result.commit()
        made.append((result.frames[0].tobytes(), world.checksum()))
    return made


def plain(end: int) -> list[tuple[bytes, int]]:
    world = ForwardingWorld(ToyWorld())
    world.reset(7)
    return go(world, 0, end)


@pytest.mark.parametrize("where", ["advance", "commit", "checksum"])
@pytest.mark.parametrize("at", [0, 3, 4, 9])
def test_a_fault_anywhere_in_a_tick_loses_nothing(where: str, at: int) -> None:
    world, fragile = supervised()
    world.reset(7)
    before = go(world, 0, at)
    fragile.breaks = [where]
    assert before + go(world, at, 12) == plain(12)
    assert fragile.restarts == 1
    assert len(world.faults) == 1


def test_a_fault_while_coming_back_is_the_next_fault() -> None:
    world, fragile = supervised()
    world.reset(7)
    go(world, 0, 3)
    fragile.breaks = ["advance", "restart"]
    assert go(world, 3, 6) == plain(6)[3:]
    assert fragile.restarts == 2
    assert world.as_report()["fault_count"] == 2


def test_without_what_was_done_since_the_snapshot_the_world_would_be_another() -> None:
    """The control: a restart loses the state, and only making the ticks again brings it back."""
    world, fragile = supervised()
    world.reset(7)
    go(world, 0, 3)
    world._since.clear()
    fragile.breaks = ["advance"]
    assert go(world, 3, 6) != plain(6)[3:]


def test_no_more_ticks_are_made_again_than_lie_between_two_snapshots() -> None:
    world, fragile = supervised()
    world.reset(7)
    for tick in range(30):
        fragile.breaks = ["advance"]
        go(world, tick, tick + 1)
    assert max(fault.ticks_again for fault in world.faults) == 3


def test_the_third_fault_within_a_minute_is_one_too_many() -> None:
    world, fragile = supervised(deaths=3)
    world.reset(7)
    for tick in range(2):
        fragile.breaks = ["advance"]
        go(world, tick, tick + 1)
    fragile.breaks = ["advance"]
    with pytest.raises(TooManyFaults, match="3 faults within 60 s") as end:
        go(world, 2, 3)
    assert isinstance(end.value, NextframeError)
    assert end.value.exit_code == 2


def test_faults_that_lie_far_apart_are_never_too_many() -> None:
    world, fragile = supervised(deaths=3, within_s=10.0)
    now_ns = [0]
    world._now_ns = lambda: now_ns[0]
    world.reset(7)
    for tick in range(10):
        now_ns[0] += 6_000_000_000
        fragile.breaks = ["advance"]
        go(world, tick, tick + 1)
    assert world.as_report()["fault_count"] == 10


def test_the_picture_that_was_held_is_counted_in_whole_periods() -> None:
    world, fragile = supervised()
    now_ns = [0]
    world._now_ns = lambda: now_ns[0]
    world.reset(7)
    restart = world._restart

    def slow_restart() -> None:
        now_ns[0] += 5 * PERIOD_NS // 2
        restart()

    world._restart = slow_restart
    fragile.breaks = ["advance"]
    go(world, 0, 1)
    assert world.as_report()["held_frames"] == 2
    assert world.faults[0].restored_ms == 125.0


# --- a tick in pieces ---------------------------------------------------------------------------------------------


class FragilePieces(Fragile):
    """A neural world whose tick is made in pieces, with a worker that is gone at one of them."""

    def __init__(self) -> None:
        super().__init__(whole_world())

    def start(self, action: Action, steps: int | None = None) -> TickJob:
        self._break("start")
        world: Any = self._world
        return BreakableTick(world.start(action, steps), self._break)


class BreakableTick:
    def __init__(self, job: TickJob, might_break: Callable[[str], None]) -> None:
        self._job, self._might_break = job, might_break

    @property
    def steps_done(self) -> int:
        return self._job.steps_done

    @property
    def is_current(self) -> bool:
        return self._job.is_current

    def denoise(self, steps: int, gate: StepGate) -> None:
        self._might_break(f"denoise {steps}")
        self._job.denoise(steps, gate)

    def decode(self) -> Frame:
        self._might_break("decode")
        return self._job.decode()

    def result(self) -> TickResult:
        self._might_break("result")
        return self._job.result()


def in_pieces(world: Any, first: int, end: int) -> list[tuple[bytes, int]]:
    made = []
    for tick in range(first, end):
        job = world.start(action_at(tick, world), 4)
        job.denoise(1, always_open)
        job.denoise(2, always_open)
        job.decode()
        assert (job.steps_done, job.is_current) == (2, True)
        result = job.result()
        result.commit()
        made.append((result.frames[0].tobytes(), world.checksum()))
    return made


@pytest.mark.parametrize("piece", ["start", "denoise 1", "denoise 2", "decode", "result"])
def test_a_fault_in_a_piece_of_a_tick_loses_nothing(piece: str) -> None:
    fragile, twin = FragilePieces(), whole_world()
    world = SupervisedWorld(fragile, WorkerGone, fragile.restart, period_ns=PERIOD_NS)
    twin.reset(7)
    world.reset(7)
    before = in_pieces(world, 0, 2)
    fragile.breaks = [piece]
    assert before + in_pieces(world, 2, 4) == in_pieces(twin, 0, 4)
    assert fragile.restarts == 1
    assert len(world.faults) == 1


def test_a_tick_begun_before_a_fault_elsewhere_is_worth_nothing() -> None:
    fragile = FragilePieces()
    world = SupervisedWorld(fragile, WorkerGone, fragile.restart, period_ns=PERIOD_NS)
    world.reset(7)
    begun = world.start(action_at(0, world), 2)
    assert begun.is_current
    fragile.breaks = ["checksum"]
    world.checksum()
    assert not begun.is_current


def test_other_errors_are_passed_on() -> None:
    world, fragile = supervised()
    world.reset(7)
    with pytest.raises(AssertionError):
        world._safely(lambda: (_ for _ in ()).throw(AssertionError()))
    assert fragile.restarts == 0


def test_a_snapshot_that_is_refused_is_not_what_a_fault_goes_back_to() -> None:
    world, fragile = supervised()
    world.reset(7)
    before = go(world, 0, 2)
    with pytest.raises((KeyError, ValueError, TypeError, AssertionError)):
        world.restore({})
    fragile.breaks = ["advance"]
    assert before + go(world, 2, 4) == plain(4)


class Mended(Fragile):
    """Drift actions turn the world's light on or off, so that a lost or doubled one shows."""

    def mend(self, action: str) -> None:
        self._break("mend")
        self._world.advance(Action(prompt=action), PLAN).commit()


@pytest.mark.parametrize("at", [0, 3, 4])
@pytest.mark.parametrize("later", ["advance", "mend"])
def test_a_drift_action_is_done_once_whenever_the_worker_dies(at: int, later: str) -> None:
    """At 0 and 4 there is no tick since the last snapshot that it could belong to."""

    def played(*breaks: str) -> list[tuple[bytes, int]]:
        fragile = Mended()
        world = SupervisedWorld(
            fragile, WorkerGone, fragile.restart, period_ns=PERIOD_NS, limits=SupervisorLimits(4, 100)
        )
        world.reset(7)
        made = go(world, 0, at)
        fragile.breaks = [name for name in breaks if name == "mend"]
        world.mend("night")
        fragile.breaks = [name for name in breaks if name != "mend"]
        made += go(world, at, at + 6)
        assert len(world.faults) == len(breaks)
        return made

    assert played(later) == played()
