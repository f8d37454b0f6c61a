"""The process that stage processes are forked from: it has loaded torch and does nothing but fork.

    python -m nextframe.model.stages.process.fork_server_main PARENT CHILD

Its input is a Unix socket; it does not outlive the process PARENT. CHILD is the module that it loads, and whose `main`
each child calls. Loading torch takes seconds and a picture is held meanwhile; a fork takes milliseconds, and shares
what was loaded. So a process comes back as soon after the fifth death as after the first. It has one thread and has not
used torch when it forks: nothing that a fork would tear apart.

It answers one line with one line. `fork`, with three file descriptors for the child's input, output and errors: the
child's process id. `poll PID`: the exit code as `subprocess` gives it, or `None` while it lives; a child that has ended
is kept until it is asked for, so no id is ever another's. On Linux its children end with it, and it with its parent.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module

from .spec import LOADED

FORK, POLL = b"fork", b"poll"
DESCRIPTORS = 3
MAX_LINE = 64
_PR_SET_PDEATHSIG = 1


def end_with_the_parent(parent: int) -> bool:
    """Linux ends this process with the thread that started it, even while it is stopped and cannot see its input.

    False: that parent is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def serve(asked: socket.socket, child: Callable[[], int]) -> int:
    """Until the front is gone; the exit code. `child`: all that a child does; it returns from here too."""
    own_pid = os.getpid()
    while True:
        line, given, _, _ = socket.recv_fds(asked, MAX_LINE, DESCRIPTORS)
        word, _, rest = line.partition(b" ")
        if word == POLL:
            asked.sendall(f"{_exit_code(int(rest))}\n".encode())
            continue
        if word != FORK:
            return 0
        pid = os.fork()
        if pid == 0:
            asked.close()
            _take_as_its_own(given)
            return child() if end_with_the_parent(own_pid) else 0
        for descriptor in given:
            os.close(descriptor)
        asked.sendall(f"{pid}\n".encode())


def _take_as_its_own(given: list[int]) -> None:
    """These become input, output and errors of this process."""
    for number, descriptor in enumerate(given):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _exit_code(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> int:
    if not end_with_the_parent(int(sys.argv[1])):
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the front alone, which then ends all others
    with socket.socket(fileno=os.dup(0)) as asked:
        child = import_module(sys.argv[2])  # torch, and all that a stage needs
        asked.sendall(f"{LOADED}\n".encode())
        return serve(asked, child.main)


if __name__ == "__main__":
    sys.exit(main())
