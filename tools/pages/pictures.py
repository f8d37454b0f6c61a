"""Pictures inside a page: as PNG data URIs, thinned or averaged down so that the page stays small enough to send."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...runtime.core import Frame
from ...runtime.display.stills import write_png


def data_uri(picture: NDArray[np.uint8]) -> str:
    """`(height, width, 3)` uint8 as `data:image/png;base64,...`"""
    with tempfile.TemporaryDirectory() as folder:
        content = write_png(Path(folder) / "picture.png", np.ascontiguousarray(picture)).read_bytes()
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def thinned(frame: NDArray[np.uint8], widest_px: int) -> Frame:
    """Every nth pixel, so that it is at most so wide: edges stay as hard as they are."""
    every = -(-frame.shape[1] // widest_px)
    return np.ascontiguousarray(frame[::every, ::every])


def averaged(picture: Frame, widest_px: int) -> Frame:
    """Means of whole blocks, so that it is at most so wide: what is too fine to see becomes its mean."""
    every = -(-picture.shape[1] // widest_px)
    height, width = (size // every * every for size in picture.shape[:2])
    blocks = picture[:height, :width].reshape(height // every, every, width // every, every, 3)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)
