"""Estimates with their intervals: what a measurement is made of.

Proportions by Wilson, means and standard deviations by percentile bootstrap over the images (too narrow below
about ten of them), pairs kept as pairs, what a training method does by Student over its seeds. Nothing is
judged here: rules and tolerances are the ledger's.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

RESAMPLES = 2_000
TAIL = 10  # resamples beyond each end of an interval, at least: an end at a high level is no extreme
FLIPS = 9_999
STUDENT = "student over seeds"
WIDE = 1000  # columns whose resampled statistics are held at a time
BLOCK = 128  # columns whose quantiles are taken at a time


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and what made it. A logical result has value 1.0 (holds) or 0.0 (does not),
    method "logic".

    value    the point
    low high the interval's ends, None where there is no interval (a logical or exact result, a single draw)
    level    of the interval, e.g. 0.95
    method   "wilson", "bootstrap mean", "bootstrap sd", "exact", "logic", ...
    n        sample size (images, pairs, rows), None where it has no meaning
    seeds    the seeds it rests on
    p        of a test, where one was made
    draws    SHA-256 (16 hex digits) of the sample it was computed from
    unit     "", "%", "pixels", "logit", ...
    """

    value: float
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str = "exact"
    n: int | None = None
    seeds: tuple[int, ...] = ()
    p: float | None = None
    draws: str | None = None
    unit: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the interval; the point twice where there is none."""
        return (
            self.value if self.low is None else self.low,
            self.value if self.high is None else self.high,
        )

    @property
    def interval(self) -> "Interval":
        """The value and both ends."""
        return self.value, *self.ends

    @property
    def single_draw(self) -> bool:
        """Whether it was drawn and has no interval, so that it decides nothing."""
        return self.low is None and self.method not in ("exact", "logic")

    def at(self, level: float) -> "Estimate":
        """The same estimate with its interval at another level; without an interval, itself.

        Wilson's is taken anew; any other keeps its shape: each end moves as Student's or the normal quantile
        does, which for a percentile bootstrap is an approximation.
        """
        if self.low is None or self.high is None or self.level is None or level == self.level:
            return self
        if self.method == "wilson" and self.n:
            found = proportion(round(self.value * self.n), self.n, level=level)
            return replace(self, low=found.low, high=found.high, level=level)
        times = widening(self.level, level, len(self.seeds) - 1 if self.method == STUDENT else None)
        low, high = (self.value + times * (end - self.value) for end in (self.low, self.high))
        return replace(self, low=low, high=high, level=level)


Estimates = dict[Any, Estimate]  # by MeasurementId, or by text where the data are not in it
Interval = tuple[float, float, float]  # a value, and both ends


def exact(value: float, *, n: int | None = None, unit: str = "") -> Estimate:
    """A number without sampling error: a count, a closed form."""
    return Estimate(_finite(value), method="exact", n=n, unit=unit)


def logic(holds: bool, *, n: int | None = None) -> Estimate:
    """Whether a statement holds.

    >>> logic(True).value
    1.0
    """
    return Estimate(float(bool(holds)), method="logic", n=n)


def proportion(successes: int, n: int, *, level: float = 0.95, seeds: tuple[int, ...] = ()) -> Estimate:
    """The share of successes among n, with Wilson's interval. Its sample is the counts: it has no `draws`.

    >>> share = proportion(19, 20)
    >>> f"{share.value:.2f} [{share.low:.3f}, {share.high:.3f}]"
    '0.95 [0.764, 0.991]'
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes among {n} are no proportion")
    low, high = wilson(successes / n, int(n), standard_errors(level))
    return Estimate(successes / n, low, high, level, "wilson", int(n), tuple(seeds))


def wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's interval for a share of n, z standard errors to both sides; exact at shares of 0 and 1."""
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = ((centre + way * half) / (1 + z * z / n) for way in (-1, 1))
    return 0.0 if share <= 0 else low, 1.0 if share >= 1 else high


def bounds(k: int, n: int, of: int) -> Estimate:
    """The share k / of, where only n of the `of` were published, k of them counted: from k / of, if none of
    the others count, to (k + of - n) / of, if all do. No sampling error, and so no level.

    >>> bounds(10, 45, 100).interval
    (0.1, 0.1, 0.65)
    """
    if not 0 <= k <= n <= of:
        raise ValueError(f"{k} of {n} published of {of} is no count")
    return Estimate(k / of, k / of, (k + of - n) / of, method="bounds", n=n)


def mean(values: ArrayLike, *, level: float = 0.95, seed: int = 0, seeds: tuple[int, ...] = ()) -> Estimate:
    """The mean of values [n], with the percentile interval of a bootstrap over them; n = 1 has no
    interval.
    """
    return summaries({"": values}, level=level, seed=seed, seeds=seeds)[""]


def spread(values: ArrayLike, *, level: float = 0.95, seed: int = 0, seeds: tuple[int, ...] = ()) -> Estimate:
    """The standard deviation (ddof = 1) of values [n], n >= 2, with a percentile bootstrap over them."""
    return summaries({"": values}, statistic="sd", level=level, seed=seed, seeds=seeds)[""]


def paired_difference(
    after: ArrayLike, before: ArrayLike, *, level: float = 0.95, seed: int = 0, seeds: tuple[int, ...] = ()
) -> Estimate:
    """The mean of after - before, both [n] on the same images: bootstrap over the pairs, p by flipping signs.

    On outcomes of 0 and 1 the test is McNemar's.
    """
    a, b = _sample(after), _sample(before)
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal shapes, got {a.shape} and {b.shape}")
    return summaries({"": a - b}, level=level, seed=seed, seeds=seeds, test=True)[""]


def over_seeds(values: ArrayLike, *, seeds: Sequence[int], level: float = 0.95, unit: str = "") -> Estimate:
    """The mean of what a training method does, over trainings that all saw the same images: Student's t with
    k - 1 degrees on SE^2 = var(seed means) / k + var(image means) / n.

    The error that seeds and images have together is counted in both terms, so the interval is a little too
    wide, never too narrow. Two methods trained from the same seeds are compared by the difference of their
    values. Refused: fewer than two seeds or images.

    values   [k, n], of training k on image n
    seeds    of the k trainings
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2 or len(set(seeds)) != len(table):
        raise ValueError(
            "over seeds: values [k, n] of at least two seeds on at least two images, and the k seeds; got "
            f"shape {table.shape} and {len(set(seeds))} seeds"
        )
    _sample(table.ravel())
    found = student(table.mean(axis=1), float(table.mean(axis=0).var(ddof=1)) / table.shape[1], seeds, level)
    return replace(found, n=table.shape[1], draws=sample_digest(table), unit=unit)


def student(each: Floats, of_images: float, seeds: Sequence[int], level: float) -> Estimate:
    """The mean of trainings with Student's interval, on the variance over them and that over images."""
    k, centre = len(each), float(each.mean())
    half = standard_errors(level, k - 1) * math.sqrt(each.var(ddof=1) / k + of_images)
    return Estimate(centre, centre - half, centre + half, level, STUDENT, seeds=tuple(seeds))


def simultaneous_level(m: int, *, misses: int = 1) -> float:
    """The level of each of m intervals at which `misses` or more of them miss in at most 5 % of cases,
    whatever their correlation (Bonferroni; for more than one, Rueger 1978).

    >>> simultaneous_level(10), simultaneous_level(32, misses=8)
    (0.995, 0.9875)
    """
    if not 1 <= misses <= m:
        raise ValueError(f"{misses} of {m} intervals cannot miss")
    return 1 - 0.05 * misses / m


def widening(level: float, other: float, degrees: int | None = None) -> float:
    """How many times as wide as at `level` an interval is at the other level: by Student's quantiles, or by
    the normal ones where no degrees are given.

    >>> round(widening(0.95, 0.9875), 3)
    1.274
    """
    return standard_errors(other, degrees) / standard_errors(level, degrees)


@cache
def standard_errors(level: float, degrees: int | None = None) -> float:
    """How many standard errors lie between the middle and either end of an interval: of Student's law with
    those degrees, or of the normal one.

    >>> round(standard_errors(0.95), 3), round(standard_errors(0.95, 2), 3)
    (1.96, 4.303)
    """
    law = stats.norm if degrees is None else stats.t(degrees)
    return float(law.ppf((1 + _level(level)) / 2))


def summaries(
    columns: Mapping[str, ArrayLike],
    *,
    statistic: Literal["mean", "sd"] = "mean",
    level: float = 0.95,
    seed: int = 0,
    seeds: tuple[int, ...] = (),
    test: bool = False,
) -> dict[str, Estimate]:
    """`mean` or `spread` of many columns at once: those of equal length share their resamples, so that images
    stay together.

    columns  name -> values [n]
    test     of a mean: also p of "each value is as likely positive as negative", two-sided, over 9,999 sign
             flips
    """
    samples = {name: _sample(values) for name, values in columns.items()}
    found: dict[str, Estimate] = {}
    for n in {len(sample) for sample in samples.values()}:
        names = [name for name, sample in samples.items() if len(sample) == n]
        found.update(
            zip(
                names,
                _summaries(
                    np.stack([samples[name] for name in names]).T, statistic, _level(level), seed, seeds, test
                ),
                strict=True,
            )
        )
    return {name: found[name] for name in columns}


def prediction_half_width(sd: float, k: int, level: float = 0.95) -> float:
    """Half the interval in which one more draw lies, after k draws of standard deviation sd: t sd sqrt(1 +
    1/k).

    >>> round(prediction_half_width(1.0, 3), 3)
    4.968
    """
    if k < 2:
        raise ValueError(f"a spread needs at least two draws, got k = {k}")
    return standard_errors(level, k - 1) * _finite(sd) * math.sqrt(1 + 1 / k)


def _summaries(
    table: Floats, statistic: str, level: float, seed: int, seeds: tuple[int, ...], test: bool
) -> list[Estimate]:
    n = len(table)
    if statistic == "sd" and n < 2:
        raise ValueError("a standard deviation needs at least two values")
    centre = table.mean(axis=0)
    values, shift = (centre, centre) if statistic == "mean" else (table.std(axis=0, ddof=1), 0.0 * centre)
    interval = n > 1
    ends = (
        _percentiles(table - centre, statistic, level, seed) + shift
        if interval
        else np.zeros((2, len(values)))
    )
    p = _flipped(table, seed) if test else values
    return [
        Estimate(
            float(values[i]),
            float(ends[0, i]) if interval else None,
            float(ends[1, i]) if interval else None,
            level if interval else None,
            f"bootstrap {statistic}",
            n,
            tuple(seeds),
            float(p[i]) if test else None,
            sample_digest(table[:, i]),
        )
        for i in range(len(values))
    ]


def _percentiles(centred: Floats, statistic: str, level: float, seed: int) -> Floats:
    """Both ends [2, columns] of the percentile interval of centred columns [n, columns], from the same
    resamples for all; some columns at a time.
    """
    parts = [centred[:, start : start + WIDE] for start in range(0, centred.shape[1], WIDE)]
    return np.concatenate([_ends(part, statistic, level, seed) for part in parts], axis=1)


def _ends(centred: Floats, statistic: str, level: float, seed: int) -> Floats:
    n, start = len(centred), 0
    drawn = np.empty((centred.shape[1], resamples(level)))
    for (weights,) in resampled(n, level=level, seed=seed):
        means = centred.T @ weights.T
        drawn[:, start : start + len(weights)] = (
            means
            if statistic == "mean"
            else np.sqrt(np.maximum((centred**2).T @ weights.T - means**2, 0) * n / (n - 1))
        )
        start += len(weights)
    return percentile_ends(drawn, level)


def resamples(level: float) -> int:
    """How many resamples a percentile interval at that level takes."""
    return max(RESAMPLES, math.ceil(2 * TAIL / (1 - level)))


def resampled(*sizes: int, level: float, seed: int) -> Iterator[tuple[Floats, ...]]:
    """The weights of every resample, some rows at a time: for each sample of n, [rows, n] that sum to 1 along
    a row.
    """
    rng, rows, left = np.random.default_rng(seed), _rows(sum(sizes)), resamples(level)
    while left:
        take = min(rows, left)
        yield tuple(_weights(rng, take, n) for n in sizes)
        left -= take


def _weights(rng: np.random.Generator, rows: int, n: int) -> Floats:
    index = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
    return np.asarray(np.bincount(index.ravel(), minlength=index.size).reshape(index.shape) / n)


def percentile_ends(drawn: Floats, level: float) -> Floats:
    """Both ends [2, columns] of the percentile interval of resampled statistics [columns, resamples], whose
    order is lost.
    """
    both = [(1 - level) / 2, (1 + level) / 2]
    blocks = (drawn[start : start + BLOCK] for start in range(0, len(drawn), BLOCK))
    return np.concatenate([np.quantile(one, both, axis=1, overwrite_input=True) for one in blocks], axis=1)


def _flipped(table: Floats, seed: int) -> Floats:
    """Two-sided p [columns]: the share of sign flips, the given signs among them, whose sum is as far from
    0.
    """
    n = len(table)
    rng = np.random.default_rng(seed)
    observed = np.abs(table.sum(axis=0)) * (1 - 1e-12)
    reached = np.ones(table.shape[1])
    for start in range(0, FLIPS, _rows(n)):
        signs = 2.0 * rng.integers(2, size=(min(_rows(n), FLIPS - start), n), dtype=np.int8) - 1
        reached += (np.abs(signs @ table) >= observed).sum(axis=0)
    return np.asarray(reached / (FLIPS + 1))


def _rows(n: int) -> int:
    """Rows of n numbers that are held in memory at once: about 30 MB."""
    return max(1, 4_000_000 // n)


def _sample(values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(
            f"a sample is one axis of finite numbers, at least one; got shape {sample.shape}, "
            f"{(~np.isfinite(sample)).sum()} not finite"
        )
    return sample


def sample_digest(sample: Floats) -> str:
    """Of the numbers that an estimate was computed from: 16 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(sample, dtype="<f8").tobytes()).hexdigest()[:16]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"an estimate is a finite number, got {value}")
    return float(value)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return level
