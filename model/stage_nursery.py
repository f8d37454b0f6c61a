"""Where stage processes come from: started fresh, or taken from spares that have loaded torch and wait to be told.

Owns the thread that starts them. Linux ends a process with the thread that started it, so that thread lives as long as
the session does and does nothing else. Loading torch takes seconds and a picture is held meanwhile: a spare saves them.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Born:
    """A process that waits for its `StageSpec`. `words`: what it writes to stderr."""

    process: subprocess.Popen[bytes]
    words: IO[bytes]

    def end(self) -> None:
        """At once, stopped or not, and until it is gone."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.words):
            if pipe is not None:
                pipe.close()


class Nursery:
    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._spares: list[Born] = []

    @property
    def pids(self) -> list[int]:
        """Of the spares."""
        return [born.process.pid for born in self._spares]

    @property
    def ready(self) -> bool:
        """Every spare has said that it has loaded; its first word is not taken from it."""
        outputs = [born.process.stdout for born in self._spares if born.process.stdout is not None]
        return len(select.select(outputs, [], [], 0)[0]) == len(outputs)

    def take(self) -> Born:
        """A spare that lives, else a new process. Raises OSError where none can be started."""
        while self._spares:
            born = self._spares.pop(0)
            if born.process.poll() is None:
                return born
            born.end()
        return self._start()

    def prepare(self, spares: int) -> None:
        """Have so many in reserve; returns at once, they load by themselves."""
        while len(self._spares) < spares:
            self._spares.append(self._start())

    def close(self) -> None:
        """End the spares and the thread. Processes that were taken must have ended, or end now."""
        for born in self._spares:
            born.end()
        self._spares.clear()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _start(self) -> Born:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stage-nursery")
        return self._pool.submit(_born).result()


def _born() -> Born:
    words = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "model.stage_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # Ctrl-C is for the front alone, which then ends them
    )
    return Born(process, words)
