"""Families of readings: what makes the maps of a family, and the columns [n] that a chapter keeps of them.

A family's maps of all sets of images are made, reduced to columns, and dropped: one family is held at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from causalnb.chapters.ace import claims, detector, readings
from causalnb.chapters.ace.interventions import Baseline, Table, interventional_table
from causalnb.chapters.ace.readings import Maps

Columns = dict[str, Tensor]  # by "KIND WHAT SET READING.SCORE.CLASS": see `claims`


class Family(Protocol):
    """Readings whose maps come from the same work."""

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """The maps of images, for each score and class; of the first of them, where a family has a limit."""


@dataclass(frozen=True)
class Population:
    """R1, R1e and R1d, from the table of the training rows."""

    table: Table

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.population`."""
        return readings.population(self.table, images, classes)


@dataclass(frozen=True)
class LookedUp:
    """A reading that looks each pixel's own value up in a table."""

    reading: str
    table: Table
    baseline: Baseline = "uniform"

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.at_own_values`."""
        return readings.at_own_values(self.table, images, classes, {self.reading: self.baseline})


@dataclass(frozen=True)
class OwnRows:
    """R4: the rows of the table are the first images of the set itself."""

    rows: int
    alphas: Tensor

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """The table, then as R1."""
        table = interventional_table(model, images[: self.rows], self.alphas)
        return LookedUp("R4", table).maps(model, images, classes)


@dataclass(frozen=True)
class Decoded:
    """R6: the decoder's map of each class."""

    effects: Tensor

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.decoded`."""
        return readings.decoded(self.effects, classes)


@dataclass(frozen=True)
class Individual:
    """R3, R3b, R3c and R3m, of the first `limit` images."""

    alphas: Tensor
    fill: Tensor
    limit: int

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.individual`."""
        few, first = _first(self.limit, images, classes)
        return readings.individual(model, few, first, alphas=self.alphas, fill=self.fill)


@dataclass(frozen=True)
class Blocks:
    """R12: blocks of pixels, of the first `limit` images."""

    size: int
    fill: Tensor
    limit: int

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.by_blocks`."""
        few, first = _first(self.limit, images, classes)
        return readings.by_blocks(model, few, first, fill=self.fill, size=self.size)


@dataclass(frozen=True)
class Gradients:
    """R7, R7x and R7c."""

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.gradients`."""
        return readings.gradients(model, images, classes)


@dataclass(frozen=True)
class Integrated:
    """R8, of the first `limit` images."""

    limit: int

    def maps(self, model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
        """See `readings.integrated_gradients`."""
        return readings.integrated_gradients(model, *_first(self.limit, images, classes))


def _first(limit: int, images: Tensor, classes: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    return images[:limit], {name: of[:limit] for name, of in classes.items()}


def columns(
    family: Family,
    model: nn.Module,
    images: dict[str, Tensor],
    noise: dict[str, Tensor],
    labels: Tensor,
    broken: dict[str, Tensor],
    *,
    seed: int,
    claimed: bool = True,
    kept: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
    resolved: tuple[str, ...] = (),
) -> Columns:
    """Everything that chapter 1 says of one family's maps, a number an image.

    images     set -> [n, 1, h, w], the same images clean and attacked
    noise      attack -> the clean ones with harmless noise of its size
    labels     [n]; broken: attack -> [n] whether it succeeded
    claimed    with the claims and their placebos; without, the statistics of Table I alone
    kept       keys whose clean maps come back whole ("maps whole clean KEY")
    features   keys of which a detector's features come back ("features detector SET KEY", [n, 3])
    resolved   keys of which S over a threshold comes back ("resolved SHARE SET KEY")
    """
    sets, noisy = (_seen(family, model, some, images["clean"], labels) for some in (images, noise))
    labels, drawn = labels.cpu(), claims.drawn(images["clean"], seed=seed)
    shown = [which for which in sets if which in ("clean", *claims.ATTACKS)]
    clean = sets["clean"].maps
    found = {f"map first {which} {key}": sets[which].maps[key][0] for key in clean for which in shown}
    found |= {f"maps whole clean {key}": values for key, values in clean.items() if key in kept}

    def of(rows: slice) -> Columns:
        some, by_noise = ({which: one[rows] for which, one in each.items()} for each in (sets, noisy))
        made = claims.cells(some)
        for key in some["clean"].maps:
            if key in features:
                asked = {which: some[which] for which in shown}
                asked |= {f"noise-{name}": one for name, one in by_noise.items()}
                for which, one in asked.items():
                    made[f"features detector {which} {key}"] = detector.features(one.maps[key])
            if key in resolved:
                made |= claims.resolved(some, key)
        if claimed:
            succeeded = {attack: one[rows] for attack, one in broken.items()}
            made |= claims.columns(some, by_noise)
            made |= claims.undone(model, some, labels[rows], succeeded, drawn[rows])
        return made

    found |= claims.joined(map(of, claims.parts(labels)))
    return {name: values.cpu() for name, values in found.items()}


def shares(family: Family, model: nn.Module, images: Tensor, labels: Tensor) -> Columns:
    """What T5 asks of clean images, in a network with drawn weights: the placebo of T5."""
    return claims.objects("drawn", _of(family, model, images, labels), images.cpu())


def cells(family: Family, model: nn.Module, images: dict[str, Tensor], labels: Tensor) -> Columns:
    """The statistics of Table I alone, of each set."""
    return claims.cells(_seen(family, model, images, images["clean"], labels))


def _seen(
    family: Family, model: nn.Module, images: Mapping[str, Tensor], clean: Tensor, labels: Tensor
) -> dict[str, claims.Seen]:
    each = _each(family, model, images, labels)
    return {which: claims.see(some.cpu(), each[which], clean.cpu()) for which, some in images.items()}


def _each(family: Family, model: nn.Module, sets: Mapping[str, Tensor], labels: Tensor) -> dict[str, Maps]:
    """The maps of each set. What asks about single images alone goes through all sets at once: a pass over
    the pixels costs the same for few images as for some more.
    """
    if not isinstance(family, Individual):
        return {which: _of(family, model, some, labels) for which, some in sets.items()}
    n, many = min(family.limit, len(labels)), len(sets)
    images = torch.cat([some[:n] for some in sets.values()])
    maps = _of(replace(family, limit=n * many), model, images, labels[:n].repeat(many))
    parts = {key: values.split(n) for key, values in maps.items()}
    return {which: {key: part[i] for key, part in parts.items()} for i, which in enumerate(sets)}


def _of(family: Family, model: nn.Module, images: Tensor, labels: Tensor) -> Maps:
    classes = readings.classes_of(model, images, labels)
    return {key: values.cpu() for key, values in family.maps(model, images, classes).items()}
