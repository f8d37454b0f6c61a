"""A session and its terminal: Ctrl-C as a wish to stop, and a bar where something takes seconds."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..tick.record import TickRecord

INTERRUPTED = 130
"""The shell's code for a session ended by Ctrl-C: what was asked for was not measured to its end."""
PROGRESS_FROM_S = 2


class OnEveryTick:
    """An observer made of a function."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def observe(self, record: TickRecord) -> None:
        self._function()


STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""Ctrl-C, `kill`, a terminal or connection that was closed, and Ctrl-Break on Windows."""
ALWAYS = frozenset({signal.SIGINT, signal.SIGTERM})


def heeded() -> list[int]:
    """`STOPS`, but the closing of a terminal only where it is not ignored on purpose, as under `nohup`."""
    ignored = {number for number in STOPS if signal.getsignal(number) is signal.SIG_IGN}
    return [number for number in STOPS if number in ALWAYS or number not in ignored]


class Signals:
    """Each of `STOPS` as a wish to stop; the second one stops at once. Only a flag is set in the handler: taking
    a lock there could wait for the very code it interrupted."""

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in heeded():
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Each of `STOPS` raises KeyboardInterrupt, so that what a command began is closed. Main thread only."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(title: str, ticks: int, seconds: float) -> Iterator[Callable[[], None]]:
    """A bar on the terminal; call what it yields once a tick. Silent where stderr is no terminal, or it is short."""
    if seconds < PROGRESS_FROM_S or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task(title, total=ticks)
        yield lambda: progress.advance(task)
