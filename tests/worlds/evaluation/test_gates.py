"""Gates: met on their own side only, neither met nor missed without a number; and the report with its film."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from nextframe.worlds.evaluation.gates import FILM_COLUMNS, judged, print_gates, write_report


@pytest.mark.parametrize(
    ("value", "sign", "met"),
    [
        (1.0, "<=", True), (1.01, "<=", False), (1.0, ">=", True), (0.99, ">=", False), (None, ">=", None),
        (float("nan"), "<=", False), (float("nan"), ">=", False),
    ],
)  # fmt: skip
def test_a_gate_is_met_on_its_own_side_only(value: float | None, sign: str, met: bool | None) -> None:
    assert judged(value, sign, 1.0)["met"] is met
    assert judged(value, sign, 1.0)["bound"] == f"{sign} 1"


def test_the_table_says_which_are_missed_and_which_not_measured() -> None:
    console = Console(width=80, record=True, file=StringIO())
    gates = {"so_sharp": judged(2.0, "<=", 1.0), "so_long": judged(None, ">=", 1.0), "so_quick": judged(2.0, ">=", 1.0)}
    print_gates("a world", gates, console)
    lines = {line.split("│")[1].strip(): line for line in console.export_text().splitlines() if line.count("│") > 2}
    assert "NO" in lines["so sharp"]
    assert "not measured" in lines["so long"]
    assert "yes" in lines["so quick"]


@pytest.mark.parametrize(("pictures", "rows"), [(5, 0), (FILM_COLUMNS, 1), (2 * FILM_COLUMNS + 1, 2)])
def test_a_film_is_whole_rows_beside_the_report(pictures: int, rows: int, tmp_path: Path) -> None:
    film = [np.full((4, 6, 3), k, np.uint8) for k in range(pictures)]
    write_report(tmp_path / "new" / "eval.json", {"met": True}, film)
    assert json.loads((tmp_path / "new" / "eval.json").read_text()) == {"met": True}
    shown = tmp_path / "new" / "eval.png"
    assert shown.exists() == (rows > 0)
    if rows:
        with av.open(str(shown)) as container:
            (picture,) = container.decode(video=0)
        assert picture.to_ndarray(format="rgb24").shape == (4 * rows, 6 * FILM_COLUMNS, 3)
