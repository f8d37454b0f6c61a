"""Claims about load on a world that ticks in pieces: every piece pays, once, whether it is made ahead or in time."""

from __future__ import annotations

import pytest

from nextframe.runtime.ahead.loaded import SteppedLoadedWorld, loaded
from nextframe.runtime.ahead.world import AheadWorld, StepwiseWorld
from nextframe.runtime.core import Action, ManualClock, TickPlan, World, always_open
from nextframe.runtime.load.world import LoadedWorld, parse_load
from nextframe.runtime.session.parts.ahead import AheadPart
from nextframe.runtime.session.parts.load import LoadPart
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import PERIOD_NS
from tests.support.worlds.ahead import AheadSession, SteppedToy, held_inputs

LEFT = Action(axes={"steer": -100})
SHAPES = ("steady:ms=5", "steady:ms=3,on=denoise", "steady:ms=4,on=decode", "steady:ms=4,on=commit")


def stepped(shape: str) -> tuple[SteppedLoadedWorld, ManualClock]:
    clock = ManualClock()
    return SteppedLoadedWorld(SteppedToy(clock), parse_load(shape), clock), clock


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tick_in_pieces_pays_what_a_whole_tick_pays(shape: str) -> None:
    (whole, whole_clock), (pieces, clock) = stepped(shape), stepped(shape)
    for tick in range(6):
        steps = (1, 2, 4)[tick % 3]
        result = whole.advance(LEFT, TickPlan(steps, 0))
        result.commit()
        job = pieces.start(LEFT)
        job.denoise(steps, always_open)
        made = job.result()
        made.commit()
        assert made.stage_ns == result.stage_ns
        assert made.step_ns == result.step_ns
        assert clock.now_ns() == whole_clock.now_ns()
        assert pieces.load_ms == whole.load_ms > 0


def test_work_thrown_away_does_not_make_the_ticks_of_a_shape_go_faster() -> None:
    world, clock = stepped("steady:ms=2")
    ahead = AheadWorld(world, clock)
    outcomes = []
    for tick in range(12):
        ahead.advance(LEFT if tick % 2 else Action(), TickPlan(2, 0)).commit()
        outcomes.append(ahead.guess().outcome)
        ahead.prepare(clock.now_ns() + PERIOD_NS)
    assert outcomes == ["none", *["miss"] * 11]
    assert world._tick == 12, "one for each tick, from 0, and the one begun ahead"


def test_load_changes_no_state_of_ticks_made_ahead() -> None:
    actions, found = held_inputs(80, seed=2), []
    for shape in (None, parse_load("steady:ms=3,on=denoise")):
        clock = ManualClock()
        parts = [*([LoadPart(shape, clock, stepwise=True)] if shape else []), AheadPart(clock)]
        world: World = SteppedToy(clock)
        for part in parts:
            world = part.wrap(world)
        session = AheadSession(world, clock, actions, ahead=parts[-1].ahead).run(len(actions))
        found.append(session.recorder.checksums)
        assert session.outcomes().count("hit") > 40
    assert found[0] == found[1]


def test_only_a_world_that_ticks_in_pieces_is_loaded_piece_by_piece() -> None:
    clock, shape = ManualClock(), parse_load("steady:ms=3")
    assert not isinstance(loaded(ToyWorld(clock), shape, clock, stepwise=True), StepwiseWorld)
    assert isinstance(loaded(SteppedToy(clock), shape, clock, stepwise=True), StepwiseWorld)
    assert type(loaded(SteppedToy(clock), shape, clock, stepwise=False)) is LoadedWorld
