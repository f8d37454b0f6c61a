"""Many sessions over one group of stage processes: a layer pipeline in which every stage works on another session.

A denoise step needs the outcome of the step before, so one session keeps one stage at work. Here the front sends a pass
of one session off and goes on with another's; passes come back in the order in which they left. A tick sees all commits
of its own session before it and nothing else, so each session has the bits of playing alone, and none is shown anything
stale. Owns who is served when. Knows no clock: `ask` decides when a session ticks, and with what input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from model.batch import TickRequest
from model.batch_rows import SessionError
from model.generator import DenoiseJob
from model.stage_layout import StageLayout
from model.stage_ring import FRONT
from model.stages import StagedGenerator


class StagedSession:
    """One session: a seed, and a generator over the shared processes. `StagedSessions.join` makes it."""

    def __init__(self, owner: StagedSessions, generator: StagedGenerator, seed: int) -> None:
        self._owner, self.generator, self.seed = owner, generator, seed

    @property
    def tick(self) -> int:
        return self.generator.tick

    def snapshot(self) -> dict[str, object]:
        """As `Generator.snapshot` of the session alone: the two may be exchanged."""
        return self.generator.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot. The seed is not part of it."""
        self.generator.restore(snapshot)

    def checksum(self) -> int:
        """As `Generator.checksum` of the same state."""
        return self.generator.checksum()

    def leave(self) -> None:
        """Give the place back; the session is worth nothing afterwards."""
        self._owner.take_back(self)


@dataclass
class _Tick:
    """A session's tick under way. `latent`: once it is done; then its picture is under way."""

    session: StagedSession
    condition: Tensor
    job: DenoiseJob
    latent: Tensor | None = None


class StagedSessions:
    """Room for as many sessions as `first` has besides its own, which stays its owner's. Ends with `first`.

    Every call raises `model.stage_processes.StageFault` once a stage process is gone. After `first.restart` each
    session must be restored.
    """

    def __init__(self, first: StagedGenerator) -> None:
        if first.sessions < 2:
            raise ValueError(
                f"staged sessions: expected a generator with memories for 2 sessions or more (its own is one), got "
                f"{first.sessions}"
            )
        self._first = first
        self._free = deque(first.beside(number) for number in range(1, first.sessions))
        self.sessions: list[StagedSession] = []

    @property
    def layout(self) -> StageLayout:
        return self._first.layout

    # --- joining --------------------------------------------------------------------------------------------------

    def join(self, seed: int, latents: Tensor, conditions: Tensor) -> StagedSession:
        """A new session from a short true past, `(time, latent_dim)` and `(time, condition_dim)`."""
        session = self._seated(seed)
        session.generator.prefill(latents[None], conditions[None])
        return session

    def join_snapshot(self, seed: int, snapshot: dict[str, Any]) -> StagedSession:
        """A new session from a snapshot, of a session or of a `Generator` with one row."""
        session = self._seated(seed)
        try:
            session.restore(snapshot)
        except (ValueError, AssertionError):
            session.leave()
            raise
        return session

    def take_back(self, session: StagedSession) -> None:
        self.sessions.remove(session)
        self._free.append(session.generator)

    def _seated(self, seed: int) -> StagedSession:
        if not self._free:
            raise SessionError(f"staged sessions: expected a free place, got {len(self.sessions)} sessions already")
        session = StagedSession(self, self._free.popleft(), seed)
        self.sessions.append(session)
        return session

    # --- ticks ----------------------------------------------------------------------------------------------------

    def frames(self, requests: Mapping[StagedSession, TickRequest]) -> dict[StagedSession, Tensor]:
        """A whole tick of these sessions, committed; returns their frames, `(1, height, width, 3)` uint8 each. If a
        request does not fit, SessionError is raised and nothing has begun."""
        for request in requests.values():
            self._check(request)
        left, frames = dict(requests), dict[StagedSession, Tensor]()
        self.play(requests, lambda session: left.pop(session, None), frames.__setitem__)
        return {session: frames[session] for session in requests}

    def play(
        self,
        sessions: Iterable[StagedSession],
        ask: Callable[[StagedSession], TickRequest | None],
        show: Callable[[StagedSession, Tensor], None],
    ) -> None:
        """Tick after tick of these sessions, none of which waits for another's tick to end.

        `ask`: the coming tick of a session, when it may begin, which is when its picture before has been shown; None,
        and the session rests. `show`: a frame, `(1, height, width, 3)` uint8. Ends when all rest. If `ask` or `show`
        raises, or a request does not fit, the ticks under way are dropped; whatever was shown is committed.
        """
        waiting, ready, under_way = deque(sessions), deque[_Tick](), deque[_Tick]()
        try:
            while waiting or ready or under_way:
                if ready:  # first whatever keeps the other stages at work
                    tick = ready.popleft()
                    tick.session.generator.depart(tick.job)
                    under_way.append(tick)
                elif waiting:
                    session = waiting.popleft()
                    request = ask(session)
                    if request is not None:
                        ready.append(self._begun(session, request))
                else:
                    tick = under_way.popleft()
                    frame = self._arrived(tick)
                    if frame is not None:
                        waiting.append(tick.session)
                        show(tick.session, frame)
                    elif tick.job.can_step:
                        ready.append(tick)
                    else:
                        under_way.append(tick)
        finally:
            self._first.ring.drop_all()

    def _arrived(self, tick: _Tick) -> Tensor | None:
        """Take in what has come back of a tick; its frame, if that is it.

        A latent is committed before it is decoded here, and after it was sent off to be decoded elsewhere: either way
        the stages have it to do beside the picture.
        """
        generator = tick.session.generator
        if tick.latent is not None:
            return generator.ring.arrive()
        generator.arrive(tick.job)
        if tick.job.can_step:
            return None
        tick.latent = tick.job.finish()
        decodes_here = generator.layout.decode == FRONT
        if not decodes_here:
            generator.depart_picture(tick.latent)
        generator.commit(tick.latent, tick.condition)
        return generator.decode(tick.latent) if decodes_here else None

    def _begun(self, session: StagedSession, request: TickRequest) -> _Tick:
        self._check(request)
        condition = request.condition.reshape(1, -1).to(self._first.device)
        return _Tick(session, condition, session.generator.start(condition, session.seed, request.denoise_steps))

    def _check(self, request: TickRequest) -> None:
        config = self._first.config
        if request.condition.numel() != config.condition_dim or not 1 <= request.denoise_steps <= len(config.taus):
            raise SessionError(
                f"session: expected a condition of {config.condition_dim} numbers and 1 to {len(config.taus)} denoise "
                f"steps, got {request.condition.numel()} and {request.denoise_steps}"
            )
