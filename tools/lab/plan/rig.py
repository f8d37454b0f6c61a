"""A small pipeline of stage processes, run for real, to hold the planner against.

Imports torch.

The pipeline: every stage holds some layers, a matrix product and a residual each, as in an MLP; or it waits as long as
given layers take on a device of its own, which is what a process with an accelerator does: then there may be more
stages than cores, and only the sending and the queueing are real. Sessions go round and round: `passes` times through
all stages, then a picture is made on the last stage, then the latent returns to the first. Costs of every stage are
measured alone, before the run, while the other processes wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...plan.gloo import ping, spawned

CALIBRATION, WARM_CALIBRATION = 30, 5


@dataclass(frozen=True)
class RigSpec:
    """`layout`: layers of each stage, `end` not included. `width`: of the layers. `decode_layers`: how many layers the
    picture costs. `ticks`: pictures of each session that are timed. `layer_wait_ms`: a
    layer is a wait of so long instead of arithmetic.
    """

    layout: tuple[tuple[int, int], ...]
    passes: int = 2
    width: int = 384
    tokens: int = 128
    decode_layers: int = 2
    ticks: int = 60
    warm_ticks: int = 10
    layer_wait_ms: float | None = None

    @property
    def hop_bytes(self) -> int:
        return self.tokens * self.width * 4


def measure_rig(spec: RigSpec, sessions: Sequence[int]) -> list[dict[str, Any]]:
    """Run the pipeline for real, with each number of sessions; returns what `nextframe.tools.lab.plan.validate`
    reads."""
    results = spawned(len(spec.layout), _stage, (spec, tuple(sessions)))
    front = results[0]
    return [
        {
            "schema": "nextframe.stages/1",
            "layout": [list(interval) for interval in spec.layout],
            "device": "cpu" if spec.layer_wait_ms is None else "waiting",
            "denoise_steps": spec.passes,
            "sessions": many,
            "stage_ms": {
                "layers": [stage["layers_ms"] for stage in results],
                "commit_layers": [0.0 for _ in results],
                "decode": results[-1]["decode_ms"],
            },
            "link": {"latency_ms": float(np.median(front["hops_ms"] or [0.0])), "bytes": spec.hop_bytes},
            **outcome,
        }
        for many, outcome in zip(sessions, front["outcomes"], strict=True)
    ]


class _Layers:
    def __init__(self, layers: int, spec: RigSpec) -> None:
        import torch

        draw = torch.Generator().manual_seed(layers)
        self._wait_s = None if spec.layer_wait_ms is None else spec.layer_wait_ms * layers / 1e3
        self._weights = [torch.randn(spec.width, spec.width, generator=draw) * spec.width**-0.5 for _ in range(layers)]

    def __call__(self, x: Any) -> Any:
        import torch

        if self._wait_s is not None:
            time.sleep(self._wait_s)
            return x.clone()
        for weight in self._weights:
            x = torch.nn.functional.layer_norm(x + torch.relu(x @ weight), x.shape[-1:])
        return x


def _stage(rank: int, spec: RigSpec, sessions: Sequence[int]) -> dict[str, Any]:
    import torch
    from torch import distributed

    first, end = spec.layout[rank]
    last = rank == len(spec.layout) - 1
    layers, decoder = _Layers(end - first, spec), _Layers(spec.decode_layers, spec)
    x = torch.randn(spec.tokens, spec.width, generator=torch.Generator().manual_seed(rank))
    result: dict[str, Any] = {"outcomes": [], "hops_ms": []}
    with torch.inference_mode():
        for member in range(len(spec.layout)):  # one after the other: alone on the machine, as a device would be
            if member == rank:
                result["layers_ms"] = _median_ms(lambda: layers(x))
                result["decode_ms"] = _median_ms(lambda: decoder(x)) if last else 0.0
            distributed.barrier()
        for many in sessions:
            distributed.barrier()
            if rank < 2 <= len(spec.layout):
                result["hops_ms"].append(ping(rank, (spec.hop_bytes,))[spec.hop_bytes] * 1e3)
            distributed.barrier()
            if len(spec.layout) == 1:
                result["outcomes"].append(_alone(spec, many, layers, decoder, x))
            elif rank == 0:
                result["outcomes"].append(_front(spec, many, layers, x))
            else:
                _behind(rank, spec, many, layers, decoder)
    return result


def _median_ms(work: Callable[[], Any]) -> float:
    taken_ms = []
    for _ in range(WARM_CALIBRATION + CALIBRATION):
        began_ns = time.perf_counter_ns()
        work()
        taken_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return float(np.median(taken_ms[WARM_CALIBRATION:]))


def _alone(spec: RigSpec, sessions: int, layers: _Layers, decoder: _Layers, x: Any) -> dict[str, float]:
    shown_s, latencies_s = [], []
    for _ in range((spec.warm_ticks + spec.ticks) * sessions):
        began_s = time.perf_counter()
        for _ in range(spec.passes):
            y = layers(x)
        decoder(y)
        shown_s.append(time.perf_counter())
        latencies_s.append(shown_s[-1] - began_s)
    return _outcome(spec, sessions, shown_s, latencies_s)


def _front(spec: RigSpec, sessions: int, layers: _Layers, x: Any) -> dict[str, float]:
    """Rank 0: begins ticks, does its layers, sends on, and takes back what the last stage returns.

    Messages keep their order, so the front knows whose turn it is without asking: sessions in turn, pass after pass.
    """
    import torch
    from torch import distributed

    back = len(spec.layout) - 1
    buffer = torch.empty_like(x)
    total = (spec.warm_ticks + spec.ticks) * sessions
    began_s: dict[int, float] = {}
    waiting: list[tuple[int, int, Any]] = []
    sends, shown_s, latencies_s, begun = [], [], [], 0
    for _ in range(min(sessions, total)):
        waiting.append((begun, 0, x))
        begun += 1
    under_way: list[tuple[int, int]] = []
    while waiting or under_way:
        while waiting:
            tick, done, latent = waiting.pop(0)
            if done == 0:
                began_s[tick] = time.perf_counter()
            sends.append(_sent(layers(latent), 1))
            under_way.append((tick, done))
        distributed.recv(buffer, back)
        tick, done = under_way.pop(0)
        if done + 1 < spec.passes:
            waiting.append((tick, done + 1, buffer.clone()))
            continue
        shown_s.append(time.perf_counter())
        latencies_s.append(shown_s[-1] - began_s.pop(tick))
        if begun < total:
            waiting.append((begun, 0, x))
            begun += 1
    for send in sends:
        send.wait()
    return _outcome(spec, sessions, shown_s, latencies_s)


def _behind(rank: int, spec: RigSpec, sessions: int, layers: _Layers, decoder: _Layers) -> None:
    """Ranks 1 and up: receive, compute, send on. The last one makes the picture before it answers."""
    import torch
    from torch import distributed

    ranks, rounds = len(spec.layout), (spec.warm_ticks + spec.ticks) * sessions * spec.passes
    buffer = torch.empty(spec.tokens, spec.width)
    pass_of: list[int] = _pass_numbers(spec, sessions)
    sends = []
    for turn in range(rounds):
        distributed.recv(buffer, rank - 1)
        y = layers(buffer)
        if rank == ranks - 1 and pass_of[turn] == spec.passes - 1:
            decoder(y)
        sends.append(_sent(y, (rank + 1) % ranks))
    for send in sends:
        send.wait()


def _pass_numbers(spec: RigSpec, sessions: int) -> list[int]:
    """Which pass each message of the ring belongs to: as many in a row as there are sessions, then the next pass."""
    total, numbers = (spec.warm_ticks + spec.ticks) * sessions, []
    queue = [(tick, 0) for tick in range(min(sessions, total))]
    begun = len(queue)
    while queue:
        tick, done = queue.pop(0)
        numbers.append(done)
        if done + 1 < spec.passes:
            queue.append((tick, done + 1))
        elif begun < total:
            queue.append((begun, 0))
            begun += 1
    return numbers


def _sent(message: Any, to: int) -> Any:
    """Under way, not waited for."""
    from torch import distributed

    work = distributed.isend(message, to)
    assert work is not None, "both ends are in the group"
    return work


def _outcome(spec: RigSpec, sessions: int, shown_s: Sequence[float], latencies_s: Sequence[float]) -> dict[str, float]:
    """The rate of the median round, in which every session shows one picture: what disturbs the machine for a moment
    is left out of it, as it is left out of the median latency and of the costs."""
    warm = spec.warm_ticks * sessions
    rounds_s = np.diff(np.asarray(shown_s[warm - 1 :: sessions]))
    return {
        "fps": sessions / float(np.median(rounds_s)),
        "latency_ms": float(np.median(latencies_s[warm:])) * 1e3,
    }
