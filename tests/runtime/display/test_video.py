"""Claims about files: what was added can be decoded again, a kill loses little, and failures are one clear line."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from nextframe.runtime.core import Frame
from nextframe.runtime.display.album import AlbumOptions
from nextframe.runtime.display.animation import write_animation
from nextframe.runtime.display.stills import ContactSheet, VideoError, write_png
from nextframe.runtime.display.video import QUEUE_FRAMES, VideoWriter
from tests.support.paths import ROOT as REPOSITORY

HZ = Fraction(20)


def moving_square(count: int, width_px: int = 64, height_px: int = 48) -> list[Frame]:
    """A red square that crosses a green field: the position says which frame it is."""
    frames = []
    for number in range(count):
        frame = np.full((height_px, width_px, 3), (30, 140, 60), np.uint8)
        left = number * 2 % (width_px - 8)
        frame[16:24, left : left + 8] = (220, 40, 30)
        frames.append(frame)
    return frames


def decoded(path: Path) -> list[Frame]:
    with av.open(str(path)) as container:
        return [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]


def mean_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    return float(np.abs(first.astype(int) - second).mean())


# --- video -----------------------------------------------------------------------------------------------------


def test_a_video_holds_every_frame_in_order_with_its_colours(tmp_path: Path) -> None:
    frames = moving_square(50)
    writer = VideoWriter(tmp_path / "session.mp4", HZ, (64, 48), scale=3)
    for frame in frames:
        writer.add(frame)
    assert writer.close() == tmp_path / "session.mp4"
    pictures = decoded(tmp_path / "session.mp4")
    assert len(pictures) == 50
    assert pictures[0].shape == (144, 192, 3)
    for frame, picture in zip(frames, pictures, strict=True):
        assert mean_error(picture[1::3, 1::3], frame) < 2.5
    assert mean_error(pictures[0][1::3, 1::3], frames[10]) > 5, "negative control: another frame is further away"


def test_a_video_plays_at_the_tick_rate(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", Fraction(30000, 1001), (16, 16))
    for frame in moving_square(10, 16, 48):
        writer.add(frame[:16])
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [image.time for image in container.decode(video=0)]
    assert np.allclose(np.diff(times), 1001 / 30000, atol=1e-3)


def test_odd_sizes_are_padded_by_a_pixel_not_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "odd.mp4", HZ, (33, 17), scale=1)
    writer.add(np.full((17, 33, 3), 200, np.uint8))
    writer.close()
    (picture,) = decoded(tmp_path / "odd.mp4")
    assert picture.shape == (18, 34, 3)
    assert mean_error(picture, np.full_like(picture, 200)) < 3


def test_until_it_is_closed_a_video_has_another_name(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "session.mp4", HZ, (64, 48))
    writer.add(moving_square(1)[0])
    assert not (tmp_path / "session.mp4").exists()
    writer.close()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["session.mp4"]


def test_a_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    assert VideoWriter(tmp_path / "session.mp4", HZ, (64, 48)).close() is None
    assert list(tmp_path.iterdir()) == []


def test_a_frame_changed_after_it_was_added_is_written_as_it_was(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HZ, (16, 16))
    frame = np.full((16, 16, 3), 200, np.uint8)
    writer.add(frame)
    frame[:] = 0
    writer.close()
    assert decoded(tmp_path / "a.mp4")[0].mean() > 190


class StalledWriter(VideoWriter):
    """An encoder that takes one frame and then waits until the test lets it go on."""

    started = threading.Event()
    may_continue = threading.Event()

    def _send(self, number: int, frame: Frame) -> None:
        self.started.set()
        assert self.may_continue.wait(30)
        super()._send(number, frame)


def test_live_a_slow_encoder_drops_and_counts_and_the_rest_keeps_its_time(tmp_path: Path) -> None:
    StalledWriter.started.clear()
    StalledWriter.may_continue.clear()
    writer = StalledWriter(tmp_path / "a.mp4", HZ, (16, 16), live=True)
    frame = np.zeros((16, 16, 3), np.uint8)
    writer.add(frame)
    assert writer.started.wait(30)
    for _ in range(QUEUE_FRAMES + 5):
        writer.add(frame)
    assert writer.dropped == 5
    writer.may_continue.set()
    while not writer._queue.empty():
        pass
    writer.add(frame)
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [image.time for image in container.decode(video=0)]
    assert len(times) == 1 + QUEUE_FRAMES + 1
    assert times[-1] == pytest.approx((writer.frames_added - 1) / 20), "a drop must not shift what comes after"


RECORD_FOREVER = """
import sys
from fractions import Fraction
import numpy as np
from nextframe.runtime.display.video import VideoWriter
writer = VideoWriter(sys.argv[1], Fraction(20), (64, 48))
for number in range(1, 10**9):
    writer.add(np.full((48, 64, 3), number % 256, np.uint8))
    if number == 400:
        print(writer.encoder_pid, flush=True)
        sys.stdin.readline()
"""


def ended(pid: int) -> None:
    """Wait for a process that is not our child."""
    for _ in range(600):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"the encoder {pid} went on without its parent")


def test_kill_9_while_recording_loses_at_most_two_seconds(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECORD_FOREVER, str(tmp_path / "session.mp4")]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as recorder:
        assert recorder.stdout is not None
        encoder_pid = int(recorder.stdout.readline())
        recorder.send_signal(signal.SIGKILL)
    ended(encoder_pid)
    assert not (tmp_path / "session.mp4").exists()
    pictures = decoded(tmp_path / "session.part.mp4")
    assert 400 - 40 <= len(pictures) <= 400
    assert mean_error(pictures[99], np.full_like(pictures[99], 100)) < 3


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HZ, (64, 48))
    with pytest.raises(VideoError, match=r"expected uint8 of shape \(48, 64, 3\), got uint8 of shape \(64, 48, 3\)"):
        writer.add(np.zeros((64, 48, 3), np.uint8))
    writer.close()
    with pytest.raises(VideoError, match="already closed"):
        writer.add(moving_square(1)[0])


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VideoError, match="cannot write") as caught:
        VideoWriter(tmp_path / "file" / "a.mp4", HZ, (64, 48))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full stands in for a full disk")
def test_a_full_disk_is_reported_and_never_hangs(tmp_path: Path) -> None:
    (tmp_path / "a.part.mp4").symlink_to("/dev/full")
    with pytest.raises(VideoError, match="No space left on device"):  # noqa: PT012 - it may fail at any of the calls
        writer = VideoWriter(tmp_path / "a.mp4", HZ, (64, 48))
        for frame in moving_square(200):
            writer.add(frame)
        writer.close()
    assert not (tmp_path / "a.mp4").exists()


# --- pictures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_is_exact(tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (13, 7, channels), dtype=np.uint8)
    path = write_png(tmp_path / "new" / "a.png", image)
    with av.open(str(path)) as container:
        (picture,) = [p.to_ndarray(format={3: "rgb24", 4: "rgba"}[channels]) for p in container.decode(video=0)]
    assert np.array_equal(picture, image)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_every_chunk_of_a_png_has_its_checksum(tmp_path: Path) -> None:
    content = write_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8)).read_bytes()
    position, names = 8, []
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        body = content[position + 4 : position + 8 + length]
        (stored,) = struct.unpack(">I", content[position + 8 + length : position + 12 + length])
        assert stored == zlib.crc32(body)
        names.append(body[:4])
        position += 12 + length
    assert names == [b"IHDR", b"IDAT", b"IEND"]


def test_what_is_no_image_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="expected a uint8 image"):
        write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))


def numbered(number: int) -> Frame:
    return np.full((4, 6, 3), number, np.uint8)


def numbers_on(sheet: ContactSheet, columns: int, rows: int) -> list[int]:
    picture = sheet.picture()
    return [int(picture[3 + row * 6, 3 + column * 8, 0]) for row in range(rows) for column in range(columns)]


def test_a_contact_sheet_takes_every_nth_frame_in_reading_order() -> None:
    sheet = ContactSheet(every_ticks=10, columns=3, rows=2)
    for number in range(200):
        sheet.add(numbered(number))
    assert numbers_on(sheet, 3, 2) == [0, 10, 20, 30, 40, 50]


def test_a_contact_sheet_of_unknown_length_covers_the_whole_session() -> None:
    sheet = ContactSheet(columns=4, rows=2)
    for number in range(250):
        sheet.add(numbered(number))
    assert numbers_on(sheet, 4, 2) == [0, 32, 64, 96, 128, 160, 192, 224]


def test_a_short_session_gives_a_small_sheet(tmp_path: Path) -> None:
    sheet = ContactSheet(columns=4, rows=2, gap_px=2)
    sheet.add(numbered(1))
    sheet.add(numbered(2))
    assert sheet.picture().shape == (4 + 2 * 2, 2 * 6 + 3 * 2, 3)
    assert sheet.write(tmp_path / "sheet.png").exists()


def test_an_empty_contact_sheet_is_an_error() -> None:
    with pytest.raises(VideoError, match="expected at least one frame"):
        ContactSheet().picture()


def test_a_gif_holds_every_frame_with_close_colours_and_repeats(tmp_path: Path) -> None:
    frames = moving_square(30)
    path = write_animation(tmp_path / "play.gif", frames, HZ, scale=2)
    pictures = decoded(path)
    assert len(pictures) == 30
    for frame, picture in zip(frames, pictures, strict=True):
        assert mean_error(picture[::2, ::2], frame) < 2.5
    content = path.read_bytes()
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in content, "endless"
    assert len(content) < 30_000


def test_a_webp_holds_every_frame_for_its_time_and_repeats(tmp_path: Path) -> None:
    content = write_animation(tmp_path / "play.webp", moving_square(30), HZ, scale=2).read_bytes()
    chunks = riff_chunks(content)
    durations_ms = [int.from_bytes(body[12:15], "little") for name, body in chunks if name == b"ANMF"]
    assert durations_ms == [50] * 30
    (loops,) = [struct.unpack("<H", body[4:6])[0] for name, body in chunks if name == b"ANIM"]
    assert loops == 0, "endless"


def riff_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    assert content[:4] == b"RIFF"
    assert content[8:12] == b"WEBP"
    chunks, position = [], 12
    while position < len(content):
        name, length = struct.unpack("<4sI", content[position : position + 8])
        chunks.append((name, content[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return chunks


@pytest.mark.parametrize(("name", "frames"), [("a.bmp", moving_square(1)), ("a.gif", [])])
def test_an_animation_that_cannot_be_is_refused(tmp_path: Path, name: str, frames: list[Frame]) -> None:
    with pytest.raises(VideoError, match="expected"):
        write_animation(tmp_path / name, frames, HZ)
    assert list(tmp_path.iterdir()) == []


# --- formats follow the name -----------------------------------------------------------------------------------


FORMATS = {".mp4": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9", ".gif": "gif", ".MP4": "h264"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_video_is_written_in_the_format_of_its_name(tmp_path: Path, suffix: str) -> None:
    frames = moving_square(30)
    writer = VideoWriter(tmp_path / f"a{suffix}", HZ, (64, 48), scale=2)
    for frame in frames:
        writer.add(frame)
    path = writer.close()
    assert path is not None
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == FORMATS[suffix]
    pictures = decoded(path)
    assert len(pictures) == 30
    assert mean_error(pictures[20][::2, ::2], frames[20]) < 6
    assert mean_error(pictures[20][::2, ::2], frames[0]) > mean_error(pictures[20][::2, ::2], frames[20])
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]
    brands = {
        ".mov": (4, b"ftypqt"),
        ".mp4": (4, b"ftyp"),
        ".mkv": (0, b"\x1aE\xdf\xa3"),
        ".webm": (0, b"\x1aE\xdf\xa3"),
    }
    at, brand = brands.get(suffix.lower(), (0, b"GIF89a"))
    assert path.read_bytes()[at:].startswith(brand)


def test_an_animated_webp_holds_every_frame_for_its_time(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.webp", HZ, (64, 48), scale=1)
    for frame in moving_square(20):
        writer.add(frame)
    writer.close()
    chunks = riff_chunks((tmp_path / "a.webp").read_bytes())
    durations_ms = [int.from_bytes(body[12:15], "little") for name, body in chunks if name == b"ANMF"]
    assert sum(durations_ms) == 20 * 50


@pytest.mark.parametrize("name", ["a.avi", "a.png", "a", "a.mp4.txt"])
def test_a_name_that_no_video_format_has_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError, match=r"expected a name ending in \.mp4, \.mov"):
        VideoWriter(tmp_path / name, HZ, (64, 48))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "codec"), [("a.jpg", "mjpeg"), ("a.JPEG", "mjpeg"), ("a.webp", "webp"), ("a.png", "png")]
)
def test_a_contact_sheet_is_written_in_the_format_of_its_name(tmp_path: Path, name: str, codec: str) -> None:
    sheet = ContactSheet(columns=4, rows=2)
    for frame in moving_square(8):
        sheet.add(frame)
    path = sheet.write(tmp_path / name)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codec
        (picture,) = [image.to_ndarray(format="rgb24") for image in container.decode(video=0)]
    assert picture.shape == sheet.picture().shape
    assert mean_error(picture, sheet.picture()) < 6


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a"])
def test_a_sheet_in_no_picture_format_is_refused_before_the_session(tmp_path: Path, name: str) -> None:
    with pytest.raises(VideoError, match=r"--contact-sheet .*: expected a name ending in \.png"):
        AlbumOptions(tmp_path, contact_sheet=tmp_path / name)


def test_an_encoder_that_dies_is_one_clear_line_and_never_hangs(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HZ, (64, 48))
    writer.add(moving_square(1)[0])
    os.kill(writer.encoder_pid, signal.SIGKILL)
    with pytest.raises(VideoError, match="cannot write"):  # noqa: PT012 - it may fail at any of the calls
        for frame in moving_square(500):
            writer.add(frame)
        writer.close()


def test_the_encoder_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", HZ, (64, 48))
    assert writer.encoder_pid != os.getpid()
    writer.add(moving_square(1)[0])
    writer.close()
    ended(writer.encoder_pid)
