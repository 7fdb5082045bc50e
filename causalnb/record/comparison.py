"""Two records side by side: every measurement of either, and whether both say the same."""

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from causalnb.record import Measurement, Record
from causalnb.statistics import Estimate


class Comparison(BaseModel):
    """One measurement in two records. `word`: same, different, or not comparable; `expected`: inside the 95 %
    prediction interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    id: str
    first: Estimate | None
    second: Estimate | None
    difference: float | None
    word: str
    expected: bool | None


@dataclass(frozen=True)
class Measured:
    """What can be compared, of a record of another kind: measurements by id, digests of the data by name."""

    measurements: dict[str, Measurement]
    data: dict[str, str]


def compare(
    first: Record | Measured, second: Record | Measured, *, tolerance: float = 1e-6
) -> list[Comparison]:
    """Every measurement of either record: both values, their difference, and whether they are the same.

    "same" means equal within `tolerance` (relative, absolute below 1). "not comparable": only one record has
    it, or the data it came from differ. `expected` says whether the second lies where the first's interval
    predicts it.
    """
    return [
        _compare(key, first, second, tolerance)
        for key in sorted(first.measurements.keys() | second.measurements.keys())
    ]


def _compare(key: str, first: Record | Measured, second: Record | Measured, tolerance: float) -> Comparison:
    a, b = first.measurements.get(key), second.measurements.get(key)
    x, y = a.estimate if a else None, b.estimate if b else None
    if not (a and b and x and y) or not _same_data(a, b, first, second):
        return Comparison(id=key, first=x, second=y, difference=None, word="not comparable", expected=None)
    difference = y.value - x.value
    same = abs(difference) <= tolerance * max(1.0, abs(x.value))
    return Comparison(
        id=key,
        first=x,
        second=y,
        difference=difference,
        word="same" if same else "different",
        expected=same or _expected(x, y),
    )


def _same_data(a: Measurement, b: Measurement, first: Record | Measured, second: Record | Measured) -> bool:
    """Whether two measurements were taken on the same data; where a record does not say, values are
    compared.
    """
    if a.data is None or b.data is None:
        return True
    return [first.data.get(name) for name in a.data] == [second.data.get(name) for name in b.data]


def _expected(x: Estimate, y: Estimate) -> bool:
    """Whether the second value lies where two draws of these intervals' widths may lie: their half-widths on
    the facing sides, in quadrature.
    """
    if x.low is None or x.high is None or y.low is None or y.high is None:
        return False
    half_widths = (
        (x.value - x.low, y.high - y.value) if y.value < x.value else (x.high - x.value, y.value - y.low)
    )
    return abs(y.value - x.value) <= math.hypot(*half_widths)
