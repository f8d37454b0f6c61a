"""The pytest plugin: `deadline_session` runs a world against its deadline inside a test. See docs/deadline_tests.md.

The fixture, the marker `deadline`, the option `--nextframe-report-dir`; a session that could not measure is an error,
not a failure.

pytest loads this at the start of every run in an environment that has nextframe, so it imports pytest and the standard
library alone; everything else is imported by the first test that asks for the fixture.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Generator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .session import DeadlineSession

FIXTURE = "deadline_session"
MARKER = "deadline"
NO_ANSWER = "nextframe_no_answer"
"""Set on the report of a test whose session could not measure, or was given bad input."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("nextframe").addoption(
        "--nextframe-report-dir",
        metavar="DIR",
        default=None,
        help="keep the report of every deadline test in this folder, also of those that pass",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARKER}: runs a world against its deadline; set by itself on tests that use {FIXTURE}"
    )


def pytest_itemcollected(item: pytest.Item) -> None:
    if _uses_fixture(item):
        item.add_marker(MARKER)


@pytest.fixture
def deadline_session(request: pytest.FixtureRequest, tmp_path: Path) -> DeadlineSession:
    """Runs headless sessions: `deadline_session(WORLD, ticks=600, ...).assert_on_time(max_miss_rate=0.01)`."""
    from .session import DeadlineSession

    here, config = request.path.parent, request.config
    folders = tuple(dict.fromkeys((here, config.rootpath, config.invocation_params.dir)))
    return DeadlineSession(folders, _report_paths(request.node, tmp_path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Exit code 2 of the command line is, in a test, an error: the question was not answered."""
    report = yield
    core = sys.modules.get("nextframe.runtime.core")  # if it was not imported, nothing of it was raised
    if report.failed and _uses_fixture(item) and core is not None and call.excinfo is not None:
        setattr(report, NO_ANSWER, isinstance(call.excinfo.value, core.NextframeError))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    return ("error", "E", "ERROR") if report.failed and getattr(report, NO_ANSWER, False) else None


def _uses_fixture(item: pytest.Item) -> bool:
    return FIXTURE in getattr(item, "fixturenames", ())


def _report_paths(item: pytest.Item, tmp_path: Path) -> Callable[[], Path]:
    """A new path for each session of a test, said in what pytest prints if the test fails."""
    kept: str | None = item.config.getoption("--nextframe-report-dir")
    folder, stem = tmp_path, "report"
    if kept is not None:
        folder = item.config.invocation_params.dir / kept
        stem = f"{re.sub(r'[^A-Za-z0-9]+', '_', item.nodeid)[-100:]}_{zlib.crc32(item.nodeid.encode()):08x}"
    numbers = count(1)

    def next_path() -> Path:
        number = next(numbers)
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}_{number}.json")
        item.add_report_section("call", "deadline report", str(path))
        return path

    return next_path
