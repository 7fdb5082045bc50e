"""What decides each claim of Guo et al. 2024, IV-B, and each cell of Table I: a number an image, in columns.

A claim's column is the paired change from the clean image to the attacked one unless it says otherwise; a
placebo's is that under the attack less that under noise. Columns are named "KIND CLAIM ATTACK KEY": the key
is of a map ("R3m.probability.true"), a claim on a total variation says its scale ("T8.raw"), what is not
there is left empty. `named` makes measurement ids of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.readings import Maps, key_parts
from causalnb.record import MeasurementId

Columns = dict[str, Tensor]
ATTACKS = ("cw", "cw-clipped", "fgsm", "pgd")
SINGLE = ("cw", "fgsm", "pgd")  # without C&W a second time
PRINTED_ORDER = {
    "S": {"mnist": ("clean", "fgsm", "cw", "pgd"), "fashion_mnist": ("clean", "cw", "fgsm", "pgd")},
    "TV": {"mnist": ("clean", "fgsm", "pgd", "cw"), "fashion_mnist": ("clean", "fgsm", "cw", "pgd")},
}
TABLE = {
    "S": "T6",
    "TV.raw": "T8.raw",
    "TV.scaled": "T8.scaled",
}  # Table I's statistics by the claims on them
SHOWN = tuple(
    f"{reading}.logit.true" for reading in ("R1", "R3", "R3m")
)  # whose changes under noise the figures draw
CHANGED = 0.1  # a pixel that an attack moved by more is one that it changed (T12)
RESTORED = 0.1  # share of the pixels that go back to clean (T9)


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


def see(images: Tensor, maps: Maps, clean: Tensor) -> Seen:
    """The set with its numbers; clean: the same images clean, where the object shows."""
    return Seen(
        images, maps, {key: _numbers(values, *_object(clean, values)) for key, values in maps.items()}
    )


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
    """Each statistic of Table I of each map of each set: "table S pgd KEY", "table TV.raw pgd KEY"."""
    return {
        name("table", statistic, which, key): numbers[claim]
        for which, one in sets.items()
        for key, numbers in one.numbers.items()
        for statistic, claim in TABLE.items()
    }


def columns(sets: Mapping[str, Seen], *, seed: int) -> Columns:
    """All claims but T9; sets: "clean" and `ATTACKS`, the same images in all."""
    found: Columns = {}
    for key, clean in sets["clean"].maps.items():
        on, off = _object(sets["clean"].images, clean)
        share = m.positive_share(clean, on)
        found[name("claim", "T5", "", key)] = share
        found[name("claim", "T5b", "", key)] = share - m.positive_share(clean, off)
        for attack in ATTACKS:
            changed = _against_clean(sets["clean"], sets[attack], key, seed)
            found |= {name("claim", claim, attack, key): values for claim, values in changed.items()}
        made = {attack: sets[attack].maps[key] for attack in SINGLE}
        moved = {attack: m.disturbance(clean, one) for attack, one in made.items()}
        for rival in ("fgsm", "pgd"):
            found[name("claim", "T10", rival, key)] = moved["cw"] - moved[rival]
        alike = [m.correlation(made["fgsm"], made[other]) for other in ("pgd", "cw")]
        found[name("claim", "T11", "", key)] = alike[0] - alike[1]
    return found


def placebos(
    claimed: Mapping[str, Tensor], sets: Mapping[str, Seen], noisy: Mapping[str, Seen], *, seed: int
) -> Columns:
    """Each claim's statistic under an attack less the same under harmless noise of its size; T5 and T9 apart.

    claimed   what `columns` says of the same sets
    noisy     attack -> the clean images with noise
    """
    found: Columns = {}
    for key, clean in sets["clean"].maps.items():
        for attack, made in noisy.items():
            for claim, values in _against_clean(sets["clean"], made, key, seed).items():
                own = claimed[name("claim", claim, attack, key)]
                found[name("placebo", claim, attack, key)] = own - values
                if claim in ("T6", "T8.scaled") and key in SHOWN:
                    found[name("noise", claim, attack, key)] = values
        moved = [m.disturbance(clean, of["cw"].maps[key]) for of in (sets, noisy)]
        found[name("placebo", "T10", "", key)] = moved[0] - moved[1]
        alike = [m.correlation(of["fgsm"].maps[key], of["pgd"].maps[key]) for of in (sets, noisy)]
        found[name("placebo", "T11", "", key)] = alike[0] - alike[1]
    return found


def objects(maps: Maps, images: Tensor) -> Columns:
    """What T5 asks of clean images: the share of positive pixels on the object, by the claim's own name."""
    return {
        name("claim", "T5", "", key): m.positive_share(values, _object(images, values)[0])
        for key, values in maps.items()
    }


def untrained(claimed: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> Columns:
    """T5's placebo: the share of positive pixels on the object in a network's map, less that in the map of
    one with drawn weights.
    """
    pairs = {text: (claimed[text], other) for text, other in drawn.items()}
    return {
        f"placebo{text.removeprefix('claim')}": own[: len(other)] - other
        for text, (own, other) in pairs.items()
    }


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


def _against_clean(clean: Seen, after: Seen, key: str, seed: int) -> Columns:
    """What a set changes against the clean one, in one reading."""
    before, now = clean.maps[key], after.maps[key]
    off = _object(clean.images, before)[1]
    changed = {claim: values - clean.numbers[key][claim] for claim, values in after.numbers[key].items()}
    moved = _at((after.images - clean.images).abs(), before)[:, 0] > CHANGED
    return changed | {
        "T4": m.flips(before, now, off) - m.flips_by_chance(before, now, off, seed=seed),
        "T12": m.localisation(now, moved),
    }


def orders(data: str, columns: Mapping[str, Tensor]) -> dict[MeasurementId, Tensor]:
    """Neighbours in the printed order of Table I's means: the greater less the smaller. Nothing for sets that
    are not in it.
    """
    found = {}
    for text, values in columns.items():
        kind, statistic, more, key = text.split(" ")
        what, _, scale = statistic.partition(".")
        for less, greater in pairwise(PRINTED_ORDER[what].get(data, ()) if kind == "table" else ()):
            if greater == more:
                parts = {"pair": f"{less}-{more}", **key_parts(key), "scale": scale}
                id = MeasurementId.of("order", statistic=what, data=data, **parts)
                found[id] = values - columns[name("table", statistic, less, key)]
    return found


@torch.no_grad()
def undone(
    model: nn.Module,
    sets: Mapping[str, Seen],
    labels: Tensor,
    found: Mapping[str, Tensor],
    *,
    seed: int,
) -> Columns:
    """T9: of the attacks that succeeded, how many fail again once the tenth of the pixels with the greatest
    effects is clean; and its placebo.

    found     attack -> [n] bool
    returns   for the attacks that succeeded whether those pixels undo them; less what a tenth drawn at random
              does. Without a success there is nothing to undo and no entry
    """
    undone: Columns = {}
    device = next(model.parameters()).device
    before = sets["clean"].images
    size = before.shape[-2:]
    drawn = torch.rand(len(labels), size.numel(), generator=torch.Generator().manual_seed(seed))
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
                undone[name("claim", "T9", attack, key)] = again
                undone[name("placebo", "T9", attack, key)] = again - by_chance[:n]
    return undone
