"""The front's end of a group of stage processes: starts them, sends messages round, tells which failed.

Passes leave in any order and come back in the same; a commit does not come back, since messages keep their order and
nothing has to wait for it. A session is a number here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor

from ..dynamics.slots import DynamicsConfig
from .kinds import AnyTokenizer, kind_of
from .layout import StageLayout
from .process.carrier import Carrier, Job
from .process.hosts import LaunchedProcesses, launched, meeting
from .process.link import BULK, Command, Header, Link, LinkError, Message, UnderWay, host_store, join
from .process.processes import StageFault, StageLimits, StageProcesses
from .process.spec import StageSpec

FRONT = 0
WORKER = "nextframe.model.stages.worker"
"""What the fork server loads, and each of its children runs."""
T = TypeVar("T")


@dataclass
class _Flight:
    """The buffers of one session's passes, commits or pictures: of a kind no two are under way at once.

    `coming`: the answer, for a tensor on `device`. `sent`: what may not have arrived yet.
    """

    message: Message
    answer: Tensor
    device: torch.device
    coming: UnderWay | None = None
    sent: UnderWay | None = None


@dataclass(frozen=True)
class StageWeights:
    """Where the weights of a generator are: safetensors files with the names of `Dynamics` and `SlotTokenizer`."""

    dynamics: Path
    tokenizer: Path


class StageRing:
    """`start`, then messages, `close`. Every call raises `StageFault` once a stage process is gone."""

    def __init__(self, config: DynamicsConfig, layout: StageLayout, weights: StageWeights, limits: StageLimits) -> None:
        self._config, self._layout, self._weights = config, layout, weights
        self._launch = launched()
        self.processes = (
            StageProcesses(WORKER, limits) if self._launch is None else LaunchedProcesses(self._launch, limits)
        )
        self._link: Link | None = None
        self._carrier: Carrier | None = None
        self._waiter: Carrier | None = None
        self._number = 0
        self._flights: dict[tuple[int, Command], _Flight] = {}
        self._under_way: deque[tuple[int, _Flight | Tensor]] = deque()
        self._pictures: dict[int, tuple[_Flight, Job]] = {}
        self._lock = threading.RLock()
        self.bytes_sent = 0
        self.last_fault_ns = 0

    def start(self, rows: int, window: int | None, tokenizer: AnyTokenizer, sessions: int = 1) -> None:
        """Start every stage process, with a memory for each of so many sessions, and meet them. Raises StageStartError,
        StageFault."""
        if self._layout.processes == 1:
            return
        store = host_store() if self._launch is None else None
        devices = tuple(self._layout.torch_device(rank) for rank in range(self._layout.processes))
        self.processes.start([
            StageSpec(
                rank=rank, devices=devices, ring=self._layout.ring, first=interval.first, end=interval.end,
                config=asdict(replace(self._config, rests=None)),  # the rule is the front's: it makes the latents
                weights=str(self._weights.dynamics.resolve()), rows=rows, window=window,
                threads=torch.get_num_threads(), port=0 if store is None else store.port,
                tokenizer=asdict(tokenizer.config) if rank == self._layout.decode else None,
                tokenizer_kind=kind_of(tokenizer),
                tokenizer_weights=str(self._weights.tokenizer.resolve()), sessions=sessions,
            )
            for rank, interval in enumerate(self._layout.intervals) if rank != FRONT
        ])  # fmt: skip
        ring = self._layout.ring
        try:
            self._link = (
                join(store, FRONT, devices, ring=ring)
                if store is not None
                else join(meeting(), FRONT, devices, ring=ring, local=False, patience_s=self.processes.limits.stuck_s)
            )
        except LinkError as error:
            raise self._fault(error) from error
        self._rows = rows
        self._message = Message(self._config, rows, self._link.device)
        self._carrier, self._waiter = Carrier(), Carrier()
        self._number = 0

    def close(self) -> None:
        """End the stage processes of this group; those that live are asked to. May be called twice."""
        if self._link is not None and self.processes.fault is None:
            with suppress(StageFault):  # ended already, which is what was asked for
                self.tell(Command.STOP)
        self.processes.end()
        self._part()

    def through(self, tokens: Tensor, gates: Tensor, command: Command, session: int = 0) -> Tensor:
        """Tokens through all stages but the front, and waited for. Nothing else may be under way."""
        with self._lock:
            assert not self._under_way, "a pass that is waited for, while others are under way"
            self.depart(tokens, gates, command, session)
            return self.arrive()

    def depart(self, tokens: Tensor, gates: Tensor, command: Command, session: int = 0) -> None:
        """A pass, or a commit, is sent off and not waited for. A pass comes back by `arrive`; each session has one at a
        time."""
        with self._lock:
            if self._layout.ring == 1:
                if command != Command.COMMIT:
                    self._under_way.append((session, tokens))
                return
            flight = self._free_flight(session, command, tokens.device)
            flight.message.tokens.copy_(tokens)
            flight.message.gates.copy_(gates)
            if command == Command.COMMIT:
                self._off(flight, command, session, None)
            else:
                self._off(flight, command, session, lambda link: link.start_receive(flight.answer, link.previous))
                self._under_way.append((session, flight))

    def arrive(self) -> Tensor:
        """The outcome of the pass that left first of those under way, `(rows, tokens, width)`."""
        with self._lock:
            session, flight = self._under_way.popleft()
            if isinstance(flight, Tensor):
                return flight
            self._finish(flight.coming)
            flight.coming = flight.sent = None
            commits = self._flights.get((session, Command.COMMIT))
            if commits is not None:
                commits.sent = None  # it went before, the same way
            return flight.answer.to(flight.device, copy=True)

    def depart_picture(self, latent: Tensor, shape: tuple[int, ...], session: int = 0) -> None:
        """A latent is sent to the process that decodes; its frames, uint8 of this shape, come back by `arrive_picture`.
        Another thread waits for them, so it is known when they are there."""
        decoder = self._layout.decode
        assert decoder != FRONT, "the front decodes itself"
        with self._lock:
            flight = self._free_flight(session, Command.DECODE, latent.device)
            flight.message.latent.copy_(latent)
            if flight.answer.shape != shape:
                with torch.inference_mode(False):
                    flight.answer = torch.empty(shape, dtype=torch.uint8, device=flight.answer.device)
            self._off(flight, Command.DECODE, session, lambda link: link.start_receive(flight.answer, decoder, BULK))
            link, coming, waiter = cast(Link, self._link), cast(UnderWay, flight.coming), cast(Carrier, self._waiter)
            self._pictures[session] = flight, waiter.start(lambda: link.finish(coming))

    def picture_is_there(self, session: int) -> bool:
        """Or will never be, which `arrive_picture` then says."""
        return self._pictures[session][1].done.is_set()

    def arrive_picture(self, session: int = 0) -> Tensor:
        """The session's frames."""
        with self._lock:
            flight, job = self._pictures.pop(session)
            waiter = cast(Carrier, self._waiter)
            self._guarded(lambda _: waiter.wait(job, self._gone), here=True)
            flight.coming = flight.sent = None
            return flight.answer.to(flight.device, copy=True)

    def _off(self, flight: _Flight, command: Command, session: int, answer: Callable[[Link], UnderWay] | None) -> None:
        """Send it. Its answer is asked for before: a send waits until its receiver has asked, and a ring of processes
        that wait for each other stands still."""
        flight.message.header = self._header(command, 0, session)
        self.bytes_sent += flight.message.whole.nbytes
        to = self._first_to_hear(command)[0]

        def begin(link: Link) -> None:
            if answer is not None:
                flight.coming = answer(link)
            flight.sent = link.start_send(flight.message.whole, to)

        self._guarded(begin, here=True)

    def drop_all(self) -> None:
        """What is under way is waited for, so that no pass gets another's answer, and forgotten."""
        with self._lock:
            while self._under_way:
                self.arrive()
            for session in list(self._pictures):
                self.arrive_picture(session)

    def _free_flight(self, session: int, command: Command, device: torch.device) -> _Flight:
        """Buffers from which nothing is being sent any more."""
        key = session, command
        if key not in self._flights:
            with torch.inference_mode(False):  # buffers made there could be filled nowhere else
                message = Message(self._config, self._rows, self._message.whole.device)
                self._flights[key] = _Flight(message, torch.empty_like(message.tokens), device)
        flight = self._flights[key]
        assert flight.coming is None, f"session {session}: the same is under way"
        self._finish(flight.sent)
        return flight

    def _finish(self, under_way: UnderWay | None) -> None:
        if under_way is not None:
            self._guarded(lambda link: link.finish(under_way))

    def tell(self, command: Command, argument: int = 0, session: int = 0) -> None:
        """A command to every stage that it concerns."""
        if self._layout.processes == 1:
            return
        with self._lock:
            self._send(command, argument, session)

    def ask(
        self, command: Command, shapes: Mapping[int, list[tuple[int, ...]]], dtype: torch.dtype, session: int = 0
    ) -> list[Tensor]:
        """A command that the ranks in `shapes` answer with tensors of these shapes, in this order."""
        if self._layout.processes == 1:
            return []
        with self._lock:
            self._send(command, 0, session)
            return [
                self._guarded(partial(Link.receive_bulk, shape=shape, dtype=dtype, source=rank))
                for rank, of_rank in shapes.items()
                for shape in of_rank
            ]

    def give(self, rank: int, *tensors: Tensor) -> None:
        """Bulk to one stage, which a command before has told to expect it."""
        for tensor in tensors:
            self.bytes_sent += tensor.nbytes
            self._guarded(partial(Link.send_bulk, tensor=tensor, to=rank))

    def hold(self) -> threading.RLock:
        """For a command and its bulk, that no other message may come between."""
        return self._lock

    def _send(self, command: Command, argument: int = 0, session: int = 0) -> None:
        message, ranks = self._message, self._first_to_hear(command)
        message.header = self._header(command, argument, session)
        self.bytes_sent += message.whole.nbytes * len(ranks)

        def to_all(link: Link) -> None:
            for rank in ranks:
                link.send(message.whole, rank)

        self._guarded(to_all)

    def _header(self, command: Command, argument: int, session: int) -> Header:
        self._number += 1
        return Header(command, argument, self._number, session)

    def _first_to_hear(self, command: Command) -> list[int]:
        """The next one, who hands it on; a process that only decodes hears nothing else than when and its end."""
        after, decoder = [FRONT + 1] if self._layout.ring > 1 else [], self._layout.own_decoder
        if decoder is None or command not in {Command.DECODE, Command.STOP}:
            return after
        return [decoder] if command == Command.DECODE else [*after, decoder]

    def _guarded(self, action: Callable[[Link], T], *, here: bool = False) -> T:
        """Whatever a broken link raises becomes the fault that broke it. `here`: on this thread, since it cannot wait
        for ever; else on one that can be left behind."""
        link, carrier = self._link, self._carrier
        if link is None or carrier is None:
            raise self.processes.fault or StageFault(FRONT, "closed", "no stage processes run", time.monotonic_ns())
        self.processes.waiting(time.monotonic_ns())
        try:
            return action(link) if here else cast(T, carrier.carry(lambda: action(link), self._gone))
        except LinkError as error:
            raise self._fault(error) from error
        finally:
            self.processes.waiting(None)

    def _gone(self) -> bool:
        return self.processes.fault is not None

    def _part(self) -> None:
        for carrier in (self._carrier, self._waiter):
            if carrier is not None:
                carrier.close()
        self._link = self._carrier = self._waiter = None
        for under_way in (self._flights, self._under_way, self._pictures):
            under_way.clear()

    def _fault(self, error: LinkError) -> StageFault:
        found = self.processes.check()
        self._part()
        self.last_fault_ns = found.noticed_ns if found else time.monotonic_ns()
        return found or StageFault(FRONT, "lost", str(error), time.monotonic_ns())
