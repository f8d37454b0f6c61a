"""A headless session: `nextframe run`, and `play` where there is no display.

It leaves a video, a contact sheet, a report and a recording; Ctrl-C ends it with all of them written.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from ..core import Clock, FixedClock, MonotonicClock
from ..display.album import Album, AlbumOptions, Pictures
from ..display.null import NullDisplay
from ..governor.state import governor_state, restore_governor
from ..loop import Governor
from ..tick.heap import settled_heap
from ..timeline.saves import default_folder, load_slot, save_slot, saved_state
from .builder import Session
from .choices import SessionOptions, check_recording_path, make_controller, make_recorder, quality_choice
from .instruments import InstrumentOptions, Instruments
from .outcome import Outcome, write_report
from .parts.ahead import AheadPart
from .parts.chosen import choose
from .parts.part import Setting
from .startup import OpenWorld, StartUp, patience
from .terminal import OnEveryTick, Signals, progress_bar


def run_session(options: SessionOptions, startup: StartUp) -> Outcome:
    """Run a headless session to its end, or until Ctrl-C, and write what it leaves. Cheap mistakes are found first."""
    chosen = choose(options)
    found = chosen.found
    controller = make_controller(options, found)
    quality = quality_choice(options.quality, options.steps, found.spec.ladder, timeless=options.clock == "fixed")
    check_recording_path(options.record, overwrite=options.overwrite)
    pictures = _pictures(options)
    clock: Clock = FixedClock() if options.clock == "fixed" else MonotonicClock()
    setting = Setting.at(found.spec.tick_hz, clock, deadline_ms=options.deadline_ms, seed=options.seed)
    with ExitStack() as stack:
        instruments = stack.enter_context(Instruments(_watching(options), found.name, setting))
        if instruments.metrics_url:
            print(f"metrics: {instruments.metrics_url}")
        with patience(f"loading {found.name}"):
            opened = chosen.open(startup, clock=clock, seed=options.seed)
        stack.callback(opened.world.close)
        ladder = opened.info.ladder
        governor = quality.governor(
            ladder, clock, tick_deadline_ns=setting.deadline_ns, tick_period_ns=int(setting.tick_period_ns)
        )
        first_tick = _go_on_from(options, opened, governor)
        ahead = AheadPart(
            clock,
            ceiling=(lambda: ladder[-1]) if quality.kind == "adaptive" else None,
            warmup_ticks=options.warmup_ticks,
        )
        session = Session(
            opened.world,
            setting,
            parts=chosen.parts(opened, setting, _complain, ahead=ahead),
            instruments=instruments,
        )
        recorder = make_recorder(
            options.record,
            opened,
            options.seed,
            overwrite=options.overwrite,
            live=options.clock == "real",
            initial_snapshot=None if options.load_slot is None else opened.world.snapshot(),
        )
        stack.callback(recorder.close)
        album = Album(pictures, opened.info, stack)
        signals = stack.enter_context(Signals())
        advance = stack.enter_context(
            progress_bar(f"playing {found.name}", options.ticks, options.ticks / float(found.spec.tick_hz))
        )
        stop = OnEveryTick(lambda: setting.controls.request_stop() if signals.received else None)
        loop = session.loop(
            controller,
            Pictures(NullDisplay(clock), [lambda frame: startup.first_frame(), *album.sinks]),
            governor,
            recorder=recorder,
            observers=(stop, OnEveryTick(advance)),
        )
        loop.tick = first_tick
        startup.restart_phase()
        with settled_heap():
            loop.run(options.ticks)
        report = session.report(opened, startup, clock=options.clock, governor_name=quality.text, load=options.load)
        written = {**album.close(), **instruments.close()}
        written["report"] = write_report(options.report or options.out / "report.json", report)
        recorder.close()
        session.check()
        if options.record is not None:
            written["recording"] = options.record
        if options.save_slot is not None:
            state = saved_state(opened.world, tick=loop.tick, seed=options.seed, governor=governor_state(governor))
            written["saved"] = save_slot(options.saves or default_folder(), options.save_slot, state)
        return Outcome(report, written, signals.received and loop.tick < first_tick + options.ticks)


def _watching(options: SessionOptions) -> InstrumentOptions:
    return InstrumentOptions(
        live=options.clock == "real",
        warmup_ticks=options.warmup_ticks,
        trace=options.trace,
        bursts=options.out,
        metrics_port=options.metrics_port,
    )


def _pictures(options: SessionOptions) -> AlbumOptions:
    return AlbumOptions(
        options.out, options.pictures, options.video, options.contact_sheet, live=options.clock == "real"
    )


def _go_on_from(options: SessionOptions, opened: OpenWorld, governor: Governor) -> int:
    """Load the save slot that was asked for, if one was; returns the session's first tick."""
    if options.load_slot is None:
        return 0
    state = load_slot(options.saves or default_folder(), options.load_slot, opened.info)
    opened.world.restore(state.snapshot)
    restore_governor(governor, state.governor)
    return state.tick


def _complain(text: str) -> None:
    print(f"nextframe: {text}", file=sys.stderr)
