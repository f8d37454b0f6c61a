"""Measures the shipped generator over 1, 2, 3 processes: what stages cost, what a hop costs, rate and latency.

    python -m tools.stages.bench                         # auto layouts of 1, 2 and 3 processes
    python -m tools.stages.bench --stages "denoise:0-2@cpu:0, denoise:2-6@cpu:1, decode@cpu:1" --out runs.json
    python -m tools.stages.bench --device cuda           # with a GPU: on it, beside it, and over several where they are

Prints a table; the last line is one JSON document. `--out` keeps the runs in the form that `tools.plan.validate` reads.
Stage costs are measured apart from the run, one pass after the other. Latency is from the beginning of a tick to its
picture at the front. Nothing else runs beside it, so the rate is what the layout could reach.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.core import Action, MonotonicClock, NextframeError, TickPlan
from runtime.registry import find_world
from runtime.stage_part import AUTO, StageChoice, load_staged
from runtime.startup import prepare_torch

SCHEMA = "nextframe.stages/1"
ON_ONE_GPU = (
    "denoise:0-6@cuda:0", "denoise:0-3@cuda:0, denoise:3-6@cpu:0, decode@cuda:0", "denoise:0-6@cpu:0, decode@cuda:0",
)  # fmt: skip
"""All of it on the GPU; half of the layers elsewhere, over gloo through the host; only the decoder there."""
OVER_TWO_GPUS = "denoise:0-3@cuda:0, denoise:3-6@cuda:1, decode@cuda:1"
WARM_TICKS, PINGS, PASSES = 40, 100, 30


def measure(choice: StageChoice, ticks: int, steps: int, world_name: str = "circuit") -> dict[str, Any]:
    """One layout: a run as `tools.plan.validate.Run`, and beside it what only people want to know."""
    from model.stage_processes import StageLimits

    limits = StageLimits(hang_s=10.0)  # nobody is hurt here
    world = load_staged(find_world(world_name), choice, MonotonicClock(), limits=limits)
    try:
        inner: Any = world.inner
        generator = inner.stages
        world.reset(0)
        plan = TickPlan(steps, deadline_ns=0)
        for _ in range(WARM_TICKS):
            world.advance(Action(), plan).commit()
        link = hop(generator)
        latency_ms, began_ns = [], time.perf_counter_ns()
        for _ in range(ticks):
            tick_ns = time.perf_counter_ns()
            result = inner.advance(Action(), plan)
            latency_ms.append((time.perf_counter_ns() - tick_ns) / 1e6)
            result.commit()
        generator.stage_work()  # an answer of every stage: the last commit has gone through all of them
        took_s = (time.perf_counter_ns() - began_ns) / 1e9
        stage_ms = stage_costs(inner, steps)
        layout = generator.layout
        opened = [generator.opened.bytes, *(part["bytes"] for part in generator.processes.opened)]
    finally:
        world.close()
    run = {
        "layout": [[part.first, part.end] for part in layout.intervals if part.layers],
        "sessions": 1,
        "denoise_steps": steps,
        "stage_ms": stage_ms,
        "link": link,
        "fps": ticks / took_s,
        "latency_ms": statistics.median(latency_ms),
    }
    ranked = sorted(latency_ms)
    return {
        "run": run, "stages": str(layout), "ticks": ticks, "latency_p99_ms": ranked[int(0.99 * (len(ranked) - 1))],
        "weights_bytes": opened,
    }  # fmt: skip


def layouts_for(device: str, gpus: int) -> tuple[list[StageChoice], list[dict[str, str]]]:
    """What is measured when no layout is named, and what is left out and why."""
    if device == "cpu":
        return [StageChoice(AUTO, processes) for processes in (1, 2, 3)], []
    chosen = [StageChoice(text) for text in ON_ONE_GPU]
    if gpus >= 2:
        return [*chosen, StageChoice(OVER_TWO_GPUS)], []
    return chosen, [{"stages": OVER_TWO_GPUS, "skipped": f"NCCL needs a GPU for each process, here are {gpus}"}]


def stage_costs(world: Any, steps: int) -> dict[str, Any]:
    """What a tick's parts take, ms, each measured apart and in the order in which a tick has them; the memory is full.

    What is around the layers is a tick of the world itself with the layers left out, of one and of `steps` denoise
    steps. Passes are timed after a picture was decoded, with caches as cold as in a tick. What the session remembers is
    not of use afterwards.
    """
    import torch

    generator = world.stages
    condition = generator.to_condition([0.0] * generator.config.condition_dim)
    job = generator.start(condition, 0, steps)
    job.step()
    latent = job.finish()

    def draw() -> None:
        generator.tokenizer.decode(latent)

    with layers_left_out(generator):
        one_ms, commit_ms = tick_ms(world, 1)
        all_ms, _ = tick_ms(world, world.info.ladder[-1])
    step_ms = max(0.0, all_ms - one_ms) / (world.info.ladder[-1] - 1)
    with torch.inference_mode():
        own = front_passes(generator, latent, condition, draw)
        others = stage_passes(generator, draw, steps, own.gather_ms)
    return {
        "layers": [own.layers_ms, *(other.layers_ms + other.gather_ms / steps for other in others)],
        "condition": max(0.0, one_ms - step_ms), "step": step_ms, "decode": median_ms(draw), "commit": commit_ms,
        "commit_layers": [own.commit_ms, *(other.commit_ms for other in others)],
    }  # fmt: skip


class Passes(NamedTuple):
    """One stage: a pass through its layers, a commit, and what gathering its memory takes, once a tick, ms."""

    layers_ms: float
    commit_ms: float
    gather_ms: float


@contextmanager
def layers_left_out(generator: Any) -> Iterator[None]:
    """Ticks of all that is around the layers: no layers, no ring, no picture."""
    c = generator.tokenizer.config
    blank = np.zeros((generator.last.shape[0], c.height_px, c.width_px, 3), np.uint8)

    def same(tokens: Any, *_: Any) -> Any:
        return tokens

    def picture(_: Any) -> Any:
        import torch

        return torch.from_numpy(blank)

    put = [(generator.front_layers, "denoise", same), (generator.front_layers, "commit", same),
           (generator.ring, "through", same), (generator, "decode", picture)]  # fmt: skip
    for owner, name, instead in put:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        for owner, name, _ in put:
            delattr(owner, name)  # the class has it still


def tick_ms(world: Any, steps: int) -> tuple[float, float]:
    """Of a tick up to its picture, and of its commit, medians."""
    plan, made, committed = TickPlan(steps, deadline_ns=0), [], []
    for _ in range(PASSES):
        began_ns = time.perf_counter_ns()
        result = world.advance(Action(), plan)
        shown_ns = time.perf_counter_ns()
        result.commit()
        made.append((shown_ns - began_ns) / 1e6)
        committed.append((time.perf_counter_ns() - shown_ns) / 1e6)
    return statistics.median(made), statistics.median(committed)


def front_passes(generator: Any, latent: Any, condition: Any, draw: Callable[[], object]) -> Passes:
    """The front gathers when a job begins, which is not counted again in its passes."""
    layers = generator.front_layers
    known = generator.known(condition)
    x, gates = generator.dynamics.noisy_tokens(latent, latent, known), generator.gates_at(condition, (0.0,))[0][0][0]

    def gather() -> None:
        layers.forget_past()
        layers.past()

    passes: list[float] = []
    commits: list[float] = []
    for _ in range(PASSES):
        draw()
        gather()
        for taken, work in ((passes, layers.denoise), (commits, layers.commit)):
            began_ns = time.perf_counter_ns()
            work(x, gates)
            taken.append((time.perf_counter_ns() - began_ns) / 1e6)
    return Passes(statistics.median(passes), statistics.median(commits), median_ms(gather))


def stage_passes(generator: Any, draw: Callable[[], object], steps: int, front_gather_ms: float) -> list[Passes]:
    """Of the stage processes with layers, from how long each says that it was busy: with a tick's passes, with twice as
    many, and with commits alone, which gather for themselves. Gathering takes what it takes at the front, by layers."""
    from model.stage_link import Command

    ring = generator.ring
    x, gates = generator._blank(), generator._blank_gates()

    def busy_ms(denoise: int) -> list[float]:
        generator.stage_work()
        for _ in range(PASSES):
            draw()
            for _ in range(denoise):
                ring.through(x, gates, Command.DENOISE)
            ring.through(x, gates, Command.COMMIT)
        return [busy / PASSES for _, busy in generator.stage_work()]

    once, twice, alone = (busy_ms(count) for count in (steps, 2 * steps, 0))
    front, *stages = (part.layers for part in generator.layout.intervals if part.layers)
    found = []
    for layers, a_tick, two, commit in zip(stages, once, twice, alone, strict=True):
        gather = min(commit, front_gather_ms * layers / front)
        found.append(Passes(max(0.0, two - a_tick) / steps, commit - gather, gather))
    return found


def hop(generator: Any) -> dict[str, float]:
    """One message from a process to the next: the ring's time over the number of its hops.

    Before each the front decodes a picture, as in a tick: a process that has waited for milliseconds is slower to hear
    than one that was asked just now.
    """
    processes = generator.layout.ring
    if processes == 1:
        return {"latency_ms": 0.0, "bytes": 0.0}
    before = generator.ring.bytes_sent
    ring_ms = median_ms(generator.ping, PINGS, lambda: generator.tokenizer.decode(generator.last))
    sent = (generator.ring.bytes_sent - before) / (PINGS + 2)
    return {"latency_ms": ring_ms / processes, "bytes": sent}


def median_ms(work: Callable[[], object], repeats: int = 30, between: Callable[[], object] = lambda: None) -> float:
    """Of `work` alone; `between` is done before each."""
    import torch

    taken_ms = []
    for _ in range(repeats + 2):
        between()
        began_ns = time.perf_counter_ns()
        work()
        if torch.cuda.is_initialized():  # it was only launched
            torch.cuda.synchronize()
        taken_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return statistics.median(taken_ms[2:])


def table(found: list[dict[str, Any]]) -> str:
    lines = [f"{'stages':72} {'fps':>7} {'latency p50':>12} {'p99':>7} {'hop ms':>7} {'bytes':>6}  layers ms"]
    for one in found:
        run = one["run"]
        layers = " + ".join(f"{ms:.2f}" for ms in run["stage_ms"]["layers"])
        lines.append(
            f"{one['stages']:72} {run['fps']:7.1f} {run['latency_ms']:9.2f} ms {one['latency_p99_ms']:7.2f} "
            f"{run['link']['latency_ms']:7.3f} {run['link']['bytes']:6.0f}  {layers}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.stages.bench", description=__doc__.split("\n")[0])
    parser.add_argument("--stages", action="append", help="a layout; may be given again (default: auto, 1 to 3)")
    parser.add_argument("--ticks", type=int, default=200, help="measured ticks of each layout (default 200)")
    parser.add_argument("--steps", type=int, default=4, help="denoise steps of a tick (default 4)")
    parser.add_argument("--out", type=Path, help="keep the runs there, for tools.plan.validate")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what to measure without --stages")
    options = parser.parse_args()
    environment = prepare_torch(1)
    import torch

    choices, left_out = layouts_for(options.device, torch.cuda.device_count())
    if options.stages:
        choices, left_out = [StageChoice(text) for text in options.stages], []
    try:
        found = [measure(choice, options.ticks, options.steps) for choice in choices]
    except NextframeError as error:
        parser.exit(error.exit_code, f"{error}\n")
    print(table(found))
    for one in left_out:
        print(f"{one['stages']}: skipped: {one['skipped']}")
    if options.out is not None:
        options.out.write_text(json.dumps([one["run"] for one in found], indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"schema": SCHEMA, "environment": environment, "layouts": found, "left_out": left_out}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
