"""What decides each claim of Guo et al. 2024, IV-B: a number an image, by measurement id; the interval is taken over images.

A column is the paired change from the clean image to the attacked one unless it says otherwise. Every column is there
for every reading of the map ("R3m.probability.true"), and for total variations raw and scaled.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.readings import Maps

Columns = dict[str, Tensor]
Statistic = Callable[[Tensor], Tensor]
ATTACKS = ("cw", "cw-clipped", "fgsm", "pgd")
PRINTED_ORDER = {
    "S": {"mnist": ("clean", "fgsm", "cw", "pgd"), "fashion_mnist": ("clean", "cw", "fgsm", "pgd")},
    "TV": {"mnist": ("clean", "fgsm", "pgd", "cw"), "fashion_mnist": ("clean", "fgsm", "cw", "pgd")},
}
STATISTICS: dict[str, dict[str, Statistic]] = {  # of Table I, by the end of a measurement's id
    "S": {"": m.sparsity},
    "TV": {".raw": m.total_variation, ".scaled": lambda maps: m.total_variation(m.rescale(maps))},
}
CHANGED = 0.1  # a pixel that an attack moved by more is one that it changed (T12)
RESTORED = 0.1  # share of the pixels that go back to clean (T9)


def columns(data: str, maps: Mapping[str, Maps], images: Mapping[str, Tensor], *, seed: int) -> Columns:
    """All claims but T9, for one data set.

    maps     set -> reading -> [n, h, w]; images: set -> [n, 1, h, w], the same images in all sets
    """
    found: Columns = {}
    for key, clean in maps["clean"].items():
        n = len(clean)
        on, off = m.digit(images["clean"][:n]), m.background(images["clean"][:n])
        found[f"claim.T5.{data}.{key}"] = m.positive_share(clean, on)
        found[f"claim.T5b.{data}.{key}"] = m.positive_share(clean, on) - m.positive_share(clean, off)
        for attack in ATTACKS:
            changed = (images[attack][:n] - images["clean"][:n]).abs()[:, 0] > CHANGED
            for claim, values in _against_clean(clean, maps[attack][key], on, off, changed, seed):
                name, _, scale = claim.partition(".")
                found[f"claim.{name}.{data}.{attack}.{key}" + (f".{scale}" if scale else "")] = values
        for rival in ("fgsm", "pgd"):
            found[f"claim.T10.{data}.{rival}.{key}"] = m.disturbance(clean, maps["cw"][key]) - m.disturbance(clean, maps[rival][key])
        found[f"claim.T11.{data}.{key}"] = m.correlation(maps["fgsm"][key], maps["pgd"][key]) - m.correlation(maps["fgsm"][key], maps["cw"][key])
    return found


def _against_clean(clean: Tensor, attacked: Tensor, on: Tensor, off: Tensor, changed: Tensor, seed: int) -> Iterator[tuple[str, Tensor]]:
    scaled = (m.rescale(clean), m.rescale(attacked))
    yield "T1", m.positive_mass(attacked, on) - m.positive_mass(clean, on)
    for scale, (before, after) in {"raw": (clean, attacked), "scaled": scaled}.items():
        yield f"T2.{scale}", m.total_variation(after, mask=on) - m.total_variation(before, mask=on)
        yield f"T8.{scale}", m.total_variation(after) - m.total_variation(before)
    yield "T3", m.negative_share(attacked, off) - m.negative_share(clean, off)
    yield "T4", m.flips(clean, attacked, off) - m.flips_by_chance(clean, attacked, off, seed=seed)
    yield "T6", m.sparsity(attacked) - m.sparsity(clean)
    yield "T7", m.mean_size(attacked) - m.mean_size(clean)
    yield "T12", m.localisation(attacked, changed)


def orders(data: str, maps: Mapping[str, Maps]) -> Columns:
    """Neighbours in the printed order of Table I's means: the greater less the smaller. Nothing for sets that are not in it."""
    found: Columns = {}
    for what, of in PRINTED_ORDER.items():
        for less, more in pairwise(of.get(data, ())):
            for key in maps["clean"]:
                for name, statistic in STATISTICS[what].items():
                    found[f"order.{what}.{data}.{less}-{more}.{key}{name}"] = statistic(maps[more][key]) - statistic(maps[less][key])
    return found


def placebos(data: str, attacked: Mapping[str, Maps], noisy: Mapping[str, Maps], clean: Maps) -> Columns:
    """S and TV of the attacked image less those of one with harmless noise of the same size; and each less the clean one's.

    attacked, noisy   attack -> reading -> [n, h, w]
    """
    found: Columns = {}
    for attack, maps in noisy.items():
        for key, placebo in maps.items():
            for what, ends in STATISTICS.items():
                for name, statistic in ends.items():
                    values = {"attack": statistic(attacked[attack][key]), "noise": statistic(placebo), "clean": statistic(clean[key])}
                    found[f"placebo.{what}.{data}.{attack}.{key}{name}"] = values["attack"] - values["noise"]
                    found[f"change.{what}.{data}.{attack}.attack.{key}{name}"] = values["attack"] - values["clean"]
                    found[f"change.{what}.{data}.{attack}.noise.{key}{name}"] = values["noise"] - values["clean"]
    return found


@torch.no_grad()
def undone(model: nn.Module, images: Mapping[str, Tensor], labels: Tensor, maps: Mapping[str, Maps], found: Mapping[str, Tensor],
           data: str) -> dict[str, tuple[int, int]]:
    """T9: of the attacks that succeeded, how many fail again once the tenth of the pixels with the greatest effects is clean.

    found     attack -> [n] bool
    returns   id -> (undone, succeeded); without a success there is nothing to undo and no entry
    """
    counts = {}
    for attack in ATTACKS:
        for key, values in maps[attack].items():
            n = len(values)
            broken = found[attack][:n]
            if broken.any():
                restored = m.restore_top(images["clean"][:n], images[attack][:n], values.abs(), share=RESTORED)[broken]
                right = model(restored.to(next(model.parameters()))).argmax(1).cpu() == labels[:n][broken]
                counts[f"claim.T9.{data}.{attack}.{key}"] = (int(right.sum()), int(broken.sum()))
    return counts
