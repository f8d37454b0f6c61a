"""Closed curves through points, evenly sampled: what a course is made of. Plain geometry, no units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def closed_curve(points: NDArray[np.float64], samples_per_span: int) -> NDArray[np.float64]:
    """A closed uniform Catmull-Rom curve through the points, `(n, 2)` to `(n * samples_per_span, 2)`."""
    t = np.linspace(0, 1, samples_per_span, endpoint=False)[:, None]
    spans = []
    for i in range(len(points)):
        p0, p1, p2, p3 = (points[(i + k - 1) % len(points)] for k in range(4))
        spans.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.concatenate(spans)


def evenly(curve: NDArray[np.float64], per_unit: float = 2.0) -> tuple[NDArray[np.float64], float]:
    """The closed curve resampled at so many points per unit of length, and its length."""
    closed = np.vstack([curve, curve[:1]])
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.linspace(0, arc[-1], int(arc[-1] * per_unit), endpoint=False)
    return np.stack([np.interp(at, arc, closed[:, k]) for k in range(2)], axis=1), float(arc[-1])
