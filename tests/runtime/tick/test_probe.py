"""Claims about the probe: it sees what the machine did between `begin` and `use`, and nothing else."""

from __future__ import annotations

import gc
import mmap
import os
import threading
import time
from collections.abc import Iterator

import pytest

from nextframe.runtime.tick import probe as host
from nextframe.runtime.tick.probe import HostProbe, HostUse, NullProbe, measure_fault_ns
from tests.support.doubles import MS

PAGES = 2_000
needs_thread_usage = pytest.mark.skipif(
    host.resource is None or not hasattr(host.resource, "RUSAGE_THREAD"), reason="no resource usage of a single thread"
)


@pytest.fixture
def probe() -> Iterator[HostProbe]:
    made = HostProbe()
    yield made
    made.close()


def burn(cpu_ns: int) -> None:
    end_ns = time.thread_time_ns() + cpu_ns
    while time.thread_time_ns() < end_ns:
        pass


def touch_fresh_pages() -> None:
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        for offset in range(0, len(memory), mmap.PAGESIZE):
            memory[offset] = 1


def in_another_thread(work: object) -> None:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def test_nothing_is_seen_by_the_null_probe() -> None:
    probe = NullProbe()
    probe.begin()
    touch_fresh_pages()
    assert probe.use() == HostUse() == HostUse(0, 0, 0, 0, 0, 0, 0)
    probe.close()


def test_cpu_time_is_work_and_not_waiting(probe: HostProbe) -> None:
    probe.begin()
    time.sleep(0.02)
    assert probe.use().cpu_ns < 20 * MS
    probe.begin()
    burn(20 * MS)
    assert probe.use().cpu_ns >= 20 * MS


def test_a_collection_counts_while_it_runs_inside(probe: HostProbe) -> None:
    probe.begin()
    gc.collect()
    assert probe.use().gc_ns > 0
    gc.collect()
    probe.begin()
    assert probe.use().gc_ns == 0


def test_a_collection_on_another_thread_holds_up_this_one_too(probe: HostProbe) -> None:
    probe.begin()
    in_another_thread(gc.collect)
    assert probe.use().gc_ns > 0


def test_work_of_another_thread_is_not_the_ticks(probe: HostProbe) -> None:
    probe.begin()
    in_another_thread(lambda: burn(30 * MS))
    assert probe.use().cpu_ns < 30 * MS


@needs_thread_usage
def test_fresh_pages_are_faults_and_old_ones_are_none(probe: HostProbe) -> None:
    probe.begin()
    touch_fresh_pages()
    assert probe.use().minor_faults >= PAGES
    probe.begin()
    burn(MS)
    assert probe.use().minor_faults < PAGES // 10


@needs_thread_usage
def test_the_kernels_time_is_part_of_the_cpu_time(probe: HostProbe) -> None:
    probe.begin()
    for _ in range(10):
        touch_fresh_pages()
    used = probe.use()
    assert used.system_ns >= 0
    assert used.cpu_ns > 0


def test_the_probe_follows_the_thread_that_ticks(probe: HostProbe) -> None:
    seen: list[HostUse] = []

    def tick() -> None:
        probe.begin()
        burn(5 * MS)
        seen.append(probe.use())

    tick()
    in_another_thread(tick)
    assert all(used.cpu_ns >= 5 * MS for used in seen)
    assert all(min(used) >= 0 for used in seen), "counts of one thread are never taken from another's"


def test_the_wait_for_a_core_is_read_from_the_kernel(probe: HostProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    delays = iter((b"900 50 3\n", b"990 77 4\n"))
    monkeypatch.setattr(os, "open", lambda path, flags: 12_345)
    monkeypatch.setattr(os, "close", lambda descriptor: None)
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: next(delays))
    probe.begin()
    assert probe.use().run_delay_ns == 27
    probe.close()


@pytest.mark.parametrize("content", [b"", b"0\n", b"what\n"])
def test_a_kernel_that_keeps_no_such_count_is_no_error(
    probe: HostProbe, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    closed: list[int] = []
    monkeypatch.setattr(os, "open", lambda path, flags: 12_345)
    monkeypatch.setattr(os, "close", closed.append)
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: content)
    probe.begin()
    assert probe.use().run_delay_ns == 0
    assert closed == [12_345]


def test_a_system_without_the_file_is_no_error(probe: HostProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str, flags: int) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "open", missing)
    probe.begin()
    assert probe.use().run_delay_ns == 0


def test_a_system_without_usage_counts_still_has_cpu_time(probe: HostProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "resource", None)
    probe.begin()
    touch_fresh_pages()
    used = probe.use()
    assert used.cpu_ns > 0
    assert (used.minor_faults, used.major_faults, used.preemptions, used.system_ns) == (0, 0, 0, 0)


def test_a_closed_probe_has_left_the_collector() -> None:
    before = list(gc.callbacks)
    probe = HostProbe()
    assert len(gc.callbacks) == len(before) + 1
    probe.close()
    probe.close()
    assert gc.callbacks == before


def test_the_price_of_a_fault_is_measured_on_this_machine() -> None:
    assert measure_fault_ns() > 0
