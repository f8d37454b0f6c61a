"""Claims about the programs that measure stages: what they choose, what they leave out, what they sum up."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextframe.model.stages.layout import parse_layout
from nextframe.tools.lab.stages.bench import REST_S, front_alone, layouts_for, stage_costs
from nextframe.tools.lab.stages.faults import LAYOUT, measure, summary
from tests.support.worlds.staged import TWO, run_ticks, store_weights, supervised_world

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


def test_every_part_of_a_tick_over_two_processes_has_a_cost(tmp_path: Path) -> None:
    with supervised_world(store_weights(tmp_path), TWO) as (world, _):
        world.reset(0)
        run_ticks(world, 0, 3)
        costs = stage_costs(world.inner, steps=4)
    assert len(costs["layers"]) == len(costs["commit_layers"]) == 2
    parts = [*costs["layers"], *costs["commit_layers"], costs["condition"], costs["decode"], costs["commit"]]
    assert all(part > 0 for part in parts), costs
    assert costs["step"] >= 0


def test_the_front_alone_says_where_its_time_went_and_is_as_before_afterwards(tmp_path: Path) -> None:
    with supervised_world(store_weights(tmp_path), TWO) as (world, generator):
        world.reset(0)
        before = run_ticks(world, 0, 3)
        with front_alone(generator) as spent:
            run_ticks(world, 3, 5)
        assert all(spent[name] > 0 for name in ("layers", "commit_layers", "decode"))
        assert spent["rest"] >= 2 * 1e3 * REST_S, "every pass waits"
        world.reset(0)
        assert run_ticks(world, 0, 3) == before


@pytest.mark.slow
def test_faults_of_the_shipped_world_are_survived_and_measured() -> None:
    rows = measure(2, LAYOUT, at_once=False)
    assert [row["signal"] for row in rows] == ["SIGKILL", "SIGSTOP"]
    assert all(row["noticed_ms"] > 0 for row in rows)
    assert all(0 <= row["ticks_again"] <= 20 for row in rows)
