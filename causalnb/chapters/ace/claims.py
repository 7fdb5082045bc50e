"""What decides each claim of Guo et al. 2024, IV-B, and each cell of Table I: a number an image, in columns.

A claim's column is the paired change from the clean image to the attacked one unless it says otherwise. Its
placebo is the same number under harmless noise of the attack's size ("noise"), in a network with drawn
weights ("drawn") or with pixels drawn at random ("chance"); "beyond" is the claim's less its placebo's.
Columns are named "KIND CLAIM ATTACK KEY": the key is of a map ("R3m.probability.true"), a claim on a total
variation says its scale ("T8.raw"), what is not there is left empty. `named` makes measurement ids of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.readings import Maps, key_parts
from causalnb.chapters.ace.specifications import FIXED
from causalnb.record import MeasurementId

Columns = dict[str, Tensor]
ATTACKS = ("cw", "fgsm", "pgd")
TABLE = {
    "S": "T6",
    "TV.raw": "T8.raw",
    "TV.scaled": "T8.scaled",
}  # Table I's statistics by the claims on them
BEYOND = ("T6", "T8.raw", "T8.scaled")  # claims whose change beyond noise is counted
CHANGED = 0.1  # a pixel that an attack moved by more is one that it changed (T12)
RESTORED = 0.1  # share of the pixels that go back to clean (T9)
PART = 200  # images that are reduced at a time: what is large for a moment pins the heap
THRESHOLDS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)  # of a map's largest effect: what counts as positive


def name(kind: str, claim: str, attack: str, key: str) -> str:
    """The name of a column; see above."""
    return f"{kind} {claim} {attack} {key}"


def named(data: str, columns: Mapping[str, Tensor], *kinds: str) -> dict[MeasurementId, Tensor]:
    """The columns of some kinds by the ids of their measurements on a data set."""
    found = {}
    for text, values in columns.items():
        kind, claim, attack, key = text.split(" ")
        if kind in kinds:
            found[claim_id(kind, claim, data, attack, key)] = values
    return found


@dataclass(frozen=True)
class Seen:
    """One set of images through a family of readings.

    images    [n, 1, h, w]
    maps      key -> [n, h, w], or fewer, or blocks of pixels
    numbers   key -> claim -> [n], what each claim that is a change is a change of
    """

    images: Tensor
    maps: Maps
    numbers: dict[str, Columns]

    def __getitem__(self, rows: slice) -> "Seen":
        """Some of the images; without the maps that end before them."""
        maps = {key: values[rows] for key, values in self.maps.items() if len(values[rows])}
        numbers = {key: {claim: x[rows] for claim, x in self.numbers[key].items()} for key in maps}
        return Seen(self.images[rows], maps, numbers)


def see(images: Tensor, maps: Maps, clean: Tensor) -> Seen:
    """The set with its numbers; clean: the same images clean, where the object shows."""
    numbers = {
        key: joined(_numbers(values[rows], *_object(clean[rows], values[rows])) for rows in parts(values))
        for key, values in maps.items()
    }
    return Seen(images, maps, numbers)


def parts(of: Tensor) -> list[slice]:
    """The rows of n images, `PART` at a time."""
    return [slice(start, start + PART) for start in range(0, len(of), PART)]


def joined(columns: Iterable[Columns]) -> Columns:
    """The columns of all images from those of parts of them, in order."""
    found: dict[str, list[Tensor]] = {}
    for part in columns:
        for name, values in part.items():
            found.setdefault(name, []).append(values)
    return {name: torch.cat(values) for name, values in found.items()}


def _numbers(maps: Tensor, on: Tensor, off: Tensor) -> Columns:
    largest = m.largest(maps).to(maps)
    whole, inside = m.total_variation(maps), m.total_variation(maps, mask=on)
    return {
        "T1": m.positive_mass(maps, on),
        "T2.raw": inside,
        "T2.scaled": inside / largest,
        "T3": m.negative_share(maps, off),
        "T6": m.sparsity(maps),
        "T7": m.mean_size(maps),
        "T8.raw": whole,
        "T8.scaled": whole / largest,
    }


def cells(sets: Mapping[str, Seen]) -> Columns:
    """Each statistic of Table I of each map of each set: "table S pgd KEY", "table TV.raw pgd KEY". The class
    predicted on the clean images is the true one: their maps count once.
    """
    return {
        name("table", statistic, which, key): numbers[claim]
        for which, one in sets.items()
        for key, numbers in one.numbers.items()
        if which != "clean" or of_true_class(key)
        for statistic, claim in TABLE.items()
    }


def resolved(sets: Mapping[str, Seen], key: str) -> Columns:
    """S of each set where an effect counts as positive above a share of the map's largest."""
    return {
        name("resolved", f"{share:g}", which, key): m.sparsity(one.maps[key], threshold=share)
        for which, one in sets.items()
        if which in ("clean", *ATTACKS)
        for share in THRESHOLDS
    }


def columns(sets: Mapping[str, Seen], noisy: Mapping[str, Seen]) -> Columns:
    """All claims but T9 with their placebos.

    sets    "clean" and `ATTACKS`, the same images in all
    noisy   attack -> the clean images with noise of its size
    """
    clean, found = sets["clean"], objects("claim", sets["clean"].maps, sets["clean"].images)
    for key in clean.maps:
        if key_parts(key)["reading"] in FIXED and of_true_class(key):
            continue
        changed = {attack: _against_clean(clean, sets[attack], key) for attack in ATTACKS}
        by_noise = {attack: _against_clean(clean, some, key) for attack, some in noisy.items()}
        for kind, some in (("claim", changed), ("noise", by_noise)):
            found |= {name(kind, c, attack, key): x for attack, its in some.items() for c, x in its.items()}
        found |= {
            name("beyond", c, attack, key): changed[attack][c] - its[c]
            for attack, its in by_noise.items()
            for c in BEYOND
        }
        found |= _turned(clean, sets, noisy, key)
        found |= _among_attacks("claim", clean.maps[key], {one: sets[one].maps[key] for one in ATTACKS}, key)
        found |= _among_attacks("noise", clean.maps[key], {one: x.maps[key] for one, x in noisy.items()}, key)
    return found


def _turned(clean: Seen, sets: Mapping[str, Seen], noisy: Mapping[str, Seen], key: str) -> Columns:
    """T4: the share of the background that turns from negative to positive, less that under noise."""
    off = _object(clean.images, clean.maps[key])[1]
    flips = {
        attack: [m.flips(clean.maps[key], of[attack].maps[key], off) for of in (sets, noisy)]
        for attack in noisy
    }
    return {name("claim", "T4", attack, key): own - noise for attack, (own, noise) in flips.items()}


def _among_attacks(kind: str, clean: Tensor, made: Mapping[str, Tensor], key: str) -> Columns:
    """T10 and T11: how far C&W moves a map beyond each rival; how much more FGSM's map correlates with PGD's
    than with C&W's.
    """
    moved = {attack: m.disturbance(clean, one) for attack, one in made.items()}
    alike = [m.correlation(made["fgsm"], made[other]) for other in ("pgd", "cw")]
    return {name(kind, "T11", "", key): alike[0] - alike[1]} | {
        name(kind, "T10", rival, key): moved["cw"] - moved[rival] for rival in ("fgsm", "pgd")
    }


def objects(kind: str, maps: Maps, images: Tensor) -> Columns:
    """What T5 and T5b ask of clean images: the share of positive pixels on the object; less that on the
    background.
    """
    found: Columns = {}
    for key, values in maps.items():
        if of_true_class(key):
            on, off = _object(images, values)
            share = m.positive_share(values, on)
            found[name(kind, "T5", "", key)] = share
            found[name(kind, "T5b", "", key)] = share - m.positive_share(values, off)
    return found


def of_true_class(key: str) -> bool:
    """Whether a map is of the true class."""
    return key_parts(key)["of"] == "true"


def claim_id(kind: str, claim: str, data: str, attack: str, key: str) -> MeasurementId:
    """The id of a claim's measurement; the scale of a total variation ("T8.raw") stands at its end."""
    name, _, scale = claim.partition(".")
    return MeasurementId.of(kind, claim=name, data=data, attack=attack, **key_parts(key), scale=scale)


def _at(images: Tensor, maps: Tensor) -> Tensor:
    """The images of the maps, [n, 1, h, w] at their resolution: the mean of each block of pixels."""
    few, size = images[: len(maps)], images.shape[-1] // maps.shape[-1]
    return few if size == 1 else F.avg_pool2d(few, size)


def _object(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Where the clean images show the object, and where nothing."""
    there = _at(images, maps)
    return m.digit(there), m.background(there)


def _against_clean(clean: Seen, after: Seen, key: str) -> Columns:
    """What a set changes against the clean one, in one reading; and T12, of its own maps."""
    moved = _at((after.images - clean.images).abs(), clean.maps[key])[:, 0] > CHANGED
    return {claim: values - clean.numbers[key][claim] for claim, values in after.numbers[key].items()} | {
        "T12": m.localisation(after.maps[key], moved)
    }


def drawn(images: Tensor, *, seed: int) -> Tensor:
    """A number for each pixel of images, [n, pixels]: the placebo's ranking in `undone`."""
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(len(images), images.shape[-2:].numel(), generator=draws)


@torch.no_grad()
def undone(
    model: nn.Module,
    sets: Mapping[str, Seen],
    labels: Tensor,
    found: Mapping[str, Tensor],
    drawn: Tensor,
) -> Columns:
    """T9: of the attacks that succeeded, how many fail again once the tenth of the pixels with the greatest
    effects is clean; how many once a tenth drawn at random is; T9b, the difference.

    found     attack -> [n] bool; without a success there is nothing to undo and no entry
    drawn     [n, pixels], by which a tenth is drawn
    """
    undone: Columns = {}
    device = next(model.parameters()).device
    before = sets["clean"].images
    size = before.shape[-2:]
    for attack in ATTACKS:
        broken = found[attack].nonzero()[:, 0]
        clean, attacked = before[broken], sets[attack].images[broken]

        def right(ranking: Tensor, n: int) -> Tensor:
            restored = m.restore_top(clean[:n], attacked[:n], ranking, share=RESTORED)  # noqa: B023 -- called in this turn only
            return (model(restored.to(device)).argmax(1).cpu() == labels[broken[:n]]).double()  # noqa: B023

        by_chance = right(drawn[broken], len(broken)) if len(broken) else torch.zeros(0)
        for key, values in sets[attack].maps.items():
            n = int((broken < len(values)).sum())
            if n:
                sizes = F.interpolate(values[broken[:n]].abs()[:, None], size=size, mode="nearest")
                again = right(sizes, n)
                undone |= {
                    name("claim", "T9", attack, key): again,
                    name("chance", "T9", attack, key): by_chance[:n],
                    name("claim", "T9b", attack, key): again - by_chance[:n],
                }
    return undone
