"""The stage processes of one session: started, watched, ended.

Their heartbeats are read, and all of them are ended when one is dead or silent: a broken group cannot be mended, and
ending it is what wakes a front that waits for a message.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

from .fork_server import ForkedProcess, ForkServer, ForkServerError, last_line
from .spec import BAD_START, BEAT_S, ERROR, PEER_LOST, READY, StageSpec

DIED, HUNG, STUCK = "died", "hung", "stuck"


@dataclass(frozen=True)
class StageLimits:
    """`hang_s`: a process without a heartbeat for so long is taken for dead. `stuck_s`: so is the group when a message
    has been under way for so long though hearts beat. `start_s`: for loading. `stop_s`: for ending by itself."""

    hang_s: float = 0.7
    stuck_s: float = 30.0
    start_s: float = 120.0
    stop_s: float = 2.0


class StageFault(Exception):  # noqa: N818 - nothing wrong in the program
    """A stage process is gone; the others of its group were ended. `cause`: died, hung or stuck. `noticed_ns`: on the
    monotonic clock. `start` of the processes, or a restart, makes a new group."""

    def __init__(self, rank: int, cause: str, detail: str, noticed_ns: int) -> None:
        super().__init__(f"stage process {rank} {cause}: {detail}")
        self.rank, self.cause, self.detail, self.noticed_ns = rank, cause, detail, noticed_ns


class StageStartError(Exception):
    """A stage process could not be started: what it said, in one line."""


@dataclass
class _Worker:
    spec: StageSpec
    process: ForkedProcess
    heard: bytes = b""
    heard_ns: int = 0
    opened: dict[str, Any] | None = None
    error: str | None = None
    closed: bool = False


@dataclass
class StageProcesses:
    """`start`, then `check` whenever something went wrong, `waiting` around anything that may wait for them, `end` for
    another start, `close`.

    `worker`: the module whose `main` each of them runs. All of them end with this process, however it ends.
    """

    worker: InitVar[str]
    limits: StageLimits = StageLimits()
    fork_server: ForkServer = field(init=False)
    _workers: list[_Worker] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _closing: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _fault: StageFault | None = None
    _start_error: BaseException | None = None
    _waiting_since_ns: int | None = None

    def __post_init__(self, worker: str) -> None:
        self.fork_server = ForkServer(worker)

    @property
    def pids(self) -> list[int]:
        """Of the stage processes in the order of their stages; neither the front's own nor the fork server's."""
        return [worker.process.pid for worker in self._workers]

    @property
    def opened(self) -> list[dict[str, Any]]:
        """What each process read of the weights: `pid`, `keys`, `bytes`."""
        return [worker.opened for worker in self._workers if worker.opened is not None]

    def start(self, specs: Sequence[StageSpec]) -> None:
        """Start one process per spec and wait until each has loaded. Raises StageStartError, or StageFault for one
        that was killed; none is left then."""
        assert self._thread is None, "processes are started once; close them first"
        for event in (self._ready, self._closing, self._over):
            event.clear()
        self._fault, self._start_error = None, None
        self._thread = threading.Thread(target=self._run, args=(list(specs),), name="stage-watch", daemon=True)
        self._thread.start()
        deadline_ns = time.monotonic_ns() + int(self.limits.start_s * 1e9)
        while not self._ready.wait(BEAT_S) and not self._over.is_set() and time.monotonic_ns() < deadline_ns:
            pass
        if self._ready.is_set():
            return
        problem = self._start_problem()
        self.end()
        raise problem

    def _start_problem(self) -> Exception:
        said = [worker.error for worker in self._workers if worker.error]
        if said:
            return StageStartError(said[0])
        if self._fault is not None:  # killed from outside, not unable
            return self._fault
        if self._start_error is not None:
            return StageStartError(f"stage processes could not be started: {self._start_error}")
        return StageStartError(
            f"stage processes: expected all of them to load within {self.limits.start_s:g} s; see the machine's load"
        )

    def check(self, *, patience_s: float = 1.0) -> StageFault | None:
        """What went wrong, if anything did: what ended a link is seen a moment before who."""
        self._over.wait(patience_s)
        return self._fault

    @property
    def fault(self) -> StageFault | None:
        return self._fault

    def waiting(self, since_ns: int | None) -> None:
        """A message is under way since then; None when it has arrived."""
        self._waiting_since_ns = since_ns

    def close(self) -> None:
        """All of them, and the fork server."""
        self.end()
        self.fork_server.close()

    def end(self) -> None:
        """End the group, those that are stopped too, and wait until they are gone. `start` makes a new one."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._waiting_since_ns = None

    # --- in the watching thread ---------------------------------------------------------------------------------------

    def _run(self, specs: list[StageSpec]) -> None:
        try:
            self._workers = []
            for spec in specs:
                forked = self.fork_server.fork()
                self._workers.append(_Worker(spec, forked, heard_ns=time.monotonic_ns()))
                forked.stdin.write(spec.as_line())
            with selectors.DefaultSelector() as selector:
                for worker in self._workers:
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
                self._watch(selector)
        except (OSError, ForkServerError) as error:
            self._start_error = error
        finally:
            self._end_all()
            self._over.set()

    def _watch(self, selector: selectors.BaseSelector) -> None:
        looked_ns = time.monotonic_ns()
        while self._fault is None and not self._closing.is_set():
            events = selector.select(BEAT_S / 4)
            now_ns = time.monotonic_ns()
            for key, _ in events:
                _listen(key.data, now_ns)
            self._judge(now_ns, now_ns - looked_ns)
            looked_ns = now_ns
            if all(worker.opened is not None for worker in self._workers):
                self._ready.set()

    def _judge(self, now_ns: int, unseen_ns: int) -> None:
        gone = [worker for worker in self._workers if worker.closed]
        if gone:
            first = min(gone, key=_order_of_end)
            self._fault = StageFault(first.spec.rank, DIED, _how_it_ended(first), now_ns)
            return
        for worker in self._workers:
            if unseen_ns > 2 * BEAT_S * 1e9:  # this very process was stopped meanwhile: no silence of theirs
                worker.heard_ns = now_ns
            silent_s = (now_ns - worker.heard_ns) / 1e9
            if worker.opened is not None and silent_s > self.limits.hang_s:
                detail = f"no heartbeat for {silent_s:.2f} s"
                self._fault = StageFault(worker.spec.rank, HUNG, detail, now_ns)
                return
        since_ns = self._waiting_since_ns
        if since_ns is not None and (now_ns - since_ns) / 1e9 > self.limits.stuck_s:
            self._fault = StageFault(0, STUCK, f"a message under way for more than {self.limits.stuck_s:g} s", now_ns)

    def _end_all(self) -> None:
        """Politely where nothing is wrong: a closed input ends a process. SIGKILL also ends one that is stopped."""
        for worker in self._workers:
            if self._fault is not None:
                worker.process.kill()
            worker.process.stdin.close()
        until_s = time.monotonic() + self.limits.stop_s
        for worker in self._workers:
            try:
                worker.process.wait(max(0.0, until_s - time.monotonic()))
            except TimeoutError:
                worker.process.kill()
                worker.process.wait(math.inf)
            worker.process.stdout.close()
            worker.process.stderr.close()


def _listen(worker: _Worker, now_ns: int) -> None:
    """Take in what it has said, a heartbeat among other things."""
    said = os.read(worker.process.stdout.fileno(), 1 << 16)
    if not said:
        worker.closed = True
        return
    worker.heard_ns = now_ns
    *lines, worker.heard = (worker.heard + said).split(b"\n")
    for line in lines:
        word, _, rest = line.decode(errors="replace").partition(" ")
        if word == READY:
            worker.opened = json.loads(rest)
        elif word == ERROR:
            worker.error = rest


def _order_of_end(worker: _Worker) -> tuple[bool, int]:
    """By which the process that ended first comes first: one that lost its peer did not."""
    try:
        code = worker.process.wait(0.5)
    except TimeoutError:
        code = 0
    return code in {PEER_LOST, BAD_START}, worker.spec.rank


def _how_it_ended(worker: _Worker) -> str:
    code = worker.process.poll()
    if code is None:
        return "it closed its output"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"exit code {code}: {last_line(worker.process.stderr)}"
