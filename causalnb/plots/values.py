"""What figures are drawn from: numbers that are there and finite, as columns."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

Interval = tuple[float, float, float]  # value, low, high
Curve = Mapping[float, float | Interval]  # by x, ascending
T = TypeVar("T")


def some(found: T, what: str) -> T:
    """What was given, or a ValueError where that is nothing."""
    if not len(found):  # type: ignore[arg-type]
        raise ValueError(f"a figure needs data: no {what}")
    return found


def columns(points: Mapping[Any, float | Interval | Sequence[float]], what: str) -> np.ndarray:
    """Values by x as [n, 4]: x, value, low, high."""
    rows = [(x, *((v, v, v) if np.ndim(v) == 0 else v)) for x, v in some(points, f"values of {what}").items()]  # type: ignore[misc]
    found = np.array(rows, dtype=float)
    if not np.isfinite(found).all():
        raise ValueError(f"a figure needs finite numbers: {what}")
    return found


def strokes(ends: np.ndarray, places: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lines from low to high [n, 2] at n places as one that is broken between."""
    gaps = np.full(len(ends), np.nan)
    return np.stack([ends[:, 0], ends[:, 1], gaps], 1).ravel(), np.stack([places, places, gaps], 1).ravel()
