"""What a video file may be called, and what the encoder's process is told. Loads no codec."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass

from ..core import Frame

NUMBER = struct.Struct("<I")
FRAME, END = b"F", b"E"
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""A killed process leaves a file that plays up to its last second."""
CLUSTERS = {"cluster_time_limit": "1000", "flush_packets": "1"}


@dataclass(frozen=True)
class Container:
    """How a kind of file is written while it grows. `converted`: the finished file is made from it at the end."""

    suffix: str
    form: str
    codec: str
    options: dict[str, str]
    converted: bool = False


CONTAINERS = {
    ".mp4": Container(".mp4", "mp4", "libx264", FRAGMENTS),
    ".mov": Container(".mov", "mov", "libx264", FRAGMENTS),
    ".mkv": Container(".mkv", "matroska", "libx264", CLUSTERS),
    ".webm": Container(".webm", "webm", "libvpx-vp9", CLUSTERS),
    ".gif": Container(".mp4", "mp4", "libx264", FRAGMENTS, converted=True),
    ".webp": Container(".mp4", "mp4", "libx264", FRAGMENTS, converted=True),
}
"""By the suffix of the finished file's name."""
ANIMATIONS = {".gif": ("gif", "gif", "pal8"), ".webp": ("webp", "libwebp_anim", "yuv420p")}
"""By suffix: container, codec, pixel format. GIF plays everywhere, WebP is several times smaller."""


@dataclass(frozen=True)
class Order:
    """What is to be written. `part`: the growing file. `suffix`: of the finished file. `fps`: as "num/den"."""

    part: str
    suffix: str
    fps: str
    width_px: int
    height_px: int
    scale: int
    crf: int

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def enlarge(frame: Frame, scale: int) -> Frame:
    """Every pixel repeated `scale` times in both directions."""
    return frame if scale == 1 else frame.repeat(scale, axis=0).repeat(scale, axis=1)
