"""A layer pipeline filled by sessions: every stage works on another session, and none of them sees anything stale.

A pipeline of W stages cannot make one session of a finished-frames generator faster: a denoise step needs the outcome
of the step before, so its passes follow each other. What it can do is to serve others in the meantime. Owns the order
in which passes enter, and its accounting in whole stage-times; `run_lockstep` is that order one stage-time after the
other, `run_threads` the same work with a thread per stage. Knows no network: `nextframe.model.stages.pipeline_sessions`
has one.

A pass enters stage 0, visits each stage once, one stage-time each. A tick is some denoise passes and a commit pass. A
session's next pass enters when the one before has left the last stage. With `follow_commits` the next tick may enter
right behind a commit: it reads the memory of each stage just after the commit has written it there.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Passenger(Protocol):
    """What flows through the stages. `visit` is called for stages 0, 1, ... of a pass in this order, and for one pass
    after the other; several passengers are visited at the same time, in threads."""

    denoise_steps: int

    def visit(self, tick: int, step: int, stage: int) -> None:
        """`step`: the denoise step, or `denoise_steps` for the commit. The input of a tick is read at (tick, 0, 0)."""
        ...


@dataclass(frozen=True)
class Visit:
    """A pass on its way: who, and which pass of which tick. `entered`: the stage-time at which it entered stage 0."""

    session: int
    tick: int
    step: int
    entered: int


@dataclass
class Account:
    """Whole stage-times. `busy`: for each stage, in how many it worked. `shown`, `committed`: (session, tick, the
    stage-time at whose end it was), `latency`: by (session, tick), from reading the input to the picture."""

    stage_times: int = 0
    busy: list[int] = field(default_factory=list)
    shown: list[tuple[int, int, int]] = field(default_factory=list)
    committed: list[tuple[int, int, int]] = field(default_factory=list)
    latency: dict[tuple[int, int], int] = field(default_factory=dict)

    def committed_by(self, stage_time: int) -> int:
        return sum(at <= stage_time for _, _, at in self.committed)


class LayerPipeline:
    """`stages` stages and the sessions that fill them, in the order in which they are ready. Steps one stage-time."""

    def __init__(self, stages: int, denoise_steps: Sequence[int], *, follow_commits: bool = False) -> None:
        """`denoise_steps`: of every session; its ticks all take as many."""
        if stages < 1 or not denoise_steps or min(denoise_steps) < 1:
            raise ValueError(
                f"layer pipeline: expected at least 1 stage, 1 session and 1 denoise step each, got {stages} stages "
                f"and denoise steps {list(denoise_steps)}"
            )
        self.denoise_steps = tuple(denoise_steps)
        self.follow_commits = follow_commits
        self.account = Account(busy=[0] * stages)
        self._at: list[Visit | None] = [None] * stages
        self._waiting: deque[tuple[int, int, int]] = deque((session, 0, 0) for session in range(len(denoise_steps)))
        self._entered: dict[tuple[int, int], int] = {}

    @property
    def stages(self) -> int:
        return len(self._at)

    def enter(self) -> list[Visit | None]:
        """The next stage-time: who is at each stage. All of these may be visited at once."""
        self._at = [self._next(), *self._at[:-1]]
        return list(self._at)

    def leave(self) -> None:
        """This stage-time is over: all visits of `enter` are done."""
        account, first, last = self.account, self._at[0], self._at[-1]
        account.stage_times += 1
        account.busy = [count + (visit is not None) for count, visit in zip(account.busy, self._at, strict=True)]
        if self.follow_commits and first is not None and self._commits(first):
            self._waiting.append((first.session, first.tick + 1, 0))
        if last is not None:
            self._left(last)

    def _next(self) -> Visit | None:
        if not self._waiting:
            return None
        session, tick, step = self._waiting.popleft()
        if step == 0:
            self._entered[session, tick] = self.account.stage_times
        return Visit(session, tick, step, self.account.stage_times)

    def _commits(self, visit: Visit) -> bool:
        return visit.step == self.denoise_steps[visit.session]

    def _left(self, visit: Visit) -> None:
        account, at = self.account, self.account.stage_times
        if self._commits(visit):
            account.committed.append((visit.session, visit.tick, at))
            if not self.follow_commits:
                self._waiting.append((visit.session, visit.tick + 1, 0))
            return
        if visit.step + 1 == self.denoise_steps[visit.session]:
            account.shown.append((visit.session, visit.tick, at))
            account.latency[visit.session, visit.tick] = at - self._entered.pop((visit.session, visit.tick))
        self._waiting.append((visit.session, visit.tick, visit.step + 1))


def committed_ticks(sessions: int, stages: int, denoise_steps: int, stage_times: int) -> int:
    """Ticks that `sessions` sessions of a `LayerPipeline` have committed after so many stage-times, without
    `follow_commits`: in the long run min(sessions, stages) / stages of a pass per stage-time.

    Pass p of session i enters at p * max(sessions, stages) + i and has left `stages` later.
    """
    turn, passes = max(sessions, stages), denoise_steps + 1
    first = [(passes - 1) * turn + session + stages for session in range(sessions)]
    return sum(max(0, (stage_times - at) // (passes * turn) + 1) for at in first)


def run_lockstep(pipeline: LayerPipeline, passengers: Sequence[Passenger], stage_times: int) -> Account:
    """So many stage-times, the stages of each in turn; the last stage first, and any other order would do."""
    for _ in range(stage_times):
        for stage, visit in reversed(list(enumerate(pipeline.enter()))):
            if visit is not None:
                passengers[visit.session].visit(visit.tick, visit.step, stage)
        pipeline.leave()
    return pipeline.account


# --- threads ------------------------------------------------------------------------------------------------------


class _Threads:
    """One queue before each stage; what leaves the last stage goes back to the first as the session's next pass."""

    def __init__(self, stages: int, passengers: Sequence[Passenger], ticks: int) -> None:
        self._passengers, self._ticks = passengers, ticks
        self._queues: list[queue.SimpleQueue[Visit | None]] = [queue.SimpleQueue() for _ in range(stages)]
        self._left = len(passengers)
        self._errors: list[BaseException] = []

    def run(self) -> None:
        for session in range(len(self._passengers)):
            self._queues[0].put(Visit(session, 0, 0, 0))
        threads = [
            threading.Thread(target=self._work, args=(stage,), name=f"stage-{stage}", daemon=True)
            for stage in range(len(self._queues))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self, stage: int) -> None:
        try:
            while (visit := self._queues[stage].get()) is not None:
                self._passengers[visit.session].visit(visit.tick, visit.step, stage)
                self._send_on(visit, stage)
        except BaseException as error:  # noqa: BLE001 - nothing may end this thread in silence: `run` raises it
            self._errors.append(error)
            self._stop()

    def _send_on(self, visit: Visit, stage: int) -> None:
        if stage + 1 < len(self._queues):
            self._queues[stage + 1].put(visit)
            return
        commits = visit.step == self._passengers[visit.session].denoise_steps
        tick, step = (visit.tick + 1, 0) if commits else (visit.tick, visit.step + 1)
        if tick < self._ticks:
            self._queues[0].put(Visit(visit.session, tick, step, 0))
            return
        self._left -= 1  # only the last stage's thread comes here
        if not self._left:
            self._stop()

    def _stop(self) -> None:
        for waiting in self._queues:
            waiting.put(None)


def run_threads(stages: int, passengers: Sequence[Passenger], ticks: int) -> None:
    """The first `ticks` ticks of every passenger, with one thread per stage; a stage works as soon as it has work.

    What a visit raises ends the run and is raised here; the first one if there are several.
    """
    if ticks > 0 and passengers:
        _Threads(stages, passengers, ticks).run()
