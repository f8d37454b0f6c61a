"""What the machine did to a tick: CPU time, waiting for a core, garbage collection, page faults.

The loop reads the probe at poll and at present, about 8 us a tick. What the numbers mean for a miss is decided in
`nextframe.runtime.observe.causes`.
"""

from __future__ import annotations

import gc
import mmap
import operator
import os
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

try:
    import resource
except ImportError:  # Windows has no such module; the counts stay zero there
    resource = None  # type: ignore[assignment]

from .stops import StopWatch


class HostUse(NamedTuple):
    """From poll to present, of the thread that ticks.

    `run_delay_ns`: runnable, but another thread had the core (Linux schedstat; 0 elsewhere). `gc_ns`: in Python's
    garbage collector, whichever thread ran it, since it holds up all of them. `preemptions`: involuntary switches.
    `system_ns`: the kernel's share of the CPU time. Most kernels sample it, so it is good to some milliseconds.
    """

    cpu_ns: int = 0
    run_delay_ns: int = 0
    gc_ns: int = 0
    minor_faults: int = 0
    major_faults: int = 0
    preemptions: int = 0
    system_ns: int = 0


NO_USE = HostUse()


class Probe(Protocol):
    def begin(self) -> None: ...

    def use(self) -> HostUse: ...

    def stopped_ns(self, since_ns: int, until_ns: int) -> int | None:
        """Of this time on the loop's clock, how much the process did not run at all; None where that cannot be told."""
        ...

    def close(self) -> None: ...


class NullProbe:
    """Sees nothing: for clocks that are not the machine's."""

    def begin(self) -> None:
        pass

    def use(self) -> HostUse:
        return NO_USE

    def stopped_ns(self, since_ns: int, until_ns: int) -> int | None:
        return None

    def close(self) -> None:
        pass


class HostProbe:
    """Counts between `begin` and `use`, both called by the thread that ticks. `close` removes the collector's hook."""

    def __init__(self) -> None:
        self._thread = 0
        self._schedstat: int | None = None
        self._before = HostUse()
        self._gc_ns = 0
        self._gc_began_ns = 0
        self._stops = StopWatch()
        gc.callbacks.append(self._on_gc)

    def begin(self) -> None:
        if threading.get_ident() != self._thread:
            self._open()
        self._before = self._read()

    def use(self) -> HostUse:
        return HostUse._make(map(operator.sub, self._read(), self._before))

    def stopped_ns(self, since_ns: int, until_ns: int) -> int | None:
        return self._stops.stopped_ns(since_ns, until_ns)

    def close(self) -> None:
        self._stops.close()
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)
        self._close_schedstat()

    def _open(self) -> None:
        """The file of the thread that ticks from now on; it names that thread from its opening."""
        self._close_schedstat()
        self._stops.start()
        self._thread = threading.get_ident()
        try:
            self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = None

    def _close_schedstat(self) -> None:
        if self._schedstat is not None:
            os.close(self._schedstat)
            self._schedstat = None

    def _read(self) -> HostUse:
        minor = major = preemptions = system_ns = 0
        if resource is not None and hasattr(resource, "RUSAGE_THREAD"):
            usage = resource.getrusage(resource.RUSAGE_THREAD)
            minor, major, preemptions = usage.ru_minflt, usage.ru_majflt, usage.ru_nivcsw
            system_ns = round(usage.ru_stime * 1e9)
        cpu_ns, run_delay_ns = time.thread_time_ns(), self._run_delay_ns()
        return HostUse(cpu_ns, run_delay_ns, self._gc_ns, minor, major, preemptions, system_ns)

    def _run_delay_ns(self) -> int:
        if self._schedstat is None:
            return 0
        try:
            return int(os.pread(self._schedstat, 96, 0).split()[1])
        except (OSError, ValueError, IndexError):  # not every kernel that has the file fills it
            self._close_schedstat()
            return 0

    def _on_gc(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._gc_began_ns = time.monotonic_ns()
        elif self._gc_began_ns:
            self._gc_ns += time.monotonic_ns() - self._gc_began_ns
            self._gc_began_ns = 0


MEASURED_PAGES = 256


def measure_fault_ns() -> int:
    """What one page fault costs here: the time to touch fresh pages, best of three. Takes a few milliseconds, once."""
    return min(_touch_fresh_ns(MEASURED_PAGES) for _ in range(3)) // MEASURED_PAGES


def _touch_fresh_ns(pages: int) -> int:
    """CPU time, so that a busy machine does not make faults look dear."""
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        began_ns = time.thread_time_ns()
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1
        return max(1, time.thread_time_ns() - began_ns)
