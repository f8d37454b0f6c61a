"""Claims about frame rates, the first frame, breadth, and an audit as a whole. Time is simulated throughout."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from nextframe.runtime.core import Action, ActionSpace, Frame, ManualClock
from nextframe.tools.audit.measure import examine, quiet
from nextframe.tools.audit.questions.evidence import ScriptRun, Source, Sustained
from nextframe.tools.audit.questions.options import AuditOptions
from nextframe.tools.audit.questions.source import judge_gallery, source_test, toneless
from nextframe.tools.audit.questions.sustained import run_script, sustained_test
from nextframe.tools.audit.targets.contract import Shown, Target, TargetError
from nextframe.tools.audit.targets.controls import flips, idle, mashing
from nextframe.tools.audit.targets.local import WorldTarget
from nextframe.tools.lab.audit.references import BatchTarget, InteractiveTarget
from nextframe.tools.lab.audit.traps import DuplicatingTarget, FaceTarget, PausingTarget
from nextframe.worlds.toy.world import ToyWorld
from tests.support.audit_doubles import MS, Deaf, Double, Lamp, NoisyLive, Still, Tape, maker, options, player


def measured(target: Target, clock: ManualClock) -> Sustained:
    return sustained_test(player(target, clock), options(clock), None, quiet)


def script(target: Target, clock: ManualClock, actions: Iterator[Action] | None = None, **given: object) -> ScriptRun:
    return run_script(player(target, clock), "idle", actions or idle(), seed=0, seconds=4.0, **given)  # type: ignore[arg-type]


class Runner(Double):
    """A dot that moves on every tick."""

    def picture(self) -> Frame:
        frame = super().picture()
        frame[4:10, self.tick % 40 : self.tick % 40 + 6] = 250
        return frame


class Hiccup(Runner):
    """Every tenth answer takes 80 ms more."""

    def react(self, action: Action) -> None:
        if self.tick % 10 == 0:
            self.clock.advance_ns(80 * MS)


class Unhurried(Runner):
    tick_hz: float | None = None


# --- rates -----------------------------------------------------------------------------------------------------------


def test_a_target_that_keeps_up_shows_its_own_rate_and_misses_nothing() -> None:
    clock = ManualClock()
    found = measured(InteractiveTarget(maker(clock, cost_ms=30), "live"), clock)
    assert found.fps_interacting == pytest.approx(20)
    assert found.fps_idle == pytest.approx(20)
    assert (found.miss_rate, found.unique_share) == (0, 1)
    assert found.jitter_ms == pytest.approx(0, abs=1)
    json.dumps(found.as_json())


def test_a_target_that_is_too_slow_misses_every_frame_and_is_asked_no_faster_than_it_answers() -> None:
    clock = ManualClock()
    found = measured(InteractiveTarget(maker(clock, cost_ms=80), "slow"), clock)
    assert found.fps_interacting == pytest.approx(12.5)
    assert found.miss_rate == 1


def test_copies_are_no_frames() -> None:
    clock = ManualClock()
    found = measured(DuplicatingTarget(maker(clock)), clock)
    assert found.tick_hz == 60
    assert found.fps_interacting == pytest.approx(20, rel=0.02)
    assert found.unique_share == pytest.approx(1 / 3, rel=0.02)


def test_a_copy_under_another_rounding_is_a_copy() -> None:
    class Rounding(Still):
        def picture(self) -> Frame:
            return (super().picture() + self.tick % 2).astype(np.uint8)

    clock = ManualClock()
    assert script(Rounding(clock), clock).unique_frames == 0


def test_a_copy_under_a_changed_display_is_a_copy() -> None:
    class Display(Still):
        def picture(self) -> Frame:
            frame = super().picture()
            frame[:6, :6] = 100 * (self.tick % 2)
            return frame

    clock = ManualClock()
    overlay = np.zeros((36, 48), dtype=bool)
    overlay[:6, :6] = True
    assert script(Display(clock), clock, overlay=overlay).unique_frames == 0
    assert script(Display(clock), clock).unique_frames > 0, "without leaving it out it would be taken for new"


def test_a_rate_that_holds_only_without_input_is_seen() -> None:
    clock = ManualClock()
    found = measured(PausingTarget(maker(clock), pause_ns=600 * MS), clock)
    assert found.fps_idle == pytest.approx(20)
    assert found.fps_interacting is not None
    assert found.fps_interacting < 2


def test_late_answers_are_misses_and_jitter() -> None:
    clock = ManualClock()
    found = script(Hiccup(clock, cost_ms=10), clock)
    assert found.miss_rate == pytest.approx(0.1, abs=0.02)
    assert found.jitter_ms > 1
    assert script(Runner(clock, cost_ms=10), clock).jitter_ms < 1


def test_a_stop_to_make_the_next_clip_is_the_worst_gap() -> None:
    clock = ManualClock()
    found = script(BatchTarget(maker(clock, cost_ms=20), clip_ticks=40), clock)
    assert found.worst_gap_ms > 700
    assert found.miss_rate is not None
    assert 0 < found.miss_rate < 0.1


def test_a_target_without_a_rate_is_asked_as_fast_as_it_answers_and_misses_nothing() -> None:
    clock = ManualClock()
    found = script(Unhurried(clock, cost_ms=8), clock)
    assert found.fps == pytest.approx(125, rel=0.01)
    assert found.miss_rate is None


def test_a_picture_that_stands_still_is_not_called_a_copy() -> None:
    clock = ManualClock()
    found = script(Still(clock), clock)
    assert found.still
    assert found.fps == pytest.approx(20)
    assert measured(Still(clock), clock).unique_share is None


def test_a_clock_that_stands_still_ends_the_script_and_proves_nothing() -> None:
    clock = ManualClock()
    found = measured(Unhurried(clock, cost_ms=0), clock)
    assert found.fps_interacting is None
    assert found.reason


def test_the_scripts_flip_everything_and_mash_at_random() -> None:
    space = ActionSpace(buttons=("go",), axes=("turn",), prompts={"mood": ("calm", "glad")})
    turning = flips(space)
    first, second, third = (next(turning) for _ in range(3))
    assert first == third != second
    assert first.axes["turn"] == -second.axes["turn"]
    random = mashing(space, np.random.default_rng(0))
    actions = [next(random) for _ in range(30)]
    assert len({(action.buttons, tuple(action.axes.items())) for action in actions}) > 3
    assert sum(action.prompt is not None for action in actions) == 3
    only_prompts = flips(ActionSpace(prompts={"mood": ("calm", "glad")}))
    assert [next(only_prompts).prompt for _ in range(3)] == ["calm", "glad", "calm"]


# --- the first frame -------------------------------------------------------------------------------------------------


class SlowStart(Runner):
    def begin(self) -> None:
        self.clock.advance_ns(300 * MS)


def test_time_to_first_frame_is_counted_from_before_the_target_exists() -> None:
    clock = ManualClock()

    def slow_to_make() -> Target:
        clock.advance_ns(1_200 * MS)
        return SlowStart(clock)

    ttff = examine(slow_to_make, options(clock)).ttff
    assert ttff.as_json() == pytest.approx({"open": 1200, "start": 300, "total": 1500, "again": 300})


# --- breadth ---------------------------------------------------------------------------------------------------------


def breadth(target: Target, clock: ManualClock, seed: int = 0) -> Source:
    return source_test(player(target, clock), options(clock, seed), quiet)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_face_is_narrow_and_a_table_to_drive_on_is_broad(seed: int) -> None:
    clock = ManualClock()
    assert breadth(FaceTarget(clock), clock, seed).breadth == "narrow"
    assert breadth(InteractiveTarget(maker(clock), "live"), clock, seed).breadth == "broad"


def test_noise_over_one_picture_is_not_broad() -> None:
    class Snow(Still):
        def picture(self) -> Frame:
            noise = np.random.default_rng(self.tick + 1000 * self.seed).integers(-8, 9, (36, 48, 3))
            return (super().picture() + noise).astype(np.uint8)

    clock = ManualClock()
    assert breadth(Snow(clock), clock).breadth == "narrow"
    assert breadth(NoisyLive(clock), clock).breadth == "broad", "noise does not hide breadth either"


def test_another_light_is_no_other_place() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(40, 120, (24, 32, 3)).astype(np.float32)
    frames = [(place * gain + lift).astype(np.uint8) for gain in (0.6, 1.0, 1.4) for lift in (0, 20, 40, 60)]
    assert toneless(frames).std(axis=0).max() < 6
    assert judge_gallery(frames).breadth == "narrow"


def test_too_few_frames_say_nothing_about_breadth() -> None:
    found = judge_gallery([np.zeros((8, 8, 3), np.uint8)] * 3)
    assert found.breadth is None
    assert "got 3" in found.reason


# --- an audit as a whole ---------------------------------------------------------------------------------------------


def test_an_audit_answers_everything_and_its_json_is_plain() -> None:
    clock = ManualClock()
    heard: list[str] = []
    evidence = examine(lambda: WorldTarget(ToyWorld(clock), clock), options(clock), heard.append)
    document = json.loads(json.dumps(evidence.as_json()))
    assert document["next_frame"]["first_changed_frame"] == 1
    assert document["sustained"].keys() >= {"fps_interacting", "fps_idle", "miss_rate", "jitter_ms"}
    assert document["state"].keys() >= {"inventory", "effective_memory_ticks", "survives_prompt_change"}
    assert document["source"]["breadth"] == "broad"
    assert {part["name"] for part in document["state"]["inventory"]} >= {"ball", "trail"}
    assert evidence.pictures is not None
    assert evidence.gallery
    assert any("frame rate" in line for line in heard)


def test_a_short_audit_of_a_world_asks_for_fewer_ticks_than_a_minute_of_10_ms_ones() -> None:
    clock = ManualClock()
    evidence = examine(lambda: WorldTarget(ToyWorld(clock), clock), options(clock))
    assert evidence.ticks < 4_000


def test_an_audit_says_the_same_twice() -> None:
    def once() -> str:
        clock = ManualClock()
        return json.dumps(examine(lambda: InteractiveTarget(maker(clock), "live"), options(clock)).as_json())

    assert once() == once()


def test_the_target_is_closed_also_when_it_breaks() -> None:
    class Breaking(Lamp):
        def react(self, action: Action) -> None:
            raise TargetError("it broke")

    clock = ManualClock()
    target = Breaking(clock)
    with pytest.raises(TargetError, match="it broke"):
        examine(lambda: target, options(clock))
    assert target.closed


@pytest.mark.parametrize("kind", [Still, Deaf, Lamp])
def test_the_strangest_targets_leave_a_whole_document(kind: type[Double]) -> None:
    clock = ManualClock()
    document = examine(lambda: kind(clock), options(clock)).as_json()
    json.dumps(document, allow_nan=False)
    assert document["ticks"] > 0


def test_the_long_audit_is_longer_in_every_way() -> None:
    quick, full = AuditOptions(), AuditOptions(quick=False)
    for name in ("moments", "most_controls", "script_s", "memory_ticks", "flips"):
        assert getattr(full, name) > getattr(quick, name)


def test_an_audit_finds_how_much_tape_there_is() -> None:
    clock = ManualClock()
    evidence = examine(lambda: Tape(clock, 16), options(clock))
    assert evidence.memory.effective_memory_ticks == 16
    assert evidence.memory.survives_prompt_change is True


def test_frames_that_are_not_pictures_are_refused() -> None:
    class Grey(Still):
        def picture(self) -> Frame:
            return super().picture()[..., 0]

    clock = ManualClock()
    with pytest.raises(TargetError, match="uint8"):
        examine(lambda: Grey(clock), options(clock))
    assert isinstance(Shown(np.zeros((2, 2, 3), np.uint8), 0).at_ns, int)
