"""Claims about the loop on its own thread. No sleeps: threads meet at joins and events."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nextframe.runtime.core import Action, FixedClock, Frame, ManualClock, TickPlan, TickResult
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.tick.threaded import FrameMailbox, GeneratorThread
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import PERIOD_NS, ListedController, ListRecorder, Session

LEFT = Action(axes={"steer": -90, "throttle": 120})
ACTIONS = [LEFT] * 20 + [Action(reset=True)] + [LEFT] * 19


def frame(level: int) -> Frame:
    return np.full((48, 64, 3), level, np.uint8)


def mailbox() -> tuple[FrameMailbox, SessionControls]:
    controls = SessionControls()
    return FrameMailbox(ManualClock(), controls), controls


def test_the_newest_frame_wins_and_is_taken_once() -> None:
    box, _ = mailbox()
    box.present(frame(1))
    box.present(frame(2))
    taken = box.take(0)
    assert taken is not None
    assert (taken[0][0, 0, 0], taken[1]) == (2, 1)
    assert box.take(0) is None
    assert box.replaced == 1


def test_a_world_may_reuse_its_frame_after_presenting_it() -> None:
    box, _ = mailbox()
    reused = frame(1)
    box.present(reused)
    reused[:] = 9
    taken = box.take(0)
    assert taken is not None
    assert taken[0][0, 0, 0] == 1


def test_a_frame_made_before_a_reset_is_never_shown() -> None:
    box, controls = mailbox()
    box.present(frame(1))
    controls.request_reset()
    assert box.take(controls.generation) is None
    box.present(frame(2))  # from the tick that was running when the reset was asked for
    assert box.take(controls.generation) is None
    assert controls.take_reset() is not None
    box.present(frame(3))
    assert box.take(controls.generation) is not None


def test_without_a_reset_the_same_frames_are_shown() -> None:
    box, controls = mailbox()
    box.present(frame(1))
    assert box.take(controls.generation) is not None


def threaded_session(world: ToyWorld) -> tuple[Loop, ListRecorder]:
    clock, controls, recorder = FixedClock(), SessionControls(), ListRecorder()
    loop = Loop(
        world,
        ListedController(clock, ACTIONS),
        FrameMailbox(clock, controls),
        FixedGovernor(2),
        clock,
        tick_period_ns=PERIOD_NS,
        deadline_ns=PERIOD_NS,
        recorder=recorder,
        controls=controls,
        checksum_every=1,
    )
    return loop, recorder


def test_the_plain_loop_and_the_threaded_loop_give_the_same_checksums() -> None:
    plain = Session(actions=ACTIONS)
    plain.loop.run(40)
    loop, recorder = threaded_session(ToyWorld(FixedClock()))
    generator = GeneratorThread(loop)
    generator.start(40)
    generator.join(timeout_s=30)
    assert len(plain.recorder.checksums) == 40
    assert recorder.checksums == plain.recorder.checksums


class SignallingWorld(ToyWorld):
    """Says when a tick has begun; raises on the tick it is told to."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(FixedClock())
        self.begun = threading.Event()
        self._calls, self._fails_at = 0, fails_at

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self._calls += 1
        if self._calls - 1 == self._fails_at:
            raise RuntimeError("the device is gone")
        self.begun.set()
        return super().advance(action, plan)


def test_leaving_the_window_stops_the_generator() -> None:
    world = SignallingWorld()
    loop, _ = threaded_session(world)
    with GeneratorThread(loop) as generator:
        assert world.begun.wait(timeout=30)
        assert generator.running
    assert not generator.running


def test_an_error_on_the_generator_thread_comes_out_in_the_window_thread() -> None:
    loop, _ = threaded_session(SignallingWorld(fails_at=3))
    generator = GeneratorThread(loop)
    generator.start()
    with pytest.raises(RuntimeError, match="the device is gone"):
        generator.join(timeout_s=30)
    with pytest.raises(RuntimeError, match="the device is gone"):
        generator.check()


def test_the_windows_own_error_is_not_hidden_by_the_generator() -> None:
    loop, _ = threaded_session(SignallingWorld())
    with pytest.raises(KeyError, match="window"), GeneratorThread(loop):
        raise KeyError("window")
    assert loop.controls.stopping
