"""Where stage processes come from: forked by a process that has loaded torch (`nextframe.model.stages.process.mother`).

Owns that process, what is asked of it, and the thread that starts it: Linux ends a process with the thread that started
it, so that thread lives as long as the session does and does nothing else. A mother that is gone or does not answer is
replaced by a new one, which has to load torch first.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from .mother import FORK, MAX_LINE, POLL
from .spec import LOADED

ANSWER_S = 5.0
"""For an answer of a mother that has loaded: it has nothing else to do."""
POLL_S = 0.002


class NurseryError(Exception):
    """No stage process could be started: why, in one line."""


class _Mother:
    """The process, and one question at a time to it."""

    def __init__(self) -> None:
        self.words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._asking = threading.Lock()
        here, there = socket.socketpair()
        self._socket = here
        with there:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nextframe.model.stages.process.mother", str(os.getpid())],
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self.words,
                # numpy's helper threads would not survive a fork, and nothing here has matrices for them.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the front alone, which then ends them
            )

    def loaded(self, within_s: float) -> None:
        """Wait until it has. Raises NurseryError."""
        try:
            said = self._answer(within_s)
        except TimeoutError:
            raise NurseryError(f"expected torch to be loaded within {within_s:g} s; see the machine's load") from None
        except OSError:
            said = ""
        if said != LOADED:
            raise NurseryError(f"expected a process to fork from, it ended: {last_line(self.words)}")

    def ask(self, question: bytes, descriptors: Sequence[int] = ()) -> str:
        """Raises OSError when it is gone or does not answer; it is ended then."""
        with self._asking:
            try:
                socket.send_fds(self._socket, [question], descriptors)
                said = self._answer(ANSWER_S)
            except OSError:
                self.end()
                raise
        if not said:
            self.end()
            raise ConnectionResetError("the process that stage processes are forked from is gone")
        return said

    def _answer(self, within_s: float) -> str:
        self._socket.settimeout(within_s)
        said = b""
        while not said.endswith(b"\n"):
            more = self._socket.recv(MAX_LINE)
            if not more:
                return ""
            said += more
        return said.decode().strip()

    def end(self) -> None:
        """At once, stopped or not, and until it is gone. May be called twice."""
        self.process.kill()
        self.process.wait()
        self._socket.close()


@dataclass
class Born:
    """A stage process that waits for its `StageSpec` on `stdin`. `words`: what it writes to stderr.

    `poll` and `wait` as those of `subprocess.Popen`; a child whose mother is gone has ended with her.
    """

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    words: IO[bytes]
    _mother: _Mother
    _code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            try:
                said = self._mother.ask(POLL + b" %d" % self.pid)
            except OSError:
                self._end_orphan()
            else:
                self._code = None if said == "None" else int(said)
        return self._code

    def wait(self, timeout_s: float) -> int:
        """Raises TimeoutError."""
        until_s = time.monotonic() + timeout_s
        while (code := self.poll()) is None:
            if time.monotonic() >= until_s:
                raise TimeoutError(f"process {self.pid} lives")
            time.sleep(POLL_S)
        return code

    def kill(self) -> None:
        """Also one that is stopped. Its id is its own until `poll` has given its end."""
        if self._code is None:
            _kill(self.pid)

    def _end_orphan(self) -> None:
        """Nobody can say any more how it ends; on Linux it has been killed."""
        if sys.platform != "linux":
            _kill(self.pid)
        self._code = -signal.SIGKILL


class Nursery:
    """`take` as often as needed, `close` once. `load_s`: for a mother to load torch."""

    def __init__(self, load_s: float = 120.0) -> None:
        self._load_s = load_s
        self._pool: ThreadPoolExecutor | None = None
        self._mother: _Mother | None = None

    @property
    def pids(self) -> list[int]:
        """Of what lives besides the processes that were taken: the mother."""
        return [] if self._mother is None else [self._mother.process.pid]

    def take(self) -> Born:
        """A new process. Raises NurseryError where none can be started."""
        try:
            return self._born(self._ready_mother())
        except OSError:
            self._end_mother()
        try:
            return self._born(self._ready_mother())
        except OSError as error:
            raise NurseryError(str(error)) from error

    def close(self) -> None:
        """End the mother and the thread she came from. Processes that were taken must have ended, or end now."""
        self._end_mother()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _ready_mother(self) -> _Mother:
        if self._mother is not None and self._mother.process.poll() is None:
            return self._mother
        self._end_mother()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stage-nursery")
        self._mother = self._pool.submit(_Mother).result()
        try:
            self._mother.loaded(self._load_s)
        except NurseryError:
            self._end_mother()
            raise
        return self._mother

    def _end_mother(self) -> None:
        if self._mother is not None:
            self._mother.end()
            self._mother.words.close()
            self._mother = None

    @staticmethod
    def _born(mother: _Mother) -> Born:
        child_in, to_child = os.pipe()
        from_child, child_out = os.pipe()
        words = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        ends = [os.fdopen(to_child, "wb", buffering=0), os.fdopen(from_child, "rb", buffering=0)]
        try:
            pid = int(mother.ask(FORK, [child_in, child_out, words.fileno()]))
        except OSError:
            for file in (*ends, words):
                file.close()
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        return Born(pid, ends[0], ends[1], words, mother)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def last_line(words: IO[bytes]) -> str:
    """What was last written there that is not blank."""
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - 4000))
    lines = words.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "without a word")
