"""Playing with time in a live session: rewind while a key is held, quick-save and quick-load, branches side by side.

What the player asks for is carried out on the loop's thread, between two ticks: this is the loop's interlude and stands
before its recorder. docs/time.md tells how it behaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import Frame, NextframeError, PlayedTick, World
from ..governor.state import governor_state, restore_governor
from ..loop import Governor, Recorder, Turn
from .branches import Branch, Branches, ab_frames
from .line import Timeline, TimelineError, TimelineRecorder
from .rewind import Rewinder
from .save_format import SavedState
from .saves import load_slot, save_slot, saved_state

LAST_PICTURE_FRAMES = 20
"""The split view holds its last picture this long before play goes on."""


@dataclass(frozen=True)
class TimeSettings:
    """`saves`: the folder of save slots. `seed`: of the session, for resets that name none."""

    saves: Path
    seed: int = 0
    slot: str = "quick"


class TimeMachine:
    """The loop's interlude and a recorder before the session's own.

    `say`: tells the player. `broken`: called on the loop's thread when the line of ticks breaks (a rewind, a load) with
    the tick that comes next, before which the world then stands: what appends cannot go on as it was. `shown`: told of
    frames that no tick made. `governor`: saved with the world and loaded with it; a rewind leaves it alone, since it
    knows the machine and not the world. Requests may come from any thread.
    """

    def __init__(
        self,
        world: World,
        recorder: Recorder,
        settings: TimeSettings,
        *,
        say: Callable[[str], None],
        broken: Callable[[int], None] = lambda tick: None,
        shown: Callable[[int], None] = lambda frames: None,
        governor: Governor | None = None,
    ) -> None:
        self._world, self._recorder, self._settings, self._governor = world, recorder, settings, governor
        self._say, self._broken, self._tell_shown = say, broken, shown
        self._lock = threading.Lock()
        self._rewinding = self._split_asked = False
        self._save_slot: str | None = None
        self._load: SavedState | None = None
        self._timeline, self._branches = Timeline(), Branches()
        self._notes = TimelineRecorder(self._timeline, world)
        self._rewinder: Rewinder | None = None
        self._showing: Generator[Frame, None, None] | None = None
        self._begun = False
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saves")
        self._saving: list[Future[None]] = []

    # --- asked by the player, from any thread ---------------------------------------------------------------------

    def hold_rewind(self, held: bool) -> None:
        """Go back while held; play on from there once let go."""
        with self._lock:
            self._rewinding = held

    def request_save(self, slot: str | None = None) -> None:
        """Save after the tick that is running."""
        with self._lock:
            self._save_slot = slot or self._settings.slot

    def request_load(self, slot: str | None = None) -> None:
        """Go on from a slot. Read and checked here, so a damaged one is said and nothing changes."""
        try:
            state = load_slot(self._settings.saves, slot or self._settings.slot, self._world.info)
        except NextframeError as error:
            self._say(str(error))
            return
        self.load(state)

    def load(self, state: SavedState) -> None:
        """Go on from a state of this world."""
        with self._lock:
            self._load = state

    def request_split(self) -> None:
        """Show both branches of the last rewind side by side, or go back to playing."""
        with self._lock:
            self._split_asked = True

    def wait_for_saves(self) -> None:
        """Until everything asked for is on disk."""
        for saving in list(self._saving):
            saving.result()

    # --- the loop's thread: a recorder ----------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        return self._recorder.problem

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self._notes.record_tick(tick, played)
        if self._branches.split_tick is not None:
            self._branches.note(tick, played)
        self._recorder.record_tick(tick, played)

    def close(self) -> None:
        self._disk.shutdown()
        self._recorder.close()

    # --- the loop's thread: an interlude --------------------------------------------------------------------------

    def turn(self, next_tick: int) -> Turn | None:
        if not self._begun:
            self._timeline.begin(next_tick, self._world.snapshot())
            self._begun = True
        try:
            return self._obey(next_tick)
        except TimelineError as error:
            self._say(str(error))
            return self._give_up(next_tick)

    def _obey(self, next_tick: int) -> Turn | None:
        with self._lock:
            rewinding, split, self._split_asked = self._rewinding, self._split_asked, False
            waiting = self._save_slot is not None or self._load is not None
        if self._showing is not None or split:
            return self._show_branches(next_tick, leave=split or rewinding or waiting)
        if rewinding and not waiting:
            return self._step_back(next_tick)
        if self._rewinder is not None:
            return self._land()
        with self._lock:
            slot, state, self._save_slot, self._load = self._save_slot, self._load, None, None
        if slot is not None:
            self._save(slot, next_tick)
        return None if state is None else self._go_on_from(state)

    def _step_back(self, next_tick: int) -> Turn | None:
        if self._rewinder is None:
            self._rewinder = Rewinder(self._world, self._timeline)
        frame = self._rewinder.step_back()
        if frame is None:
            return None
        behind = next_tick - frame.tick
        seconds = behind / float(self._world.info.tick_hz)
        self._say(f"{seconds:.1f} s back" + (": as far as it goes" if frame.at_end else ""))
        return self._shown([frame.frame], next_tick)

    def _land(self) -> Turn:
        assert self._rewinder is not None
        landing, self._rewinder = self._rewinder.land(), None
        if landing.future:
            self._broken(landing.tick)
            if not self._branches.rewind(landing.tick):
                self._branches.split(landing.tick, self._world.snapshot(), landing.future)
            self._say("play on: the way you came is branch A")
        return Turn([], landing.tick)

    def _give_up(self, next_tick: int) -> Turn | None:
        """Back to the present; the past that cannot be trusted is forgotten."""
        rewinder, self._rewinder, self._showing = self._rewinder, None, None
        if rewinder is not None:
            try:
                rewinder.cancel()
            except TimelineError:  # it was said already; the world is not quite where it was
                self._broken(next_tick)
        self._begun = False
        return None

    def _save(self, slot: str, next_tick: int) -> None:
        state = saved_state(
            self._world, tick=next_tick, seed=self._settings.seed, governor=governor_state(self._governor)
        )
        self._saving = [saving for saving in self._saving if not saving.done()]
        self._saving.append(self._disk.submit(self._write, slot, state))

    def _write(self, slot: str, state: SavedState) -> None:
        try:
            save_slot(self._settings.saves, slot, state)
        except NextframeError as error:
            self._say(str(error))
        else:
            self._say(f"saved: {slot}")

    def _go_on_from(self, state: SavedState) -> Turn:
        self._rewinder = self._showing = None
        self._world.restore(state.snapshot)
        self._timeline.begin(state.tick, self._world.snapshot())
        self._branches = Branches()
        self._broken(state.tick)
        self._say("loaded")
        try:
            restore_governor(self._governor, state.governor)
        except NextframeError as error:
            self._say(str(error))
        return Turn([], state.tick)

    # --- the split view -------------------------------------------------------------------------------------------

    def _show_branches(self, next_tick: int, *, leave: bool) -> Turn | None:
        if leave and self._showing is not None:
            self._showing.close()
            self._showing = None
            return Turn([], next_tick)
        if self._showing is None:
            if self._branches.split_tick is None:
                self._say("no branches yet: hold rewind, then play on differently")
                return None
            self._say("A: the first way, B: the second")
            self._showing = self._both(self._branches.a, self._branches.b)
        frame = next(self._showing, None)
        if frame is None:
            self._showing = None
            return Turn([], next_tick)
        return self._shown([frame], next_tick)

    def _both(self, a: Branch, b: Branch) -> Generator[Frame, None, None]:
        """Frames of the world's own size, A left and B right at half of it; at its end the present is restored."""
        played = ab_frames(a, b, self._world, divider_px=0)  # leaves the world as it was, also when it is cut short
        try:
            last = np.zeros((self._world.info.height_px, self._world.info.width_px, 3), np.uint8)
            for joined in played:
                last = half_size(joined)
                yield last
            for _ in range(LAST_PICTURE_FRAMES):
                yield last
        finally:
            played.close()

    def _shown(self, frames: list[Frame], next_tick: int) -> Turn:
        self._tell_shown(len(frames))
        return Turn(frames, next_tick)


def half_size(joined: Frame) -> Frame:
    """Two frames side by side, `(height, 2 * width, 3)`, into one of `(height, width, 3)`: halved, in the middle."""
    height, width = joined.shape[0], joined.shape[1] // 2
    small = joined[: height // 2 * 2, : width // 2 * 4].astype(np.uint16)
    small = (small[0::2, 0::2] + small[1::2, 0::2] + small[0::2, 1::2] + small[1::2, 1::2] + 2) // 4
    frame = np.zeros((height, width, 3), np.uint8)
    top = (height - small.shape[0]) // 2
    frame[top : top + small.shape[0], : small.shape[1]] = small.astype(np.uint8)
    return frame
