"""Estimates that only this chapter asks for: a median, a ratio of shares, and the largest or smallest of
several shares of the same images.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from causalnb.statistics import Estimate, percentile_ends, resampled, sample_digest, standard_errors

Floats = NDArray[np.float64]
Extreme = Literal["range", "least"]


def median(values: ArrayLike, *, level: float = 0.95, seeds: tuple[int, ...] = ()) -> Estimate:
    """The median of values [n] with the interval between two of them in order, whose level is at least that
    asked for; of too few values for one, without.

    >>> found = median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    >>> found.interval
    (4.0, 1.0, 7.0)
    """
    sample = np.asarray(values, dtype=np.float64)
    ends = stats.quantile_test(sample, p=0.5).confidence_interval(level)
    low, high = float(ends.low), float(ends.high)
    there = math.isfinite(low) and math.isfinite(high)
    return Estimate(
        float(np.median(sample)),
        low if there else None,
        high if there else None,
        level if there else None,
        "order statistics",
        len(sample),
        tuple(seeds),
        draws=sample_digest(sample),
    )


def ratio(first: tuple[int, int], second: tuple[int, int], *, level: float = 0.95) -> Estimate:
    """How many times as large the first share (k, n) is as the second, a half added to each count, so that
    none is zero (Walter 1975); the interval is normal in the logarithm.

    >>> f"{ratio((50, 100), (5, 100)).value:.2f}"
    '9.18'
    """
    (a, n), (b, m) = first, second
    value = ((a + 0.5) / (n + 0.5)) / ((b + 0.5) / (m + 0.5))
    error = math.sqrt(1 / (a + 0.5) - 1 / (n + 0.5) + 1 / (b + 0.5) - 1 / (m + 0.5))
    away = math.exp(standard_errors(level) * error)
    return Estimate(value, value / away, value * away, level, "log ratio", min(n, m))


def extreme(
    table: ArrayLike, what: Extreme, *, level: float = 0.95, seed: int = 0, seeds: tuple[int, ...] = ()
) -> Estimate:
    """Of the means of the columns of table [n, columns] the "least", or the "range" from the least to the
    greatest, with a percentile bootstrap over the rows, which stay together.

    A range is never below 0, so that its interval lies too high where all columns are alike.
    """
    sample = np.asarray(table, dtype=np.float64)
    drawn = np.concatenate(
        [_of(weights @ sample, what) for (weights,) in resampled(len(sample), level=level, seed=seed)]
    )
    low, high = percentile_ends(drawn[None], level)[:, 0].tolist()
    value = float(_of(sample.mean(0)[None], what)[0])
    return Estimate(
        value,
        min(low, value),
        max(high, value),
        level,
        f"bootstrap {what}",
        len(sample),
        tuple(seeds),
        draws=sample_digest(sample),
    )


def _of(means: Floats, what: Extreme) -> Floats:
    return np.asarray(means.min(1) if what == "least" else np.ptp(means, axis=1))
