"""How a published file reads: records `'key': [(filter, (CI, 1)), ...]`, the 512 filters by falling CI.

Nothing is evaluated: a record is what a pattern of its letters says it is, and whatever is left between
records must be braces, commas, quotation marks and blanks. A damaged file is refused with the record.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from causalnb import UserError
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.chapters.counterfactual.replay import sources

FILTERS = 512
RECORD = re.compile(r"'([^'\n]+)'\s*:\s*\[([^\]\[]*)\]")
NUMBER = r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?"
PAIR = re.compile(rf"\((\d+), \(({NUMBER}), 1\)\)")
BETWEEN = re.compile(r"[^{}\",\s]")
UNTARGETED = re.compile(r"(\d)__(\d+)\.png_as_(\d)")
TARGETED = re.compile(r"(\d)__(\d)_as_(\d)_(\d+)\.png_as_(\d)")
PHOTOGRAPH = re.compile(r"(\d+)__(ILSVRC2012_val_\d+)\.JPEG")


@dataclass(frozen=True)
class Key:
    """What a key says of its image.

    source      its class; label: the prediction of the last masked pass, which is that without filter 511
    second      of targeted CIFAR attacks, the second field: the target that was meant, or the label when it
                was attacked, which the files do not tell
    image       its number in the CIFAR-10 test set, or its name in ImageNet
    """

    source: int
    image: str
    label: int | None = None
    second: int | None = None

    @classmethod
    def of(cls, text: str) -> "Key | None":
        """A key as it is written, or None for another form."""
        if found := UNTARGETED.fullmatch(text):
            return cls(int(found[1]), found[2], int(found[3]))
        if found := TARGETED.fullmatch(text):
            return cls(int(found[1]), found[4], int(found[5]), int(found[3]))
        if found := PHOTOGRAPH.fullmatch(text):
            return cls(int(found[1]), found[2])
        return None


@dataclass(frozen=True)
class Vectors:
    """The vectors of a file, one for each distinct key, of repeated keys the last.

    keys       as written, in the file's order of their last records
    ci         [n, 512] float32, by filter; order: [n, 512] filters as the file lists them
    first      [n], whether the file's very first record is that key's
    repeated   [m, 512] earlier records of repeated keys; again: [m], which row has the same key
    """

    name: str
    keys: tuple[str, ...]
    ci: Tensor
    order: Tensor
    first: Tensor
    repeated: Tensor
    again: Tensor

    def __len__(self) -> int:
        """How many distinct keys."""
        return len(self.keys)

    @property
    def records(self) -> int:
        """How many records."""
        return len(self.keys) + len(self.again)

    @property
    def read(self) -> list[Key]:
        """What the keys say; refused where they are no images."""
        found = [Key.of(key) for key in self.keys]
        if None in found:
            raise ValueError(f"{self.keys[found.index(None)]} in {self.name} is no key of an image")
        return [key for key in found if key]

    @property
    def labels(self) -> Tensor:
        """[n] the predicted class; of CIFAR only."""
        return torch.tensor([-1 if key.label is None else key.label for key in self.read])

    @property
    def classes(self) -> Tensor:
        """[n] the class of the image before the attack."""
        return torch.tensor([key.source for key in self.read])


@lru_cache(maxsize=len(sources.SOURCES))
def load(name: str) -> Vectors:
    """The vectors of one of `sources.SOURCES`."""
    return parse(sources.text(name), name=sources.SOURCES[name].name)


@dataclass(frozen=True)
class Line:
    """A file in the inventory: records, distinct keys, and the keys that occur more than once."""

    name: str
    records: int
    distinct: int
    repeated: tuple[str, ...]


def inventory() -> list[Line]:
    """All files, what they hold, and what a reader that keeps the last record of a key would lose."""
    found = {name: load(name) for name in sources.SOURCES}
    return [
        Line(name, one.records, len(one), tuple(one.keys[row] for row in one.again.unique()))
        for name, one in found.items()
    ]


def prototypes(vectors: Vectors) -> Prototypes:
    """Published prototypes of CIFAR, whose keys are the classes."""
    classes = torch.tensor([int(key) for key in vectors.keys])
    order = classes.argsort()
    return Prototypes(vectors.ci[order], classes[order], torch.full_like(classes, -1))


def parse(text: str, *, name: str, filters: int = FILTERS) -> Vectors:
    """The vectors in a file's text; `name` is what a refusal calls it.

    Refused, with the record: text that is no record, an entry that is no pair, filters that are missing or
    twice.
    """
    found = RECORD.finditer(text)
    keys, rows, orders = list[str](), list[np.ndarray](), list[np.ndarray]()
    for place, key, values in _records(found, text, name):
        order, row = _row(values, key, place, name, filters)
        keys.append(key)
        rows.append(row)
        orders.append(order)
    if not keys:
        raise UserError(f"{name} holds no record: it is empty or of another kind; fetch it again.")
    return _distinct(name, keys, np.stack(rows), np.stack(orders))


def _records(found: Iterable[re.Match[str]], text: str, name: str) -> Iterator[tuple[int, str, str]]:
    end, place, last = 0, 0, "the beginning"
    for place, one in enumerate(found, 1):
        _require_between(text[end : one.start()], name, last)
        yield place, one[1], one[2]
        end, last = one.end(), f"record {place} ({one[1]})"
    _require_between(text[end:], name, last)


def _require_between(text: str, name: str, last: str) -> None:
    if found := BETWEEN.search(text):
        raise UserError(
            f"{name} is damaged after {last}: {text[found.start() :][:40]!r} is no record; fetch it again."
        )


def _row(values: str, key: str, place: int, name: str, filters: int) -> tuple[np.ndarray, np.ndarray]:
    """The filters in their order, and CI by filter, of one record."""
    pairs = PAIR.findall(values)
    order = np.array([int(pair[0]) for pair in pairs])
    where = f"{name} is damaged in record {place} ({key})"
    if rest := PAIR.sub("", values).replace(",", "").strip():
        raise UserError(f"{where}: {rest[:40]!r} is no pair of a filter and its CI; fetch it again.")
    if len(order) != filters or not np.array_equal(np.sort(order), np.arange(filters)):
        raise UserError(
            f"{where}: it has {len(order)} entries of {len(set(order.tolist()))} filters, not one of each of "
            f"{filters}; fetch it again."
        )
    row = np.empty(filters, dtype=np.float32)
    row[order] = [float(pair[1]) for pair in pairs]
    if not np.isfinite(row).all():
        raise UserError(f"{where}: a CI is beyond what a float can hold; fetch it again.")
    return order, row


def _distinct(name: str, keys: list[str], rows: np.ndarray, orders: np.ndarray) -> Vectors:
    last = {key: place for place, key in enumerate(keys)}
    kept = sorted(last.values())
    at = {place: row for row, place in enumerate(kept)}
    earlier = [place for place, key in enumerate(keys) if last[key] != place]
    return Vectors(
        name=name,
        keys=tuple(keys[place] for place in kept),
        ci=torch.from_numpy(rows[kept]),
        order=torch.from_numpy(orders[kept]),
        first=torch.tensor([place == 0 for place in kept]),
        repeated=torch.from_numpy(rows[earlier].reshape(-1, rows.shape[1])),
        again=torch.tensor([at[last[keys[place]]] for place in earlier], dtype=torch.long),
    )
