"""Claims about telling a process that was stopped from one that was busy, slept, or waited."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from nextframe.runtime.tick.stops import BEAT_S, Beat, StopWatch, stopped_between

MS = 1_000_000
LOCK_WAIT_NS = 5 * MS
LONG_S = 0.6


@pytest.fixture
def watch() -> Iterator[StopWatch]:
    watch = StopWatch()
    watch.start()
    time.sleep(2 * BEAT_S)
    yield watch
    watch.close()


def stopped() -> None:
    with subprocess.Popen(["sh", "-c", f"kill -STOP {os.getpid()}; sleep {LONG_S}; kill -CONT {os.getpid()}"]):
        pass


def working() -> None:
    until_s = time.monotonic() + LONG_S
    while time.monotonic() < until_s:
        pass


def asleep_with_the_interpreter_lock() -> None:
    ctypes.PyDLL(None).usleep(round(LONG_S * 1e6))


def starved() -> None:
    """Many others on the same core."""
    core = next(iter(os.sched_getaffinity(0)))
    before = os.sched_getaffinity(0)
    burn = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    burners = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(8)]
    try:
        os.sched_setaffinity(0, {core})
        working()
    finally:
        os.sched_setaffinity(0, before)
        for burner in burners:
            burner.kill()
            burner.wait()


def measured_ns(watch: StopWatch, work: Callable[[], None]) -> int:
    since_ns = time.monotonic_ns()
    work()
    return watch.stopped_ns(since_ns, time.monotonic_ns())


def test_a_process_stopped_by_a_signal_is_seen_at_once_and_later(watch: StopWatch) -> None:
    since_ns = time.monotonic_ns()
    stopped()
    until_ns = time.monotonic_ns()
    assert watch.stopped_ns(since_ns, until_ns) > LONG_S * 1e9 / 2
    time.sleep(3 * BEAT_S)
    assert watch.stopped_ns(since_ns, until_ns) > LONG_S * 1e9 / 2
    assert watch.stopped_ns(until_ns, time.monotonic_ns()) < 100 * MS, "only the time that is asked for"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a thread waits for")
@pytest.mark.parametrize("work", [working, asleep_with_the_interpreter_lock, starved, lambda: time.sleep(LONG_S)])
def test_whatever_else_takes_long_is_no_stop(watch: StopWatch, work: Callable[[], None]) -> None:
    assert measured_ns(watch, work) < 250 * MS


@pytest.mark.parametrize(
    ("after", "stopped_ms"),
    [
        (Beat(1000 * MS, 0, 0, 2), 940),
        (Beat(1000 * MS, 950 * MS, 0, 0), 0),
        (Beat(1000 * MS, 0, 900 * MS, 0), 50),
        (Beat(1000 * MS, 0, 0, 200), 0),
        (Beat(1000 * MS, 300 * MS, 300 * MS, 10), 350),
        (Beat(40 * MS, 0, 0, 0), 0),
    ],
)
def test_what_is_known_of_a_silence_is_taken_off(after: Beat, stopped_ms: int) -> None:
    assert stopped_between(Beat(0, 0, 0, 0), after, LOCK_WAIT_NS) == stopped_ms * MS
