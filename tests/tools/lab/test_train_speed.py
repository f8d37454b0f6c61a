"""The table of training speed: which lines it has, that every line is timed, and what its shares are of."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nextframe.runtime.core import NextframeError
from nextframe.tools.lab.train.speed_table import VARIANTS, WHOLE, main, table, variants_for


def row(key: str, frames_per_s: float, share: float) -> dict[str, object]:
    return {
        "key": key, "title": VARIANTS[key].title, "frames_per_s": frames_per_s, "flop_per_frame": 2e9, "share": share,
        "of_whole": frames_per_s / 100, "least": 0.4, "most": 0.6, "matrix_flops": 4e11,
    }  # fmt: skip


def test_every_line_but_the_last_undoes_one_thing() -> None:
    for key, variant in VARIANTS.items():
        undone = [name for name in ("compiled", "bfloat16", "malloc", "attention", "patches", "batch")
                  if getattr(variant, name) != getattr(WHOLE, name)]  # fmt: skip
        assert len(undone) == {"whole": 0, "none": 5}.get(key, 1)


def test_a_gpu_has_no_line_for_what_it_never_had() -> None:
    keys = [variant.key for variant in variants_for("cuda", list(VARIANTS))]
    assert keys == ["whole", "compile", "bfloat16", "attention", "half", "double", "none"]
    assert [variant.key for variant in variants_for("cpu", list(VARIANTS))] == list(VARIANTS)


def test_the_recipe_is_always_timed_because_the_ratios_are_of_it() -> None:
    assert variants_for("cpu", ["none"])[0] is WHOLE


def test_an_unknown_line_is_refused_by_name() -> None:
    with pytest.raises(NextframeError, match="--only fast: expected some of whole, compile"):
        variants_for("cpu", ["fast"])


@pytest.mark.parametrize("options", [["--threads", "2"], ["--device", "cuda"]])
def test_own_time_is_refused_where_it_would_miss_other_threads_work(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["speed_table", "--own-time", *options])
    with pytest.raises(NextframeError, match="--own-time: expected --threads 1 and --device cpu"):
        main()


def test_the_table_has_the_spread_of_each_ratio_and_none_for_the_recipe() -> None:
    lines = table([row("whole", 100.0, 0.5), row("compile", 50.0, 0.25)]).splitlines()
    assert lines[2] == "| the recipe | 100 | 1.00 | 2.00 | 50 % |"
    assert lines[3] == "| without torch.compile | 50 | 0.50 (0.40 to 0.60) | 2.00 | 25 % |"
    assert lines[-1] == "matrix rate: 400 GFLOP/s in bfloat16"


def test_two_lines_are_really_timed_side_by_side() -> None:
    call = [sys.executable, "-m", "nextframe.tools.lab.train.speed_table", "--budget", "20s", "--only", "double",
            "--rounds", "2", "--seconds", "0.05", "--eager", "--own-time"]  # fmt: skip
    done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [found["key"] for found in rows] == ["whole", "double"]
    assert all(found["frames_per_s"] > 0 and 0 < found["share"] < 10 for found in rows)
    assert rows[0]["of_whole"] == 1
    assert rows[0]["flop_per_frame"] == pytest.approx(rows[1]["flop_per_frame"]), "the same work a frame"


def test_a_line_whose_process_fails_is_named() -> None:
    call = [sys.executable, "-m", "nextframe.tools.lab.train.speed_table", "--budget", "20s", "--device", "toaster",
            "--only", "whole", "--rounds", "1"]  # fmt: skip
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert "--device toaster" in done.stderr
    assert "the process of 'the recipe' ended" in done.stderr
