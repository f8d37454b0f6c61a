"""Claims about the Prometheus endpoint, read over HTTP as a server would."""

from __future__ import annotations

import importlib
import socket
import urllib.request
from collections.abc import Iterator, Mapping

import pytest

from nextframe.runtime.observe import prometheus
from nextframe.runtime.observe.prometheus import MetricsError, PrometheusMetrics
from nextframe.runtime.tick.record import TickRecord
from tests.support.doubles import MS, PERIOD_NS, KnownStops, Session

pytest.importorskip("prometheus_client", reason="needs the extra: pip install 'nextframe[metrics]'")

EASY: Mapping[str, int] = {"condition": MS, "denoise": 5 * MS, "decode": 2 * MS, "commit": 3 * MS}


@pytest.fixture
def session() -> Session:
    """Ten ticks: number 4 misses by 51 ms, number 7 meets a clock that jumped."""

    def costs(tick: int) -> Mapping[str, int]:
        return {**EASY, "decode": {4: 90, 7: 400}.get(tick, 2) * MS}

    return Session(costs, probe=KnownStops((350 * MS, 900 * MS)))


@pytest.fixture
def metrics(session: Session) -> Iterator[PrometheusMetrics]:
    served = PrometheusMetrics(
        0,
        "toy",
        deadline_ns=PERIOD_NS,
        controls=session.controls,
        causes=("decode", "gc"),
        cause_of=lambda record: "decode" if record.missed else None,
    )
    session.observer.observe = served.observe  # type: ignore[method-assign]
    yield served
    served.close()


def scraped(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def test_counters_count_what_the_loop_did(session: Session, metrics: PrometheusMetrics) -> None:
    seen: list[TickRecord] = []

    def observe(record: TickRecord) -> None:
        seen.append(record)
        metrics.observe(record)

    session.observer.observe = observe  # type: ignore[method-assign]
    session.controls.request_reset(3)
    session.loop.run(10)
    values = scraped(metrics.url)
    assert values["nextframe_ticks_total"] == 10
    assert values["nextframe_clock_gaps_total"] == 1
    assert values["nextframe_resets_total"] == 1
    assert values["nextframe_lost_slots_total"] == sum(record.lost_slots for record in seen) == 1
    assert values["nextframe_held_frames_total"] == sum(record.held_frames for record in seen) == 2


def test_misses_are_counted_by_cause_and_causes_not_seen_yet_are_zero(
    session: Session, metrics: PrometheusMetrics
) -> None:
    session.loop.run(10)
    values = scraped(metrics.url)
    assert values['nextframe_misses_total{cause="decode"}'] == 1
    assert values['nextframe_misses_total{cause="gc"}'] == 0
    assert values['nextframe_misses_total{cause="unknown"}'] == 0


def test_a_miss_without_a_cause_is_unknown(session: Session) -> None:
    served = PrometheusMetrics(0, "toy")
    session.observer.observe = served.observe  # type: ignore[method-assign]
    try:
        session.loop.run(10)
        assert scraped(served.url)['nextframe_misses_total{cause="unknown"}'] == 1
    finally:
        served.close()


def test_gauges_show_the_last_tick(session: Session, metrics: PrometheusMetrics) -> None:
    session.loop.run(10)
    values = scraped(metrics.url)
    assert values["nextframe_rung_steps"] == 2
    assert values["nextframe_slack_seconds"] == pytest.approx(0.037)


def test_the_deadline_is_a_bucket_so_that_the_share_in_time_can_be_read_off(
    session: Session, metrics: PrometheusMetrics
) -> None:
    session.loop.run(10)
    values = scraped(metrics.url)
    assert values['nextframe_response_seconds_bucket{le="0.05"}'] == 8
    assert values["nextframe_response_seconds_count"] == 9, "the clock gap says nothing of a tick"


def test_stages_have_histograms_in_seconds(session: Session, metrics: PrometheusMetrics) -> None:
    session.loop.run(2)
    values = scraped(metrics.url)
    assert values['nextframe_stage_seconds_sum{stage="denoise"}'] == pytest.approx(0.020)
    assert values['nextframe_stage_seconds_count{stage="commit"}'] == 2


def test_numbers_move_while_the_session_runs(session: Session, metrics: PrometheusMetrics) -> None:
    session.loop.run(1)
    before = scraped(metrics.url)["nextframe_ticks_total"]
    session.loop.run(2)
    assert (before, scraped(metrics.url)["nextframe_ticks_total"]) == (1, 3)


def test_the_registry_is_its_own(metrics: PrometheusMetrics) -> None:
    other = PrometheusMetrics(0, "circuit")
    try:
        assert 'nextframe_session_info{world="toy"}' in scraped(metrics.url)
        assert 'nextframe_session_info{world="circuit"}' in scraped(other.url)
        assert not [name for name in scraped(metrics.url) if name.startswith(("python_", "process_"))]
    finally:
        other.close()


def test_only_this_machine_is_served(metrics: PrometheusMetrics) -> None:
    assert metrics.url.startswith("http://127.0.0.1:")
    assert metrics._server.server_address[0] == "127.0.0.1"


def test_a_busy_port_is_one_clear_line(metrics: PrometheusMetrics) -> None:
    with pytest.raises(MetricsError, match=rf"port {metrics.port} on 127.0.0.1 .*choose another, or 0"):
        PrometheusMetrics(metrics.port, "toy")


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_cannot_exist_is_one_clear_line(port: int) -> None:
    with pytest.raises(MetricsError, match="choose another"):
        PrometheusMetrics(port, "toy")


def test_a_closed_endpoint_frees_its_port() -> None:
    served = PrometheusMetrics(0, "toy")
    served.close()
    served.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", served.port)) != 0


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MetricsError, match=r"pip install 'nextframe\[metrics\]'"):
        prometheus.PrometheusMetrics(0, "toy")
