"""A session's report as one page: it shows what the JSON says and works out nothing that is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runtime.observe.metrics import DEFINITIONS
from ..pages import page
from . import content, figures, histogram, misses
from .document import Report, absent_parts, check_report, read_report

__all__ = ["read_report", "render_page", "write_page"]

HERE = Path(__file__).parent


def write_page(report: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a `nextframe.report/1` document; returns `path`.

    NextframeError: the document lacks keys or has wrong values, or the file cannot be written.
    """
    return page.write(render_page(report), path)


def render_page(report: Mapping[str, Any]) -> str:
    """The page as text. NextframeError as in `write_page`."""
    return page.render(HERE, command="report", schema="nextframe.report/1", **_context(check_report(report, "report")))


def _context(report: Report) -> dict[str, Any]:
    """Everything the template names."""
    timed = content.measures_time(report)
    plots = timed and report.series is not None and bool(report.series.tick)
    return {
        "report": report,
        "timed": timed,
        "verdict": content.verdict(report),
        "summary": content.summary(report),
        "notices": content.notices(report, absent_parts(report)),
        "cards": content.cards(report),
        "response_plot": figures.both("response", report) if plots else None,
        "stage_plot": figures.both("stages", report) if plots else None,
        "histogram": histogram.histogram(report) if plots else None,
        "cursor_data": content.cursor_data(report) if plots else None,
        "causes": content.cause_bars(report),
        "rungs": content.rung_bars(report),
        "phases": content.phase_bars(report),
        "stages": content.stage_rows(report),
        "missed": misses.missed_ticks(report),
        "inventory": content.inventory(report),
        "environment": content.environment(report),
        "definitions": report.definitions or DEFINITIONS,
    }
