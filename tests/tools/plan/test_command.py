"""Claims about `nextframe plan` and about comparing plans with measured runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextframe.model.stages.layout import parse_layout
from nextframe.runtime.cli.app import run_command
from nextframe.runtime.session.parts.stages import stage_choice
from nextframe.runtime.session.registry import find_world
from nextframe.tools.lab.plan import validate
from nextframe.tools.lab.plan.rig import RigSpec, measure_rig
from nextframe.tools.plan.hardware import Device
from nextframe.tools.plan.measure import measure_world, measured_cost
from nextframe.tools.plan.planner import candidates
from nextframe.tools.plan.predict import Goal, Request
from nextframe.tools.plan.profile import Cost, StageCosts, read_profile, write_profile
from nextframe.tools.plan.words import stages_option
from tests.support.plans import GB, profile, request


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run_command(["plan", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


# --- the command --------------------------------------------------------------------------------------------------


def test_a_built_in_world_is_planned_with_a_table_and_a_recommendation(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = plan(capsys, "wan-1.3b", "--devices", "2xh100", "--sessions", "4", "--goal", "throughput")
    assert code == 0
    assert "Recommended: " in out
    assert "Against one session alone on one device" in out


def test_the_last_line_of_json_says_all_that_the_table_says(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = plan(capsys, "wan-14b", "--devices", "4xh100", "--lossy", "--goal", "throughput", "--json")
    found = json.loads(out.splitlines()[-1])
    assert code == 0
    assert found["schema"] == "nextframe.plan/1"
    best = found["recommended"]
    assert best["mode"] == "stream-batch"
    assert best["lag_latents"] == best["stages"] - 1
    assert best["layout"][-1][1] == 40
    assert best["stages_option"].startswith("denoise:0-")
    assert len(best["memory_bytes"]) == best["stages"] + best["own_decoder"]
    assert found["one_device"]["latency_ms"]["p50"] < best["latency_ms"]["p50"]


def wanted(**changes: Any) -> Request:
    """Of the four made-up layers, on GPUs unless told; several sessions, so that no mode is left out."""
    return replace(request(), **{"devices": (Device("h100", 80 * GB),) * 6, "sessions": 6, **changes})


MIXED = (Device("h100", 80 * GB), Device("cpu", 16 * GB, 0.5), Device("h100", 80 * GB), Device("cpu", 16 * GB, 0.5))
MANY_LAYERS = profile(layers=64, costs=StageCosts(layer=Cost(row_ms=1), decode=Cost(row_ms=2)))


@pytest.mark.parametrize(
    "asked",
    [
        *(wanted(goal=goal, lossy=lossy, frame_hz=5.0) for goal in Goal for lossy in (False, True)),
        wanted(devices=(Device("cpu", 16 * GB),) * 3),
        wanted(devices=(Device("cpu", 16 * GB),), sessions=1),
        wanted(devices=MIXED),
        wanted(devices=(Device("h100", 80 * GB),) * 66, profile=MANY_LAYERS, sessions=1),
    ],
    ids=lambda asked: f"{asked.goal}-{len(asked.devices)}-{asked.lossy}",
)
def test_every_layout_that_is_printed_is_one_that_a_session_accepts(asked: Request) -> None:
    """The planner's own search, not only what it recommends; read by the one parser, without a word changed."""
    shapes = {layout for plan, _ in candidates(asked) for layout in plan.layouts}
    assert {shape.own_decoder for shape in shapes} == ({False, True} if len(asked.devices) > 1 else {False})
    circuit = find_world("circuit")
    for shape in shapes:
        text = stages_option(shape)
        choice = stage_choice(text, None, circuit)
        assert choice is not None
        layout = parse_layout(choice.text, asked.profile.layers)
        assert str(layout) == text
        assert [(part.first, part.end) for part in layout.intervals[: shape.stages]] == list(shape.intervals)
        assert layout.processes == len(shape.devices)
        assert layout.decode == len(shape.devices) - 1
        kinds = [device.partition(":")[0] for device in layout.devices]
        assert kinds == ["cpu" if device.name == "cpu" else "cuda" for device in shape.devices]


def test_what_is_recommended_for_the_circuit_is_played_word_for_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = tmp_path / "circuit.json"
    write_profile(profile(name="circuit", device="cpu", layers=6), costs)
    _, out, _ = plan(capsys, "circuit", "--profile", str(costs), "--devices", "2", "--sessions", "2")
    (line,) = [line for line in out.splitlines() if "--stages" in line]
    stages = line.partition('--stages "')[2].rstrip('"')
    assert parse_layout(stages, 6).processes <= 2
    session = ["--ticks", "2", "--idle", "--no-video", "--clock", "fixed", "--out", str(tmp_path)]
    assert run_command(["run", "circuit", *session, "--stages", stages]) == 0


def test_a_limit_that_is_missed_exits_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = plan(capsys, "wan-14b", "--devices", "4xh100", "--fps", "60")
    assert code == 1
    assert "NOT MET: 60 FPS asked" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["circuit"], "add --measure"),
        (["circuit", "--profile", "nowhere.json"], "nowhere.json"),
        (["circuit", "--measure", "--profile", "x.json"], "expected one of them"),
        (["toy", "--measure"], "has no network"),
        (["wan-14b", "--devices", "rtx4090"], "GB short"),
        (["wan-14b", "--devices", "4yh100"], "--devices"),
        (["wan-14b", "--goal", "fame"], "--goal"),
        (["wan-14b", "--fps", "0"], "--fps"),
        (["wan-14b", "--fps", "nan"], "--fps"),
        (["wan-14b", "--max-latency-ms", "-1"], "--max-latency-ms"),
        (["wan-14b", "--denoise-steps", "0"], "--denoise-steps"),
        (["wan-14b", "--link", "string"], "--link"),
        (["wan-14b", "--sessions", "0"], "--sessions"),
        (["wan-14b", "--goal", "sessions"], "--fps"),
    ],
)
def test_what_cannot_be_planned_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, out, err = plan(capsys, *arguments)
    assert code == 2
    assert not out
    assert said in err
    assert err.count("\n") == 1


def test_costs_from_a_file_are_those_of_that_world(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "four.json"
    write_profile(profile(), path)
    code, out, _ = plan(capsys, "four", "--profile", str(path), "--devices", "2", "--json")
    assert code == 0
    assert json.loads(out)["recommended"]["fps_session"] == pytest.approx(25)
    code, _, err = plan(capsys, "five", "--profile", str(path))
    assert code == 2
    assert "it is of 'four'" in err


def test_costs_are_kept_where_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    assert plan(capsys, "wan-1.3b", "--save-profile", str(path))[0] == 0
    assert read_profile(path).layers == 30


# --- measuring ----------------------------------------------------------------------------------------------------


def test_measured_times_come_back_and_between_them_a_line() -> None:
    cost = measured_cost({1: 4.0, 2: 5.0, 8: 11.0})
    assert [cost.ms(rows) for rows in (1, 2, 5, 8, 10)] == [4, 5, 8, 11, 13]


def test_noise_never_makes_more_rows_quicker() -> None:
    cost = measured_cost({1: 4.0, 2: 3.9, 4: 6.0})
    assert [cost.ms(rows) for rows in (1, 2, 4)] == [4, 4, 6]


def test_the_shipped_world_is_measured_and_can_be_planned() -> None:
    found = measure_world("circuit", rounds=3)
    assert (found.layers, found.denoise_steps, found.history) == (6, 4, "clean")
    assert found.costs.layer.ms(1) > 0
    assert found.costs.decode.ms(1) > 0
    assert found.sizes.kv_layer_bytes == 2 * 4 * 32 * 3 * 128, "keys and values, float32, 32 frames of 3 tokens"
    assert found.link is not None
    assert found.link.bandwidth_gb_s > 0


# --- against measured runs ----------------------------------------------------------------------------------------


def run_of(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "layout": [[0, 3], [3, 6]],
        "sessions": 2,
        "denoise_steps": 2,
        "stage_ms": {"layers": [10, 10], "commit_layers": [0, 0]},
        "link": {"latency_ms": 0, "bytes": 100},
        "fps": 50.0,
        "latency_ms": 40.0,
    }
    return {**given, **changes}


def checked(tmp_path: Path, *runs: dict[str, Any]) -> int:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps(list(runs)), encoding="utf-8")
    return validate.main([str(path)])


def test_two_sessions_on_two_stages_are_predicted_to_use_both_always() -> None:
    found = validate.compare(validate.Run.model_validate(run_of()))
    assert found.fps == pytest.approx(50, rel=0.01)
    assert found.latency_ms == pytest.approx(40, rel=0.01)


def test_a_run_that_agrees_passes_and_one_that_does_not_is_noticed(tmp_path: Path) -> None:
    assert checked(tmp_path, run_of()) == 0
    assert checked(tmp_path, run_of(), run_of(fps=70.0)) == 1
    assert checked(tmp_path, run_of(latency_ms=60.0)) == 1


@pytest.mark.parametrize(("later_ms", "slower_ms"), [(10, 15), (30, 35)])
def test_a_commit_takes_from_the_rate_what_is_not_beside_the_next_tick(later_ms: float, slower_ms: float) -> None:
    """The first stage's 5 + 10 ms always; of the second's what is longer than the first stage's next pass."""
    plain = validate.compare(validate.Run.model_validate(run_of(sessions=1)))
    costs = {"layers": [10, 10], "commit": 5, "commit_layers": [10, later_ms]}
    commits = validate.compare(validate.Run.model_validate(run_of(sessions=1, stage_ms=costs)))
    assert 1e3 / commits.fps == pytest.approx(1e3 / plain.fps + slower_ms)


def test_a_commit_is_no_part_of_the_latency() -> None:
    plain = validate.compare(validate.Run.model_validate(run_of(sessions=1)))
    costs = {"layers": [10, 10], "commit": 5, "commit_layers": [10, 10]}
    commits = validate.compare(validate.Run.model_validate(run_of(sessions=1, stage_ms=costs)))
    assert commits.latency_ms == pytest.approx(plain.latency_ms)


def test_a_picture_made_where_the_latent_comes_back_to_costs_no_hop_and_elsewhere_two_more() -> None:
    costs = {"layers": [10, 10], "commit_layers": [0, 0], "decode": 7}
    link = {"latency_ms": 1, "bytes": 100}
    here, there = (
        1e3 / validate.compare(validate.Run.model_validate(run_of(sessions=1, stage_ms=costs, link=link, **at))).fps
        for at in ({"decodes_on": 0}, {"decodes_on": 1})
    )
    assert here == pytest.approx(2 * (10 + 1 + 10 + 1) + 7)
    assert there == pytest.approx(here + 2)


def test_decoding_beside_the_next_tick_is_at_the_rate_of_the_longer() -> None:
    costs = {"layers": [10, 10], "commit_layers": [0, 0], "decode": 7}
    apart = {"sessions": 1, "stage_ms": costs, "link": {"latency_ms": 1, "bytes": 100}, "decodes_on": 2}
    in_line, beside = (
        validate.compare(validate.Run.model_validate(run_of(**apart, beside=True, unshown=unshown)))
        for unshown in (0, 1)
    )
    assert 1e3 / in_line.fps == pytest.approx(2 * (10 + 1 + 10 + 1) + 1 + 7 + 1)
    assert in_line.latency_ms == pytest.approx(1e3 / in_line.fps)
    assert 1e3 / beside.fps == pytest.approx(2 * (10 + 1 + 10 + 1), abs=1.1)
    assert in_line.latency_ms <= beside.latency_ms <= in_line.latency_ms + 10, "the front may be busy when it comes"


def test_a_commit_beside_a_picture_made_elsewhere_costs_no_time() -> None:
    costs = {"layers": [10, 10], "commit_layers": [3, 2], "decode": 7, "commit": 1}
    elsewhere = {"sessions": 1, "stage_ms": costs, "decodes_on": 2, "beside": True}
    at_the_front = {**elsewhere, "decodes_on": 0}
    periods_ms = [
        1e3 / validate.compare(validate.Run.model_validate(run_of(**run))).fps for run in (elsewhere, at_the_front)
    ]
    assert periods_ms[1] - periods_ms[0] == pytest.approx(3 + 1), "where the front decodes, it commits before"


def test_no_more_ticks_are_under_way_than_the_run_had() -> None:
    many = {"sessions": 6, "decodes_on": 0, "beside": True}
    few, all_of_them = (
        validate.compare(validate.Run.model_validate(run_of(**many, at_once=count))) for count in (2, 6)
    )
    assert few.latency_ms < 0.6 * all_of_them.latency_ms
    assert few.fps == pytest.approx(all_of_them.fps, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stage_ms": {"layers": [1], "commit_layers": [1, 1]}}, "expected layers of 2 stages"),
        ({"stage_ms": {"layers": [1, 1], "commit_layers": []}}, "expected commit_layers of 2 stages, got 0"),
        ({"stage_ms": {"layers": [1, 1]}}, "commit_layers"),
        (
            {"decodes_on": 3},
            "decodes_on: expected one of 2 stages, counted from 0, or 2 for a process of its own, got 3",
        ),
        ({"unshown": 1, "beside": True, "decodes_on": 0}, "unshown: expected beside, and decodes_on another"),
        ({"unshown": 1, "decodes_on": 2}, "unshown: expected beside"),
        ({"fps": 0}, "fps"),
        ({"sessions": 0}, "sessions"),
        ({"layout": []}, "layout"),
        ({"extra": 1}, "extra"),
    ],
)
def test_runs_that_cannot_be_read_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    assert checked(tmp_path, run_of(**changes)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["", "[]", "{", "[[]]"])
def test_files_without_runs_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.json"
    path.write_text(text, encoding="utf-8")
    assert validate.main([str(path)]) == 2
    assert validate.main([str(tmp_path / "nowhere.json")]) == 2
    assert validate.main([]) == 2


@pytest.mark.slow
def test_stage_processes_run_for_real_and_more_sessions_show_more_pictures() -> None:
    """Two processes over gloo that wait for their devices; holds where they also get a processor when they want one."""
    spec = RigSpec(((0, 2), (2, 4)), decode_layers=0, layer_wait_ms=5.0, ticks=6, warm_ticks=2)
    one, two = measure_rig(spec, (1, 2))
    assert two["fps"] > 1.2 * one["fps"], "what one session leaves idle, the other uses"
    assert one["stage_ms"]["layers"][0] >= 10, "a wait is at least as long as asked for"
    runs = [validate.Run.model_validate(run) for run in (one, two)]
    assert all(validate.compare(run).fps > 0 for run in runs)


@pytest.mark.slow
def test_rates_and_latencies_of_real_stage_processes_are_predicted() -> None:
    """Holds on a quiet machine; what it gives on a busy one stands in docs/plan.md."""
    spec = RigSpec(((0, 3), (3, 6), (6, 8)), layer_wait_ms=4.0, ticks=30, warm_ticks=5)
    compared = [validate.compare(validate.Run.model_validate(run)) for run in measure_rig(spec, (1, 2, 3))]
    errors = [abs(error) for one in compared for error in (one.rate_error, one.latency_error)]
    assert sorted(errors)[len(errors) // 2] <= validate.TOLERANCE
