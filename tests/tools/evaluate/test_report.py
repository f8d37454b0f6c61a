"""The evaluation's report: sections beside a world's own gates, a page that loads nothing; the circuit's adapters."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import Action, NextframeError
from nextframe.runtime.session.registry import find_world
from nextframe.tools.evaluate import command
from nextframe.tools.evaluate.command import pair_of
from nextframe.tools.evaluate.measures.following import Effort
from nextframe.tools.evaluate.page import render_page
from nextframe.tools.evaluate.plots import Axes, chart
from nextframe.tools.evaluate.sections import GATES, NAMES, QUICK, Sizes, evaluate_pair, gates
from nextframe.worlds.circuit.evaluation import rows as circuit
from nextframe.worlds.circuit.evaluation.returns import PLACES, Tunnel, come_back, elsewhere, tunnels
from nextframe.worlds.circuit.evaluation.rig import Bench
from nextframe.worlds.circuit.evaluation.rows import CircuitDream, CircuitTeacher, Drivers
from nextframe.worlds.evaluation.players import Recorder, Tape, Wanderer
from nextframe.worlds.evaluation.subjects import Pair, play
from tests.support.evaluate_doubles import Frozen, Strip, pair_with
from tests.support.networks import renderer, simulator

TINY = Sizes(4, 12, Effort(4, 2, 24, 1, 4), 3, 4, 140, 2, 160, 2, 32, 2, 200)


def report_of(pair: Pair) -> tuple[dict, dict]:
    sections, films = evaluate_pair(pair, TINY)
    own = {"gates": {"sharp_enough": {"value": 1.0, "bound": ">= 0.8", "met": True}}, "met": True}
    base = {"schema": "nextframe.eval/1", "world": "a <strip>", "quick": True, "weights_sha256": "0" * 64}
    return base | own | sections | {"full_gates": gates(sections)}, films


@pytest.fixture(scope="module")
def perfect() -> tuple[dict, dict]:
    return report_of(pair_with(Strip()))


def test_the_report_is_json_with_every_section_and_gate(perfect: tuple[dict, dict]) -> None:
    report, _ = perfect
    assert set(NAMES) <= set(report)
    assert list(report["full_gates"]) == list(GATES)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_the_teacher_meets_what_its_few_ticks_allow(perfect: tuple[dict, dict]) -> None:
    report, _ = perfect
    bounded_by_size = {"ticks_above_copy_start", "follows_keys_f1", "follows_axes_correlation", "mash_in_band"}
    missed = {name for name, row in report["full_gates"].items() if row["met"] is False}
    assert missed <= bounded_by_size


def test_a_frozen_world_misses_gates_and_a_gate_without_a_number_is_neither() -> None:
    report, _ = report_of(pair_with(Frozen()))
    rows = report["full_gates"]
    for name in ("ticks_above_copy_start", "controls_answered", "sessions_without_failure", "idle_moves_as_it_should"):
        assert rows[name]["met"] is False, name
    assert rows["frames_later_than_teacher"] == {
        "section": "latency", "value": None, "bound": "<= 0.25", "met": None,
    }  # fmt: skip


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_shows_films_and_curves_and_loads_nothing(perfect: tuple[dict, dict]) -> None:
    report, films = perfect
    page = render_page(report, films)
    assert "a &lt;strip&gt;" in page
    assert "<strip>" not in page
    assert page.count("data:image/png;base64,") >= 10
    assert page.count("<svg") == 3
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_a_report_without_the_full_sections_still_has_a_page(perfect: tuple[dict, dict]) -> None:
    short = {key: value for key, value in perfect[0].items() if key not in (*NAMES, "full_gates")}
    page = render_page(short, {})
    assert "1 of 1 gates met" in page
    assert "<svg" not in page


def test_another_schema_is_refused() -> None:
    with pytest.raises(NextframeError, match=r"nextframe\.eval/1, got 'other'"):
        render_page({"schema": "other"}, {})


def test_a_gap_in_a_curve_is_a_gap_in_the_line() -> None:
    picture = chart(Axes("t", "l", "a"), [1, 2, 3, 4, 5], {"one": [1.0, 2.0, None, 2.0, 1.0], "two": [None] * 5})
    assert picture.count("series-0") == 2
    assert "series-1" not in picture


# --- the command --------------------------------------------------------------------------------------------------


def test_the_full_sections_are_added_and_nothing_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(command, "pair_of", lambda found: pair_with(Strip()))
    out, page = tmp_path / "deep" / "eval.json", tmp_path / "eval.html"
    code = run_command(["eval", "toy", "--full", "--quick", "--out", str(out), "--html", str(page)])
    report = json.loads(out.read_text())
    assert {"schema", "world", "quick", "weights_sha256", "gates", "met", "full_gates", "full_met"} <= set(report)
    assert code == (0 if report["full_met"] else 1)
    assert "<svg" in page.read_text()
    assert list(out.parent.iterdir()) == [out], "what is kept of a stopped run goes when the report is written"


def test_a_world_without_gates_of_its_own_asks_for_the_full_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["eval", "toy"]) == 2
    assert "toy has no gates of its own" in capsys.readouterr().err


def test_a_world_without_a_teacher_is_refused() -> None:
    found = find_world("toy")
    with pytest.raises(NextframeError, match="expected a world with a teacher"):
        pair_of(replace(found, spec=found.spec.model_copy(update={"kind": "pixels"})))


def test_the_toy_is_its_own_teacher() -> None:
    pair = pair_of(find_world("toy"))
    taken = Recorder(Wanderer(pair.palette, [1, 2]))
    play(pair.teacher, [1, 2], taken, 8)
    play(pair.world, [1, 2], taken.tape, 8)
    assert np.array_equal(pair.teacher.frames(), pair.world.frames())


# --- the circuit --------------------------------------------------------------------------------------------------


def bench() -> Bench:
    return Bench(simulator(), renderer(), find_world("circuit").path)


def test_network_and_simulator_begin_in_the_same_situation() -> None:
    world, teacher = CircuitDream(bench()), CircuitTeacher(bench())
    world.start([1, 2])
    teacher.start([1, 2])
    assert world.states == teacher.states
    error = np.square((world.frames().astype(float) - teacher.frames()) / 255).mean()
    assert -10 * np.log10(error) > 30


@pytest.mark.bitexact
def test_equal_seeds_and_actions_generate_the_same_again_whatever_the_steps_before() -> None:
    world = CircuitDream(bench())
    tape = Tape([[Action(axes={"steer": 127, "throttle": 127})] * 2])
    play(world, [1, 2], tape, 3)
    first = world.frames()
    play(world, [1, 2], tape, 3)
    assert np.array_equal(world.frames(), first)
    assert np.array_equal(world.frame(1), first[1])


def test_the_circuits_palette_is_the_worlds_own_action_space() -> None:
    space = find_world("circuit").spec.actions
    assert set(circuit.palette().space.axes) == set(space.axes)
    assert set(circuit.palette().space.buttons) == set(space.buttons)
    assert circuit.palette().space.prompts == {group: tuple(words) for group, words in space.prompts.items()}


def test_a_driver_who_looks_keeps_the_teachers_car_going() -> None:
    teacher = CircuitTeacher(bench())
    play(teacher, [3, 4, 5, 6], Drivers(teacher, [3, 4, 5, 6]), 60)
    assert np.mean([state.player.speed for state in teacher.states]) > 1.0


def test_a_car_that_is_gone_for_longer_than_any_roof_is_lost() -> None:
    world = CircuitDream(bench())
    world.start([1])
    assert not world.lost().any()
    world._hidden[0] = circuit.LOST_TICKS + 1
    assert world.lost().all()


def test_a_tunnels_candidates_hold_no_view_near_the_true_one() -> None:
    found = tunnels(bench(), 2)
    assert found
    event = found[0]
    assert isinstance(event, Tunnel)
    (case,) = come_back(CircuitDream(bench()), [event])
    assert case.away_ticks == event.back - event.gone
    assert 16 <= len(case.others) <= PLACES
    assert case.inside == (case.away_ticks <= 32)
    assert all(not np.array_equal(case.true, other) for other in case.others)


def test_elsewhere_the_player_is_elsewhere() -> None:
    state = simulator().reset(5, weather="clear", time="day")
    true = renderer().draw(state)
    others = elsewhere(bench(), state)
    assert len(others) > PLACES // 2
    assert min(np.abs(other.astype(int) - true).max() for other in others) > 40


def test_a_quick_look_is_smaller_in_everything() -> None:
    from nextframe.tools.evaluate.sections import FULL

    for name, value in vars(QUICK).items():
        if name != "effort":
            assert value < getattr(FULL, name), name
