"""`nextframe train`: data, tokenizer, dynamics, evaluation, world folder. Every part goes on where a kill left it.

Kept under `OUT/.train`: `plan.json` (the options, which a resumed run must share), `data/` shards, checkpoints,
`strips/`. Cheap refusals come first.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ...runtime.config import nearest
from ...runtime.core import NextframeError
from .base.budget import WORK, Budget, Plan, parse_budget, parse_part, plan_for
from .base.part import Part, PartOverError
from .base.run import Run
from .base.show import clock, say
from .data.clips import check_clips, condition_names, load_clips, load_source, split, unused
from .data.sources import SourceOptions, default_workers, make_data, open_source
from .learn import checkpoint

NAME_PATTERN = r"[a-z][a-z0-9_]{0,63}"
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "268435456"}
"""Large temporaries come and go every step; without these glibc returns them to the system each time. Read by glibc as
the process starts, so the command starts itself again with them."""


@dataclass(frozen=True)
class TrainOptions:
    """`out`: the world's folder, its name is the world's. `force`: train although actions seem to do nothing. `part`: a
    time after which to stop, to go on with `resume`. `tile_px`: the picture is made of squares of so many pixels."""

    source: SourceOptions
    out: Path
    budget: str = "30m"
    device: str | None = None
    threads: int | None = None
    workers: int | None = None
    compiled: bool | None = None
    resume: bool = False
    force: bool = False
    command: str = field(default="", compare=False)
    part: str | None = None
    tile_px: int | None = None


def parse_env_options(pairs: list[str]) -> Mapping[str, Any]:
    """`KEY=VALUE` as plain Python values: numbers, true, false, or text."""
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise NextframeError(f"--env-option {pair}: expected KEY=VALUE")
        try:
            options[key] = words[value.lower()] if value.lower() in words else float(value)
        except ValueError:
            options[key] = value
        if isinstance(options[key], float) and options[key].is_integer() and "." not in value:
            options[key] = int(options[key])
    return options


def run_train(options: TrainOptions) -> int:
    """0 once the world's folder is written. Raises `NextframeError` with the reason where it cannot be."""
    name = world_name(options.out)
    budget = parse_budget(options.budget)
    device = options.device or budget.device
    part = Part(None if options.part is None else parse_part(options.part))
    with_malloc_settings(device)
    work = options.out / WORK
    check_folder_is_free(options, work)
    began_s = time.monotonic()
    opened = None if (work / "data.done").is_file() else open_source(options.source)
    prepare(device, options.threads)
    if opened is not None:
        work.mkdir(parents=True, exist_ok=True)
        size = [opened.height_px, opened.width_px]
        plan = plan_for(Budget(budget.seconds, device), *size, compiled=options.compiled, tile_px=options.tile_px)
        checkpoint.write_json(work / "plan.json", {"options": signature(options), "size": size})
        make_data(opened, work / "data", frames=plan.frames, seconds=plan.data_s,
                  workers=options.workers or default_workers())  # fmt: skip
        (work / "data.done").write_text(f"{time.monotonic() - began_s:.0f} s\n", encoding="utf-8")
    size = checkpoint.read_json(work / "plan.json")["size"]
    plan = plan_for(Budget(budget.seconds, device), *size, compiled=options.compiled, tile_px=options.tile_px)
    plan = replace(plan, dynamics_s=plan.dynamics_s + spared_s(work, plan))
    try:
        return learn(options, Run(name, options.out, plan, device, force=options.force, part=part), began_s)
    except PartOverError:
        say(f"this part is over after {clock(time.monotonic() - began_s)}, and stored; go on with --resume")
        return 0


def spared_s(work: Path, plan: Plan) -> float:
    """What a quick data part left of its share: the dynamics get it. Nothing where its time is not known."""
    words = (work / "data.done").read_text(encoding="utf-8").split()
    took_s = float(words[0]) if words and words[0].isdecimal() else plan.data_s
    return max(0.0, plan.data_s - took_s)


def learn(options: TrainOptions, run: Run, began_s: float) -> int:
    """Everything after the data."""
    from .world import learn_world

    work = options.out / WORK
    source = load_source(work / "data")
    clips = load_clips(work / "data")
    names = condition_names(source.controls.space)
    check_clips(clips, names, context=run.plan.ticks)
    height_px, width_px = clips.frames.shape[1:3]
    say(f"data: {len(clips)} frames in {len(clips.starts)} episodes, {width_px}x{height_px} px, {', '.join(names)}")
    for dead in unused(clips, names):
        say(f"note: {dead} was never used; a player will find it dead")
    train, held = split(clips)
    (work / "strips").mkdir(exist_ok=True)
    story = {"command": options.command, "budget": options.budget, "frames": len(train), "held_out_frames": len(held)}
    made = learn_world(run, source, train, held, story)
    say(f"world: {options.out} after {clock(time.monotonic() - began_s)}; play it with: nextframe play {options.out}")
    print("\n".join(made))
    return 0


# --- checks and surroundings --------------------------------------------------------------------------------------


def world_name(out: Path) -> str:
    import re

    name = out.resolve().name
    if not re.fullmatch(NAME_PATTERN, name):
        raise NextframeError(f"--out {out}: expected a folder whose name is a world's name, such as worlds-dir/my_car "
                             f"(small letters, digits and _), got {name!r}")  # fmt: skip
    return name


def signature(options: TrainOptions) -> dict[str, Any]:
    """What a resumed run must have in common with the run that it goes on with."""
    plain = asdict(options.source) | {"budget": options.budget, "tile_px": options.tile_px}
    return {key: _plain(value) for key, value in plain.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def check_folder_is_free(options: TrainOptions, work: Path) -> None:
    """A finished or begun folder is only touched with --resume, and only by the same run."""
    stored = checkpoint.read_json(work / "plan.json")
    if stored is None:
        if options.out.exists() and any(options.out.iterdir()) and not (work.is_dir() and options.resume):
            raise NextframeError(f"--out {options.out}: expected a new or empty folder; choose another name")
        return
    if not options.resume:
        raise NextframeError(
            f"--out {options.out}: a run was begun there; add --resume to go on, or choose another name"
        )
    now = signature(options)
    other = [key for key in now if stored["options"].get(key) != now[key]]
    if other:
        raise NextframeError(
            f"--resume: {options.out} was begun with another {other[0]}: {stored['options'].get(other[0])!r}, now "
            f"{now[other[0]]!r}; give the same options, or another --out"
        )


def prepare(device: str, threads: int | None) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    kind = device.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise NextframeError(
            f"--device {device}: expected cpu, cuda or mps; did you mean {nearest(kind, there) or 'cpu'}?"
        )
    if not there[kind]:
        raise NextframeError(f"{device}: no such device here; choose a budget without gpu-, such as 30m")
    if threads is not None:
        torch.set_num_threads(threads)
    if kind == "cuda":
        torch.set_float32_matmul_precision("high")


def with_malloc_settings(device: str) -> None:
    """Start the same command again with glibc set to keep its memory: training is up to a sixth faster on a CPU.

    Only where this process is the command itself, on Linux, and they are not set yet.
    """
    entry = Path(sys.argv[0]).name
    if not sys.platform.startswith("linux") or device != "cpu" or any(key in os.environ for key in MALLOC):
        return
    if entry != "nextframe":
        return
    os.environ.update(MALLOC)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])
