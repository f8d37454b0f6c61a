"""When this process did not run at all: suspended, stopped by a signal or a debugger, or frozen with its container.

A thread beats every 50 ms. Where its beats stop, the process may have been stopped; or it ran and the beat could not:
other programs had the core, or another thread held the interpreter lock for long. The kernel tells these apart: time
spent waiting for a core (schedstat), CPU time of the process, and the beat's voluntary switches, of which waiting for
the lock makes one every few milliseconds and being stopped makes none. Where there is no /proc only CPU time speaks.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

BEAT_S = 0.05
NOTABLE_NS = 150_000_000
"""A silence shorter than this is a busy machine."""
KEPT = 256
SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.M)


class Beat(NamedTuple):
    """What is known of the beating thread at one moment; times of the monotonic clock, in ns."""

    at_ns: int
    cpu_ns: int
    run_delay_ns: int
    switches: int


class Silence(NamedTuple):
    """Between two beats that came far apart; `stopped_ns` of it the process did not run."""

    from_ns: int
    to_ns: int
    stopped_ns: int


def stopped_between(before: Beat, after: Beat, lock_wait_ns: int) -> int:
    """How long of the time between two beats nothing of this process ran or wanted to run, in ns.

    `lock_wait_ns`: how long a thread that waits for the interpreter lock sleeps before it asks again.
    """
    ran_ns = max(after.cpu_ns - before.cpu_ns, (after.switches - before.switches) * lock_wait_ns)
    known_ns = ran_ns + after.run_delay_ns - before.run_delay_ns + round(BEAT_S * 1e9)
    return max(0, after.at_ns - before.at_ns - known_ns)


class StopWatch:
    """Beats from `start` until `close`. `stopped_ns` may be asked from any thread."""

    def __init__(self) -> None:
        self._closed = threading.Event()
        self._silences: deque[Silence] = deque(maxlen=KEPT)
        self._last: Beat | None = None
        self._task: Path | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="stop-watch", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def stopped_ns(self, since_ns: int, until_ns: int) -> int:
        """Of the time between these two moments of the monotonic clock, how much the process did not run."""
        silences, last = list(self._silences), self._last
        if last is not None:  # the beat that is due after a stop may be waiting for us
            silences += self._silence(last, self._now())
        return sum(
            max(0, min(silence.stopped_ns, min(silence.to_ns, until_ns) - max(silence.from_ns, since_ns)))
            for silence in silences
        )

    def _silence(self, before: Beat, after: Beat) -> list[Silence]:
        if after.at_ns - before.at_ns < NOTABLE_NS:
            return []
        lock_wait_ns = round(sys.getswitchinterval() * 1e9)
        return [Silence(before.at_ns, after.at_ns, stopped_between(before, after, lock_wait_ns))]

    def _beat(self) -> None:
        task = Path(f"/proc/self/task/{threading.get_native_id()}")
        self._task = task if task.is_dir() else None
        self._last = self._now()
        while not self._closed.wait(BEAT_S):
            now, before = self._now(), self._last
            self._silences += self._silence(before, now)
            self._last = now

    def _now(self) -> Beat:
        run_delay_ns = switches = 0
        if self._task is not None:
            try:
                run_delay_ns = int((self._task / "schedstat").read_text(encoding="ascii").split()[1])
                found = SWITCHES.search((self._task / "status").read_text(encoding="utf-8", errors="replace"))
                switches = int(found[1]) if found else 0
            except (OSError, ValueError, IndexError):  # not every kernel that has the files fills them
                self._task = None
        return Beat(time.monotonic_ns(), time.process_time_ns(), run_delay_ns, switches)
