"""Claims about the HUD: what is always visible, that warnings have a shape, and that no size or value breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nextframe.runtime.display.hud import (
    HudModel,
    help_columns,
    help_line,
    hud_of,
    key_label,
    number,
    split_help,
)
from nextframe.runtime.display.painter import GOOD, RECORD, WARN, HudPainter

SIZE_PX = (1024, 768)
PLAYING = HudModel(
    fps=19.97,
    response_p50_ms=31.4,
    response_p99_ms=44.2,
    deadline_ms=50.0,
    rung=4,
    ladder=(1, 2, 4, 8),
    reason="fits",
    held_frames=1,
    input_to_present_ms=62.0,
    frame_ms=(33.0,) * 120,
    pressed=("key:w", "key:left"),
    prompt="rainy night",
    world="circuit",
    tick=1234,
)
HELP = ("Driving", "key:up\taccelerate", "key:left\tsteer left", "Session", "key:p\tpause", "key:escape\tquit")


class Hud:
    """A model, worded and painted."""

    def __init__(self, *, scale: float = 1.0, show_stats: bool = True) -> None:
        self._painter, self._show_stats = HudPainter(scale=scale), show_stats

    def render(self, model: HudModel, size_px: tuple[int, int]) -> NDArray[np.uint8]:
        return self._painter.render(hud_of(model, show_stats=self._show_stats), size_px)


@pytest.fixture(scope="module")
def hud() -> Hud:
    return Hud()


def pixels_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    """How many opaque pixels have exactly that colour."""
    return int(((picture[..., :3] == colour).all(axis=2) & (picture[..., 3] == 255)).sum())


def changed(hud: Hud, model: HudModel, **values: object) -> NDArray[np.bool_]:
    """Where the picture differs when only these values do."""
    before, after = hud.render(model, SIZE_PX), hud.render(replace(model, **values), SIZE_PX)  # type: ignore[arg-type]
    return (before != after).any(axis=2)


def test_the_picture_has_the_windows_size_and_leaves_the_middle_free(hud: Hud) -> None:
    picture = hud.render(PLAYING, SIZE_PX)
    assert picture.shape == (768, 1024, 4)
    assert picture.dtype == np.uint8
    assert picture[300:650, 200:800, 3].max() == 0
    assert (picture[..., 3] > 0).mean() < 0.15, "the world must stay visible"


def test_what_the_governor_says_of_the_rung_in_use_is_read_whole(hud: Hud) -> None:
    """The number of steps stands beside it, so it is not said again."""
    said = "4 steps need 39.2 of 47.5 ms"
    assert not changed(hud, replace(PLAYING, rung=4, reason=said), reason="need 39.2 of 47.5 ms").any()
    assert changed(hud, replace(PLAYING, rung=2, reason=said), reason="need 39.2 of 47.5 ms").any()


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 12.0},
        {"response_p50_ms": 20.0},
        {"response_p99_ms": 90.0},
        {"deadline_ms": 25.0},
        {"rung": 2},
        {"ladder": (1, 2)},
        {"reason": "two misses in a row"},
        {"misses": 3},
        {"held_frames": 2},
        {"input_to_present_ms": 99.0},
        {"frame_ms": (20.0,) * 120},
        {"pressed": ("key:w",)},
        {"prompt": "snow"},
        {"paused": True},
        {"recording": True},
        {"message": "saved"},
        {"world": "toy"},
        {"tick": 999},
        {"text_being_typed": ""},
        {"show_help": True, "help_lines": HELP},
    ],
)
def test_every_value_of_the_model_can_be_seen(hud: Hud, values: dict[str, object]) -> None:
    assert changed(hud, PLAYING, **values).any()


def test_equal_models_give_equal_pictures_and_a_new_array_each_time(hud: Hud) -> None:
    first, second = hud.render(PLAYING, SIZE_PX), hud.render(PLAYING, SIZE_PX)
    assert first is not second
    assert np.array_equal(first, second)


def test_a_filled_pip_for_every_rung_up_to_the_one_in_use(hud: Hud) -> None:
    filled = [pixels_of(hud.render(replace(PLAYING, rung=rung, frame_ms=()), SIZE_PX), GOOD) for rung in (1, 2, 4, 8)]
    steps = np.diff(filled)
    assert (steps > 0).all()
    assert len(set(steps)) == 1, "each rung fills one more pip of the same size"


def test_a_late_frame_differs_in_shape_and_not_only_in_colour(hud: Hud) -> None:
    times = [33.0] * 120
    times[60] = 70.0
    late = hud.render(replace(PLAYING, frame_ms=tuple(times)), SIZE_PX)
    in_time = hud.render(replace(PLAYING, frame_ms=tuple(times), deadline_ms=None), SIZE_PX)
    assert pixels_of(in_time, WARN) == 0, "negative control: without a deadline nothing is late"
    warn = (late[..., :3] == WARN).all(axis=2)
    widths = warn.sum(axis=1)
    widths = widths[widths > 0]
    assert widths.max() >= 3 * widths.min(), "the bar wears a cap wider than itself"


def test_the_deadline_line_moves_with_the_scale_of_the_graph(hud: Hud) -> None:
    assert changed(hud, replace(PLAYING, frame_ms=()), deadline_ms=None).any()


def test_recording_shows_a_red_dot_even_when_the_numbers_are_off() -> None:
    quiet = Hud(show_stats=False)
    assert quiet.render(PLAYING, SIZE_PX).max() == 0
    assert pixels_of(quiet.render(replace(PLAYING, recording=True), SIZE_PX), RECORD) > 50


def test_the_pause_badge_is_centred(hud: Hud) -> None:
    rows, columns = np.nonzero(changed(hud, PLAYING, paused=True))
    assert abs((rows.min() + rows.max()) / 2 - 384) < 4
    assert abs((columns.min() + columns.max()) / 2 - 512) < 4


def test_the_prompt_line_keeps_the_end_of_a_long_text_in_sight(hud: Hud) -> None:
    long_text = "a very long description " * 20
    shown = changed(hud, replace(PLAYING, text_being_typed=long_text), text_being_typed=long_text + "x")
    assert shown.any()


def test_text_follows_the_windows_height_and_the_users_scale() -> None:
    def panel_height(hud: Hud, size_px: tuple[int, int]) -> int:
        return int((hud.render(PLAYING, size_px)[: size_px[1] // 2, size_px[0] // 8, 3] > 0).sum())

    assert panel_height(Hud(), (1920, 1080)) > 1.2 * panel_height(Hud(), (1024, 768))
    assert panel_height(Hud(scale=1.5), (1024, 768)) > 1.2 * panel_height(Hud(), (1024, 768))


@pytest.mark.parametrize("size_px", [(0, 0), (0, 300), (1, 1), (47, 300), (64, 64), (128, 96), (300, 60), (3000, 80)])
def test_no_window_is_too_small(hud: Hud, size_px: tuple[int, int]) -> None:
    everything = replace(
        PLAYING, paused=True, recording=True, message="m" * 300, text_being_typed="t" * 300, prompt="p" * 300, misses=9
    )
    for model in (everything, replace(everything, show_help=True, help_lines=HELP, text_being_typed=None)):
        assert hud.render(model, size_px).shape == (max(1, size_px[1]), max(1, size_px[0]), 4)


def test_before_the_first_tick_there_are_dashes_instead_of_zeros(hud: Hud) -> None:
    assert number(None) == "–"
    assert number(49.96, 1) == "50.0"
    assert hud.render(HudModel(), SIZE_PX).any()


def test_help_without_lines_is_drawn_too(hud: Hud) -> None:
    assert hud.render(HudModel(show_help=True), SIZE_PX).any()


def test_odd_text_does_not_break_the_hud(hud: Hud) -> None:
    hud.render(replace(PLAYING, prompt="tab\tnewline\nnull\0 日本語 😀", message="\0"), SIZE_PX)


def test_help_columns_keep_sections_together() -> None:
    lines = tuple(map(help_line, ("A", "key:a\t1", "key:b\t2", "B", "key:c\t3", "key:d\t4", "key:e\t5")))
    assert help_columns(lines, 20) == [lines[:3], lines[3:]]
    assert [len(column) for column in help_columns((help_line("k\tx"),) * 7, 3)] == [3, 3, 1]
    assert help_columns((), 5) == []


def test_names_on_keys() -> None:
    names = ("key:w", "key:left", "key:left_shift", "key:period", "key:left_bracket", "accelerate")
    assert [key_label(name) for name in names] == ["W", "left", "Left Shift", ".", "[", "Accelerate"]
    others = ("pad:a", "pad:left", "mouse:dx", "mouse:left")
    assert [key_label(name) for name in others] == ["Pad A", "Pad Left", "Mouse", "Mouse Left"]
    assert split_help("Driving") == ("", "Driving")
    assert split_help("key:p\tpause") == ("key:p", "pause")


def test_the_hud_is_plain_data_that_another_surface_can_draw() -> None:
    said = json.loads(json.dumps(asdict(hud_of(replace(PLAYING, paused=True, show_help=False)))))
    assert said["stats"]["response"] == "p50 31   p99 44 ms"
    assert said["stats"]["pips"] == [True, True, True, False]
    assert said["keys"] == [{"label": "W", "arrow": ""}, {"label": "", "arrow": "left"}]
    assert (said["title"], said["prompt"], said["paused"]) == ("circuit   tick 1,234", "rainy night", True)
    helped = hud_of(replace(PLAYING, paused=True, show_help=True, help_lines=HELP))
    assert (helped.stats, helped.title, helped.paused) == (None, "", False), "help hides what is under it"
    assert helped.help is not None
    assert helped.help[0].key is None


def test_wording_the_hud_needs_no_font_and_no_window() -> None:
    program = "import sys, nextframe.runtime.display.hud; print(sorted({'pygame', 'moderngl'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_a_model_is_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        PLAYING.tick = 3  # type: ignore[misc]


def test_a_render_is_cheap_enough_for_ten_a_second(hud: Hud) -> None:
    """A few ms; the bound is wide, for slow and shared machines, and catches only what is grossly wrong."""
    times = []
    for tick in range(10):
        start_ns = time.perf_counter_ns()
        hud.render(replace(PLAYING, tick=tick), SIZE_PX)
        times.append(time.perf_counter_ns() - start_ns)
    assert min(times) < 25e6
