"""How well a score tells suspicious items from clean ones: the area under the curve with its error, the
curve, thresholds fixed on clean items, rates that say of what they are a share, and detectors that score
nothing that they were fitted on.

A greater score is more suspicious. Numbers in, numbers out: what an item and a feature are is the caller's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalnb.statistics import (
    Estimate,
    percentile_ends,
    proportion,
    resampled,
    sample_digest,
    standard_errors,
    wilson,
)

Floats = NDArray[np.float64]
Pair = tuple[ArrayLike, ArrayLike]  # clean scores, suspicious scores

FOLDS = 5
NOTHING = 1e-12  # an error of an AUC that is rounding


# The area under the curve ---------------------------------------------------------------------------------


def auc(
    clean: ArrayLike,
    suspicious: ArrayLike,
    *,
    paired: bool = False,
    method: Literal["delong", "bootstrap"] = "delong",
    level: float = 0.95,
    seed: int = 0,
    seeds: tuple[int, ...] = (),
) -> Estimate:
    """The share of pairs in which a suspicious score [n1] is above a clean one [n0], ties halved; with
    DeLong's interval (DeLong et al. 1988) or a percentile bootstrap over the items.

    Where DeLong's error is 0, as when no scores overlap, or a sample has one item, the interval is Wilson's
    for as many pairs as the smaller sample has.

    paired    clean[i] and suspicious[i] are two versions of one item, which stay together
    returns   n is the size of the smaller sample

    >>> found = auc([0.1, 0.4, 0.35], [0.8, 0.9, 0.38])
    >>> f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}]"
    '0.889 [0.58, 1.00]'
    """
    if method not in ("delong", "bootstrap"):
        raise ValueError(f"method = {method!r}: it is delong or bootstrap")
    own = _scores(clean, suspicious, paired)
    value, n = _placements(*own)[2], min(map(len, own))
    if method == "bootstrap":
        low, high = percentile_ends(_bootstrapped(*own, paired, level, seed), level)[:, 0].tolist()
    else:
        low, high = _ends(value, math.sqrt(_delong([own], paired)[0, 0]), n, level)
    draws = sample_digest(np.concatenate(own))
    return Estimate(value, low, high, level, f"{method} auc", n, tuple(seeds), draws=draws)


def _ends(value: float, error: float, n: int, level: float) -> tuple[float, float]:
    """Both ends of an AUC's interval, in [0, 1]: by its standard error, or Wilson's where that is nothing."""
    z = standard_errors(level)
    low, high = (value - z * error, value + z * error) if n > 1 and error > NOTHING else wilson(value, n, z)
    return max(0.0, low), min(1.0, high)


def auc_difference(
    first: Pair, second: Pair, *, paired: bool = False, level: float = 0.95, seeds: tuple[int, ...] = ()
) -> Estimate:
    """AUC of the second detector less that of the first, both asked about the same items in the same order:
    DeLong's interval and two-sided p for correlated curves; neither, where the difference has no error.

    first second   (clean [n0], suspicious [n1]) scores of each detector; paired: as in `auc`
    """
    a, b = (_scores(*pair, paired) for pair in (first, second))
    if [len(x) for x in a] != [len(x) for x in b]:
        raise ValueError("two detectors are compared on the same items: give equally many scores of each")
    difference = _placements(*b)[2] - _placements(*a)[2]
    covariance = _delong([a, b], paired)
    error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    half, n, draws = standard_errors(level) * error, min(map(len, a)), sample_digest(np.concatenate(a + b))
    if n == 1 or error <= NOTHING:
        return Estimate(difference, method="delong auc", n=n, seeds=tuple(seeds), draws=draws)
    p = 2 * float(stats.norm.sf(abs(difference) / error))
    ends = (difference - half, difference + half)
    return Estimate(difference, *ends, level, "delong auc", n, tuple(seeds), p, draws)


def auc_parts(clean: ArrayLike, suspicious: ArrayLike) -> Floats:
    """A number an item whose mean is the AUC of suspicious [n] against clean [n] scores, two versions of the
    same items, and whose spread over items is its sampling error.

    Item i counts as often as its suspicious version outscores all clean ones and its clean version is
    outscored by all suspicious ones, less the AUC itself (the projection of Hoeffding and Hajek). Of no items
    there are no parts.

    >>> auc_parts([0.0, 1.0], [2.0, 0.5]).tolist()
    [1.25, 0.25]
    """
    if np.size(clean) == np.size(suspicious) == 0:
        return np.empty(0)
    above, below, area = _placements(*_scores(clean, suspicious, paired=True))
    return above + below - area


def auc_in_strata(
    clean: ArrayLike,
    suspicious: ArrayLike,
    strata: tuple[ArrayLike, ArrayLike],
    *,
    level: float = 0.95,
    seeds: tuple[int, ...] = (),
) -> Estimate | None:
    """The share of pairs in which a suspicious score is above a clean one, among pairs of one stratum alone:
    the strata's AUCs weighted by their pairs, with DeLong's errors. What the stratum tells can then not be
    what the score detects.

    strata   whole numbers [n0] and [n1]; one with fewer than two items of a kind is left out
    returns  n counts the smaller side of each stratum; None where none is left

    >>> auc_in_strata([0., 1., 5., 6.], [1., 2., 6., 7.], ([0, 0, 1, 1], [0, 0, 1, 1])).value
    0.875
    """
    (a, b), (s, t) = _scores(clean, suspicious, False), (np.asarray(one) for one in strata)
    parts = [(a[s == one], b[t == one]) for one in np.union1d(s, t)]
    parts = [pair for pair in parts if min(map(len, pair)) > 1]
    if not parts:
        return None
    weights = np.array([len(x) * len(y) for x, y in parts], dtype=np.float64)
    weights /= weights.sum()
    value = float(weights @ [_placements(*pair)[2] for pair in parts])
    error = math.sqrt(float(weights**2 @ [_delong([pair], False)[0, 0] for pair in parts]))
    n, draws = sum(min(map(len, pair)) for pair in parts), sample_digest(np.concatenate([a, b]))
    ends = _ends(value, error, n, level)
    return Estimate(value, *ends, level, "delong auc in strata", n, tuple(seeds), draws=draws)


def _scores(clean: ArrayLike, suspicious: ArrayLike, paired: bool) -> tuple[Floats, Floats]:
    a, b = (np.asarray(x, dtype=np.float64) for x in (clean, suspicious))
    axes = a.ndim == b.ndim == 1 and a.size and b.size and not (paired and len(a) != len(b))
    if not axes or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(
            "scores are one axis of finite numbers, at least one clean and one suspicious, as many of both "
            f"where they are paired; got shapes {a.shape} and {b.shape}"
        )
    return a, b


def _placements(clean: Floats, suspicious: Floats) -> tuple[Floats, Floats, float]:
    """For each suspicious score the share of clean ones below it, for each clean one the share of suspicious
    ones above it, ties halved; and the mean of either.
    """
    both = stats.rankdata(np.concatenate([clean, suspicious]))
    wins = both[len(clean) :] - stats.rankdata(suspicious)
    losses = len(suspicious) - (both[: len(clean)] - stats.rankdata(clean))
    area = float(wins.sum() / (len(clean) * len(suspicious)))
    return wins / len(clean), losses / len(suspicious), area


def _delong(pairs: Sequence[tuple[Floats, Floats]], paired: bool) -> Floats:
    """The covariance of the AUCs of detectors that saw the same items, [detectors, detectors]."""
    above, below, _ = zip(*(_placements(*pair) for pair in pairs), strict=True)
    if paired:
        return _covariance(np.stack(above) + np.stack(below))
    return _covariance(np.stack(above)) + _covariance(np.stack(below))


def _covariance(placements: Floats) -> Floats:
    """Of the means of placements [detectors, n]; 0 of a single one."""
    n = placements.shape[1]
    return np.atleast_2d(np.cov(placements)) / n if n > 1 else np.zeros((len(placements),) * 2)


def _bootstrapped(clean: Floats, suspicious: Floats, paired: bool, level: float, seed: int) -> Floats:
    """The AUC of every resample of the items, [1, resamples]."""
    both = np.concatenate([clean, suspicious])
    order = both.argsort()
    first = np.flatnonzero(np.diff(both[order], prepend=-np.inf))  # of each value that occurs
    sizes = (len(clean),) if paired else (len(clean), len(suspicious))
    drawn = []
    for weights in resampled(*sizes, level=level, seed=seed):
        none = np.zeros_like(weights[0]), np.zeros((len(weights[0]), len(suspicious)))
        sides = np.hstack([weights[0], none[1]]), np.hstack([none[0], weights[-1]])
        at_clean, at_suspicious = (np.add.reduceat(side[:, order], first, axis=1) for side in sides)
        drawn.append((at_suspicious * (at_clean.cumsum(1) - at_clean / 2)).sum(1))
    return np.concatenate(drawn)[None]


# Curves, thresholds, rates --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roc:
    """The shares of clean and of suspicious items whose score reaches each threshold, from the highest on,
    all [t]; the first threshold is infinite.
    """

    false_positive: Floats
    true_positive: Floats
    thresholds: Floats


def roc(clean: ArrayLike, suspicious: ArrayLike) -> Roc:
    """The curve of suspicious [n1] against clean [n0] scores, a point for each score that occurs."""
    a, b = _scores(clean, suspicious, paired=False)
    labels = np.repeat([0, 1], [len(a), len(b)])
    return Roc(*roc_curve(labels, np.concatenate([a, b]), drop_intermediate=False))


@dataclass(frozen=True)
class Threshold:
    """What a score must exceed to be flagged, fixed on clean items.

    asked      the false-positive rate that it was fixed for; realised: the one it has on these items, at most
               the asked one and below it where scores tie or are few
    """

    value: float
    asked: float
    realised: Estimate

    def flags(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Which scores [n] exceed it."""
        return np.asarray(np.asarray(scores, dtype=np.float64) > self.value)


def threshold_at(rate: float, held_out: ArrayLike) -> Threshold:
    """The lowest threshold that flags at most that share of clean scores [n], of items that nothing was
    fitted on and no other rate is taken of.

    >>> fixed = threshold_at(0.5, [0.0, 1.0, 1.0, 1.0])
    >>> fixed.value, fixed.realised.value
    (1.0, 0.0)
    """
    scores = np.sort(_scores(held_out, [0.0], paired=False)[0])[::-1]
    if not 0 <= rate < 1:
        raise ValueError(f"a false-positive rate is at least 0 and below 1, got {rate}")
    value = _lowest(scores, rate)
    return Threshold(value, rate, proportion(int((scores > value).sum()), len(scores)))


def _lowest(descending: Floats, rate: float) -> float:
    """The lowest of the scores [n] that at most that share of them exceeds."""
    return float(descending[min(math.floor(rate * len(descending) * (1 + 1e-12)), len(descending) - 1)])


@dataclass(frozen=True)
class Rate:
    """A share that says of what: `share` of the `of`."""

    share: Estimate
    of: str

    def __str__(self) -> str:
        """The share in per cent, its interval, how many of what."""
        low, high = self.share.ends
        return f"{self.share.value:.1%} [{low:.1%}, {high:.1%}] of {self.share.n} {self.of}"


def flagged(
    threshold: Threshold, scores: ArrayLike, *, of: str, among: ArrayLike | None = None, level: float = 0.95
) -> Rate:
    """How many of the items are flagged.

    scores   [n]
    of       what the items are, in words, "attacked images that mislead the network"
    among    [n], which items the rate is of; all, unless given

    >>> str(flagged(threshold_at(0.25, [0.1, 0.2, 0.3, 0.4]), [0.2, 0.9], of="attacked images"))
    '50.0% [9.5%, 90.5%] of 2 attacked images'
    """
    if not of.strip():
        raise ValueError("a rate says of what it is a share")
    hits = threshold.flags(scores)
    chosen = hits if among is None else hits[np.asarray(among, dtype=bool)]
    return Rate(proportion(int(chosen.sum()), len(chosen), level=level), of)


def flagged_anew(
    rate: float,
    held_out: ArrayLike,
    scores: ArrayLike,
    *,
    resamples: int,
    level: float = 0.95,
    seed: int = 0,
    seeds: tuple[int, ...] = (),
) -> Estimate:
    """The share of scores [n] above the threshold for that false-positive rate, with the percentile interval
    of a bootstrap over both the scores and the held-out clean images [m] that fix the threshold.
    """
    clean, found = (_scores(one, [0.0], paired=False)[0] for one in (held_out, scores))
    rng, drawn = np.random.default_rng(seed), np.empty(resamples)
    for k in range(resamples):
        value = _lowest(np.sort(rng.choice(clean, len(clean)))[::-1], rate)
        drawn[k] = (rng.choice(found, len(found)) > value).mean()
    point = float((found > threshold_at(rate, clean).value).mean())
    low, high = percentile_ends(drawn[None], level)[:, 0].tolist()
    draws = sample_digest(np.concatenate([clean, found]))
    ends = (min(low, point), max(high, point))
    return Estimate(point, *ends, level, "bootstrap over both", len(found), tuple(seeds), draws=draws)


# Detectors ------------------------------------------------------------------------------------------------


def logistic() -> Any:
    """A logistic regression on standardised features."""
    return make_pipeline(StandardScaler(), LogisticRegression())


def enough(usable: ArrayLike, *, folds: int = FOLDS) -> bool:
    """Whether every fold leaves usable items to fit on; usable is [n]."""
    mask = np.asarray(usable, dtype=bool)
    return all(bool((mask & other).any()) for other in ~_held_out(len(mask), folds))


def cross_fitted(
    clean: ArrayLike,
    fitted_on: ArrayLike,
    usable: ArrayLike,
    others: Mapping[str, ArrayLike],
    *,
    make: Callable[[], Any] = logistic,
    folds: int = FOLDS,
) -> dict[str, Floats]:
    """How suspicious each item is to detectors that have seen it in no version: [n] by name, "clean" too.

    clean fitted_on   [n, ...] features of the same items, clean and as the detectors are to know suspicious
                      ones
    usable            [n], the items that are fitted on, each with both versions
    others            [n, ...] features of the same items in other versions
    make              a new classifier of scikit-learn's, with `decision_function` or `predict_proba`
    returns           item i is scored by the detector of its fold, i modulo `folds`

    Refused: too few usable items for a fold.
    """
    mask = np.asarray(usable, dtype=bool)
    if not enough(mask, folds=folds):
        raise ValueError(f"{mask.sum()} usable items leave a fold without any to fit on")
    versions = {"clean": clean, **others}
    features = {name: np.asarray(each).reshape(len(mask), -1) for name, each in versions.items()}
    suspicious = np.asarray(fitted_on).reshape(len(mask), -1)
    scores = {name: np.empty(len(mask)) for name in features}
    for held_out in _held_out(len(mask), folds):
        seen = mask & ~held_out
        both = np.concatenate([features["clean"][seen], suspicious[seen]])
        model = make().fit(both, np.repeat([0, 1], seen.sum()))
        for name, each in features.items():
            scores[name][held_out] = _suspicion(model, each[held_out])
    return scores


def _held_out(n: int, folds: int) -> NDArray[np.bool_]:
    """Which of n items each fold holds out: [folds, n]."""
    return np.asarray(np.arange(n) % folds == np.arange(folds)[:, None])


def _suspicion(model: Any, features: NDArray[Any]) -> Floats:
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(features), dtype=np.float64)
    return np.asarray(model.predict_proba(features)[:, 1], dtype=np.float64)
