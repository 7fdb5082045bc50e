"""What the record holds of the swaps: the statistics that the ledger names, each of all images and of those
on which the attack succeeds. Images are the unit; trainings where a claim is about a training.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causalnb import trainings
from causalnb.chapters.intervention import attacked, kernels, resampling, significance
from causalnb.chapters.intervention.metrics import Effects
from causalnb.chapters.intervention.networks import Run
from causalnb.chapters.intervention.permutation import Sampled
from causalnb.chapters.intervention.resampling import Statistic
from causalnb.chapters.intervention.swaps import FEW, MANY, SEVEN, Case
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, student

LEAST = 4  # images below which nothing is said
ROUGH = 1000  # resamples of what takes its time
SCOPES = ("all", "found")
Of = Callable[[Effects, float, int], Estimate]  # effects, level, seed -> what is said of them


def rows_of(scope: str, *effects: Effects) -> Tensor:
    """Which of the images, that all of the effects have first, are in a scope: [n], bool."""
    n = min(map(len, effects))
    mask = torch.ones(n, dtype=torch.bool)
    if scope == "found":
        for one in effects:
            mask &= one.found[:n]
    return mask


def scoped(case: Case, perturbation: str, size: int) -> Iterator[tuple[str, Effects]]:
    """The effects of the sets of a size by scope; nothing where there are none."""
    swaps = case.swaps.get(perturbation)
    found = swaps.at(size) if swaps else None
    if found is None:
        return
    attack = perturbation in (*attacked.PAPERS, "boundary", "extended")
    for scope in SCOPES if attack else SCOPES[:1]:
        rows = rows_of(scope, found)
        if int(rows.sum()) >= LEAST:
            yield scope, found if rows.all() else found.take(rows)


def of_one(
    run: Run, case: Case, kind: str, perturbation: str, size: int, of: Of, *, seed: bool = False, **more: str
) -> Estimates:
    """A statistic of one training; its seed stands in the id where trainings are apart."""
    made: Estimates = {}
    known: dict[int, Estimate] = {}
    for scope, effects in scoped(case, perturbation, size):
        own = f"s{case.seed}" if seed else ""
        id = MeasurementId.of(
            kind, data=case.name, perturbation=perturbation, size=size, **more, seed=own, scope=scope
        )
        if len(effects) not in known:
            known[len(effects)] = of(effects, run.level(id), run.p.seed)
        made[id] = known[len(effects)]
    return made


def of_every(
    run: Run, cases: Sequence[Case], kind: str, perturbation: str, size: int, of: Of, **more: str
) -> Estimates:
    """What holds of each training: `trainings.every`."""
    made: Estimates = {}
    for scope in SCOPES:
        id = MeasurementId.of(
            kind, data=cases[0].name, perturbation=perturbation, size=size, **more, scope=scope
        )
        each = [
            (case.seed, of(effects, run.level(id), run.p.seed))
            for case in cases
            for its, effects in scoped(case, perturbation, size)
            if its == scope
        ]
        if each:
            made[id] = trainings.every([one for _, one in each], seeds=[seed for seed, _ in each])
    return made


def over(
    run: Run, id: MeasurementId, values: Mapping[int, float], *, n: int, one_more: bool = False
) -> Estimates:
    """The mean of a statistic over trainings, each with images of its own, so that their spread holds that
    over images; or the interval in which one more training lies.

    values   by seed of the training
    """
    seeds, each, level = list(values), np.array(list(values.values())), run.level(id)
    if len(each) < 2:
        return {id: Estimate(float(each.mean()), method="one training", n=n, seeds=tuple(seeds))}
    found = (
        trainings.one_more(each, seeds=seeds, level=level) if one_more else student(each, 0.0, seeds, level)
    )
    return {id: replace(found, n=n)}


def of_trainings(
    run: Run,
    cases: Sequence[Case],
    kind: str,
    perturbation: str,
    size: int,
    of: Callable[[Effects], float],
    *,
    one_more: bool = False,
    **more: str,
) -> Estimates:
    """A number of each training's effects at a size, over the trainings."""
    made: Estimates = {}
    for scope in SCOPES:
        found = {
            case.seed: effects
            for case in cases
            for its, effects in scoped(case, perturbation, size)
            if its == scope
        }
        if found:
            id = MeasurementId.of(
                kind, data=cases[0].name, perturbation=perturbation, size=size, **more, scope=scope
            )
            values = {seed: of(effects) for seed, effects in found.items()}
            n = min(map(len, found.values()))
            made |= over(run, id, values, n=n, one_more=one_more)
    return made


# A few channels are enough -------------------------------------------------------------------------------


def greatest(effects: Effects, level: float, seed: int) -> Estimate:
    """AEA of the set that costs most."""
    return resampling.greatest(effects.wrong, level=level, seed=seed)


def least(effects: Effects, level: float, seed: int) -> Estimate:
    """AEA of the set that costs least: what is left of the greatest share that stays right."""
    found = resampling.greatest(~effects.wrong, level=level, seed=seed)
    low, high = found.ends
    return replace(found, value=1 - found.value, low=1 - high, high=1 - low)


def widest(effects: Effects, level: float, seed: int) -> Estimate:
    """AEA of the set that costs most less that of the one that costs least."""
    held = resampling.chosen(effects.wrong, resampling.top_less_bottom(1), level=level, seed=seed)
    top, bottom = greatest(effects, level, seed), least(effects, level, seed)
    return replace(held, high=max(held.ends[1], top.ends[1] - bottom.ends[0]), method="held out, below all")


def existence(run: Run, cases: Sequence[Case]) -> Estimates:
    """max, single, big, least, range: of each training that there is such a set, or that there is none."""
    made: Estimates = {}
    for perturbation in ("apgd", "noise", "cw", "hsj"):
        for size in (FEW, 4, SEVEN, MANY):
            if perturbation != "noise" or size != MANY:
                made |= of_every(run, cases, "max", perturbation, size, greatest)
    made |= of_every(run, cases, "single", "apgd", 1, greatest)
    for reading in (0.10, 0.19, 0.50):
        made |= of_every(run, cases, "big", "apgd", 1, _less(reading), reading=f"{reading:.0%}"[:-1])
    made |= of_every(run, cases, "least", "apgd", SEVEN, least)
    made |= of_every(run, cases, "range", "apgd", FEW, widest)
    made |= of_trainings(run, cases, "drop", "apgd", 1, _drop, one_more=True)
    return made


def _less(threshold: float) -> Of:
    def of(effects: Effects, level: float, seed: int) -> Estimate:
        found = greatest(effects, level, seed)
        low, high = found.ends
        return replace(found, value=found.value - threshold, low=low - threshold, high=high - threshold)

    return of


def _drop(effects: Effects) -> float:
    return float(resampling.held_out(effects.wrong, resampling.top()).mean())


def levels(run: Run, cases: Sequence[Case]) -> Estimates:
    """small, strong, most: shares of the sets of a size, over trainings."""
    made: Estimates = {}
    for reading in (0.10, 0.19):
        share = _share(below=reading)
        made |= of_trainings(run, cases, "small", "apgd", FEW, share, reading=f"{reading:.0%}"[:-1])
    for reading in (0.5, 0.9):
        share = _share(above=reading)
        made |= of_trainings(run, cases, "strong", "apgd", FEW, share, reading=f"{reading:.0%}"[:-1])
    made |= of_trainings(run, cases, "most", "apgd", SEVEN, _share(above=0.5), reading="aea")
    made |= of_trainings(run, cases, "most", "apgd", SEVEN, _half_of_all, reading="ael")
    return made


def _share(**bounds: float) -> Callable[[Effects], float]:
    return lambda effects: _point(resampling.share_of_sets(effects.wrong, **bounds), len(effects))


def _half_of_all(effects: Effects) -> float:
    whole = (effects.attacked - effects.clean).norm(dim=1).double().mean()
    return float((effects.ael >= whole / 2).double().mean())


def _point(statistic: Statistic, n: int) -> float:
    return float(statistic(torch.full((1, n), 1 / n, dtype=torch.float64))[0])


# Channels stand out --------------------------------------------------------------------------------------


def standing_out(run: Run, cases: Sequence[Case]) -> Estimates:
    """sets, top, topbottom, overlap: what is chosen on one half of the images, on the other half."""
    made: Estimates = {}
    for case in cases:
        for perturbation in ("apgd", "noise"):
            ten = resampling.top_less_bottom(10)
            made |= of_one(run, case, "sets", perturbation, FEW, _chosen(ten, sets=True), seed=True)
            made |= of_one(run, case, "top", perturbation, 1, _chosen(resampling.top_less_rest), seed=True)
        for perturbation in ("apgd", "noise", "cw", "hsj"):
            for size in (FEW, MANY):
                three = _chosen(resampling.top_less_bottom(3))
                made |= of_one(run, case, "topbottom", perturbation, size, three, seed=True)
    for k in (1, 3):
        for scope in SCOPES:
            found = {}
            for case in cases:
                both = [dict(scoped(case, "apgd", size)).get(scope) for size in (FEW, 1)]
                if both[0] is not None and both[1] is not None:
                    tables = [one.table().at(size) for one, size in zip(both, (FEW, 1), strict=True) if one]
                    found[case.seed] = _point(resampling.common(tables[0], tables[1], k), len(tables[0]))
            if found:
                id = MeasurementId.of(
                    "overlap", data=cases[0].name, perturbation="apgd", size=FEW, reading=k, scope=scope
                )
                made |= over(run, id, found, n=min(len(case.subject.images) for case in cases))
    return made


def _chosen(choose: Callable[[Tensor], Tensor], *, sets: bool = False) -> Of:
    def of(effects: Effects, level: float, seed: int) -> Estimate:
        values = effects.norms if sets else effects.table().channel[:, 0]
        return resampling.chosen(values, choose, level=level, seed=seed)

    return of


# Sizes and kernels ---------------------------------------------------------------------------------------


def sizes(run: Run, cases: Sequence[Case]) -> Estimates:
    """stable, indicates, grows, by permutations; norm and strong_norm, over trainings."""
    made: Estimates = {}
    for perturbation in ("apgd", "noise"):
        for case in cases:
            made |= _by_permutations(run, case, perturbation)
        made |= _norms(run, cases, perturbation)
    return made


def _by_permutations(run: Run, case: Case, perturbation: str) -> Estimates:
    swaps = case.swaps.get(perturbation)
    if swaps is None or swaps.sampled is None or swaps.ordered is None:
        return {}
    made: Estimates = {}
    scopes = SCOPES if perturbation == "apgd" else SCOPES[:1]
    for scope in scopes:
        rows = rows_of(scope, swaps.ordered)
        if int(rows.sum()) < LEAST:
            continue
        one, h = swaps.sampled.take(rows), case.channels
        parts = {"data": case.name, "perturbation": perturbation, "seed": f"s{case.seed}", "scope": scope}
        for kind, base, few in (("stable", 0, 0), ("indicates", 0, FEW - 1)):
            id = MeasurementId.of(kind, **parts)
            wanted = resampling.least_agreement(_sizes(one, few, h), base=base)
            made[id] = _estimated(run, id, wanted, len(one.phi), wide=h * h * h, few=ROUGH, within=(-1, 1))
        id = MeasurementId.of("grows", **parts)
        made[id] = _estimated(run, id, resampling.least_step(one.mean), len(one.phi), wide=h)
    return made


def _sizes(of: Sampled, first: int, last: int) -> resampling.Means:
    """The means A_j^gamma of the sizes from `first` + 1 to below `last`, by weights of the images."""
    return lambda weights: of.channel(weights)[:, first : last - 1]


def _estimated(run: Run, id: MeasurementId, statistic: Statistic, n: int, **more: Any) -> Estimate:
    return resampling.estimate(statistic, n, level=run.level(id), seed=run.p.seed, **more)


def _norms(run: Run, cases: Sequence[Case], perturbation: str) -> Estimates:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for case in cases:
        swaps = case.swaps.get(perturbation)
        if swaps is None or swaps.sampled is None or swaps.ordered is None:
            continue
        if not kernels.has_kernels(case.subject.net.model, case.subject.net.layer):
            continue
        norm = kernels.kernels(case.subject.net.model, case.subject.net.layer).norm.double().cpu()
        for scope in SCOPES if perturbation == "apgd" else SCOPES[:1]:
            rows = rows_of(scope, swaps.ordered)
            if int(rows.sum()) >= LEAST:
                ranked = ranks_by_size(swaps.sampled.take(rows).channel())
                for reading, these in (("240", ranked), ("16", ranked[:1])):
                    r = resampling.pearson(these.flatten(), norm.repeat(len(these)))
                    found.setdefault((reading, scope), {})[case.seed] = float(r)
    made: Estimates = {}
    n = min(len(case.subject.images) for case in cases)
    for (reading, scope), values in found.items():
        parts = {"data": cases[0].name, "perturbation": perturbation, "reading": reading}
        made |= over(run, MeasurementId.of("norm", **parts, scope=scope), values, n=n)
        for strong in (0.5, 0.7):
            id = MeasurementId.of("strong_norm", **parts, than=f"{strong:.0%}"[:-1], scope=scope)
            made |= over(run, id, {seed: value - strong for seed, value in values.items()}, n=n)
    return made


def ranks_by_size(channel: Tensor) -> Tensor:
    """Ranks of the channels, the most vulnerable the last, at each size below all: A_j^gamma [H, H] ->
    [H - 1, H].
    """
    return torch.stack([significance.ranks(row) for row in channel[:-1]])


def everything(run: Run, cases: Sequence[Case]) -> Estimates:
    """All of the above."""
    parts = (existence, levels, standing_out, sizes)
    made: Estimates = {}
    for one in parts:
        made |= one(run, cases)
    return made
