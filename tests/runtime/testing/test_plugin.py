"""Claims about deadline tests: they pass, fail or refuse to answer for the right reason, and cost other tests nothing.

The session itself is tested in this process on the manual clock; the plugin in real pytest runs of their own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import Action, Clock, ConfigError, NextframeError, TickPlan, TickResult
from nextframe.runtime.observe.report import shortage
from nextframe.runtime.testing.evidence import FirstBurst
from nextframe.runtime.testing.report import CannotMeasure, DeadlineReport, ticks_to_decide
from nextframe.runtime.testing.session import DeadlineSession
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import MS, Session
from tests.support.paths import ROOT

pytest_plugins = ["pytester"]

DOCS = ROOT / "docs" / "deadline_tests.md"
CHEAP = {"condition": 1.0, "denoise": 4.0, "decode": 2.0, "commit": 1.0}
"""19 ms at the top rung of the toy world, whose period is 50 ms."""
STALL = "step:ms=20,from=5,to=5.5"
"""On top of `CHEAP` at four fixed steps: ticks of 99 ms for half a second."""


@pytest.fixture
def run(tmp_path: Path) -> DeadlineSession:
    """Sessions without pytest's fixture around them; names are looked for in `tmp_path`."""
    numbers = count(1)
    return DeadlineSession((tmp_path,), lambda: tmp_path / f"report_{next(numbers)}.json")


@pytest.fixture
def stalled(run: DeadlineSession) -> DeadlineReport:
    """200 ticks, of which a few in a row are missed."""
    report = run("toy", ticks=200, clock="manual", costs=CHEAP, load=STALL, quality=4)
    assert 3 <= report["misses"] <= 10
    return report


# --- the answer --------------------------------------------------------------------------------------------------


def test_a_world_within_its_deadline_passes(run: DeadlineSession) -> None:
    report = run("toy", bot="wander", ticks=200, clock="manual", costs=CHEAP)
    report.assert_on_time(max_miss_rate=0, longest_run=0, most_misses_in_100=0, min_steps_mean=4, p99_ms=19)
    assert (report.miss_rate, report.steps_mean, report.p99_ms) == (0, 4, pytest.approx(19))
    assert report["clock"] == "manual"
    assert report.trace is None


@pytest.mark.parametrize("stage", ["condition", "decode", "commit"])
def test_a_world_that_hitches_once_a_second_fails_more_the_longer_it_hitches(run: DeadlineSession, stage: str) -> None:
    seen = []
    for ms in (120, 200, 260, 400, 900):
        load = f"gc:ms={ms},every=1,on={stage}"
        report = run("toy", bot="wander", ticks=400, clock="manual", costs={"denoise": 1.0}, load=load)
        assert report["clock_gaps"] == 0
        assert report["response_ms"]["max"] >= ms - (50 if stage == "commit" else 0)
        with pytest.raises(AssertionError):
            report.assert_on_time(max_miss_rate=0.01)
        seen.append((report.miss_rate, report["hitch_ms_per_s"], -report["fps"], -report["low1_avg_fps"]))
    for column in zip(*seen, strict=True):
        assert list(column) == sorted(column)


def test_a_world_made_too_slow_fails_with_a_table(run: DeadlineSession) -> None:
    report = run("toy", ticks=200, clock="manual", costs={"denoise": 60.0})
    with pytest.raises(AssertionError) as failure:
        report.assert_on_time(max_miss_rate=0.01, longest_run=2, min_steps_mean=1)
    table = str(failure.value)
    assert "toy is not on time: 2 of 3 targets missed in 200 ticks (50 ms deadline, manual clock)" in table
    assert re.search(r"miss rate +<= 0\.01 +1 +MISSED", table)
    assert re.search(r"longest run of misses +<= 2 +200 +MISSED", table)
    assert re.search(r"mean denoise steps +>= 1 +1(\.\d+)?$", table, re.MULTILINE)
    assert f"report: {report.path}" in table
    assert f"trace:  {report.trace}" in table
    assert json.loads(report.path.read_text(encoding="utf-8"))["misses"] == 200


def test_the_table_names_the_worst_ticks_with_their_causes(stalled: DeadlineReport) -> None:
    with pytest.raises(AssertionError) as failure:
        stalled.assert_on_time(max_miss_rate=0)
    worst = max(stalled["missed_ticks"], key=lambda tick: tick["late_ms"])
    for word in (f"tick {worst['tick']}", worst["cause"], worst["evidence"], "misses by cause: "):
        assert word in str(failure.value)


@pytest.mark.parametrize(
    ("target", "measured", "step"),
    [
        ("max_miss_rate", lambda report: report.miss_rate, -0.001),
        ("longest_run", lambda report: report["worst_miss_run"], -1),
        ("most_misses_in_100", lambda report: report["most_misses_in_100"], -1),
        ("p99_ms", lambda report: report.p99_ms, -0.1),
        ("min_steps_mean", lambda report: report.steps_mean, 0.1),
    ],
)
def test_each_target_holds_at_what_was_measured_and_fails_just_beyond(
    stalled: DeadlineReport, target: str, measured: Callable[[DeadlineReport], float], step: float
) -> None:
    stalled.assert_on_time(**{"max_miss_rate": 1, target: measured(stalled)})
    with pytest.raises(AssertionError, match=r"1 of \d targets missed"):
        stalled.assert_on_time(**{"max_miss_rate": 1, target: measured(stalled) + step})


@pytest.mark.parametrize(
    ("least_ticks", "targets"),
    [
        (20, {"max_miss_rate": 0}),
        (20, {"max_miss_rate": 0.5}),
        (40, {"max_miss_rate": 0.025}),
        (100, {}),
        (100, {"max_miss_rate": 1, "p99_ms": 50}),
        (100, {"max_miss_rate": 1, "most_misses_in_100": 2}),
    ],
)
def test_a_run_one_tick_too_short_cannot_measure(
    run: DeadlineSession, least_ticks: int, targets: dict[str, Any]
) -> None:
    with pytest.raises(CannotMeasure, match=f"{least_ticks - 1} measured ticks .* at least {least_ticks}"):
        run("toy", ticks=least_ticks - 1, clock="manual", costs=CHEAP).assert_on_time(**targets)
    run("toy", ticks=least_ticks, clock="manual", costs=CHEAP).assert_on_time(**targets)


def test_a_short_run_is_no_failure_even_if_all_of_it_was_missed(run: DeadlineSession) -> None:
    with pytest.raises(CannotMeasure):
        run("toy", ticks=19, clock="manual", costs={"denoise": 60.0}).assert_on_time()


@pytest.mark.parametrize("rate", [0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.07, 0.1, 0.3, 1])
def test_the_fixture_and_the_command_ask_for_the_same_ticks(rate: float) -> None:
    least = ticks_to_decide(rate)
    for ticks in (least - 1, least):
        report = {"ticks": ticks, "warmup_ticks": 0, "miss_rate": 0.0}
        assert (shortage(report, rate) is not None) == (ticks < least)


def test_warmup_ticks_do_not_count_as_measured(run: DeadlineSession) -> None:
    with pytest.raises(CannotMeasure, match="15 measured ticks"):
        run("toy", ticks=25, warmup_ticks=10, clock="manual", costs=CHEAP).assert_on_time(max_miss_rate=0)


def test_one_miss_never_breaks_the_rate_of_the_shortest_run_allowed() -> None:
    for rate in (0.5, 0.07, 0.05, 0.03, 0.01, 0.001):
        assert 1 / ticks_to_decide(rate) <= rate


@pytest.mark.parametrize("costs", [None, {}, {"denoise": 0.0}])
def test_a_manual_run_in_which_nothing_takes_time_cannot_measure(
    run: DeadlineSession, costs: dict[str, float] | None
) -> None:
    with pytest.raises(CannotMeasure, match="no tick took any time on the manual clock"):
        run("toy", ticks=20, clock="manual", costs=costs)


@pytest.mark.parametrize("targets", [{"max_miss_rate": 1.5}, {"longest_run": -1}, {"p99_ms": float("nan")}])
def test_a_limit_that_no_number_could_meet_is_bad_input(stalled: DeadlineReport, targets: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="assert_on_time: "):
        stalled.assert_on_time(**targets)


# --- the session -------------------------------------------------------------------------------------------------


def refuse_to_sleep(seconds: float) -> None:
    raise InterruptedError("slept")


def test_ten_thousand_ticks_on_the_manual_clock_never_sleep(
    run: DeadlineSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", refuse_to_sleep)
    report = run("toy", bot="wander", ticks=10_000, clock="manual", costs=CHEAP)
    report.assert_on_time(max_miss_rate=0)
    assert report["ticks"] == 10_000


def test_the_real_clock_does_sleep(run: DeadlineSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", refuse_to_sleep)
    with pytest.raises(InterruptedError, match="slept"):
        run("toy", ticks=20)


def test_a_run_on_the_real_clock_measures_time(run: DeadlineSession) -> None:
    report = run("toy", ticks=20, load="steady:ms=1,on=decode")
    assert report["clock"] == "real"
    assert report["stage_ms"]["decode"]["p50"] >= 1


def test_a_manual_run_gives_the_same_numbers_twice(run: DeadlineSession) -> None:
    first, second = (
        dict(run("toy", bot="wander", ticks=200, clock="manual", costs=CHEAP, load="noisy:ms=10,seed=3").data)
        for _ in range(2)
    )
    for report in (first, second):
        del report["ttff_ms"]
    assert first == second


def test_the_governor_is_in_the_session(run: DeadlineSession) -> None:
    load = "step:ms=16,from=2"
    adaptive, fixed = (
        run("toy", ticks=400, clock="manual", costs=CHEAP, load=load, quality=quality) for quality in ("adaptive", 4)
    )
    adaptive.assert_on_time(max_miss_rate=0.01)
    with pytest.raises(AssertionError):
        fixed.assert_on_time(max_miss_rate=0.01)
    assert fixed.steps_mean == 4
    assert (adaptive["governor"]["name"], fixed["governor"]["name"]) == ("adaptive", "fixed:4")


def test_the_injected_load_is_in_the_report_and_stated_costs_are_not(run: DeadlineSession) -> None:
    report = run("toy", ticks=40, clock="manual", costs=CHEAP, load="step:ms=7,from=1,on=decode")
    assert report["series"]["load_ms"] == [0.0] * 20 + [7.0] * 20
    assert "load_ms" not in run("toy", ticks=40, clock="manual", costs=CHEAP)["series"]


def test_a_scaled_load_multiplies_the_stated_costs(run: DeadlineSession) -> None:
    report = run("toy", ticks=100, clock="manual", costs=CHEAP, load="scale:x=3,from=1", quality=1)
    assert report["response_ms"]["max"] == pytest.approx(3 * (1 + 4 + 2))


class SpyWorld(ToyWorld):
    """Keeps what it was told, and whether it was closed."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.actions: list[Action] = []
        self.closed = 0

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self.actions.append(action)
        return super().advance(action, plan)

    def warm_up(self) -> None:
        super().warm_up()
        self.actions.clear()

    def close(self) -> None:
        self.closed += 1


SCRIPT = {"version": 1, "timeline": [{"at": 2, "hold": ["brake"], "for": 3}, {"at": 4, "axis": {"steer": 0.5}}]}


@pytest.mark.parametrize("form", ["file", "path", "text", "mapping"])
def test_a_script_may_be_a_file_a_text_or_a_mapping(run: DeadlineSession, tmp_path: Path, form: str) -> None:
    text = yaml.safe_dump(SCRIPT)
    (tmp_path / "drive.yaml").write_text(text, encoding="utf-8")
    forms = {"file": "drive.yaml", "path": tmp_path / "drive.yaml", "text": text, "mapping": SCRIPT}
    worlds: list[SpyWorld] = []

    def make(clock: Clock) -> SpyWorld:
        worlds.append(SpyWorld(clock))
        return worlds[0]

    run(make, script=forms[form], ticks=20, clock="manual", costs=CHEAP)
    assert [tick for tick, action in enumerate(worlds[0].actions) if "brake" in action.buttons] == [2, 3, 4]
    assert [tick for tick, action in enumerate(worlds[0].actions) if action.axis("steer") > 0] == [4]


def test_a_world_made_by_the_session_is_closed_and_one_handed_in_is_not(run: DeadlineSession) -> None:
    made = SpyWorld()
    run(lambda clock: made, ticks=20, clock="manual", costs=CHEAP)
    assert made.closed == 1
    mine = SpyWorld()
    run(mine, ticks=1)
    assert mine.closed == 0
    assert len(mine.actions) == 1


def test_a_folder_beside_the_test_is_a_world(run: DeadlineSession, tmp_path: Path) -> None:
    text = (ROOT / "worlds" / "toy" / "world.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine" / "scripts").mkdir(parents=True)
    (tmp_path / "mine" / "world.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine" / "scripts" / "own.yaml").write_text(yaml.safe_dump(SCRIPT), encoding="utf-8")
    run("mine", script="own", ticks=100, clock="manual", costs=CHEAP).assert_on_time()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("unknown world 'tyo'", {"world": "tyo"}),
        ("lacks info, reset", {"world": 7}),
        ("expected <lambda> to make a World; got object", {"world": lambda clock: object()}),
        ("give its class, or a function", {"world": ToyWorld(), "clock": "manual"}),
        ("got both", {"script": SCRIPT, "bot": "wander"}),
        ("unknown bot 'wonder'", {"bot": "wonder"}),
        ("'absent.yaml': no such file; looked for /", {"script": "absent.yaml"}),
        ("script of this test:2: unknown key 'timelin'", {"script": "version: 1\ntimelin: []\n"}),
        ("unknown action 'brak'", {"script": {"version": 1, "timeline": [{"at": 0, "hold": ["brak"]}]}}),
        ("clock: expected 'real' or 'manual', got 'fixed'", {"clock": "fixed"}),
        ("need clock='manual'", {"costs": CHEAP}),
        ("unknown stage 'denoize'; did you mean 'denoise'?", {"costs": {"denoize": 1.0}, "clock": "manual"}),
        ("costs['decode']: expected ms from 0 up, got -1", {"costs": {"decode": -1}, "clock": "manual"}),
        ("unknown kind 'stpe'", {"load": "stpe:ms=1"}),
        ("ladder (1, 2, 4), got 3", {"quality": 3}),
        ("expected adaptive, fixed:STEPS or trace:FILE, got 'best'", {"quality": "best"}),
        ("ticks: expected at least 1, got 0", {"ticks": 0}),
        ("expected 0 to 19, got 20", {"warmup_ticks": 20}),
        ("deadline_ms: expected 0.001 to 60000, got 0", {"deadline_ms": 0}),
    ],
)
def test_bad_input_is_one_clear_line(run: DeadlineSession, words: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(NextframeError) as error:
        run(**{"world": "toy", "ticks": 20, **arguments})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_trace_is_kept_of_the_first_burst_of_misses(tmp_path: Path) -> None:
    slow = (*range(1000, 1003), 3000)
    session = Session(lambda tick: {"denoise": 60 * MS if tick in slow else MS})
    burst = FirstBurst(session.controls)
    session.loop.run(3200)
    for record in session.records:
        burst.observe(record)
    path = burst.write(tmp_path / "ticks.json", 50 * MS, {"world": "toy"})
    assert path is not None
    names = {event.get("name") for event in json.loads(path.read_text(encoding="utf-8"))["traceEvents"]}
    assert {"tick 1000", "tick 1050"} <= names
    assert not {"tick 500", "tick 1200", "tick 3000"} & names


def test_a_session_on_time_leaves_no_trace(tmp_path: Path) -> None:
    session = Session()
    burst = FirstBurst(session.controls)
    session.loop.run(10)
    for record in session.records:
        burst.observe(record)
    assert burst.write(tmp_path / "ticks.json", 50 * MS, {"world": "toy"}) is None
    assert not (tmp_path / "ticks.json").exists()


# --- the plugin --------------------------------------------------------------------------------------------------


HEAVY = {"torch", "numpy", "yaml", "pydantic", "pygame", "moderngl", "av", "msgpack", "typer", "rich"}


def heavy_modules(module: str) -> set[str]:
    """What importing a module in a fresh interpreter brings with it."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    return HEAVY & set(printed.stdout.split())


def test_the_plugin_imports_nothing_heavy() -> None:
    assert not heavy_modules("nextframe.runtime.testing.plugin")


def test_the_check_for_heavy_imports_finds_them() -> None:
    assert {"numpy", "yaml"} <= heavy_modules("nextframe.runtime.testing.session")


def test_installing_the_distribution_registers_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"nextframe": "nextframe.runtime.testing.plugin"}


@pytest.fixture
def pytest_run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Run pytest in a process of its own with this plugin and no other, whatever is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def run_pytest(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            "-p",
            "nextframe.runtime.testing.plugin",
            "-p",
            "no:cacheprovider",
            "--strict-markers",
            "-W",
            "error",
            "-v",
            *arguments,
        )

    return run_pytest


FOUR_TESTS = """
MANUAL = dict(ticks=200, clock="manual")

def test_passing(deadline_session):
    deadline_session("toy", costs={"denoise": 4.0}, **MANUAL).assert_on_time()

def test_slow(deadline_session):
    deadline_session("toy", costs={"denoise": 60.0}, **MANUAL).assert_on_time()

def test_short(deadline_session):
    deadline_session("toy", ticks=30, clock="manual", costs={"denoise": 4.0}).assert_on_time()

def test_bad_script(deadline_session):
    deadline_session("toy", script="version: 1\\ntimelin: []\\n", **MANUAL)
"""


def test_a_slow_world_fails_and_a_run_without_an_answer_is_an_error(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile(FOUR_TESTS)
    result = pytest_run()
    result.assert_outcomes(passed=1, failed=1, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_passing PASSED*",
            "*::test_slow FAILED*",
            "*::test_short ERROR*",
            "*::test_bad_script ERROR*",
            "E*AssertionError: toy is not on time: 1 of 1 targets missed in 200 ticks*",
            "E*CannotMeasure: toy: 30 measured ticks are too few to decide miss rate <= 0.01; expected at least 100*",
            "E*ConfigError: script of this test:2: unknown key 'timelin'; did you mean 'timeline'?*",
        ]
    )
    text = result.stdout.str()
    assert "parse_document" not in text, "the way through our own modules is of no interest"
    reports = re.findall(r"\breport: ([^\s)]+)", text)
    assert len(set(reports)) == 2
    assert all(json.loads(Path(path).read_text(encoding="utf-8"))["world"] == "toy" for path in reports)
    assert all(pytester.path in Path(path).parents for path in reports), "in the folder pytest keeps for the test"


def test_an_assertion_of_the_authors_own_also_says_where_the_report_is(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile("""
        def test_own(deadline_session):
            report = deadline_session("toy", ticks=20, clock="manual", costs={"denoise": 4.0})
            assert report["fps"] > 1000
    """)
    result = pytest_run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured deadline report call*", "*report.json"])


def test_the_marker_selects_tests_that_use_the_fixture_and_others_pay_nothing(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile("""
        import sys

        def test_plain():
            assert not {"nextframe.runtime.core", "numpy", "yaml"} & set(sys.modules)

        def test_that_fails_for_its_own_reason():
            from nextframe.runtime.core import ConfigError
            raise ConfigError("no deadline test")

        def test_deadline(deadline_session):
            pass
    """)
    pytest_run().assert_outcomes(passed=2, failed=1)  # an error of ours outside a deadline test is a plain failure
    pytest_run("-m", "deadline").assert_outcomes(passed=1, deselected=2)


def test_reports_of_passing_tests_can_be_kept(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.parametrize("cost", [1.0, 2.0])
        def test_kept(deadline_session, cost):
            for _ in range(2):
                deadline_session("toy", ticks=20, clock="manual", costs={"denoise": cost})
    """)
    pytest_run("--nextframe-report-dir", "kept").assert_outcomes(passed=2)
    kept = sorted((pytester.path / "kept").iterdir())
    assert len(kept) == 4
    assert all("test_kept" in path.name and path.suffix == ".json" for path in kept)


# --- the page in the docs ----------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_examples(folder: Path, *, quick: bool) -> None:
    """The page's files by the name on their first line, and `my_world`; `quick`: 20 ticks, and the rate for them."""
    for block in (*blocks("python"), *blocks("yaml")):
        name = re.match(r"# (\S+\.(?:py|yaml))\n", block)
        if name is not None:
            text = block.replace("ticks=600", "ticks=20").replace("=0.01", "=0.05") if quick else block
            (folder / name[1]).write_text(text, encoding="utf-8")
    (folder / "my_world").mkdir()
    world = (ROOT / "worlds" / "toy" / "world.yaml").read_text(encoding="utf-8")
    (folder / "my_world" / "world.yaml").write_text(world, encoding="utf-8")


def test_the_documented_simulated_examples_pass(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    write_examples(pytester.path, quick=False)
    pytest_run("test_my_world_simulated.py", "test_own_class.py").assert_outcomes(passed=2)


def test_the_documented_real_example_gives_an_answer(
    pytester: pytest.Pytester, pytest_run: Callable[..., pytest.RunResult]
) -> None:
    write_examples(pytester.path, quick=True)
    outcomes = pytest_run("test_my_world.py").parseoutcomes()
    assert outcomes in ({"passed": 1}, {"failed": 1}), "a busy machine may be late, but it can always say so"


def test_the_documented_command_gives_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_examples(tmp_path, quick=True)
    monkeypatch.chdir(tmp_path)
    (command,) = blocks("sh")
    workflow = yaml.safe_load(blocks("yaml")[0])
    assert command.strip() in [step.get("run") for step in workflow["jobs"]["deadline"]["steps"]]
    arguments = command.replace("600", "20").replace("0.01", "0.05").split()
    assert arguments[0] == "nextframe"
    assert run_command(arguments[1:]) in (0, 1)
    assert (tmp_path / "out" / "report.json").is_file()
