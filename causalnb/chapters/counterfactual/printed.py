"""What the paper's printed counts say by themselves: rates of false alarm, Youden's J, what nesting forbids.

The counts come in as the ledger has them, (k, n) by row; nothing is measured here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

from causalnb.statistics import Estimate, standard_errors

Count = tuple[int, int]


def count(printed: str, *, of: int | None = None) -> Count:
    """A printed "k/n" as numbers; `of` where the n that is printed is a misprint.

    >>> count("06/100"), count("00/300", of=100)
    ((6, 100), (0, 100))
    """
    k, _, n = printed.partition("/")
    return int(k), of or int(n)


@dataclass(frozen=True)
class Separation:
    """A table's row of an attack against its clean row: the paper prints how many are *accepted*.

    detected       the share of attacked images that are rejected, less the share of clean ones: Youden's J
    p              Fisher's exact test, two-sided, that both are rejected alike
    """

    detected: Estimate
    p: float


def separation(clean: Count, attacked: Count, *, level: float = 0.95) -> Separation:
    """Youden's J of accepted counts, with the normal interval of a difference of shares, and Fisher's p."""
    (a, n), (b, m) = clean, attacked
    p, q = a / n, b / m
    half = standard_errors(level) * math.sqrt(p * (1 - p) / n + q * (1 - q) / m)
    value = p - q
    estimate = Estimate(value, value - half, value + half, level, "normal difference", min(n, m))
    return Separation(estimate, float(stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue))


def separations(table: Mapping[str, Count], *, level: float = 0.95) -> dict[str, Separation]:
    """Every attack of a table against its row "clean"."""
    return {
        name: separation(table["clean"], counts, level=level)
        for name, counts in table.items()
        if name != "clean"
    }


def clearer(first: Separation, second: Separation) -> Estimate:
    """How much greater Youden's J is in the second table, which has other images."""
    a, b = first.detected, second.detected
    assert a.low is not None and b.low is not None and a.level == b.level
    half = math.hypot(a.value - a.low, b.value - b.low)
    value = b.value - a.value
    n = min(one.n for one in (a, b) if one.n is not None)
    return Estimate(value, value - half, value + half, a.level, "normal difference", n)


@dataclass(frozen=True)
class FalseAlarms:
    """Clean images that Table 1's rule rejects: among all, and among those that are classified right, if no
    wrongly classified one was accepted and if as many were as a stored count of right ones allows.
    """

    all: Count
    none_accepted: Count
    some_accepted: Count


def false_alarms(accepted: Count, wrong_rejected: int, right: int) -> FalseAlarms:
    """From clean images accepted (k, n), how many of the rejected are classified wrongly, and how many of all
    are classified right.
    """
    k, n = accepted
    rejected_right = n - k - wrong_rejected
    return FalseAlarms((n - k, n), (rejected_right, n - wrong_rejected), (rejected_right, right))


def can_fall(counts: tuple[int, ...]) -> bool:
    """Whether counts fall somewhere, which those of "top n and top m meet" cannot as n and m grow: each
    smaller top set is part of the greater one, so an image that is accepted stays so.
    """
    return any(later < earlier for earlier, later in zip(counts, counts[1:], strict=False))


def all_among(chosen: int, published: int, evaluated: int) -> float:
    """The chance that all `chosen` of the evaluated images lie among the published ones, if these were drawn
    from them (hypergeometric).
    """
    return float(stats.hypergeom(evaluated, chosen, published).pmf(chosen))
