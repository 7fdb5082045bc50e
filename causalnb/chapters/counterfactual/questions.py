"""Our own questions to the chapter's network as estimates ("ours.*"), and what the attacks by someone who
knows come to: success times evasion, and the budget that they need.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from causalnb import detection
from causalnb.chapters.counterfactual import detectors
from causalnb.chapters.counterfactual.adaptive import PLANTED
from causalnb.chapters.counterfactual.attacked import LARGEST, PAPERS, Condition
from causalnb.chapters.counterfactual.detectors import STRATEGIES, UNION
from causalnb.chapters.counterfactual.estimates import median
from causalnb.chapters.counterfactual.experiments import Detectives, Seen, Shown
from causalnb.chapters.counterfactual.knowing import FALSE_ALARMS, Knowing, thresholds, undetected
from causalnb.chapters.counterfactual.measurements import Found, average, share
from causalnb.chapters.counterfactual.networks import Run
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.chapters.counterfactual.rates import LEAST, area, clean_scores, flags
from causalnb.chapters.counterfactual.strategies import correlation, pearson
from causalnb.detection import Threshold
from causalnb.record import MeasurementId
from causalnb.statistics import Estimates, exact

GROWTH = (0.5, 0.9)
WATCHED = (*STRATEGIES.values(), UNION, "softmax", "rho.g", "mahalanobis", "density")


def ours(q: str, has: Detectives, **parts: str) -> MeasurementId:
    """The id of an answer to one of our questions."""
    return MeasurementId.of("ours", q=q, data=has.net.name, **parts)


def everything(
    run: Run, has: Detectives, found: Found, harmless: Mapping[tuple[str, float], Seen], knows: Knowing
) -> Estimates:
    """All of our questions, and the few numbers that the text tells ("pixels.*"), which name no data."""
    made = (
        without_saturation(run, has, found)
        | against_gradient(run, has, found)
        | other_prototypes(run, has, found)
        | causal_filters(run, has, found)
        | at_thresholds(run, has, harmless)
        | best_against(run, has, found)
        | evasion(run, has, found, knows)
        | growth(has, found, knows)
    )
    return made | for_the_text(run, has, found, knows)


def for_the_text(run: Run, has: Detectives, found: Found, knows: Knowing) -> Estimates:
    """Accuracy, areas under untargeted PGD at 8, and what is fooled and not flagged there, under names that
    do not hang on the data.
    """
    name, one = has.net.name, found[Condition("pgd_u", PAPERS)]
    fixed = thresholds(has, FALSE_ALARMS[0])
    attacks = {"plain": [one], "matched": knows.matched[PAPERS]}
    made = share(run, "pixels", has.correct, torch.ones_like(has.correct), on=name, what="accuracy")
    made |= share(run, "pixels", one.rows["successes"], one.rows["correct"], on=name, what="misled")
    for detector in (*STRATEGIES.values(), UNION, "softmax", "mahalanobis"):
        id = MeasurementId.of("pixels", on=name, what="auc", detector=detector)
        if estimate := area(has, one, detector, level=run.level(id), seed=run.p.seed):
            made[id] = estimate
        if detector not in one.seen.scores:
            continue
        for how, each in attacks.items():
            hits, right = undetected(each, fixed[detector], detector), each[0].rows["correct"]
            made |= share(run, "pixels", hits, right, on=name, what=how, detector=detector)
    return made


def without_saturation(run: Run, has: Detectives, found: Found) -> Estimates:
    """AUC of strategy 1 on log-odds, which do not saturate, under BIM at 8; and how many prototypes have a
    float32 probability of 1.
    """
    made: Estimates = {}
    for way in ("bim_t", "bim_u"):
        id = ours("confidence", has, set=way)
        one = area(has, found[Condition(way, PAPERS)], "odds.S1", level=run.level(id), seed=run.p.seed)
        made |= {id: one} if one else {}
    sure = has.head.logits(has.known.prototypes).softmax(1).amax(1) == 1
    return made | share(run, "ours", sure, torch.ones_like(sure), q="saturated", data=has.net.name)


def against_gradient(run: Run, has: Detectives, found: Found) -> Estimates:
    """The median correlation of an image's CI with its gradient x activation, of clean images and of
    untargeted PGD at 8; where it is undefined it is left out, and how often is told.
    """
    one, made = found[Condition("pgd_u", PAPERS)], Estimates()
    sets = {"clean": has.test.outputs[has.correct], "pgd_u": one.seen.outputs[one.rows["successes"]]}
    for name, outputs in sets.items():
        if not len(outputs):
            continue
        both = pearson(has.head.information(outputs).ci, has.head.sensitivity(outputs))
        made[MeasurementId.of("undefined", q="gradient", data=has.net.name, set=name)] = exact(
            both.undefined, n=len(outputs)
        )
        if both.defined.any():
            id = ours("gradient", has, set=name)
            made[id] = median(both.rho[both.defined].numpy(), level=run.level(id), seeds=(run.p.seed,))
    return made


def other_prototypes(run: Run, has: Detectives, found: Found) -> Estimates:
    """How much better strategy 2 detects untargeted PGD at 8 with the paper's prototypes than with a random
    clean image of each class, and than with the surest held-out image ("train and test split as readings").
    """
    one = found[Condition("pgd_u", PAPERS)]
    if int((among := one.rows["successes"]).sum()) < LEAST:
        return {}
    clean, attacked = has.test.outputs[: len(among)][among], one.seen.outputs[among]
    held, labels = has.held_out.outputs, has.net.held_out.labels
    rows = {
        "random": detectors.drawn(held, labels, has.head, seed=run.p.seed),
        "held_out": detectors.surest(has.head, held, labels),
    }
    own = clean_scores(has, "S2.rho", among), one.seen.scores["S2.rho"][among].numpy()
    made: Estimates = {}
    for name, chosen in rows.items():
        theirs = Prototypes(has.head.information(held[chosen]).ci, labels[chosen], chosen)
        if len(theirs) < len(has.known.classes):
            continue
        other = _rho(has, clean, theirs), _rho(has, attacked, theirs)
        id = ours("prototype", has, which=name)
        level, seeds = run.level(id), (run.p.seed,)
        made[id] = detection.auc_difference(other, own, paired=True, level=level, seeds=seeds)
    return made


def _rho(has: Detectives, outputs: Tensor, prototypes: Prototypes) -> np.ndarray:
    found = has.head.information(outputs)
    return np.asarray(correlation(found.ci, found.classes, prototypes).score.numpy())


def causal_filters(run: Run, has: Detectives, found: Found) -> Estimates:
    """How many more causal filters an image has under BIM at 24 than before."""
    made: Estimates = {}
    before = -has.test.scores["S1"][: len(has.net.attacked)]
    for way in ("bim_t", "bim_u"):
        one = found[Condition(way, LARGEST)]
        change = (-one.seen.scores["S1"] - before)[one.rows["correct"]]
        made |= average(run, "ours", change, q="filters", data=has.net.name, set=way)
    return made


def at_thresholds(run: Run, has: Detectives, harmless: Mapping[tuple[str, float], Seen]) -> Estimates:
    """False alarms of the union on test images, and on images that are right with noise at 8."""
    fixed = thresholds(has, FALSE_ALARMS[0])[UNION]
    flagged = flags(fixed, has.test, UNION)
    made = share(run, "ours", flagged, torch.ones_like(flagged), q="thresholds", data=has.net.name)
    noisy = flags(fixed, harmless["noise", PAPERS], UNION)
    return made | share(run, "ours", noisy, has.clean(), q="noise", data=has.net.name)


def best_against(run: Run, has: Detectives, found: Found) -> Estimates:
    """How much greater the AUC of the best strategy is than that of the largest softmax, and of Mahalanobis
    distance, under untargeted PGD at 8. The strategy is chosen on every other misled image, and compared on
    the others.
    """
    one = found[Condition("pgd_u", PAPERS)]
    places = one.rows["successes"].nonzero().flatten()
    if len(places) < 2 * LEAST:
        return {}
    choosing, comparing = (torch.zeros_like(one.rows["successes"]) for _ in range(2))
    choosing[places[::2]], comparing[places[1::2]] = True, True
    names = [name for name in STRATEGIES.values() if name in one.seen.scores]
    best = max(names, key=lambda name: detection.auc(*_pair(has, one, name, choosing)).value)
    made: Estimates = {}
    for q, other in (("baselines", "softmax"), ("mahalanobis", "mahalanobis")):
        id = ours(q, has, strategy=best)
        first, second = (_pair(has, one, name, comparing) for name in (other, best))
        level, seeds = run.level(id), (run.p.seed,)
        made[id] = detection.auc_difference(first, second, paired=True, level=level, seeds=seeds)
    return made


def _pair(has: Detectives, one: Shown, name: str, among: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return clean_scores(has, name, among), np.asarray(one.seen.scores[name][among].numpy())


# An attacker who knows -----------------------------------------------------------------------------------


def evasion(run: Run, has: Detectives, found: Found, knows: Knowing) -> Estimates:
    """Of the images that are right, how many are fooled and not flagged: "evade.HOW.EPS.DETECTOR"; HOW is
    plain (PGD), matched, aimed (the worst of several targets), own (the search against this detector),
    orthogonal (orthogonal gradients against it).

    Where one image has several attacks, the worst counts.
    """
    fixed = thresholds(has, FALSE_ALARMS[0])
    made, name = Estimates(), has.net.name
    for (how, eps), each in attempts(found, knows).items():
        right = each[0].rows["correct"]
        for detector in told(fixed, each):
            hits = undetected(each, fixed[detector], detector)
            made |= share(run, "evade", hits, right, data=name, how=how, eps=f"{eps:g}", detector=detector)
        fooled = torch.stack([one.rows["successes"] for one in each]).any(0)
        made |= share(run, "evade", fooled, right, data=name, how=how, eps=f"{eps:g}", detector="none")
        if (how, eps) == ("matched", PAPERS):
            caught = ~undetected(each, fixed[UNION], UNION)
            made |= share(run, "ours", caught, fooled, q="adaptive", data=name)
    for (detector, eps), one in knows.evading.items():
        right, parts = one.correct.cpu(), {"data": name, "how": "own", "eps": f"{eps:g}"}
        made |= share(run, "evade", one.found.cpu(), right, **parts, detector=detector)
        if (detector, eps) == (PLANTED, PAPERS):
            made |= share(run, "control", one.found.cpu(), right, what="detector", data=name)
    for (detector, eps), one in knows.orthogonal.items():
        parts = {"data": name, "how": "orthogonal", "eps": f"{eps:g}", "detector": detector}
        made |= share(run, "evade", one.found.cpu(), one.correct.cpu(), **parts)
    return made


def told(fixed: Mapping[str, Threshold], each: Sequence[Shown]) -> list[str]:
    """The detectors whose evasion is told."""
    return [name for name in WATCHED if name in fixed and name in each[0].seen.scores]


def attempts(found: Found, knows: Knowing) -> Mapping[tuple[str, float], Sequence[Shown]]:
    """The attacks that aim at no detector in particular, by how and at which budget of 255."""
    plain = {("plain", of.eps): [one] for of, one in found.items() if of.name == "pgd_u"}
    matched = {("matched", eps): each for eps, each in knows.matched.items()}
    return {**plain, **matched} | ({("aimed", PAPERS): knows.aimed} if knows.aimed else {})


def growth(has: Detectives, found: Found, knows: Knowing) -> Estimates:
    """The least budget of 255 at which half, and nine tenths, of the images that are right are fooled and not
    flagged, of the budgets that were tried; none where it is not reached.
    """
    fixed, made = thresholds(has, FALSE_ALARMS[0]), Estimates()
    curves: dict[tuple[str, str], dict[float, float]] = {}
    for (how, eps), each in attempts(found, knows).items():
        right = each[0].rows["correct"]
        for detector in told(fixed, each):
            hits = undetected(each, fixed[detector], detector) & right
            curves.setdefault((how, detector), {})[eps] = int(hits.sum()) / max(1, int(right.sum()))
    aimed = {("own", *pair): one for pair, one in knows.evading.items()}
    aimed |= {("orthogonal", *pair): one for pair, one in knows.orthogonal.items()}
    for (how, detector, eps), evaded in aimed.items():
        attacked, hidden = int(evaded.correct.sum()), int(evaded.found.sum())
        curves.setdefault((how, detector), {})[eps] = hidden / max(1, attacked)
    for (how, detector), curve in curves.items():
        for part in GROWTH if len(curve) > 1 else ():
            enough = [eps for eps, value in curve.items() if value >= part]
            if enough:
                parts = {"data": has.net.name, "how": how, "detector": detector, "share": f"{part:g}"}
                made[MeasurementId.of("growth", **parts)] = exact(min(enough), unit="of 255")
    return made
