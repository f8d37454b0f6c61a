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
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
WARM_TICKS, PINGS, PASSES = 40, 100, 60


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
        stage_ms, link = stage_costs(inner, steps), hop(generator)
        latency_ms, began_ns = [], time.perf_counter_ns()
        for _ in range(ticks):
            tick_ns = time.perf_counter_ns()
            result = inner.advance(Action(), plan)
            latency_ms.append((time.perf_counter_ns() - tick_ns) / 1e6)
            result.commit()
        generator.stage_work()  # an answer of every stage: the last commit has gone through all of them
        took_s = (time.perf_counter_ns() - began_ns) / 1e9
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
    """Medians at the front, means in the stages; a full memory."""
    import torch

    from model.stage_link import Command

    generator = world.stages
    condition = generator.to_condition([0.0] * generator.config.condition_dim)
    job = generator.start(condition, 0, steps)
    job.step()
    latent = job.finish()
    gates, known = generator.gates_at(condition, generator.config.taus), generator.known(condition)
    x = generator.dynamics.noisy_tokens(latent, latent, known)
    with torch.inference_mode():
        generator.stage_work()
        for _ in range(PASSES):
            generator.ring.through(x, gates[0][0][0], Command.DENOISE)
        work = generator.stage_work()
        own_ms = median_ms(lambda: generator.front_layers.denoise(x, gates[0][0][0]))

        def step() -> None:
            generator.dynamics.latent_of(generator.dynamics.noisy_tokens(latent, latent, known), known)

        return {
            "layers": [own_ms, *(busy_ms / max(1, passes) for passes, busy_ms in work)],
            "condition": median_ms(lambda: generator.start(condition, 0, steps)),
            "step": median_ms(step),
            "decode": median_ms(lambda: generator.tokenizer.decode(latent)),
        }


def hop(generator: Any) -> dict[str, float]:
    """One message from a process to the next: the ring's time over the number of its hops."""
    processes = generator.layout.ring
    if processes == 1:
        return {"latency_ms": 0.0, "bytes": 0.0}
    before = generator.ring.bytes_sent
    ring_ms = median_ms(generator.ping, PINGS)
    sent = (generator.ring.bytes_sent - before) / (PINGS + 2)
    return {"latency_ms": ring_ms / processes, "bytes": sent}


def median_ms(work: Callable[[], object], repeats: int = 30) -> float:
    import torch

    taken_ms = []
    for _ in range(repeats + 2):
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
