"""Many sessions in one generator: each is what it would be alone in its row, whatever joins, leaves or ticks beside it.

Only like is compared with like: the same row of a block of the same size, with as many threads. Two rows of one matrix
product may be rounded unlike each other, and on some CPUs are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import Phase as HypothesisPhase
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from torch import Tensor

from nextframe.model.batch import rows as batch_rows
from nextframe.model.batch.memory import MemoryPool, PooledLane
from nextframe.model.batch.rows import Phase, RowBlock, Session, SessionError, attend_alike
from nextframe.model.batch.sessions import SessionBatch, TickRequest
from nextframe.model.dynamics.slots import Dynamics
from nextframe.model.generator.kernel import LevelGates
from nextframe.model.generator.ticks import RollingGenerator
from tests.support.networks import (
    SMALL,
    finished,
    random_dynamics,
    random_generator,
    random_past,
    random_tokenizer,
    shipped_dynamics,
    shipped_tokenizer,
)

BLOCK = 4
CLIP_TICKS = 3
CLIPS = random_past(CLIP_TICKS, rows=6)
TOLERANCE = 1e-4
DYNAMICS = random_dynamics()


def clip_of(seed: int) -> tuple[Tensor, Tensor]:
    at = seed % len(CLIPS[0])
    return CLIPS[0][at], CLIPS[1][at]


def condition_of(seed: int, tick: int) -> Tensor:
    """The input of this session in this tick."""
    return torch.randn(SMALL.condition_dim, generator=torch.Generator().manual_seed(1000 * seed + tick))


def batch_of(rows: int = BLOCK, dynamics: Dynamics = DYNAMICS, block_rows: int = BLOCK) -> SessionBatch:
    return SessionBatch(random_tokenizer(), dynamics, rows, block_rows=block_rows)


def tick(batch: SessionBatch, sessions: dict[Session, int]) -> dict[Session, Tensor]:
    """A tick of these sessions, with so many denoise steps each."""
    return batch.advance({s: TickRequest(condition_of(s.seed, s.tick), steps) for s, steps in sessions.items()})


def alone(seed: int, row: int = 0) -> tuple[SessionBatch, Session]:
    """A session in a batch of its own, in this row."""
    batch = batch_of()
    return batch, batch.join(seed, *clip_of(seed), row=row)


# --- any interleaving equals each alone ---------------------------------------------------------------------------


class SessionsMachine(RuleBasedStateMachine):
    """Beside every session runs its twin, alone in the same row of another batch; they are compared, bit for bit, after
    every commit."""

    compared = 0

    @initialize(seeds=st.lists(st.integers(0, 50), min_size=2, max_size=4))
    def begin(self, seeds: list[int]) -> None:
        self.batch = batch_of(2 * BLOCK)
        self.twins: dict[Session, tuple[SessionBatch, Session]] = {}
        for seed in seeds:
            self.join(seed, wait=True)

    def _sessions(self, *phases: Phase) -> list[Session]:
        return [session for session in self.batch.sessions if session.phase in phases]

    @precondition(lambda self: len(self.twins) < 2 * BLOCK)
    @rule(seed=st.integers(0, 50), wait=st.booleans())
    def join(self, seed: int, wait: bool) -> None:
        session = self.batch.join(seed, *clip_of(seed), wait=wait)
        self.twins[session] = alone(seed, session.row)

    @precondition(lambda self: len(self.twins) > 1)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(list(self.twins)))
        session.leave()
        del self.twins[session]

    @precondition(lambda self: self.twins)
    @rule(data=st.data(), seed=st.integers(0, 50))
    def start_anew(self, data: st.DataObject, seed: int) -> None:
        session = data.draw(st.sampled_from(list(self.twins)))
        session.begin(seed, *clip_of(seed))
        self.twins[session] = alone(seed, session.row)

    @precondition(lambda self: self._sessions(Phase.READY))
    @rule(steps=st.lists(st.integers(0, 4), min_size=2 * BLOCK, max_size=2 * BLOCK))
    def start(self, steps: list[int]) -> None:
        for session, count in zip(self._sessions(Phase.READY), steps, strict=False):
            if count:
                session.start(condition_of(session.seed, session.tick), count)

    @precondition(lambda self: self._sessions(Phase.READY))
    @rule(steps=st.lists(st.integers(0, 4), min_size=2 * BLOCK, max_size=2 * BLOCK))
    def advance_some(self, steps: list[int]) -> None:
        self._advance({s: n for s, n in zip(self._sessions(Phase.READY), steps, strict=False) if n})

    def _advance(self, chosen: dict[Session, int]) -> None:
        beside = self._sessions(Phase.COMMITTING)
        latents = tick(self.batch, chosen)
        for session, steps in chosen.items():
            self._compare(session, steps, latents[session])
        for session in beside:
            if session.phase is Phase.READY:
                self._compare(session, session.steps_done)

    @rule(passes=st.integers(1, 4))
    def forward(self, passes: int) -> None:
        for _ in range(passes):
            committing = self._sessions(Phase.COMMITTING)
            self.batch.forward()
            for session in committing:
                self._compare(session, session.steps_done)
            for session in self._sessions(Phase.DONE):
                session.commit()

    def teardown(self) -> None:
        """What is under way ends, and all take two more ticks together."""
        for _ in range(CLIP_TICKS + 5):
            self.forward(1)
        for _ in range(2):
            self._advance(dict.fromkeys(self._sessions(Phase.READY), 2))

    @precondition(lambda self: any(s.steps_done for s in self._sessions(Phase.DENOISING)))
    @rule()
    def cut_short(self) -> None:
        for session in self._sessions(Phase.DENOISING):
            if session.steps_done:
                session.cut()
                session.commit()

    @precondition(lambda self: self._sessions(Phase.READY, Phase.DENOISING))
    @rule(data=st.data())
    def save_and_restore_in_another_row(self, data: st.DataObject) -> None:
        """Into the first free row, and the twin into the same."""
        session = data.draw(st.sampled_from(self._sessions(Phase.READY, Phase.DENOISING)))
        (_, twin), snapshot = self.twins.pop(session), session.snapshot()
        others = len(self.batch.sessions)
        if others < self.batch.rows:
            moved = self.batch.join_snapshot(session.seed, snapshot)
            session.leave()
        else:
            moved = session
            moved.restore(snapshot)
        batch = batch_of()
        self.twins[moved] = batch, batch.join_snapshot(twin.seed, twin.snapshot(), row=moved.row)

    def _compare(self, session: Session, steps: int, latent: Tensor | None = None) -> None:
        batch, twin = self.twins[session]
        own = tick(batch, {twin: steps})[twin]
        assert latent is None or torch.equal(latent, own), f"the latent of row {session.row}"
        if session.phase is Phase.READY:
            assert session.tick == twin.tick
            assert session.checksum() == twin.checksum(), f"row {session.row}, tick {session.tick}"
            SessionsMachine.compared += 1


FAST = settings(max_examples=15, stateful_step_count=12, deadline=None, derandomize=True, database=None)
FIRST_FAILURE = settings(FAST, max_examples=40, phases=[HypothesisPhase.generate], report_multiple_bugs=False)


@pytest.mark.bitexact
def test_any_interleaving_of_sessions_equals_each_alone_bit_for_bit() -> None:
    SessionsMachine.compared = 0
    run_state_machine_as_test(SessionsMachine, settings=FAST)
    assert SessionsMachine.compared > 80


@pytest.mark.slow
@pytest.mark.bitexact
def test_many_more_interleavings_of_sessions_equal_each_alone() -> None:
    SessionsMachine.compared = 0
    run_state_machine_as_test(SessionsMachine, settings=settings(FAST, max_examples=300, stateful_step_count=40))
    assert SessionsMachine.compared > 5000


def one_noise_level_for_all(plain: Callable[..., LevelGates]) -> Callable[..., LevelGates]:
    def gates(block: RowBlock, moving: list[Session]) -> LevelGates:
        return plain(block, [moving[0]] * len(moving)) if moving[0].row == 0 else plain(block, moving)

    return gates


def one_length_for_all(plain: Callable[..., None]) -> Callable[..., None]:
    def read(lane: PooledLane, rows: slice, ages: list[list[int]]) -> None:
        plain(lane, rows, [ages[0]] * len(ages))

    return read


def without_the_reset(plain: Callable[..., None]) -> Callable[..., None]:
    def reset(pool: MemoryPool, row: int) -> None:
        pool.memories[row].new_epoch()

    return reset


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (RowBlock, "_gates_now", one_noise_level_for_all),
        (PooledLane, "read", one_length_for_all),
        (MemoryPool, "reset", without_the_reset),
    ],
)
@pytest.mark.bitexact
def test_a_row_that_depends_on_another_is_found(
    owner: type, name: str, mutant: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controls of the test above, each with one thing shared that must be per row."""
    monkeypatch.setattr(owner, name, mutant(getattr(owner, name)))
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(SessionsMachine, settings=FIRST_FAILURE)


# --- the same world as the generator of one session ---------------------------------------------------------------


@pytest.mark.parametrize("block_rows", [4, 8])
def test_a_session_predicts_what_the_generator_alone_predicts(block_rows: int) -> None:
    batch, generators = batch_of(block_rows=block_rows), {}
    for seed in range(3):
        generator = random_generator()
        latents, conditions = clip_of(seed)
        generator.prefill(latents[None], conditions[None])
        generators[batch.join(seed, latents, conditions)] = generator
    for number in range(20):
        steps = {session: (1, 2, 4)[(number + at) % 3] for at, session in enumerate(generators)}
        conditions = {session: condition_of(session.seed, session.tick) for session in generators}
        latents = tick(batch, steps)
        for session, generator in generators.items():
            expected = finished(generator.start(conditions[session][None], session.seed, steps[session]))
            assert (latents[session] - expected).abs().max() < TOLERANCE
            generator.commit(expected, conditions[session][None])
    assert all(session.memory.next_position == CLIP_TICKS + 20 for session in generators)


def test_other_actions_change_the_latent_by_more_than_the_tolerance() -> None:
    """The control of the test above."""
    (batch, one), (other_batch, other) = alone(1), alone(1)
    latent = tick(batch, {one: 4})[one]
    request = TickRequest(condition_of(2, 0), 4)
    assert (latent - other_batch.advance({other: request})[other]).abs().max() > 100 * TOLERANCE


@pytest.mark.bitexact
def test_a_snapshot_moves_between_a_generator_and_a_batch() -> None:
    generator, (latents, conditions) = random_generator(), clip_of(1)
    generator.prefill(latents[None], conditions[None])
    batch = batch_of()
    session = batch.join_snapshot(1, generator.snapshot())
    assert session.checksum() == generator.checksum()
    tick(batch, {session: 2})
    generator.restore(session.snapshot())
    assert generator.checksum() == session.checksum()
    assert generator.tick == session.tick == 1


@pytest.mark.bitexact
def test_frames_are_those_of_the_tokenizer_for_one_latent() -> None:
    generator: RollingGenerator = random_generator()
    batch, sessions = batch_of(), []
    sessions = [batch.join(seed, *clip_of(seed)) for seed in range(3)]
    latents = list(tick(batch, dict.fromkeys(sessions, 2)).values())
    frames = batch.decode(latents)
    assert torch.equal(frames, torch.cat([generator.decode(latent) for latent in latents]))


@pytest.mark.bitexact
def test_the_shipped_circuit_is_the_same_in_a_batch_and_alone() -> None:
    """Real weights: four players, each at another number of denoise steps, against the first one alone."""
    latents, conditions = random_past(CLIP_TICKS, rows=4)
    batch = SessionBatch(shipped_tokenizer(), shipped_dynamics(), 4, block_rows=4)
    single = SessionBatch(shipped_tokenizer(), shipped_dynamics(), 4, block_rows=4)
    generator = RollingGenerator(shipped_tokenizer(), shipped_dynamics())
    generator.prefill(latents[:1], conditions[:1])
    sessions = [batch.join(seed, latents[seed], conditions[seed].clamp(0, 1)) for seed in range(4)]
    beside = single.join_snapshot(0, sessions[0].snapshot(), row=sessions[0].row)
    generator.restore(sessions[0].snapshot())
    for number in range(6):
        wanted = {s: TickRequest(condition_of(s.seed, number).clamp(0, 1), (4, 1, 2, 4)[s.seed]) for s in sessions}
        shared = batch.advance(wanted)[sessions[0]]
        request = wanted[sessions[0]]
        assert torch.equal(shared, single.advance({beside: request})[beside])
        expected = finished(generator.start(request.condition[None], 0, 4))
        assert (shared - expected).abs().max() < TOLERANCE
        generator.commit(expected, request.condition[None])
    assert sessions[0].checksum() == beside.checksum()


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.bitexact
def test_threads_that_share_the_rows_leave_each_as_it_is_alone(threads: int, threads_as_before: None) -> None:
    """Of the shipped network: its heads are as wide as the fused kernel of the CPU wants them."""
    torch.set_num_threads(threads)
    assert [checksum_in_row(row, crowded=True) for row in range(BLOCK)] == [
        checksum_in_row(row, crowded=False) for row in range(BLOCK)
    ]


@pytest.mark.bitexact
def test_an_attention_that_rounds_by_what_is_beside_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: one last bit, in one row, while another row remembers something."""

    def by_neighbour(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        attended = attend_alike(query, keys, values, mask)
        if bool(values[:-1, :, : -SMALL.tokens].any()):  # the last tokens are those of the coming frame
            attended[-1] = attended[-1].nextafter(torch.tensor(torch.inf))
        return attended

    monkeypatch.setattr(batch_rows, "attend_alike", by_neighbour)
    last = BLOCK - 1
    assert checksum_in_row(last, crowded=True) != checksum_in_row(last, crowded=False)
    assert checksum_in_row(0, crowded=True) == checksum_in_row(0, crowded=False)


def checksum_in_row(row: int, *, crowded: bool) -> int:
    """Of the shipped circuit after three ticks in this row: the others empty, or full and at other step counts."""
    latents, conditions = random_past(CLIP_TICKS, rows=BLOCK)
    batch = SessionBatch(shipped_tokenizer(), shipped_dynamics(), BLOCK, block_rows=BLOCK)
    rows = range(BLOCK) if crowded else [row]
    sessions = {at: batch.join(at, latents[at], conditions[at].clamp(0, 1), row=at) for at in rows}
    for number in range(3):
        batch.advance(
            {s: TickRequest(condition_of(at, number).clamp(0, 1), (4, 1, 2, 4)[at]) for at, s in sessions.items()}
        )
    return sessions[row].checksum()


# --- what is shared -----------------------------------------------------------------------------------------------


def count_passes(batch: SessionBatch, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows moved in each pass to come."""
    moved: list[int] = []
    forward = batch.forward

    def counted() -> int:
        moved.append(forward())
        return moved[-1]

    monkeypatch.setattr(batch, "forward", counted)
    return moved


def test_sessions_with_other_step_counts_share_passes_and_commit_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of()
    sessions = [batch.join(seed, *clip_of(seed)) for seed in range(3)]
    moved = count_passes(batch, monkeypatch)
    tick(batch, dict(zip(sessions, (1, 2, 4), strict=True)))
    assert moved == [3, 3, 2, 1, 1], "1+1, 2+1 and 4+1 passes, in five"


@pytest.mark.bitexact
def test_a_session_joins_beside_the_others_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of()
    first = batch.join(1, *clip_of(1))
    second = batch.join(2, *clip_of(2), wait=False)
    moved = count_passes(batch, monkeypatch)
    tick(batch, {first: 4})
    assert moved == [2, 2, 2, 1, 1], "three frames of its past came along"
    assert second.phase is Phase.READY
    assert second.checksum() == alone(2, second.row)[1].checksum()
    assert first.checksum() == checksum_after(1, [4])


def checksum_after(seed: int, steps: list[int], row: int = 0) -> int:
    batch, session = alone(seed, row)
    for count in steps:
        tick(batch, {session: count})
    return session.checksum()


def test_the_memory_is_allocated_once() -> None:
    batch = batch_of(2 * BLOCK)
    pools = [block.pool for block in batch._blocks]

    def addresses() -> list[int]:
        parts = [part for pool in pools for kind in pool.past for part in kind if part is not None]
        return [part.data_ptr() for part in parts] + [m.keys.data_ptr() for pool in pools for m in pool.memories]

    before = addresses()
    for seed in range(2 * BLOCK):
        batch.join(seed, *clip_of(seed))
    for _ in range(8):
        tick(batch, dict.fromkeys(batch.sessions, 1))
    for session in batch.sessions:
        session.memory.check_integrity()
        session.leave()
    batch.join(1, *clip_of(1))
    assert addresses() == before


# --- a broken neighbour -------------------------------------------------------------------------------------------


@pytest.mark.bitexact
def test_a_session_of_nothing_but_nan_harms_neither_its_neighbours_nor_its_successor() -> None:
    batch = batch_of()
    broken, sound = batch.join(1, *clip_of(1)), batch.join(2, *clip_of(2))
    poison = TickRequest(torch.full((SMALL.condition_dim,), torch.nan), 2)
    for _ in range(3):
        latents = batch.advance({broken: poison, sound: TickRequest(condition_of(2, sound.tick), 2)})
    assert latents[broken].isnan().sum() > 20, "the control: it must be broken"
    assert sound.checksum() == checksum_after(2, [2, 2, 2], sound.row)
    row = broken.row
    broken.leave()
    successor = batch.join(3, *clip_of(3))
    assert successor.row == row
    tick(batch, {successor: 2})
    assert successor.checksum() == checksum_after(3, [2], row)


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_full_batch_refuses_one_more_and_takes_it_when_a_session_has_left() -> None:
    batch = batch_of()
    sessions = [batch.join(seed, *clip_of(seed)) for seed in range(BLOCK)]
    with pytest.raises(SessionError, match="expected a free row, got 4 sessions in 4 rows"):
        batch.join(9, *clip_of(9))
    sessions[2].leave()
    with pytest.raises(SessionError, match="expected row 1 to be free in a block of 4 rows"):
        batch.join(9, *clip_of(9), row=1)
    assert batch.join(9, *clip_of(9)).row == 2


def test_a_session_joins_in_the_row_it_asks_for() -> None:
    batch = batch_of(2 * BLOCK)
    assert [batch.join(seed, *clip_of(seed), row=3).row for seed in range(2)] == [3, 3], "one in each block"
    with pytest.raises(SessionError, match="expected row 3 to be free in a block of 4 rows, got none of 2"):
        batch.join_snapshot(9, random_generator().snapshot(), row=3)
    assert len(batch.sessions) == 2


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda: TickRequest(condition_of(0, 0), 0), "1 to 4 denoise steps, got 11 and 0"),
        (lambda: TickRequest(condition_of(0, 0), 5), "got 11 and 5"),
        (lambda: TickRequest(torch.zeros(3), 1), "a condition of 11 numbers"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_before_anything_has_begun(
    request_of: Callable[[], TickRequest], message: str
) -> None:
    batch = batch_of()
    one, two = (batch.join(seed, *clip_of(seed)) for seed in range(2))
    before = one.checksum(), two.checksum()
    with pytest.raises(SessionError, match=message):
        batch.advance({one: TickRequest(condition_of(0, 0), 1), two: request_of()})
    assert (one.phase, two.phase) == (Phase.READY, Phase.READY)
    assert (one.checksum(), two.checksum()) == before


def test_a_session_says_what_it_is_when_it_is_asked_for_something_else() -> None:
    batch, session = alone(1)
    with pytest.raises(SessionError, match="expected it to be done, got ready"):
        session.latent()
    session.start(condition_of(1, 0), 2)
    with pytest.raises(SessionError, match="expected it to be ready, got denoising"):
        session.start(condition_of(1, 0), 2)
    with pytest.raises(SessionError, match="at least one denoise step"):
        session.cut()
    batch.forward()
    session.cut()
    with pytest.raises(SessionError, match="expected it to be ready or denoising, got done"):
        session.snapshot()
    session.leave()
    with pytest.raises(SessionError, match="got left"):
        session.commit()


def test_a_past_or_a_snapshot_that_does_not_fit_leaves_the_row_free() -> None:
    batch = batch_of()
    latents, conditions = clip_of(1)
    with pytest.raises(SessionError, match=r"expected latents \(time, 24\)"):
        batch.join(1, latents[:, :5], conditions)
    with pytest.raises(SessionError, match=r"expected latents \(time, 24\)"):
        batch.join(1, latents, conditions[:1])
    with pytest.raises(ValueError, match="memory snapshot"):
        batch.join_snapshot(1, RollingGenerator(shipped_tokenizer(), shipped_dynamics()).snapshot())
    assert not batch.sessions


@pytest.mark.parametrize(("rows", "block_rows"), [(0, 4), (4, 0), (4, 5)])
def test_blocks_are_multiples_of_four_rows(rows: int, block_rows: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        batch_of(rows, block_rows=block_rows)
