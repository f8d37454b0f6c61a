"""Step `circuit`: a whole tick of the shipped world on the device, stage by stage, by each way to run it.

`eager` reads what is seen of memory; `fixed` reads all of it at one place; `graphs` replays captured launches;
`compiled` and `compiled graphs` let torch.compile fuse the network first. All but `eager` and the compiled ones must
make the bits of `fixed`, and that is checked here, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from .....model.generator.graphs import GraphedGenerator, NoGraphs
from .....model.generator.ticks import RollingGenerator
from .....worlds.circuit.world import load_networks
from .. import sessions
from ..step import Context, SkippedError
from ..timing import Marks, by_name, summary, wait

LADDER = (1, 2, 4)
COMPILED_BOUND = 1e-2


def run(context: Context) -> None:
    ways: dict[str, Callable[[], RollingGenerator]] = {
        "eager": lambda: sessions.generator(context.device, "eager"),
        "fixed": lambda: sessions.generator(context.device, "fixed"),
        "graphs": lambda: sessions.generator(context.device, "graphs"),
        "compiled": lambda: compiled(context, graphs=False),
        "compiled graphs": lambda: compiled(context, graphs=True),
    }
    ticks = 4 if context.rehearse else 60
    expected, _ = sessions.play(sessions.generator(context.device, "fixed"), 6)
    for name, make in ways.items():
        context.attempt(name, partial(measured, context, make, name, expected, ticks))


def compiled(context: Context, *, graphs: bool) -> RollingGenerator:
    if context.device.type != "cuda" and not context.rehearse:
        raise SkippedError("compiled ways are measured on a GPU only")
    if context.left_s < 20:
        raise SkippedError("no time left to compile")
    backend = "eager" if context.rehearse else "inductor"
    options: dict[str, Any] = {} if context.rehearse else {"mode": "max-autotune-no-cudagraphs"}
    tokenizer, dynamics = load_networks(sessions.FOLDER, str(context.device))
    recorder = sessions.recorder_for(context.device) if graphs else NoGraphs()
    return GraphedGenerator(
        tokenizer, dynamics, recorder, predict=lambda work: torch.compile(work, backend=backend, **options)
    )


def measured(
    context: Context, make: Callable[[], RollingGenerator], name: str, expected: torch.Tensor, ticks: int
) -> dict[str, Any]:
    began = time.monotonic()
    one = make()
    got, _ = sessions.play(one, len(expected))
    ready_s = time.monotonic() - began
    apart = float((got - expected).abs().max())
    bound = 0.0 if name in ("fixed", "graphs") else COMPILED_BOUND
    return {
        "ready_s": round(ready_s, 2),
        "latent_apart_from_fixed": apart,
        "met": apart <= bound,
        "rungs": {str(steps): timed(one, steps, ticks) for steps in LADDER},
    }


@torch.inference_mode()
def timed(one: RollingGenerator, steps: int, ticks: int) -> dict[str, Any]:
    """Stages in ms by the device's own clock, the tick by the host's, from the input to the frame's bytes."""
    sessions.prefill(one)
    rows, tick_ms, answer_ms = [], [], []
    host = torch.empty(0)
    for number, given in enumerate(sessions.conditions(ticks + 3)):
        wait(one.device)
        began, marks = time.perf_counter(), Marks(one.device)
        marks.mark("begin")
        condition = given.to(one.device)
        job = one.start(condition, sessions.SEED, steps)
        marks.mark("condition")
        while job.can_step:
            job.step()
        latent = job.finish()
        marks.mark("denoise")
        frames = one.decode(latent)
        marks.mark("decode")
        host = frames.cpu()
        answered = time.perf_counter()
        marks.mark("copy")
        one.commit(latent, condition)
        marks.mark("commit")
        wait(one.device)
        if number >= 3:
            rows.append(marks.spans_ms())
            tick_ms.append((time.perf_counter() - began) * 1e3)
            answer_ms.append((answered - began) * 1e3)
    assert host.float().std() > 0, "a frame of one colour"
    return {
        "stage_ms": by_name(rows), "tick_ms": summary(tick_ms), "input_to_picture_ms": summary(answer_ms),
        "fps": round(1e3 * len(tick_ms) / sum(tick_ms), 2),
    }  # fmt: skip
