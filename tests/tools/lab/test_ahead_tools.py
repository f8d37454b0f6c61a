"""Claims about what measures guesses: counts that can be checked by hand, and pipelines whose times can be."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from nextframe.runtime.core import Action
from nextframe.tools.lab.ahead import bench
from nextframe.tools.lab.ahead.accuracy import accuracy_of
from nextframe.tools.lab.ahead.pipeline import WAYS, Pipeline, Stages, drive
from nextframe.worlds.toy.world import ToyWorld

MS = 1_000_000
LEFT, RIGHT = Action(axes={"steer": -100}), Action(axes={"steer": 100})
FOUR = Pipeline("four", (10 * MS,) * 4, rollback_ns=2 * MS)
DECODED = Pipeline("decoder apart", (30 * MS, 10 * MS))
REMEMBERED = Pipeline("finished frames only", (15 * MS, 15 * MS, 10 * MS), open_after=1)


def test_the_guess_is_right_where_nothing_changes() -> None:
    row = accuracy_of("by hand", [LEFT, LEFT, RIGHT, RIGHT, RIGHT])
    assert row.right == 0.75
    assert row.held_ticks == 2.5
    assert row.ahead_right[2] == pytest.approx(1 / 3)


def test_a_prompt_is_never_guessed_and_does_not_linger() -> None:
    said = Action(LEFT.buttons, LEFT.axes, prompt="night")
    assert accuracy_of("prompt", [LEFT, said, LEFT, LEFT]).right == pytest.approx(2 / 3)


@pytest.mark.parametrize(("layout", "depth", "rate_ms"), [(FOUR, 4, 10), (DECODED, 2, 30), (REMEMBERED, 2, 30)])
def test_a_full_pipeline_shows_a_picture_per_slowest_stage_or_loop(layout: Pipeline, depth: int, rate_ms: int) -> None:
    assert layout.depth == depth
    stages = Stages(layout)
    ready = [stages.enter(0) for _ in range(20)]
    assert {after - before for before, after in pairwise(ready)} == {rate_ms * MS}


@pytest.mark.parametrize("layout", [FOUR, DECODED, REMEMBERED])
def test_held_input_runs_at_the_rate_of_the_pipeline_with_no_stale_picture(layout: Pipeline) -> None:
    rows = {way: drive(layout, way, [LEFT] * 300, ToyWorld)[0] for way in WAYS}
    whole_ms = sum(layout.stage_ns) / MS
    assert rows["serial"].fps == pytest.approx(1000 / whole_ms)
    assert rows["serial"].response_mean_ms == rows["queued"].response_mean_ms == whole_ms
    assert rows["ahead"].fps == pytest.approx(rows["queued"].fps, rel=0.02)
    assert rows["ahead"].response_p95_ms == 0
    assert (rows["serial"].stale_frames, rows["queued"].stale_frames, rows["ahead"].stale_frames) == (
        0, layout.depth - 1, 0,
    )  # fmt: skip


def test_a_wrong_guess_costs_a_whole_tick_and_the_rollback() -> None:
    held, turned = [LEFT] * 40, [LEFT] * 20 + [RIGHT] * 20
    spans = [1 / drive(FOUR, "ahead", actions, ToyWorld)[0].fps for actions in (held, turned)]
    assert (spans[1] - spans[0]) * 39 * 1000 == pytest.approx(40 + 2)


def test_running_ahead_shows_the_states_of_the_serial_way() -> None:
    rng = np.random.default_rng(3)
    actions = [(LEFT, RIGHT)[int(choice)] for choice in rng.integers(2, size=60).repeat(3)]
    checksums = [drive(FOUR, way, actions, ToyWorld)[1] for way in WAYS]
    assert checksums[0] == checksums[1] == checksums[2]


@pytest.mark.parametrize("layout", [FOUR, DECODED])
def test_above_the_break_even_it_pays_and_below_it_does_not(layout: Pipeline) -> None:
    rng = np.random.default_rng(5)
    for right, pays in ((layout.break_even + 0.1, True), (layout.break_even - 0.1, False)):
        steer = np.cumsum(rng.random(400) > right) % 100
        actions = [Action(axes={"steer": int(level) + 1}) for level in steer]
        fps = {way: drive(layout, way, actions, ToyWorld)[0].fps for way in ("serial", "ahead")}
        assert (fps["ahead"] > fps["serial"]) is pays


def test_the_bench_prints_tables_and_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--quick", "--parts", "accuracy"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["schema"] == "nextframe.ahead/1"
    assert {row["name"] for row in document["accuracy"]} >= {"driver, keyboard", "driver, pad", "bot, wander"}


@pytest.mark.parametrize("arguments", [["--parts", "nothing"], ["--block-ticks", "5"], ["--parts", ""]])
def test_the_bench_refuses_what_it_cannot_measure_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
