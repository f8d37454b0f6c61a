"""The recordings of a windowed session: begun and ended by a key, gone on with in a next file where time jumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...core import ReplayError, Snapshot
from ...recording.parted import PartedRecording
from ..choices import make_recorder
from ..startup import OpenWorld
from .switched import SwitchedRecorder


class Recordings:
    """`recorder`: what the loop records to. `say`: tells the player something that they have time to read."""

    def __init__(self, opened: OpenWorld, seed: int, recorder: SwitchedRecorder, say: Callable[[str], None]) -> None:
        self._opened, self._seed, self._say = opened, seed, say
        self.recorder = recorder
        self._made: list[PartedRecording] = []

    def start(self, path: Path, *, overwrite: bool) -> None:
        """Record from the first tick on."""
        self.recorder.start(self._to(path, overwrite=overwrite))

    def start_here(self, path: Path, next_tick: Callable[[], int]) -> None:
        """Record from the state after the tick at hand."""
        world = self._opened.world
        self.recorder.start_after_this_tick(lambda: self._to(path, state=world.snapshot(), tick=next_tick()))
        self._say(f"recording from here: {path}")

    def stop(self) -> None:
        lost = self.end()
        paths = ", ".join(str(path) for recording in self._made[-1:] for path in recording.paths)
        self._say(f"recording saved: {paths}" if lost is None else str(lost))

    def go_on_from(self, tick: int) -> None:
        """A recording is one unbroken line of ticks: after a jump it goes on in a next file."""
        if self.recorder.active and self._made:
            self._made[-1].go_on_from(tick)

    def end(self) -> ReplayError | None:
        """Why ticks are missing at its end, if they are: told once everything else is safe."""
        try:
            self.recorder.close()
        except ReplayError as error:
            return error
        return None

    def written(self) -> dict[str, Path]:
        paths = [path for recording in self._made for path in recording.paths]
        return {f"recording_{at}" if at > 1 else "recording": path for at, path in enumerate(paths, start=1)}

    def _to(
        self, path: Path, *, overwrite: bool = False, state: Snapshot | None = None, tick: int = 0
    ) -> PartedRecording:
        """A recording of this session, in as many files as it takes."""
        opened = self._opened
        recording = PartedRecording(
            path,
            opened.world,
            lambda part: make_recorder(
                part.path,
                replace(opened, environment={**opened.environment, **part.notes}),
                self._seed,
                overwrite=part.overwrite,
                initial_snapshot=part.state,
            ),
            say=self._say,
            overwrite=overwrite,
            state=state,
            tick=tick,
        )
        self._made.append(recording)
        return recording
