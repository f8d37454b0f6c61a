"""From tick records to trace events, as text: what one tick looks like in Perfetto or chrome://tracing.

The tracks, their names and colours, and the order of events in a file. The format is Chrome's Trace Event Format
(JSON): times are microseconds, written here with three decimals, so that not one nanosecond is rounded away. Expected
and actual ticks are drawn as Android's FrameTimeline draws frames. Every event is one line's worth of text without a
line break; a tick's events always come together.

    expected ticks   release to deadline; a second row where deadlines reach past the next release
    actual ticks     start to present, coloured; inside: poll, stages, each denoise step, present; then the commit
    frames           first frame of a tick presented, to the next tick's
    input            earliest input of the action, until it was polled
    events           misses, clock gaps, resets, changes of the plan's steps, ticks the trace lost
    counters         denoise steps applied, slack (deadline minus present)

Where the stages of a world lie is reconstructed from their durations: they follow each other, the last one ends when
the pixels are ready, and what is left between poll and the first stage is polling, a reset and planning.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quoted  # json.dumps takes ten times as long for a name
from typing import TypeAlias

from ..tick.record import TickRecord

PROCESS_ID = 1
ACTUAL, FRAMES, INPUT, EVENTS = 2, 3, 4, 5
EXPECTED = 10
"""Rows of expected ticks are 10, 11, ... so that there can be as many as the deadline needs."""
TRACK_NAMES = {ACTUAL: "actual ticks", FRAMES: "frames", INPUT: "input", EVENTS: "events"}
AFTER_PICTURE = ("present", "commit")
IN_TIME, REDUCED, LATE = "good", "bad", "terrible"
"""Colour names of the format: green; in time with fewer steps than planned, or after a clock gap; missed."""

CauseOf: TypeAlias = Callable[[TickRecord], str | None]
"""Called once for every tick, in order, away from the loop: the cause of a miss, None for a tick that was in time."""


TraceEntry: TypeAlias = tuple[TickRecord, int, int]
"""One tick for the trace: its record, the reset generation it ran under, and how many ticks were lost just before it.

A bare tuple, because one is made in every tick."""


def no_cause(record: TickRecord) -> str | None:
    """No causes are looked for."""
    return None


class TraceFormatter:
    """Turns entries into events. A tick comes out when the next one goes in: only then its frame leaves the screen.

    `generation`: of resets before the first entry; a tick under another one is a reset.
    """

    def __init__(self, world_name: str, tick_period_ns: int, cause_of: CauseOf = no_cause, generation: int = 0) -> None:
        self._world_name = world_name
        self._tick_period_ns = tick_period_ns
        self._cause_of = cause_of
        self._generation = generation
        self._waiting: TraceEntry | None = None
        self._plan_steps: int | None = None
        self._polled_ns = 0
        self._expected_ends_ns: list[int] = []
        self._events: list[str] = []

    def head(self) -> list[str]:
        """Names of the process and the tracks; they come first in a file."""
        names = [_metadata("process_name", 0, f'"name":{_quoted(f"nextframe: {self._world_name}")}')]
        return names + [event for track, name in TRACK_NAMES.items() for event in _track_names(track, name, track)]

    def add(self, entry: TraceEntry) -> list[str]:
        """The events of the entry before; none for the first."""
        events = self._finish(entry[0].present_ns)
        self._waiting = entry
        return events

    def last(self) -> list[str]:
        """The events of the last entry, whose frame is drawn until the next release."""
        if self._waiting is None:
            return []
        record = self._waiting[0]
        return self._finish(max(record.present_ns, record.release_ns + self._tick_period_ns))

    def _finish(self, next_present_ns: int) -> list[str]:
        if self._waiting is None:
            return []
        (record, generation, dropped_before), self._waiting = self._waiting, None
        self._events = []
        reset, self._generation = generation != self._generation, generation
        cause = self._cause_of(record)
        self._expected(record)
        self._input(record)
        self._actual(record, cause if record.missed else None)
        self._frame(record, max(record.present_ns, next_present_ns))
        if dropped_before:
            self._instant(EVENTS, f"{dropped_before} ticks not traced", record.release_ns, '"why":"disk too slow"')
        if reset:
            self._instant(EVENTS, "reset", record.poll_ns, f'"tick":{record.tick}')
        self._notes(record, cause)
        self._counter("denoise steps", record.poll_ns, record.steps_applied)
        self._counter("slack ms", record.present_ns, round((record.deadline_ns - record.present_ns) / 1e6, 6))
        return self._events

    def _expected(self, record: TickRecord) -> None:
        ends_ns = self._expected_ends_ns
        row = next((row for row, end_ns in enumerate(ends_ns) if end_ns <= record.release_ns), len(ends_ns))
        if row == len(ends_ns):
            name = "expected ticks" if row == 0 else f"expected ticks, row {row + 1}"
            self._events += _track_names(EXPECTED + row, name, 1)
            ends_ns.append(0)
        ends_ns[row] = record.deadline_ns
        self._slice(EXPECTED + row, f"tick {record.tick}", record.release_ns, record.deadline_ns)

    def _actual(self, record: TickRecord, cause: str | None) -> None:
        reduced = record.clock_gap or record.steps_applied < record.plan.denoise_steps
        colour = LATE if record.missed else REDUCED if reduced else IN_TIME
        late_ns = record.late_ns
        args = (
            f'"steps_asked":{record.plan.denoise_steps},"steps_applied":{record.steps_applied},'
            f'"late_ms":{_ms(late_ns)},"response_ms":{_ms(record.response_ns)},"reason":{_quoted(record.reason)}'
        )
        if cause is not None:
            args += f',"cause":{_quoted(cause)}'
        self._slice(ACTUAL, f"tick {record.tick}", record.start_ns, record.present_ns, args, colour=colour)
        phase = "t" if record.input_event_ns is not None else "s"
        self._arrow(phase, record, ACTUAL, record.poll_ns)  # before the slices inside, or it would bind to one of them
        self._stages(record)
        self._slice(ACTUAL, "present", record.emit_ns, record.present_ns)
        commit_start_ns = max(record.present_ns, record.commit_end_ns - record.stage_ns.get("commit", 0))
        if record.frames > 1:
            args = f'"frames":{record.frames},"waited_ms":{_ms(record.paced_ns)}'
            self._slice(ACTUAL, "present the other frames", record.present_ns, commit_start_ns, args)
        self._slice(ACTUAL, "commit", commit_start_ns, record.commit_end_ns)

    def _stages(self, record: TickRecord) -> None:
        stages = [(name, ns) for name, ns in record.stage_ns.items() if name not in AFTER_PICTURE]
        at_ns = max(record.poll_ns, record.emit_ns - sum(ns for _, ns in stages))
        if at_ns > record.poll_ns:
            self._slice(ACTUAL, "poll and plan", record.poll_ns, at_ns)
        for name, duration_ns in stages:
            end_ns = min(at_ns + duration_ns, record.emit_ns)
            self._slice(ACTUAL, name, at_ns, end_ns)
            if name == "denoise":
                self._denoise_steps(record, at_ns, end_ns)
            at_ns = end_ns

    def _denoise_steps(self, record: TickRecord, at_ns: int, end_ns: int) -> None:
        for number, duration_ns in enumerate(record.step_ns, start=1):
            step_end_ns = min(at_ns + duration_ns, end_ns)
            self._slice(ACTUAL, f"denoise step {number}", at_ns, step_end_ns)
            at_ns = step_end_ns

    def _input(self, record: TickRecord) -> None:
        """What the player did for this tick, and the arrow's beginning; comes before the tick, as arrows need it."""
        input_ns = record.input_event_ns
        if input_ns is not None:
            self._instant(INPUT, "input", input_ns, f'"tick":{record.tick}')
            start_ns = min(max(input_ns, self._polled_ns), record.poll_ns)
            self._slice(INPUT, "waits to be polled", start_ns, record.poll_ns)
            self._arrow("s", record, INPUT, start_ns)
        self._polled_ns = record.poll_ns

    def _frame(self, record: TickRecord, until_ns: int) -> None:
        args = f'"tick":{record.tick},"frames":{record.frames},"held_frames":{record.held_frames}'
        if record.input_event_ns is not None:
            args += f',"input_to_present_ms":{_ms(record.present_ns - record.input_event_ns)}'
        self._slice(FRAMES, f"frame of tick {record.tick}", record.present_ns, until_ns, args)
        self._arrow("f", record, FRAMES, record.present_ns)

    def _notes(self, record: TickRecord, cause: str | None) -> None:
        plan_steps = record.plan.denoise_steps
        if self._plan_steps not in (None, plan_steps):
            args = f'"from_steps":{self._plan_steps},"to_steps":{plan_steps},"reason":{_quoted(record.plan.reason)}'
            self._instant(EVENTS, f"{self._plan_steps} to {plan_steps} steps", record.poll_ns, args)
        self._plan_steps = plan_steps
        if record.clock_gap:
            self._instant(EVENTS, "clock gap", record.poll_ns, f'"tick":{record.tick},"gap_ms":{_ms(record.gap_ns)}')
        if record.missed:
            late_ms = _ms(record.late_ns)
            args = f'"tick":{record.tick},"late_ms":{late_ms},"lost_slots":{record.lost_slots}'
            self._instant(EVENTS, "miss" if cause is None else f"miss: {cause}", record.present_ns, args)

    def _slice(self, track: int, name: str, start_ns: int, end_ns: int, args: str = "", *, colour: str = "") -> None:
        duration_ns = max(0, end_ns - max(0, start_ns))
        tail = f',"cname":"{colour}"' if colour else ""
        tail += f',"args":{{{args}}}' if args else ""
        self._events.append(
            f'{{"ph":"X","name":{_quoted(name)},"ts":{_us(start_ns)},"dur":{_us(duration_ns)},'
            f'"pid":{PROCESS_ID},"tid":{track}{tail}}}'
        )

    def _instant(self, track: int, name: str, at_ns: int, args: str) -> None:
        self._events.append(
            f'{{"ph":"i","s":"t","name":{_quoted(name)},"ts":{_us(at_ns)},'
            f'"pid":{PROCESS_ID},"tid":{track},"args":{{{args}}}}}'
        )

    def _counter(self, name: str, at_ns: int, value: float) -> None:
        self._events.append(
            f'{{"ph":"C","name":"{name}","ts":{_us(at_ns)},"pid":{PROCESS_ID},"tid":0,"args":{{"value":{value}}}}}'
        )

    def _arrow(self, phase: str, record: TickRecord, track: int, at_ns: int) -> None:
        self._events.append(
            f'{{"ph":"{phase}","bp":"e","cat":"frame","name":"to the frame","id":{record.tick},'
            f'"ts":{_us(at_ns)},"pid":{PROCESS_ID},"tid":{track}}}'
        )


def _track_names(track: int, name: str, place: int) -> list[str]:
    return [
        _metadata("thread_name", track, f'"name":{_quoted(name)}'),
        _metadata("thread_sort_index", track, f'"sort_index":{place}'),
    ]


def _metadata(kind: str, track: int, args: str) -> str:
    return f'{{"ph":"M","name":"{kind}","pid":{PROCESS_ID},"tid":{track},"args":{{{args}}}}}'


def _us(time_ns: int) -> str:
    """Microseconds with all three decimals; a time before the clock's start is drawn at its start."""
    return f"{max(0, time_ns) // 1000}.{max(0, time_ns) % 1000:03d}"


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / 1e6:.3f}"
