"""A recorder that is switched on and off while a session plays."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...core import Action, PlayedTick
from ...loop import NullRecorder, Recorder


class SwitchedRecorder:
    """A recorder that begins and stops when told, in the middle of a session too: then from a snapshot.

    `on_action` hears of every tick's action, recorded or not. Files are written under one lock: the window's thread
    starts and closes, the loop's thread records, and takes the snapshot between two ticks.
    """

    def __init__(self, on_action: Callable[[Action], None]) -> None:
        self._on_action = on_action
        self._lock = threading.Lock()
        self._recorder: Recorder = NullRecorder()
        self._make: Callable[[], Recorder] | None = None
        self.active = False

    @property
    def problem(self) -> str:
        """Why the recording has stopped by itself; empty while all is well."""
        return self._recorder.problem

    def start(self, recorder: Recorder) -> None:
        """Record from the first tick on: the session has just been reset."""
        with self._lock:
            self._recorder, self.active = recorder, True

    def start_after_this_tick(self, make: Callable[[], Recorder]) -> None:
        """`make` is called by the loop's thread after a tick, when the state is whole."""
        with self._lock:
            self._make, self.active = make, True

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self._on_action(played.action)
        with self._lock:
            self._recorder.record_tick(tick, played)
            if self._make is not None:
                self._recorder, self._make = self._make(), None

    def close(self) -> None:
        """Finish the file, if there is one."""
        with self._lock:
            recorder, self._recorder = self._recorder, NullRecorder()
            self.active, self._make = False, None
            recorder.close()
