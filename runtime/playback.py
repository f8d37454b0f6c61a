"""Plays a recording back, with the quality it was recorded at, and compares every tick with it.

Owns the composition for `nextframe replay` and its exit codes. Knows nothing of windows. Part of the composition root.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from controllers.replayed import ReplayController
from runtime.album import Pictures
from runtime.controls import SessionControls
from runtime.core import FixedClock, ReplayError
from runtime.display import NullDisplay
from runtime.governor import TraceGovernor
from runtime.loop import Loop, period_ns
from runtime.replay import Replay, ReplayVerifier, check_fits, read_replay
from runtime.startup import StartUp, check_folder, open_world, patience
from runtime.terminal import INTERRUPTED, OnEveryTick, Signals, progress_bar
from runtime.video import VideoWriter


@dataclass(frozen=True)
class PlaybackOptions:
    """What `nextframe replay` was asked for. `world`: a folder, when it is not one of the worlds that ship."""

    path: Path
    verify: bool = False
    recover: bool = False
    video: Path | None = None
    world: str | None = None


def play_back(options: PlaybackOptions) -> int:
    """0 identical, 1 differs, 2 could not be played or compared, 3 identical as far as a damaged file goes."""
    replay = read_replay(options.path, recover=options.recover)
    header = replay.header
    if not replay.ticks:
        raise ReplayError(
            f"{options.path}: the recording holds no ticks{'; ' + replay.message if replay.message else ''}"
        )
    side_by_side = header.environment.get("side_by_side") == 1
    found = check_folder(options.world or header.world, side_by_side=side_by_side)
    clock = FixedClock()
    threads = header.environment.get("threads")
    with patience(f"loading {found.name}"):
        opened = open_world(
            found,
            StartUp(),
            clock=clock,
            seed=header.seed,
            side_by_side=side_by_side,
            threads=threads if isinstance(threads, int) and 1 <= threads <= 256 else None,
        )
    with ExitStack() as stack:
        stack.callback(opened.world.close)
        check_fits(replay, opened.info)
        _check_steps(replay, options.path)
        verifier, controls = ReplayVerifier(replay), SessionControls()
        sinks = []
        video: VideoWriter | None = None
        if options.video is not None or not options.verify:
            size_px = (opened.info.width_px, opened.info.height_px)
            path = options.video or Path("out/replay.mp4")
            video = VideoWriter(path, header.tick_hz, size_px, scale=max(1, round(768 / max(size_px))))
            stack.callback(video.close)
            sinks.append(video.add)
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(progress_bar("replaying", len(replay.ticks), len(replay.ticks) / 100))

        def after_tick() -> None:
            advance()
            if signals.received:
                controls.request_stop()

        controller = ReplayController(replay)
        period = period_ns(header.tick_hz)
        loop = Loop(
            opened.world,
            controller,
            Pictures(NullDisplay(clock), sinks),
            TraceGovernor(controller.steps),
            clock,
            tick_period_ns=period,
            deadline_ns=int(period),
            observer=OnEveryTick(after_tick),
            recorder=verifier,
            controls=controls,
            seed=header.seed,
            reset_seeds=replay.reset_seeds,
            checksum_every=1,  # a recording that began mid-session has its checksums at any offset
        )
        loop.run(len(replay.ticks))
        if video is not None and video.close() is not None:
            print(f"video: {video.path}")
        if signals.received and loop.tick < len(replay.ticks):
            print(f"stopped at tick {loop.tick} of {len(replay.ticks)}")
            return INTERRUPTED
        return _verdict(options, replay, verifier)


def _check_steps(replay: Replay, path: Path) -> None:
    """A valid CRC does not make a level sane: only rungs can be forced."""
    for tick, recorded in enumerate(replay.ticks):
        if recorded.steps_applied not in replay.header.ladder:
            ladder = ", ".join(map(str, replay.header.ladder))
            raise ReplayError(f"{path}: tick {tick}: expected denoise steps of {ladder}, got {recorded.steps_applied}")


def _verdict(options: PlaybackOptions, replay: Replay, verifier: ReplayVerifier) -> int:
    if verifier.first_difference is not None:
        print(f"differs at {verifier.first_difference}")
        return 1
    ticks, checksums = verifier.ticks_compared, verifier.checksums_compared
    if not verifier.verified and options.verify:
        raise ReplayError(f"{options.path}: nothing could be verified: {checksums} checksums in {ticks} ticks")
    print(f"identical: {ticks} ticks, {checksums} checksums agree")
    if replay.complete:
        return 0
    print(f"{options.path}: {replay.message}", file=sys.stderr)
    return 3
