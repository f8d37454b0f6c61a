"""Measures the shipped generator over 1, 2, 3 processes: what stages cost, what a hop costs, rate and latency.

    python -m nextframe.tools.lab.stages.bench                         # auto layouts of 1, 2 and 3 processes
    python -m nextframe.tools.lab.stages.bench --stages "denoise:0-2@cpu:0, denoise:2-6@cpu:1, decode@cpu:1" --out
    runs.json python -m nextframe.tools.lab.stages.bench --sessions 1,2,4        # so many sessions over the same
    processes, each in turn python -m nextframe.tools.lab.stages.bench --device cuda           # with a GPU: on it,
    beside it, and over several where they are

Prints a table; the last line is one JSON document. `--out` keeps the runs in the form that
`nextframe.tools.lab.plan.validate` reads. Stage costs are measured apart from the run, in turns with it, since the
machine's own speed changes; every figure is a median. Latency is from the beginning of a tick to its picture at the
front, and the rate is that of all sessions together. Nothing else runs beside it, so the rate is what the layout could
reach.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....runtime.core import Action, MonotonicClock, NextframeError, TickPlan
from ....runtime.session.parts.stages import AUTO, StageChoice, load_staged
from ....runtime.session.registry import find_world
from ....runtime.session.startup import prepare_torch

SCHEMA = "nextframe.stages/1"
ON_ONE_GPU = (
    "denoise:0-6@cuda:0", "denoise:0-3@cuda:0, denoise:3-6@cpu:0, decode@cuda:0", "denoise:0-6@cpu:0, decode@cuda:0",
)  # fmt: skip
"""All of it on the GPU; half of the layers elsewhere, over gloo through the host; only the decoder there."""
OVER_TWO_GPUS = "denoise:0-3@cuda:0, denoise:3-6@cuda:1, decode@cuda:1"
WARM_TICKS, PINGS, PASSES, TURNS = 40, 60, 30, 4
REST_S = 0.002
"""About as long as the front waits for the others in a pass."""


def measure(
    choice: StageChoice, ticks: int, steps: int, *, world_name: str = "circuit", sessions: int = 1, unshown: int = 0
) -> dict[str, Any]:
    """One layout: a run as `nextframe.tools.lab.plan.validate.Run`, and beside it what only people want to know.
    `unshown`: see `StagedSessions.play`."""
    from ....model.stages.process.processes import StageLimits
    from ....model.stages.sessions import StagedSessions

    limits = StageLimits(hang_s=10.0)  # no fault is tested here
    alone = sessions == 1 and not unshown
    clock, places = MonotonicClock(), 1 if alone else 1 + sessions
    world = load_staged(find_world(world_name), choice, clock, sessions=places, limits=limits)
    try:
        inner: Any = world.inner
        generator = inner.stages
        costs, links = [], []
        latency_ms, period_ms = list[float](), list[float]()
        for _ in range(TURNS):
            warm(world, steps)
            links.append(hop(generator))
            costs.append(stage_costs(inner, steps))
            warm(world, steps)
            if alone:
                shown, began = timed(inner, -(-ticks // TURNS), steps)
            else:
                shown, began = timed_sessions(inner, sessions, -(-ticks // TURNS), steps, unshown)
            latency_ms += shown
            period_ms += began
        layout = generator.layout
        at_once = 1 if alone else StagedSessions(generator).at_once
        opened = [generator.opened.bytes, *(part["bytes"] for part in generator.processes.opened)]
    finally:
        world.close()
    run = {
        "layout": [[part.first, part.end] for part in layout.intervals if part.layers],
        "sessions": sessions,
        "denoise_steps": steps,
        "decodes_on": layout.decode,
        "at_once": at_once,
        "beside": not alone,
        "unshown": unshown,
        "stage_ms": medians(costs),
        "link": medians(links),
        "fps": sessions * 1e3 / statistics.median(period_ms),
        "latency_ms": statistics.median(latency_ms),
    }
    ranked = sorted(latency_ms)
    return {
        "run": run, "stages": str(layout), "ticks": len(period_ms), "weights_bytes": opened,
        "latency_p99_ms": ranked[int(0.99 * (len(ranked) - 1))],
    }  # fmt: skip


def warm(world: Any, steps: int) -> None:
    """From the beginning, until the memory is full."""
    world.reset(0)
    for _ in range(WARM_TICKS):
        world.advance(Action(), TickPlan(steps, deadline_ns=0)).commit()


def timed(world: Any, ticks: int, steps: int) -> tuple[list[float], list[float]]:
    """From the beginning of each tick to its picture, and to the next tick, ms."""
    plan, latency_ms, began_ns = TickPlan(steps, deadline_ns=0), [], [time.perf_counter_ns()]
    for _ in range(ticks):
        result = world.advance(Action(), plan)
        latency_ms.append((time.perf_counter_ns() - began_ns[-1]) / 1e6)
        result.commit()
        began_ns.append(time.perf_counter_ns())
    return latency_ms, [(after - before) / 1e6 for before, after in pairwise(began_ns)]


def timed_sessions(world: Any, sessions: int, ticks: int, steps: int, unshown: int) -> tuple[list[float], list[float]]:
    """The same for so many sessions, that go on from where the world stands: from the beginning of each tick to its
    picture; and rounds, in each of which every session shows one, ms."""
    from ....model.batch.sessions import TickRequest
    from ....model.generator.protocol import Inputs
    from ....model.stages.sessions import StagedSession, StagedSessions

    many, snapshot = StagedSessions(world.stages), world.snapshot()["generator"]
    crowd = [many.join_snapshot(seed, snapshot) for seed in range(sessions)]
    request = TickRequest(world.stages.condition(Inputs((0.0,) * world.stages.config.condition_dim))[0], steps)
    left = dict.fromkeys(crowd, 1 + ticks)
    began_ns: dict[StagedSession, deque[int]] = {session: deque() for session in crowd}
    shown_ns, latency_ms = list[int](), list[float]()

    def ask(session: StagedSession) -> TickRequest | None:
        left[session] -= 1
        if left[session] < 0:
            return None
        began_ns[session].append(time.perf_counter_ns())
        return request

    def show(session: StagedSession, frame: Any) -> None:
        shown_ns.append(time.perf_counter_ns())
        latency_ms.append((shown_ns[-1] - began_ns[session].popleft()) / 1e6)

    many.play(crowd, ask, show, unshown=unshown)
    for session in crowd:
        session.leave()
    rounds_ms = [(after - before) / 1e6 for before, after in pairwise(shown_ns[sessions - 1 :: sessions])]
    return latency_ms[sessions:], rounds_ms


def medians(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of documents with the same numbers, or lists of them, under each name."""
    return {name: np.median([one[name] for one in found], axis=0).tolist() for name in found[0]}


def layouts_for(device: str, gpus: int) -> tuple[list[StageChoice], list[dict[str, str]]]:
    """What is measured when no layout is named, and what is left out and why."""
    if device == "cpu":
        return [StageChoice(AUTO, processes) for processes in (1, 2, 3)], []
    chosen = [StageChoice(text) for text in ON_ONE_GPU]
    if gpus >= 2:
        return [*chosen, StageChoice(OVER_TWO_GPUS)], []
    return chosen, [{"stages": OVER_TWO_GPUS, "skipped": f"NCCL needs a GPU for each process, here are {gpus}"}]


def stage_costs(world: Any, steps: int) -> dict[str, Any]:
    """What a tick's parts take, ms, each stage measured apart from the others and as it works in a tick: what the front
    does, with a rest in place of the other processes; what they do, after the front has done its own. The memory is
    full. What the session remembers is not of use afterwards.
    """
    import torch

    from ....model.generator.protocol import Inputs

    generator, top = world.stages, world.info.ladder[-1]
    condition = generator.condition(Inputs((0.0,) * generator.config.condition_dim))
    job = generator.start(condition, 0, steps)
    job.step()
    latent = job.finish()

    def draw() -> None:
        generator.tokenizer.decode(latent)

    with front_alone(generator) as spent:
        one, whole = (front_tick(world, count, spent) for count in (1, top))
    step_ms = max(0.0, whole.around_ms - one.around_ms) / (top - 1)
    with torch.inference_mode():
        others = stage_passes(generator, latent, condition, draw, steps)
        decode_ms = whole.decode_ms if generator.layout.decode == 0 else median_ms(draw)
    return {
        "layers": [whole.layers_ms / top, *(other.layers_ms + other.gather_ms / steps for other in others)],
        "condition": max(0.0, whole.around_ms - top * step_ms), "step": step_ms, "decode": decode_ms,
        "commit": whole.commit_ms, "commit_layers": [whole.commit_layers_ms, *(other.commit_ms for other in others)],
    }  # fmt: skip


class FrontTick(NamedTuple):
    """A tick of the front alone, medians, ms. `around_ms`: of what is neither layers nor picture, up to the picture."""

    layers_ms: float
    decode_ms: float
    around_ms: float
    commit_layers_ms: float
    commit_ms: float


class Passes(NamedTuple):
    """One stage: a pass through its layers, a commit, and what gathering its memory takes, once a tick, ms."""

    layers_ms: float
    commit_ms: float
    gather_ms: float


@contextmanager
def front_alone(generator: Any) -> Iterator[dict[str, float]]:
    """Ticks in which the other processes are only waited for, for `REST_S`, and the memory stays as it was. How long
    each part of the front took, in all, stands under its name: `layers`, `commit_layers`, `decode`, `rest`."""
    c, layers = generator.tokenizer.config, generator.front_layers
    spent = dict.fromkeys(("layers", "commit_layers", "decode", "rest"), 0.0)
    blank = np.zeros((generator.last.shape[0], c.height_px, c.width_px, 3), np.uint8)
    whole, alone = generator.decode, generator.layout.ring == 1

    def timed_as(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            began_ns = time.perf_counter_ns()
            try:
                return work(*given)
            finally:
                spent[name] += (time.perf_counter_ns() - began_ns) / 1e6

        return run

    def rest(tokens: Any, *_: Any) -> Any:
        if not alone:
            time.sleep(REST_S)
        return tokens

    def picture(latent: Any) -> Any:
        import torch

        return whole(latent) if generator.layout.decode == 0 else torch.from_numpy(blank)

    put = [(layers, "denoise", timed_as("layers", layers.denoise)),
           (layers, "commit", timed_as("commit_layers", layers.commit)),
           (generator.ring, "through", timed_as("rest", rest)),
           (generator.ring, "depart", lambda *_: None),
           (generator, "decode", timed_as("decode", picture))]  # fmt: skip
    for owner, name, instead in put:
        setattr(owner, name, instead)
    try:
        yield spent
    finally:
        for owner, name, _ in put:
            delattr(owner, name)  # the class has it still


def front_tick(world: Any, steps: int, spent: dict[str, float]) -> FrontTick:
    plan, found = TickPlan(steps, deadline_ns=0), list[FrontTick]()
    for _ in range(PASSES):
        before, began_ns = dict(spent), time.perf_counter_ns()
        result = world.advance(Action(), plan)
        shown_ns = time.perf_counter_ns()
        result.commit()
        ended_ns = time.perf_counter_ns()
        took = {name: spent[name] - before[name] for name in spent}
        around_ms = (shown_ns - began_ns) / 1e6 - took["layers"] - took["decode"] - took["rest"]
        commit_ms = (ended_ns - shown_ns) / 1e6 - took["commit_layers"]
        found.append(FrontTick(took["layers"], took["decode"], around_ms, took["commit_layers"], commit_ms))
    return FrontTick(*np.median(found, axis=0).tolist())


def stage_passes(generator: Any, latent: Any, condition: Any, draw: Callable[[], object], steps: int) -> list[Passes]:
    """Of the stage processes with layers, from how long each says that it was busy: with a tick's passes, with twice as
    many, and with commits alone, which gather for themselves. Gathering takes what it takes at the front, by layers.
    Between two passes they wait for the front, as in a tick."""
    from ....model.stages.process.link import Command

    ring, layers = generator.ring, generator.front_layers
    x = generator.dynamics.noisy_tokens(latent, latent, generator.known(condition))
    gates = generator.gates_at(condition, (0.0,))[0][0][0]

    def gather() -> None:
        layers.forget_past()
        layers.past()

    def busy_ms(denoise: int) -> list[float]:
        generator.stage_work()
        for _ in range(PASSES):
            draw()
            gather()
            for _ in range(denoise):
                ring.through(layers.denoise(x, gates), gates, Command.DENOISE)
            ring.depart(x, gates, Command.COMMIT)
        return [busy / PASSES for _, busy in generator.stage_work()]

    if generator.layout.ring == 1:
        return []
    once, twice, alone = (busy_ms(count) for count in (steps, 2 * steps, 0))
    front, *stages = (part.layers for part in generator.layout.intervals if part.layers)
    front_gather_ms = median_ms(gather)
    found = []
    for count, a_tick, two, commit in zip(stages, once, twice, alone, strict=True):
        gather_ms = min(commit, front_gather_ms * count / front)
        found.append(Passes(max(0.0, two - a_tick) / steps, commit - gather_ms, gather_ms))
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
    lines = [
        f"{'stages':72} {'sessions':>8} {'fps':>7} {'latency p50':>12} {'p99':>7} {'hop ms':>7} {'bytes':>6}  layers ms"
    ]
    for one in found:
        run = one["run"]
        layers = " + ".join(f"{ms:.2f}" for ms in run["stage_ms"]["layers"])
        lines.append(
            f"{one['stages']:72} {run['sessions']:8} {run['fps']:7.1f} {run['latency_ms']:9.2f} ms "
            f"{one['latency_p99_ms']:7.2f} {run['link']['latency_ms']:7.3f} {run['link']['bytes']:6.0f}  {layers}"
        )
    return "\n".join(lines)


def numbers(text: str) -> list[int]:
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of 1 and more, such as 1,2,4, got {text!r}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.stages.bench", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--stages", action="append", help="a layout; may be given again (default: auto, 1 to 3)")
    parser.add_argument("--ticks", type=int, default=200, help="measured ticks of each layout (default 200)")
    parser.add_argument("--steps", type=int, default=4, help="denoise steps of a tick (default 4)")
    parser.add_argument(
        "--unshown", type=int, choices=(0, 1), default=0, help="1: the next tick beside the picture (default 0)"
    )
    parser.add_argument("--sessions", type=numbers, default=[1], help="such as 1,2,4 (default 1)")
    parser.add_argument("--out", type=Path, help="keep the runs there, for tools.plan.validate")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what to measure without --stages")
    options = parser.parse_args()
    environment = prepare_torch(1)
    import torch

    choices, left_out = layouts_for(options.device, torch.cuda.device_count())
    if options.stages:
        choices, left_out = [StageChoice(text) for text in options.stages], []
    try:
        found = [
            measure(choice, options.ticks, options.steps, sessions=count, unshown=options.unshown)
            for choice in choices
            for count in options.sessions
        ]
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
