"""What the heads-up display says, as data: a window paints it, a browser could.

`HudModel` holds the session's numbers as they were measured; `hud_of` makes of them the `Hud`: every text, already
worded and rounded, and which parts are on. Needs no font, no window and no GL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FRAME_HISTORY = 120
ARROWS = ("left", "right", "up", "down")
PUNCTUATION = {
    "period": ".", "comma": ",", "slash": "/", "minus": "-", "equals": "=", "left_bracket": "[", "right_bracket": "]",
    "semicolon": ";", "quote": "'", "backquote": "`", "backslash": "\\", "iso_backslash": "<", "plus": "+",
    "asterisk": "*", "less": "<", "greater": ">", "hash": "#",
}  # fmt: skip


@dataclass(frozen=True)
class HudModel:
    """Everything the HUD is made of. Times in ms; `None` is shown as a dash, `deadline_ms` None means no deadline.

    `rung`: denoise steps of the last tick, an entry of `ladder`. `reason`: why the governor chose it. `frame_ms`: the
    last frame times, oldest first (at most 120 are drawn). `pressed`: control or action names. `text_being_typed`:
    the prompt line, None when closed. `help_lines`: "control<TAB>meaning", or a plain line as a heading.
    """

    fps: float | None = None
    response_p50_ms: float | None = None
    response_p99_ms: float | None = None
    deadline_ms: float | None = None
    rung: int = 0
    ladder: tuple[int, ...] = ()
    reason: str = ""
    misses: int = 0
    held_frames: int = 0
    input_to_present_ms: float | None = None
    frame_ms: tuple[float, ...] = ()
    pressed: tuple[str, ...] = ()
    prompt: str = ""
    paused: bool = False
    recording: bool = False
    message: str = ""
    world: str = ""
    tick: int = 0
    text_being_typed: str | None = None
    show_help: bool = False
    help_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyCap:
    """A key to be drawn: its `label`, or the `arrow` on it ("left", "right", "up", "down") in the label's place."""

    label: str = ""
    arrow: str = ""


@dataclass(frozen=True)
class HelpLine:
    """`key`: what to press, None for a heading. `text`: what it does."""

    key: KeyCap | None
    text: str


@dataclass(frozen=True)
class Graph:
    """Frame times in ms, oldest first, at most `FRAME_HISTORY`. The top of the graph is `top_ms`."""

    frame_ms: tuple[float, ...]
    deadline_ms: float | None
    top_ms: float

    def late(self, frame_ms: float) -> bool:
        return self.deadline_ms is not None and frame_ms > self.deadline_ms


@dataclass(frozen=True)
class Stats:
    """The numbers, worded. `pips`: one for each rung of the ladder, whether it is in use. `warn`: ticks were missed."""

    fps: str
    response: str
    deadline: str
    pips: tuple[bool, ...]
    steps: str
    why: str
    misses: str
    warn: bool
    held: str
    input_to_screen: str
    graph: Graph


@dataclass(frozen=True)
class Hud:
    """What is on the screen over the frame. An empty text, an empty tuple, None and False are not drawn.

    `typed`: the prompt line so far. `help`: the controls, None while they are not asked for.
    """

    stats: Stats | None = None
    title: str = ""
    prompt: str = ""
    keys: tuple[KeyCap, ...] = ()
    recording: bool = False
    paused: bool = False
    typed: str | None = None
    message: str = ""
    help: tuple[HelpLine, ...] | None = None


def hud_of(model: HudModel, *, show_stats: bool = True) -> Hud:
    """`show_stats=False` leaves only what a player must always see: recording, pause, prompt line, message, help."""
    playing = show_stats and not model.show_help
    named = playing and bool(model.world or model.prompt)
    return Hud(
        stats=_stats(model) if playing else None,
        title=f"{model.world}   tick {model.tick:,}" if named else "",
        prompt=model.prompt if named else "",
        keys=tuple(key_cap(control) for control in model.pressed) if playing else (),
        recording=model.recording,
        paused=model.paused and not model.show_help,
        typed=model.text_being_typed,
        message="" if model.show_help or model.text_being_typed is not None else model.message,
        help=tuple(help_line(line) for line in model.help_lines) if model.show_help else None,
    )


def _stats(model: HudModel) -> Stats:
    times, deadline_ms = model.frame_ms[-FRAME_HISTORY:], model.deadline_ms
    steps = steps_in_words(model.rung) if model.ladder else ""
    return Stats(
        fps=number(model.fps, 1),
        response=f"p50 {number(model.response_p50_ms)}   p99 {number(model.response_p99_ms)} ms",
        deadline="no deadline" if deadline_ms is None else f"deadline {number(deadline_ms)} ms",
        pips=tuple(rung <= model.rung for rung in model.ladder),
        steps=steps,
        why=model.reason.removeprefix(steps_in_words(model.rung)).lstrip(" ,"),  # which stands there already
        misses=str(model.misses),
        warn=model.misses > 0,
        held=str(model.held_frames),
        input_to_screen=f"{number(model.input_to_present_ms)} ms",
        graph=Graph(times, deadline_ms, 2 * deadline_ms if deadline_ms else max(1.0, *times, 1.0) * 1.25),
    )


def steps_in_words(steps: int) -> str:
    return f"{steps} step" if steps == 1 else f"{steps} steps"


def number(value: float | None, digits: int = 0) -> str:
    """A measured number, or a dash where there is none yet."""
    return "–" if value is None else f"{value:.{digits}f}"


def key_label(control: str) -> str:
    """What is written on the key: "key:left_shift" -> "Left Shift", "pad:a" -> "Pad A", "key:left" -> "left".
    Moving the mouse is "Mouse"."""
    device, _, name = control.rpartition(":")
    if device == "mouse" and name in {"dx", "dy"}:
        return "Mouse"
    words = name.replace("_", " ")
    if device not in ("pad", "mouse") and words in ARROWS:
        return words
    return {"pad": "Pad ", "mouse": "Mouse "}.get(device, "") + PUNCTUATION.get(name, capital(words))


def capital(words: str) -> str:
    """As on a key: `left shift` is `Left Shift`, `я` is `Я`; a letter without one capital, as `ß`, stays."""
    return words if len(words) == 1 and len(words.upper()) > 1 else words.title()


def key_cap(control: str) -> KeyCap:
    """The key of a control or action name, as it is drawn."""
    label = key_label(control)
    return KeyCap(arrow=label.lower()) if label.lower() in ARROWS else KeyCap(label)


def help_line(line: str) -> HelpLine:
    """Of "control<TAB>meaning", or a plain line as a heading."""
    control, meaning = split_help(line)
    return HelpLine(key_cap(control) if control else None, meaning)


def split_help(line: str) -> tuple[str, str]:
    """A help line's control and meaning; the control is "" in a heading."""
    control, tab, meaning = line.partition("\t")
    return (control, meaning) if tab else ("", line)


def help_columns(lines: Sequence[HelpLine], max_rows: int) -> list[tuple[HelpLine, ...]]:
    """Help lines in columns of at most `max_rows`, about two, broken before headings where possible."""
    max_rows = max(2, max_rows)
    sections: list[list[HelpLine]] = []
    for line in lines:
        if not sections or line.key is None or len(sections[-1]) == max_rows:
            sections.append([])
        sections[-1].append(line)
    rows = min(max_rows, max([-(-len(lines) // 2), *map(len, sections)]))
    columns: list[tuple[HelpLine, ...]] = []
    for section in sections:
        if columns and len(columns[-1]) + len(section) <= rows:
            columns[-1] += tuple(section)
        else:
            columns.append(tuple(section))
    return columns
