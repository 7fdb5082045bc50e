"""What a training method does, over several trainings: a statistic of each, the next one, all of them.

Of a mean over images it is `statistics.over_seeds`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from causalnb.statistics import Estimate, prediction_half_width, sample_digest, standard_errors, student

EVERY = "every training"
PREDICTION = "prediction of one more training"


def over_resamples(
    values: ArrayLike, resampled: ArrayLike, *, seeds: Sequence[int], n: int, level: float = 0.95
) -> Estimate:
    """`over_seeds` of a statistic that is no mean over images: its variance over images is that of the mean
    over the trainings of the resampled statistic; all of them saw the same resamples of the n images.

    values      [k], the statistic of each training
    resampled   [k, resamples], of the same training on resampled images
    """
    each, drawn = (np.asarray(given, dtype=np.float64) for given in (values, resampled))
    if drawn.ndim != 2 or not len(set(seeds)) == len(each) == len(drawn) >= 2 or drawn.shape[1] < 2:
        raise ValueError(
            "over resamples: values [k] and [k, resamples] of k >= 2 seeds, at least two resamples; got "
            f"shapes {each.shape} and {drawn.shape}, {len(set(seeds))} seeds"
        )
    found = student(each, float(drawn.mean(axis=0).var(ddof=1)), seeds, level)
    return replace(found, n=n, draws=sample_digest(each))


def one_more(
    values: ArrayLike, *, seeds: Sequence[int], of_images: float = 0.0, level: float = 0.95
) -> Estimate:
    """The mean of k >= 2 trainings with the interval in which one more lies: t sqrt((1 + 1/k) sd^2 + its
    variance over images).

    >>> one_more([1.0, 2.0, 3.0], seeds=[0, 1, 2]).value
    2.0
    """
    each = np.asarray(values, dtype=np.float64)
    half = math.hypot(
        prediction_half_width(float(each.std(ddof=1)), len(each), level),
        standard_errors(level, len(each) - 1) * math.sqrt(of_images),
    )
    centre = float(each.mean())
    return Estimate(centre, centre - half, centre + half, level, PREDICTION, seeds=tuple(seeds))


def every(each: Sequence[Estimate], *, seeds: Sequence[int]) -> Estimate:
    """What holds of each of several trainings: from the lowest end of any of their intervals to the highest,
    so that a relation holds over the whole only where it holds for all. The value is their median.

    >>> every([proportion(9, 10), proportion(10, 10)], seeds=[0, 1]).value
    0.95
    """
    if not each or len(each) != len(set(seeds)):
        raise ValueError(f"every training: an estimate for each seed, got {len(each)} for {len(set(seeds))}")
    low, high = zip(*(one.ends for one in each), strict=True)
    levels = [one.level for one in each if one.level is not None]
    return Estimate(
        float(np.median([one.value for one in each])),
        min(low),
        max(high),
        min(levels, default=None),
        EVERY,
        min((one.n for one in each if one.n is not None), default=None),
        tuple(seeds),
    )
