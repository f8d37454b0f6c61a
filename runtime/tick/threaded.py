"""The loop on a thread of its own, and the one place where its frames meet the window.

The two threads share the frame mailbox and the input latch, and nothing else.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Protocol

from ..core import Clock, Frame
from .controls import SessionControls


class _Letter(NamedTuple):
    frame: Frame
    frame_id: int
    generation: int


class FrameMailbox:
    """A display that keeps the newest frame for another thread to fetch.

    At most one frame waits: a queued frame is latency. `replaced` counts frames that were not fetched in time.
    """

    def __init__(self, clock: Clock, controls: SessionControls) -> None:
        self._clock, self._controls = clock, controls
        self._lock = threading.Lock()
        self._letter: _Letter | None = None
        self._frame_id = 0
        self.replaced = 0

    def present(self, frame: Frame) -> int:
        """Store a copy of the frame (worlds may reuse their buffer); returns the clock's time."""
        generation = self._controls.applied_generation
        copy = frame.copy()
        with self._lock:
            self.replaced += self._letter is not None
            self._letter = _Letter(copy, self._frame_id, generation)
            self._frame_id += 1
        return self._clock.now_ns()

    def take(self, generation: int) -> tuple[Frame, int] | None:
        """The newest frame not yet taken and its number; None if there is none, or it was made before the reset."""
        with self._lock:
            letter, self._letter = self._letter, None
        if letter is None or letter.generation < generation:
            return None
        return letter.frame, letter.frame_id

    def close(self) -> None:
        with self._lock:
            self._letter = None


class Runs(Protocol):
    """What runs on the thread: a loop, or one with something before it."""

    @property
    def controls(self) -> SessionControls: ...

    def run(self, ticks: int | None = None) -> None: ...


class GeneratorThread:
    """Runs a loop beside the window. Use it as a context manager: leaving stops the loop, and its error comes out.

    An error in the loop ends the thread; `check` (call it once per window frame) and `join` raise it in the caller.
    """

    def __init__(self, loop: Runs) -> None:
        self._loop = loop
        self._pool: ThreadPoolExecutor | None = None
        self._run: Future[None] | None = None

    def start(self, ticks: int | None = None) -> None:
        assert self._run is None, "a generator thread starts once"
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generator")
        self._run = self._pool.submit(self._loop.run, ticks)

    @property
    def running(self) -> bool:
        return self._run is not None and not self._run.done()

    def check(self) -> None:
        """Raise here what was raised on the thread; returns at once if nothing was."""
        if self._run is not None and self._run.done():
            self._run.result()

    def stop(self) -> None:
        """Ask the loop to end after the tick that is running."""
        self._loop.controls.request_stop()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the loop to end; raises its error, or TimeoutError."""
        if self._run is None or self._pool is None:
            return
        self._run.result(timeout_s)
        self._pool.shutdown()

    def __enter__(self) -> GeneratorThread:
        if self._run is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self.join()
        elif self._pool is not None:  # the caller's own error is the one to report
            self._pool.shutdown()
