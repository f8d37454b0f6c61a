"""Tables of actions as people keep them: CSV by hand, by pandas, by a spreadsheet in any country.

A head line `video,frame,NAME,...`, then a row for each frame: the action that led *into* that frame of that video. A
column of only 0 and 1 is a button, any other an axis from -1 to 1.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import AXIS_LEVELS, ActionSpace, NextframeError, quantise_axis
from .controls import Controls, unique_names

SEPARATORS = (",", ";", "\t", "|")
INDEX_HEADS = re.compile(r"|index|level_\d+|unnamed: ?\d+|#|nr\.?|no\.?", re.IGNORECASE)
"""What stands over the column of row numbers that pandas and spreadsheets put first."""
WORDS = {
    **dict.fromkeys(("true", "yes", "on", "wahr", "ja", "vrai", "oui", "verdadero", "sí", "si", "vero"), 1.0),
    **dict.fromkeys(("false", "no", "off", "falsch", "nein", "faux", "non", "falso"), 0.0),
}
GROUPED = re.compile(r"\d{1,3}([.,]\d{3})+")
"""One, or a thousand? Countries differ."""
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class ActionTable:
    """`rows`: video name -> frame number -> values, in the order of `names` (axes, then buttons). `lines`: the line of
    each row in the file. `notes`: what the user should be told of the table, though it is read."""

    controls: Controls
    rows: dict[str, dict[int, NDArray[np.float32]]]
    path: Path = Path("actions.csv")
    lines: dict[str, dict[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_actions(path: Path) -> ActionTable:
    """Raises `NextframeError` with file and line."""
    lines = _cells(path)
    head_at, head, index_columns = _head(path, lines)
    keys: list[tuple[str, int]] = []
    values: list[list[float]] = []
    numbers: list[int] = []
    for number, line in lines[head_at + 1 :]:
        cells = [cell.strip() for cell in line[index_columns:]]
        if not any(cells):
            continue
        while len(cells) > len(head) and not cells[-1]:
            cells.pop()
        keys.append(_key(path, number, cells))
        values.append(_values(path, number, cells[2:], len(head) - 2))
        numbers.append(number)
    if not values:
        raise NextframeError(f"{path}: expected a line for each frame, got only the head")
    where = _lines_of(path, keys, numbers)
    return _table(path, head[2:], keys, np.array(values), where)


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """Every line of the file as its cells, with its number, the separator being whichever its head has."""
    try:
        text = _text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        said = re.fullmatch(r'"?sep=(.)"?', lines[0].strip()) if lines else None  # how Excel is told
        head = next((line for line in lines[1 if said else 0 :] if line.strip()), "")
        separator = said[1] if said else max(SEPARATORS, key=lambda mark: (len(head.split(mark)), mark == ","))
        reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
        return [(reader.line_num, cells) for cells in reader if not (said and reader.line_num == 1)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NextframeError(f"{path}: expected a table of actions as CSV: {error}") from error


def _text(data: bytes) -> str:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    for at, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without its mark: every other byte of a head is 0
        if len(data) >= 8 and not any(data[at:16:2]) and all(data[1 - at : 16 : 2]):
            return data.decode(encoding)
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise csv.Error("this is a spreadsheet's own file; save it as CSV")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _head(path: Path, lines: list[tuple[int, list[str]]]) -> tuple[int, list[str], int]:
    """Where the head line is, its names, and how many columns of row numbers stand before them."""
    at = next((at for at, (_, cells) in enumerate(lines) if any(cell.strip() for cell in cells)), None)
    head = [" ".join(cell.split()) for cell in lines[at][1]] if at is not None else []
    while head and not head[-1]:
        head.pop()
    skipped = next((n for n, name in enumerate(head) if not INDEX_HEADS.fullmatch(name)), len(head))
    names = head[skipped:]
    if at is None or len(names) < 3 or [name.lower() for name in names[:2]] != ["video", "frame"]:
        number = lines[at][0] if at is not None else 1
        raise NextframeError(
            f"{path}:{number}: expected a head line such as video,frame,left,right, got {','.join(head)!r}"
        )
    return at, names, skipped


def _key(path: Path, number: int, cells: Sequence[str]) -> tuple[str, int]:
    if len(cells) < 2 or not cells[0]:
        raise NextframeError(f"{path}:{number}: expected video, frame and numbers, got {','.join(cells)!r}")
    if GROUPED.fullmatch(cells[1]):
        raise NextframeError(
            f"{path}:{number}: expected a frame number without separators, got {cells[1]}: one, or a thousand?"
        )
    try:
        frame = _number(cells[1])
    except ValueError:
        raise NextframeError(f"{path}:{number}: expected video, frame and numbers, got frame {cells[1]!r}") from None
    if not (frame.is_integer() and frame >= 0):
        raise NextframeError(f"{path}:{number}: expected a frame number from 0 on, got {cells[1]}")
    return cells[0], int(frame)


def _values(path: Path, number: int, cells: Sequence[str], count: int) -> list[float]:
    try:
        values = [WORDS[cell.lower()] if cell.lower() in WORDS else _number(cell) for cell in cells]
    except ValueError as error:
        raise NextframeError(f"{path}:{number}: expected video, frame and numbers: {error}") from error
    if len(values) != count or not all(-1 <= value <= 1 for value in values):
        raise NextframeError(f"{path}:{number}: expected {count} values in -1..1, got {','.join(cells)}")
    return values


def _number(cell: str) -> float:
    """A decimal comma is one where nothing else could be meant: in a cell of its own."""
    plain = cell.replace("−", "-")
    return float(plain.replace(",", ".") if plain.count(",") == 1 and "." not in plain else plain)


def _lines_of(path: Path, keys: Sequence[tuple[str, int]], numbers: Sequence[int]) -> dict[str, dict[int, int]]:
    """The line of each row. A frame with two rows is refused: which of them is true, the table does not say."""
    where: dict[str, dict[int, int]] = {}
    for (video, frame), number in zip(keys, numbers, strict=True):
        first = where.setdefault(video, {}).setdefault(frame, number)
        if first != number:
            doubled = len(keys) - len(set(keys))
            raise NextframeError(
                f"{path}:{number}: expected one row for each frame, got a second for frame {frame} of {video}, which "
                f"line {first} has already ({doubled} rows in all); remove one of each"
            )
    return where


def _table(
    path: Path, names: list[str], keys: list[tuple[str, int]], values: NDArray[Any], where: dict[str, dict[int, int]]
) -> ActionTable:
    clean = unique_names(names)
    button = [bool(np.isin(column, (0.0, 1.0)).all()) for column in values.T]
    axes = [at for at, pressed in enumerate(button) if not pressed]
    order = [*axes, *(at for at, pressed in enumerate(button) if pressed)]
    space = ActionSpace(tuple(clean[at] for at in order[len(axes) :]), tuple(clean[at] for at in axes))
    rows: dict[str, dict[int, NDArray[np.float32]]] = {}
    for (video, frame), value in zip(keys, values, strict=True):
        levels = [quantise_axis(float(value[at])) / AXIS_LEVELS for at in axes]
        picked = [float(value[at]) for at in order[len(axes) :]]
        rows.setdefault(video, {})[frame] = np.array([*levels, *picked], np.float32)
    return ActionTable(Controls("recorded", space), rows, path, where, _notes(path, where))


def _notes(path: Path, where: dict[str, dict[int, int]]) -> tuple[str, ...]:
    """Rows out of order, and frames between rows that have none: read as they stand, and said."""
    notes = []
    for video, lines in where.items():
        frames = list(lines)
        back = next((b for a, b in pairwise(frames) if b < a), None)
        if back is not None:
            notes.append(f"{path}:{lines[back]}: rows of {video} are out of order (frame {back}); they are sorted")
        ordered = sorted(frames)
        gaps = [(a + 1, b - 1) for a, b in pairwise(ordered) if b > a + 1]
        if gaps:
            shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:4])
            more = f" and {len(gaps) - 4} more" if len(gaps) > 4 else ""
            notes.append(f"{path}: {video} has no rows for frames {shown}{more}; an episode ends before each")
    return tuple(notes)
