"""Claims about the causes of misses when the faults are real: real garbage, fresh pages, a rival for the core.

The stages sleep, so that a busy machine does not slow them. Where another program took the core in the very tick of
a fault, that tick proves nothing and is set aside; if none is left the test is skipped and says so.
"""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest

from nextframe.runtime.core import IDLE, Action, Frame, MonotonicClock, TickPlan, TickResult
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop
from nextframe.runtime.observe.causes import MissLog
from nextframe.runtime.tick.probe import HostProbe, measure_fault_ns
from nextframe.runtime.tick.record import TickRecord
from tests.support.doubles import MS

PERIOD_NS = 40 * MS
FAULT_NS = 80 * MS
FAULTY_TICKS = (12, 20, 28)
TICKS = 32
MAX_PAGES = 131_072
FRAME: Frame = np.zeros((2, 2, 3), np.uint8)

Work = Callable[[], object]


def sleeping(duration_ns: int) -> Work:
    return lambda: time.sleep(duration_ns / 1e9)


def stopped() -> None:
    """Half a second in which this process is stopped by a signal, as a shell's Ctrl-Z or a debugger would."""
    script = f"kill -STOP {os.getpid()}; sleep 0.5; kill -CONT {os.getpid()}"
    with subprocess.Popen(["sh", "-c", script]):
        pass


class RealRig:
    """World, controller and display on the real clock; `faults`: extra work by tick and place."""

    last_input_ns: int | None = None

    def __init__(self, faults: Mapping[tuple[int, str], Work], base_ns: Mapping[str, int] | None = None) -> None:
        self.faults, self.base_ns = dict(faults), dict(base_ns or {"denoise": 4 * MS})
        self.records: list[TickRecord] = []
        self.clock, self.probe = MonotonicClock(), HostProbe()
        self.log = MissLog(fault_ns=measure_fault_ns())
        self.loop = Loop(
            self,  # type: ignore[arg-type]
            self,
            self,
            FixedGovernor(1),
            self.clock,
            tick_period_ns=PERIOD_NS,
            deadline_ns=PERIOD_NS,
            observer=self,
            checksum_every=0,
            probe=self.probe,
        )

    def run(self, ticks: int = TICKS) -> RealRig:
        try:
            self.loop.run(ticks)
        finally:
            self.probe.close()
        return self

    def observe(self, record: TickRecord) -> None:
        self.records.append(record)
        self.log.observe(record)

    def poll(self, tick: int) -> Action:
        return IDLE

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        stage_ns = {stage: self._spend(stage) for stage in ("condition", "denoise", "decode")}
        return TickResult([FRAME], 1, stage_ns, commit=self._committed)

    def _committed(self) -> None:
        self._spend("commit")

    def present(self, frame: Frame) -> int:
        self._spend("present")
        return self.clock.now_ns()

    def close(self) -> None:
        pass

    def _spend(self, place: str) -> int:
        began_ns = self.clock.now_ns()
        if place in self.base_ns:
            sleeping(self.base_ns[place])()
        self.faults.get((self.loop.tick, place), lambda: None)()
        return self.clock.now_ns() - began_ns

    def causes(self, ticks: tuple[int, ...] = FAULTY_TICKS, queued: bool = False) -> set[str | None]:
        """Causes of the misses at `ticks`, those aside in which another program interfered with the core."""
        chosen = [self.records[tick] for tick in ticks if self.records[tick].missed]
        undisturbed = [
            record
            for record in chosen
            if record.host.run_delay_ns < FAULT_NS // 8
            and (queued or record.poll_ns - record.start_ns < FAULT_NS // 8)
            and queued == (record.start_ns > record.release_ns)
        ]
        if not undisturbed:
            pytest.skip(f"the machine was too busy to tell: {len(chosen)} misses, each of them disturbed")
        return {self.log.cause_of(record) for record in undisturbed}


def at_faulty_ticks(place: str, work: Work) -> dict[tuple[int, str], Work]:
    return {(tick, place): work for tick in FAULTY_TICKS}


# --- the world's own faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["condition", "denoise", "decode", "present"])
def test_a_real_stall_of_a_stage_is_found(place: str) -> None:
    assert RealRig(at_faulty_ticks(place, sleeping(FAULT_NS))).run().causes() == {place}


def test_a_real_long_commit_makes_the_next_tick_wait() -> None:
    commits = {(tick - 1, "commit"): sleeping(44 * MS) for tick in FAULTY_TICKS}
    assert RealRig(commits, {"denoise": 24 * MS}).run().causes(queued=True) == {"queue"}


def test_a_real_gap_of_the_clock_is_found_in_the_tick_after_it() -> None:
    faults = {(12, "decode"): stopped, (13, "decode"): sleeping(FAULT_NS)}
    rig = RealRig(faults).run(16)
    assert rig.records[12].clock_gap
    assert rig.records[12].gap_ns > 300 * MS
    assert rig.causes((13,)) == {"clock_gap"}


# --- the machine's faults ------------------------------------------------------------------------------------------


@pytest.fixture
def quiet_collector() -> Iterator[None]:
    """No collection but the asked one, and what other tests have left is out of its sight."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def cycles(count: int) -> list[object]:
    made: list[object] = []
    for _ in range(count):
        cycle: list[object] = []
        cycle.append(cycle)
        made.append(cycle)
    return made


def collection_ns(count: int) -> int:
    held = cycles(count)
    held.clear()
    began_ns = time.thread_time_ns()
    gc.collect()
    return max(1, time.thread_time_ns() - began_ns)


def test_real_garbage_is_the_collectors_fault(quiet_collector: None) -> None:
    count = min(2_000_000, 50_000 * FAULT_NS // collection_ns(50_000))
    waiting = [cycles(count) for _ in FAULTY_TICKS]

    def collect() -> None:
        waiting.pop()
        gc.collect()

    assert RealRig(at_faulty_ticks("decode", collect)).run().causes() == {"gc"}


def touch_fresh_pages() -> None:
    pages = min(MAX_PAGES, FAULT_NS // measure_fault_ns())
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1


@pytest.mark.skipif(sys.platform != "linux", reason="page faults of a thread are counted on Linux only")
def test_real_fresh_memory_is_an_allocation() -> None:
    assert RealRig(at_faulty_ticks("decode", touch_fresh_pages)).run().causes() == {"allocation"}


def burn(cpu_ns: int) -> None:
    end_ns = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < end_ns:
        pass


@contextmanager
def rival_for(core: int) -> Iterator[None]:
    """Another process that burns this core; it ends by itself after half a minute."""
    code = (
        f"import os, time\nos.sched_setaffinity(0, {{{core}}})\nprint('ready', flush=True)\n"
        "end = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a thread cannot be bound to a core here")
def test_a_real_rival_for_the_core_is_external() -> None:
    """The loop's thread and a burning process share one core; the load itself is the same before and after."""
    core = min(os.sched_getaffinity(0))
    rig = RealRig({(tick, "decode"): lambda: burn(26 * MS) for tick in range(80)})
    failed: list[OSError] = []

    def play() -> None:
        try:
            os.sched_setaffinity(0, {core})  # of this thread only
        except OSError as error:
            failed.append(error)
            return
        rig.loop.run(30)
        with rival_for(core):
            rig.run(50)

    thread = threading.Thread(target=play)
    thread.start()
    thread.join()
    if failed:
        pytest.skip(f"a thread cannot be bound to a core here: {failed[0]}")
    alone = [record for record in rig.records[:30] if not record.missed]
    beside = [record for record in rig.records[30:] if record.missed]
    if len(alone) < 20 or len(beside) < 5:
        pytest.skip(f"the machine was too busy to tell: {len(alone)} of 30 in time alone, {len(beside)} of 50 missed")
    found = [rig.log.cause_of(record) for record in beside]
    assert found.count("external") >= 0.9 * len(found), found


def test_a_real_stall_of_half_a_second_is_no_gap_of_the_clock() -> None:
    """The control: the process slept, and so could have run."""
    rig = RealRig({(12, "decode"): sleeping(500 * MS)}).run(16)
    assert not rig.records[12].clock_gap
    assert rig.records[12].missed
