"""Measures a world on this machine: each rung, the runtime's own cost, and start-up in a fresh process.

Every number's definition is the report's.

Per rung: `advance` and `commit` back to back without a display, so `rate_hz` is what the rung could reach. Paced: a
session at the world's own rate under the adaptive governor with a bot at the controls, from which come the miss rate
and the runtime's overhead (everything in a tick that is not the world).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...controllers.bots import make_bot
from ...runtime.core import Clock, MonotonicClock, TickPlan
from ...runtime.display.null import NullDisplay
from ...runtime.governor.adaptive import AdaptiveGovernor
from ...runtime.observe import metrics
from ...runtime.session.builder import Session
from ...runtime.session.instruments import InstrumentOptions, Instruments
from ...runtime.session.parts.device import CPU, device_choice
from ...runtime.session.parts.part import Setting
from ...runtime.session.startup import OpenWorld, StartUp, check_folder, open_world, patience
from ...runtime.session.terminal import OnEveryTick, progress_bar
from ...runtime.tick.heap import settled_heap

SCHEMA = "nextframe.bench/1"
LEFT_OUT = ("series", "missed_ticks", "definitions")
"""Of the paced session's report: the last line stays readable."""
STARTS = 3
START_TIMEOUT_S = 120
PACED_SHARE = 0.5
"""Half the time for the paced session, the rest for the rungs."""


def bench_world(name: str, seconds: float, *, table: bool = True, device: str | None = None) -> int:
    """Measure, print a table for people and one JSON document as the last line. Returns the exit code."""
    found = check_folder(name)
    place = device_choice(device, found, staged=False)
    clock = MonotonicClock()
    with patience("starting three times"):
        starts = [_start_in_a_fresh_process(name, place) for _ in range(STARTS)]
    opened = open_world(found, StartUp(), clock=clock, device=place)
    rungs = []
    for steps in opened.info.ladder:
        with patience(f"{steps} denoise steps"):
            rungs.append(measure_rung(opened, steps, seconds * (1 - PACED_SHARE) / len(opened.info.ladder), clock))
    arithmetic = _arithmetic(opened, rungs)
    report = measure_paced(opened, max(1, round(seconds * PACED_SHARE * opened.info.tick_hz)), clock)
    opened.world.close()
    document = {
        "schema": SCHEMA,
        "world": opened.info.name,
        "tick_hz": float(opened.info.tick_hz),
        "seconds": seconds,
        "rungs": rungs,
        "roofline": arithmetic,
        "paced": {key: value for key, value in report.items() if key not in LEFT_OUT},
        "overhead_ms": report["overhead_ms"],
        "ttff_ms": _median_start(starts),
        "ttff_runs": starts,
        "env": report["env"],
        "weights_sha256": opened.info.weights_sha256,
    }
    if table:
        _print_table(document)
    print(json.dumps(document))
    return 0 if any(start for start in starts) and report["ticks"] else 2


def measure_rung(opened: OpenWorld, steps: int, seconds: float, clock: Clock) -> dict[str, Any]:
    """Ticks back to back at one quality for about that long (at least ten): ms by stage, and the rate reached."""
    world = opened.world
    bot = make_bot("wander", opened.info.actions)
    tick_ns: list[int] = []
    stages: dict[str, list[int]] = {}
    end_ns = clock.now_ns() + round(seconds * 1e9)
    while clock.now_ns() < end_ns or len(tick_ns) < 10:
        action = bot.poll(len(tick_ns))
        began_ns = clock.now_ns()
        result = world.advance(action, TickPlan(steps, deadline_ns=0))
        advanced_ns = clock.now_ns()
        result.commit()
        ended_ns = clock.now_ns()
        tick_ns.append(ended_ns - began_ns)
        for stage, duration_ns in {**result.stage_ns, "commit": ended_ns - advanced_ns}.items():
            stages.setdefault(stage, []).append(duration_ns)
    return {
        "denoise_steps": steps,
        "ticks": len(tick_ns),
        "rate_hz": metrics.fps(tick_ns),
        "tick_ms": metrics.percentiles([t / 1e6 for t in tick_ns], 50, 99),
        "stage_ms": {name: metrics.percentiles([t / 1e6 for t in values], 50, 99) for name, values in stages.items()},
    }


def measure_paced(opened: OpenWorld, ticks: int, clock: Clock) -> dict[str, Any]:
    """The report of a session at the world's own rate, no display, a bot at the controls."""
    info = opened.info
    setting = Setting.at(info.tick_hz, clock)
    opened.world.reset(0)
    with ExitStack() as stack:
        instruments = stack.enter_context(Instruments(InstrumentOptions(), info.name, setting))
        advance = stack.enter_context(progress_bar("at the world's own rate", ticks, float(ticks / info.tick_hz)))
        session = Session(opened.world, setting, instruments=instruments)
        loop = session.loop(
            make_bot("wander", info.actions),
            NullDisplay(clock),
            AdaptiveGovernor(
                info.ladder, clock, tick_deadline_ns=setting.deadline_ns, tick_period_ns=int(setting.tick_period_ns)
            ),
            observers=(OnEveryTick(advance),),
        )
        with settled_heap():
            loop.run(ticks)
        return session.report(opened, StartUp(), clock="real", governor_name="adaptive")


def _arithmetic(opened: OpenWorld, rungs: list[dict[str, Any]]) -> dict[str, float] | None:
    """See `roofline`; None for a world without weights or with a single rung, and on a GPU, where a captured tick does
    not say its operations and the yardstick is another one (tools/gpu)."""
    on_gpu = opened.environment.get("device") != CPU
    if on_gpu or not opened.found.spec.weights or len(rungs) < 2:
        return None
    from .roofline import roofline

    return roofline(opened.world, {rung["denoise_steps"]: rung["stage_ms"]["denoise"]["p50"] for rung in rungs})


def _start_in_a_fresh_process(name: str, device: str) -> dict[str, float]:
    """Milliseconds by phase of a session of three ticks; empty if it could not be measured."""
    with tempfile.TemporaryDirectory() as folder:
        session = ["run", name, "--ticks", "3", "--idle", "--no-video", "--json", "--out", folder]
        session += [] if device == CPU else ["--device", device]
        command = [sys.executable, "-m", "nextframe", *session]
        began_s = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return {}
        wall_ms = (time.monotonic() - began_s) * 1e3
        if done.returncode != 0 or not (Path(folder) / "report.json").is_file():
            return {}
        phases: dict[str, float] = json.loads(done.stdout.splitlines()[-1])["ttff_ms"]
        return {**phases, "process": wall_ms}


def _median_start(starts: list[dict[str, float]]) -> dict[str, float]:
    """Of the measured starts the one in the middle by its total: its phases add up, medians of each would not."""
    measured = sorted((start for start in starts if start), key=lambda start: start["total"])
    return measured[len(measured) // 2] if measured else {}


def _print_table(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    def ms(pair: Mapping[str, float | None] | None) -> str:
        values = [None, None] if pair is None else [pair["p50"], pair["p99"]]
        return " / ".join("-" if value is None else f"{value:.2f}" for value in values)

    stages = ("condition", "denoise", "decode", "commit")
    table = Table(title=f"{document['world']}: ms a tick, p50 / p99")
    for heading in ("denoise steps", "rate Hz", "tick", *stages):
        table.add_column(heading, justify="right")
    for rung in document["rungs"]:
        cells = [ms(rung["tick_ms"]), *(ms(rung["stage_ms"].get(stage)) for stage in stages)]
        table.add_row(str(rung["denoise_steps"]), f"{rung['rate_hz']:.1f}", *cells)
    console = Console()
    console.print(table)
    paced, environment = document["paced"], document["env"]
    print(
        f"at {document['tick_hz']:g} Hz, {paced['ticks']} ticks: missed {100 * paced['miss_rate']:.2f} %, "
        f"{paced['steps_mean']:.2f} denoise steps mean, response {ms(paced['response_ms'])} ms, "
        f"runtime overhead {ms(document['overhead_ms'])} ms"
    )
    if (arithmetic := document["roofline"]) is not None:
        print(
            f"a denoise step: {arithmetic['step_mflop']:.1f} MFLOP in {arithmetic['step_ms']:.2f} ms, "
            f"{arithmetic['achieved_gflops']:.1f} GFLOP/s, {100 * arithmetic['share']:.0f} % of a matrix product's "
            f"{arithmetic['matmul_gflops']:.0f}"
        )
    phases = ", ".join(f"{name} {value:.0f}" for name, value in document["ttff_ms"].items())
    print(f"first frame of a fresh process (ms): {phases or 'could not be measured'}")
    print(f"{environment.get('cpu')}, {environment.get('cpus')} cores, torch {environment.get('torch', 'not used')}")
