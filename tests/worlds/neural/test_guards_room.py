"""Claims about ticks for which the allocator itself has no room: a process under a limit of its own, nothing pretended.

What is done about it is in `tests/worlds/neural/test_guards.py`; here it is the system that says no.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.paths import ROOT

SESSION = """
import json
import resource
import sys
import torch
from nextframe.runtime.core import Action, TickPlan
from tests.support.worlds.room import wide_world, PAGE_BYTES, FULL_WINDOW

kind, megabytes, ticks = sys.argv[1], int(sys.argv[2]), 6
torch.set_num_threads(1)
world, twin = wide_world(kind), wide_world(kind)
for one in (world, twin):
    for tick in range(2):
        one.advance(Action(), TickPlan(2, deadline_ns=0)).commit()
twin_checksum = twin.checksum()
assert world.checksum() == twin_checksum
with open("/proc/self/statm") as file:
    now_bytes = int(file.read().split()[0]) * PAGE_BYTES
unlimited = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (now_bytes + megabytes * 2**20, unlimited[1]))
made, said = [], None
try:
    for tick in range(ticks):
        result = world.advance(Action(), TickPlan(2, deadline_ns=0))
        result.commit()
        made.append((result.steps_applied, result.mishaps(), result.frames[0].tobytes()))
except Exception as error:
    said = f"{type(error).__name__}: {error}"
resource.setrlimit(resource.RLIMIT_AS, unlimited)
same = all(
    (again := twin.advance(Action(), TickPlan(steps, 0, mishaps=mishaps)), again.commit()) is not None
    and again.frames[0].tobytes() == frame
    for steps, mishaps, frame in made
)
print(json.dumps({
    "steps": [steps for steps, _, _ in made],
    "lacked": [mishaps.out_of_memory for _, mishaps, _ in made],
    "windows": [mishaps.window for _, mishaps, _ in made],
    "seen": world.generator.window_seen,
    "full": FULL_WINDOW,
    "same_as_played_again": same and (said is not None or world.checksum() == twin.checksum()),
    "said": said,
}))
"""


def session(kind: str, megabytes: int) -> dict[str, Any]:
    """Ticks of a world whose process may grow by so much; and again, without a limit, as they were recorded."""
    command = [sys.executable, "-c", SESSION, kind, str(megabytes)]
    # glibc keeps what was freed unless it came from the system piece by piece, and would hand it out again unasked.
    alike = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **alike}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit of an address space is asked of Linux")


@LINUX
@pytest.mark.parametrize("kind", ["circuit", pytest.param("drive", marks=pytest.mark.slow)])
def test_an_allocator_that_says_no_costs_memory_in_view_and_not_the_session(kind: str) -> None:
    found = session(kind, 35)
    assert found["said"] is None
    assert found["lacked"][0]
    assert found["steps"][0] == 1, "the lowest rung first"
    assert found["windows"][0] is not None
    assert found["seen"] < found["full"]
    assert found["lacked"][-1] is False, "what is left in view fits from there on"
    assert found["steps"][-1] == 2
    assert found["same_as_played_again"]


@LINUX
@pytest.mark.slow
def test_negative_control_with_room_nothing_is_lost() -> None:
    found = session("circuit", 4000)
    assert not any(found["lacked"])
    assert found["seen"] == found["full"]
    assert found["same_as_played_again"]


@LINUX
@pytest.mark.slow
def test_without_room_for_anything_the_session_ends_with_one_line() -> None:
    found = session("circuit", 0)
    assert found["said"].startswith("OutOfRoomError: ")
    assert "expected room on cpu" in found["said"]
    assert len(found["said"].splitlines()) == 1
