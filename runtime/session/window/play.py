"""`nextframe play`: a window, a world loaded behind it, and a game; a headless session where there is no display."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np

from ....controllers.bindings import Bindings, load_bindings
from ...core import DisplayError, MonotonicClock
from ...display.surface import Surface
from ...observe import report as reports
from ...tick.latch import InputLatch
from ..choices import PlayOptions, SessionOptions, check_recording_path, quality_choice
from ..headless import run_session
from ..outcome import print_outcome
from ..parts.chosen import Chosen, choose
from ..registry import WorldFolder
from ..startup import (
    OpenWorld,
    StartUp,
    checked_prompt,
    prefer_x11_without_a_session,
)
from ..terminal import Signals
from .panel import Panel, help_lines

HEADLESS_S = 30


def play_world(options: PlayOptions, startup: StartUp) -> int:
    """Play in a window until the player quits; headless for half a minute where there is no display."""
    chosen = choose(options)
    found = chosen.found
    bindings = load_bindings(found.spec.action_space(), options.bindings or found.bindings)
    check_recording_path(options.record, overwrite=options.overwrite)
    if options.prompt is not None:
        checked_prompt(options.prompt, found)
    quality_choice(None, options.steps, found.spec.ladder)
    prefer_x11_without_a_session()
    try:
        return _play_in_window(options, chosen, bindings, startup)
    except DisplayError as error:
        print(f"No window here: {str(error).rpartition('; ')[0] or error}.")
    return _play_headless(options, found, startup)


def _play_headless(options: PlayOptions, found: WorldFolder, startup: StartUp) -> int:
    ticks = options.ticks or round(HEADLESS_S * found.spec.tick_hz)
    tour = (found.path / "scripts" / "tour.yaml").is_file()
    who = "its tour" if tour else "a bot that wanders"
    print(
        f"Playing {found.name} headless instead, {ticks} ticks of {who}, into {options.out}/session.mp4 …", flush=True
    )
    session = SessionOptions(
        world=options.world,
        ticks=ticks,
        script="tour" if tour else None,
        bot=None if tour else "wander",
        steps=options.steps,
        seed=options.seed,
        prompt=options.prompt,
        side_by_side=options.side_by_side,
        record=options.record,
        overwrite=options.overwrite,
        out=options.out,
        load=options.load,
        trace=options.trace,
        metrics_port=options.metrics_port,
        ahead=options.ahead,
        drift=options.drift,
        stages=options.stages,
        processes=options.processes,
        device=options.device,
    )
    outcome = run_session(session, startup)
    print_outcome(outcome.report, outcome.written)
    return reports.exit_code(outcome.report)


def _play_in_window(options: PlayOptions, chosen: Chosen, bindings: Bindings, startup: StartUp) -> int:
    from ...display.gl import GLDisplay
    from ...display.screen import Screen
    from ...display.window import Window

    found, clock, latch = chosen.found, MonotonicClock(), InputLatch()
    frame_size_px = (found.spec.width_px * (2 if options.side_by_side else 1), found.spec.height_px)
    title = f"nextframe: {found.spec.title or found.name}"
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        window = stack.enter_context(
            Window(
                title, frame_size_px, latch=latch, commands=bindings.commands, bound=bindings.controls(), clock=clock
            )
        )
        display = GLDisplay(window, clock, frame_size_px, filter="smooth" if options.smooth else "crisp")
        stack.callback(display.close)
        panel = Panel(found, bindings, help_lines(found, bindings), window.printed)
        surface = Screen(window, display, np.zeros((frame_size_px[1], frame_size_px[0], 3), np.uint8))
        given: list[str] = []
        opened = _load_behind(surface, panel, given, options=options, chosen=chosen, startup=startup, signals=signals)
        if opened is None:
            return 0
        stack.callback(opened.world.close)
        from .game import Game

        game = Game(options, chosen, opened, latch=latch, surface=surface, panel=panel, commands=given, startup=startup)
        stack.callback(game.close)
        return game.play(signals)


def _load_behind(
    surface: Surface,
    panel: Panel,
    given: list[str],
    *,
    options: PlayOptions,
    chosen: Chosen,
    startup: StartUp,
    signals: Signals,
) -> OpenWorld | None:
    """Load on another thread, so that the window answers meanwhile; None if the player has quit already.

    Commands given meanwhile are added to `given`, to be carried out once there is a session.
    """
    clock = MonotonicClock()

    def load() -> OpenWorld:
        return chosen.open(startup, clock=clock, seed=options.seed, warm=False)

    panel.say(f"loading {chosen.found.name} …", seconds=60)
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading: Future[OpenWorld] = pool.submit(load)
        while not loading.done():
            given += surface.pump()
            panel.refresh(surface)
            time.sleep(0.02)
        opened = loading.result()
    panel.say(panel.help_hint())
    if "quit" in given or signals.received:
        opened.world.close()
        return None
    return opened
