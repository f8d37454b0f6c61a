"""One self-contained HTML page from a session's report: no network, no fonts, no files beside it.

Owns rendering and writing. Knows nothing of sessions: it shows what the JSON says and works out nothing that is not in
it. World names, reasons and evidence are foreign text, so everything is escaped, and a content security policy keeps
the page from loading anything even if something slipped through.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...runtime.core import NextframeError
from ...runtime.observe.metrics import DEFINITIONS
from . import content, figures, histogram, misses, words
from .document import Report, absent_parts, check_report, read_report

__all__ = ["read_report", "render_page", "write_page"]

HERE = Path(__file__).parent


def write_page(report: Mapping[str, Any], path: Path) -> Path:
    """Write the page of a `nextframe.report/1` document; returns `path`.

    NextframeError: the document lacks keys or has wrong values, or the file cannot be written.
    """
    return save_page(render_page(report), path)


def save_page(text: str, path: Path) -> Path:
    """NextframeError: the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NextframeError(f"{path}: expected a place to write the page: {error.strerror}") from error
    return path


def templates(folder: Path) -> Environment:
    """Of pages: everything is escaped, and a name without a value is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(report: Mapping[str, Any]) -> str:
    """The page as text. NextframeError as in `write_page`."""
    checked = check_report(report, "report")
    environment = templates(HERE)
    # The cursor lists stages in the order they run, not by name; and six thousand points need no spaces.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters.update(
        shown=words.shown, percent=words.percent, whole=words.whole, byte_size=words.byte_size, plural=words.plural
    )
    return environment.get_template("template.html").render(_context(checked)) + "\n"


def _context(report: Report) -> dict[str, Any]:
    """Everything the template names."""
    timed = content.measures_time(report)
    plots = timed and report.series is not None and bool(report.series.tick)
    return {
        "report": report,
        "timed": timed,
        "style": Markup((HERE / "style.css").read_text(encoding="utf-8")),
        "script": Markup((HERE / "cursor.js").read_text(encoding="utf-8")),
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
        "environment": content.environment(report),
        "definitions": report.definitions or DEFINITIONS,
    }
