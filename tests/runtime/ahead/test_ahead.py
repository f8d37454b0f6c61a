"""Claims about ticks begun on guessed input: the same pictures and states, sooner; and a wrong guess costs one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from nextframe.runtime.ahead.counts import GuessCounts
from nextframe.runtime.ahead.world import AheadWorld, hold
from nextframe.runtime.core import Action, ConfigError, FixedClock, ManualClock, TickPlan
from nextframe.runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor, TraceGovernor
from nextframe.runtime.governor.cost import CostModel, sample_of
from nextframe.runtime.loop import Governor
from nextframe.runtime.tick.guess import NullAhead
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import MS, PERIOD_NS, Costs
from tests.support.worlds.ahead import AheadSession, CarelessAhead, SteppedToy, held_inputs
from tests.support.worlds.small import small_neural

LEFT, RIGHT = Action(axes={"steer": -100}), Action(axes={"steer": 100})
COSTS = {"condition": 1 * MS, "denoise": 4 * MS, "decode": 3 * MS, "commit": 2 * MS}


def serial(actions: list[Action], governor: Governor | None = None, *, checksum_every: int = 1) -> AheadSession:
    clock = ManualClock()
    return AheadSession(SteppedToy(clock), clock, actions, governor=governor, checksum_every=checksum_every).run(
        len(actions)
    )


def begun(
    actions: list[Action],
    by_tick: Callable[[int], Mapping[str, int]] = lambda tick: COSTS,
    *,
    kind: type[AheadWorld] = AheadWorld,
    governor: Callable[[ManualClock], Governor] | None = None,
    ceiling: Callable[[], int] | None = None,
    deadline_ns: int = PERIOD_NS,
    checksum_every: int = 1,
) -> AheadSession:
    """A session that begins ticks ahead, at stated costs."""
    clock = ManualClock()
    world = kind(SteppedToy(clock, Costs(clock, by_tick)), clock, ceiling=ceiling)
    made = governor(clock) if governor else FixedGovernor(2)
    session = AheadSession(
        world, clock, actions, ahead=world, governor=made, deadline_ns=deadline_ns, checksum_every=checksum_every
    )
    return session.run(len(actions))


# --- the same world -------------------------------------------------------------------------------------------


def test_a_toy_made_in_pieces_is_the_toy() -> None:
    plain, pieces = ToyWorld(), SteppedToy()
    for tick, action in enumerate(held_inputs(60, seed=3)):
        steps = (1, 2, 4)[tick % 3]
        whole, job = plain.advance(action, TickPlan(steps, 0)), pieces.start(action)
        for _ in range(steps):
            job.denoise(job.steps_done + 1, lambda steps_done: True)
            job.decode()
        made = job.result()
        assert np.array_equal(whole.frames[0], made.frames[0])
        whole.commit()
        made.commit()
        assert plain.checksum() == pieces.checksum()


def test_ten_thousand_random_ticks_show_the_frames_of_a_loop_that_waits() -> None:
    actions = held_inputs(10_000, seed=1)
    levels = np.random.default_rng(2).choice([1, 2, 4], size=len(actions) // 8).repeat(8).tolist()
    waited = serial(actions, TraceGovernor(levels), checksum_every=50)
    ahead = begun(actions, governor=lambda clock: TraceGovernor(levels), checksum_every=50)
    assert ahead.recorder.actions == waited.recorder.actions
    assert ahead.recorder.steps == waited.recorder.steps
    assert ahead.recorder.events == waited.recorder.events
    assert ahead.display.crcs == waited.display.crcs
    assert ahead.recorder.checksums == waited.recorder.checksums
    outcomes = ahead.outcomes()
    assert outcomes.count("hit") > 6_000
    assert outcomes.count("miss") > 1_000


def test_work_used_for_another_action_is_caught_by_the_checksums() -> None:
    actions = held_inputs(60, seed=1)
    assert begun(actions, kind=CarelessAhead).recorder.checksums != serial(actions).recorder.checksums


@pytest.mark.bitexact
def test_a_neural_world_made_ahead_has_the_checksums_of_one_that_waits() -> None:
    actions = [replace(action, prompt="rain" if action.prompt else None) for action in held_inputs(80, seed=5)]
    levels = [(1, 2, 4)[tick // 5 % 3] for tick in range(len(actions))]
    found = []
    for guessing in (False, True):
        clock = ManualClock()
        world = AheadWorld(small_neural(), clock) if guessing else small_neural()
        ahead = world if isinstance(world, AheadWorld) else NullAhead()
        session = AheadSession(world, clock, actions, ahead=ahead, governor=TraceGovernor(levels)).run(len(actions))
        found.append((session.display.crcs, session.recorder.checksums, session.recorder.steps))
        if guessing:
            assert session.outcomes().count("hit") > 30
    assert found[0] == found[1]


def test_what_was_prepared_from_a_state_that_is_gone_is_never_used() -> None:
    """Also when the state was replaced behind the back of the world that prepares."""
    clock = ManualClock()
    inner, plain = small_neural(), small_neural()
    world = AheadWorld(inner, clock)
    plan, before = TickPlan(2, 0), plain.snapshot()
    for one in (world, plain):
        one.advance(LEFT, plan).commit()
    world.prepare(PERIOD_NS)
    inner.restore(before)
    plain.restore(before)
    results = [one.advance(LEFT, plan) for one in (world, plain)]
    assert world.guess().outcome == "miss"
    assert np.array_equal(results[0].frames[0], results[1].frames[0])


def test_a_tick_of_a_state_that_is_gone_cannot_be_finished() -> None:
    clock = ManualClock()
    inner = small_neural()
    world = CarelessAhead(inner, clock)
    before = inner.snapshot()
    world.advance(LEFT, TickPlan(2, 0)).commit()
    world.prepare(PERIOD_NS)
    inner.restore(before)
    with pytest.raises(AssertionError, match="a state that is gone"):
        world.advance(LEFT, TickPlan(2, 0))


@pytest.mark.parametrize("change", ["reset", "restore"])
def test_a_reset_and_a_restore_drop_what_was_prepared(change: str) -> None:
    clock = ManualClock()
    world = AheadWorld(SteppedToy(clock), clock)
    before = world.snapshot()
    world.advance(LEFT, TickPlan(2, 0)).commit()
    world.prepare(PERIOD_NS)
    world.reset(3) if change == "reset" else world.restore(before)
    world.advance(LEFT, TickPlan(2, 0)).commit()
    assert world.guess().outcome == "miss"


def test_nothing_prepared_is_part_of_the_state() -> None:
    clock = ManualClock()
    world = AheadWorld(SteppedToy(clock), clock)
    world.advance(LEFT, TickPlan(2, 0)).commit()
    before = world.checksum()
    world.prepare(PERIOD_NS)
    assert world.checksum() == before
    world.restore(world.snapshot())
    assert world.checksum() == before


# --- sooner ---------------------------------------------------------------------------------------------------


def test_held_input_is_on_the_screen_as_soon_as_it_is_polled() -> None:
    session = begun([LEFT] * 10)
    assert session.outcomes() == ["none"] + ["hit"] * 9
    assert [record.response_ns for record in session.observer.records] == [12 * MS] + [0] * 9


def test_a_wrong_guess_is_no_later_than_a_loop_that_waits() -> None:
    session = begun([LEFT, LEFT, RIGHT, RIGHT])
    assert session.outcomes() == ["none", "hit", "miss", "hit"]
    assert [record.response_ns // MS for record in session.observer.records] == [12, 0, 12, 0]
    assert session.observer.records[2].ahead.wasted_ns == 12 * MS


def test_a_prefix_goes_on_after_the_poll() -> None:
    """Response 12 ms and commit 31 leave 7 ms of the slot: condition and one step fit, a second would not."""
    session = begun([LEFT] * 2, lambda tick: {**COSTS, "commit": 31 * MS})
    second = session.observer.records[1]
    assert second.ahead.made_ns == 5 * MS
    assert second.response_ns == 7 * MS
    assert (second.stage_ns["condition"], second.stage_ns["denoise"], second.stage_ns["decode"]) == (MS, 8 * MS, 3 * MS)


def test_work_stops_before_a_release_it_would_not_be_done_by() -> None:
    session = begun([LEFT, LEFT, RIGHT] * 20, lambda tick: {**COSTS, "commit": 30 * MS})
    assert all(record.poll_ns == record.release_ns for record in session.observer.records)


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_guess_makes_a_tick_later_by_no_more_than_one_piece_of_work(seed: int) -> None:
    """Costs jump up to tenfold at random, so a piece that should have fitted may not."""
    rng = np.random.default_rng(seed)
    scale = np.where(rng.random(400) < 0.2, rng.integers(2, 10, 400), 1)
    costs = [{**COSTS, "denoise": 2 * MS * int(by), "commit": int(rng.integers(25, 40)) * MS} for by in scale]
    actions = held_inputs(399, seed=seed, mean_ticks=2)
    session = begun(actions, lambda tick: costs[tick])
    late_ns = [record.poll_ns - record.start_ns for record in session.observer.records]
    assert max(late_ns) > 0, "the test must reach the case it is about"
    for record in session.observer.records:
        worst_ns = max(costs[record.tick]["denoise"], COSTS["decode"], COSTS["condition"])
        assert record.poll_ns - record.start_ns <= worst_ns


def test_nothing_is_begun_before_it_is_known_what_a_step_costs() -> None:
    clock = ManualClock()
    inner = SteppedToy(clock, Costs(clock, lambda tick: COSTS))
    AheadWorld(inner, clock).prepare(PERIOD_NS)
    assert clock.now_ns() == 0


def test_a_pause_prepares_once() -> None:
    clock = ManualClock()
    world = AheadWorld(SteppedToy(clock, Costs(clock, lambda tick: COSTS)), clock)
    world.advance(LEFT, TickPlan(2, 0)).commit()
    began_ns = clock.now_ns()
    for slot in range(1, 20):
        world.prepare(slot * PERIOD_NS)
    assert clock.now_ns() - began_ns == 12 * MS


# --- a look at the input before the poll ------------------------------------------------------------------------


class Player:
    """Holds left, and right from a moment on: a controller and a peek at it."""

    def __init__(self, clock: ManualClock, turns_ns: int) -> None:
        self._clock, self._turns_ns = clock, turns_ns
        self.last_input_ns: int | None = None

    def action(self) -> Action:
        return RIGHT if self._clock.now_ns() >= self._turns_ns else LEFT

    def poll(self, tick: int) -> Action:
        return self.action()

    def doze_until(self, time_ns: int) -> None:
        self._clock.sleep_until(time_ns)

    def close(self) -> None:
        pass


def peeked(turns_ms: float, *, peeking: bool = True) -> AheadSession:
    clock = ManualClock()
    player = Player(clock, round(turns_ms * MS))
    world = AheadWorld(SteppedToy(clock, Costs(clock, lambda tick: COSTS)), clock, peek=player if peeking else None)
    return AheadSession(world, clock, [], ahead=world, controller=player).run(4)


@pytest.mark.parametrize(
    ("turns_ms", "response_ms"),
    [
        (105, 0),  # while the second tick is being shown: nothing was begun yet on the old input
        (120, 0),  # all is made, and made again
        (136.5, 0),  # 12 ms fit after the next look
        (139, 3),  # all but the picture fits
        (144, 7),  # one step fits
        (149, 12),  # too late for a step: as if nothing had been guessed
    ],
)
def test_a_key_pressed_during_the_wait_is_on_the_screen_sooner(turns_ms: float, response_ms: int) -> None:
    assert peeked(turns_ms).observer.records[3].response_ns == response_ms * MS
    assert peeked(turns_ms, peeking=False).observer.records[3].response_ns == 12 * MS


def test_looking_does_not_make_the_poll_late() -> None:
    for turns_ms in np.arange(100.5, 150, 0.5):
        session = peeked(float(turns_ms))
        assert all(record.poll_ns == record.release_ns for record in session.observer.records)
        assert session.recorder.actions[2:] == [LEFT, RIGHT]


# --- quality --------------------------------------------------------------------------------------------------


def tight(clock: ManualClock) -> AdaptiveGovernor:
    return AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=14 * MS, tick_period_ns=PERIOD_NS)


def test_a_right_guess_leaves_time_for_more_denoise_steps_and_a_wrong_one_is_still_in_time() -> None:
    actions = held_inputs(300, seed=4)
    ahead = begun(actions, governor=tight, ceiling=lambda: 4, deadline_ns=14 * MS)
    plain = AheadSession(ahead.world, ahead.clock, actions, governor=tight(ahead.clock), deadline_ns=14 * MS).run(300)
    steps = [record.steps_applied for record in ahead.observer.records[20:]]
    assert {record.steps_applied for record in plain.observer.records[20:]} == {2}
    assert steps.count(4) > 150
    assert {record.steps_applied for record in ahead.observer.records[20:] if record.ahead.outcome == "miss"} == {2}
    assert not any(record.missed for record in ahead.observer.records[20:])


def test_the_recorded_steps_of_such_a_session_replay_bit_for_bit() -> None:
    actions = held_inputs(200, seed=4)
    ahead = begun(actions, governor=tight, ceiling=lambda: 4, deadline_ns=14 * MS)
    replayed = serial(ahead.recorder.actions, TraceGovernor(ahead.recorder.steps))
    assert replayed.recorder.checksums == ahead.recorder.checksums
    assert len(set(ahead.recorder.steps)) > 1


def test_a_forced_quality_is_never_exceeded() -> None:
    session = begun([LEFT] * 30, governor=lambda clock: TraceGovernor([4] * 10 + [1] * 10 + [2] * 10))
    assert session.recorder.steps == [4] * 10 + [1] * 10 + [2] * 10
    assert session.outcomes()[10] == "miss", "four steps cannot be taken back to one"


def test_a_lock_by_the_player_holds_for_spare_time_too() -> None:
    ceiling = [4]
    clock = ManualClock()
    world = AheadWorld(SteppedToy(clock), clock, ceiling=lambda: ceiling[0])
    world.advance(LEFT, TickPlan(1, 0)).commit()
    world.prepare(PERIOD_NS)
    ceiling[0] = 1
    assert world.advance(LEFT, TickPlan(1, 0)).steps_applied == 1


def test_ticks_made_ahead_do_not_teach_the_governor_that_ticks_are_free() -> None:
    cost = CostModel()
    records = begun([LEFT] * 30).observer.records
    for record in records[1:]:
        assert record.ahead.outcome == "hit"
        cost.learn(sample_of(record))
    assert cost.expected_ns(2)[0] == 12 * MS
    blind = CostModel()
    for record in records[1:]:
        blind.learn(sample_of(replace(record, ahead=records[0].ahead)))
    assert blind.expected_ns(2)[0] < 12 * MS, "the sample must need what the record says of work made ahead"


# --- the seam -------------------------------------------------------------------------------------------------


def test_the_guess_is_what_was_held_without_what_happens_once() -> None:
    action = Action(frozenset({"brake"}), {"steer": 5}, prompt="night", reset=True)
    assert hold(action) == Action(frozenset({"brake"}), {"steer": 5})


def test_a_world_that_cannot_tick_in_pieces_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="ahead: expected a world that can make its tick in pieces, toy"):
        AheadWorld(ToyWorld(), FixedClock())


def test_a_report_counts_hits_misses_and_waste() -> None:
    session = begun([LEFT, LEFT, LEFT, RIGHT, RIGHT])
    counts = GuessCounts(warmup_ticks=1)
    for record in session.observer.records:
        counts.observe(record)
    assert counts.as_json() == {
        "hit": 3, "miss": 1, "none": 0, "hit_rate": 0.75, "used_ms": 36.0, "wasted_ms": 12.0, "extra_steps": 0,
        "ticks_with_extra_steps": 0,
    }  # fmt: skip
    assert GuessCounts().as_json()["hit_rate"] is None
