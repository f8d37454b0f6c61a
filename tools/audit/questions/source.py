"""Narrow or broad: how much different there is to see under many seeds, inputs and prompts.

What it can say is limited by what it tried: "narrow" means that these seeds, inputs and prompts showed little, "broad"
that they showed much; neither says that a picture is any good.

The rule works on frames without their tone (mean and contrast of each colour), so that another light is no other
place. Active is a pixel that moves by more than `ACTIVE_LEVELS` over the gallery: a talking head before a wall keeps
most of the picture as it is, a world in which one can go somewhere does not. Dimensions are the principal components
of the coarse pictures that make up 99 % of their variance: a narrow source has about as many as it has knobs, while
one thing that can be anywhere already needs many. Of the worlds at hand a drawn face has 8 dimensions on 17 % of its
picture, the circuit 22 on 86 %, the toy table 40 on 58 %. A single place in which much can happen counts as broad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Action, Frame
from ..targets.controls import opening, wander
from ..targets.player import Player
from .evidence import Source
from .frames import coarse
from .options import AuditOptions

ACTIVE_LEVELS = 8.0
BROAD_ACTIVE_SHARE = 0.2
BROAD_DIMENSIONS = 12
VARIANCE_SHARE = 0.99
FRAMES_PER_SESSION = 10
HOLD_TICKS = 8
BLOCK_ROWS = 48
"""Pixels are looked at in blocks, two wide or so many to the height of the picture, where noise averages out."""
GALLERY_FRAMES = 24
FEWEST_FRAMES = 12

Say = Callable[[str], None]


def source_test(
    player: Player, options: AuditOptions, say: Say, *, delay: int = 0, copies: int = 1
) -> tuple[Source, tuple[Frame, ...]]:
    """`delay`: frames until an answer; `copies`: how often the target shows each frame. Both want more patience."""
    say("source: many seeds, inputs and prompts")
    frames = gallery(player, options, delay=delay, copies=copies)
    return judge_gallery(frames), tuple(frames[:: max(1, len(frames) // GALLERY_FRAMES)])


def gallery(player: Player, options: AuditOptions, *, delay: int = 0, copies: int = 1) -> list[Frame]:
    """Frames at even times from several sessions, with inputs held for a while and a new prompt now and then."""
    sessions, ticks = (6, 60) if options.quick else (12, 120)
    ticks, hold = copies * ticks + 3 * delay, copies * HOLD_TICKS + delay
    every = ticks // (FRAMES_PER_SESSION if options.quick else 2 * FRAMES_PER_SESSION)
    space = player.target.actions
    words = [word for group in space.prompts.values() for word in group]
    frames = []
    for session in range(sessions):
        seed = options.seed_of(400 + session)
        rng = np.random.default_rng([seed, 0x6A77])
        actions = wander(space, rng, hold=(hold, 2 * hold))
        player.start(seed)
        player.step(opening(space))
        for tick in range(1, ticks + 1):
            action = next(actions)
            if words and tick % (2 * hold) == 0:
                action = Action(action.buttons, action.axes, prompt=str(rng.choice(words)))
            shown = player.step(action)
            if tick % every == 0:
                frames.append(shown.frame)
    return frames


def judge_gallery(frames: Sequence[Frame]) -> Source:
    if len(frames) < FEWEST_FRAMES:
        return Source(None, reason=f"expected at least {FEWEST_FRAMES} frames to compare, got {len(frames)}")
    shapes = toneless(frames)
    active = float((blocks(shapes).std(axis=0).max(axis=-1) > ACTIVE_LEVELS).mean())
    cells = np.array([coarse(frame).ravel() for frame in shapes])
    variances = np.linalg.svd(cells - cells.mean(axis=0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / max(float(variances.sum()), 1e-9)
    dimensions = int(np.searchsorted(shares, VARIANCE_SHARE)) + 1 if variances.sum() > 1e-6 else 0
    broad = active >= BROAD_ACTIVE_SHARE and dimensions >= BROAD_DIMENSIONS
    return Source(
        "broad" if broad else "narrow",
        {
            "frames": len(frames),
            "active_share": active,
            "dimensions": dimensions,
            "broad_from_active_share": BROAD_ACTIVE_SHARE,
            "broad_from_dimensions": BROAD_DIMENSIONS,
        },
    )


def toneless(frames: Sequence[Frame]) -> NDArray[np.float32]:
    """`(frames, height, width, 3)` with the mean and contrast of each frame's colours made those of the gallery."""
    values = np.stack(frames).astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    contrast = values.std(axis=(1, 2, 3), keepdims=True)
    usual = float(np.median(contrast))
    even: NDArray[np.float32] = values / np.maximum(contrast, 1.0) * usual + 128
    return even


def blocks(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of each block of pixels, `(frames, rows, columns, 3)`; what is left over at the edges is dropped."""
    count, height, width, _ = frames.shape
    size = min(max(2, height // BLOCK_ROWS), height, width)
    rows, columns = height // size, width // size
    cut = frames[:, : rows * size, : columns * size].reshape(count, rows, size, columns, size, 3)
    means: NDArray[np.float32] = cut.mean(axis=(2, 4))
    return means
