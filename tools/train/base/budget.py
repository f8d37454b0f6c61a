"""From a budget such as `30m` or `gpu-25m` to a plan: how many frames, how large a network, how long each part takes.

A CPU is bound by tokens, so it gets few large ones; a GPU gets small patches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....runtime.core import NextframeError

WORK = ".train"
"""The folder inside a world's own where a run keeps data and checkpoints; play needs nothing of it."""
UNITS = {"s": 1, "m": 60, "h": 3600}
MIN_SECONDS, MAX_SECONDS = 20, 7 * 24 * 3600
COMPILE_FROM_S = 1200
"""torch.compile takes about a minute on a CPU; below this much training it does not pay."""


MAX_TILES = 144
"""In a frame. Attention grows with the square of it."""


@dataclass(frozen=True)
class Budget:
    seconds: float
    device: str


@dataclass(frozen=True)
class Plan:
    """Sizes and shares of one run. `frames`: wanted; data ends there or at its share of the time, whichever is first.

    `data_s`, `tokenizer_s`, `dynamics_s`: wall time of each part. `ticks`: of a training sequence, above the window.
    """

    seconds: float
    frames: int
    data_s: float
    tokenizer_s: float
    dynamics_s: float
    patch_px: int
    max_channels: int
    refine_width: int
    refine_blocks: int
    width: int
    layers: int
    heads: int
    window: int
    ticks: int
    batch: int
    rate: float
    compile: bool
    tiled: bool = False
    """The picture is made of tiles of `patch_px`."""


def parse_budget(text: str) -> Budget:
    """`90s`, `30m`, `2h`, or with `gpu-` before it."""
    match = re.fullmatch(r"(gpu-)?(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    if not match:
        raise NextframeError(f"--budget {text}: expected a time such as 5m, 30m, 2h or gpu-25m")
    seconds = float(match[2]) * UNITS[match[3]]
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise NextframeError(f"--budget {text}: expected {MIN_SECONDS}s to {MAX_SECONDS // 3600}h")
    return Budget(seconds, "cuda" if match[1] else "cpu")


def parse_part(text: str, *, option: str = "--part") -> float:
    """Seconds of a time such as `8m`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip().lower())
    if not match or float(match[1]) == 0:
        raise NextframeError(f"{option} {text}: expected a time such as 90s or 8m")
    return float(match[1]) * UNITS[match[2]]


def plan_for(
    budget: Budget, height_px: int, width_px: int, *, compiled: bool | None = None, tile_px: int | None = None
) -> Plan:
    """The shares leave a twentieth for evaluation and export.

    On a CPU the network is small, because half an hour is some thousand steps of a small one and some hundred of a
    large one: at a width of 96 there are about a dozen tokens for each number to be learned, at 192 less than one.

    `tile_px`: the picture is made of such tiles, and each is a token.
    """
    if tile_px is not None:
        check_tiles(tile_px, height_px, width_px)
    seconds, gpu = budget.seconds, budget.device != "cpu"
    patch = tile_px or patch_for(height_px, width_px, most_tokens=96 if gpu else 36)
    if gpu:
        width, layers, heads, window, batch = 384, 8, 6, 16, 32
    elif seconds < 240:
        width, layers, heads, window, batch = 96, 3, 4, 4, 6
    elif seconds < 1200:
        width, layers, heads, window, batch = 96, 3, 4, 6, 8
    elif seconds < 3600:
        width, layers, heads, window, batch = 96, 3, 4, 8, 8
    elif seconds < 10800:
        width, layers, heads, window, batch = 160, 4, 4, 8, 8
    else:
        width, layers, heads, window, batch = 256, 6, 4, 12, 8
    if tile_px is not None and not gpu:  # more tokens, each of them simple
        width, layers, heads, window, batch = (96, 2, 4, 4, 4) if seconds < 10800 else (160, 4, 4, 6, 8)
    frames = int(min(400_000 if gpu else 150_000, max(4_000, seconds * (250 if gpu else 20))))
    return Plan(
        seconds, frames, 0.25 * seconds, 0.12 * seconds, 0.55 * seconds, patch, 96, 96 if gpu else 48,
        4 if gpu else 2, width, layers, heads, window, window + (8 if gpu else 4), batch, 8e-4 if gpu else 1.5e-3,
        (gpu or seconds >= COMPILE_FROM_S) if compiled is None else compiled, tile_px is not None,
    )  # fmt: skip


def patch_for(height_px: int, width_px: int, *, most_tokens: int) -> int:
    """The smallest patch that divides both sides and leaves few enough tokens."""
    for patch in (8, 16, 32):
        if height_px % patch == 0 and width_px % patch == 0 and height_px * width_px // patch**2 <= most_tokens:
            return patch
    raise NextframeError(
        f"--size {width_px}x{height_px}: expected sides that are multiples of 32 (or of 16 up to 96), not larger than "
        f"{most_tokens} patches of 32 px; try 64x64 or 96x96"
    )


def check_tiles(tile_px: int, height_px: int, width_px: int) -> None:
    if tile_px % 4 or height_px % tile_px or width_px % tile_px or height_px * width_px > MAX_TILES * tile_px**2:
        raise NextframeError(
            f"--tiles {tile_px}: expected a multiple of 4 that divides both sides of a {width_px}x{height_px} frame "
            f"into at most {MAX_TILES} tiles; give --size too"
        )


def parse_size(text: str | None, height_px: int, width_px: int) -> tuple[int, int]:
    """`WIDTHxHEIGHT` as (height, width); where not given, 64 px on the short side and the nearest sixteenths on the
    long one, 128 at most."""
    if text is not None:
        match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
        if not match or any(int(side) < 16 for side in match.groups()):
            raise NextframeError(f"--size {text}: expected WIDTHxHEIGHT in pixels, such as 64x64 or 96x64")
        return int(match[2]), int(match[1])
    if min(height_px, width_px) <= 32 and height_px % 8 == 0 and width_px % 8 == 0:
        return height_px, width_px
    ratio = max(height_px, width_px) / min(height_px, width_px)
    long = min(128, 16 * round(4 * ratio))
    return (64, long) if width_px >= height_px else (long, 64)
