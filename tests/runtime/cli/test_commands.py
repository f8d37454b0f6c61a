"""Claims about the command line: exit codes, artefacts, one line for every mistake. On the toy world: no weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.session.registry import WORLDS_FOLDER
from nextframe.runtime.session.startup import StartUp, default_threads, process_start_ns
from nextframe.tools.check import doctor
from nextframe.tools.lab.traces.check import check_file
from tests.support.paths import ROOT

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nextframe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def toy(*more: str, ticks: int = 40) -> list[str]:
    return ["run", "toy", "--ticks", str(ticks), "--bot", "wander", "--clock", "fixed", *more]


def mistake(result: tuple[int, str, str], *words: str, code: int = 2) -> None:
    got, _, complaint = result
    assert got == code
    assert complaint.count("\n") == 1, f"expected one line, got {complaint!r}"
    assert complaint.startswith("nextframe: ")
    assert "Traceback" not in complaint
    for word in words:
        assert word in complaint


# --- run ---------------------------------------------------------------------------------------------------------


def test_a_session_leaves_a_video_a_contact_sheet_and_a_report(nextframe: Run, tmp_path: Path) -> None:
    code, printed, _ = nextframe(*toy())
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"session.mp4", "contact_sheet.png", "report.json"}
    assert "out/session.mp4" in printed
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["schema"] == "nextframe.report/1"
    assert (report["ticks"], report["clock"], report["misses"]) == (40, "fixed", 0)
    assert report["steps_histogram"] == {"1": 0, "2": 0, "4": 40}
    assert all(value >= 0 for value in report["ttff_ms"].values())


def test_every_artefact_can_be_put_elsewhere(nextframe: Run, tmp_path: Path) -> None:
    names = ["--video", "a/v.mp4", "--contact-sheet", "b/c.png", "--report", "d/r.json"]
    assert nextframe(*toy(*names, ticks=5))[0] == 0
    assert all((tmp_path / name).is_file() for name in names[1::2])
    assert not (tmp_path / "out").exists()


def test_without_video_only_the_report_is_written(nextframe: Run, tmp_path: Path) -> None:
    assert nextframe(*toy("--no-video", ticks=5))[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.json"]


def test_with_json_the_last_line_is_the_report(nextframe: Run) -> None:
    code, printed, _ = nextframe(*toy("--json", "--no-video", "--warmup-ticks", "10"))
    report = json.loads(printed.splitlines()[-1])
    assert (code, report["ticks"], report["warmup_ticks"]) == (0, 30, 10)


def test_the_first_frame_is_the_sum_of_its_phases(nextframe: Run) -> None:
    phases = json.loads(nextframe(*toy("--json", "--no-video", ticks=2))[1].splitlines()[-1])["ttff_ms"]
    total = phases.pop("total")
    assert 0 < sum(phases.values()) <= total


def test_a_run_of_warm_up_alone_has_measured_nothing(nextframe: Run) -> None:
    assert nextframe(*toy("--no-video", "--warmup-ticks", "5", ticks=5))[0] == 2


def test_a_deadline_that_cannot_be_met_misses_the_target(nextframe: Run) -> None:
    session = ["run", "toy", "--ticks", "20", "--idle", "--no-video", "--deadline-ms", "0.001"]
    assert nextframe(*session, "--max-miss-rate", "0.5")[0] == 1
    assert nextframe(*session, "--max-miss-rate", "1")[0] == 0
    assert nextframe(*session)[0] == 0


def test_a_run_too_short_to_decide_is_no_pass(nextframe: Run) -> None:
    code, _, error = nextframe(*toy("--no-video", "--max-miss-rate", "0.01"))
    assert code == 2
    assert "needs 100 measured ticks, this session has 40" in error
    assert nextframe(*toy("--no-video", "--max-miss-rate", "0.05"))[0] == 0


def test_a_load_costs_time_and_stands_in_the_report(nextframe: Run) -> None:
    session = ["run", "toy", "--ticks", "30", "--idle", "--no-video", "--json", "--load", "steady:ms=60,on=condition"]
    report = json.loads(nextframe(*session, "--deadline-ms", "50")[1].splitlines()[-1])
    assert report["miss_rate"] == 1
    assert len(report["series"]["load_ms"]) == 30
    assert min(report["series"]["load_ms"]) >= 60, "a load is CPU time: on a busy machine it lasts longer"
    assert sum(report["miss_causes"].values()) == 30


def test_quality_can_be_scripted_by_tick(nextframe: Run, tmp_path: Path) -> None:
    levels = tmp_path / "levels.txt"
    levels.write_text("1 1 2 4 4", encoding="utf-8")
    report = json.loads(nextframe(*toy("--no-video", "--json", "--quality", f"trace:{levels}"))[1].splitlines()[-1])
    assert report["series"]["steps"] == [1, 1, 2] + [4] * 37
    assert nextframe(*toy("--quality", "fixed:3"))[0] == 2
    assert nextframe(*toy("--quality", "fixed:2", "--steps", "2"))[0] == 2


def test_a_trace_of_a_session_is_sound(nextframe: Run, tmp_path: Path) -> None:
    code, out, _ = nextframe(*toy("--no-video", "--trace", str(tmp_path / "new" / "t.json")))
    assert code == 0
    assert "trace:" in out
    assert check_file(tmp_path / "new" / "t.json").problems == []


def test_a_world_that_keeps_all_its_state_passes_the_synctest(nextframe: Run) -> None:
    code, out, _ = nextframe("synctest", "toy", "--depth", "7", "--ticks", "40", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["same"] is True
    assert nextframe("synctest", "toy", "--depth", "50", "--ticks", "40")[0] == 2


def test_a_saved_world_goes_on_in_another_process_as_if_it_had_never_stopped(nextframe: Run, tmp_path: Path) -> None:
    common = ["run", "toy", "--bot", "wander", "--clock", "fixed", "--no-video", "--saves", "saves"]
    assert nextframe(*common, "--ticks", "40", "--record", "whole.nfr")[0] == 0
    assert nextframe(*common, "--ticks", "20", "--save-slot", "half")[0] == 0
    code, out, _ = nextframe("saves", "toy", "--saves", "saves")
    assert (code, out.split()[:3]) == (0, ["half", "tick", "20,"])
    assert nextframe(*common, "--ticks", "20", "--load-slot", "half", "--record", "rest.nfr")[0] == 0
    whole, rest = (read_replay(tmp_path / name).ticks for name in ("whole.nfr", "rest.nfr"))
    sums = [tick.checksum for tick in whole[20:]]
    assert [tick.action for tick in rest] == [tick.action for tick in whole[20:]]
    assert [tick.checksum for tick in rest] == sums
    assert any(sums)
    mistake(nextframe(*common, "--ticks", "20", "--load-slot", "none"), "no such save", "half")
    assert nextframe("saves", "toy", "--saves", "saves", "--delete", "half")[0] == 0
    assert nextframe("saves", "toy", "--saves", "saves")[1] == ""


def test_a_report_becomes_a_page(nextframe: Run, tmp_path: Path) -> None:
    assert nextframe("run", "toy", "--ticks", "20", "--idle", "--no-video")[0] == 0
    assert nextframe("report", "out/report.json")[0] == 0
    assert "<svg" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    mistake(nextframe("report", "out/none.json"), "none.json")


def test_metrics_are_served_where_it_is_said(nextframe: Run) -> None:
    code, out, _ = nextframe(*toy("--no-video", "--metrics-port", "0"))
    assert code == 0
    assert "metrics: http://127.0.0.1:" in out


def test_forced_steps_are_applied(nextframe: Run) -> None:
    report = json.loads(nextframe(*toy("--steps", "2", "--json", "--no-video"))[1].splitlines()[-1])
    assert report["steps_histogram"] == {"1": 0, "2": 40, "4": 0}


def test_a_fixed_clock_gives_the_same_recording_twice(nextframe: Run, tmp_path: Path) -> None:
    for name in ("a.nfr", "b.nfr"):
        nextframe(*toy("--no-video", "--record", name))
    first, second = (read_replay(tmp_path / name).ticks for name in ("a.nfr", "b.nfr"))
    assert first == second


def test_another_seed_gives_another_recording(nextframe: Run, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        nextframe(*toy("--no-video", "--record", f"{seed}.nfr", "--seed", seed))
    assert read_replay(tmp_path / "1.nfr").ticks != read_replay(tmp_path / "2.nfr").ticks


def test_a_prompt_is_said_on_the_first_tick(nextframe: Run, tmp_path: Path) -> None:
    nextframe(*toy("--no-video", "--record", "a.nfr", "--prompt", "night, please"))
    assert read_replay(tmp_path / "a.nfr").ticks[0].action.prompt == "night, please"


# --- replay ------------------------------------------------------------------------------------------------------


def test_a_recording_plays_back_identically(nextframe: Run, tmp_path: Path) -> None:
    nextframe(*toy("--no-video", "--record", "a.nfr"))
    code, printed, _ = nextframe("replay", "a.nfr", "--verify")
    assert (code, printed) == (0, "identical: 40 ticks, 2 checksums agree\n")
    assert nextframe("replay", "a.nfr")[0] == 0
    assert (tmp_path / "out/replay.mp4").is_file()


def test_adaptive_quality_is_forced_on_playback(nextframe: Run) -> None:
    session = ["run", "toy", "--ticks", "25", "--idle", "--no-video", "--deadline-ms", "0.001", "--record", "a.nfr"]
    nextframe(*session)
    assert nextframe("replay", "a.nfr", "--verify")[0] == 0


def test_the_first_differing_tick_is_named(nextframe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from nextframe.worlds.toy.world import ToyWorld

    nextframe(*toy("--no-video", "--record", "a.nfr"))
    monkeypatch.setattr(ToyWorld, "checksum", lambda world: 7)
    code, printed, _ = nextframe("replay", "a.nfr", "--verify")
    assert code == 1
    assert printed.startswith("differs at tick 0: checksum")


def test_a_cut_recording_is_refused_and_with_recover_played_with_loss(nextframe: Run, tmp_path: Path) -> None:
    nextframe(*toy("--no-video", "--record", "a.nfr", ticks=100))
    data = (tmp_path / "a.nfr").read_bytes()
    (tmp_path / "cut.nfr").write_bytes(data[: len(data) * 3 // 4])
    mistake(nextframe("replay", "cut.nfr", "--verify"), "cut.nfr", "--recover")
    code, printed, complaint = nextframe("replay", "cut.nfr", "--verify", "--recover")
    assert code == 3
    assert printed.startswith("identical: ")
    assert "lost" in complaint


def test_other_weights_are_refused_with_both_hashes(nextframe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from nextframe.worlds.toy import world as toy_world

    nextframe(*toy("--no-video", "--record", "a.nfr"))
    recorded = toy_world.world_info()
    other = type(recorded)(**{**vars(recorded), "weights_sha256": "f" * 64})
    monkeypatch.setattr(toy_world, "world_info", lambda: other)
    mistake(nextframe("replay", "a.nfr", "--verify"), recorded.weights_sha256, "f" * 64)


def test_a_recording_is_never_overwritten_unasked(nextframe: Run) -> None:
    assert nextframe(*toy("--no-video", "--record", "a.nfr"))[0] == 0
    mistake(nextframe(*toy("--no-video", "--record", "a.nfr")), "a.nfr", "--overwrite")
    assert nextframe(*toy("--no-video", "--record", "a.nfr", "--overwrite"))[0] == 0


# --- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tyo", "--ticks", "3", "--idle"], ["unknown world 'tyo'", "'toy'"]),
        (["run", "toy", "--ticks", "3"], ["--script", "--bot", "--idle"]),
        (["run", "toy", "--ticks", "3", "--idle", "--bot", "wander"], ["exactly one"]),
        (["run", "toy", "--ticks", "3", "--bot", "wonder"], ["'wonder'", "'wander'"]),
        (["run", "toy", "--ticks", "3", "--script", "none.yaml"], ["none.yaml"]),
        (["run", "toy", "--ticks", "three", "--idle"], ["--ticks", "integer"]),
        (["run", "toy", "--ticks", "0", "--idle"], ["--ticks", "1"]),
        (["run", "toy", "--ticks", "3", "--idle", "--steps", "3"], ["1, 2, 4", "got 3"]),
        (["run", "toy", "--ticks", "3", "--idle", "--deadline-ms", "0"], ["--deadline-ms"]),
        (["run", "toy", "--ticks", "3", "--idle", "--prompt", "tropical"], ["tropical", "day, night"]),
        (["run", "toy", "--ticks", "3", "--idle", "--side-by-side"], ["--side-by-side"]),
        (["run", "toy", "--ticks", "3", "--idle", "--wrong"], ["--wrong"]),
        (["play", "toy", "--steps", "3"], ["1, 2, 4"]),
        (["play", "toy", "--bindings", "none.yaml"], ["none.yaml"]),
        (["replay", "none.nfr"], ["none.nfr"]),
        (["eval", "toy"], ["toy"]),
        (["fly"], ["fly"]),
    ],
)
def test_a_mistake_is_one_clear_line(nextframe: Run, arguments: Sequence[str], words: Sequence[str]) -> None:
    mistake(nextframe(*arguments), *words)


def test_a_script_with_an_unknown_action_is_refused_with_its_line(nextframe: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\ntimeline:\n  - {at: 0, axis: {stear: 1}}\n")
    mistake(nextframe("run", "toy", "--ticks", "3", "--script", "s.yaml"), "s.yaml:3", "stear", "steer")


def broken_world(tmp_path: Path, change: Callable[[Path], Any], name: str = "circuit") -> str:
    folder = tmp_path / "broken" / name
    shutil.copytree(WORLDS_FOLDER / name, folder)
    change(folder)
    return str(folder)


def test_broken_yaml_is_refused_with_line_and_nearest_key(nextframe: Run, tmp_path: Path) -> None:
    def misspell(folder: Path) -> None:
        file = folder / "world.yaml"
        file.write_text(file.read_text().replace("tick_hz:", "tick_hx:"))

    world = broken_world(tmp_path, misspell, "toy")
    mistake(nextframe("run", world, "--ticks", "3", "--idle"), "world.yaml:", "tick_hx", "tick_hz")


def test_missing_weights_are_refused_before_anything_loads(nextframe: Run, tmp_path: Path) -> None:
    world = broken_world(tmp_path, lambda folder: (folder / "dynamics.safetensors").unlink(missing_ok=True))
    mistake(nextframe("run", world, "--ticks", "3", "--idle"), "dynamics.safetensors", "no such file")


def test_truncated_weights_are_refused(nextframe: Run, tmp_path: Path) -> None:
    def truncate(folder: Path) -> None:
        file = folder / "tokenizer.safetensors"
        file.write_bytes(file.read_bytes()[:1000])

    world = broken_world(tmp_path, truncate)
    mistake(nextframe("run", world, "--ticks", "3", "--idle"), "tokenizer.safetensors")


def test_pickled_weights_are_refused(nextframe: Run, tmp_path: Path) -> None:
    def pickle(folder: Path) -> None:
        file = folder / "world.yaml"
        file.write_text(file.read_text().replace("dynamics.safetensors", "dynamics.pt"))
        (folder / "dynamics.pt").write_bytes(b"\x80\x02.")

    world = broken_world(tmp_path, pickle)
    mistake(nextframe("run", world, "--ticks", "3", "--idle"), "dynamics.pt", "pickles")


# --- the others --------------------------------------------------------------------------------------------------


def test_worlds_lists_what_ships(nextframe: Run) -> None:
    code, printed, _ = nextframe("worlds")
    assert code == 0
    assert "toy" in printed
    lines = [line.strip() for line in printed.splitlines()]
    assert "nextframe play circuit" in lines
    assert "nextframe play" in lines, "the default world needs no name"


def test_two_pygames_are_reported_as_a_clash() -> None:
    assert doctor._pygame(lambda package: "1.0").status == "wrong"
    assert "overwrite each other" in doctor._pygame(lambda package: "1.0").detail
    assert doctor._pygame({"pygame-ce": "2.5"}.get).status == "ok"
    assert doctor._pygame({"pygame": "2.6"}.get).status == "wrong"


def test_doctor_fails_only_on_what_must_be_mended(capsys: pytest.CaptureFixture[str]) -> None:
    note, wrong = doctor.Finding("window", "note", "none"), doctor.Finding("pygame", "wrong", "two")
    assert doctor.print_findings([note]) == 0
    assert doctor.print_findings([note, wrong], as_json=True) == 2
    findings = json.loads(capsys.readouterr().out.splitlines()[-1])["findings"]
    assert [finding["status"] for finding in findings] == ["note", "wrong"]


def test_bench_ends_with_one_json_document(nextframe: Run) -> None:
    code, printed, _ = nextframe("bench", "toy", "--seconds", "1")
    document = json.loads(printed.splitlines()[-1])
    assert code == 0
    assert document["schema"] == "nextframe.bench/1"
    assert [rung["denoise_steps"] for rung in document["rungs"]] == [1, 2, 4]
    assert document["rungs"][0]["rate_hz"] > 20
    assert document["ttff_ms"]["total"] > 0
    assert document["overhead_ms"]["p99"] > 0


def test_a_process_began_before_it_asks() -> None:
    from time import monotonic_ns

    assert process_start_ns() <= monotonic_ns()


def test_a_phase_counts_once_and_the_first_frame_ends_start_up() -> None:
    startup = StartUp()
    for phase in ("import", "load", "import"):
        startup.mark(phase)
    startup.first_frame()
    before = startup.ttff_ms
    startup.first_frame()
    assert startup.ttff_ms == before
    assert list(before) == ["import", "load", "first_frame", "total"]


def test_the_network_gets_one_thread() -> None:
    assert default_threads() == 1


# --- as a process ------------------------------------------------------------------------------------------------


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}
    return subprocess.Popen(
        [sys.executable, "-m", "nextframe.runtime.cli.app", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_session_with_everything_written(tmp_path: Path) -> None:
    process = start(tmp_path, "run", "toy", "--ticks", "100000", "--bot", "wander", "--record", "a.nfr")
    part = tmp_path / "out/session.part.mp4"
    while not (part.is_file() and part.stat().st_size > 0):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
    process.send_signal(signal.SIGINT)
    printed, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped after" in printed
    assert complaint == ""
    assert (tmp_path / "out/session.mp4").is_file()
    assert json.loads((tmp_path / "out/report.json").read_text())["ticks"] > 0
    assert read_replay(tmp_path / "a.nfr").complete


def test_with_no_display_play_says_so_and_plays_headless(tmp_path: Path) -> None:
    process = start(tmp_path, "play", "toy", "--ticks", "20")
    printed, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    assert complaint == ""
    assert printed.startswith("No window here: ")
    assert "headless" in printed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"session.mp4", "contact_sheet.png", "report.json"}


def test_a_reader_that_has_seen_enough_causes_no_complaint(tmp_path: Path) -> None:
    process = start(tmp_path, *toy("--no-video", "--json", ticks=5))
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)
