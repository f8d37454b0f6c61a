"""Stage processes are forked by a process that has loaded torch: `nextframe.model.stages.process.fork_server_main`.

Here is the front's side of it: that process, the questions to it, and the thread that starts it. Linux ends a process
with the thread that started it, so that thread lives as long as the session does and does nothing else. A fork server
that is gone or does not answer is replaced by a new one, which has to load torch first.
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

from .fork_server_main import FORK, MAX_LINE, POLL
from .spec import LOADED

ANSWER_S = 5.0
"""For an answer of a fork server that has loaded: it has nothing else to do."""
POLL_S = 0.002


class ForkServerError(Exception):
    """No stage process could be started: why, in one line."""


class _ServerProcess:
    """The process, and one question at a time to it."""

    def __init__(self, child: str) -> None:
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self._asking = threading.Lock()
        here, there = socket.socketpair()
        self._socket = here
        with there:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nextframe.model.stages.process.fork_server_main", str(os.getpid()), child],
                stdin=there.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self.stderr,
                # numpy's helper threads would not survive a fork, and nothing here has matrices for them.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the front alone, which then ends them
            )

    def loaded(self, within_s: float) -> None:
        """Wait until it has. Raises ForkServerError."""
        try:
            said = self._answer(within_s)
        except TimeoutError:
            raise ForkServerError(
                f"expected torch to be loaded within {within_s:g} s; see the machine's load"
            ) from None
        except OSError:
            said = ""
        if said != LOADED:
            raise ForkServerError(f"expected a process to fork from, it ended: {last_line(self.stderr)}")

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
class ForkedProcess:
    """A stage process that waits for its `StageSpec` on `stdin`. `stderr`: a file with what it has written there.

    `poll` and `wait` as those of `subprocess.Popen`; a child whose fork server is gone has ended with it.
    """

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    _server: _ServerProcess
    _code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            try:
                said = self._server.ask(POLL + b" %d" % self.pid)
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
        """How it ends cannot be known any more; on Linux it has been killed."""
        if sys.platform != "linux":
            _kill(self.pid)
        self._code = -signal.SIGKILL


class ForkServer:
    """`fork` as often as needed, `close` once. `child`: the module that the server loads, torch with it, and whose
    `main` each forked process calls. `load_s`: for loading it."""

    def __init__(self, child: str, load_s: float = 120.0) -> None:
        self._child, self._load_s = child, load_s
        self._pool: ThreadPoolExecutor | None = None
        self._server: _ServerProcess | None = None

    @property
    def pids(self) -> list[int]:
        """Of what lives besides the processes that were forked: the server itself."""
        return [] if self._server is None else [self._server.process.pid]

    def fork(self) -> ForkedProcess:
        """A new process. Raises ForkServerError where none can be started."""
        try:
            return self._forked(self._ready_server())
        except OSError:
            self._end_server()
        try:
            return self._forked(self._ready_server())
        except OSError as error:
            raise ForkServerError(str(error)) from error

    def close(self) -> None:
        """End the server and the thread that started it. Processes that were forked must have ended, or end now."""
        self._end_server()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _ready_server(self) -> _ServerProcess:
        if self._server is not None and self._server.process.poll() is None:
            return self._server
        self._end_server()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fork-server")
        self._server = self._pool.submit(_ServerProcess, self._child).result()
        try:
            self._server.loaded(self._load_s)
        except ForkServerError:
            self._end_server()
            raise
        return self._server

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server.stderr.close()
            self._server = None

    @staticmethod
    def _forked(server: _ServerProcess) -> ForkedProcess:
        child_in, to_child = os.pipe()
        from_child, child_out = os.pipe()
        stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        ends = [os.fdopen(to_child, "wb", buffering=0), os.fdopen(from_child, "rb", buffering=0)]
        try:
            pid = int(server.ask(FORK, [child_in, child_out, stderr.fileno()]))
        except OSError:
            for file in (*ends, stderr):
                file.close()
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        return ForkedProcess(pid, ends[0], ends[1], stderr, server)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def last_line(stderr: IO[bytes]) -> str:
    """What was last written there that is not blank."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - 4000))
    lines = stderr.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "nothing")
