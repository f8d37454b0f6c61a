"""Claims about the report for people: one file that loads nothing, says what the JSON says, and trusts no text."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import NextframeError
from nextframe.runtime.governor.adaptive import AdaptiveGovernor
from nextframe.runtime.observe.causes import MissLog
from nextframe.runtime.observe.metrics import DEFINITIONS
from nextframe.runtime.observe.report import build_report
from nextframe.runtime.observe.telemetry import Telemetry
from nextframe.runtime.tick.record import TickRecord
from nextframe.tools.lab.pictures.page import browser_path
from nextframe.tools.pages.svg import round_ticks
from nextframe.tools.pages.words import byte_size, percent, shown
from nextframe.tools.report.figures import Scale, envelope, top_ms
from nextframe.tools.report.histogram import response_bins
from nextframe.tools.report.page import read_report, render_page, write_page
from tests.support.doubles import MS, Session

DEADLINE_MS = 50
MAX_PAGE_BYTES = 1_000_000
VOID = {"meta", "link", "br", "path", "text", "img", "input", "hr"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def session_report(ticks: int, late_ticks: Mapping[int, int], **changes: Any) -> dict[str, Any]:
    """The report of a toy session in which each tick costs 30 ms, and `late_ticks` so many ms more."""
    session = Session(
        lambda tick: {"condition": MS, "denoise": 3 * MS, "decode": (8 + late_ticks.get(tick, 0)) * MS, "commit": MS},
        governor=lambda clock: AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=DEADLINE_MS * MS),
    )
    telemetry, log = Telemetry(), MissLog()
    session.loop.run(ticks)
    records: list[TickRecord] = session.records
    for record in records:
        telemetry.observe(record)
        log.observe(record)
    report = build_report(
        telemetry,
        session.world.info,
        clock="real",
        deadline_ns=DEADLINE_MS * MS,
        tick_hz=Fraction(20),
        ttff_ms={"import": 900.5, "load": 20.25, "warmup": 11.0, "first_frame": 21.0, "total": 952.75},
        state=session.world.state_inventory(),
        env={"device": "cpu", "threads": 1},
        miss_log=log,
        governor_name="adaptive",
    )
    document = json.loads(json.dumps(report))
    return {**document, **changes}


def stretched(report: Mapping[str, Any], points: int) -> dict[str, Any]:
    """The same report with its series repeated up to so many points: as large as a report may be."""
    series: dict[str, Any] = copy.deepcopy(report["series"])

    def repeat(column: list[Any]) -> list[Any]:
        return (column * (points // len(column) + 1))[:points]

    for name in ("response_ms", "frame_ms", "steps", "missed", "input_to_present_ms"):
        series[name] = repeat(series[name])
    # Digits as a real clock has them; a manual clock's round numbers would make the page too small.
    series["response_ms"] = [round(value + 0.001 * (17 * i % 997), 3) for i, value in enumerate(series["response_ms"])]
    series["stage_ms"] = {
        stage: [round(value + 0.001 * (31 * i % 991), 3) for i, value in enumerate(repeat(column))]
        for stage, column in series["stage_ms"].items()
    }
    series["tick"] = list(range(points))
    return {**report, "series": series, "ticks": points}


class Page(HTMLParser):
    """What a browser would see: tags with attributes, text, and the text of every element with a data-key."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.keyed: list[tuple[str, str]] = []
        self._text: list[str] = []
        self._open_key: str | None = None
        self.feed(html)
        self.text = " ".join("".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self._open_key = attributes.get("data-key")
        if self._open_key:
            self.keyed.append((self._open_key, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open_key = None

    def handle_data(self, data: str) -> None:
        self._text.append(data)
        if self._open_key:
            key, text = self.keyed[-1]
            self.keyed[-1] = (key, text + data)

    def count(self, tag: str, class_: str = "") -> int:
        return sum(name == tag and class_ in [*(at.get("class") or "").split(), ""] for name, at in self.tags)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return session_report(200, {40: 45, 120: 45, 121: 45})


@pytest.fixture(scope="module")
def html(report: dict[str, Any]) -> str:
    return render_page(report)


# --- it is one file, and it loads nothing ---------------------------------------------------------------------


def outside_references(html: str) -> list[str]:
    """Everything in a page that would make a browser fetch something."""
    found = re.findall(r"https?://[^\s\"'<>]*|@import[^;]*|url\([^)]*\)", html)
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name)
            if value is not None and not value.startswith(("#", "data:")):
                found.append(f"<{tag} {name}={value}>")
    return found


def test_the_page_refers_to_nothing_outside_itself(html: str) -> None:
    assert outside_references(html) == []


@pytest.mark.parametrize(
    "bad",
    [
        '<link href="style.css">',
        '<script src="//cdn/x.js"></script>',
        "<style>@import 'x.css';</style>",
        "<style>a{background:url(x.png)}</style>",
        '<a href="http://example.org">x</a>',
    ],
)
def test_the_check_for_references_notices_one(bad: str) -> None:
    assert outside_references(bad)


def test_a_policy_forbids_whatever_might_slip_through(html: str) -> None:
    assert "default-src 'none'" in html.partition("</head>")[0]


@pytest.mark.parametrize("points", [1200, 6000])
def test_the_largest_report_stays_under_a_megabyte(report: dict[str, Any], points: int) -> None:
    full = stretched(report, points)
    full["series"]["missed"] = [1] * points
    full["series"]["steps"] = [(1, 2, 4)[index % 3] for index in range(points)]
    full["missed_ticks"] = [{**report["missed_ticks"][-1], "tick": index} for index in range(200)]
    decision = {"tick": 1, "from_steps": 4, "to_steps": 2, "reason": "4 steps would need 61.2 ms of 47.5 ms"}
    full["governor"] = {"name": "adaptive", "decisions": [decision] * 500}
    assert len(render_page(full).encode()) < MAX_PAGE_BYTES


# --- it says what the JSON says --------------------------------------------------------------------------------


def value_at(report: Mapping[str, Any], key: str) -> Any:
    value: Any = report
    for part in key.split("."):
        value = value[part]
    return value


def disagreements(report: Mapping[str, Any], page: Page) -> Iterator[str]:
    """Numbers on the page that are not the report's, to the last digit shown."""
    for key, text in page.keyed:
        value = value_at(report, key)
        if not isinstance(value, int | float):
            continue
        number = re.match(r"-?[\d.]+", text.replace("\u202f", "").strip())
        if number is None:
            yield f"{key}: {value} shown as {text!r}"
            continue
        scaled = value * 100 if key == "miss_rate" else value
        digits = len(number[0].partition(".")[2])
        if abs(float(number[0]) - scaled) > 0.5 * 10**-digits + 1e-9:
            yield f"{key}: {scaled} shown as {text!r}"


def test_every_number_on_the_page_is_the_reports(report: dict[str, Any], html: str) -> None:
    page = Page(html)
    assert list(disagreements(report, page)) == []
    shown_keys = {key for key, _ in page.keyed}
    assert {"miss_rate", "misses", "response_ms.p99", "fps", "low1_p99_fps", "low1_avg_fps", "steps_mean"} <= shown_keys
    assert {"ttff_ms.total", "stage_ms.decode.p99", "overhead_ms.p50", "steps_histogram.4"} <= shown_keys


def test_the_check_for_numbers_notices_a_wrong_one(report: dict[str, Any], html: str) -> None:
    wrong = {**report, "fps": report["fps"] + 1, "response_ms": {**report["response_ms"], "p99": 1.0}}
    assert len(list(disagreements(wrong, Page(html)))) == 2


def test_the_verdict_is_one_sentence_with_the_counts(report: dict[str, Any], html: str) -> None:
    assert report["misses"] == 3
    heading = re.search(r"<h1>(.*?)</h1>", html)
    assert heading is not None
    verdict = heading[1].replace("\u202f", " ")
    assert verdict.startswith("toy held its 50 ms deadline in 197 of 200 ticks (1.50 % missed) at ")
    assert verdict.endswith(" denoise steps on average.")


@pytest.mark.parametrize(
    ("ticks", "late", "expected"),
    [
        (30, {}, "held its 50 ms deadline in all 30 ticks"),
        (1, {}, "held its 50 ms deadline in its only tick"),
        (3, dict.fromkeys(range(3), 60), "missed its 50 ms deadline in every one of 3 ticks"),
        (1, {0: 60}, "missed its 50 ms deadline in its only tick"),
    ],
)
def test_short_good_and_bad_sessions_have_their_own_words(ticks: int, late: dict[int, int], expected: str) -> None:
    assert expected in Page(render_page(session_report(ticks, late))).text


def test_a_session_without_ticks_is_not_called_a_success() -> None:
    text = Page(render_page(session_report(0, {}))).text
    assert "Nothing was measured" in text
    assert "No tick was missed" not in text
    assert "held its" not in text


def test_a_fixed_clock_measures_no_time_and_the_page_says_so() -> None:
    page = Page(render_page(session_report(20, {}, clock="fixed")))
    assert "20 ticks on the fixed clock" in page.text
    assert "held its" not in page.text
    assert not {"miss_rate", "response_ms.p99", "fps", "stage_ms.decode.p50"} & {key for key, _ in page.keyed}
    assert "steps_mean" in {key for key, _ in page.keyed}
    assert page.count("svg", "chart") == 0


def test_each_missed_tick_has_its_cause_its_evidence_and_the_ticks_before(report: dict[str, Any], html: str) -> None:
    page = Page(html)
    assert page.count("details", "miss") == len(report["missed_ticks"]) == 3
    for missed in report["missed_ticks"]:
        assert f"tick {missed['tick']}" in page.text
        assert missed["evidence"] in page.text
    assert page.count("tr", "missed") == 3


def test_a_sample_of_the_misses_is_called_a_sample(report: dict[str, Any]) -> None:
    text = Page(render_page({**report, "misses": 20_000, "ticks": 40_000})).text
    assert "3 of 20 000: the first ones and a random sample of the rest" in text.replace("\u202f", " ")


def test_decisions_are_listed_with_their_reasons(report: dict[str, Any], html: str) -> None:
    decisions = report["governor"]["decisions"]
    assert decisions, "the session must have made the governor decide"
    assert all(decision["reason"] in Page(html).text for decision in decisions)


def test_all_definitions_are_quoted_and_old_reports_get_the_current_ones(report: dict[str, Any], html: str) -> None:
    assert all(text in Page(html).text for text in report["definitions"].values())
    old = {key: value for key, value in report.items() if key != "definitions"}
    assert all(text in Page(render_page(old)).text for text in DEFINITIONS.values())


def test_the_cursor_reads_stages_in_the_order_they_run(report: dict[str, Any], html: str) -> None:
    embedded = re.search(r'<script type="application/json" id="series">(.*?)</script>', html)
    assert embedded is not None
    data = json.loads(embedded[1])
    assert list(data["stages"]) == ["condition", "denoise", "decode", "present", "commit"]
    assert data["response"] == [round(value, 2) for value in report["series"]["response_ms"]]
    assert data["steps"] == report["series"]["steps"]


# --- whatever the report holds ---------------------------------------------------------------------------------


def test_text_from_the_report_is_never_markup(report: dict[str, Any], html: str) -> None:
    hostile = copy.deepcopy(report)
    hostile["world"] = HOSTILE
    hostile["governor"] = {"name": HOSTILE, "decisions": [{"tick": 1, "to_steps": 2, "reason": HOSTILE}]}
    hostile["missed_ticks"][0].update(cause=HOSTILE, evidence=HOSTILE, numbers={HOSTILE: 1.0})
    hostile["miss_causes"] = {HOSTILE: 1}
    hostile["stage_ms"][HOSTILE] = {"p50": 1.0, "p99": 1.0}
    hostile["series"]["stage_ms"][HOSTILE] = hostile["series"]["stage_ms"]["decode"]
    hostile["ttff_ms"][HOSTILE] = 1.0
    hostile["state"] = [{"name": HOSTILE, "bytes": 1, "horizon_ticks": None}]
    hostile["env"] = {HOSTILE: HOSTILE, "list": [HOSTILE], "nested": {HOSTILE: HOSTILE}}
    hostile["definitions"] = {HOSTILE: HOSTILE}
    page = Page(render_page(hostile))
    assert page.count("script") == Page(html).count("script") == 2
    assert page.count("img") == 0
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in page.text


@pytest.mark.parametrize("ticks", [1, 2, 3, 25])
@pytest.mark.parametrize("late_ms", [0, 60])
def test_short_sessions_have_all_their_plots(ticks: int, late_ms: int) -> None:
    html = render_page(session_report(ticks, dict.fromkeys(range(ticks), late_ms)))
    assert Page(html).count("svg", "chart") == 5
    assert "nan" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", html, flags=re.S).lower()


def test_values_that_were_not_measured_are_shown_as_such(report: dict[str, Any]) -> None:
    nothing = dict.fromkeys(("p50", "p95", "p99", "max"))
    empty = {**report, "input_to_present_ms": nothing, "fps": None, "low1_p99_fps": None, "jitter_ms": None}
    empty["ttff_ms"] = dict.fromkeys(report["ttff_ms"])
    empty["stage_ms"] = dict.fromkeys(report["stage_ms"], nothing)
    text = Page(render_page(empty)).text
    assert "not measured" in text
    assert "Start-up was not measured." in text
    assert "None" not in text


def test_an_old_report_is_shown_and_told_what_it_lacks(report: dict[str, Any]) -> None:
    newer = {"series", "missed_ticks", "governor", "definitions", "most_misses_in_100", "animation_error_ms"}
    old = {key: value for key, value in report.items() if key not in newer}
    page = Page(render_page(old))
    assert page.count("svg", "chart") == 0
    assert page.count("script") == 0
    assert "lacks: series (plots over time and the histogram); missed_ticks" in page.text
    assert "197 of 200 ticks" in page.text


def test_one_hiccup_does_not_flatten_the_plot_and_is_announced(report: dict[str, Any]) -> None:
    spiked = copy.deepcopy(report)
    spiked["series"]["response_ms"][100] = 4000.0
    spiked["series"]["missed"][100] = 1
    assert top_ms(4000.0, 30.0, 50.0) == 100.0
    html = render_page(spiked)
    assert "1 above the scale, up to 4000 ms" in html
    assert 'class="missed above"' in html


# --- files ---------------------------------------------------------------------------------------------------


def test_a_report_goes_from_file_to_page(report: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "report.json"
    source.write_text(json.dumps(report), encoding="utf-8")
    page = write_page(read_report(source), tmp_path / "new" / "report.html")
    assert page == tmp_path / "new" / "report.html"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{\n\n  nonsense", r"report\.json:3: expected JSON"),
        ("[1]", "expected a JSON object, got a list"),
        ('{"schema": "nextframe.audit/1"}', r"expected the schema nextframe\.report/1, got 'nextframe\.audit/1'"),
        ("{}", "got None"),
        ('{"schema": "nextframe.report/1", "world": "toy"}', "missing: tick_hz, clock, ticks"),
        ("[" * 100_000, "expected JSON"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_the_reason(text: str, expected: str, tmp_path: Path) -> None:
    source = tmp_path / "report.json"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(NextframeError, match=expected):
        read_report(source)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "report.json"
    source.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NextframeError, match="expected JSON in UTF-8"):
        read_report(source)


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NextframeError, match=r"absent\.json: .*No such file.*nextframe run"):
        read_report(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("fps", "fast", "fps: "),
        ("fps", float("nan"), "fps: .*finite"),
        ("deadline_ms", 0, "deadline_ms: "),
        ("series", {"tick": [1]}, r"missing: series\.ticks_per_point"),
    ],
)
def test_a_wrong_value_is_named(report: dict[str, Any], key: str, value: object, expected: str) -> None:
    with pytest.raises(NextframeError, match=expected):
        render_page({**report, key: value})


def test_columns_of_unequal_length_are_refused(report: dict[str, Any]) -> None:
    broken = copy.deepcopy(report)
    broken["series"]["steps"].pop()
    with pytest.raises(NextframeError, match="expected 200 points in every column, as in tick, got steps 199"):
        render_page(broken)


def test_a_page_that_cannot_be_written_is_one_clear_error(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(NextframeError, match="expected a place to write the page"):
        write_page(report, tmp_path / "file" / "report.html")


# --- the parts it is drawn with ------------------------------------------------------------------------------


def test_ticks_of_an_axis_are_round_and_inside_it() -> None:
    assert round_ticks(0, 60, 5) == [0, 20, 40, 60]
    assert round_ticks(0, 0.7, 5) == [0, 0.2, 0.4, 0.6]
    assert round_ticks(3, 4, 10, whole=True) == [3, 4]


def test_a_scale_draws_what_lies_outside_at_its_border() -> None:
    scale = Scale(0.0, 10.0, 100.0, 0.0)
    assert (scale(5.0), scale(20.0)) == (50.0, 0.0)
    assert not scale.covers(20.0)
    with pytest.raises(ValueError, match="low below high"):
        Scale(1.0, 1.0, 0.0, 1.0)


def test_a_peak_survives_when_many_points_share_a_pixel() -> None:
    x_px = [index / 100 for index in range(1000)]
    values = [1.0] * 1000
    values[567] = 99.0
    assert (5.67, 99.0) in envelope(x_px, values)
    assert len(envelope(x_px, values)) < 50


def test_bins_meet_at_the_deadline_and_count_every_tick() -> None:
    response_ms = [10.0, 49.999, 50.0, 50.001, 900.0]
    bins = response_bins(response_ms, 50.0)
    assert sum(bins.counts) + bins.above == len(response_ms)
    before = round(50.0 / bins.width_ms)
    assert before * bins.width_ms == pytest.approx(50.0)
    assert sum(bins.counts[:before]) == 3, "a picture exactly at the deadline is in time"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.0031, "0.0031"), (0.57, "0.57"), (50.0, "50"), (50.22, "50.2"), (1043.4, "1043")],
)
def test_numbers_have_three_digits_or_so_and_are_never_rounded_to_nothing(value: float | None, text: str) -> None:
    assert shown(value) == text


def test_a_small_share_does_not_read_as_none_nor_a_large_one_as_all() -> None:
    assert percent(1 / 72_000).startswith("0.0014")
    assert percent(0).startswith("0")
    assert not percent(0.99999).startswith("100")
    assert byte_size(589_824) == "576\u202fKiB"


# --- in a browser --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("width_px", [1280, 420])
def test_a_browser_runs_the_page_without_complaint_and_the_cursor_reads_out_a_tick(
    report: dict[str, Any], tmp_path: Path, width_px: int
) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_file = browser_path()
    if browser_file is None:
        pytest.skip("no Chromium or Chrome on the path")
    path = write_page(report, tmp_path / "report.html")
    complaints: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width_px, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if "report.html" not in request.url else None)
        page.goto(path.as_uri())
        plot = page.locator("svg.time:visible").first
        plot.hover()
        readout = page.locator("#readout").inner_text()
        overflow_px = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()
    assert re.search(r"tick \d+", readout)
    assert "response" in readout
    assert overflow_px == 0
    assert complaints == []
