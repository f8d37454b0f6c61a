"""A group of processes over torch.distributed with gloo, and what a message between two of them costs.

Processes are started afresh (`spawn`), on this machine only, and end when the call that made them returns; one that
hangs is killed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .profile import Link, PlanError

TIMEOUT_S = 120
SMALL_BYTES, LARGE_BYTES = 1_000, 4_000_000
ROUND_TRIPS, WARM_TRIPS = 100, 10


def link_between_processes() -> Link:
    """Latency from small messages there and back, bandwidth from large ones, in turns. On a busy machine a small one
    may take as long as a large one; then the whole time of the large one counts as its wire, and no wonder is told."""
    times_s = spawned(2, ping, ((SMALL_BYTES, LARGE_BYTES),))[0]
    small_s, large_s = times_s[SMALL_BYTES], times_s[LARGE_BYTES]
    wire_s = large_s - small_s if large_s > 2 * small_s else large_s
    return Link(name="gloo on this machine", bandwidth_gb_s=LARGE_BYTES / wire_s / 1e9, latency_ms=small_s * 1e3)


def spawned(processes: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """`work(rank, ...)` in every process of a fresh group; their results by rank."""
    from torch import multiprocessing

    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    started = [
        context.Process(target=_member, args=(rank, processes, port, pipes[rank][1], work, arguments), daemon=True)
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for _, sending in pipes:
        sending.close()
    try:
        return [_received(rank, receiving) for rank, (receiving, _) in enumerate(pipes)]
    finally:
        for process in started:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()
        for receiving, _ in pipes:
            receiving.close()


def _received(rank: int, receiving: Connection) -> Any:
    if not receiving.poll(TIMEOUT_S):
        raise PlanError(f"measuring: expected an answer of stage process {rank} within {TIMEOUT_S} s, none came")
    try:
        return receiving.recv()
    except EOFError:
        raise PlanError(f"measuring: stage process {rank} ended before it answered; see its message above") from None


def _member(  # noqa: PLR0917 - arguments of a process, in one place
    rank: int, processes: int, port: int, sending: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    address, patience = f"tcp://127.0.0.1:{port}", timedelta(seconds=TIMEOUT_S)
    distributed.init_process_group("gloo", init_method=address, timeout=patience, rank=rank, world_size=processes)
    try:
        sending.send(work(rank, *arguments))
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def ping(rank: int, sizes: Sequence[int]) -> dict[int, float]:
    """One-way seconds by message size, between ranks 0 and 1; sizes take turns."""
    import torch
    from torch import distributed

    messages = {size: torch.zeros(size, dtype=torch.uint8) for size in sizes}
    taken_s: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(WARM_TRIPS + ROUND_TRIPS):
        for size, message in messages.items():
            began_s = time.perf_counter()
            if rank == 0:
                distributed.send(message, 1)
                distributed.recv(message, 1)
            else:
                distributed.recv(message, 0)
                distributed.send(message, 0)
            taken_s[size].append((time.perf_counter() - began_s) / 2)
    return {size: float(np.median(times[WARM_TRIPS:])) for size, times in taken_s.items()}
