"""Messages between stage processes, over torch.distributed: gloo between processors, NCCL between distinct GPUs.

The process group, the one shape that all messages of the ring have, and what a broken link raises. A message goes from
process to process in the order of the layers: front -> 1 -> 2 -> ... ; what comes out of
the last one goes back to the front. A process that only decodes is none of them and hears from the front alone. Bulk
(memory, frames) goes straight between a stage and the front.

A link belongs to one group of processes. When one of them is gone the whole group is: torch.distributed cannot mend
a group, so a new one is made (`nextframe.model.stages.process.processes`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from ...dynamics.slots import DynamicsConfig

LOCAL = "127.0.0.1"
JOIN_TIMEOUT_S = 60
"""For processes that are known to be up to find each other."""
FOREVER_S = 10 * 365 * 24 * 3600
"""A message may be a whole pause away. That the other end is gone is seen by its connection or its heartbeat."""
HEADER = 8
"""Floats at the start of a message: four int64 in their place."""
RING, BULK = 0, 1


class LinkError(Exception):
    """The other end of a link is gone."""


class Command(IntEnum):
    DENOISE = 1
    COMMIT = 2
    DECODE = 3
    RESET = 4
    NEW_EPOCH = 5
    RESTORE = 6
    COLLECT = 7
    PING = 8
    STATS = 9
    STOP = 10


@dataclass(frozen=True)
class Header:
    """`argument`: what the command needs besides tensors. `number`: of the message, counted up by the front. `session`:
    whose memory it is about."""

    command: Command
    argument: int
    number: int
    session: int = 0


class Message:
    """One float32 tensor for every command: header, tokens `(rows, tokens, width)`, gates `(rows, 6 * width)`.

    `tokens`, `gates` and `latent` `(rows, latent_dim)` are views of it; `latent` lies where the tokens do.
    """

    def __init__(self, config: DynamicsConfig, rows: int, device: torch.device | str) -> None:
        tokens, gates = rows * config.tokens * config.width, rows * 6 * config.width
        room = max(tokens, rows * config.latent_dim)
        self.whole = torch.zeros(HEADER + room + gates, device=device)
        body = self.whole[HEADER:]
        self.tokens = body[:tokens].view(rows, config.tokens, config.width)
        self.latent = body[: rows * config.latent_dim].view(rows, config.latent_dim)
        self.gates = body[room:].view(rows, 6 * config.width)

    @property
    def header(self) -> Header:
        command, argument, number, session = self.whole[:HEADER].view(torch.int64).tolist()
        return Header(Command(command), argument, number, session)

    @header.setter
    def header(self, header: Header) -> None:
        numbers = torch.tensor([header.command, header.argument, header.number, header.session])
        self.whole[:HEADER].view(torch.int64).copy_(numbers)


class UnderWay(NamedTuple):
    """A message that was begun. `what`: in words, for an error."""

    work: Any
    what: str


class Link:
    """One process's end of the group. Every call returns when its tensor may be used again; raises LinkError.

    `ring`: how many processes, the first ones, hand messages on.
    `device`: where messages must lie, the CPU for gloo. Tensors elsewhere are copied by the sender.
    `patience_s`: for one message; without, the watcher of the processes ends them.
    """

    def __init__(
        self, group: Any, rank: int, ring: int, device: torch.device, *, patience_s: float | None = None
    ) -> None:
        self._group, self.rank, self.ring, self.device = group, rank, ring, device
        self._patience = timedelta(seconds=patience_s or 0.0)  # 0 is for ever

    @property
    def next(self) -> int:
        """Where a message goes from here; 0, the front, from the last one."""
        return (self.rank + 1) % self.ring if self.rank < self.ring else 0

    @property
    def previous(self) -> int:
        return (self.rank - 1) % self.ring if self.rank < self.ring else 0

    def send(self, tensor: Tensor, to: int, tag: int = RING) -> None:
        self.finish(self.start_send(tensor, to, tag))

    def receive(self, tensor: Tensor, source: int, tag: int = RING) -> Tensor:
        self.finish(self.start_receive(tensor, source, tag))
        return tensor

    def start_send(self, tensor: Tensor, to: int, tag: int = RING) -> UnderWay:
        """Not waited for: the tensor stays as it is until `finish`."""
        return self._started(self._group.send, tensor, to, tag, f"send to stage {to}")

    def start_receive(self, tensor: Tensor, source: int, tag: int = RING) -> UnderWay:
        """Not waited for: what comes is in the tensor after `finish`. Those from one source come in order. A message
        that its receiver has not asked for yet stays with its sender, so ask before other work."""
        return self._started(self._group.recv, tensor, source, tag, f"receive from stage {source}")

    def finish(self, under_way: UnderWay) -> None:
        try:
            under_way.work.wait(self._patience)
        except RuntimeError as error:
            raise LinkError(f"stage {self.rank} could not {under_way.what}: {error}") from error

    def _started(self, start: Callable[..., Any], tensor: Tensor, other: int, tag: int, what: str) -> UnderWay:
        assert tensor.is_contiguous()
        assert tensor.device.type == self.device.type
        try:
            return UnderWay(start([tensor], other, tag), what)
        except RuntimeError as error:  # what torch.distributed raises for a peer that is gone
            raise LinkError(f"stage {self.rank} could not {what}: {error}") from error

    def send_bulk(self, tensor: Tensor, to: int) -> None:
        self.send(tensor.to(self.device).contiguous(), to, BULK)

    def receive_bulk(self, shape: tuple[int, ...], dtype: torch.dtype, source: int) -> Tensor:
        return self.receive(torch.empty(shape, dtype=dtype, device=self.device), source, BULK)


def host_store(port: int = 0) -> Any:
    """Where the processes of this machine find each other; its `port` is what they must know."""
    return distributed.TCPStore(LOCAL, port, None, True, timedelta(seconds=JOIN_TIMEOUT_S), wait_for_workers=False)


def guest_store(port: int) -> Any:
    return distributed.TCPStore(LOCAL, port, None, False, timedelta(seconds=JOIN_TIMEOUT_S))


def wants_nccl(devices: tuple[str, ...]) -> bool:
    """NCCL takes a GPU of its own for every process; where two share one, messages go through the host."""
    on_gpus = all(device.startswith("cuda") for device in devices)
    return on_gpus and len(set(devices)) == len(devices) and distributed.is_nccl_available()


def join(
    store: Any,
    rank: int,
    devices: tuple[str, ...],
    *,
    ring: int,
    own_device: str = "",
    local: bool = True,
    patience_s: float | None = None,
) -> Link:
    """Meet the others and return this process's end. `devices`: torch's names by rank. `ring`: see `Link`.
    `local`: on this machine only.

    Blocks until all are there. Raises LinkError if they do not come.
    """
    processes, own = len(devices), torch.device(own_device or devices[rank])
    kinds: Any = distributed  # what its type hints leave out
    try:
        if wants_nccl(devices):
            torch.cuda.set_device(own)
            group = kinds.ProcessGroupNCCL(store, rank, processes, kinds.ProcessGroupNCCL.Options())
            return Link(group, rank, ring, own, patience_s=patience_s)
        options, gloo = kinds.ProcessGroupGloo._Options(), kinds.ProcessGroupGloo
        options._threads, options._timeout = 1, timedelta(seconds=FOREVER_S)
        if local:
            options._devices = [gloo.create_device(hostname=LOCAL)]
            group = gloo(store, rank, processes, options)
        else:  # heeds GLOO_SOCKET_IFNAME, else the address of this host's name
            group = gloo(store, rank, processes, options._timeout)
    except (RuntimeError, ValueError) as error:
        raise LinkError(f"stage {rank} of {processes} did not meet the others: {error}") from error
    return Link(group, rank, ring, torch.device("cpu"), patience_s=patience_s)
