"""Writes a recording while a session runs, so that a killed one loses at most a second and no tick waits for a disk.

Batches of half a second, and snapshots every so many ticks, go to the thread of `nextframe.runtime.recording.disk`,
the only one that waits for the disk.

A disk that fails or falls too far behind ends the recording, never the session: what is on disk stays readable and
says why it ends there, `problem` says it meanwhile, and `close` raises it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from ..core import PlayedTick, ReplayError, Snapshot
from .disk import Batch, DiskThread, WaitingSnapshot, open_to_record
from .format import (
    FORMAT_MAJOR,
    FORMAT_MINOR,
    ReplayHeader,
    header_to_plain,
    tick_to_plain,
)
from .records import HEADER, MAGIC, PREAMBLE, START, framed, packed
from .snapshots import snapshot_payloads

BATCH_NS = 500_000_000
"""Half of the second that a kill may cost: the other half is for a busy disk."""
MAX_BATCH_TICKS = 1_000
MAX_BATCH_BYTES = 64 << 10
"""A batch this large is written early: half a second of long prompts must not outgrow a record."""


class ReplayWriter:
    """A `Recorder` that appends to a file. The first tick it is given becomes tick 0 of the recording.

    To record from the middle of a session, give `initial_snapshot`, the state before that tick, or begin with a tick
    that resets the world. `take_snapshot` is called on the ticking thread every `snapshot_every_ticks`, after commit.
    `live`: ticks have a deadline, so when the disk is behind, a snapshot is skipped (`snapshots_skipped`) and in the
    end the recording stops; else recording waits for the disk. `now_ns` is a monotonic clock.
    """

    def __init__(
        self,
        path: Path | str,
        header: ReplayHeader,
        *,
        overwrite: bool = False,
        initial_snapshot: Snapshot | None = None,
        take_snapshot: Callable[[], Snapshot] | None = None,
        snapshot_every_ticks: int = 0,
        live: bool = True,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if snapshot_every_ticks < 0 or (snapshot_every_ticks and take_snapshot is None):
            raise ValueError("snapshot_every_ticks: expected 0, or a number of ticks together with take_snapshot")
        self.path = Path(path)
        self.ticks = 0
        self.snapshots_skipped = 0
        self._actions = header.actions
        self._take_snapshot, self._every = take_snapshot, snapshot_every_ticks
        self._live, self._now_ns = live, now_ns
        self._batch: list[bytes] = []
        self._batch_bytes, self._batch_since_ns = 0, 0
        self._batch_ticks = max(1, min(MAX_BATCH_TICKS, int(header.tick_hz * BATCH_NS / 1_000_000_000)))
        self._first_tick: int | None = None
        self._closed = False
        header = replace(header, starts_from_snapshot=initial_snapshot is not None)
        start = PREAMBLE.pack(MAGIC, FORMAT_MAJOR, FORMAT_MINOR) + framed(HEADER, packed(header_to_plain(header)))
        if initial_snapshot is not None:
            start += b"".join(framed(START, part) for part in snapshot_payloads(0, initial_snapshot))
        self._thread = DiskThread(self.path, open_to_record(self.path, start, overwrite=overwrite), len(start))

    @property
    def problem(self) -> str:
        """Why the recording ended before the session did, or holds no more snapshots; empty while all is well."""
        return self._thread.problem

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        """Raises `ReplayError` when the tick does not follow the last one or does not fit, never for the disk."""
        if self._closed:
            raise ReplayError(f"{self.path}: this recording is closed")
        if self._first_tick is None:
            self._first_tick = tick
        if tick != self._first_tick + self.ticks:
            raise ReplayError(f"{self.path}: expected tick {self._first_tick + self.ticks}, got {tick}")
        data = packed(tick_to_plain(played, self._actions))
        now_ns = self._now_ns()
        if not self._batch:
            self._batch_since_ns = now_ns
        self._batch.append(data)
        self._batch_bytes += len(data)
        self.ticks += 1
        full = len(self._batch) >= self._batch_ticks or self._batch_bytes >= MAX_BATCH_BYTES
        if full or now_ns - self._batch_since_ns >= BATCH_NS:
            self._hand_over_batch()
        if self._every and self.ticks % self._every == 0:
            self._hand_over_snapshot()

    def close(self) -> None:
        """Write what is left and the footer, and hand both to the disk. May be called twice.

        Raises `ReplayError`, once, when the recording ended before the session did.
        """
        if self._closed:
            return
        self._closed = True
        self._hand_over_batch()
        self._thread.finish(self.ticks)
        if self._thread.failed:
            raise ReplayError(f"{self.path}: {self._thread.failed}")

    def __enter__(self) -> ReplayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hand_over_batch(self) -> None:
        if self._batch:
            batch = Batch(self.ticks - len(self._batch), tuple(self._batch))
            self._batch, self._batch_bytes = [], 0
            self._thread.add_batch(batch, wait=not self._live)

    def _hand_over_snapshot(self) -> None:
        """The ticks before it go first: a reader meets a snapshot exactly where it belongs."""
        assert self._take_snapshot is not None
        self._hand_over_batch()
        if not self._thread.has_room_for_snapshot(wait=not self._live):
            self.snapshots_skipped += 1
            return
        self._thread.add_snapshot(WaitingSnapshot(self.ticks, self._take_snapshot()))
