"""The pictures a session leaves: a video and a contact sheet, encoded off the tick's path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..core import Display, Frame, WorldInfo
from .stills import ContactSheet, check_still_name
from .video import VideoWriter, check_video_name


class Pictures:
    """A display in front of another: every frame also goes to `sinks`, after it was presented and timed."""

    def __init__(self, display: Display, sinks: Sequence[Callable[[Frame], None]]) -> None:
        self._display, self._sinks = display, tuple(sinks)

    def present(self, frame: Frame) -> int:
        presented_ns = self._display.present(frame)
        for sink in self._sinks:
            sink(frame)
        return presented_ns

    def close(self) -> None:
        self._display.close()


@dataclass(frozen=True)
class AlbumOptions:
    """`pictures`: both, under their usual names in `out`; else only those that are named."""

    out: Path
    pictures: bool = True
    video: Path | None = None
    contact_sheet: Path | None = None
    live: bool = True

    def __post_init__(self) -> None:
        """VideoError for a name that no format has: before a world is loaded, not after it was played."""
        if self.video is not None:
            check_video_name(self.video, "--video")
        if self.contact_sheet is not None:
            check_still_name(self.contact_sheet, "--contact-sheet")


class Album:
    """The session's pictures: a video and a contact sheet, encoded off the tick's path."""

    def __init__(self, options: AlbumOptions, info: WorldInfo, stack: ExitStack) -> None:
        self._video: VideoWriter | None = None
        self._sheet: ContactSheet | None = None
        self._frames = 0
        self._sheet_path = options.contact_sheet or options.out / "contact_sheet.png"
        if options.pictures or options.video is not None:
            path = options.video or options.out / "session.mp4"
            size_px = (info.width_px, info.height_px)
            scale = max(1, round(768 / max(size_px)))
            self._video = VideoWriter(path, info.tick_hz, size_px, scale=scale, live=options.live)
            stack.callback(self._video.close)
        if options.pictures or options.contact_sheet is not None:
            self._sheet = ContactSheet()

    @property
    def sinks(self) -> list[Callable[[Frame], None]]:
        return [self._count, *(part.add for part in (self._video, self._sheet) if part is not None)]

    def _count(self, frame: Frame) -> None:
        self._frames += 1

    def close(self) -> dict[str, Path]:
        """Finish the files; what was written, by kind. A session without a frame leaves none."""
        written: dict[str, Path] = {}
        if self._video is not None and self._video.close() is not None:
            written["video"] = self._video.path
        if self._sheet is not None and self._frames:
            written["contact_sheet"] = self._sheet.write(self._sheet_path)
        return written
