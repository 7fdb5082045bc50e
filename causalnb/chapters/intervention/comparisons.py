"""What the record holds of attacks beside each other: whether they rank sets and channels alike, how many
channels each needs, how far it spreads, and whether noise does the same. Of the first training.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from causalnb.chapters.intervention import attacked, perturbations, resampling
from causalnb.chapters.intervention.measurements import LEAST, ROUGH, SCOPES, rows_of
from causalnb.chapters.intervention.metrics import Effects
from causalnb.chapters.intervention.networks import Run
from causalnb.chapters.intervention.resampling import Statistic
from causalnb.chapters.intervention.swaps import FEW, SEVEN, Case
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates

PAIRS = tuple(combinations(attacked.PAPERS, 2))
WITH_NOISE = (("apgd", "noise"), ("hsj", "noise"), ("cw", "noise"))
BESIDE = (("apgd", "boundary"), ("apgd", "other"), ("apgd", "flipped"))
NO_CLAIM = {"_".join(one) for one in BESIDE}  # pairs of ours, of which R is enough
REACH = 0.9  # of the images, what "significantly disrupts" asks for


def pairs(run: Run, case: Case) -> Estimates:
    """r, tau, common, channels_common, excess: two perturbations on the same images, resampled together."""
    made: Estimates = {}
    for one, other in (*PAIRS, *WITH_NOISE, *BESIDE):
        for size in (1, FEW, SEVEN):
            for scope, (a, b) in _both(case, one, other, size).items():
                parts = {"data": case.name, "pair": f"{one}_{other}", "size": size, "scope": scope}
                made |= _alike(run, a, b, size, parts)
    for one, other in PAIRS:
        made |= _excess(run, case, one, other)
    return made


def _both(case: Case, one: str, other: str, size: int) -> dict[str, tuple[Effects, Effects]]:
    found = [case.swaps[name].at(size) if name in case.swaps else None for name in (one, other)]
    a, b = found
    if a is None or b is None or len(a.sets) != len(b.sets):
        return {}
    n, made = min(len(a), len(b)), {}
    for scope in SCOPES:
        rows = rows_of(scope, *(x for x, name in ((a, one), (b, other)) if name != "noise"))[:n]
        if int(rows.sum()) >= LEAST:
            made[scope] = tuple(x.take(slice(n)).take(rows) for x in (a, b))
    return made  # type: ignore[return-value]


def _alike(run: Run, a: Effects, b: Effects, size: int, parts: Mapping[str, Any]) -> Estimates:
    n, m, made = len(a), len(a.sets), {}

    def put(kind: str, statistic: Statistic, **more: Any) -> None:
        id = MeasurementId.of(kind, **parts)
        made[id] = resampling.estimate(statistic, n, level=run.level(id), seed=run.p.seed, **more)

    put("r", resampling.correlation(a.norms, b.norms), wide=m, within=(-1, 1))
    if size == FEW and parts["pair"] not in NO_CLAIM:
        put("tau", resampling.agreement(a.norms, b.norms), few=ROUGH // 5, within=(-1, 1))
        put("common", resampling.common(a.norms, b.norms, 10), wide=m, centred=False)
    if size == 1 and parts["pair"] not in NO_CLAIM:
        tables = (a.table().at(1), b.table().at(1))
        put("channels_common", resampling.common(*tables, 3), wide=a.channels, centred=False)
    return made


def _excess(run: Run, case: Case, one: str, other: str) -> Estimates:
    made: Estimates = {}
    for scope, (a, b) in _both(case, one, other, 1).items():
        noise = case.swaps["noise"].at(1)
        if noise is None:
            continue
        rows = rows_of(scope, *(case.swaps[name].at(1) for name in (one, other)))  # type: ignore[arg-type]
        its = noise.take(slice(len(rows))).take(rows)
        id = MeasurementId.of("excess", data=case.name, pair=f"{one}_{other}", size=1, scope=scope)
        tables = [x.table().at(1) for x in (a, b, its)]
        made[id] = resampling.excess(*tables, level=run.level(id), seed=run.p.seed)
    return made


# How many channels ---------------------------------------------------------------------------------------


def by_size(effects: Effects) -> dict[int, Tensor]:
    """Whether each swapped image is wrong [n, sets], by size, of effects of all sets."""
    return {size: effects.of(size).wrong for size in range(1, effects.channels + 1)}


def needed(run: Run, case: Case) -> Estimates:
    """onset, later: the first size at which some set costs nine tenths of the accuracy, and how much later
    than APGD's that is; of C&W lengthened than that of C&W.
    """
    made: Estimates = {}
    for name, base in (
        ("apgd", ""),
        ("cw", "apgd"),
        ("hsj", "apgd"),
        ("boundary", "apgd"),
        ("extended", "cw"),
    ):
        swaps = case.swaps.get(name)
        if swaps is None or swaps.every is None:
            continue
        against = case.swaps[base].every if base else None
        for scope in SCOPES:
            rows = rows_of(scope, *(x for x in (swaps.every, against) if x is not None))
            if int(rows.sum()) < LEAST:
                continue
            own = by_size(swaps.every.take(slice(len(rows))).take(rows))
            first = resampling.onset(own, REACH)
            made |= _count(run, case, "onset", name, scope, first, own)
            if against is not None:
                its = resampling.onset(by_size(against.take(slice(len(rows))).take(rows)), REACH)
                made |= _count(run, case, "later", name, scope, resampling.less(first, its), own)
    return made


def _count(
    run: Run, case: Case, kind: str, name: str, scope: str, statistic: Statistic, wrong: Mapping[int, Tensor]
) -> Estimates:
    id = MeasurementId.of(kind, data=case.name, perturbation=name, scope=scope)
    widest = max(one.shape[1] for one in wrong.values())
    n = len(wrong[1])
    asked: dict[str, Any] = {"level": run.level(id), "seed": run.p.seed, "wide": widest, "few": ROUGH // 5}
    return {id: resampling.estimate(statistic, n, centred=False, **asked)}


def greatest_by_size(effects: Effects) -> dict[int, float]:
    """The greatest AEA of any set of a size, on these images; 0 at size 0."""
    every = by_size(effects)
    return {0: 0.0} | {size: float(one.double().mean(0).max()) for size, one in every.items()}


def overshoots(case: Case) -> dict[str, float]:
    """By how many times its margin each perturbation moves an image, the median of those that succeed."""
    found = {name: one[one.isfinite()] for name, one in case.subject.overshoot.items()}
    return {name: float(one.median()) for name, one in found.items() if len(one)}


# How far, and how large ----------------------------------------------------------------------------------


def spread(run: Run, case: Case) -> Estimates:
    """spread: participation ratio of the channels' shares, less that of APGD scaled to the same length, image
    by image; by the change of the features and by the AEL of single channels.
    """
    made: Estimates = {}
    of, net = case.subject, case.subject.net
    for name in ("cw", "hsj", "noise"):
        swaps = case.swaps.get(name)
        alone = swaps.at(1) if swaps else None
        if alone is None:
            continue
        n = len(alone)
        clean, labels = of.images.images[:n], of.images.labels[:n]
        apgd = as_long(clean, of.changed["apgd"][:n], of.changed[name][:n])
        lengths = [attacked.change_of_features(net, clean, x) for x in (of.changed[name][:n], apgd)]
        from causalnb.chapters.intervention.metrics import effects as swapped

        its = swapped(net.model, net.layer, clean, apgd, labels, alone.sets)
        effects = [alone.norms.double(), its.norms.double()]
        for reading, (own, other) in (("features", lengths), ("ael", effects)):
            for scope in SCOPES if name != "noise" else SCOPES[:1]:
                rows = rows_of(scope, alone)
                if int(rows.sum()) < LEAST:
                    continue
                id = MeasurementId.of(
                    "spread", data=case.name, perturbation=name, reading=reading, scope=scope
                )
                statistic = resampling.less(
                    resampling.participation(own[rows]), resampling.participation(other[rows])
                )
                asked: dict[str, Any] = {"level": run.level(id), "seed": run.p.seed, "wide": case.channels}
                made[id] = resampling.estimate(statistic, int(rows.sum()), **asked)
    return made


def as_long(clean: Tensor, attacked_: Tensor, like: Tensor) -> Tensor:
    """Each perturbation of `attacked_` with the l2 length of that of `like`, clipped to the box."""
    length, wanted = ((x - clean).flatten(1).norm(dim=1) for x in (attacked_, like))
    times = (wanted / length.clamp(min=1e-12)).view(-1, *[1] * (clean.ndim - 1))
    return (clean + times * (attacked_ - clean)).clamp(0, 1)


def magnitudes(run: Run, case: Case) -> Estimates:
    """ratio: what the attack that changes most changes, over what the one that changes least does; by
    features and by AEL of all channels; as the attacks are, and each at its boundary.
    """
    of, made = case.subject, dict[Any, Estimate]()
    names = [name for name in attacked.PAPERS if name in of.changed]
    if len(names) < 2:
        return {}
    n = min(len(of.changed[name]) for name in names)
    clean, labels = of.images.images[:n], of.images.labels[:n]
    own = {name: of.changed[name][:n] for name in names}
    at = {
        name: perturbations.to_boundary(of.net.model, clean, one, labels).images for name, one in own.items()
    }
    found = torch.stack([perturbations.margins(of.net.model, one, labels) < 0 for one in own.values()]).all(0)
    for what, changed in (("attacks", own), ("boundaries", at)):
        features = [attacked.change_of_features(of.net, clean, x).norm(dim=1) for x in changed.values()]
        with torch.no_grad():
            z = of.net.model(clean)
            logits = [(of.net.model(x) - z).norm(dim=1).double() for x in changed.values()]
        for reading, columns in (("features", features), ("ael", logits)):
            table = torch.stack(columns, 1)
            for scope in SCOPES:
                rows = found if scope == "found" else torch.ones(n, dtype=torch.bool)
                if int(rows.sum()) < LEAST:
                    continue
                id = MeasurementId.of(
                    "ratio", data=case.name, what=what, size=16, reading=reading, scope=scope
                )
                asked: dict[str, Any] = {
                    "level": run.level(id),
                    "seed": run.p.seed,
                    "within": (1, float("inf")),
                }
                made[id] = resampling.estimate(_ratio(table[rows]), int(rows.sum()), centred=False, **asked)
    return made


def _ratio(table: Tensor) -> Statistic:
    def statistic(weights: Tensor) -> Tensor:
        means = weights @ table
        return means.amax(1) / means.amin(1).clamp(min=1e-12)

    return statistic


def everything(run: Run, case: Case) -> Estimates:
    """All of the above."""
    return pairs(run, case) | needed(run, case) | spread(run, case) | magnitudes(run, case)
