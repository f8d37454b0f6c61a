"""A headless session: world, controller, governor, recorder and loop put together, and what it leaves on disk.

Owns the composition and the artefacts (video, contact sheet, report, recording), and that Ctrl-C ends a session with
all of them written. Knows nothing of windows. Part of the composition root.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from ..core import Clock, FixedClock, MonotonicClock
from ..display.album import Album, AlbumOptions, Pictures
from ..display.null import NullDisplay
from ..governor.state import governor_state, restore_governor
from ..load.world import parse_load
from ..loop import Loop, period_ns
from ..tick.controls import SessionControls
from ..tick.heap import settled_heap
from ..timeline.saves import default_folder, load_slot, save_slot, saved_state
from .choices import (
    SessionOptions,
    check_recording_path,
    deadline_of,
    make_controller,
    make_recorder,
    quality_choice,
)
from .instruments import InstrumentOptions, Instruments
from .outcome import Outcome, write_report
from .parts.ahead import AheadPart
from .parts.device import placement
from .parts.drift import DriftPart, drift_choice
from .parts.guards import GuardPart
from .parts.stages import stages_report
from .startup import StartUp, check_folder, open_world, patience
from .terminal import OnEveryTick, Signals, progress_bar


def run_session(options: SessionOptions, startup: StartUp) -> Outcome:
    """Run a headless session to its end, or until Ctrl-C, and write what it leaves. Cheap mistakes are found first."""
    found = check_folder(options.world, side_by_side=options.side_by_side)
    controller = make_controller(options, found)
    quality = quality_choice(options.quality, options.steps, found.spec.ladder, timeless=options.clock == "fixed")
    drift_action, place = (
        drift_choice(options.drift, found, side_by_side=options.side_by_side),
        placement(options, found, side_by_side=options.side_by_side),
    )
    shape = None if options.load is None else parse_load(options.load)
    check_recording_path(options.record, overwrite=options.overwrite)
    clock: Clock = FixedClock() if options.clock == "fixed" else MonotonicClock()
    controls, deadline_ns = SessionControls(), deadline_of(found, options.deadline_ms)
    watched = InstrumentOptions(
        options.clock == "real", options.warmup_ticks, options.trace, options.out, options.metrics_port
    )
    tick_period_ns = period_ns(found.spec.tick_hz)
    with ExitStack() as stack:
        instruments = stack.enter_context(
            Instruments(watched, found.name, controls, tick_period_ns=tick_period_ns, deadline_ns=deadline_ns)
        )
        if instruments.metrics_url:
            print(f"metrics: {instruments.metrics_url}")
        with patience(f"loading {found.name}"):
            opened = open_world(
                found, startup, clock=clock, seed=options.seed, side_by_side=options.side_by_side, drift=drift_action,
                stages=place.stages, device=place.device,
            )  # fmt: skip
        stack.callback(opened.world.close)
        drift, guard = (
            DriftPart(opened.world, opened.monitor, opened.drift),
            GuardPart(controls, lambda text: print(f"nextframe: {text}", file=sys.stderr)),
        )
        governor = quality.governor(
            opened.info.ladder, clock, tick_deadline_ns=deadline_ns, tick_period_ns=int(tick_period_ns)
        )
        saves, first_tick = options.saves or default_folder(), 0
        if options.load_slot is not None:
            state = load_slot(saves, options.load_slot, opened.info)
            opened.world.restore(state.snapshot)
            restore_governor(governor, state.governor)
            first_tick = state.tick
        ahead = AheadPart(
            opened.world,
            clock,
            wanted=options.ahead,
            shape=shape,
            ceiling=(lambda: opened.info.ladder[-1]) if quality.kind == "adaptive" else None,
            warmup_ticks=options.warmup_ticks,
        )
        recorder = make_recorder(
            options.record,
            opened,
            options.seed,
            overwrite=options.overwrite,
            live=watched.live,
            initial_snapshot=None if options.load_slot is None else opened.world.snapshot(),
        )
        stack.callback(recorder.close)
        album = Album(
            AlbumOptions(options.out, options.pictures, options.video, options.contact_sheet, watched.live),
            opened.info,
            stack,
        )
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(
            progress_bar(f"playing {found.name}", options.ticks, options.ticks / float(found.spec.tick_hz))
        )
        stop = OnEveryTick(lambda: controls.request_stop() if signals.received else None)
        loop = Loop(
            ahead.world,
            controller,
            Pictures(NullDisplay(clock), [lambda frame: startup.first_frame(), *album.sinks]),
            governor,
            clock,
            tick_period_ns=tick_period_ns,
            deadline_ns=deadline_ns,
            observer=instruments.observer(ahead.loaded, stop, OnEveryTick(advance), ahead.counts, guard),
            recorder=recorder,
            controls=controls,
            seed=options.seed,
            probe=instruments.probe,
            ahead=ahead.seam,
            aftercare=drift.care,
        )
        loop.tick = first_tick
        startup.restart_phase()
        with settled_heap():
            loop.run(options.ticks)
        report = instruments.report(opened, startup, clock=options.clock, governor_name=quality.text, load=options.load)
        report |= ahead.as_report() | drift.as_report() | stages_report(opened.world) | guard.as_report()
        written = {**album.close(), **instruments.close()}
        written["report"] = write_report(options.report or options.out / "report.json", report)
        recorder.close()
        guard.check()
        if options.record is not None:
            written["recording"] = options.record
        if options.save_slot is not None:
            state = saved_state(opened.world, tick=loop.tick, seed=options.seed, governor=governor_state(governor))
            written["saved"] = save_slot(saves, options.save_slot, state)
        return Outcome(report, written, signals.received and loop.tick < first_tick + options.ticks)
