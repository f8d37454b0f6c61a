"""`nextframe replay`: plays a recording at the quality it was recorded at, and compares every tick with it.

A run under other conditions than the recorded ones is not a playback but a "what if": see
`nextframe.runtime.session.whatif`.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..core import FixedClock, ReplayError
from ..display.video import VideoWriter
from ..recording.environment import expectation
from ..recording.format import Replay, ReplayHeader
from ..recording.playback import Playback, ReplayVerifier, Span, check_fits, check_steps, go_to_start, span_of
from ..recording.reader import read_replay
from .parts.drift import OFF, REMEDIES
from .parts.place import AS_ITS_FILE_SAYS, AsksForAPlace, placement
from .startup import OpenWorld, StartUp, check_folder, open_world, patience
from .terminal import INTERRUPTED, Signals, progress_bar
from .whatif import WhatIf, run_what_if

MAX_THREADS = 256


@dataclass(frozen=True)
class PlaybackOptions:
    """What `nextframe replay` was asked for. `world`: a folder, when it is not one of the worlds that ship.

    `from_tick`, `to_tick`: only these ticks, the last one not included. `quality` (denoise steps of every tick) and
    `weights` (another world's folder) make it a what-if run; `report` is where that writes its JSON.
    `stages`, `processes`: play it over several processes, see `nextframe.runtime.session.parts.stages`. `device`: see
    `nextframe.runtime.session.parts.device`.
    """

    path: Path
    verify: bool = False
    recover: bool = False
    video: Path | None = None
    world: str | None = None
    from_tick: int | None = None
    to_tick: int | None = None
    quality: int | None = None
    weights: str | None = None
    report: Path | None = None
    stages: str | None = None
    processes: int | None = None
    device: str | None = None


def play_back(options: PlaybackOptions) -> int:
    """0 identical, 1 differs, 2 could not be played or compared, 3 identical as far as a damaged file goes.

    A what-if run gives 0 once its report is written, or 3 for a damaged file: it is never said to be identical.
    """
    replay = read_replay(options.path, recover=options.recover)
    span = span_of(replay, options.path, options.from_tick, options.to_tick)
    if options.quality is not None or options.weights is not None:
        return _play_what_if(options, replay, span)
    opened = open_recorded(replay.header, options.world, wanted=options)
    with ExitStack() as stack:
        stack.callback(opened.world.close)
        check_fits(replay, opened.info)
        check_bank(replay.header, opened)
        check_steps(replay, options.path)
        go_to_start(opened.world, replay, span, options.path)
        verifier = ReplayVerifier(replay, span.start, span.last)
        video: VideoWriter | None = None
        if options.video is not None or not options.verify:
            size_px = (opened.info.width_px, opened.info.height_px)
            path = options.video or Path("out/replay.mp4")
            video = VideoWriter(path, replay.header.tick_hz, size_px, scale=max(1, round(768 / max(size_px))))
            stack.callback(video.close)
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(progress_bar("replaying", span.ticks, span.ticks / 100))
        playback = Playback(replay, opened.world, verifier, span.start)
        while playback.tick < span.last and not signals.received:
            shown = playback.tick >= span.first
            frames = playback.advance()
            if video is not None and shown:
                for frame in frames:
                    video.add(frame)
            advance()
        if video is not None and video.close() is not None:
            print(f"video: {video.path}")
        if playback.tick < span.last:
            print(f"stopped at tick {playback.tick} of {span.last}")
            return INTERRUPTED
        return _verdict(options, replay, verifier, expectation(replay.header, opened.environment).sentence)


def _play_what_if(options: PlaybackOptions, replay: Replay, span: Span) -> int:
    """Both sides opened, played and closed."""
    with ExitStack() as stack:
        left = open_recorded(replay.header, options.world)
        stack.callback(left.world.close)
        check_fits(replay, left.info)
        check_steps(replay, options.path)
        right = open_recorded(replay.header, options.weights or options.world)
        stack.callback(right.world.close)
        asked = WhatIf(
            options.path,
            options.quality,
            options.video or Path("out/what_if.mp4"),
            options.report or Path("out/what_if.json"),
        )
        done = run_what_if(asked, replay, span, left, right)
    return loss(options.path, replay) if done else INTERRUPTED


def open_recorded(header: ReplayHeader, world: str | None, *, wanted: AsksForAPlace = AS_ITS_FILE_SAYS) -> OpenWorld:
    """The world of a recording, as it was opened then: with the threads, on which the result of a sum depends, and with
    a drift monitor if that was a part of the state."""
    side_by_side = header.environment.get("side_by_side") == 1
    found = check_folder(world or header.world, side_by_side=side_by_side)
    threads, drift = header.environment.get("threads"), header.environment.get("drift")
    place = placement(wanted, found, side_by_side=side_by_side)
    with patience(f"loading {found.name}"):
        return open_world(
            found,
            StartUp(),
            clock=FixedClock(),
            seed=header.seed,
            side_by_side=side_by_side,
            threads=threads if isinstance(threads, int) and 1 <= threads <= MAX_THREADS else None,
            drift=str(drift) if drift in REMEDIES else OFF,
            stages=place.stages,
            device=place.device,
        )


def check_bank(header: ReplayHeader, opened: OpenWorld) -> None:
    """What was done about drift came from the drift bank. Raises `ReplayError` for another one."""
    recorded, here = (environment.get("drift_bank") for environment in (header.environment, opened.environment))
    if recorded not in (None, here):
        raise ReplayError(
            f"the recording does not fit this world: drift bank (SHA-256): recorded {recorded}, here {here}; "
            "play it with the bank that it was made with"
        )


def _verdict(options: PlaybackOptions, replay: Replay, verifier: ReplayVerifier, environment: str) -> int:
    if verifier.first_difference is not None:
        print(f"differs at {verifier.first_difference}")
        if environment:
            print(f"note: {environment}")
        return 1
    ticks, checksums = verifier.ticks_compared, verifier.checksums_compared
    if not verifier.verified and options.verify:
        raise ReplayError(f"{options.path}: nothing could be verified: {checksums} checksums in {ticks} ticks")
    if environment:
        print(f"note: {environment}")
    if drift := [tick for tick, one in enumerate(replay.ticks) if one.drift]:
        print(f"drift: {len(drift)} alarm{'s' * (len(drift) > 1)} recorded, the first at tick {drift[0]}")
    print(f"identical: {ticks} ticks, {checksums} checksums agree")
    return loss(options.path, replay)


def loss(path: Path, replay: Replay) -> int:
    """0 for a complete recording; else what was recovered and lost, on stderr, and 3."""
    if replay.complete:
        return 0
    print(f"{path}: {replay.message}", file=sys.stderr)
    return 3
