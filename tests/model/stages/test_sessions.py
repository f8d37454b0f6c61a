"""Claims about several sessions over the same stage processes: each is as if alone, and the stages work at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nextframe.model.batch.rows import SessionError
from nextframe.model.batch.sessions import TickRequest
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.generator import StagedGenerator
from nextframe.model.stages.process.link import Command
from nextframe.model.stages.process.processes import StageFault, StageLimits
from nextframe.model.stages.ring import StageRing, StageWeights
from nextframe.model.stages.sessions import StagedSession, StagedSessions
from tests.support.networks import finished, random_past
from tests.support.worlds.staged import APART, EACH, FOUR, THREE, TWO, staged_generator, store_weights, whole_generator

SESSIONS = 3
ONE = "denoise:0-4@cpu:0"
DECODER = "denoise:0-4@cpu:0, decode@cpu:1"
"""All layers in the front, and a process that only decodes."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def first(weights: StageWeights) -> Iterator[StagedGenerator]:
    generator = staged_generator(weights, THREE, sessions=1 + SESSIONS)
    yield generator
    generator.close()


@pytest.fixture
def many(first: StagedGenerator) -> Iterator[StagedSessions]:
    opened = StagedSessions(first)
    yield opened
    first.ring.drop_all()


def past_of(seed: int) -> tuple[Tensor, Tensor]:
    latents, conditions = random_past(8, 1, seed=seed)
    return latents[0], conditions[0]


def request(seed: int, tick: int) -> TickRequest:
    """Another input and another rung for each tick of each session."""
    draw = np.random.Generator(np.random.Philox(key=seed * 1000 + tick))
    condition = torch.from_numpy(draw.normal(size=FOUR.condition_dim).astype(np.float32))
    return TickRequest(condition, (1, 2, 4)[int(draw.integers(3))])


def alone(seed: int, ticks: int) -> list[bytes]:
    """The same session in one process, by itself: its frames, and its checksum at the end."""
    one = whole_generator()
    latents, conditions = past_of(seed)
    one.prefill(latents[None], conditions[None])
    return go_on_alone(one, seed, 0, ticks)


def go_on_alone(one: RollingGenerator, seed: int, first_tick: int, ticks: int) -> list[bytes]:
    made = []
    for tick in range(first_tick, first_tick + ticks):
        asked = request(seed, tick)
        condition = asked.condition[None]
        latent = finished(one.start(condition, seed, asked.denoise_steps))
        made.append(one.decode(latent).numpy().tobytes())
        one.commit(latent, condition)
    return [*made, one.checksum().to_bytes(4, "little")]


def play(many: StagedSessions, ticks: dict[StagedSession, int], unshown: int = 0) -> dict[StagedSession, list[bytes]]:
    """So many ticks of each session, none waiting for another; frames, and the checksum at the end."""
    made: dict[StagedSession, list[bytes]] = {session: [] for session in ticks}

    left = dict(ticks)

    def ask(session: StagedSession) -> TickRequest | None:
        left[session] -= 1
        return request(session.seed, session.tick) if left[session] >= 0 else None

    many.play(ticks, ask, lambda session, frame: made[session].append(frame.numpy().tobytes()), unshown=unshown)
    return {session: [*frames, session.checksum().to_bytes(4, "little")] for session, frames in made.items()}


@pytest.mark.parametrize(
    ("text", "unshown"), [(TWO, 0), (APART, 0), (APART, 1), (EACH, 1), (ONE, 0), (DECODER, 1)],
    ids=["two", "apart", "apart-beside", "four-beside", "one", "decoder-beside"],
)  # fmt: skip
@pytest.mark.bitexact
def test_sessions_over_processes_are_each_as_if_alone_bit_for_bit(
    weights: StageWeights, text: str, unshown: int
) -> None:
    generator = staged_generator(weights, text, sessions=1 + SESSIONS)
    try:
        many = StagedSessions(generator)
        sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
        made = play(many, dict(zip(sessions, (12, 7, 10), strict=True)), unshown)
        assert [made[session] for session in sessions] == [alone(0, 12), alone(1, 7), alone(2, 10)]
    finally:
        generator.close()


@pytest.mark.bitexact
def test_whole_ticks_of_any_sessions_are_those_alone(many: StagedSessions) -> None:
    draw = np.random.Generator(np.random.Philox(key=2))
    sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
    made: dict[StagedSession, list[bytes]] = {session: [] for session in sessions}
    for _ in range(12):
        chosen = [session for session in sessions if draw.random() < 0.6]
        frames = many.frames({session: request(session.seed, session.tick) for session in chosen})
        assert list(frames) == chosen
        for session, frame in frames.items():
            made[session].append(frame.numpy().tobytes())
    for session in sessions:
        assert [*made[session], session.checksum().to_bytes(4, "little")] == alone(session.seed, len(made[session]))
        session.leave()


def test_passes_of_several_sessions_are_under_way_at_once(
    many: StagedSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, depart = [0], StageRing.depart

    def counted(ring: StageRing, *given: Any) -> None:
        depart(ring, *given)
        most[0] = max(most[0], len(ring._under_way))

    monkeypatch.setattr(StageRing, "depart", counted)
    sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
    play(many, dict.fromkeys(sessions, 4))
    assert most[0] == SESSIONS == many.at_once
    most[0] = 0
    play(many, {sessions[0]: 4})
    assert most[0] == 1, "one session has one pass at a time"
    for session in sessions:
        session.leave()


def test_no_session_is_asked_before_there_is_work_for_its_tick(weights: StageWeights) -> None:
    """In one process one tick follows the other; an input read any sooner would only be older."""
    generator = staged_generator(weights, ONE, sessions=1 + SESSIONS)
    many = StagedSessions(generator)
    sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
    order: list[tuple[str, int]] = []

    def ask(session: StagedSession) -> TickRequest | None:
        order.append(("read", session.seed))
        return request(session.seed, session.tick) if session.tick < 2 else None

    many.play(sessions, ask, lambda session, frame: order.append(("shown", session.seed)))
    one_round = [(what, seed) for seed in range(SESSIONS) for what in ("read", "shown")]
    assert order == [*one_round * 2, *(("read", seed) for seed in range(SESSIONS))]
    generator.close()


@pytest.mark.parametrize("unshown", [0, 1])
def test_a_session_decodes_beside_its_next_tick_only_if_told(
    weights: StageWeights, unshown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StageRing, "picture_is_there", lambda *_: False)  # a decoder that is slower than all else
    generator = staged_generator(weights, DECODER, sessions=2)
    try:
        session = (many := StagedSessions(generator)).join(0, *past_of(0))
        order: list[str] = []

        def ask(session: StagedSession) -> TickRequest | None:
            order.append("read")
            return request(0, session.tick) if order.count("read") <= 4 else None

        many.play([session], ask, lambda session, frame: order.append("shown"), unshown=unshown)
        beside = ["read", "read", "shown", "read", "shown", "read", "shown", "read", "shown"]
        assert order == (beside if unshown else ["read", "shown"] * 4 + ["read"])
    finally:
        generator.close()


@pytest.mark.bitexact
def test_a_pass_that_gets_another_s_answer_is_found(many: StagedSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: once a session gets the answer before its own."""
    sessions = [many.join(seed, *past_of(seed)) for seed in range(2)]
    arrive, answers = StageRing.arrive, list[Tensor]()

    def crossed(ring: StageRing) -> Tensor:
        answers.append(arrive(ring))
        return answers[-2] if len(answers) == 4 else answers[-1]

    monkeypatch.setattr(StageRing, "arrive", crossed)
    made = play(many, dict.fromkeys(sessions, 4))
    assert [made[session] for session in sessions] != [alone(0, 4), alone(1, 4)]
    for session in sessions:
        session.leave()


def test_a_tick_that_overtakes_the_commit_before_it_is_found(
    many: StagedSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: one commit reaches the stages only after the next tick's first pass, which reads stale memory."""
    session, depart = many.join(0, *past_of(0)), StageRing.depart
    commits, held = list[int](), list[tuple[Any, ...]]()

    def late(ring: StageRing, *given: Any) -> None:
        if given[2] == Command.COMMIT:
            commits.append(0)
            if len(commits) == 2:
                held.append(tuple(part.clone() if isinstance(part, Tensor) else part for part in given))
                return
        depart(ring, *given)
        if held:
            depart(ring, *held.pop())

    monkeypatch.setattr(StageRing, "depart", late)
    *frames, checksum = play(many, {session: 4})[session]
    *expected, checksum_alone = alone(0, 4)
    assert frames[:2] == expected[:2]
    assert frames[2] != expected[2]
    assert checksum != checksum_alone
    session.leave()


@pytest.mark.bitexact
def test_sessions_move_between_a_generator_and_the_stages(many: StagedSessions) -> None:
    one = whole_generator()
    latents, conditions = past_of(9)
    one.prefill(latents[None], conditions[None])
    go_on_alone(one, 9, 0, 5)
    session = many.join_snapshot(9, one.snapshot())
    assert session.checksum() == one.checksum()
    made = play(many, {session: 4})[session]
    back = whole_generator()
    back.restore(session.snapshot())
    assert made == go_on_alone(one, 9, 5, 4)
    assert back.checksum() == one.checksum()
    session.leave()


def test_the_owner_s_own_session_is_not_touched(first: StagedGenerator, many: StagedSessions) -> None:
    latents, conditions = random_past(8)
    first.prefill(latents, conditions)
    before = first.checksum()
    session = many.join(1, *past_of(1))
    play(many, {session: 3})
    assert first.checksum() == before
    session.leave()


def test_what_goes_wrong_in_a_tick_drops_the_ticks_under_way_and_harms_no_session(many: StagedSessions) -> None:
    sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
    play(many, dict.fromkeys(sessions, 2))
    before = [session.checksum() for session in sessions]

    def broken(session: StagedSession, frame: Tensor) -> None:
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        many.play(sessions, lambda session: request(session.seed, session.tick), broken)
    committed = [session.tick == 3 for session in sessions]
    assert any(committed)
    assert [session.checksum() != was for session, was in zip(sessions, before, strict=True)] == committed
    before = [session.checksum() for session in sessions]
    with pytest.raises(SessionError, match="1 to 4 denoise steps, got 11 and 9"):
        many.frames({sessions[0]: request(0, 0), sessions[1]: TickRequest(torch.zeros(FOUR.condition_dim), 9)})
    assert [session.checksum() for session in sessions] == before
    ticks = {session: 5 - session.tick for session in sessions}
    assert all(alone(s.seed, 5)[5 - ticks[s] :] == made for s, made in play(many, ticks).items())
    for session in sessions:
        session.leave()


def test_a_session_too_many_is_refused_and_a_place_given_back_is_taken_again(many: StagedSessions) -> None:
    sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
    with pytest.raises(SessionError, match=f"expected a free place, got {SESSIONS} sessions"):
        many.join(7, *past_of(7))
    sessions[1].leave()
    with pytest.raises(ValueError, match="expected"):
        many.join_snapshot(7, {**sessions[0].snapshot(), "memory": {"lanes": [{"keys": [], "values": []}]}})
    newcomer = many.join(7, *past_of(7))
    assert play(many, {newcomer: 3})[newcomer] == alone(7, 3)
    assert many.sessions == [sessions[0], sessions[2], newcomer]


def test_a_generator_with_one_session_has_no_room_for_others(weights: StageWeights) -> None:
    generator = staged_generator(weights, ONE)
    with pytest.raises(ValueError, match="memories for 2 sessions or more"):
        StagedSessions(generator)
    generator.close()


def test_after_a_death_all_sessions_go_on_from_their_snapshots(weights: StageWeights) -> None:
    generator = staged_generator(weights, TWO, sessions=1 + SESSIONS, limits=StageLimits(hang_s=10.0))
    try:
        many = StagedSessions(generator)
        sessions = [many.join(seed, *past_of(seed)) for seed in range(SESSIONS)]
        play(many, dict.fromkeys(sessions, 3))
        kept = [session.snapshot() for session in sessions]
        shown = []

        def kill(session: StagedSession, frame: Tensor) -> None:
            shown.append(session)
            if len(shown) == 4:
                os.kill(generator.processes.pids[0], signal.SIGKILL)
                time.sleep(0.1)

        with pytest.raises(StageFault, match="died"):
            many.play(sessions, lambda session: request(session.seed, session.tick), kill)
        generator.restart()
        for session, snapshot in zip(sessions, kept, strict=True):
            session.restore(snapshot)
        made = play(many, dict.fromkeys(sessions, 4))
        assert all(alone(session.seed, 7)[3:] == made[session] for session in sessions)
    finally:
        generator.close()
