"""Pictures for the page: the same moment with and without an input, and what the sessions looked like.

Pictures are an example of the evidence, not the evidence: verdicts do not look at them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Frame
from ...pages.pictures import data_uri, thinned
from ..questions.evidence import Evidence, Pictures

FRAMES_AFTER = (1, 2, 3, 5, 7, 12, 24, 48)
MOST_COLUMNS = 7
MOST_IN_GALLERY = 12
BRIGHTEST = 255
EASILY_SEEN_PERCENTILE = 99
MOST_GAIN = 16.0
"""Brightening a difference of a few grey levels beyond this would show noise as if it were an effect."""
WIDEST_PX, GALLERY_PX = 320, 192
"""Wider pictures are thinned out to these, so that the page stays small enough to send."""


def pictures_json(evidence: Evidence) -> dict[str, Any]:
    """`strip` (None without an answered control) and `gallery`, for `page.write_page`."""
    pictures = evidence.pictures
    strip = strip_json(pictures, evidence.next_frame.first_changed_frame) if pictures and pictures.a else None
    return {"strip": strip, "gallery": [data_uri(thinned(frame, GALLERY_PX)) for frame in _spread(evidence.gallery)]}


def strip_json(pictures: Pictures, first_changed: int | None = None) -> dict[str, Any]:
    """One column a moment: `a` without the input, `b` with it, their difference brightened `gain` times.

    `largest` is the largest difference of a column, in grey levels. An overlay that was left out is marked in none of
    them: the pictures are what a player sees.
    """
    wanted = columns(min(len(pictures.a), len(pictures.b)), first_changed)
    pairs = [(0, pictures.before, pictures.before)]
    pairs += [(frame, pictures.b[frame - 1], pictures.a[frame - 1]) for frame in wanted]
    differences = [np.abs(with_input.astype(np.int16) - without) for _, without, with_input in pairs]
    gain = _gain(differences)
    return {
        "action": pictures.control,
        "gain": round(gain, 1),
        "moments": [
            {
                "frame": frame,
                "a": data_uri(thinned(without, WIDEST_PX)),
                "b": data_uri(thinned(with_input, WIDEST_PX)),
                "difference": data_uri(thinned(np.clip(difference * gain, 0, BRIGHTEST).astype(np.uint8), WIDEST_PX)),
                "largest": int(difference.max()),
            }
            for (frame, without, with_input), difference in zip(pairs, differences, strict=True)
        ],
    }


def _gain(differences: Sequence[NDArray[np.int16]]) -> float:
    """So much that the first difference there is can be seen well; the later ones, mostly larger, are cut off."""
    first = next((difference for difference in differences if difference.any()), None)
    if first is None:
        return 1.0
    usual = float(np.percentile(first.max(axis=2), EASILY_SEEN_PERCENTILE))
    return min(MOST_GAIN, max(1.0, BRIGHTEST / max(usual, 1.0)))


def columns(frames: int, first_changed: int | None = None) -> list[int]:
    """Which of frames 1..`frames` are shown: close together at first, and the first that changed in any case."""
    wanted = {frame for frame in FRAMES_AFTER if frame <= frames}
    if first_changed is not None and 1 <= first_changed <= frames:
        wanted |= {first_changed, max(1, first_changed - 1)}
    chosen = sorted(wanted)
    while len(chosen) > MOST_COLUMNS - 1:
        spare = [frame for frame in chosen if frame not in (1, first_changed, chosen[-1])]
        chosen.remove(spare[len(spare) // 2])
    return chosen


def _spread(frames: Sequence[Frame]) -> list[Frame]:
    if len(frames) <= MOST_IN_GALLERY:
        return list(frames)
    return [frames[index] for index in np.linspace(0, len(frames) - 1, MOST_IN_GALLERY).round().astype(int)]
