"""The life of a tick: wait, poll late, plan, advance, present, commit, record, observe.

Late policy. A neural tick costs about a whole period, so catching up by running more ticks would only make the loop
later still. At most one tick runs per slot. A tick that presents after its slot has ended moves the timetable: the
next tick is released when this one is done, with a whole deadline of its own, and world time dilates by exactly the
overrun. Waiting for the next slot of the old timetable instead would halve the rate of a world that is 5 % too slow.
Each whole period of dilation is counted as one lost slot. A commit that reaches into later slots moves nothing:
the next tick starts late and the time comes out of its budget, since its response is counted from its release.

Time that passes while the world works is the world's, however long. A `clock_gap` is more than 250 ms in which the
process did not run at all (suspend, SIGSTOP, a debugger): no tick is late for it. The probe tells the two apart; where
it cannot, as on a manual clock, only time that passes while the loop sleeps is a gap, and not twice in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple, Protocol

from .core import (
    Action,
    Clock,
    ClockGap,
    Controller,
    Display,
    Frame,
    Mishaps,
    PlayedTick,
    Reset,
    TickEvent,
    TickPlan,
    TickResult,
    World,
)
from .tick.aftercare import Aftercare, NullAftercare
from .tick.controls import SessionControls
from .tick.events import gathered
from .tick.guess import Ahead, NullAhead
from .tick.probe import HostUse, NullProbe, Probe
from .tick.record import TickRecord

CLOCK_GAP_NS = 250_000_000
"""A process that stood still for longer is a stopped machine; Bevy gives up the same stretch of time."""


class Governor(Protocol):
    """Chooses the quality of a tick before it runs and learns from its record. Never calls the world."""

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan: ...

    def observe(self, record: TickRecord) -> None: ...


class Observer(Protocol):
    """Told of every tick, off the path from input to picture. Must be cheap."""

    def observe(self, record: TickRecord) -> None: ...


class Recorder(Protocol):
    """Stores what a replay needs. `problem`: why it has stopped storing by itself; empty while all is well."""

    @property
    def problem(self) -> str: ...

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        """Called after the commit of every tick, on the loop's thread."""
        ...

    def close(self) -> None: ...


class Turn(NamedTuple):
    """What happened in a slot instead of a tick: frames to show, and the number of the next tick."""

    frames: Sequence[Frame]
    next_tick: int


class Interlude(Protocol):
    """Asked before every tick, on the loop's thread: may take the slot, to go back in time or load a state.

    Returns None to let the tick run. What it does with the world is its own business; no deadline is counted for it.
    """

    def turn(self, next_tick: int) -> Turn | None: ...


class NullInterlude:
    def turn(self, next_tick: int) -> Turn | None:
        return None


class NullObserver:
    def observe(self, record: TickRecord) -> None:
        pass


class NullRecorder:
    problem = ""

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        pass

    def close(self) -> None:
        pass


def period_ns(tick_hz: Fraction) -> Fraction:
    """The exact tick period: a 60 Hz world has no whole number of nanoseconds in it."""
    return Fraction(1_000_000_000) / tick_hz


class Timetable:
    """Absolute release times r_n = t0 + n*T in integers, so that no error adds up however long the session."""

    def __init__(self, period_ns: Fraction | int) -> None:
        self.period_ns = Fraction(period_ns)
        if self.period_ns <= 0:
            raise ValueError(f"tick period: expected more than 0 ns, got {period_ns}")
        self._start_ns = 0

    def anchor(self, start_ns: int) -> None:
        """Slot 0 is released at `start_ns`."""
        self._start_ns = start_ns

    def release_ns(self, slot: int) -> int:
        return self._start_ns + slot * self.period_ns.numerator // self.period_ns.denominator

    def delay(self, duration_ns: int) -> None:
        """All releases from now on come that much later."""
        self._start_ns += duration_ns


def _reason(plan: TickPlan, steps_applied: int) -> str:
    if steps_applied == plan.denoise_steps:
        return plan.reason
    cut = steps_applied < plan.denoise_steps
    return f"{plan.reason}; " + (f"cut to {steps_applied} mid-tick" if cut else f"{steps_applied} made ahead")


class _Times(NamedTuple):
    """The clock at each turn of one tick."""

    release_ns: int
    poll_ns: int
    emit_ns: int
    present_ns: int
    paced_ns: int
    commit_start_ns: int
    commit_end_ns: int

    def late_ns(self, deadline_ns: int) -> int:
        return max(0, self.present_ns - self.release_ns - deadline_ns)


class Loop:
    """Runs a world at its tick rate. The caller has reset (and warmed) the world, and closes what it made.

    `tick_period_ns`: exact period, see `period_ns`. `deadline_ns`: from release to first frame presented. `seed`: of
    later resets that name none.
    `checksum_every`: ticks between checksums given to the recorder, 0 for never. `probe`: what the machine does
    meanwhile. `interlude`: may take a slot instead of a tick. `ahead`: is told when the loop would only wait.
    `aftercare`: may change the world after a commit.
    """

    def __init__(
        self,
        world: World,
        controller: Controller,
        display: Display,
        governor: Governor,
        clock: Clock,
        *,
        tick_period_ns: Fraction | int,
        deadline_ns: int,
        observer: Observer | None = None,
        recorder: Recorder | None = None,
        controls: SessionControls | None = None,
        seed: int = 0,
        checksum_every: int = 20,
        probe: Probe | None = None,
        interlude: Interlude | None = None,
        ahead: Ahead | None = None,
        aftercare: Aftercare | None = None,
    ) -> None:
        if deadline_ns <= 0:
            raise ValueError(f"deadline: expected more than 0 ns after release, got {deadline_ns}")
        if checksum_every < 0:
            raise ValueError(f"checksum_every: expected 0 (never) or a number of ticks, got {checksum_every}")
        self.controls = controls or SessionControls()
        self.tick = 0
        self._world, self._controller, self._display = world, controller, display
        self._governor, self._clock = governor, clock
        self._observer = observer or NullObserver()
        self._recorder = recorder or NullRecorder()
        self._probe = probe or NullProbe()
        self._interlude = interlude or NullInterlude()
        self._ahead = ahead or NullAhead()
        self._aftercare = aftercare or NullAftercare()
        self._timetable = Timetable(tick_period_ns)
        self._deadline_ns = deadline_ns
        self._seed = seed
        self._checksum_every = checksum_every
        self._slot = 0
        self._dilation_ns = 0  # by how much overruns have moved the timetable
        self._free_ns = 0  # end of the last commit
        self._commit_ns = 0  # how long it took
        self._resumed = True
        self._gap_before = False

    def run(self, ticks: int | None = None) -> None:
        """Tick until `ticks` have run (None: without end) or a stop is requested. May be called again to go on."""
        last_tick = None if ticks is None else self.tick + ticks
        self._timetable.anchor(self._clock.now_ns())
        self._slot, self._resumed = 0, True
        while not self.controls.stopping and (last_tick is None or self.tick < last_tick):
            gap_ns = self._wait()
            if self.controls.stopping:
                return
            turn = self._interlude.turn(self.tick)
            if turn is not None:
                self._take(turn)
            elif self.controls.take_tick():
                self._tick(gap_ns)
            else:
                self._resumed = True
            self._slot += 1

    def _wait(self) -> int:
        """Sleep to the release of this slot; returns the clock gap meanwhile in ns, 0 if there was none."""
        release_ns = self._timetable.release_ns(self._slot)
        self._ahead.prepare(release_ns)  # the world's work, also where it takes longer than there is
        asleep_ns = self._clock.now_ns()
        self._clock.sleep_until(release_ns)
        woke_ns = self._clock.now_ns()
        overslept_ns = woke_ns - max(release_ns, asleep_ns)
        if overslept_ns <= CLOCK_GAP_NS:
            return 0
        stopped_ns = self._probe.stopped_ns(asleep_ns, woke_ns)
        if stopped_ns is None:
            stopped_ns = 0 if self._gap_before else overslept_ns
        stopped_ns = min(stopped_ns, overslept_ns)
        if stopped_ns <= CLOCK_GAP_NS:
            return 0
        self._timetable.delay(stopped_ns)
        return stopped_ns

    def _stopped_ns(self, since_ns: int, until_ns: int, late_ns: int) -> int:
        """Of time in which the world worked, what is a clock gap; `late_ns`: less than a gap is not looked into."""
        if late_ns <= CLOCK_GAP_NS:
            return 0
        stopped_ns = min(late_ns, self._probe.stopped_ns(since_ns, until_ns) or 0)
        return stopped_ns if stopped_ns > CLOCK_GAP_NS else 0

    def _tick(self, gap_before_ns: int) -> None:
        now_ns = self._clock.now_ns
        release_ns = self._timetable.release_ns(self._slot)
        self._probe.begin()
        poll_ns = now_ns()
        action, reset = self._take_action()
        plan = self._governor.plan(self.tick, release_ns, release_ns + self._deadline_ns)
        result = self._world.advance(action, plan)
        emit_ns = now_ns()
        present_ns, paced_ns = self._present(result.frames)
        host = self._probe.use()
        commit_ns = now_ns()
        result.commit()
        mishaps = result.mishaps()
        care = None if mishaps.discarded else self._aftercare.after_commit(self.tick)  # else there is nothing new
        times = _Times(release_ns, poll_ns, emit_ns, present_ns, paced_ns, commit_ns, now_ns())

        stopped_ns = self._stopped_ns(release_ns, present_ns, times.late_ns(self._deadline_ns))
        after_ns = self._stopped_ns(present_ns, times.commit_end_ns, times.commit_end_ns - present_ns)
        gap_ns = gap_before_ns + stopped_ns + after_ns
        gap = gap_ns > 0
        lost_slots = self._move_timetable(present_ns, times.commit_end_ns, stopped_ns, after_ns)
        record = self._measure(
            times, plan, result, mishaps, gaps_ns=(stopped_ns, gap_ns), lost_slots=lost_slots, host=host
        )
        self._record(action, result.steps_applied, reset, ClockGap() if gap else None, mishaps, care)
        self._governor.observe(record)
        self._observer.observe(record)
        self.tick += 1
        self._resumed, self._gap_before = False, gap
        self._free_ns, self._commit_ns = times.commit_end_ns, times.commit_end_ns - commit_ns

    def _take(self, turn: Turn) -> None:
        """Show what the interlude made. Time it took beyond its slot is no miss: the timetable waits for it."""
        for frame in turn.frames:
            self._display.present(frame)
        self.tick, self._resumed = turn.next_tick, True
        self._timetable.delay(max(0, self._clock.now_ns() - self._timetable.release_ns(self._slot + 1)))

    def _move_timetable(self, present_ns: int, commit_end_ns: int, stopped_ns: int, stopped_after_ns: int) -> int:
        """After an overrun the next tick is released at once; returns the periods lost by it, by the late policy.

        `stopped_ns`, `stopped_after_ns`: clock gaps before and after the picture, which lose nothing.
        """
        next_ns = self._timetable.release_ns(self._slot + 1)
        if present_ns <= next_ns:
            self._timetable.delay(stopped_after_ns)
            return 0
        overrun_ns = commit_end_ns - next_ns
        self._timetable.delay(overrun_ns)
        lost_before = self._dilation_ns // self._timetable.period_ns
        self._dilation_ns += max(0, overrun_ns - stopped_ns - stopped_after_ns)
        return int(self._dilation_ns // self._timetable.period_ns - lost_before)

    def _measure(
        self,
        times: _Times,
        plan: TickPlan,
        result: TickResult,
        mishaps: Mishaps,
        *,
        gaps_ns: tuple[int, int],
        lost_slots: int,
        host: HostUse,
    ) -> TickRecord:
        stopped_ns, gap_ns = gaps_ns
        late_ns = max(0, times.late_ns(self._deadline_ns) - stopped_ns)
        frames, steps = len(result.frames), result.steps_applied
        return TickRecord(
            tick=self.tick,
            release_ns=times.release_ns,
            start_ns=max(times.release_ns, self._free_ns),
            poll_ns=times.poll_ns,
            plan=plan,
            emit_ns=times.emit_ns,
            present_ns=times.present_ns,
            paced_ns=times.paced_ns,
            commit_end_ns=times.commit_end_ns,
            deadline_ns=times.release_ns + self._deadline_ns,
            stage_ns={
                **result.stage_ns,
                "present": times.commit_start_ns - times.emit_ns - times.paced_ns,
                "commit": times.commit_end_ns - times.commit_start_ns,
            },
            step_ns=result.step_ns,
            steps_applied=steps,
            frames=frames,
            missed=late_ns > 0,
            lost_slots=lost_slots,
            held_frames=-int(-late_ns * frames // self._timetable.period_ns) + frames * mishaps.discarded,  # rounded up
            clock_gap=gap_ns > 0,
            resumed=self._resumed,
            input_event_ns=self._controller.last_input_ns,
            reason=_reason(plan, steps),
            host=host,
            ahead=self._ahead.guess(),
            mishaps=mishaps,
            stopped_ns=stopped_ns,
            gap_ns=gap_ns,
        )

    def _take_action(self) -> tuple[Action, Reset | None]:
        """Poll, add a reset the player asked for, and carry it out; returns the action to record and its event."""
        action = self._controller.poll(self.tick)
        request = self.controls.take_reset()
        if request is None and not action.reset:
            return action, None
        if request is None:
            self.controls.note_reset()
        else:
            action = replace(action, reset=True)
            self._seed = self._seed if request.seed is None else request.seed
        self._world.reset(self._seed)
        return action, Reset(self._seed)

    def _present(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Show the frames evenly in the room the tick has left; returns when the first was shown and time waited.

        A spacing of T/frames would push the last one past the next release whenever the first comes later than that,
        and a tick that starts late is worse than frames that stand closer together.
        """
        present_ns = self._display.present(frames[0])
        room_ns = self._timetable.release_ns(self._slot + 1) - present_ns - self._commit_ns
        spacing_ns = max(0, room_ns) // len(frames)
        paced_ns = 0
        for index, frame in enumerate(frames[1:], start=1):
            before_ns = self._clock.now_ns()
            self._clock.sleep_until(present_ns + index * spacing_ns)
            paced_ns += self._clock.now_ns() - before_ns
            self._display.present(frame)
        return present_ns, paced_ns

    def _record(self, action: Action, steps_applied: int, *happened: TickEvent | None) -> None:
        due = self._checksum_every > 0 and self.tick % self._checksum_every == 0
        checksum = self._world.checksum() if due else None
        self._recorder.record_tick(self.tick, PlayedTick(action, steps_applied, checksum, gathered(*happened)))
