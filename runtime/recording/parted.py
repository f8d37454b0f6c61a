"""A recording that outlives a jump in time: where the line of ticks breaks, it goes on in a next file.

A recording is one unbroken line of ticks, and may begin
with a state: so after a jump a new one begins with the state that was jumped to, and each part can be played and
verified by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ..core import PlayedTick, ReplayError, Snapshot, World
from ..loop import NullRecorder, Recorder

MAX_PARTS = 10_000


@dataclass(frozen=True)
class PartStart:
    """How a part begins. `state`: the world's, None right after a reset. `overwrite`: a file of that name may go.

    `notes`: for people, which part it is and at which tick of the session it begins.
    """

    path: Path
    state: Snapshot | None
    overwrite: bool
    notes: Mapping[str, int]


MakePart: TypeAlias = Callable[[PartStart], Recorder]


def part_path(path: Path, number: int) -> Path:
    """`drive.nfr`, `drive-2.nfr`, `drive-3.nfr` ..."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


class PartedRecording:
    """A `Recorder` over one file after another. `record_tick` and `go_on_from` belong to the loop's thread.

    `state`: to begin with, None right after a reset; `tick`: of the session, there. The first tick of each part gets a
    checksum, so that a part of a few ticks can be verified too. Earlier parts are closed beside the session: no jump
    waits for a disk.
    """

    def __init__(
        self,
        path: Path,
        world: World,
        make: MakePart,
        *,
        say: Callable[[str], None] = lambda text: None,
        overwrite: bool = False,
        state: Snapshot | None = None,
        tick: int = 0,
    ) -> None:
        self.paths: list[Path] = []
        self._path, self._world, self._make, self._say, self._overwrite = path, world, make, say, overwrite
        self._lock = threading.Lock()
        self._closer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recording parts")
        self._closing: list[Future[None]] = []
        self._closed = False
        self._given_up = False
        self._number, self._ticks = 1, 0
        self._recorder: Recorder = self._begin(path, state, tick)

    @property
    def problem(self) -> str:
        """Why recording has stopped by itself; empty while all is well."""
        return self._recorder.problem

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        with self._lock:
            if self._ticks == 0 and played.checksum is None and not self._closed:
                played = replace(played, checksum=self._world.checksum())
            self._recorder.record_tick(tick, played)
            self._ticks += 1

    def go_on_from(self, tick: int) -> None:
        """The world has jumped and stands before `tick`: what is played from now on goes into a next part.

        A part without ticks is begun again instead. A place that cannot be written to ends the recording, not the
        session.
        """
        with self._lock:
            if self._closed or self._given_up:
                return
            recorder, self._recorder = self._recorder, NullRecorder()
            try:
                if self._ticks == 0:
                    recorder.close()
                    self._recorder = self._begin(self.paths.pop(), self._world.snapshot(), tick, again=True)
                else:
                    self._closing.append(self._closer.submit(recorder.close))
                    self._recorder = self._begin(self._next_path(), self._world.snapshot(), tick)
                    self._say(f"recording goes on in {self.paths[-1]}")
            except (ReplayError, OSError) as error:
                self._given_up = True
                self._say(str(error))

    def close(self) -> None:
        """Finish all parts. May be called twice. Raises the first part's `ReplayError`, once, if ticks are missing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._closing.append(self._closer.submit(self._recorder.close))
            self._closer.shutdown()
            if self._ticks == 0 and len(self.paths) > 1:
                self.paths.pop().unlink(missing_ok=True)
        problems = [part.exception() for part in self._closing]
        for problem in problems:
            if problem is not None:
                raise problem

    def _begin(self, path: Path, state: Snapshot | None, tick: int, *, again: bool = False) -> Recorder:
        notes = {} if state is None else {"part": self._number, "session_tick": tick}
        recorder = self._make(PartStart(path, state, self._overwrite or again, notes))
        self.paths.append(path)
        self._ticks = 0
        return recorder

    def _next_path(self) -> Path:
        """The next name; one that is taken is left alone, unless files may be overwritten."""
        while self._number < MAX_PARTS:
            self._number += 1
            path = part_path(self._path, self._number)
            if self._overwrite or not path.exists():
                return path
        raise ReplayError(f"{self._path}: expected at most {MAX_PARTS} parts; the recording ends here")
