"""Claims about the programs that measure stages: what they choose, what they leave out, what they sum up."""

from __future__ import annotations

import pytest

from model.stage_layout import parse_layout
from tools.stages.bench import layouts_for
from tools.stages.faults import LAYOUT, measure, summary

CIRCUIT_LAYERS = 6


def test_without_a_gpu_one_to_three_processes_are_measured() -> None:
    choices, left_out = layouts_for("cpu", 0)
    assert [choice.processes for choice in choices] == [1, 2, 3]
    assert not left_out


def test_with_one_gpu_nccl_is_left_out_and_said_so() -> None:
    choices, left_out = layouts_for("cuda", 1)
    layouts = [parse_layout(choice.text, CIRCUIT_LAYERS) for choice in choices]
    assert {device for layout in layouts for device in layout.devices} == {"cuda:0", "cpu:0"}
    assert [one["skipped"] for one in left_out] == ["NCCL needs a GPU for each process, here are 1"]


def test_with_two_gpus_nccl_is_measured() -> None:
    choices, left_out = layouts_for("cuda", 2)
    assert parse_layout(choices[-1].text, CIRCUIT_LAYERS).devices == ("cuda:0", "cuda:1")
    assert not left_out


def test_a_summary_has_the_median_and_the_worst_of_each_signal() -> None:
    rows = [{"signal": "SIGKILL", "noticed_ms": ms, "held_ms": 10 * ms} for ms in (3.0, 1.0, 2.0)]
    row = {"noticed_ms_p50": 2.0, "noticed_ms_max": 3.0, "held_ms_p50": 20.0, "held_ms_max": 30.0, "rounds": 3}
    assert summary(rows) == {"SIGKILL": row}


@pytest.mark.slow
def test_faults_of_the_shipped_world_are_survived_and_measured() -> None:
    rows = measure(2, LAYOUT, at_once=False)
    assert [row["signal"] for row in rows] == ["SIGKILL", "SIGSTOP"]
    assert all(row["noticed_ms"] > 0 for row in rows)
    assert all(0 <= row["ticks_again"] <= 20 for row in rows)
