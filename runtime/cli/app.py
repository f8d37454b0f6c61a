"""The command `nextframe`: arguments in, one exit code out.

Owns the names and help of commands and options, and the promise that bad input ends in one line on stderr. What a
command does stands in `session`, `play`, `playback`, `bench` and `doctor`. Exit codes: 0 met, 1 a target was missed,
2 could not measure, or bad input, 3 recovered with loss, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core import NextframeError
from ..session.startup import StartUp, process_start_ns

app = typer.Typer(
    name="nextframe",
    help="A game engine for neural worlds: live input in, generated frames out, on time.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Its name in typer's own namespace, or click's in older releases; both stand behind the public BadParameter.
UsageProblem: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class ClockName(StrEnum):
    REAL = "real"
    FIXED = "fixed"


class DriftName(StrEnum):
    OFF = "off"
    LOG = "log"
    RENOISE = "renoise"
    REANCHOR = "reanchor"


WorldName = Annotated[str, typer.Argument(help="A world's name, or its folder.", metavar="WORLD")]
DEFAULT_WORLD = "drive"
Seed = Annotated[int, typer.Option(help="Where the world starts, and its noise.", min=0, max=(1 << 63) - 1)]
Steps = Annotated[int | None, typer.Option(help="Denoise steps of every tick; adaptive when not given.", min=1)]
Record = Annotated[Path | None, typer.Option(help="Record the session to this .nfr file.", metavar="F.nfr")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Let --record replace a file.")]
PromptText = Annotated[str | None, typer.Option(help='A prompt to begin with, such as "rainy night".', metavar="TEXT")]
SideBySide = Annotated[bool, typer.Option("--side-by-side", help="Show the simulator beside the network.")]
OutFolder = Annotated[Path, typer.Option(help="Where artefacts go.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as one JSON document on the last line.")]
Load = Annotated[str | None, typer.Option(help="Cost put into ticks: step:ms=15,from=5,to=15", metavar="SHAPE")]
Trace = Annotated[Path | None, typer.Option(help="Write a Chrome/Perfetto trace.", metavar="F.json")]
MetricsPort = Annotated[int | None, typer.Option(help="Serve Prometheus metrics; 0 for any port.", min=0, max=65535)]
Drift = Annotated[
    DriftName | None, typer.Option(help="What to do when pictures leave the known.", show_default="log where it can")
]
AheadFlag = Annotated[bool, typer.Option("--ahead", help="Begin ticks on guessed input while waiting.")]
Stages = Annotated[str | None, typer.Option(help="Layers over processes: see docs/stages.md; or auto.", metavar="TEXT")]
Processes = Annotated[int | None, typer.Option(help="How many, for --stages auto.", min=1, max=64)]
Device = Annotated[str | None, typer.Option(help="cpu (the default) or cuda.", metavar="NAME")]
Saves = Annotated[Path | None, typer.Option(help="The folder of save slots (your data folder).", metavar="DIR")]
LoadSlot = Annotated[str | None, typer.Option(help="Go on from this save slot.", metavar="SLOT")]


@app.command()
def play(
    world: WorldName = DEFAULT_WORLD,
    *,
    side_by_side: SideBySide = False,
    seed: Seed = 0,
    steps: Steps = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Smooth scaling instead of crisp pixels.")] = False,
    bindings: Annotated[Path | None, typer.Option(help="Your own key bindings.", metavar="FILE")] = None,
    record: Record = None,
    overwrite: Overwrite = False,
    prompt: PromptText = None,
    ticks: Annotated[int | None, typer.Option(help="End after so many ticks.", min=1)] = None,
    out: OutFolder = Path("out"),
    load: Load = None,
    trace: Trace = None,
    metrics_port: MetricsPort = None,
    saves: Saves = None,
    load_slot: LoadSlot = None,
    ahead: AheadFlag = False,
    drift: Drift = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Open a window and play; without a display, play headless for 30 s into a video and a report."""
    from ..session.registry import own_bindings
    from ..session.windowed import PlayOptions, play_world

    bindings = bindings or own_bindings(world)
    options = PlayOptions(
        world, side_by_side, seed, steps, smooth, bindings, record, overwrite, prompt, ticks, out, load, trace,
        metrics_port, saves, load_slot, ahead, drift, stages,
        processes, device,
    )  # fmt: skip
    return play_world(options, _startup())


@app.command()
def run(
    world: WorldName,
    *,
    ticks: Annotated[int, typer.Option(help="How many ticks to run.", min=1)],
    script: Annotated[str | None, typer.Option(help="A script; or the name of the world's own.", metavar="F")] = None,
    bot: Annotated[str | None, typer.Option(help="A bot: wander or idle.", metavar="NAME")] = None,
    idle: Annotated[bool, typer.Option("--idle", help="Touch nothing.")] = False,
    clock: Annotated[ClockName, typer.Option(help="fixed ignores wall time: one answer.")] = ClockName.REAL,
    deadline_ms: Annotated[float | None, typer.Option(help="Release to picture; a tick period if not given.")] = None,
    max_miss_rate: Annotated[
        float | None, typer.Option(help="Exit with 1 if more of the ticks miss.", min=0.0, max=1.0)
    ] = None,
    steps: Steps = None,
    seed: Seed = 0,
    prompt: PromptText = None,
    side_by_side: SideBySide = False,
    record: Record = None,
    overwrite: Overwrite = False,
    video: Annotated[Path | None, typer.Option(help="The video (default DIR/session.mp4).", metavar="F.mp4")] = None,
    contact_sheet: Annotated[Path | None, typer.Option(help="The contact sheet.", metavar="F.png")] = None,
    report: Annotated[Path | None, typer.Option(help="The report.", metavar="F.json")] = None,
    no_video: Annotated[bool, typer.Option("--no-video", help="Only the pictures that are named.")] = False,
    out: OutFolder = Path("out"),
    as_json: AsJson = False,
    warmup_ticks: Annotated[int, typer.Option(help="The first of the ticks, counted in no number.", min=0)] = 0,
    quality: Annotated[
        str | None, typer.Option(help="adaptive, fixed:STEPS or trace:FILE.", metavar="HOW", show_default="adaptive")
    ] = None,
    load: Load = None,
    trace: Trace = None,
    metrics_port: MetricsPort = None,
    saves: Saves = None,
    load_slot: LoadSlot = None,
    save_slot: Annotated[str | None, typer.Option(help="Save the world there at the end.", metavar="SLOT")] = None,
    ahead: AheadFlag = False,
    drift: Drift = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Run a headless session and write a video, a contact sheet and a report."""
    from ..observe import report as reports
    from ..session.headless import SessionOptions, run_session
    from ..session.terminal import INTERRUPTED

    if deadline_ms is not None and not 0.001 <= deadline_ms <= 60_000:
        raise NextframeError(f"--deadline-ms: expected 0.001 to 60000, got {deadline_ms}")
    options = SessionOptions(
        world, ticks, script, bot, idle, clock.value, deadline_ms, steps, seed, prompt, side_by_side, record, overwrite,
        video, contact_sheet, report, out, not no_video, warmup_ticks, quality, load, trace, metrics_port,
        saves, load_slot, save_slot, ahead, drift, stages,
        processes, device,
    )  # fmt: skip
    outcome = run_session(options, _startup())
    shortage = reports.shortage(outcome.report, max_miss_rate)
    code = INTERRUPTED if outcome.interrupted else reports.exit_code(outcome.report, max_miss_rate)
    print_outcome(outcome.report, outcome.written, max_miss_rate)
    if outcome.interrupted:
        print(f"stopped after {outcome.report['ticks']} of {ticks} ticks; everything up to there is written")
    if shortage is not None:
        print(f"nextframe: {shortage}", file=sys.stderr)
    if as_json:
        print(json.dumps(outcome.report))
    return code


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="A recording.", metavar="F.nfr")],
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare: every checksum must agree.")] = False,
    recover: Annotated[bool, typer.Option("--recover", help="Play what a damaged file still holds.")] = False,
    video: Annotated[Path | None, typer.Option(help="The video (default out/replay.mp4).", metavar="F.mp4")] = None,
    world: Annotated[str | None, typer.Option(help="The folder of its world, if that does not ship.")] = None,
    from_tick: Annotated[int | None, typer.Option("--from", help="Start at this tick.", min=0, metavar="TICK")] = None,
    to_tick: Annotated[int | None, typer.Option("--to", help="Stop before this tick.", min=1, metavar="TICK")] = None,
    quality: Annotated[int | None, typer.Option(help="What if: so many denoise steps instead.", min=1)] = None,
    weights: Annotated[str | None, typer.Option(help="What if: the weights of that folder.", metavar="DIR")] = None,
    report: Annotated[Path | None, typer.Option(help="What-if differences by frame.", metavar="F.json")] = None,
    diff: Annotated[Path | None, typer.Option(help="Compare with another recording.", metavar="F2.nfr")] = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Play a recording back, bit for bit, and name the first tick that differs; or ask what if."""
    from ..recording.facade import print_diff
    from ..session.playback import PlaybackOptions, play_back

    if diff is not None:
        return print_diff(diff, path, recover=recover)
    return play_back(
        PlaybackOptions(
            path, verify, recover, video, world, from_tick, to_tick, quality, weights, report, stages, processes, device
        )
    )


@app.command()
def synctest(
    world: WorldName = DEFAULT_WORLD,
    *,
    depth: Annotated[int, typer.Option(help="How many ticks to roll back.", min=1)] = 7,
    ticks: Annotated[int, typer.Option(help="How many ticks to test.", min=1)] = 100,
    stride: Annotated[int, typer.Option(help="Roll back after every so many ticks.", min=1)] = 1,
    seed: Seed = 0,
    script: Annotated[str | None, typer.Option(help="A script; or the name of the world's own.", metavar="F")] = None,
    bot: Annotated[str | None, typer.Option(help="A bot: wander (the default) or idle.", metavar="NAME")] = None,
    stages: Stages = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> int:
    """Save, go on, roll back, do it again: name the first tick and part of the state that differ."""
    from ..session.synctest import SyncTestOptions, run_synctest

    return run_synctest(
        SyncTestOptions(world, depth, ticks, seed, script, bot, stride, as_json, stages=stages, processes=processes)
    )


@app.command(name="saves")
def list_saves(
    world: WorldName = DEFAULT_WORLD,
    *,
    folder: Annotated[Path | None, typer.Option("--saves", help="The folder of save slots.", metavar="DIR")] = None,
    delete: Annotated[str | None, typer.Option(help="Delete this slot.", metavar="SLOT")] = None,
) -> int:
    """List a world's save slots, newest first, or delete one."""
    from ..session.startup import check_folder
    from ..timeline.saves import default_folder, delete_slot, list_slots

    name, where = check_folder(world).name, folder or default_folder()
    if delete is not None:
        delete_slot(where, name, delete)
        print(f"deleted: {delete}")
        return 0
    for slot in list_slots(where, name):
        print(f"{slot.slot:20} " + (f"damaged: {slot.problem}" if slot.problem else f"tick {slot.tick}, {slot.prompt}"))
    return 0


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="A session's report.", metavar="F.json")],
    out: Annotated[Path | None, typer.Option(help="The page (default: beside it).", metavar="F.html")] = None,
) -> int:
    """Render a report as one self-contained HTML page."""
    from ...tools.report.page import read_report, write_page

    print(f"page: {write_page(read_report(path), out or path.with_suffix('.html'))}")
    return 0


@app.command()
def audit(
    target: Annotated[
        str, typer.Argument(help="A world, python:MODULE:FACTORY, or process:COMMAND.", metavar="TARGET")
    ] = DEFAULT_WORLD,
    *,
    claims: Annotated[Path | None, typer.Option(help="What its maker says of it.", metavar="F.yaml")] = None,
    out: OutFolder = Path("out/audit"),
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of five.")] = False,
    seed: Seed = 0,
    max_response_frames: Annotated[
        int | None, typer.Option(help="Exit with 1 if an input shows in a later frame than this.", min=1)
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Only the JSON document.")] = False,
    stages: Stages = None,
    processes: Processes = None,
) -> int:
    """Is it interactive, streaming or batch? Three numbers and four answers, with evidence."""
    from ...tools.audit.command import AuditCommand, run_audit

    return run_audit(
        AuditCommand(target, claims, out, quick, seed, max_response_frames, not no_page, stages, processes)
    )


@app.command()
def worlds() -> int:
    """List the worlds that can be played here."""
    from ..session.doctor import print_worlds

    return print_worlds(DEFAULT_WORLD)


@app.command()
def doctor(as_json: AsJson = False) -> int:
    """Say what this machine can do, and what is wrong."""
    from ..session.doctor import examine, print_findings

    return print_findings(examine(), as_json=as_json)


@app.command()
def bench(
    world: WorldName = DEFAULT_WORLD,
    seconds: Annotated[float, typer.Option(help="How long to measure, in all.", min=1.0, max=3600.0)] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON document, no table.")] = False,
    device: Device = None,
) -> int:
    """Measure stages, rates and start-up; the last line is one JSON document."""
    from ..session.bench import bench_world

    return bench_world(world, seconds, table=not as_json, device=device)


@app.command()
def plan(
    world: Annotated[str, typer.Argument(help="A world, or wan-1.3b, wan-14b (-480p).", metavar="WORLD")] = "circuit",
    *,
    devices: Annotated[str, typer.Option(help="Such as 4, 4xh100 or 2xcpu*0.5/8gb.", metavar="LIST")] = "1",
    sessions: Annotated[int, typer.Option(help="How many play at once.")] = 1,
    goal: Annotated[str, typer.Option(help="latency, throughput or sessions.", metavar="GOAL")] = "latency",
    fps: Annotated[float | None, typer.Option(help="Pictures a second that each session needs.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Input read to picture, at most.")] = None,
    link: Annotated[str | None, typer.Option(help="nvlink, pcie, ethernet or GB_PER_S,MS.", metavar="LINK")] = None,
    denoise_steps: Annotated[int | None, typer.Option(help="Instead of the profile's.")] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Stream-batch may be chosen: late by whole latents.")] = False,
    profile: Annotated[Path | None, typer.Option(help="Stage costs from this file.", metavar="F.json")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the stage costs here, now.")] = False,
    save_profile: Annotated[Path | None, typer.Option(help="Keep the costs there.", metavar="F.json")] = None,
    as_json: AsJson = False,
) -> int:
    """Predict rates, latency and memory of stage layouts on paper, and recommend one."""
    from ...tools.plan.command import PlanOptions, run_plan

    return run_plan(
        PlanOptions(
            world, devices, sessions, goal, fps, max_latency_ms, link, denoise_steps, lossy, profile, measure,
            save_profile, as_json,
        )
    )  # fmt: skip


@app.command()
def train(
    *,
    out: Annotated[Path, typer.Option(help="The world's folder; its name is the world's.", metavar="DIR")],
    env: Annotated[str | None, typer.Option(help="A Gymnasium environment.", metavar="ID")] = None,
    from_video: Annotated[Path | None, typer.Option(help="A folder of videos.", metavar="DIR")] = None,
    actions: Annotated[Path | None, typer.Option(help="The videos' actions.", metavar="F.csv")] = None,
    from_recordings: Annotated[list[Path] | None, typer.Option(help="Recorded sessions.", metavar="F.nfr")] = None,
    budget: Annotated[str, typer.Option(help="Wall time: 5m, 30m, 2h, gpu-25m.", metavar="TIME")] = "30m",
    size: Annotated[str | None, typer.Option(help="Of the frames, such as 64x64.", metavar="WxH")] = None,
    tiles: Annotated[int | None, typer.Option(help="The picture is tiles of so many pixels.", min=4, max=64)] = None,
    repeat: Annotated[int | None, typer.Option(help="Environment steps or video frames a tick.", min=1, max=64)] = None,
    env_seeds: Annotated[int, typer.Option(help="How many different starts; 0: no end.", min=0)] = 0,
    env_option: Annotated[list[str] | None, typer.Option(help="For the environment.", metavar="KEY=VALUE")] = None,
    policy: Annotated[str, typer.Option(help="Your own player: MODULE:FUNCTION.", metavar="NAME")] = "",
    skip: Annotated[int, typer.Option(help="First ticks of each episode that are not kept.", min=0)] = 0,
    tick_hz: Annotated[int | None, typer.Option(help="Of play; else as the source.", min=1, max=120)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps (the budget's if not given).")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the network.", min=1, max=256)] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that make data.", min=1, max=64)] = None,
    compiled: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile.")] = None,
    part: Annotated[str | None, typer.Option(help="Stop after this long, to go on by --resume.", metavar="T")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Although actions seem to do nothing.")] = False,
) -> int:
    """Train a world of your own from a Gymnasium environment, videos or recordings."""
    from ...tools.train.command import TrainOptions, parse_env_options, run_train
    from ...tools.train.data.sources import SourceOptions

    source = SourceOptions(
        env, from_video, actions, tuple(from_recordings or ()), size, repeat, env_seeds,
        parse_env_options(env_option or []), policy, skip, tick_hz,
    )  # fmt: skip
    words = " ".join(["nextframe", *sys.argv[1:]])
    return run_train(
        TrainOptions(source, out, budget, device, threads, workers, compiled, resume, force, words, part, tiles)
    )


@app.command(name="eval")
def evaluate(
    world: WorldName = DEFAULT_WORLD,
    out: Annotated[
        Path | None, typer.Option(help="The report (default: eval.json beside the weights).", metavar="F.json")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer episodes: minutes become seconds.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Also drift, latency, memory and more; takes long.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also a page, with films and curves.", metavar="F.html")] = None,
) -> int:
    """Measure a world's quality against its ground truth, on episodes never trained on."""
    from ...tools.evaluate.command import evaluate_world
    from ..session.startup import check_folder

    return evaluate_world(check_folder(world), out, quick=quick, full=full, html=html)


def print_outcome(report: dict[str, Any], written: dict[str, Path], max_miss_rate: float | None = None) -> None:
    """The numbers of a session that a player asks for first, and where everything is."""

    def shown(value: float | None, digits: int = 1) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    response, rate = report["response_ms"], report["miss_rate"]
    missed = "-" if rate is None else f"{100 * rate:.2f} %"
    asked = "" if max_miss_rate is None else f" (at most {100 * max_miss_rate:g} % asked)"
    print(
        f"{report['world']}: {report['ticks']} ticks, {shown(report['fps'])} fps, "
        f"response p50 {shown(response['p50'])} p99 {shown(response['p99'])} ms of {report['deadline_ms']:g}, "
        f"missed {missed}{asked}, "
        f"{shown(report['steps_mean'], 2)} denoise steps mean, {report['clock']} clock"
    )
    phases = ", ".join(f"{name} {ms:.0f}" for name, ms in report["ttff_ms"].items() if ms is not None)
    print(f"first frame after (ms): {phases}")
    if "ahead" in report:
        from ..tick.guess import in_words

        print(in_words(report["ahead"]))
    if "drift" in report:
        from ..session.parts.drift import summary

        print(summary(report["drift"]))
    if "stages" in report:
        from ..session.parts.stages import summary as stages_summary

        print(stages_summary(report["stages"]))
    if "guards" in report:
        from ..session.parts.guards import summary as guards_summary

        if guarded := guards_summary(report["guards"]):
            print(guarded)
    for kind, path in written.items():
        print(f"{kind.replace('_', ' ')}: {path}")


# --- entry -------------------------------------------------------------------------------------------------------

_started_ns: int | None = None


def _startup() -> StartUp:
    return StartUp(_started_ns)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console entry point: run a command and exit with its code."""
    global _started_ns  # noqa: PLW0603 - known to the process, needed by whichever command runs
    _started_ns = process_start_ns()
    sys.exit(run_command(arguments))


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever the user got wrong is one line on stderr and a code."""
    try:
        code = app(args=list(sys.argv[1:] if arguments is None else arguments) or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except NextframeError as error:
        return _complain(str(error), error.exit_code)
    except UsageProblem as error:
        return _complain(f"{error.format_message().rstrip('.')}; see nextframe --help", 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("stopped", 130)
    except BrokenPipeError:  # the reader of our output has seen enough: no fault of anybody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    print(f"nextframe: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
