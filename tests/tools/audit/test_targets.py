"""Claims about what the audit can look at: worlds, environments, and processes that speak its protocol."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import IDLE, Action, ActionSpace, ManualClock, NextframeError
from nextframe.tools.audit.targets.contract import Corruptible, TargetError, WhiteBox
from nextframe.tools.audit.targets.local import EnvTarget, WorldTarget
from nextframe.tools.audit.targets.player import Player
from nextframe.tools.audit.targets.process import ProcessTarget
from nextframe.worlds.toy.world import ToyWorld
from tests.support.paths import ROOT
from tests.support.worlds.small import SMALL_WINDOW_TICKS, small_neural

PROTOCOL = ROOT / "docs" / "audit_protocol.md"
SPACE = ActionSpace(buttons=("go",), axes=("turn",))
RED = np.full((6, 8, 3), (255, 0, 0), np.uint8)


def toy() -> WorldTarget:
    return WorldTarget(ToyWorld(ManualClock()), ManualClock())


# --- worlds --------------------------------------------------------------------------------------------------------


def test_a_world_is_a_white_box_and_an_environment_is_not() -> None:
    assert isinstance(toy(), WhiteBox)
    assert isinstance(toy(), Corruptible)
    assert not isinstance(EnvTarget(Env(RED), SPACE), WhiteBox)


def test_a_moment_of_a_world_is_lived_again_bit_for_bit() -> None:
    target = toy()
    target.start(3)
    target.step(Action(axes={"throttle": 127}))
    snapshot = target.snapshot()
    first = [target.step(Action(axes={"steer": 90})).frame for _ in range(4)]
    target.restore(snapshot)
    assert all(np.array_equal(a, target.step(Action(axes={"steer": 90})).frame) for a in first)


def test_a_moment_is_the_same_by_restoring_it_and_by_playing_up_to_it() -> None:
    white, black = Player(toy(), ManualClock()), Player(EnvTarget(ToyEnv(), ToyWorld().info.actions), ManualClock())
    actions = [Action(axes={"throttle": 127})] * 5
    one, other = white.moment(4), black.moment(4)
    black.moment(5)  # another moment in between must not be taken for this one
    assert np.array_equal(one.before, other.before)
    for _ in range(2):
        pairs = zip(one.play(actions).frames, other.play(actions).frames, strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_the_inventory_of_a_world_is_handed_on() -> None:
    assert {part.name for part in toy().inventory()} >= {"trail", "ball"}


def test_one_frame_of_a_rolling_memory_can_be_forgotten() -> None:
    target = WorldTarget(small_neural(), ManualClock())
    target.start(0)
    for _ in range(SMALL_WINDOW_TICKS + 2):
        target.step(IDLE)
    snapshot: Any = target.snapshot()
    changed: Any = target.corrupt(snapshot, 2)
    (before,), (after,) = snapshot["generator"]["memory"]["lanes"], changed["generator"]["memory"]["lanes"]
    different = [index for index, slot in enumerate(before["slots"]) if slot != after["slots"][index]]
    assert len(different) == 1
    assert before["slots"][different[0]][1] == before["next_position"] - 2
    assert after["slots"][different[0]][2] == "gap"
    target.restore(changed)  # a memory with a gap is whole: its own integrity check passes


def test_what_is_not_held_cannot_be_forgotten() -> None:
    target = WorldTarget(small_neural(), ManualClock())
    target.start(0)
    assert target.corrupt(target.snapshot(), 500) is None
    assert toy().corrupt(toy().snapshot(), 1) is None, "a world without rolling memory"


# --- environments ----------------------------------------------------------------------------------------------------


class Env:
    """Answers with whatever it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.closed, self.seen = answer, False, []  # type: ignore[var-annotated]

    def reset(self, seed: int) -> Any:
        return self.answer

    def step(self, action: Any) -> Any:
        self.seen.append(action)
        return self.answer

    def close(self) -> None:
        self.closed = True


class RenderEnv(Env):
    def render(self) -> Any:
        return RED


class ToyEnv:
    """The toy world as another project would wrap it."""

    def __init__(self) -> None:
        self._target = toy()

    def reset(self, seed: int) -> Any:
        return self._target.start(seed).frame

    def step(self, action: Action) -> Any:
        return self._target.step(action).frame


@pytest.mark.parametrize(
    "answer",
    [
        RED,
        (RED, {"info": 1}),
        (RED, 0.0, False, False, {}),
        {"image": RED},
        ({"pixels": RED, "speed": 3},),
        RED.astype(np.float32) / 255,
        RED.astype(np.int64),
    ],
)
def test_an_environment_may_answer_in_any_common_form(answer: Any) -> None:
    target = EnvTarget(Env(answer), SPACE, clock=ManualClock())
    assert np.array_equal(target.start(0).frame, RED)
    assert np.array_equal(target.step(IDLE).frame, RED)


def test_an_environment_that_renders_is_asked_to() -> None:
    assert np.array_equal(EnvTarget(RenderEnv((np.zeros(4), {})), SPACE).start(0).frame, RED)


def test_an_environment_that_ended_holds_its_last_frame() -> None:
    env = Env((RED, 0.0, True, False, {}))
    target = EnvTarget(env, SPACE)
    target.start(0)
    frames = [target.step(IDLE).frame for _ in range(3)]
    assert len(env.seen) == 1
    assert all(np.array_equal(frame, RED) for frame in frames)


def test_an_environment_gets_actions_as_it_wants_them_and_is_closed() -> None:
    env = Env(RED)
    target = EnvTarget(env, SPACE, act=lambda action: int("go" in action.buttons))
    target.step(Action(frozenset({"go"})))
    target.close()
    assert env.seen == [1]
    assert env.closed


def test_an_environment_cannot_change_a_frame_that_it_has_shown() -> None:
    env = Env(RED.copy())
    shown = EnvTarget(env, SPACE).start(0)
    env.answer[:] = 0
    assert np.array_equal(shown.frame, RED)


def test_an_object_without_step_is_refused_with_what_is_missing() -> None:
    with pytest.raises(TargetError, match="step missing"):
        EnvTarget(type("Half", (), {"reset": lambda self: None})(), SPACE)


def test_an_environment_without_pictures_is_refused_with_what_to_do() -> None:
    with pytest.raises(TargetError, match=r"expected a frame .* render"):
        EnvTarget(Env((np.zeros(4), {})), SPACE).start(0)


def test_frames_that_change_their_size_are_refused() -> None:
    env = Env(RED)
    player = Player(EnvTarget(env, SPACE), ManualClock())
    player.start(0)
    env.answer = RED[:4]
    with pytest.raises(TargetError, match="one size"):
        player.step(IDLE)


# --- processes -------------------------------------------------------------------------------------------------------


def wrapper() -> str:
    """The program in the protocol's documentation, as it stands there."""
    (program,) = re.findall(r"```python\n(.*?)```", PROTOCOL.read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(program)


def process(program: str, open_s: float = 60.0) -> ProcessTarget:
    return ProcessTarget([sys.executable, "-c", program], open_s=open_s)


HELLO = r"""
import struct
import sys
import msgpack
def read():
    (size,) = struct.unpack("<I", sys.stdin.buffer.read(4))
    return msgpack.unpackb(sys.stdin.buffer.read(size))
def write(answer, size=None):
    body = answer if isinstance(answer, bytes) else msgpack.packb(answer)
    sys.stdout.buffer.write(struct.pack("<I", len(body) if size is None else size) + body)
    sys.stdout.buffer.flush()
read()
write({"buttons": ["go"]})
read()
"""


def test_the_wrapper_in_the_documentation_works_as_it_stands() -> None:
    target = process(wrapper())
    try:
        assert (target.name, target.tick_hz) == ("square", None)
        assert target.actions == ActionSpace(buttons=("fast",), axes=("right",))
        right = Action(frozenset({"fast"}), {"right": 127})
        runs = []
        for actions in ([right] * 3, [right] * 3, [IDLE] * 3):
            target.start(1)
            runs.append([target.step(action).frame for action in actions])
        assert all(np.array_equal(a, b) for a, b in zip(runs[0], runs[1], strict=True)), "it is repeatable"
        assert not np.array_equal(runs[0][0], runs[2][0]), "a control changes its next frame"
        assert runs[0][0].shape == (48, 64, 3)
    finally:
        target.close()


def test_the_wrapper_is_about_thirty_lines() -> None:
    assert sum(bool(line.strip()) for line in wrapper().splitlines()) <= 36


def test_a_process_is_ended_by_closing_and_closing_twice_is_harmless() -> None:
    target = process(wrapper())
    target.close()
    target.close()
    with pytest.raises((TargetError, ValueError)):
        target.start(0)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('no weights here')", "no weights here"),
        (HELLO + "write({'error': 'no such seed'})", "no such seed"),
        (HELLO + "write(b'', size=2**31)", "at most"),
        (HELLO + "write(b'hello')", "msgpack map"),
        (HELLO + "write([1, 2])", "msgpack map, got list"),
        (HELLO + "write({'width': 4, 'height': 4, 'frame': b'123'})", "got width 4, height 4, frame 3 bytes"),
        (HELLO + "write({'width': -4, 'height': -4, 'frame': bytes(48)})", "width -4"),
        (HELLO + "write({'width': 4, 'height': 4})", "frame NoneType"),
        (HELLO + "import sys; sys.exit()", "ended"),
        ("print('Loading weights', flush=True); import time; time.sleep(60)", "the text 'Loading weights'; stdout"),
        (HELLO + "print('step 1: loss 0.3\\nmore', flush=True); read()", "the text 'step 1: loss 0.3'; stdout"),
        (HELLO + "print('ok', flush=True)", "ended after the text 'ok'; stdout carries the messages"),
        (HELLO + "print('über', flush=True); read()", "the text 'über'; stdout"),
    ],
)
def test_a_process_that_breaks_the_protocol_is_named_with_what_it_did(program: str, message: str) -> None:
    with pytest.raises(TargetError, match=re.escape(message)):
        start_and_close(program)


def start_and_close(program: str) -> None:
    target = process(program)
    try:
        target.start(0)
    finally:
        target.close()


@pytest.mark.parametrize(
    ("hello", "message"),
    [
        ("{'buttons': 'go'}", "buttons to be a list"),
        ("{'axes': [1]}", "axes to be a list"),
        ("{'prompts': ['rain']}", "prompts to map"),
        ("{'tick_hz': -1}", "tick_hz"),
        ("{'name': 7}", "name"),
    ],
)
def test_a_process_that_introduces_itself_wrongly_is_told_what_was_expected(hello: str, message: str) -> None:
    program = HELLO.replace('{"buttons": ["go"]}', hello)
    with pytest.raises(TargetError, match=message):
        process(program)


def test_a_process_that_never_answers_is_not_waited_for_for_ever() -> None:
    with pytest.raises(TargetError, match="in time"):
        process("import sys; sys.stdin.buffer.read()", open_s=0.2)


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(TargetError, match="no-such-program"):
        ProcessTarget("no-such-program --at all")


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(NextframeError, match="got nothing"):
        ProcessTarget("")
