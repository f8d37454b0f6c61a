"""A snapshot taken in one process and restored in another goes on as if nothing had happened.

Stored here with msgpack and numpy alone: a snapshot needs no code of its world.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch

from nextframe.controllers.bots import make_bot
from nextframe.runtime.core import Snapshot, World
from nextframe.runtime.timeline.synctest import busy_actions, mixed_plans
from tests.support.paths import ROOT
from tests.support.synctests import circuit, toy

OTHER_PROCESS = """
import sys
import torch
from nextframe.runtime.core import ManualClock
from nextframe.runtime.session.registry import find_world, load_world
from tests.runtime.timeline.test_snapshot_processes import checksums_from, unpacked

torch.set_num_threads(int(sys.argv[3]))
world = load_world(find_world(sys.argv[1]), ManualClock())
print(*checksums_from(world, unpacked(sys.argv[2])))
"""


def packed(snapshot: Snapshot) -> bytes:
    def array_parts(value: Any) -> Any:
        assert isinstance(value, np.ndarray), type(value)
        return {"dtype": value.dtype.str, "shape": value.shape, "bytes": value.tobytes()}

    data: bytes = msgpack.packb(snapshot, default=array_parts)
    return data


def unpacked(path: str) -> Snapshot:
    def array_of(parts: dict[str, Any]) -> Any:
        if parts.keys() != {"dtype", "shape", "bytes"}:
            return parts
        return np.frombuffer(parts["bytes"], parts["dtype"]).reshape(parts["shape"]).copy()

    snapshot: Snapshot = msgpack.unpackb(Path(path).read_bytes(), object_hook=array_of)
    return snapshot


def checksums_from(world: World, snapshot: Snapshot | None = None, ticks: int = 12) -> list[int]:
    """Of the state itself, then after each tick of busy play from it."""
    if snapshot is not None:
        world.restore(snapshot)
    actions = busy_actions(make_bot("wander", world.info.actions, 4).poll, world.info.actions, 4)
    plans = mixed_plans(world.info.ladder, 4)
    checksums = [world.checksum()]
    for tick in range(ticks):
        world.advance(actions(tick), plans(tick)).commit()
        checksums.append(world.checksum())
    return checksums


def in_another_process(name: str, path: Path) -> Sequence[int]:
    arguments = [sys.executable, "-c", OTHER_PROCESS, name, str(path), str(torch.get_num_threads())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("name", ["toy", "circuit"])
def test_a_snapshot_restored_in_another_process_gives_the_same_checksums(name: str, tmp_path: Path) -> None:
    world: World = toy() if name == "toy" else circuit()
    world.reset(3)
    checksums_from(world)
    path = tmp_path / "snapshot.msgpack"
    path.write_bytes(packed(world.snapshot()))
    elsewhere = in_another_process(name, path)
    assert elsewhere == checksums_from(world)
    assert len(set(elsewhere)) == 13, "a world that stands still proves nothing"
