"""Stage processes that a launcher has started, on one host or several: they meet as `env://` says.

How such a process learns which stage it is, and what the front knows of the others. torchrun sets `RANK`, `WORLD_SIZE`,
`LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT` (torch.distributed, environment variable initialization); any program that
sets them is a launcher. A process on another host cannot be started again from here: a fault ends the session, and the
launcher ends the processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from torch import distributed

from .processes import StageFault, StageLimits, StageStartError
from .spec import ERROR, StageSpec

MEET_S = 300.0
NOTHING_TO_DO = b"\n"
LOST = "lost"


@dataclass(frozen=True)
class Launch:
    """Which of how many processes this one is; `local_rank`: which on its host, and so which of the host's GPUs."""

    rank: int
    processes: int
    local_rank: int


def launched() -> Launch | None:
    """What the environment says; None for a process that was simply started."""
    values = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    if not all(value.isdecimal() for value in values[:2]):
        return None
    return Launch(int(values[0]), int(values[1]), int(values[2] or 0))


@cache
def meeting() -> Any:
    """The store of all launched processes; one for the life of this process."""
    store, _, _ = next(iter(distributed.rendezvous("env://")))
    return distributed.PrefixStore("nextframe", store)


class LaunchedProcesses:
    """To the front what `nextframe.model.stages.process.processes.StageProcesses` is, for stages that run already.

    Without heartbeats: a process that is gone breaks its link; one that is silent is noticed by a message that is under
    way for `limits.stuck_s`.
    """

    def __init__(self, launch: Launch, limits: StageLimits) -> None:
        self._launch, self.limits = launch, limits
        self.opened: list[dict[str, Any]] = []
        self.fault: StageFault | None = None
        self._started = False

    @property
    def pids(self) -> list[int]:
        """None that could be signalled from here."""
        return []

    def start(self, specs: Sequence[StageSpec]) -> None:
        """Tell each its stage and wait until it has loaded. Raises StageStartError, also for a second start."""
        if self._started:
            raise StageStartError("these stages were started by a launcher and are not restarted from here")
        if len(specs) + 1 != self._launch.processes:
            raise StageStartError(
                f"expected one launched process for each of the {len(specs) + 1} stages, got {self._launch.processes}"
            )
        self._started, store = True, meeting()
        for spec in specs:
            store.set(f"stage/{spec.rank}", spec.as_line())
        for spec in specs:
            self.opened.append(self._loaded(store, spec.rank))

    def _loaded(self, store: Any, rank: int) -> dict[str, Any]:
        try:
            store.wait([f"loaded/{rank}"], timedelta(seconds=self.limits.start_s))
        except distributed.DistStoreError as error:
            raise StageStartError(f"stage {rank} did not load within {self.limits.start_s:g} s") from error
        word, _, rest = store.get(f"loaded/{rank}").decode().partition(" ")
        if word == ERROR:
            raise StageStartError(f"stage {rank}: {rest}")
        opened: dict[str, Any] = json.loads(rest)
        return opened

    def check(self, *, patience_s: float = 0.0) -> StageFault:
        """The fault behind a broken link; who it was is not known here."""
        if self.fault is None:
            detail = "a link to a launched stage broke, or it was silent; its own output says more"
            self.fault = StageFault(0, LOST, detail, time.monotonic_ns())
        return self.fault

    def waiting(self, since_ns: int | None) -> None:
        """Nothing watches: the link has its own patience."""

    def end(self) -> None:
        """Nothing that could be ended from here; a stage ends when it is told to or its link breaks."""

    def close(self) -> None:
        self.end()


def dismiss(launch: Launch) -> None:
    """By the front at its end: processes that were given no stage may go."""
    store = meeting()
    for rank in range(1, launch.processes):
        if not store.check([f"stage/{rank}"]):
            store.set(f"stage/{rank}", NOTHING_TO_DO)
