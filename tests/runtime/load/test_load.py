"""Claims about load: what shapes cost, that worlds under load stay what they are, and that deadlines still hold."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.core import (
    Action,
    ConfigError,
    FixedClock,
    ManualClock,
    MonotonicClock,
    TickPlan,
    TickResult,
    World,
)
from nextframe.runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor, TraceGovernor
from nextframe.runtime.load.world import LoadedWorld, burner, parse_load
from nextframe.runtime.loop import Loop
from nextframe.runtime.tick.record import TickRecord
from nextframe.worlds.toy.world import ToyWorld
from tests.contracts.world_contract import WorldContract
from tests.support.doubles import IDLE, MS, PERIOD_NS, Costs, ListDisplay, ListedController, ListObserver, ListRecorder

BASE_NS = {"condition": 1 * MS, "denoise": 6 * MS, "decode": 2 * MS, "commit": 1 * MS}
TEXTS = (
    "steady:ms=5",
    "step:ms=15,from=5,to=15",
    "ramp:ms=20,from=0,to=30",
    "burst:ms=30,every=2,for=0.2",
    "noisy:ms=10,seed=1",
    "gc:ms=40,every=3",
    "scale:x=3,from=5,to=65",
)


def costs(text: str, times_s: list[float], **more: Any) -> list[float]:
    shape = parse_load(text)
    return [shape.cost_ms(time_s, tick, **more) for tick, time_s in enumerate(times_s)]


def loaded(text: str, base_ns: Mapping[str, int] = BASE_NS) -> tuple[LoadedWorld, ManualClock]:
    clock = ManualClock()
    world = LoadedWorld(ToyWorld(clock, Costs(clock, lambda tick: base_ns)), parse_load(text), clock)
    world.reset(0)
    return world, clock


def tick(world: LoadedWorld, plan: TickPlan) -> TickResult:
    result = world.advance(IDLE, plan)
    result.commit()
    return result


# --- shapes --------------------------------------------------------------------------------------------------------


def test_a_steady_load_is_always_the_same() -> None:
    assert costs("steady:ms=5", [0, 1, 1000]) == [5, 5, 5]


def test_a_step_begins_at_from_and_is_over_at_to() -> None:
    assert costs("step:ms=15,from=5,to=15", [0, 4.99, 5, 14.99, 15]) == [0, 0, 15, 15, 0]
    assert costs("step:ms=15,from=5", [4.9, 1e6]) == [0, 15]


def test_a_ramp_rises_evenly_and_stays_up() -> None:
    assert costs("ramp:ms=20,from=10,to=30", [0, 10, 15, 20, 30, 99]) == [0, 0, 5, 10, 20, 20]


def test_a_burst_comes_at_the_start_of_every_period() -> None:
    assert costs("burst:ms=30,every=2,for=0.2", [0, 0.19, 0.2, 1.99, 2, 2.2]) == [30, 30, 0, 0, 30, 0]
    assert costs("burst:ms=30,every=2,for=0.2,from=1", [0, 1, 1.3, 3.1]) == [0, 30, 0, 30]


def test_a_noisy_neighbour_comes_and_goes_and_never_costs_more_than_said() -> None:
    values = costs("noisy:ms=10,seed=1", [index / 20 for index in range(4000)])
    on = [value for value in values if value]
    assert 0.3 < len(on) / len(values) < 0.6
    assert 3 < min(on) < max(on) <= 10
    assert values != costs("noisy:ms=10,seed=2", [index / 20 for index in range(4000)])


def test_a_collection_strikes_one_tick_of_every_period_however_long_ticks_are() -> None:
    shape = parse_load("gc:ms=40,every=3")
    for tick_s in (0.05, 0.7, 1.1):
        times = [index * tick_s for index in range(int(30 / tick_s))]
        befores = [None, *times[:-1]]
        struck = [
            after
            for before, after in zip(befores, times, strict=True)
            if shape.cost_ms(after, 0, before_s=before, stage="condition")
        ]
        assert len(struck) == times[-1] // 3
        assert all(time_s % 3 < tick_s for time_s in struck)


def test_a_collection_waits_a_whole_period_after_its_from() -> None:
    shape = parse_load("gc:ms=40,every=3,from=10")
    assert shape.cost_ms(10, 200, before_s=9.95, stage="condition") == 0
    assert shape.cost_ms(13, 260, before_s=12.95, stage="condition") == 40


def test_a_scale_adds_what_is_missing_to_x_times_the_cost_alone() -> None:
    assert costs("scale:x=3,from=5,to=65", [0, 5, 64, 65], alone_ms=7.0) == [0, 14, 14, 0]
    assert costs("scale:x=3,base=4", [0], alone_ms=7.0) == [8]


def test_a_scale_makes_every_stage_slower_unless_one_is_named() -> None:
    shape = parse_load("scale:x=2")
    assert [shape.cost_ms(0, 0, stage=stage, alone_ms=3) for stage in BASE_NS] == [3, 3, 3, 3]
    shape = parse_load("scale:x=2,on=decode")
    assert [shape.cost_ms(0, 0, stage=stage, alone_ms=3) for stage in BASE_NS] == [0, 0, 3, 0]


def test_a_recorded_load_is_played_by_its_times_and_then_over(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    file.write_text(json.dumps({"schema": "nextframe.load/1", "every_s": 0.5, "load_ms": [1, 2.5, 0]}))
    assert costs(f"trace:{file}", [0, 0.4, 0.5, 1.2, 1.5]) == [1, 1, 2.5, 0, 0]
    assert costs(f"trace:{file},from=1,on=decode", [0, 1, 1.5], stage="decode") == [0, 1, 2.5]


def test_shapes_joined_with_plus_add_up() -> None:
    assert costs("steady:ms=5+step:ms=10,from=1+steady:ms=7,on=decode", [0, 1]) == [5, 15]
    assert costs("steady:ms=5+steady:ms=7,on=decode", [0], stage="decode") == [7]


@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1e5), st.integers(0, 1 << 40)), min_size=2, max_size=8))
def test_a_cost_depends_on_the_moment_alone(text: str, moments: list[tuple[float, int]]) -> None:
    shape, again = parse_load(text), parse_load(text)
    forward = [shape.cost_ms(time_s, index) for time_s, index in moments]
    backward = [again.cost_ms(time_s, index) for time_s, index in reversed(moments)]
    assert forward == backward[::-1]
    assert min(forward) >= 0


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
def test_a_shape_remembers_how_it_was_written(text: str) -> None:
    assert parse_load(f" {text} ").text == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected KIND:key=value"),
        ("steady", "expected steady: and its keys, such as steady:ms=5"),
        ("burts:ms=5", "unknown kind 'burts', did you mean 'burst'"),
        ("steady:ms=5+burts:ms=5", "'burts:ms=5'.*did you mean 'burst'"),
        ("burst:ms=5,evry=2,for=1", "unknown key 'evry'; did you mean 'every'"),
        ("steady:mss=5", "unknown key 'mss'; did you mean 'ms'"),
        ("steady:", "ms= is missing"),
        ("steady:ms", "expected key=value, got 'ms'"),
        ("steady:ms=5,ms=6", "ms= is given twice"),
        ("steady:ms=fast", "ms: expected a number, at least 0, got 'fast'"),
        ("steady:ms=-1", "ms: expected a number, at least 0, got -1"),
        ("steady:ms=nan", "ms: expected a number"),
        ("steady:ms=inf", "ms: expected a number"),
        ("steady:ms=5,on=denois", "unknown stage 'denois'; did you mean 'denoise'"),
        ("step:ms=5", "from= is missing"),
        ("step:ms=5,from=2,to=2", "to: expected more than from=2 s, got 2"),
        ("ramp:ms=5,from=3,to=2", "to: expected more than from=3 s, got 2"),
        ("ramp:ms=5", "to= is missing"),
        ("burst:ms=5,every=0,for=1", "every: expected a number, more than 0"),
        ("burst:ms=5,every=1,for=2", "for: expected at most every=1 s, got 2"),
        ("noisy:ms=5,seed=0.5", "seed: expected a whole number"),
        ("gc:ms=5,every=1,on=denoise", "unknown stage 'denoise'"),
        ("scale:x=0.5", "x: expected a number, at least 1"),
        ("trace:", "cannot be read"),
        ("trace:/nowhere/load.json", "cannot be read"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_load(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "expected a JSON file"),
        ('{"schema": "nextframe.load/2"}', "expected a JSON file"),
        ('{"schema": "nextframe.load/1", "load_ms": [1]}', "every_s: expected seconds"),
        ('{"schema": "nextframe.load/1", "every_s": 0, "load_ms": [1]}', "every_s: expected seconds"),
        ('{"schema": "nextframe.load/1", "every_s": 1}', "load_ms: expected a list"),
        ('{"schema": "nextframe.load/1", "every_s": 1, "load_ms": []}', "load_ms: expected a list"),
        ('{"schema": "nextframe.load/1", "every_s": 1, "load_ms": [1, -2]}', r"load_ms\[1\]: expected a number"),
        ('{"schema": "nextframe.load/1", "every_s": 1, "load_ms": [NaN]}', r"load_ms\[0\]: expected a number"),
        ('{"schema": "nextframe.load/1", "every_s": 1, "load_ms": [true]}', r"load_ms\[0\]: expected a number"),
        ('{"schema": "nextframe.load/1", "every_s": 1, "load_ms": [1' + "0" * 400 + "]}", r"load_ms\[0\]: expected"),
    ],
)
def test_a_file_that_is_no_recorded_load_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "load.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        parse_load(f"trace:{file}")


@settings(max_examples=300)
@given(st.text(alphabet="abcegmnoprst:=,+0159.-", max_size=30))
def test_any_text_is_a_load_or_a_clear_error(text: str) -> None:
    try:
        outcome = parse_load(text).text
    except ConfigError as error:
        outcome = str(error)
    assert outcome == text.strip() or outcome.startswith("load ")


# --- the world under load ------------------------------------------------------------------------------------------


class TestLoadedWorldContract(WorldContract):
    """All that every world promises."""

    def make_world(self) -> World:
        return loaded("+".join(TEXTS))[0]


def test_a_loaded_world_is_a_world_and_says_it_is_the_other() -> None:
    world, _ = loaded("steady:ms=5")
    assert isinstance(world, World)
    assert world.info.name == "toy"


def test_load_is_paid_by_the_denoise_step() -> None:
    world, clock = loaded("steady:ms=5")
    result = tick(world, TickPlan(4, 0))
    assert result.step_ns == (11 * MS,) * 4
    assert result.stage_ns == {"condition": 1 * MS, "denoise": 44 * MS, "decode": 2 * MS}
    assert world.load_ms == 20
    assert clock.now_ns() == 48 * MS, "with the commit's own millisecond"


def test_a_tick_cut_short_does_not_pay_for_steps_it_never_took() -> None:
    world, clock = loaded("steady:ms=5")
    result = tick(world, TickPlan(4, 0, gate=lambda steps_done: steps_done < 2))
    assert (result.steps_applied, result.step_ns) == (2, (11 * MS,) * 2)
    assert world.load_ms == 10
    assert clock.now_ns() == (1 + 22 + 2 + 1) * MS


def test_the_gate_sees_the_load_of_the_steps_before_it() -> None:
    world, clock = loaded("steady:ms=5")
    seen_ns: dict[int, int] = {}

    def gate(steps_done: int) -> bool:
        seen_ns[steps_done] = clock.now_ns()
        return True

    tick(world, TickPlan(4, 0, gate=gate))
    assert seen_ns == {1: (1 + 11) * MS, 2: (1 + 22) * MS}


@pytest.mark.parametrize("stage", ["condition", "decode", "commit"])
def test_load_on_another_stage_is_paid_once_a_tick_and_shown_there(stage: str) -> None:
    world, clock = loaded(f"steady:ms=5,on={stage}")
    result = tick(world, TickPlan(4, 0))
    assert world.load_ms == 5
    assert clock.now_ns() == (1 + 24 + 2 + 1 + 5) * MS
    expected = {"condition": 1 * MS, "denoise": 24 * MS, "decode": 2 * MS}
    if stage != "commit":
        expected[stage] += 5 * MS
    assert result.stage_ns == expected


def test_load_on_the_commit_comes_after_the_picture() -> None:
    world, clock = loaded("steady:ms=5,on=commit")
    result = world.advance(IDLE, TickPlan(1, 0))
    assert (clock.now_ns(), world.load_ms) == (9 * MS, 0)
    result.commit()
    assert (clock.now_ns(), world.load_ms) == (15 * MS, 5)


def test_stage_times_add_up_to_the_time_of_the_tick_under_any_load() -> None:
    world, clock = loaded("+".join([*TEXTS, "steady:ms=2,on=decode", "steady:ms=3,on=condition"]))
    for steps in (1, 2, 4) * 100:
        began_ns = clock.now_ns()
        result = world.advance(IDLE, TickPlan(steps, 0, gate=lambda done, began_ns=began_ns: done < 2))
        assert sum(result.stage_ns.values()) == clock.now_ns() - began_ns
        assert sum(result.step_ns) == result.stage_ns["denoise"]
        result.commit()


def test_time_in_a_shape_is_the_clocks_since_the_first_tick() -> None:
    world, clock = loaded("step:ms=5,from=2")
    clock.advance_ns(5_000 * MS)
    tick(world, TickPlan(1, 0))
    assert world.load_ms == 0
    clock.advance_ns(2_000 * MS)
    world.reset(1)
    tick(world, TickPlan(1, 0))
    assert world.load_ms == 5, "a reset of the world does not stop what comes from outside"


def test_a_scaled_world_costs_x_times_what_it_costs_alone() -> None:
    world, clock = loaded("scale:x=3,from=1")
    tick(world, TickPlan(4, 0))
    assert clock.now_ns() == 28 * MS
    clock.sleep_until(1_000 * MS)
    for _ in range(20):
        began_ns = clock.now_ns()
        tick(world, TickPlan(4, 0))
        assert clock.now_ns() - began_ns == 3 * 28 * MS


def test_a_world_that_never_asks_the_gate_pays_all_the_same() -> None:
    class Deaf(ToyWorld):
        def advance(self, action: Action, plan: TickPlan) -> TickResult:
            return super().advance(action, TickPlan(plan.denoise_steps, plan.deadline_ns))

    clock = ManualClock()
    world = LoadedWorld(Deaf(clock), parse_load("steady:ms=5"), clock)
    result = tick(world, TickPlan(4, 0))
    assert (result.stage_ns["denoise"], world.load_ms) == (20 * MS, 20)


def test_warm_up_runs_without_load() -> None:
    world, clock = loaded("steady:ms=5", {})
    world.warm_up()
    assert clock.now_ns() == 0


def test_a_collection_is_a_real_one_that_takes_as_long_as_said() -> None:
    seen: list[tuple[str, int]] = []
    world, clock = loaded("gc:ms=40,every=3")

    def watch(phase: str, info: Mapping[str, int]) -> None:
        seen.append((phase, clock.now_ns()))

    tick(world, TickPlan(1, 0))
    clock.sleep_until(3_000 * MS)
    hooks = list(gc.callbacks)
    gc.callbacks.append(watch)
    try:
        result = tick(world, TickPlan(1, 0))
    finally:
        gc.callbacks.remove(watch)
    assert result.stage_ns["condition"] == 41 * MS
    assert ("start", 3_000 * MS) in seen
    assert ("stop", 3_040 * MS) in seen
    assert gc.callbacks == hooks, "its hook is gone again"


# --- clocks --------------------------------------------------------------------------------------------------------


def test_a_clock_on_which_work_takes_no_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="use --clock real"):
        LoadedWorld(ToyWorld(FixedClock()), parse_load("steady:ms=5"), FixedClock())


def test_on_a_real_clock_the_load_takes_at_least_its_time() -> None:
    clock = MonotonicClock()
    burn = burner(clock)
    began_ns = clock.now_ns()
    spent_ns = burn(3 * MS)
    assert 3 * MS <= spent_ns <= clock.now_ns() - began_ns
    assert burn(0) == 0


# --- under the loop ------------------------------------------------------------------------------------------------


class Played:
    """A session of a loaded toy world on a manual clock."""

    def __init__(self, load: str | None, governor: Any, ticks: int, *, actions: tuple[Action, ...] = ()) -> None:
        clock = ManualClock()
        toy = ToyWorld(clock, Costs(clock, lambda tick: BASE_NS))
        self.world = toy if load is None else LoadedWorld(toy, parse_load(load), clock)
        self.world.reset(0)
        self.display, self.recorder, observer = ListDisplay(clock), ListRecorder(), ListObserver()
        loop = Loop(
            self.world,
            ListedController(clock, actions),
            self.display,
            governor(clock),
            clock,
            tick_period_ns=Fraction(PERIOD_NS),
            deadline_ns=PERIOD_NS,
            observer=observer,
            recorder=self.recorder,
            checksum_every=1,
        )
        loop.run(ticks)
        self.records: list[TickRecord] = observer.records


def adaptive(clock: ManualClock) -> AdaptiveGovernor:
    return AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=PERIOD_NS, tick_period_ns=PERIOD_NS)


DRIVE = tuple(Action(axes={"steer": (7 * index) % 255 - 127, "throttle": 90}) for index in range(60))


def test_at_fixed_quality_load_changes_no_frame_and_no_checksum() -> None:
    heavy = "noisy:ms=30,seed=3+gc:ms=60,every=1+steady:ms=4,on=commit"
    alone = Played(None, lambda clock: FixedGovernor(4), 60, actions=DRIVE)
    under = Played(heavy, lambda clock: FixedGovernor(4), 60, actions=DRIVE)
    assert any(record.missed for record in under.records), "the load must be felt"
    assert under.recorder.checksums == alone.recorder.checksums
    assert len(under.display.frames) == len(alone.display.frames)
    assert all((a == b).all() for a, b in zip(under.display.frames, alone.display.frames, strict=True))


def test_steps_shed_under_load_played_back_without_load_give_the_same_checksums() -> None:
    under = Played("noisy:ms=30,seed=3", adaptive, 60, actions=DRIVE)
    assert len(set(under.recorder.steps)) > 1
    back = Played(None, lambda clock: TraceGovernor(under.recorder.steps), 60, actions=DRIVE)
    assert back.recorder.checksums == under.recorder.checksums


def test_the_check_of_checksums_notices_another_quality() -> None:
    two, four = (Played(None, lambda clock, k=k: FixedGovernor(k), 10, actions=DRIVE) for k in (2, 4))
    assert two.recorder.checksums != four.recorder.checksums


def test_a_step_overload_is_left_within_two_ticks() -> None:
    records = Played("step:ms=12,from=2", adaptive, 100).records
    assert records[39].steps_applied == 4
    struck = next(index for index, record in enumerate(records) if max(record.step_ns) > BASE_NS["denoise"])
    assert not any(record.missed for record in records[struck + 2 :])


def test_the_records_stages_fill_the_tick_under_load() -> None:
    for record in Played("noisy:ms=20,seed=1+steady:ms=3,on=commit", adaptive, 200).records:
        assert sum(record.stage_ns.values()) == record.commit_end_ns - record.poll_ns
