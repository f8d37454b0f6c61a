"""Many sessions over one group of stage processes: a layer pipeline in which every stage works on another session.

A denoise step needs the outcome of the step before, so one session keeps one stage at work. Here the front sends a pass
of one session off and goes on with another's; passes come back in the order in which they left. A tick sees all commits
of its own session before it and nothing else, so each session has the bits of playing alone, and none is shown anything
stale. `ask` decides when a session ticks, and with what input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor

from ..batch.rows import SessionError, check_request
from ..batch.sessions import TickRequest
from ..generator.ticks import FlowJob
from .generator import StagedGenerator
from .layout import StageLayout
from .ring import FRONT, StageRing

Ask: TypeAlias = "Callable[[StagedSession], TickRequest | None]"
Show: TypeAlias = "Callable[[StagedSession, Tensor], None]"


class StagedSession:
    """One session: a seed, and a generator over the shared processes. `StagedSessions.join` makes it."""

    def __init__(self, owner: StagedSessions, generator: StagedGenerator, seed: int) -> None:
        self._owner, self.generator, self.seed = owner, generator, seed

    @property
    def number(self) -> int:
        """Of the memory it has in each stage process."""
        return self.generator.session

    @property
    def tick(self) -> int:
        return self.generator.tick

    def snapshot(self) -> dict[str, object]:
        """As `RollingGenerator.snapshot` of the session alone: the two may be exchanged."""
        return self.generator.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot. The seed is not part of it."""
        self.generator.restore(snapshot)

    def checksum(self) -> int:
        """As `RollingGenerator.checksum` of the same state."""
        return self.generator.checksum()

    def leave(self) -> None:
        """Give the place back; the session is of no use afterwards."""
        self._owner.take_back(self)


class StagedSessions:
    """Room for as many sessions as `first` has besides its own, which stays its owner's. Ends with `first`.

    Every call raises `nextframe.model.stages.process.processes.StageFault` once a stage process is gone. After
    `first.restart` each session must be restored.
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

    @property
    def ring(self) -> StageRing:
        return self._first.ring

    @property
    def at_once(self) -> int:
        """A tick for each process with layers. One more, to wait before them, was no faster and made all of them later:
        67 frames a second after 45 ms each instead of 71 after 28, over two processes on two cores."""
        return self.layout.ring

    # --- joining --------------------------------------------------------------------------------------------------

    def join(self, seed: int, latents: Tensor, conditions: Tensor) -> StagedSession:
        """A new session from a short true past, `(time, latent_dim)` and `(time, condition_dim)`."""
        session = self._seated(seed)
        session.generator.prefill(latents[None], conditions[None])
        return session

    def join_snapshot(self, seed: int, snapshot: dict[str, Any]) -> StagedSession:
        """A new session from a snapshot, of a session or of a `RollingGenerator` with one row."""
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
            check_request(self._first.config, request.condition, request.denoise_steps)
        left, frames = dict(requests), dict[StagedSession, Tensor]()
        self.play(requests, lambda session: left.pop(session, None), frames.__setitem__)
        return {session: frames[session] for session in requests}

    def play(
        self,
        sessions: Iterable[StagedSession],
        ask: Ask,
        show: Show,
        *,
        unshown: int = 0,
    ) -> None:
        """Tick after tick of these sessions, none of which waits for another's tick to end.

        `ask`: the coming tick of a session, when it may begin; None, and the session rests. `show`: a frame,
        `(1, height, width, 3)` uint8. Ends when all rest. `unshown`: how many pictures of a session, 0 or 1, may still
        be decoded elsewhere when its next tick begins: with 1 even a single session is decoded beside its own
        denoising, at the rate of the longer of the two, and its input is read before the picture before is seen.

        No more ticks are under way at once than keep the stages at work (`at_once`): a session that waits for that has
        not been asked yet, so no input grows old in a queue.

        If `ask` or `show` raises, or a request does not fit, the ticks under way are dropped, and pictures under way
        are not shown; a session's `tick` and its state are those of its last commit.
        """
        course = _Course(self, sessions, ask, show, unshown)
        try:
            while course.goes_on():
                pass
        finally:
            self.ring.drop_all()


class _Tick(NamedTuple):
    """A session's tick under way."""

    session: StagedSession
    condition: Tensor
    job: FlowJob


class _Course:
    """One `play`: which sessions may tick, which passes and pictures are under way, and what to do next."""

    def __init__(
        self, owner: StagedSessions, sessions: Iterable[StagedSession], ask: Ask, show: Show, unshown: int
    ) -> None:
        self._ask, self._show, self._unshown = ask, show, unshown
        self._ring, self._at_once = owner.ring, owner.at_once
        self._decodes_here = owner.layout.decode == FRONT
        self._waiting, self._ready, self._under_way = deque(sessions), deque[_Tick](), deque[_Tick]()
        self._undecoded: dict[StagedSession, None] = {}  # in the order in which their latents were sent off

    def goes_on(self) -> bool:
        """Do one thing, the most urgent one; False when there is nothing left. A picture that is there is shown; then
        comes whatever keeps the other stages at work."""
        if (session := self._decoded()) is not None:
            if not self._unshown:
                self._waiting.append(session)
            self._show_decoded(session)
        elif self._ready:
            tick = self._ready.popleft()
            tick.session.generator.depart(tick.job)
            self._under_way.append(tick)
        elif self._waiting and len(self._under_way) < self._at_once:
            session = self._waiting.popleft()
            if (request := self._ask(session)) is not None:
                self._ready.append(_begun(session, request))
        elif self._under_way:
            self._take_back(self._under_way.popleft())
        else:
            return False
        return True

    def _decoded(self) -> StagedSession | None:
        """A session whose picture is there; the first to be waited for if there is nothing else to do."""
        busy = self._waiting or self._ready or self._under_way
        there = (one for one in self._undecoded if not busy or self._ring.picture_is_there(one.number))
        return next(there, None)

    def _show_decoded(self, session: StagedSession) -> None:
        del self._undecoded[session]
        self._show(session, self._ring.arrive_picture(session.number))

    def _take_back(self, tick: _Tick) -> None:
        """A pass has come back. After the last one the latent is committed, and decoded here or sent off to be decoded
        elsewhere; the commit goes before the one and after the other, so the stages have it to do beside the picture.
        """
        session, generator = tick.session, tick.session.generator
        generator.arrive(tick.job)
        if tick.job.can_step:
            self._ready.append(tick)
            return
        latent = tick.job.finish()
        if self._decodes_here:
            generator.commit(latent, tick.condition)
            self._waiting.append(session)
            self._show(session, generator.decode(latent))
            return
        if session in self._undecoded:
            self._show_decoded(session)
        generator.depart_picture(latent)
        generator.commit(latent, tick.condition)
        self._undecoded[session] = None
        if self._unshown:
            self._waiting.append(session)


def _begun(session: StagedSession, request: TickRequest) -> _Tick:
    check_request(session.generator.config, request.condition, request.denoise_steps)
    condition = request.condition.reshape(1, -1).to(session.generator.device)
    return _Tick(session, condition, session.generator.start(condition, session.seed, request.denoise_steps))
