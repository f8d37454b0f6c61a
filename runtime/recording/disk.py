"""The thread between a recording and its disk: no tick ever waits for it, unless the session says it may.

The queue before it is bounded; the file is synced about once a second. A disk that fails, or falls too far behind, ends
the recording with a reason.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..core import ReplayError, Snapshot
from .records import FOOTER, SNAPSHOT, STOPPED, TICKS, framed, packed, packed_batch
from .snapshots import snapshot_payloads

SYNC_NS = 1_000_000_000
MAX_WAITING_BYTES = 4 << 20
"""Of ticks behind a stalled disk: hours of them. More means that the disk is not coming back."""
MAX_WAITING_SNAPSHOTS = 2
MAX_INDEX_ENTRIES = 1_000
CLOSE_WAIT_S = 30.0


@dataclass(frozen=True)
class Batch:
    """Ticks in a row, packed."""

    first_tick: int
    ticks: tuple[bytes, ...]

    @property
    def bytes(self) -> int:
        return sum(map(len, self.ticks))


@dataclass(frozen=True)
class WaitingSnapshot:
    """The state before `tick`, not yet packed."""

    tick: int
    state: Snapshot


def open_to_record(path: Path, start: bytes, *, overwrite: bool) -> BinaryIO:
    """The file with its beginning written, so that a place that cannot be written to is known before the first tick."""
    file: BinaryIO | None = None
    try:
        file = open(path, "wb" if overwrite else "xb", buffering=0)  # noqa: SIM115 - the writer's thread closes it
        write_all(file, start)
    except FileExistsError as error:
        raise ReplayError(f"{path}: a file is there already; choose another name or allow overwriting") from error
    except OSError as error:
        if file is not None:
            file.close()
        what = "could not go on recording" if file else "expected a place to record to"
        raise ReplayError(f"{path}: {what}: {error.strerror or error}") from error
    return file


def write_all(file: BinaryIO, data: bytes) -> None:
    """One write if the disk takes it whole, which leaves a killed recording at a record's end."""
    view = memoryview(data)
    while view:
        written = file.write(view)
        if not written:
            raise OSError("the disk takes no more")
        view = view[written:]


class DiskThread:
    """The queue, the file behind it, and the thread between them. Everything shared is read under one condition."""

    def __init__(self, path: Path, file: BinaryIO, size_bytes: int) -> None:
        self._file, self._size_bytes = file, size_bytes
        self._queue: deque[Batch | WaitingSnapshot] = deque()
        self._changed = threading.Condition()
        self._waiting_bytes, self._waiting_snapshots = 0, 0
        self._ticks_expected: int | None = None
        self._ticks_written = 0
        self._failed, self._no_snapshots = "", ""
        self._stopped_at: int | None = None
        self._batch_index: list[tuple[int, int]] = []
        self._snapshot_index: list[tuple[int, int]] = []
        self._synced_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name=f"recording {path.name}", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> str:
        """Why ticks are missing at the end; empty while none are."""
        return self._failed

    @property
    def problem(self) -> str:
        return self._failed or self._no_snapshots

    def add_batch(self, batch: Batch, *, wait: bool) -> None:
        """Too far behind, a live recording ends before this batch: a reader never meets a gap."""
        with self._changed:
            while wait and self._waiting_bytes >= MAX_WAITING_BYTES and not self._failed:
                self._changed.wait()
            if self._failed:
                return
            if self._waiting_bytes >= MAX_WAITING_BYTES:
                self._stopped_at = batch.first_tick
                self._failed = f"recording stopped after tick {batch.first_tick}: the disk is too slow"
                self._changed.notify_all()
                return
            self._queue.append(batch)
            self._waiting_bytes += batch.bytes
            self._changed.notify_all()

    def has_room_for_snapshot(self, *, wait: bool) -> bool:
        with self._changed:
            while wait and self._waiting_snapshots >= MAX_WAITING_SNAPSHOTS and not self.problem:
                self._changed.wait()
            return self._waiting_snapshots < MAX_WAITING_SNAPSHOTS and not self.problem

    def add_snapshot(self, snapshot: WaitingSnapshot) -> None:
        with self._changed:
            if not self.problem:
                self._queue.append(snapshot)
                self._waiting_snapshots += 1
                self._changed.notify_all()

    def finish(self, ticks: int) -> None:
        """Let the thread write what waits and the footer; a disk that hangs is not waited for for ever."""
        with self._changed:
            self._ticks_expected = ticks
            self._changed.notify_all()
        self._thread.join(CLOSE_WAIT_S)
        if self._thread.is_alive():
            with self._changed:
                self._failed = self._failed or f"the disk did not take the end within {CLOSE_WAIT_S:.0f} s"

    # --- on the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with self._file:
                while (item := self._next()) is not None:
                    self._write_item(item)
                    self._sync_sometimes()
                self._end()
        except OSError as error:
            self._give_up(error.strerror or str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - nothing may end this thread in silence: a tick would wait for ever
            self._give_up(str(error) or type(error).__name__)

    def _give_up(self, reason: str) -> None:
        self._fail(f"could not go on recording after tick {self._ticks_written}: {reason}")

    def _next(self) -> Batch | WaitingSnapshot | None:
        with self._changed:
            while not self._queue and self._ticks_expected is None:
                self._changed.wait()
            return self._queue[0] if self._queue else None

    def _write_item(self, item: Batch | WaitingSnapshot) -> None:
        """What waits is only counted out once it is written: the bound is on memory that is really held."""
        if isinstance(item, Batch):
            self._batch_index.append((item.first_tick, self._size_bytes))
            self._write(framed(TICKS, packed_batch(item.first_tick, item.ticks)))
            self._ticks_written = item.first_tick + len(item.ticks)
        else:
            self._write_snapshot(item)
        with self._changed:
            self._queue.popleft()
            if isinstance(item, Batch):
                self._waiting_bytes -= item.bytes
            else:
                self._waiting_snapshots -= 1
            self._changed.notify_all()

    def _write_snapshot(self, item: WaitingSnapshot) -> None:
        if self._no_snapshots:
            return
        try:
            parts = [framed(SNAPSHOT, payload) for payload in snapshot_payloads(item.tick, item.state)]
        except ReplayError as error:  # this world's state does not fit; its ticks still do
            with self._changed:
                self._no_snapshots = f"no more snapshots from tick {item.tick} on: {error}"
            return
        self._snapshot_index.append((item.tick, self._size_bytes))
        for part in parts:
            self._write(part)

    def _write(self, data: bytes) -> None:
        write_all(self._file, data)
        self._size_bytes += len(data)

    def _sync_sometimes(self) -> None:
        if time.monotonic_ns() - self._synced_ns >= SYNC_NS:
            os.fsync(self._file.fileno())
            self._synced_ns = time.monotonic_ns()

    def _end(self) -> None:
        """A recording that was stopped gets no footer: older readers would take it for complete."""
        if self._stopped_at is not None:
            self._write(framed(STOPPED, packed({"ticks": self._ticks_written, "reason": self._failed})))
        else:
            index = {"ticks_at": _thinned(self._batch_index), "snapshots_at": _thinned(self._snapshot_index)}
            self._write(framed(FOOTER, packed({"ticks": self._ticks_expected, **index})))
        os.fsync(self._file.fileno())

    def _fail(self, message: str) -> None:
        with self._changed:
            self._failed = message
            self._queue.clear()
            self._waiting_bytes = self._waiting_snapshots = 0
            self._changed.notify_all()


def _thinned(index: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Evenly, to what a footer has room for: a session has no horizon, a record has."""
    return index[:: -(-len(index) // MAX_INDEX_ENTRIES)] if index else []
