"""Claims about videos and tables as people have them: read as meant, checked against each other, or refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import NextframeError
from nextframe.tools.train.data.clips import Clips
from nextframe.tools.train.data.films import usual
from nextframe.tools.train.data.lag import Motion, fit
from nextframe.tools.train.data.sources import SourceOptions, open_source
from nextframe.tools.train.data.videos import Survey, named, read_actions, survey, video_clips
from tests.support.films import HEIGHT_PX, WIDTH_PX, audio, dot, image, play, table, turn, write

SIZE = (HEIGHT_PX, WIDTH_PX)
FRAMES, ACTIONS = play()
COUNT = len(FRAMES)


def read(folder: Path, video: str = "a.mp4", *, repeat: int = 1, lag: int | None = None,
         letterbox: bool = False) -> tuple[Survey, Clips]:  # fmt: skip
    rows = read_actions(table(folder / "actions.csv", ACTIONS, video=video))
    looked = survey(folder, rows, lag=lag, letterbox=letterbox)
    (clips,) = video_clips(folder, rows, SIZE, repeat, looked=looked, letterbox=letterbox)
    return looked, clips


def same_dots(clips: Clips, numbers: Any, *, within: float = 0.02) -> None:
    """Each tick shows the frame of that number, upright and in its shape."""
    numbers = list(numbers)
    assert len(clips) == len(numbers)
    for tick, number in enumerate(numbers):
        assert dot(clips.frames[tick]) == pytest.approx(dot(FRAMES[number]), abs=within), (tick, number)


# --- turned, mirrored, in their shape -------------------------------------------------------------------------------

TURNS = {
    "a quarter": ((0, 1, -1, 0), np.rot90),
    "half": ((-1, 0, 0, -1), lambda f: np.rot90(f, 2)),
    "three quarters": ((0, -1, 1, 0), lambda f: np.rot90(f, 3)),
    "mirrored": ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda f: f[::-1]),
    "mirrored and turned": ((0, 1, 1, 0), lambda f: f.transpose(1, 0, 2)),
    "not at all": ((1, 0, 0, 1), lambda f: f),
}


@pytest.mark.parametrize("name", TURNS)
def test_a_video_is_seen_as_it_is_to_be_shown(name: str, tmp_path: Path) -> None:
    matrix, stored = TURNS[name]
    write(tmp_path / "a.mp4", [stored(frame) for frame in FRAMES])
    turn(tmp_path / "a.mp4", matrix)
    looked, clips = read(tmp_path)
    assert (looked.height_px, looked.width_px) == SIZE
    same_dots(clips, range(COUNT))
    assert "fit the frames where they stand" in looked.notes[-1]


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (1, 0, 0, 1)])
def test_pixels_that_are_no_squares_are_brought_into_shape(matrix: tuple[int, int, int, int], tmp_path: Path) -> None:
    narrow = [frame[:, ::2] for frame in FRAMES]
    turned = matrix[0] == 0
    stored = [np.rot90(frame) for frame in narrow] if turned else narrow
    write(tmp_path / "a.mp4", stored, pixel_ratio=Fraction(1, 2) if turned else Fraction(2))
    turn(tmp_path / "a.mp4", matrix)
    looked, clips = read(tmp_path)
    assert (looked.height_px, looked.width_px) == SIZE
    same_dots(clips, range(COUNT), within=0.03)


def test_unlike_shapes_are_refused_by_name_or_get_bars(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", FRAMES)
    write(tmp_path / "b.mp4", [frame.transpose(1, 0, 2) for frame in FRAMES])
    write(tmp_path / "c.mp4", [frame.repeat(2, 0).repeat(2, 1) for frame in FRAMES])  # larger, of the same shape
    path = table(tmp_path / "actions.csv", ACTIONS)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{v}.mp4,{n},{a[0]},{a[1]}\n" for v in "bc" for n, a in enumerate(ACTIONS))
    rows = read_actions(path)
    with pytest.raises(NextframeError, match=r"one shape, a\.mp4 is 96x64, but b\.mp4 64x96; leave .* --size"):
        survey(tmp_path, rows)
    looked = survey(tmp_path, rows, letterbox=True)
    assert any("b.mp4 64x96" in note and "c.mp4" not in note for note in looked.notes)
    first, second, third = video_clips(tmp_path, rows, SIZE, 1, looked=looked, letterbox=True)
    same_dots(first, range(COUNT))
    same_dots(third, range(COUNT))
    width = round(HEIGHT_PX * 64 / 96)
    bars = (WIDTH_PX - width) // 2
    assert not second.frames[:, :, : bars - 1].any()
    assert second.frames[:, :, bars + 1 : bars + width - 1].any(-1).all()
    assert open_source(SourceOptions(videos=tmp_path, actions=path, size="96x64")).width_px == 96


# --- placed by their times -------------------------------------------------------------------------------------------

GAPS_MS = np.random.default_rng(1).choice([16, 17, 33, 50, 67], COUNT)
UNEVEN_MS = (np.cumsum(GAPS_MS) - GAPS_MS[0]).tolist()
LIVE = {"deadline": "realtime", "cpu-used": "8", "b": "2M"}


@pytest.mark.parametrize(
    ("name", "header_hz", "codec"), [("a.webm", 1000, "libvpx"), ("a.mkv", 60, "libx264"), ("a.mp4", 30, "libx264")]
)
def test_uneven_times_are_resampled_whatever_the_header_says(
    name: str, header_hz: int, codec: str, tmp_path: Path
) -> None:
    options = LIVE if codec == "libvpx" else None
    write(tmp_path / name, FRAMES, rate=header_hz, codec=codec, times_ms=UNEVEN_MS, options=options)
    looked, clips = read(tmp_path, name)
    true_hz = 1000 * (COUNT - 1) / UNEVEN_MS[-1]
    assert float(looked.rate_hz) == pytest.approx(true_hz, rel=0.01)
    tick_ms = UNEVEN_MS[-1] / (COUNT - 1)
    due = [int(np.searchsorted(UNEVEN_MS, tick * tick_ms + float(np.median(GAPS_MS)) / 2, "right")) - 1
           for tick in range(len(clips))]  # fmt: skip
    assert len(clips) == pytest.approx(COUNT, abs=2)
    off = [abs(dot(clips.frames[t])[1] - dot(FRAMES[n])[1]) for t, n in enumerate(due)]
    assert np.mean(np.array(off) > 0.015) < 0.02, "each tick shows the newest frame that is due"
    before = -1
    for tick, number in enumerate(due[:200]):
        joined = np.array([ACTIONS[n] for n in range(before + 1, number + 1)] or [(0, 0)]).max(0)
        if tick and number != before and due[tick - 1] != number:
            assert clips.conditions[tick].tolist() == joined.tolist()
        before = number


@pytest.mark.parametrize("offset_ms", [0, 5_000, 90_000])
def test_a_recording_may_begin_at_any_time(offset_ms: int, tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", FRAMES, times_ms=[offset_ms + 50 * n for n in range(COUNT)])
    looked, clips = read(tmp_path, "a.mkv")
    assert looked.rate_hz == 20
    same_dots(clips, range(COUNT))
    assert clips.conditions[1:].tolist() == [list(action) for action in ACTIONS[1:]]


@pytest.mark.parametrize("bframes", [0, 3])
def test_reordered_frames_come_in_the_order_of_their_times(bframes: int, tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", FRAMES, options={"bf": str(bframes), "b_strategy": "0", "g": "250"})
    _, clips = read(tmp_path)
    same_dots(clips, range(COUNT))


@pytest.mark.parametrize(
    ("rate", "suffix"),
    [(Fraction(30000, 1001), "mp4"), (Fraction(30000, 1001), "mkv"), (Fraction(60), "mkv"), (Fraction(25, 2), "mov"),
     (Fraction(24000, 1001), "ts"), (Fraction(60), "avi")],
)  # fmt: skip
def test_even_rates_are_kept_and_every_nth_frame_is_taken(rate: Fraction, suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"a.{suffix}", FRAMES, rate=rate, options={"bf": "0"})
    looked, clips = read(tmp_path, f"a.{suffix}", repeat=3)
    assert looked.rate_hz == pytest.approx(rate, rel=1e-4)
    same_dots(clips, range(0, COUNT, 3))
    joined = [np.array(ACTIONS[n - 2 : n + 1]).max(0).tolist() for n in range(3, COUNT, 3)]
    assert clips.conditions[1:].tolist() == joined


def test_a_gif_is_read_by_its_delays(tmp_path: Path) -> None:
    write(tmp_path / "a.gif", FRAMES, codec="gif", pixels="rgb8", rate=20)
    looked, clips = read(tmp_path, "a.gif")
    assert looked.rate_hz == 20
    assert len(clips) == COUNT


def test_videos_of_other_rates_share_one(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", FRAMES, rate=20)
    write(tmp_path / "b.mp4", FRAMES, rate=20)
    write(tmp_path / "c.mp4", FRAMES, rate=40)
    path = table(tmp_path / "actions.csv", ACTIONS)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(f"{v}.mp4,{n},{a[0]},{a[1]}\n" for v in "bc" for n, a in enumerate(ACTIONS))
    rows = read_actions(path)
    looked = survey(tmp_path, rows)
    assert looked.rate_hz == 20
    *_, fast = video_clips(tmp_path, rows, SIZE, 1, looked=looked)
    assert len(fast) == COUNT // 2
    same_dots(fast, range(0, COUNT, 2))


def test_a_pause_in_the_recording_ends_an_episode(tmp_path: Path) -> None:
    times = [50 * n + 4_000 * (n >= 100) for n in range(COUNT)]
    write(tmp_path / "a.mkv", FRAMES, times_ms=times)
    rows = read_actions(table(tmp_path / "actions.csv", ACTIONS, video="a.mkv"))
    (clips,) = video_clips(tmp_path, rows, SIZE, 1)
    assert len(clips.starts) == 2
    assert len(clips) < COUNT + 3, "the pause is not filled with a standing picture"
    assert not clips.conditions[clips.starts].any()


def test_rates_that_are_meant() -> None:
    assert usual(Fraction(2997, 100)) == Fraction(30000, 1001)
    assert usual(Fraction(29999, 1000)) == 30
    assert usual(Fraction(1, 3)) == Fraction(1, 3)
    assert float(usual(Fraction(27324, 1000))) == pytest.approx(27.324, rel=0.005)


# --- what is no video -------------------------------------------------------------------------------------------------


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "whole.mp4", FRAMES[:60])
    data = (tmp_path / "whole.mp4").read_bytes()
    audio(tmp_path / "sound.mp4")
    image(tmp_path / "still.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 40, encoding="utf-8")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])  # its index is at the end
    (tmp_path / "folder.mp4").mkdir()
    says = {
        "sound": "expected a video, got a file without pictures .audio only",
        "still": "expected a video, got a file of the kind png",
        "empty": "expected a video that can be read",
        "text": "expected a video",
        "cut": "expected a video that can be read",
        "folder": "missing|expected a video",
    }
    for name, said in says.items():
        rows = read_actions(table(tmp_path / "actions.csv", ACTIONS[:50], video=f"{name}.mp4"))
        with pytest.raises(NextframeError, match=said) as caught:
            survey(tmp_path, rows)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_video_cut_short_lacks_the_frames_of_its_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", FRAMES)
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
    with pytest.raises(NextframeError, match=r"a\.mkv has, got rows for \d+ more|can be read|damaged"):
        read(tmp_path, "a.mkv")


def test_a_video_joined_of_two_whose_times_begin_anew_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.ts", FRAMES[:100], options={"bf": "0"})
    data = (tmp_path / "one.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(data + data)
    rows = read_actions(table(tmp_path / "actions.csv", ACTIONS[:200], video="a.ts"))
    with pytest.raises(NextframeError, match="expected times that run on"):
        list(video_clips(tmp_path, rows, SIZE, 1))


# --- the table beside the picture ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("films")
    write(made / "a.mp4", FRAMES)
    return made


@pytest.mark.parametrize("lag", [1, 2, 4, -1, -3])
def test_a_table_that_is_off_is_refused_with_the_lag_and_taken_with_it(lag: int, folder: Path, tmp_path: Path) -> None:
    shifted = ACTIONS[max(0, -lag) :]
    rows = read_actions(table(tmp_path / "late.csv", shifted, first=max(0, lag)))
    way = "late" if lag > 0 else "early"
    with pytest.raises(NextframeError, match=rf"stand {abs(lag)} frames? too {way}.*--action-lag {lag} ") as caught:
        survey(folder, rows)
    assert "late.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    looked = survey(folder, rows, lag=lag)
    assert f"moved by --action-lag {lag}" in looked.notes[-1]
    (clips,) = video_clips(folder, rows, SIZE, 1, looked=looked)
    first = max(0, -lag - 1)  # frames before the first row are left out
    known = ACTIONS[first + 1 : COUNT - abs(lag)]
    assert clips.conditions[1 : 1 + len(known)].tolist() == [list(action) for action in known]


def test_a_user_may_insist_that_the_table_is_right(folder: Path, tmp_path: Path) -> None:
    rows = read_actions(table(tmp_path / "late.csv", ACTIONS[1:], first=0))
    looked = survey(folder, rows, lag=0)
    assert "1 frame too early" in looked.notes[-1]


@pytest.mark.parametrize("friction", [0.5, 0.7])
@pytest.mark.parametrize("shift", [0, 2, -2])
def test_a_heavy_thing_is_not_taken_for_a_late_table(friction: float, shift: int) -> None:
    """One action moves it for many frames after; what was shifted is found all the same."""
    motion, x, speed = Motion(), 48.0, 0.0
    for left, right in play(600)[1]:
        speed = friction * speed + 3 * (1 - friction) * (right - left)
        x = float(np.clip(x + speed, 8, 87))
        frame = np.full((HEIGHT_PX, WIDTH_PX, 3), 40, np.uint8)
        frame[12:21, int(x) - 4 : int(x) + 5] = 250
        motion.add(frame)
    actions = np.roll(np.array(play(600)[1], np.float32), shift, 0)
    found = fit([motion.features()], [actions])
    assert found is not None
    assert found.off == (shift != 0)
    assert found.lag_frames == shift


def test_a_table_of_other_actions_is_said_to_tell_nothing(folder: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(5).permutation(COUNT)
    rows = read_actions(table(tmp_path / "deaf.csv", [ACTIONS[n] for n in order]))
    assert "too little" in survey(folder, rows).notes[-1]


def test_rows_for_frames_that_do_not_exist_are_named(folder: Path, tmp_path: Path) -> None:
    rows = read_actions(table(tmp_path / "more.csv", [*ACTIONS, (0, 1), (0, 1)]))
    with pytest.raises(NextframeError, match=rf"more\.csv:{COUNT + 2}: expected frames 0 to {COUNT - 1}.* 2 more"):
        survey(folder, rows)
    with pytest.raises(NextframeError, match="2 more"):
        list(video_clips(folder, rows, SIZE, 1))
    rows = read_actions(table(tmp_path / "one.csv", ACTIONS[:150], first=1))
    survey(folder, rows, lag=0)


def test_doubled_rows_are_refused_and_missing_and_unordered_ones_are_said(folder: Path, tmp_path: Path) -> None:
    text = table(tmp_path / "plain.csv", ACTIONS).read_text(encoding="utf-8").splitlines()
    (tmp_path / "twice.csv").write_text("\n".join([*text, text[5]]), encoding="utf-8")
    with pytest.raises(NextframeError, match=rf"twice\.csv:{COUNT + 2}: .*second for frame 4 of a\.mp4, which line 6"):
        read_actions(tmp_path / "twice.csv")
    (tmp_path / "holes.csv").write_text("\n".join([*text[:50], *text[60:100], *text[101:]]), encoding="utf-8")
    rows = read_actions(tmp_path / "holes.csv")
    assert rows.notes == (
        f"{tmp_path}/holes.csv: a.mp4 has no rows for frames 49 to 58, 99; an episode ends before each",
    )
    (clips,) = video_clips(folder, rows, SIZE, 1)
    assert len(clips.starts) >= 3
    (tmp_path / "mixed.csv").write_text("\n".join([text[0], *text[:0:-1]]), encoding="utf-8")
    rows = read_actions(tmp_path / "mixed.csv")
    assert "mixed.csv:3: rows of a.mp4 are out of order" in rows.notes[0]
    (clips,) = video_clips(folder, rows, SIZE, 1)
    assert clips.conditions[1:].tolist() == [list(action) for action in ACTIONS[1:]]


def test_training_from_videos_says_how_the_actions_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "actions.csv", ACTIONS)
    opened = open_source(SourceOptions(videos=folder, actions=path))
    assert "actions fit the frames where they stand" in capsys.readouterr().err
    assert opened.source.tick_hz == 20
    late = table(tmp_path / "late.csv", ACTIONS, first=1)
    with pytest.raises(NextframeError, match="--action-lag 1"):
        open_source(SourceOptions(videos=folder, actions=late))
    open_source(SourceOptions(videos=folder, actions=late, action_lag=1))


# --- habits of tables ------------------------------------------------------------------------------------------------

HABITS: dict[str, dict[str, Any]] = {
    "plain": {},
    "a mark of UTF-8": {"encoding": "utf-8-sig"},
    "UTF-16 with its mark": {"encoding": "utf-16"},
    "UTF-16 without": {"encoding": "utf-16-le"},
    "UTF-16, the other way": {"encoding": "utf-16-be"},
    "semicolons": {"separator": ";"},
    "tabs": {"separator": "\t"},
    "bars": {"separator": "|"},
    "CRLF": {"end": "\r\n"},
    "CR alone": {"end": "\r"},
    "True and False": {"cell": lambda value: str(bool(value))},
    "TRUE and FALSE": {"cell": lambda value: str(bool(value)).upper()},
    "yes and no": {"cell": lambda value: ("no", "Yes")[value]},
    "on and off": {"cell": lambda value: ("off", "on")[value]},
    "WAHR and FALSCH": {"cell": lambda value: ("FALSCH", "WAHR")[value], "separator": ";"},
    "floats": {"cell": lambda value: f"{value}.0", "frame": lambda number: f"{number}.0"},
    "decimal commas": {"cell": lambda value: f"{value},0", "separator": ";", "frame": lambda number: f"{number},0"},
    "quoted": {"cell": lambda value: f'"{value}"', "frame": lambda number: f'"{number}"'},
    "quoted decimal commas": {"cell": lambda value: f'"{value},0"'},
    "blanks": {"cell": lambda value: f"  {value} ", "head": " Video , Frame ,left, right "},
    "capitals in the head": {"head": "VIDEO,Frame,Left,RIGHT"},
    "an index of pandas": {"line": lambda number, text: f"{number if number >= 0 else ''},{text}"},
    "an index with a name": {"line": lambda number, text: f"{number if number >= 0 else 'Unnamed: 0'},{text}"},
    "empty columns behind": {"line": lambda number, text: text + ",,"},
    "empty lines": {"line": lambda number, text: text + ("\n,,," if number % 7 == 0 else "\n")},
    "sep= of Excel": {"separator": ";", "line": lambda number, text: f"sep=;\n{text}" if number < 0 else text},
    "a path": {"video": "videos/a.mp4"},
    "a path of Windows": {"video": "C:\\films\\a.mp4"},
    "no suffix": {"video": "a"},
}


@pytest.mark.parametrize("name", HABITS)
def test_a_table_is_read_as_it_is_meant(name: str, folder: Path, tmp_path: Path) -> None:
    rows = read_actions(table(tmp_path / "habit.csv", ACTIONS, **HABITS[name]))
    assert rows.controls.space.buttons == ("left", "right")
    (video,) = rows.rows
    assert {n: tuple(a.tolist()) for n, a in rows.rows[video].items()} == dict(enumerate(ACTIONS))
    assert not rows.notes
    assert named(folder, rows) == {video: folder / "a.mp4"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("video;frame;steer\na;1;0,5\na;2;-0,25\n", [0.5, -0.25]),
        ('video,frame,steer\na,1,"0,5"\na,2,"-0,25"\n', [0.5, -0.25]),
        ("video\tframe\tsteer\na\t1\t0.5\na\t2\t−0.25\n", [0.5, -0.25]),
        ("video,frame,steer\na,1,5e-1\na,2,-.25\n", [0.5, -0.25]),
    ],
)
def test_axes_are_read_in_any_country(text: str, values: list[float], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    rows = read_actions(tmp_path / "t.csv").rows["a"]
    assert [float(rows[n][0]) for n in (1, 2)] == pytest.approx(values, abs=0.005)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("video;frame;left\na;1.000;1\n", "1.000: one, or a thousand"),
        ("video,frame,left\na,1,maybe\n", "could not convert"),
        ("video,frame,left\na,1,\n", "could not convert"),
        ("video,frame,left\na,-1,1\n", "a frame number from 0 on"),
        ("video,frame,left\na,1.5,1\n", "a frame number from 0 on"),
        ("video,frame,left\na,0,0,5\n", "expected 1 values"),
        ("video,frame\na,1\n", "expected a head line"),
        ("video,frame,left\n,1,1\n", "expected video, frame and numbers"),
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(NextframeError, match=says) as caught:
        read_actions(tmp_path / "t.csv")
    assert "t.csv:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spreadsheets_own_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(NextframeError, match="save it as CSV"):
        read_actions(tmp_path / "t.csv")
