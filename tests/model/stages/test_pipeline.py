"""Sessions fill a layer pipeline and none of them sees anything stale: counted in whole stage-times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.slots import DynamicsConfig
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.pipeline import (
    Account,
    LayerPipeline,
    Passenger,
    committed_ticks,
    run_lockstep,
    run_threads,
)
from nextframe.model.stages.pipeline_sessions import LayerStage, PipelinedSession, even_stages
from tests.support.networks import finished, random_dynamics, random_past, random_tokenizer

SHAPES = [(1, 1, 1), (1, 4, 2), (2, 4, 1), (3, 3, 4), (4, 4, 1), (5, 4, 2), (9, 2, 2), (2, 5, 4)]
"""Sessions, stages, denoise steps."""


@dataclass
class Stamped:
    """A session that writes down what each of its visits saw: how many commits were in the memory of that stage."""

    denoise_steps: int
    stages: int
    inputs: Callable[[int], int] = lambda tick: tick
    memory: list[list[int]] = field(default_factory=list)
    seen: list[tuple[int, int, int, int]] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    last_visit: tuple[int, int, int] = (0, 0, -1)

    def __post_init__(self) -> None:
        self.memory = [[] for _ in range(self.stages)]

    def visit(self, tick: int, step: int, stage: int) -> None:
        self.seen.append((tick, step, stage, len(self.memory[stage])))
        if step == 0 and stage == 0:
            self._input = self.inputs(tick)
        if step == self.denoise_steps:
            self.memory[stage].append(tick)
        elif step == self.denoise_steps - 1 and stage == self.stages - 1:
            self.shown.append(self._input)


def run(
    sessions: int, stages: int, steps: int, stage_times: int, *, follow: bool = False
) -> tuple[Account, list[Stamped]]:
    passengers = [Stamped(steps, stages) for _ in range(sessions)]
    pipeline = LayerPipeline(stages, [steps] * sessions, follow_commits=follow)
    return run_lockstep(pipeline, passengers, stage_times), passengers


# --- accounting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sessions", "stages", "steps"), SHAPES)
def test_sessions_fill_the_pipeline_to_the_tick(sessions: int, stages: int, steps: int) -> None:
    """In a turn of max(S, W) stage-times every session makes one pass, so S / max(S, W) of the stages are at work."""
    turn, passes, warm_up = max(sessions, stages), steps + 1, sessions + stages
    period = passes * turn
    account, _ = run(sessions, stages, steps, warm_up + 3 * period)
    done = [account.committed_by(warm_up + turns * period) for turns in range(4)]
    assert [after - before for before, after in itertools.pairwise(done)] == [sessions] * 3
    first, _ = run(sessions, stages, steps, warm_up)
    busy = [after - before for before, after in zip(first.busy, account.busy, strict=True)]
    assert busy == [3 * passes * sessions] * stages, "of 3 * passes * max(S, W) stage-times"
    assert sum(busy) * turn == 3 * period * sessions * stages


@pytest.mark.parametrize(("sessions", "stages", "steps"), SHAPES)
@pytest.mark.parametrize("stage_times", [0, 1, 7, 23, 100])
def test_the_formula_counts_what_the_pipeline_does(sessions: int, stages: int, steps: int, stage_times: int) -> None:
    account, _ = run(sessions, stages, steps, stage_times)
    assert len(account.committed) == committed_ticks(sessions, stages, steps, stage_times)


@pytest.mark.parametrize(("stages", "steps"), [(1, 1), (4, 1), (4, 2), (6, 4)])
def test_a_session_waits_for_no_other_as_long_as_there_is_a_stage_for_each(stages: int, steps: int) -> None:
    for sessions in range(1, stages + 1):
        account, _ = run(sessions, stages, steps, 200)
        assert set(account.latency.values()) == {steps * stages}, "as many stage-times as alone"
    crowded, _ = run(stages + 3, stages, steps, 200)
    assert max(crowded.latency.values()) == (steps - 1) * (stages + 3) + stages


@pytest.mark.parametrize(("sessions", "stages", "steps"), SHAPES)
@pytest.mark.parametrize("follow", [False, True])
def test_every_visit_sees_all_commits_before_its_tick_and_no_other(
    sessions: int, stages: int, steps: int, follow: bool
) -> None:
    _, passengers = run(sessions, stages, steps, 120, follow=follow)
    for passenger in passengers:
        assert len(passenger.seen) > 10
        for tick, _, _, commits in passenger.seen:
            assert commits == tick, "no staleness: tick n has n commits behind it in the memory of every stage"


def test_an_input_shows_in_the_tick_that_read_it() -> None:
    _, passengers = run(3, 4, 2, 200)
    assert all(p.shown == list(range(len(p.shown))) for p in passengers)
    assert min(len(p.shown) for p in passengers) > 10


class TooEager(LayerPipeline):
    """The control of the two tests above: the next tick enters as soon as the picture is there, beside the commit."""

    def _left(self, visit: object) -> None:
        super()._left(visit)  # type: ignore[arg-type]
        session, tick, step = self._waiting.pop()
        self._waiting.append((session, tick + 1, 0) if step == self.denoise_steps[session] else (session, tick, step))


def test_a_pipeline_that_does_not_wait_for_the_commit_is_found() -> None:
    passenger = Stamped(2, 4)
    run_lockstep(TooEager(4, [2]), [passenger], 60)
    assert any(commits != tick for tick, _, _, commits in passenger.seen)


@pytest.mark.parametrize(("stages", "steps"), [(2, 1), (4, 1), (4, 4)])
def test_the_next_tick_may_follow_right_behind_a_commit(stages: int, steps: int) -> None:
    """A single session then ticks every n * W + 1 stage-times instead of every (n + 1) * W."""
    slow, _ = run(1, stages, steps, 300)
    quick, _ = run(1, stages, steps, 300, follow=True)
    gaps = {b - a for (_, _, a), (_, _, b) in itertools.pairwise(quick.shown)}
    assert gaps == {steps * stages + 1}
    assert {b - a for (_, _, a), (_, _, b) in itertools.pairwise(slow.shown)} == {(steps + 1) * stages}
    assert set(quick.latency.values()) == {steps * stages}


@pytest.mark.parametrize(("sessions", "stages", "steps"), SHAPES)
def test_following_commits_never_shows_fewer_frames(sessions: int, stages: int, steps: int) -> None:
    slow, _ = run(sessions, stages, steps, 240)
    quick, _ = run(sessions, stages, steps, 240, follow=True)
    assert len(quick.shown) >= len(slow.shown)


def test_sessions_with_other_step_counts_share_the_pipeline() -> None:
    passengers = [Stamped(steps, 3) for steps in (1, 2, 4)]
    account = run_lockstep(LayerPipeline(3, [1, 2, 4]), passengers, 3 * 2 * 3 * 5)
    ticks = [len(p.shown) for p in passengers]
    assert account.busy == [90, 89, 88]
    assert ticks == [15, 10, 6]
    assert [len(p.memory[0]) for p in passengers] == [15, 10, 6]


@pytest.mark.parametrize(("stages", "steps"), [(0, [1]), (1, []), (2, [1, 0])])
def test_a_pipeline_of_nothing_is_refused(stages: int, steps: list[int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1 stage, 1 session and 1 denoise step"):
        LayerPipeline(stages, steps)


# --- threads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sessions", "stages", "steps"), SHAPES)
def test_threads_make_the_visits_of_each_session_in_the_order_of_lockstep(
    sessions: int, stages: int, steps: int
) -> None:
    threaded = [Stamped(steps, stages) for _ in range(sessions)]
    run_threads(stages, threaded, ticks=3)
    _, lockstep = run(sessions, stages, steps, 500)
    for one, other in zip(threaded, lockstep, strict=True):
        assert len(one.seen) == 3 * (steps + 1) * stages
        assert one.seen == other.seen[: len(one.seen)]


class BrokenStageError(Exception):
    pass


class Breaking(Stamped):
    def visit(self, tick: int, step: int, stage: int) -> None:
        if (tick, stage) == (1, 2):
            raise BrokenStageError("stage 2 is broken")
        super().visit(tick, step, stage)


def test_an_error_in_a_stage_ends_all_threads_and_is_raised() -> None:
    passengers: Sequence[Passenger] = [Stamped(1, 3), Breaking(1, 3), Stamped(1, 3)]
    with pytest.raises(BrokenStageError, match="stage 2 is broken"):
        run_threads(3, passengers, ticks=50)


# --- the real network ---------------------------------------------------------------------------------------------

CONFIG = DynamicsConfig(width=32, layers=4, heads=2, window=6)
DYNAMICS = random_dynamics(CONFIG)
TICKS, STEPS = 9, (1, 2, 4)


def condition_at(seed: int) -> Callable[[int], Tensor]:
    return lambda tick: torch.randn(CONFIG.condition_dim, generator=torch.Generator().manual_seed(100 * seed + tick))


def pipelined(seed: int, stages: list[LayerStage]) -> PipelinedSession:
    steps = STEPS[seed % 3]
    session = PipelinedSession(
        random_tokenizer(), DYNAMICS, stages, seed=seed, denoise_steps=steps, condition_at=condition_at(seed)
    )
    latents, conditions = random_past(3, rows=1, seed=seed)
    session.prefill(latents[0], conditions[0])
    return session


def serial(seed: int) -> tuple[list[Tensor], RollingGenerator]:
    generator, shown = RollingGenerator(random_tokenizer(), DYNAMICS), []
    generator.prefill(*random_past(3, rows=1, seed=seed))
    for tick in range(TICKS):
        condition = condition_at(seed)(tick)[None]
        shown.append(finished(generator.start(condition, seed, STEPS[seed % 3])))
        generator.commit(shown[-1], condition)
    return shown, generator


def assert_serial(session: PipelinedSession, seed: int) -> None:
    """Same latents and same memory as the generator without stages, bit for bit."""
    shown, generator = serial(seed)
    assert len(session.latents) >= TICKS
    assert all(torch.equal(a, b) for a, b in zip(session.latents, shown, strict=False))
    if len(session.latents) == TICKS:
        keys = torch.cat([memory.keys for memory in session.memories])
        assert torch.equal(keys, generator.memory.keys)


@pytest.mark.parametrize(("stages", "sessions", "follow"), [(1, 2, False), (2, 3, False), (4, 4, True), (3, 5, True)])
def test_sessions_in_a_pipeline_are_each_alone_bit_for_bit(stages: int, sessions: int, follow: bool) -> None:
    intervals = even_stages(CONFIG.layers, stages)
    passengers = [pipelined(seed, intervals) for seed in range(sessions)]
    pipeline = LayerPipeline(stages, [p.denoise_steps for p in passengers], follow_commits=follow)
    run_lockstep(pipeline, passengers, TICKS * 8 * max(stages, sessions))
    for seed, passenger in enumerate(passengers):
        assert_serial(passenger, seed)


def test_sessions_in_threads_are_each_alone_bit_for_bit() -> None:
    passengers = [pipelined(seed, even_stages(CONFIG.layers, 2)) for seed in range(3)]
    run_threads(2, passengers, TICKS)
    for seed, passenger in enumerate(passengers):
        assert len(passenger.latents) == TICKS
        assert_serial(passenger, seed)


def test_a_pipeline_that_does_not_wait_for_the_commit_makes_other_latents() -> None:
    """The control: were the memory without effect, equality would prove nothing."""
    passenger = pipelined(1, even_stages(CONFIG.layers, 4))
    run_lockstep(TooEager(4, [passenger.denoise_steps]), [passenger], 200)
    with pytest.raises(AssertionError):
        assert_serial(passenger, 1)


def test_stages_cover_all_layers_evenly() -> None:
    assert even_stages(6, 4) == [(0, 1), (1, 3), (3, 4), (4, 6)]
    with pytest.raises(ValueError, match="expected 1 to 6 stages"):
        even_stages(6, 7)
