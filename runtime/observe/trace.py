"""Traces of sessions for Perfetto and chrome://tracing: a whole session in a file, or the last seconds on a bad moment.

The files, the thread that writes them, and what happens when a disk is slow, full or gone: the session goes on. What an
event looks like is in `trace_format`.

A tick pays for one append to a queue. A thread formats and writes twice a second, in the array form of the format,
whose end may be missing: a killed session leaves a file that opens. `close` turns it into the complete object form.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..core import NextframeError
from ..tick.controls import SessionControls
from ..tick.record import TickRecord
from .trace_format import CauseOf, TraceEntry, TraceFormatter, no_cause

FLUSH_S = 0.5
MAX_WAITING_TICKS = 8_192
"""About 15 MB. At 60 Hz the disk may stand still for two minutes before a tick is dropped."""
WAKE_AT_TICKS = MAX_WAITING_TICKS // 4
BATCH_TICKS = 256
PAUSE_S = 0.001
"""Between two ticks formatted while a session runs. Formatting holds the interpreter's lock for about 0.1 ms; without
a real pause the same thread takes the lock again at once, and a tick may wait for it for 5 ms."""
MAX_PAUSES_S = 2.0
CLOSE_TIMEOUT_S = 5.0
BURST_MISSES, BURST_TICKS = 3, 20
MAX_DUMPS = 10
MAX_RING_TICKS = 8_192

OBJECT_HEAD = b'{"displayTimeUnit":"ms","traceEvents":['
ARRAY_HEAD = b"[".ljust(len(OBJECT_HEAD))
"""Room is left so that closing can put the object's head in its place."""


class TraceError(NextframeError):
    """A trace that cannot be begun: there is no place to write it to."""


@dataclass(frozen=True)
class TraceSummary:
    """What became of a trace. `dropped_ticks` are not in it; `problem`: why it ends early, None if it does not."""

    path: Path
    ticks: int
    dropped_ticks: int
    problem: str | None


def open_file(path: Path) -> BinaryIO:
    """An empty file without a buffer, so that what was written survives a kill; makes its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "wb", buffering=0)  # the caller closes it


class _TraceFile:
    """One trace on disk. Writing may raise OSError; then `abandon` leaves the whole events, in a file that opens."""

    def __init__(self, path: Path, formatter: TraceFormatter) -> None:
        self._file = open_file(path)
        self._whole_bytes = 0
        try:
            self._write(ARRAY_HEAD + b"\n" + _lines(formatter.head()))
        except OSError:
            self._file.close()
            raise

    def append(self, events: list[str]) -> None:
        if events:
            self._write(b",\n" + _lines(events))

    def finish(self, world_name: str, ticks: int, dropped_ticks: int) -> None:
        about = json.dumps({"world": world_name, "ticks": ticks, "dropped_ticks": dropped_ticks})
        self._write(f'\n],"otherData":{about}}}\n'.encode())
        self._file.seek(0)
        self._write(OBJECT_HEAD)
        self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):  # it has failed before; half an event at the end is then the reader's business
            self._file.truncate(self._whole_bytes)
        with suppress(OSError):
            self._file.close()

    def _write(self, data: bytes) -> None:
        if self._file.write(data) != len(data):
            raise OSError("the disk is full")
        self._whole_bytes += len(data)


def _lines(events: list[str]) -> bytes:
    return ",\n".join(events).encode()


class TraceWriter:
    """An observer that writes the whole session to `path`. TraceError if the file cannot be begun.

    `controls`: of the loop, to see resets. `cause_of`: names the cause of a miss. `live=False`: the clock is not
    the machine's (fixed, simulated), so a full queue is written at once instead of dropping ticks.
    """

    def __init__(
        self,
        path: Path | str,
        tick_period_ns: int,
        world_name: str,
        *,
        controls: SessionControls | None = None,
        cause_of: CauseOf = no_cause,
        live: bool = True,
        flush_s: float = FLUSH_S,
    ) -> None:
        self.path = Path(path)
        self.problem: str | None = None
        self.dropped_ticks = 0
        self._world_name = world_name
        self._live, self._flush_s = live, flush_s
        self._controls = controls or SessionControls()
        self._waiting: deque[TraceEntry] = deque()
        self._room_ticks = MAX_WAITING_TICKS
        self._dropped_before = 0
        self._written_ticks = 0
        self._formatter = TraceFormatter(world_name, tick_period_ns, cause_of, self._controls.applied_generation)
        try:
            self._file = _TraceFile(self.path, self._formatter)
        except OSError as error:
            raise TraceError(f"{path}: expected a place to write a trace to: {error.strerror or error}") from error
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def observe(self, record: TickRecord) -> None:
        """Costs an append. Once the disk has failed, nothing is kept."""
        waiting = len(self._waiting)
        if waiting >= self._room_ticks or self._dropped_before:
            self._observe_in_need(record)
        else:
            self._waiting.append((record, self._controls.applied_generation, 0))
        if waiting == WAKE_AT_TICKS:
            self._wake.set()

    def _observe_in_need(self, record: TickRecord) -> None:
        """The queue is full, or was at the tick before, or the writer has ended."""
        if self.problem is not None or self._closing:
            return
        if not self._live:
            self._flush()
        if len(self._waiting) >= self._room_ticks:
            self.dropped_ticks += 1
            self._dropped_before += 1
        else:
            self._waiting.append((record, self._controls.applied_generation, self._dropped_before))
            self._dropped_before = 0

    def close(self) -> TraceSummary:
        """Write what waits and make the file complete; says what was lost. May be called twice."""
        if not self._closing:
            self._closing = True
            self._room_ticks = 0
            self._wake.set()
            self._thread.join(CLOSE_TIMEOUT_S)
            if self._thread.is_alive():
                self.dropped_ticks += len(self._waiting)
                self.problem = (
                    f"{self.path}: the disk took no more of the trace; it ends after {self._written_ticks} ticks"
                )
            elif self.problem is None:
                self._finish()
        return TraceSummary(self.path, self._written_ticks, self.dropped_ticks, self.problem)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            self._flush()

    def _flush(self) -> None:
        """Write all that waits."""
        with self._writing:
            while self._waiting and self.problem is None:
                events: list[str] = []
                ticks = 0
                while self._waiting and ticks < BATCH_TICKS:
                    events += self._formatter.add(self._waiting.popleft())
                    ticks += 1
                    if self._live and not self._closing:
                        time.sleep(PAUSE_S)
                self._append(events, ticks)

    def _append(self, events: list[str], ticks: int) -> None:
        self._store(lambda: self._file.append(events))
        self._written_ticks += 0 if self.problem else ticks

    def _finish(self) -> None:
        self._flush()
        if self.problem is None:
            self._store(lambda: self._file.append(self._formatter.last()))
        if self.problem is None:
            self._store(lambda: self._file.finish(self._world_name, self._written_ticks, self.dropped_ticks))

    def _store(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.problem = (
                f"{self.path}: the trace ends after {self._written_ticks} ticks, the session went on: "
                f"{error.strerror or error}"
            )
            self._room_ticks = 0
            self._waiting.clear()
            self._file.abandon()


class TraceRing:
    """An observer that remembers the last seconds and writes them to a file when misses come in a burst.

    A burst is 3 misses within 20 ticks. After a dump the next one waits `seconds`, since it would tell the same story;
    a session writes at most 10. Files: `FOLDER/misses_tick_001234.trace.json`, made on a thread of the ring's own.
    `make_cause_of`: makes what names the causes of one dump's misses.
    """

    def __init__(
        self,
        folder: Path | str,
        tick_period_ns: int,
        world_name: str,
        *,
        seconds: float = 10.0,
        controls: SessionControls | None = None,
        make_cause_of: Callable[[], CauseOf] = lambda: no_cause,
    ) -> None:
        self.folder = Path(folder)
        self.dumps: list[Path] = []
        self.problem: str | None = None
        self._tick_period_ns, self._world_name = tick_period_ns, world_name
        self._span_ns = round(seconds * 1e9)
        self._controls = controls or SessionControls()
        self._make_cause_of = make_cause_of
        # No more ticks than these fit into the time, since none begins before a period has passed.
        self._entries: deque[TraceEntry] = deque(maxlen=min(MAX_RING_TICKS, self._span_ns // tick_period_ns + 1))
        self._miss_ticks: deque[int] = deque(maxlen=BURST_MISSES)
        self._ordered = 0
        self._quiet_until_ns: int | None = None
        self._orders: queue.SimpleQueue[list[TraceEntry] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="trace ring", daemon=True)
        self._thread.start()

    def observe(self, record: TickRecord) -> None:
        """Costs an append; on a burst a copy of the ring as well."""
        self._entries.append((record, self._controls.applied_generation, 0))
        if record.missed:
            self._miss_ticks.append(record.tick)
            self._order(record)

    def close(self) -> list[Path]:
        """Wait for dumps under way; returns all of them. May be called twice."""
        self._orders.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        return list(self.dumps)

    def _order(self, record: TickRecord) -> None:
        burst = len(self._miss_ticks) == BURST_MISSES and record.tick - self._miss_ticks[0] < BURST_TICKS
        quiet = self._quiet_until_ns is not None and record.release_ns < self._quiet_until_ns
        if burst and not quiet and self._ordered < MAX_DUMPS:
            self._ordered += 1
            self._quiet_until_ns = record.release_ns + self._span_ns
            self._orders.put(
                [entry for entry in self._entries if entry[0].release_ns >= record.release_ns - self._span_ns]
            )

    def _run(self) -> None:
        while (entries := self._orders.get()) is not None:
            path = self.folder / f"misses_tick_{entries[-1][0].tick:06d}.trace.json"
            try:
                write_trace(path, entries, self._tick_period_ns, self._world_name, self._make_cause_of())
            except OSError as error:
                self.problem = f"{path}: cannot write the trace of a burst of misses: {error.strerror or error}"
            else:
                self.dumps.append(path)


def write_trace(
    path: Path, entries: list[TraceEntry], tick_period_ns: int, world_name: str, cause_of: CauseOf = no_cause
) -> None:
    """A trace of ticks that have all happened, whole or not at all. Raises OSError."""
    part = path.with_name(path.name + ".part")
    formatter = TraceFormatter(world_name, tick_period_ns, cause_of, generation=entries[0][1])
    file = _TraceFile(part, formatter)
    pause_s = min(PAUSE_S, MAX_PAUSES_S / len(entries))
    try:
        for entry in entries:
            file.append(formatter.add(entry))
            time.sleep(pause_s)
        file.append(formatter.last())
        file.finish(world_name, len(entries), dropped_ticks=0)
    except OSError:
        file.abandon()
        part.unlink(missing_ok=True)
        raise
    os.replace(part, path)
