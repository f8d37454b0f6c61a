"""Do the actions stand beside the frames that they led into? What moves in a video is compared with the table.

Motion is measured as least-squares flow in the whole picture and in nine parts of it, and as change of brightness. A
ridge regression says how much of it the actions explain at each lag, on frames it was not fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONG_SIDE_PX = 48
PARTS = 3
MOST_LAG_FRAMES = 8
INERTIA_FRAMES = 24
"""For how long an action may go on moving things; without these lags the last of the others would stand for them."""
LEAST_FRAMES = 200
TELLING = 0.05
"""The least share of motion explained from which a lag can be told."""
CLEARLY = 0.5
"""Where they stand the actions must weigh this share of what they weigh at the lag at which they weigh most."""
BEST_FEATURES = 3
FOLDS = 4


@dataclass(frozen=True)
class Fit:
    """`lag_frames`: by how much the rows come late, positive where a row belongs to an earlier frame. `best`, `here`:
    the share of motion that actions explain there, and where they stand. `weight`: of an action where it stands, in
    parts of its weight at that lag, all lags being judged together."""

    lag_frames: int
    best: float
    here: float
    weight: float

    @property
    def told(self) -> bool:
        return self.best >= TELLING

    @property
    def off(self) -> bool:
        return self.told and self.lag_frames != 0 and self.weight < CLEARLY


class Motion:
    """Collects what moved into each frame of one video."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None
        self._rows: list[NDArray[np.float64]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        grey = _small(image)
        if self._before is None or self._before.shape != grey.shape:
            self._rows.append(np.zeros(2 * (PARTS**2 + 1) + 2))
        else:
            self._rows.append(_flow(self._before, grey))
        self._before = grey

    def features(self) -> NDArray[np.float64]:
        """`(frames, features)`; the first frame has no motion."""
        return np.array(self._rows)


def _small(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Grey in 0..1, averaged over squares to at most about twice `LONG_SIDE_PX`."""
    height, width = image.shape[:2]
    step = max(1, max(height, width) // LONG_SIDE_PX)
    whole = image[: height // step * step, : width // step * step]
    squares = whole.reshape(height // step, step, width // step, step, 3)
    return squares.mean((1, 3, 4), dtype=np.float64) / 255


def _flow(before: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each part (x, y) in least squares: the way that explains its change of brightness by its slopes."""
    change = now - before
    down, right = np.gradient((now + before) / 2)
    products = np.stack([right * right, right * down, down * down, -right * change, -down * change])
    rows, columns = (np.linspace(0, side, PARTS + 1).astype(int)[:-1] for side in now.shape)
    parts = np.add.reduceat(np.add.reduceat(products, rows, 1), columns, 2).reshape(5, -1)
    xx, xy, yy, x, y = np.column_stack([parts, parts.sum(1)])
    soft = 1e-3 + 1e-2 * (xx + yy)
    xx, yy = xx + soft, yy + soft
    scale = xx * yy - xy * xy
    flows = np.stack([(yy * x - xy * y) / scale, (xx * y - xy * x) / scale])
    return np.array([*flows.ravel(), change.mean(), np.abs(change).mean()])


def fit(motion: list[NDArray[np.float64]], actions: list[NDArray[np.float32]]) -> Fit | None:
    """Over several videos: `motion[v][frame]` and `actions[v][frame]`, rows of NaN where there is no action. None where
    there is too little to tell."""
    lags = range(-MOST_LAG_FRAMES, MOST_LAG_FRAMES + 1)
    paired = [_paired(motion, actions, lag) for lag in lags]
    if min(len(x) for x, _ in paired) < LEAST_FRAMES:
        return None
    shares = np.array([_explained(x, y) for x, y in paired])  # (lags, features)
    telling = np.argsort(shares.max(0))[-BEST_FEATURES:]
    scores = shares[:, telling].mean(1)
    weights = _weights(motion, actions, telling)
    here, best = MOST_LAG_FRAMES, int(np.argmax(weights))
    return Fit(lags[best], float(scores[best]), float(scores[here]), float(weights[here] / max(weights[best], 1e-12)))


def _weights(
    motion: list[NDArray[np.float64]], actions: list[NDArray[np.float32]], telling: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How much an action weighs at each lag when all lags explain the motion together, `(lags,)`: in a game with
    inertia an action moves many frames, and most of all the first."""
    xs, ys = [], []
    for moved, acted in zip(motion, actions, strict=True):
        count = min(len(moved), len(acted))
        frames = np.arange(INERTIA_FRAMES + 1, count - MOST_LAG_FRAMES)
        spans = [acted[frames + lag] for lag in range(-INERTIA_FRAMES, MOST_LAG_FRAMES + 1)]
        x = np.stack(spans, 1).astype(np.float64)  # (frames, lags, actions)
        there = np.isfinite(x).all((1, 2))
        xs.append(x[there])
        ys.append(moved[frames[there]][:, telling])
    x, y = np.concatenate(xs), np.concatenate(ys)
    if len(x) < LEAST_FRAMES:
        return np.eye(2 * MOST_LAG_FRAMES + 1)[MOST_LAG_FRAMES]
    shape = x.shape[1:]
    flat = _standard(x.reshape(len(x), -1))
    ridge = 1e-3 * len(flat) * np.eye(flat.shape[1])
    found = np.linalg.solve(flat.T @ flat + ridge, flat.T @ _standard(y).clip(-4, 4))
    return (found.reshape(*shape, -1) ** 2).sum((1, 2))[INERTIA_FRAMES - MOST_LAG_FRAMES :]


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 1e-9, spread, 1)


def _paired(
    motion: list[NDArray[np.float64]], actions: list[NDArray[np.float32]], lag: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Actions of rows, and the motion `lag` frames before each."""
    xs, ys = [], []
    for moved, acted in zip(motion, actions, strict=True):
        count = min(len(moved), len(acted))
        rows = np.arange(max(0, lag), min(len(acted), count + min(lag, 0) + max(lag, 0)))
        frames = rows - lag
        inside = (frames >= 1) & (frames < len(moved)) & (rows < len(acted))
        rows, frames = rows[inside], frames[inside]
        there = np.isfinite(acted[rows]).all(1)
        xs.append(acted[rows[there]].astype(np.float64))
        ys.append(moved[frames[there]])
    return np.concatenate(xs), np.concatenate(ys)


def _explained(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each feature, the share of its variance that actions foretell, in parts that were not fitted."""
    spread = y.std(0)
    y = np.clip((y - y.mean(0)) / np.where(spread > 1e-9, spread, 1), -4, 4) * (spread > 1e-9)
    x = np.column_stack([x, np.ones(len(x))])
    wrong = np.zeros(y.shape[1])
    for part in np.array_split(np.arange(len(x)), FOLDS):
        others = np.ones(len(x), bool)
        others[part] = False
        weights = np.linalg.solve(x[others].T @ x[others] + 0.1 * np.eye(x.shape[1]), x[others].T @ y[others])
        wrong += ((y[part] - x[part] @ weights) ** 2).sum(0)
    whole = (y**2).sum(0)
    return np.where(whole > 0, 1 - wrong / np.where(whole > 0, whole, 1), 0).clip(0)
