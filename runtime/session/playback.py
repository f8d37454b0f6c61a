"""Plays a recording back, with the quality it was recorded at, and compares every tick with it.

Owns the composition for `nextframe replay` and its exit codes. A run under other conditions than the recorded ones is
no playback but a "what if": see `nextframe.runtime.session.whatif`. Knows nothing of windows. Part of the composition
root.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...controllers.replayed import ReplayController
from ..core import Clock, FixedClock, Frame, ReplayError, Snapshot, World
from ..display.album import Pictures
from ..display.null import NullDisplay
from ..display.video import VideoWriter
from ..governor.adaptive import TraceGovernor
from ..loop import Governor, Loop, Observer, Recorder, period_ns
from ..recording.facade import (
    Replay,
    ReplayHeader,
    ReplayVerifier,
    StoredSnapshot,
    check_fits,
    expectation,
    load_snapshot,
    read_replay,
)
from ..tick.aftercare import RecordedAftercare, drift_action
from ..tick.controls import SessionControls
from .parts.device import AS_ITS_FILE_SAYS, AsksForAPlace, placement
from .parts.drift import OFF, REMEDIES
from .startup import OpenWorld, StartUp, check_folder, open_world, patience
from .terminal import INTERRUPTED, OnEveryTick, Signals, progress_bar

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


@dataclass(frozen=True)
class Span:
    """The ticks asked for, `first` up to `last` without it, and where the playback must begin to reach them."""

    start: int
    first: int
    last: int
    snapshot: StoredSnapshot | None

    @property
    def ticks(self) -> int:
        return self.last - self.start


def play_back(options: PlaybackOptions) -> int:
    """0 identical, 1 differs, 2 could not be played or compared, 3 identical as far as a damaged file goes.

    A what-if run gives 0 once its report is written, or 3 for a damaged file: it is never said to be identical.
    """
    replay = read_replay(options.path, recover=options.recover)
    span = span_of(replay, options)
    if options.quality is not None or options.weights is not None:
        from .whatif import run_what_if

        return run_what_if(options, replay, span)
    clock = FixedClock()
    opened = open_recorded(replay.header, options.world, clock, wanted=options)
    with ExitStack() as stack:
        stack.callback(opened.world.close)
        check_fits(replay, opened.info)
        check_bank(replay.header, opened)
        check_steps(replay, options.path)
        go_to_start(opened.world, replay, span, options.path)
        verifier, controls = ReplayVerifier(replay, span.start, span.last), SessionControls()
        picked: list[Callable[[Frame], None]] = []
        video: VideoWriter | None = None
        if options.video is not None or not options.verify:
            size_px = (opened.info.width_px, opened.info.height_px)
            path = options.video or Path("out/replay.mp4")
            video = VideoWriter(path, replay.header.tick_hz, size_px, scale=max(1, round(768 / max(size_px))))
            stack.callback(video.close)
            picked.append(lambda frame: video.add(frame) if loop.tick >= span.first else None)
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(progress_bar("replaying", span.ticks, span.ticks / 100))

        def after_tick() -> None:
            advance()
            if signals.received:
                controls.request_stop()

        loop = playing(
            replay, opened.world, clock, sinks=picked, recorder=verifier, controls=controls,
            observer=OnEveryTick(after_tick),
        )  # fmt: skip
        loop.tick = span.start
        loop.run(span.ticks)
        if video is not None and video.close() is not None:
            print(f"video: {video.path}")
        if signals.received and loop.tick < span.last:
            print(f"stopped at tick {loop.tick} of {span.last}")
            return INTERRUPTED
        return _verdict(options, replay, verifier, expectation(replay.header, opened.environment).sentence)


def playing(
    replay: Replay,
    world: World,
    clock: Clock,
    *,
    sinks: Sequence[Callable[[Frame], None]],
    recorder: Recorder,
    controls: SessionControls | None = None,
    observer: Observer | None = None,
    governor: Governor | None = None,
) -> Loop:
    """A loop that plays a recording on a world that stands at its beginning, with the recorded quality or another.

    To begin later, bring the world there and set the loop's `tick`.
    """
    controller, events = ReplayController(replay), [tick.event for tick in replay.ticks]
    period = period_ns(replay.header.tick_hz)
    return Loop(
        world,
        controller,
        Pictures(NullDisplay(clock), sinks),
        governor or TraceGovernor(controller.steps, events),
        clock,
        tick_period_ns=period,
        deadline_ns=int(period),
        observer=observer,
        recorder=recorder,
        controls=controls,
        seed=replay.header.seed,
        reset_seeds=replay.reset_seeds,
        aftercare=RecordedAftercare(world, events),
        checksum_every=1,  # a recording that began mid-session has its checksums at any offset
    )


def span_of(replay: Replay, options: PlaybackOptions) -> Span:
    """Raises `ReplayError` for an empty recording, or for ticks that it does not have."""
    held = len(replay.ticks)
    if not held:
        raise ReplayError(
            f"{options.path}: the recording holds no ticks{'; ' + replay.message if replay.message else ''}"
        )
    first = options.from_tick or 0
    last = held if options.to_tick is None else options.to_tick
    if not 0 <= first < last <= held:
        raise ReplayError(
            f"{options.path}: expected --from below --to, both in 0..{held}, got {first} and {last}; "
            f"the recording holds ticks 0 to {held - 1}"
        )
    start, snapshot = replay.start_before(first)
    return Span(start, first, last, snapshot)


def open_recorded(
    header: ReplayHeader,
    world: str | None,
    clock: Clock,
    *,
    wanted: AsksForAPlace = AS_ITS_FILE_SAYS,
) -> OpenWorld:
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
            clock=clock,
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


def go_to_start(world: World, replay: Replay, span: Span, path: Path) -> None:
    """Restore what the span starts from; a reset there is carried out by the loop. Raises `ReplayError`."""
    if span.snapshot is None:
        return
    restore(world, load_snapshot(path, span.snapshot), f"{path}: the state before tick {span.start}")


def restore(world: World, snapshot: Snapshot, source: str) -> None:
    """`World.restore` for a snapshot from elsewhere. Raises `ReplayError`."""
    try:
        world.restore(snapshot)
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # Shapes and names inside a snapshot are the world's own: only it can tell that they do not fit.
        raise ReplayError(
            f"{source}: expected a state that fits {world.info.name}, got one that does not "
            f"({type(error).__name__}: {error}); start from an earlier tick, or with the world that made it"
        ) from error


def check_steps(replay: Replay, path: Path) -> None:
    """A valid CRC does not make a level sane: only rungs can be forced."""
    for tick, recorded in enumerate(replay.ticks):
        if recorded.steps_applied not in replay.header.ladder:
            ladder = ", ".join(map(str, replay.header.ladder))
            raise ReplayError(f"{path}: tick {tick}: expected denoise steps of {ladder}, got {recorded.steps_applied}")


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
    if drift := [tick for tick, one in enumerate(replay.ticks) if drift_action(one.event)]:
        print(f"drift: {len(drift)} alarm{'s' * (len(drift) > 1)} recorded, the first at tick {drift[0]}")
    print(f"identical: {ticks} ticks, {checksums} checksums agree")
    return loss(options.path, replay)


def loss(path: Path, replay: Replay) -> int:
    """0 for a complete recording; else what was recovered and lost, on stderr, and 3."""
    if replay.complete:
        return 0
    print(f"{path}: {replay.message}", file=sys.stderr)
    return 3
