"""What the chapters compute, one folder each, and what all of them see of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from causalnb.data import Images, Split
    from causalnb.store import Store

P = TypeVar("P")


@dataclass(frozen=True)
class Check:
    """A step of a derivation as a number that must not exceed its bound; n: what was counted."""

    id: str
    what: str
    value: float
    bound: float
    n: int

    @property
    def holds(self) -> bool:
        """Whether the step does."""
        return self.value <= self.bound


class Run(Protocol[P]):
    """What a run offers to an experiment: its parameters, store, device, data."""

    p: P
    store: Store
    device: torch.device

    def load(self, name: str, split: Split = "test") -> Images:
        """A data set."""

    def level(self, id: str) -> float:
        """The level that the interval of a measurement must have."""
