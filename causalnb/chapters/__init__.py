"""What the chapters compute, one folder each; what all of them see of a run, and how they check a quantity
against its bound.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from causalnb.data import Images, Split
    from causalnb.store import Store

P = TypeVar("P")


class Run(Protocol[P]):
    """What a run offers to an experiment: its parameters, store, device, data."""

    p: P
    store: Store
    device: torch.device

    def load(self, name: str, split: Split = "test") -> Images:
        """A data set."""

    def level(self, id: str) -> float:
        """The level that the interval of a measurement must have."""


# Checks ---------------------------------------------------------------------------------------------------


Measure = Callable[[], tuple[float, int]]  # a value, and how much was counted
Relation = Callable[[float, float], bool]


@dataclass(frozen=True)
class Check:
    """A quantity and its bound. For a step of ours `holds` says that the step does, for an erratum that the
    printed words do.

    n   what was counted: rows, pixels, edges
    """

    id: str
    what: str
    value: float
    bound: float
    holds: bool
    n: int | None


Registry = dict[str, Callable[[], Check]]


def within(id: str, what: str, value: float, bound: float, n: int | None) -> Check:
    """A check that holds where the value does not exceed the bound."""
    return Check(id, what, value, bound, value <= bound, n)


def registered(
    registry: Registry, kind: str, id: str, what: str, bound: float, relation: Relation = operator.le
) -> Callable[[Measure], Callable[[], Check]]:
    """Put a function of (value, n) into a registry as a check that holds where relation(value, bound)."""

    def register(measure: Measure) -> Callable[[], Check]:
        @wraps(measure)
        def check() -> Check:
            value, n = measure()
            return Check(f"{kind}.{id}", what, value, bound, relation(value, bound), n)

        registry[id] = check
        return check

    return register
