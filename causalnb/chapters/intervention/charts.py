"""What is seen of chapter 3: estimates and effects in, figures and lines of text out."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import plots
from causalnb.chapters.intervention import comparisons, figures, kernels, resampling, significance, values
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention.attacked import TITLES
from causalnb.chapters.intervention.maps import Maps
from causalnb.chapters.intervention.measurements import ranks_by_size
from causalnb.chapters.intervention.swaps import MANY, SEVEN, Case
from causalnb.statistics import Estimate

Found = Mapping[str, Estimate]
Lines = list[tuple[str, ...]]


def told(found: Found, id: str, form: str = ".2f") -> str:
    """A value with the ends of its interval; a dash where nothing was measured."""
    one = found.get(id)
    if one is None:
        return "–"
    ends = f" ({one.low:{form}} to {one.high:{form}})" if one.low is not None and one.high is not None else ""
    return f"{one.value:{form}}{ends}".replace("-", "−")


def seen(case: Case, row: int) -> Figure:
    """An image clean and under APGD, and what each channel does alone."""
    alone, of = case.swaps["apgd"].at(1), case.subject
    assert alone is not None
    said = [of.net.test.classes[int(z[row].argmax())] for z in (alone.clean, alone.attacked)]
    two = [(f"read as {said[0]}", of.images.images[row]), (f"as {said[1]}", of.changed["apgd"][row])]
    return figures.seen(two, alone.norms[row], "change of the logits (AEL)")


def steadiness(found: Found, case: Case) -> str:
    """How alike the rankings of two sizes are at least, under the attack and under noise, as a sentence."""
    ids = [f"stable.{case.name}.{name}.s{case.seed}.all" for name in ("apgd", "noise")]
    attack, noise = (f"{found[id].value:.2f}".replace("-", "−") for id in ids)
    return (
        f"Rankings at size 1 and at another agree by tau = {attack} or more under APGD, {noise} under noise."
    )


def three_maps(found: Maps) -> Figure:
    """The printed map, the same on permuted channels, and images as the unit."""
    red = [significance.red(p) for p in found]
    pairs = len(found.printed) * (len(found.printed) - 1) // 2
    names = ("printed test", "channels permuted", "images, Holm")
    return figures.heat_maps(
        {f"{name}\n{k} of {pairs} red": p for name, k, p in zip(names, red, found, strict=True)}
    )


def greatest(case: Case) -> Figure:
    """The greatest AEA of any set by size, on the images on which all sets were swapped."""
    lines: dict[str, plots.Curve] = {
        TITLES[name]: comparisons.greatest_by_size(swaps.every)  # type: ignore[misc]
        for name, swaps in case.swaps.items()
        if name in ("apgd", "cw", "boundary", "extended") and swaps.every is not None
    }
    title = "greatest share of images made wrong by a set"
    return plots.curves({title: lines}, x=f"channels swapped, of {case.channels}", limits=(-0.02, 1.04))


def ranked(case: Case) -> Figure:
    """Ranks of the channels over sizes: measured, and of effects that add up."""
    sampled = case.swaps["apgd"].sampled
    assert sampled is not None
    table = sampled.channel()
    return figures.ranks({"APGD": ranks_by_size(table), "noise": ranks_by_size(_noise(case))})


def _noise(case: Case) -> Tensor:
    sampled = case.swaps["noise"].sampled
    assert sampled is not None
    return sampled.channel()


def beside(case: Case, size: int) -> Figure:
    """AEL of the sets of a size under two perturbations each (Figs. 5 and A9), with R."""
    panels = {}
    for one, other in (("apgd", "cw"), ("apgd", "hsj"), ("cw", "hsj"), ("apgd", "noise"), ("cw", "noise")):
        found = [case.swaps[name].at(size) if name in case.swaps else None for name in (one, other)]
        a, b = found
        if a is None or b is None:
            continue
        n = min(len(a), len(b))
        x, y = (part.norms[:n].double().mean(0) for part in (a, b))
        r = float(resampling.pearson(x, y))
        panels[f"{TITLES[one]}, {TITLES[other]}\nR = {r:.2f}".replace("-", "−")] = (x, y)
    return figures.against(panels, x=f"AEL of the sets of {size}, first against second")


def kernel(case: Case) -> Figure:
    """Rank of the channels at size 1 against four properties of their kernels (Fig. 6)."""
    sampled, net = case.swaps["apgd"].sampled, case.subject.net
    assert sampled is not None
    rank = ranks_by_size(sampled.channel())[0]
    panels = {}
    names = {"norm": "norm", "std": "deviation", "folded": "norm, folded", "path": "path norm"}
    for name, its in kernels.kernels(net.model, net.layer)._asdict().items():
        r = float(resampling.pearson(its.double().cpu(), rank))
        panels[f"{names[name]}\nR = {r:.2f}".replace("-", "−")] = (its.cpu(), rank)
    return figures.against(panels, x="of the kernel; up: rank of the channel, the last the most vulnerable")


def histograms(case: Case) -> Figure:
    """AEA of all sets that were swapped, at three sizes (Figs. 2c, A3c, A4c)."""
    panels = {}
    for size in (1, case.few, SEVEN, MANY):
        found = case.swaps["apgd"].at(size)
        if found is not None:
            panels[f"{len(found.sets):,} sets of {size}"] = found.aea
    return figures.histograms(panels, x="share of images that a set makes wrong (AEA)")


def extremes(case: Case) -> Figure:
    """AEL of the ten top and the ten bottom sets of three, over images of the half that did not choose them
    (Fig. 2a). Sets of the largest size of which all were swapped.
    """
    found = case.swaps["apgd"].at(case.few)
    assert found is not None
    first = resampling.halves(len(found), seed=0)
    means = found.norms[first].double().mean(0)
    order = means.argsort(descending=True)
    chosen = torch.cat([order[:10], order[-10:]])
    groups = [found.norms[~first][:, one] for one in chosen.tolist()]
    names = [*(str(k) for k in range(1, 11)), *(str(k) for k in range(len(means) - 9, len(means) + 1))]
    return figures.boxes({"|change of the logits|": groups}, names=names, x="rank of the set on other images")


def channels(case: Case) -> Figure:
    """AEL and AEA of the sets that hold each channel, at the size of `Case.few` (Figs. 2b, 3b, A3b)."""
    found = case.swaps["apgd"].at(case.few)
    assert found is not None
    inside = sets_.members(found.sets, case.channels)
    panels = {
        f"{name} of the sets of {case.few} that hold it": [of[inside[:, j]] for j in range(case.channels)]
        for name, of in (("AEL", found.ael), ("AEA", found.aea))
    }
    names = [str(j) if j in figures.EVERY else "" for j in range(1, case.channels + 1)]
    return figures.boxes(panels, names=names, x="channel")


def measures(case: Case) -> Figure:
    """What single swaps, Shapley and Banzhaf values and leaving one channel clean say of each channel."""
    every = case.swaps["apgd"].every
    assert every is not None
    table = every.table().averaged()
    alone, but_one = table.at(1)[0], table.at(table.channels - 1)[0]
    columns = {
        "alone": alone,
        "Shapley": values.shapley(table)[0],
        "Banzhaf": values.banzhaf(table)[0],
        "one left clean": but_one - but_one.min(),
    }
    return figures.values_of_channels(columns)


def orders(case: Case) -> Figure:
    """The shares of variance by order, of AEL and AEA, image by image."""
    shares = {}
    for name, swaps in case.swaps.items():
        if swaps.every is None or name == "extended":
            continue
        for what, of in (("AEL", swaps.every.norms.double()), ("margin", swaps.every.margins.double())):
            shares[f"{what}, {TITLES[name]}"] = torch.stack([values.shares(one) for one in of]).mean(0)
    return figures.orders(shares)


# Tables --------------------------------------------------------------------------------------------------


def perturbed(case: Case) -> Lines:
    """Each perturbation: how many images it makes wrong, how far it overshoots, how large its effect is."""
    over, lines = comparisons.overshoots(case), Lines()
    for name, swaps in case.swaps.items():
        one = swaps.at(1)
        if one is None:
            continue
        n, of = len(one), case.subject
        length = (of.changed[name][:n] - of.images.images[:n]).flatten(1)
        whole = (one.attacked - one.clean).norm(dim=1).mean()
        lines.append(
            (
                TITLES[name],
                str(len(one)),
                f"{float(one.found.double().mean()):.2f}",
                f"{over[name]:.1f}" if name in over else "–",
                f"{float(length.norm(dim=1).mean()):.2f}",
                f"{float(whole):.2f}",
                f"{case.subject.clipped.get(name, 0):.2f}",
            )
        )
    return lines


def two_scopes(found: Found, rows: Sequence[tuple[str, str]]) -> Lines:
    """A statistic a line, on all images and on those on which the attack succeeds.

    rows   words and an id without its scope
    """
    return [(words, *(told(found, f"{id}.{scope}") for scope in ("all", "found"))) for words, id in rows]


MAPPED = {
    "red": "red cells, printed test",
    "mixed": "the same, channels permuted",
    "placebo": "permuted less true",
    "honest": "share of pairs that differ, images as the unit",
    "relative": "mean difference, of the mean effect",
    "concordance": "agreement of the images on the ranking, W",
}
SHRUNK = {"red": "red cells", "p": "median p, risen", "relative": "mean difference, of the mean effect"}


def mapped(found: Found, case: Case) -> Lines:
    """The printed map, its placebo and images as the unit at two sizes, and how differences shrink."""
    rows = [
        (f"{words}, size {size}", f"{kind}.{case.name}.apgd.{size}")
        for size in (case.few, SEVEN)
        for kind, words in MAPPED.items()
    ]
    shrunk = [(f"less at 7: {words}", f"less.{case.name}.apgd.7.{kind}") for kind, words in SHRUNK.items()]
    return [line for line in two_scopes(found, rows + shrunk) if set(line[1:]) != {"–"}]


def correlated(found: Found, case: Case) -> Lines:
    """R of AEL under every two perturbations that were compared, at two sizes."""
    pairs = (*comparisons.PAIRS, *comparisons.WITH_NOISE, *comparisons.BESIDE)
    rows = [
        (f"{TITLES[one]} and {TITLES[other]}, size {size}", f"r.{case.name}.{one}_{other}.{size}")
        for size in (1, case.few)
        for one, other in pairs
    ]
    return two_scopes(found, rows)


def exceeding(found: Found, case: Case) -> Lines:
    """How much more two attacks correlate with each other than with noise."""
    rows = [
        (f"{TITLES[one]} and {TITLES[other]}", f"excess.{case.name}.{one}_{other}.1")
        for one, other in comparisons.PAIRS
    ]
    return two_scopes(found, rows)


TWINS = {
    "size 7: what the top set costs, AEA": "max.{data}.apgd.7",
    "size 3: share of sets that cost half of the accuracy": "strong.{data}.apgd.3.50",
    "size 3: AEL of the top three channels less the bottom three": "topbottom.{data}.apgd.3.s{seed}",
    "least agreement of rankings, size 1 and any other": "stable.{data}.apgd.s{seed}",
    "least rise of the mean AEL from a size to the next": "grows.{data}.apgd.s{seed}",
    "size at which a set costs nine tenths, APGD": "onset.{data}.apgd",
    "the same, C&W": "onset.{data}.cw",
    "the same, APGD to its boundary": "onset.{data}.boundary",
    "the same, C&W lengthened": "onset.{data}.extended",
    "R of the sets of 3, APGD and C&W": "r.{data}.apgd_cw.3",
    "the same, APGD and noise": "r.{data}.apgd_noise.3",
    "R of rank and norm of the kernel": "norm.{data}.apgd.16",
}


def twins(found: Found, case: Case) -> Lines:
    """What the claims' statistics come to on the images of this page."""
    rows = [(words, id.format(data=case.name, seed=case.seed)) for words, id in TWINS.items()]
    return [line for line in two_scopes(found, rows) if set(line[1:]) != {"–"}]
