"""The front's end of a group of stage processes: starts them, sends messages round, tells who failed.

Owns the group and the lock on it. A denoise pass goes once around the ring and is waited for; a commit is sent off and
not waited for, since messages keep their order. Knows no session, no memory and no tick.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.dynamics import DynamicsConfig
from model.stage_carrier import Carrier
from model.stage_hosts import LaunchedProcesses, launched, meeting
from model.stage_kinds import AnyTokenizer, kind_of
from model.stage_layout import StageLayout
from model.stage_link import Command, Header, Link, LinkError, Message, host_store, join
from model.stage_processes import StageFault, StageLimits, StageProcesses
from model.stage_spec import StageSpec

FRONT = 0


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
        self.processes = StageProcesses(limits) if self._launch is None else LaunchedProcesses(self._launch, limits)
        self._link: Link | None = None
        self._carrier: Carrier | None = None
        self._number = 0
        self._lock = threading.RLock()
        self.bytes_sent = 0
        self.last_fault_ns = 0

    def start(self, rows: int, window: int | None, tokenizer: AnyTokenizer) -> None:
        """Start every stage process and meet them. Raises StageStartError, StageFault."""
        if self._layout.processes == 1:
            return
        store = host_store() if self._launch is None else None
        devices = tuple(self._layout.torch_device(rank) for rank in range(self._layout.processes))
        self.processes.start([
            StageSpec(
                rank=rank, devices=devices, ring=self._layout.ring, first=interval.first, end=interval.end,
                config=asdict(self._config),
                weights=str(self._weights.dynamics.resolve()), rows=rows, window=window,
                threads=torch.get_num_threads(), port=0 if store is None else store.port,
                tokenizer=asdict(tokenizer.config) if rank == self._layout.decode else None,
                tokenizer_kind=kind_of(tokenizer),
                tokenizer_weights=str(self._weights.tokenizer.resolve()),
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
        self._message = Message(self._config, rows, self._link.device)
        self._carrier = Carrier()
        self._number = 0

    def close(self) -> None:
        """End the stage processes of this group; those that live are asked to. May be called twice."""
        if self._link is not None and self.processes.fault is None:
            with suppress(StageFault):  # ended already, which is what was asked for
                self.tell(Command.STOP)
        self.processes.end()
        self._part()

    def through(self, tokens: Tensor, gates: Tensor, command: Command) -> Tensor:
        """Tokens through all stages but the front; a commit is not waited for and gives back what it was given."""
        if self._layout.ring == 1:
            return tokens
        with self._lock:
            message = self._message
            message.tokens.copy_(tokens)
            message.gates.copy_(gates)
            if command == Command.COMMIT:
                self._send(command)
                return tokens
            ranks = self._addressed(command)

            def once_around(link: Link) -> None:  # one errand: every change of threads costs a wake-up
                self._given(link, ranks)
                link.receive(message.tokens, link.previous)

            self._guarded(once_around)
            return message.tokens.to(tokens.device, copy=True)

    def tell(self, command: Command, argument: int = 0, latent: Tensor | None = None) -> None:
        """A command to every stage that it concerns. Answers, if any, come as bulk."""
        if self._layout.processes == 1:
            return
        with self._lock:
            if latent is not None:
                self._message.latent.copy_(latent)
            self._send(command, argument)

    def ask(self, command: Command, shapes: Mapping[int, list[tuple[int, ...]]], dtype: torch.dtype) -> list[Tensor]:
        """A command that the ranks in `shapes` answer with tensors of these shapes, in this order."""
        if self._layout.processes == 1:
            return []
        with self._lock:
            self._send(command)
            return self.collect(shapes, dtype)

    def collect(self, shapes: Mapping[int, list[tuple[int, ...]]], dtype: torch.dtype) -> list[Tensor]:
        return [
            self._guarded(lambda link, r=rank, s=shape: link.receive_bulk(s, dtype, r))
            for rank, of_rank in shapes.items()
            for shape in of_rank
        ]

    def give(self, rank: int, *tensors: Tensor) -> None:
        """Bulk to one stage, which a command before has told to expect it."""
        for tensor in tensors:
            self.bytes_sent += tensor.nbytes
            self._guarded(lambda link, t=tensor: link.send_bulk(t, rank))

    def hold(self) -> threading.RLock:
        """For a command and its bulk, that no other message may come between."""
        return self._lock

    def _send(self, command: Command, argument: int = 0) -> None:
        ranks = self._addressed(command, argument)
        self._guarded(lambda link: self._given(link, ranks))

    def _addressed(self, command: Command, argument: int = 0) -> list[int]:
        """The message is ready to go; to whom."""
        self._number += 1
        self._message.header = Header(command, argument, self._number)
        ranks = self._first_to_hear(command)
        self.bytes_sent += self._message.whole.nbytes * len(ranks)
        return ranks

    def _given(self, link: Link, ranks: list[int]) -> None:
        for rank in ranks:
            link.send(self._message.whole, rank)

    def _first_to_hear(self, command: Command) -> list[int]:
        """The next one, who hands it on; a process that only decodes hears nothing else than when and its end."""
        after, decoder = [FRONT + 1] if self._layout.ring > 1 else [], self._layout.own_decoder
        if decoder is None or command not in {Command.DECODE, Command.STOP}:
            return after
        return [decoder] if command == Command.DECODE else [*after, decoder]

    def _guarded(self, action: Any) -> Any:
        """Whatever a broken link raises becomes the fault that broke it."""
        link, carrier = self._link, self._carrier
        if link is None or carrier is None:
            raise self.processes.fault or StageFault(FRONT, "closed", "no stage processes run", time.monotonic_ns())
        self.processes.waiting(time.monotonic_ns())
        try:
            return carrier.carry(lambda: action(link), lambda: self.processes.fault is not None)
        except LinkError as error:
            raise self._fault(error) from error
        finally:
            self.processes.waiting(None)

    def _part(self) -> None:
        if self._carrier is not None:
            self._carrier.close()
        self._link = self._carrier = None

    def _fault(self, error: LinkError) -> StageFault:
        found = self.processes.check()
        self._part()
        self.last_fault_ns = found.noticed_ns if found else time.monotonic_ns()
        return found or StageFault(FRONT, "lost", str(error), time.monotonic_ns())
