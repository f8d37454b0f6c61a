"""Other programs that want the same cores: real processes that burn one core each, for as long as a block runs.

    with Antagonist(processes=2) as antagonist:
        ...
    print(antagonist.cpu_s)

`python -m nextframe.tools.lab.deadlines.antagonist --processes 2 --seconds 60` does the same from a shell.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ....runtime.core import NextframeError

BURNER = Path(__file__).with_name("burner.py")
LIMIT_S = 3600.0
"""A burner ends by itself after this long, should its parent go on without ending it."""
STOP_TIMEOUT_S = 5.0


class Antagonist:
    """`processes` that burn a core each from `__enter__` to `__exit__`; 0 is none, for the same code without load.

    `memory_mb`: each copies a buffer of that size instead of counting, so that caches and memory are busy too.
    Entering returns when all of them burn; NextframeError if one does not start. They end with this process, however
    it ends. `cpu_s`, after leaving: CPU time all of them got together, the proof of the load.
    """

    def __init__(self, processes: int, *, memory_mb: int = 0, limit_s: float = LIMIT_S) -> None:
        if processes < 0 or memory_mb < 0 or limit_s <= 0:
            raise NextframeError(
                "antagonist: expected processes and memory_mb from 0 up and a limit of more than 0 s, "
                f"got {processes}, {memory_mb} and {limit_s:g}"
            )
        self._count, self._memory_mb, self._limit_s = processes, memory_mb, limit_s
        self._running: list[subprocess.Popen[bytes]] = []
        self.cpu_s = 0.0

    @property
    def pids(self) -> list[int]:
        """Process ids of the burners that run."""
        return [process.pid for process in self._running if process.poll() is None]

    def __enter__(self) -> Antagonist:
        try:
            for _ in range(self._count):
                self._running.append(self._start())
            for process in self._running:
                self._await_burning(process)
        except BaseException:  # whatever ended the start, no burner may outlive it
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        died = len(self._running) - len(self.pids)
        self._stop()
        if died and error is None:
            raise NextframeError(f"antagonist: {died} of {self._count} processes ended early; the load was not whole")

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", str(BURNER), str(self._limit_s), str(self._memory_mb)]
        # Its own session: Ctrl-C is for the parent alone, which then ends all of them.
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def _await_burning(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        if process.stdout.readline() != b"burning\n":
            raise NextframeError(f"antagonist: a process ended at its start with code {process.wait()}: see above")

    def _stop(self) -> None:
        """Ends all of them at once, then waits for each: asked by closing its input, killed if that does not help."""
        for process in self._running:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        for process in self._running:
            self.cpu_s += self._last_words(process)
        self._running.clear()

    def _last_words(self, process: subprocess.Popen[bytes]) -> float:
        assert process.stdout is not None
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        lines = process.stdout.read().split()
        process.stdout.close()
        return float(lines[-1]) if lines and lines[-1] != b"burning" else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.deadlines.antagonist", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--processes", type=int, default=2, help="cores to burn (default 2)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (default 60)")
    parser.add_argument("--memory-mb", type=int, default=0, help="copy a buffer of this size instead of counting")
    options = parser.parse_args()
    try:
        with Antagonist(options.processes, memory_mb=options.memory_mb) as antagonist:
            print(f"burning: processes {', '.join(map(str, antagonist.pids))}", flush=True)
            began_s = time.monotonic()
            with suppress(KeyboardInterrupt):
                time.sleep(options.seconds)
            wall_s = time.monotonic() - began_s
    except NextframeError as error:
        parser.exit(error.exit_code, f"{error}\n")
    print(f"burnt {antagonist.cpu_s:.1f} CPU seconds in {wall_s:.1f} s")


if __name__ == "__main__":
    main()
