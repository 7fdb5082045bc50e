"""The printed heat map of a training, the same where all channels are alike, and the map with images as the
unit; and what all sets say of the order of effects.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from causalnb.chapters.intervention import resampling, significance, values
from causalnb.chapters.intervention.measurements import scoped
from causalnb.chapters.intervention.metrics import Effects
from causalnb.chapters.intervention.networks import Run
from causalnb.chapters.intervention.swaps import FEW, SEVEN, Case
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, exact, percentile_ends

DRAWS = {"quick": 20}  # permutations of the placebo, and resamples of the printed map
FURTHER = 200
LEAST = 13  # images from which a pair of 120 can be significant after Holm
LEVEL = 0.95


class Maps(NamedTuple):
    """p of all pairs of channels at one size, [channels, channels] each.

    printed, placebo   the printed test, on true channels and on channels permuted image by image
    honest             with images as the unit, after Holm's adjustment
    """

    printed: Tensor
    placebo: Tensor
    honest: Tensor


def maps(effects: Effects, *, seed: int) -> Maps:
    """Of effects of all sets of one size."""
    sets, h = effects.sets, effects.channels
    mixed = significance.shuffled(effects.norms, sets, h, seed=seed)
    return Maps(
        significance.rank_sum_map(effects.ael, sets, h),
        significance.rank_sum_map(mixed.double().mean(0), sets, h),
        significance.paired(effects.table().channel[:, 0]).holm,
    )


def measured(run: Run, case: Case) -> Estimates:
    """placebo, honest, less, and the red cells themselves."""
    made, known = dict[Any, Estimate](), dict[tuple[int, int], dict[str, Estimate]]()
    for size in (FEW, SEVEN):
        for scope, effects in scoped(case, "apgd", size):
            if effects.table().sizes != (size,):
                continue
            parts: dict[str, Any] = {
                "data": case.name,
                "perturbation": "apgd",
                "size": size,
                "scope": scope,
            }
            if (size, len(effects)) not in known:
                known[size, len(effects)] = (
                    _placebo(run, effects) | _honest(run, effects) | _large(run, effects)
                )
            for kind, one in known[size, len(effects)].items():
                made[MeasurementId.of(kind, **parts)] = one
    return made | _less(run, case) | _additive(run, case)


def _few(run: Run) -> int:
    return DRAWS.get(run.p.profile, FURTHER)


def _placebo(run: Run, effects: Effects) -> dict[str, Estimate]:
    """Red cells on permuted channels less red cells on the true ones; images resampled, and channels permuted
    anew, in each draw.
    """
    generator, n = torch.Generator().manual_seed(run.p.seed), len(effects)
    sets, h = effects.sets, effects.channels
    true, mixed = list[int](), list[int]()
    for draw in range(_few(run) + 1):
        rows = torch.arange(n) if not draw else torch.randint(n, (n,), generator=generator)
        norms = effects.norms[rows]
        other = significance.shuffled(norms, sets, h, seed=run.p.seed + draw)
        for kept, of in ((true, norms), (mixed, other)):
            kept.append(significance.red(significance.rank_sum_map(of.double().mean(0), sets, h)))
    red = torch.tensor([true, mixed]).double()
    made: dict[str, Estimate] = {}
    level = LEVEL
    for kind, column in (("placebo", red[1] - red[0]), ("red", red[0]), ("mixed", red[1])):
        value = float(column[0])
        if kind != "red":  # one permutation is as good as another: their mean, on the true images' map
            value = float(red[1].mean() - (red[0][0] if kind == "placebo" else 0))
        low, high = percentile_ends(column[None, 1:].numpy().copy(), level)[:, 0].tolist()
        made[kind] = Estimate(value, min(low, value), max(high, value), level, "bootstrap, rough", n)
    return made


def _honest(run: Run, effects: Effects) -> dict[str, Estimate]:
    """Share of the pairs that differ after Holm, with images as the unit; images resampled. Of too few images
    nothing.
    """
    if len(effects) < LEAST:
        return {}
    table = effects.table().channel[:, 0]
    generator, n = torch.Generator().manual_seed(run.p.seed), len(effects)
    draws = [table, *(table[torch.randint(n, (n,), generator=generator)] for _ in range(_few(run)))]
    shares = torch.tensor([significance.paired(one).share for one in draws], dtype=torch.float64)
    low, high = percentile_ends(shares[None, 1:].numpy().copy(), LEVEL)[:, 0].tolist()
    value = float(shares[0])
    return {"honest": Estimate(value, min(low, value), max(high, value), LEVEL, "bootstrap, rough", n)}


def _large(run: Run, effects: Effects) -> dict[str, Estimate]:
    """How large the differences are that are significant: their mean size over the mean effect, and Kendall's
    W, how far the images agree on the ranking of the channels.
    """
    table = effects.table().channel[:, 0]
    asked: dict[str, Any] = {"level": LEVEL, "seed": run.p.seed, "wide": effects.channels**2}
    apart = resampling.estimate(resampling.relative_difference(table), len(table), **asked)
    return {"relative": apart, "concordance": exact(significance.concordance(table).w, n=len(table))}


def _less(run: Run, case: Case) -> Estimates:
    """less.7: by how much less significant the channels' differences are at 7 than at 3."""
    made: Estimates = {}
    sevens = dict(scoped(case, "apgd", SEVEN))
    if (every := case.swaps["apgd"].every) is not None:
        sevens = {"all": every.of(SEVEN)} | (
            {"found": every.of(SEVEN).take(every.found)} if every.found.sum() >= 4 else {}
        )
    for scope, seven in sevens.items():
        three = dict(scoped(case, "apgd", FEW)).get(scope)
        if three is None or seven.table().sizes != (SEVEN,):
            continue
        three = three.take(slice(len(seven)))
        n, h = len(seven), seven.channels
        asked = {"resamples": _few(run), "seed": run.p.seed}
        at = [resampling.printed_map(one.norms, one.sets, h, **asked) for one in (three, seven)]
        columns = {"red": at[0]["red"] - at[1]["red"], "p": at[1]["p"].double() - at[0]["p"].double()}
        for reading, column in columns.items():
            id = MeasurementId.of(
                "less", data=case.name, perturbation="apgd", size=SEVEN, reading=reading, scope=scope
            )
            low, high = percentile_ends(column[None, 1:].double().numpy().copy(), run.level(id))[
                :, 0
            ].tolist()
            value = float(column[0])
            made[id] = Estimate(
                value, min(low, value), max(high, value), run.level(id), "bootstrap, rough", n
            )
        tables = [one.table().channel[:, 0] for one in (three, seven)]
        fall = resampling.less(*(resampling.relative_difference(one) for one in tables))
        id = MeasurementId.of(
            "less", data=case.name, perturbation="apgd", size=SEVEN, reading="relative", scope=scope
        )
        made[id] = resampling.estimate(fall, n, level=run.level(id), seed=run.p.seed, wide=h * h)
    return made


def _additive(run: Run, case: Case) -> Estimates:
    """additive: the share of the variance over all sets, image by image, that is of first order; of images on
    which the attack succeeds, as the others may have no variance.
    """
    made: Estimates = {}
    for name in ("apgd", "cw", "boundary"):
        swaps = case.swaps.get(name)
        if swaps is None or swaps.every is None:
            continue
        found = swaps.every.found
        if not found.any():
            continue
        first = torch.stack([values.shares(one)[0] for one in swaps.every.norms[found].double()])
        id = MeasurementId.of("additive", data=case.name, perturbation=name, scope="found")
        statistic = lambda weights, first=first: weights @ first  # noqa: E731
        asked: dict[str, Any] = {"level": run.level(id), "seed": run.p.seed, "within": (0, 1)}
        made[id] = resampling.estimate(statistic, len(first), **asked)
    return made
