"""Claims about the soak: what it measures, and that its gates can fail."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from nextframe.controllers.bots import make_bot
from nextframe.runtime.core import Action, FixedClock, ManualClock, TickPlan, TickResult, World
from nextframe.runtime.session.registry import find_world
from nextframe.tools.lab.soak.__main__ import main
from nextframe.tools.lab.soak.gates import exit_code, gates_of, robust_slope
from nextframe.tools.lab.soak.measure import BANK, LatentSigns, Minute, resident_bytes, soak
from nextframe.tools.lab.soak.plot import Curve, draw_cases, draw_curves
from nextframe.worlds.toy.world import ToyWorld
from tests.model.drift.test_monitor import a_bank
from tests.support.networks import SMALL
from tests.support.paths import ROOT
from tests.support.worlds.small import small_neural

MINUTE_TICKS = 20
CALM = Minute(
    end_minutes=1.0, ticks=1200, rss_bytes=300 << 20, tick_p50_ms=10.0, tick_p99_ms=12.0, clock_drift_ms=0.1,
    dilation_ms=0.0, drift_score=0.0, outside_share=0.0, alarms=0, edge_energy=0.01, cars=2.0,
)  # fmt: skip


class LeakingWorld(ToyWorld):
    """Keeps 16 KiB of every tick, in pages of their own: the heap may have room left from earlier tests."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.kept: list[mmap.mmap] = []

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        pages = mmap.mmap(-1, 1 << 14)
        pages.write(b"x" * (1 << 14))
        self.kept.append(pages)
        return super().advance(action, plan)


def hour(**changes: object) -> list[Minute]:
    return [replace(CALM, end_minutes=float(at + 1), **changes) for at in range(60)]  # type: ignore[arg-type]


def verdicts(minutes: list[Minute], *, real: bool = True, latents: bool = True) -> list[bool | None]:
    return [gate.met for gate in gates_of(minutes, real=real, latents=latents)]


def soaked(world: World, ticks: int, minute_ticks: int = MINUTE_TICKS) -> list[Minute]:
    bot = make_bot("wander", world.info.actions, 0)
    folder = find_world("toy").path
    return soak(world, bot, FixedClock(), ticks, steps=1, real=False, folder=folder, minute_ticks=minute_ticks)


def print_slopes() -> None:
    """The gate of memory growth, without a leak and with one, as JSON."""
    soaked(ToyWorld(ManualClock()), 300, 300)  # the first run of a process fills caches
    runs = soaked(ToyWorld(ManualClock()), 1500, 150), soaked(LeakingWorld(), 1500, 150)
    gates = [gates_of(run, real=False, latents=False)[0] for run in runs]
    print(json.dumps([{"met": gate.met, "value": gate.value} for gate in gates]))


# --- gates --------------------------------------------------------------------------------------------------------


def test_a_calm_hour_meets_every_gate() -> None:
    assert verdicts(hour()) == [True] * 4
    assert exit_code(gates_of(hour(), real=True, latents=True)) == 0


def test_memory_that_grows_by_more_than_a_megabyte_a_minute_is_caught() -> None:
    leaking = [replace(minute, rss_bytes=(300 << 20) + (at * 1200 << 10)) for at, minute in enumerate(hour())]
    assert verdicts(leaking) == [False, True, True, True]
    assert exit_code(gates_of(leaking, real=True, latents=True)) == 1


@pytest.mark.parametrize("jump_at", [12, 54])
def test_a_jump_of_memory_towards_an_end_is_no_slope(jump_at: int) -> None:
    jumped = [replace(minute, rss_bytes=(300 + 80 * (at > jump_at)) << 20) for at, minute in enumerate(hour())]
    assert verdicts(jumped)[0] is True


def test_what_grows_during_warm_up_is_not_held_against_a_session() -> None:
    warming = [replace(minute, rss_bytes=(200 + 20 * min(at, 5)) << 20) for at, minute in enumerate(hour())]
    assert verdicts(warming)[0] is True


def test_ticks_that_grow_slower_are_caught_and_one_slow_minute_is_not() -> None:
    slower = [replace(minute, tick_p50_ms=10 + 0.03 * at) for at, minute in enumerate(hour())]
    hiccup = [replace(minute, tick_p50_ms=40.0 if at == 55 else 10.0) for at, minute in enumerate(hour())]
    assert verdicts(slower)[1] is False
    assert verdicts(hiccup)[1] is True


def test_latents_outside_the_bands_at_the_end_are_caught_and_earlier_ones_are_not() -> None:
    late = [replace(minute, outside_share=0.2 * (at >= 50)) for at, minute in enumerate(hour())]
    early = [replace(minute, outside_share=0.2 * (at < 40)) for at, minute in enumerate(hour())]
    assert verdicts(late)[2] is False
    assert verdicts(early)[2] is True


def test_a_clock_that_drifts_is_caught_and_dilation_by_overruns_is_not_drift() -> None:
    drifting = [replace(minute, clock_drift_ms=0.5 * at) for at, minute in enumerate(hour())]
    dilated = [replace(minute, clock_drift_ms=9.0 * at + 0.2, dilation_ms=9.0 * at) for at, minute in enumerate(hour())]
    assert verdicts(drifting)[3] is False
    assert verdicts(dilated)[3] is True


def test_what_could_not_be_measured_is_never_a_pass() -> None:
    assert verdicts(hour()[:3], latents=False) == [None, None, True]
    assert verdicts(hour(rss_bytes=None))[0] is None
    assert exit_code(gates_of(hour()[:3], real=True, latents=False)) == 2


def test_only_what_applies_is_a_gate() -> None:
    assert len(verdicts(hour(), real=False, latents=False)) == 2


def test_the_slope_is_the_middle_of_all_slopes() -> None:
    xs = np.arange(20.0)
    ys = 3 * xs + 1
    ys[[2, 9, 15]] += 1000
    assert robust_slope(xs.tolist(), ys.tolist()) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="at least 2 points"):
        robust_slope([1.0], [1.0])


# --- a run --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(resident_bytes() is None, reason="this system does not say how much memory a process has")
def test_a_world_that_leaks_is_caught_where_the_same_world_without_the_leak_passes() -> None:
    """In a process of its own: what earlier tests left is given back to the system at any time."""
    program = "from tests.tools.lab.test_soak import print_slopes\nprint_slopes()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    sound, leaking = json.loads(done.stdout.splitlines()[-1])
    assert sound["met"] is True
    assert leaking["met"] is False
    assert leaking["value"] == pytest.approx(150 * 16 / 1024, rel=0.4)  # 150 ticks are a minute here


def test_a_minute_has_all_its_ticks_and_its_signs() -> None:
    minutes = soaked(ToyWorld(ManualClock()), 5 * MINUTE_TICKS + 7)
    assert [minute.ticks for minute in minutes] == [MINUTE_TICKS] * 5
    assert [minute.end_minutes for minute in minutes] == [1, 2, 3, 4, 5]
    assert all(0 < minute.tick_p50_ms <= minute.tick_p99_ms for minute in minutes)
    assert all(minute.edge_energy > 0 for minute in minutes)
    assert all(minute.cars is None and minute.clock_drift_ms is None for minute in minutes)


def test_on_a_clock_that_is_kept_nothing_drifts_and_a_late_loop_is_dilation() -> None:
    clock, bot_space = ManualClock(), ToyWorld(ManualClock()).info.actions

    class SlowOnce(ToyWorld):
        """One tick takes three and a half periods."""

        ticks = 0

        def advance(self, action: Action, plan: TickPlan) -> TickResult:
            self.ticks += 1
            if self.ticks == 50:
                clock.advance_ns(int(3.5e9 / float(self.info.tick_hz)))
            return super().advance(action, plan)

    world = SlowOnce(clock)
    minutes = soak(
        world, make_bot("idle", bot_space, 0), clock, 5 * MINUTE_TICKS,
        steps=1, real=True, folder=find_world("toy").path, minute_ticks=MINUTE_TICKS,
    )  # fmt: skip
    drifts = [minute.clock_drift_ms or 0.0 for minute in minutes]
    assert drifts[1] == 0.0
    assert drifts[-1] == pytest.approx(2.5e3 / float(world.info.tick_hz), abs=0.01)
    assert gates_of(minutes, real=True, latents=False)[-1].met is True


def test_a_neural_world_is_watched_by_its_latents() -> None:
    world = small_neural()
    signs = LatentSigns(world, a_bank())
    for _ in range(3):
        world.advance(Action(prompt="rain night"), TickPlan(1, 0)).commit()
        seen = signs.observe()
    words = world.info.actions.prompts
    given = signs.monitor.recent.conditions[-1]
    flags = [float(word in {"rain", "night"}) for group in words.values() for word in group]
    assert given[-len(flags) :].tolist() == flags
    assert seen == sum(world.generator.last[0, SMALL.scene_dim + 4 :: 6].gt(0).tolist())


# --- what it leaves -----------------------------------------------------------------------------------------------


def test_the_command_writes_its_document_and_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "soak"
    code = main(["--world", "toy", "--ticks", "60", "--minute-ticks", "20", "--out", str(out)])
    stored = json.loads(out.with_suffix(".json").read_text())
    assert code == 2, "three minutes show no slope"
    assert stored["schema"] == "nextframe.soak/1"
    assert stored["ticks"] == 60
    assert [gate["met"] for gate in stored["gates"]] == [None, None]
    assert ElementTree.fromstring(out.with_suffix(".svg").read_text()).tag.endswith("svg")
    assert "not measured  RSS slope" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["--world", "nowhere"], ["--world", "toy", "--steps", "99"], ["--world", "toy", "--bot", "nobody"]]
)
def test_a_soak_that_cannot_start_says_why_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--ticks", "5", "--out", str(tmp_path / "soak")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("soak: ")
    assert "\n" not in said


def test_pictures_are_well_formed_whatever_they_are_given() -> None:
    class Run:
        case, scores = "a <case> & more", (float("nan"), 0.0, 9.0, 0.5)

        def __init__(self, remedy: str) -> None:
            self.remedy = remedy

    drawn = draw_cases([Run(remedy) for remedy in ("none", "renoise", "reanchor")], 0.25, every_ticks=1)
    curves = draw_curves("<nothing>", [Curve("flat", [1.0, 2.0], [3.0, 3.0], (3.0,)), Curve("empty", [], [])])
    for text in (drawn, curves):
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_the_bank_s_file_name_is_the_one_that_ships() -> None:
    assert (find_world("circuit").path / BANK).is_file()
