"""Claims about a windowed session: a real window on a private X server, real keys, the toy world behind it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nextframe.controllers.bindings import COMMANDS, load_bindings
from nextframe.runtime.core import Action, PlayedTick, ReplayError
from nextframe.runtime.display.painter import HudPainter
from nextframe.runtime.recording.format import Replay
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.session.playback import PlaybackOptions, play_back
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.window.latency import WindowLatency
from nextframe.runtime.session.window.panel import Panel, help_lines, pressed_controls
from nextframe.runtime.session.window.switched import SwitchedRecorder
from tests.support.doubles import MS, ListRecorder, Session
from tests.support.paths import ROOT
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures, found by name

PATIENCE_S = 30


class Player:
    """`nextframe play toy` in its own process, with a hand on the keyboard."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nextframe.runtime.cli.app", "play", "toy", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for the outside world: another process has no clock that could be injected."""
        end_s = time.monotonic() + PATIENCE_S
        while not done():
            assert self.process.poll() is None, f"ended while waiting for {what}: {self.process.communicate()}"
            assert time.monotonic() < end_s, f"waited {PATIENCE_S} s for {what}"

    def open(self) -> None:
        self.until(lambda: xdotool("getwindowfocus", "getwindowname").startswith("nextframe:"), "the window")

    def key(self, name: str) -> None:
        xdotool("key", name)

    def quit(self) -> tuple[str, dict[str, object]]:
        """Press Escape; what was printed, and the report."""
        self.key("Escape")
        return self.ended()

    def ended(self) -> tuple[str, dict[str, object]]:
        printed, complaint = self.process.communicate(timeout=PATIENCE_S)
        assert (self.process.returncode, complaint) == (0, "")
        return printed, json.loads((self.folder / "out/report.json").read_text())

    def files(self, pattern: str) -> list[Path]:
        return sorted((self.folder / "out").glob(pattern))


def recorded(path: Path) -> Replay:
    return read_replay(path, recover=True)


def ticks_in(path: Path) -> tuple[PlayedTick, ...]:
    """What has reached the disk; nothing while the other process has still to write the recording's beginning."""
    if not path.is_file():
        return ()
    try:
        return recorded(path).ticks
    except ReplayError as error:
        if "nothing can be recovered" in str(error):
            return ()
        raise


def ticks_of(playing: Player) -> tuple[PlayedTick, ...]:
    return ticks_in(playing.folder / "a.nfr")


def xdotool(*arguments: str) -> str:
    done = subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return done.stdout.strip().partition("\n")[0]


@pytest.fixture
def player(xvfb: str, tmp_path: Path) -> Iterator[Callable[..., Player]]:  # noqa: F811 - a fixture
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed: real keys need it (apt-get install xdotool)")
    players: list[Player] = []

    def play(*arguments: str) -> Player:
        players.append(Player(tmp_path, *arguments))
        players[-1].open()
        return players[-1]

    yield play
    for started in players:
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate()


def test_keys_steer_the_world_and_quitting_leaves_recording_and_report(player: Callable[..., Player]) -> None:
    playing = player("--record", "a.nfr")

    def steered() -> bool:
        """Keys reach a session only once it has loaded; what is recorded is on disk a second later."""
        for key in ("Up", "Right"):
            xdotool("keydown", key)
        return any(t.action.axes.get("steer") == t.action.axes.get("throttle") == 127 for t in ticks_of(playing))

    playing.until(steered, "the car to turn right at full throttle")
    for key in ("Up", "Right"):
        xdotool("keyup", key)
    printed, report = playing.quit()
    replay = read_replay(playing.folder / "a.nfr")
    assert replay.complete
    assert len(replay.ticks) == report["ticks"]
    assert "recording: a.nfr" in printed
    waits = report["input_to_present_ms"]
    assert isinstance(waits, dict)
    assert waits["p50"] > 0


def test_a_recording_begun_in_play_starts_from_where_the_world_was_and_verifies(player: Callable[..., Player]) -> None:
    playing = player()
    playing.key("F9")
    playing.until(lambda: bool(playing.files("recording-*.nfr")), "the recording to begin")
    [path] = playing.files("recording-*.nfr")
    playing.until(lambda: len(ticks_in(path)) >= 20, "a second to be recorded")
    playing.key("F9")
    playing.until(lambda: recorded(path).complete, "the recording to end")
    playing.quit()
    assert not read_replay(path).ticks[0].action.reset
    assert read_replay(path).header.starts_from_snapshot
    command = [sys.executable, "-m", "nextframe.runtime.cli.app", "replay", str(path), "--verify"]
    done = subprocess.run(
        command, cwd=playing.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("identical: ")


def test_a_typed_prompt_reaches_the_world(player: Callable[..., Player]) -> None:
    playing = player("--record", "a.nfr")

    def typed() -> bool:
        """Fingers wait for the line to open, and try again on a machine that was too busy to open it."""
        xdotool("key", "t", "sleep", "0.4", "type", "--delay", "40", "day")
        xdotool("key", "Return", "sleep", "1.2")
        return any(tick.action.prompt == "day" for tick in ticks_of(playing))

    playing.until(typed, "the prompt to be recorded")
    playing.quit()
    assert "day" in [tick.action.prompt for tick in read_replay(playing.folder / "a.nfr").ticks]


def test_a_screenshot_is_a_png_in_the_output_folder(player: Callable[..., Player]) -> None:
    playing = player()
    playing.key("F12")
    playing.until(lambda: bool(playing.files("screenshot-*.png")), "the screenshot")
    playing.quit()
    assert playing.files("screenshot-*.png")[0].read_bytes().startswith(b"\x89PNG")


def test_time_goes_back_while_the_key_is_held_and_a_slot_brings_a_moment_back(player: Callable[..., Player]) -> None:
    playing = player("--saves", "saves", "--record", "a.nfr")
    playing.until(lambda: len(ticks_of(playing)) >= 40, "two seconds to be played")
    playing.key("F5")
    playing.until((playing.folder / "saves/toy/quick.nfs").is_file, "the quick-save")
    xdotool("keydown", "BackSpace", "sleep", "0.6", "keyup", "BackSpace")
    first, second, third = (playing.folder / name for name in ("a.nfr", "a-2.nfr", "a-3.nfr"))
    playing.until(lambda: recorded(first).complete, "the rewind to end the first part of the recording")
    playing.until(lambda: bool(ticks_in(second)), "the recording to go on in a second part")
    playing.key("F8")
    playing.until(lambda: bool(ticks_in(third)), "the quick-load to begin a third part")
    playing.key("b")
    printed, _ = playing.quit()
    assert "recording 3: a-3.nfr" in printed
    for part in (first, second, third):
        assert read_replay(part).complete
        assert play_back(PlaybackOptions(part, verify=True)) == 0


def test_locked_quality_is_applied(player: Callable[..., Player]) -> None:
    playing = player("--ticks", "20", "--steps", "1")
    _, report = playing.ended()
    assert report["steps_histogram"] == {"1": 20, "2": 0, "4": 0}


def test_ctrl_c_in_a_window_ends_it_with_the_recording_closed(player: Callable[..., Player]) -> None:
    playing = player("--record", "a.nfr")
    playing.until(lambda: len(ticks_of(playing)) >= 20, "a second to be recorded")
    playing.process.send_signal(signal.SIGINT)
    playing.ended()
    assert recorded(playing.folder / "a.nfr").complete


# --- parts, without a window -------------------------------------------------------------------------------------


def test_a_recording_begun_in_the_middle_starts_after_the_tick_at_hand_and_stops_when_told() -> None:
    heard: list[Action] = []
    recorder, file = SwitchedRecorder(heard.append), ListRecorder()
    made_after: list[int] = []
    for tick, order in enumerate(["", "start", "", "", "close", ""]):
        if order == "start":
            recorder.start_after_this_tick(lambda: made_after.append(len(heard)) or file)  # type: ignore[func-returns-value]
        recorder.record_tick(tick, PlayedTick(Action(), tick))
        if order == "close":
            recorder.close()
    assert made_after == [2], "on the ticking thread, once that tick is whole"
    assert file.steps == [2, 3, 4]
    assert len(heard) == 6
    assert not recorder.active


def test_a_recorder_started_with_the_session_misses_no_tick() -> None:
    recorder, file = SwitchedRecorder(lambda action: None), ListRecorder()
    recorder.start(file)
    recorder.record_tick(0, PlayedTick(Action(), 2))
    assert len(file.actions) == 1


def latency_after(inputs_ns: list[int | None], shown: list[tuple[int, int]]) -> WindowLatency:
    session = Session()
    session.loop.run(1)
    latency = WindowLatency()
    for input_ns in inputs_ns:
        latency.observe(replace(session.records[0], input_event_ns=input_ns))
    for frame_id, presented_ns in shown:
        latency.shown(frame_id, presented_ns)
    return latency


def test_latency_runs_from_the_event_to_the_flip_of_its_frame() -> None:
    latency = latency_after([None, 10 * MS, None], [(0, 20 * MS), (1, 40 * MS), (2, 90 * MS)])
    assert latency.recent_ms() == 30.0


def test_input_in_a_frame_that_was_not_shown_counts_at_the_next_one() -> None:
    latency = latency_after([10 * MS, None], [(1, 60 * MS)])
    assert latency.percentiles_ms() == {"p50": 50.0, "p95": 50.0}


def test_without_input_there_is_no_latency() -> None:
    latency = latency_after([None], [(0, 60 * MS)])
    assert latency.recent_ms() is None
    assert latency.percentiles_ms() is None


def circuit_panel() -> Panel:
    found = find_world("circuit")
    bindings = load_bindings(found.spec.action_space())
    return Panel(found, bindings, help_lines(found, bindings))


def test_pressed_actions_are_shown_as_their_keys() -> None:
    bindings = load_bindings(find_world("circuit").spec.action_space())
    action = Action(frozenset({"handbrake"}), {"steer": -127, "throttle": 90})
    assert pressed_controls(action, bindings) == ("key:space", "key:left", "key:up")
    assert pressed_controls(Action(), bindings) == ()


def test_help_names_every_action_and_every_command() -> None:
    found = find_world("circuit")
    bindings = load_bindings(found.spec.action_space())
    text = "\n".join(help_lines(found, bindings))
    assert all(name in text for name in found.spec.action_space().names())
    assert "key:1\t" in text
    firsts = [next(control for control, name in bindings.commands.items() if name == command) for command in COMMANDS]
    assert all(f"{control}\t" in text for control in firsts)


def help_of(world: str) -> list[tuple[str, ...]]:
    found = find_world(world)
    own = found.path / "bindings.yaml"
    bindings = load_bindings(found.spec.action_space(), own if own.exists() else None)
    return [tuple(line.split("\t")) for line in help_lines(found, bindings)]


def test_help_says_what_a_key_does_and_not_only_which_axis_it_moves() -> None:
    lines = help_of("freedoom")
    assert {("key:left", "turn left"), ("mouse:dx", "look"), ("key:q", "darken it")} <= set(lines)
    assert ("key:left", "steer left") in help_of("circuit")


def test_help_offers_a_prompt_only_where_the_world_knows_some() -> None:
    assert "type a prompt" in dict(help_of("circuit")).values()
    assert "type a prompt" not in dict(help_of("freedoom")).values()


def test_the_panel_says_what_a_prompt_means_and_what_it_ignores() -> None:
    panel = circuit_panel()
    assert panel.understood("stormy midnight dragons") == "rain night   (unknown: dragons)"
    assert panel.understood("dragons").startswith("no word of it is known here; try ")


def test_the_panel_draws_before_there_is_a_session() -> None:
    panel = circuit_panel()
    panel.say("loading")
    painter = HudPainter()
    assert painter.render(panel.hud(None), (640, 480)).any()
    panel.toggle_stats()
    panel.say("")
    assert not painter.render(panel.hud(None), (640, 480)).any()
