"""Commands that make worlds and judge them: `train`, `eval`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from .options import DEFAULT_WORLD, WorldName, flag, option

SOURCE, NETWORK = "Where data comes from", "Training"


def train(
    *,
    out: Annotated[Path, option(help="The world's folder; its name is the world's.", metavar="DIR")],
    env: Annotated[str | None, option(help="A Gymnasium environment.", metavar="ID", panel=SOURCE)] = None,
    from_video: Annotated[Path | None, option(help="A folder of videos.", metavar="DIR", panel=SOURCE)] = None,
    actions: Annotated[Path | None, option(help="The videos' actions.", metavar="F.csv", panel=SOURCE)] = None,
    from_recordings: Annotated[
        list[Path] | None, option(help="Recorded sessions.", metavar="F.nfr", panel=SOURCE)
    ] = None,
    budget: Annotated[str, option(help="Wall time: 5m, 30m, 2h, gpu-25m.", metavar="TIME", panel=NETWORK)] = "30m",
    size: Annotated[str | None, option(help="Of the frames, such as 64x64.", metavar="WxH", panel=SOURCE)] = None,
    tiles: Annotated[
        int | None,
        option(help="The picture is tiles of so many pixels.", metavar="PX", min=4, max=64, panel=SOURCE),
    ] = None,
    repeat: Annotated[
        int | None,
        option(help="Environment steps or video frames a tick.", metavar="N", min=1, max=64, panel=SOURCE),
    ] = None,
    env_seeds: Annotated[
        int, option(help="How many different starts; 0: no end.", metavar="N", min=0, panel=SOURCE)
    ] = 0,
    env_option: Annotated[
        list[str] | None, option(help="For the environment.", metavar="KEY=VALUE", panel=SOURCE)
    ] = None,
    policy: Annotated[str, option(help="Your own player: MODULE:FUNCTION.", metavar="NAME", panel=SOURCE)] = "",
    skip: Annotated[
        int, option(help="First ticks of each episode that are not kept.", metavar="N", min=0, panel=SOURCE)
    ] = 0,
    tick_hz: Annotated[
        int | None, option(help="Of play; else as the source.", metavar="HZ", min=1, max=120, panel=SOURCE)
    ] = None,
    picture: Annotated[
        str | None,
        option(help="Of the environment: render, or observation[:KEY].", metavar="WHAT", panel=SOURCE),
    ] = None,
    action_lag: Annotated[
        int | None,
        option(help="Frames by which the table's actions come late.", metavar="N", min=-30, max=30, panel=SOURCE),
    ] = None,
    device: Annotated[
        str | None, option(help="cpu, cuda or mps (else the budget's).", metavar="NAME", panel=NETWORK)
    ] = None,
    threads: Annotated[int | None, option(help="Of the network.", metavar="N", min=1, max=256, panel=NETWORK)] = None,
    workers: Annotated[
        int | None, option(help="Processes that make data.", metavar="N", min=1, max=64, panel=SOURCE)
    ] = None,
    compiled: Annotated[bool | None, flag("--compile/--no-compile", help="torch.compile.", panel=NETWORK)] = None,
    part: Annotated[
        str | None, option(help="Stop after this long, to go on by --resume.", metavar="TIME", panel=NETWORK)
    ] = None,
    resume: Annotated[bool, flag("--resume", help="Go on with a run that was stopped.", panel=NETWORK)] = False,
    force: Annotated[bool, flag("--force", help="Although actions seem to do nothing.", panel=NETWORK)] = False,
) -> int:
    """Train a world of your own from a Gymnasium environment, videos or recordings."""
    from ...tools.train.command import TrainOptions, parse_env_options, run_train
    from ...tools.train.data.sources import SourceOptions

    source = SourceOptions(
        env=env,
        videos=from_video,
        actions=actions,
        recordings=tuple(from_recordings or ()),
        size=size,
        repeat=repeat,
        env_seeds=env_seeds,
        env_options=parse_env_options(env_option or []),
        policy=policy,
        skip=skip,
        tick_hz=tick_hz,
        picture=picture,
        action_lag=action_lag,
    )
    options = TrainOptions(
        source=source,
        out=out,
        budget=budget,
        device=device,
        threads=threads,
        workers=workers,
        compiled=compiled,
        resume=resume,
        force=force,
        command=" ".join(["nextframe", *sys.argv[1:]]),
        part=part,
        tile_px=tiles,
    )
    return run_train(options)


def evaluate(
    world: WorldName = DEFAULT_WORLD,
    out: Annotated[Path | None, option(help="The report (default: beside the weights).", metavar="F.json")] = None,
    quick: Annotated[bool, flag("--quick", help="Fewer episodes: minutes become seconds.")] = False,
    full: Annotated[bool, flag("--full", help="Also drift, latency, memory and more; takes long.")] = False,
    html: Annotated[Path | None, option(help="Also a page, with films and curves.", metavar="F.html")] = None,
) -> int:
    """Measure a world's quality against its ground truth, on episodes never trained on."""
    from ...tools.evaluate.command import evaluate_world
    from ..session.startup import check_folder

    return evaluate_world(check_folder(world), out, quick=quick, full=full, html=html)
