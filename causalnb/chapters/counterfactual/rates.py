"""Detection as detection: areas under curves on the same images clean and attacked, and rates at thresholds
that other clean images fixed; for every strategy, their union, what they are compared with and the ablations.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from causalnb import detection
from causalnb.chapters.counterfactual.attacked import LARGEST, PAPERS, Condition
from causalnb.chapters.counterfactual.detectors import ABLATIONS, STRATEGIES, UNION
from causalnb.chapters.counterfactual.experiments import Detectives, Seen, Shown
from causalnb.chapters.counterfactual.knowing import FALSE_ALARMS, thresholds
from causalnb.chapters.counterfactual.measurements import Found, share
from causalnb.chapters.counterfactual.networks import Run
from causalnb.detection import Threshold
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates

LEAST = 20  # positives below which a rate is a count alone
BRIEF = (*STRATEGIES.values(), UNION, "softmax", "rho.g", "mahalanobis")  # at every budget
HEADLINE = ("S2.rho", UNION, "softmax", "mahalanobis")
STRATA = 5  # of equal numbers of images, by the lead of the predicted class
COMPARED = ("S2.rho", UNION, "mahalanobis", "density", *ABLATIONS)


def told(has: Detectives, *, brief: bool) -> list[str]:
    """The detectors of a table: a few at every budget, all at the paper's."""
    every = [*has.test.scores]
    return [name for name in every if name in BRIEF] if brief else every


def percent(rate: float) -> str:
    """ "5" of 0.05, as in an id."""
    return f"{100 * rate:g}"


def false_alarms(run: Run, has: Detectives) -> Estimates:
    """What is flagged of the test images, which fixed nothing: of all, and of those that are right."""
    made: Estimates = {}
    for rate in FALSE_ALARMS:
        for name, fixed in thresholds(has, rate).items():
            hits = flags(fixed, has.test, name)
            for rows, among in (("all", torch.ones_like(has.correct)), ("correct", has.correct)):
                parts = {"data": has.net.name, "detector": name, "rate": percent(rate), "rows": rows}
                made |= share(run, "alarms", hits, among, **parts)
    return made


def flags(fixed: Threshold, seen: Seen, name: str) -> Tensor:
    """Which images [n] a detector flags."""
    return torch.from_numpy(fixed.flags(seen.scores[name].numpy()))


def area(has: Detectives, shown: Shown, name: str, *, level: float, seed: int) -> Estimate | None:
    """AUC of a detector: images that an attack misleads against the same images clean; None for fewer than
    `LEAST`.
    """
    among = shown.rows["successes"]
    if int(among.sum()) < LEAST or name not in shown.seen.scores:
        return None
    before, after = clean_scores(has, name, among), shown.seen.scores[name][among]
    return detection.auc(before, after.numpy(), paired=True, level=level, seeds=(seed,))


def clean_scores(has: Detectives, name: str, among: Tensor) -> np.ndarray:
    """Of the attacked images before the attack, those marked."""
    return np.asarray(has.test.scores[name][: len(among)][among].numpy())


def table(run: Run, has: Detectives, found: Found, others: Mapping[str, Shown]) -> Estimates:
    """AUC of every detector under every attack, and the share of misled images that is flagged at thresholds
    for 5 and 1 % of false alarms: "detect.SET.EPS.DETECTOR.auc", ".tpr5", ".tpr1".

    others   attacks of low and high confidence by name
    """
    every: list[tuple[str, str, Shown, bool]] = [
        (of.name, f"{of.eps:g}", one, of.eps != PAPERS) for of, one in found.items()
    ]
    every += [(name, "", one, False) for name, one in others.items()]
    fixed = {rate: thresholds(has, rate) for rate in FALSE_ALARMS}
    made: Estimates = {}
    for attack, eps, one, brief in every:
        for name in told(has, brief=brief):
            parts = {"data": has.net.name, "set": attack, "eps": eps, "detector": name}
            id = MeasurementId.of("detect", **parts, what="auc")
            if (estimate := area(has, one, name, level=run.level(id), seed=run.p.seed)) is None:
                continue
            made[id] = estimate
            for rate, by_name in fixed.items():
                hits = flags(by_name[name], one.seen, name)
                what = f"tpr{percent(rate)}"
                made |= share(run, "detect", hits, one.rows["successes"], **parts, what=what)
    return made


def headline(run: Run, has: Detectives, found: Found) -> Estimates:
    """The rate at 5 % of a few detectors on untargeted PGD at 8, its interval over the images that fixed the
    threshold too.
    """
    one, made = found[Condition("pgd_u", PAPERS)], {}
    if int((among := one.rows["successes"]).sum()) >= LEAST:
        for name in HEADLINE:
            id = MeasurementId.of("headline", data=has.net.name, detector=name)
            made[id] = detection.flagged_anew(
                FALSE_ALARMS[0],
                has.held_out.scores[name].numpy(),
                one.seen.scores[name][among].numpy(),
                resamples=run.p.resamples,
                level=run.level(id),
                seed=run.p.seed,
                seeds=(run.p.seed,),
            )
    return made


def escapes(run: Run, has: Detectives, found: Found) -> Estimates:
    """T14: whether PGD at 8 escapes each strategy: AUC, and the rate at 5 % of false alarms."""
    fixed, made = thresholds(has, FALSE_ALARMS[0]), Estimates()
    for attack in ("pgd_t", "pgd_u"):
        one = found[Condition(attack, PAPERS)]
        for strategy, name in STRATEGIES.items():
            parts = {"data": has.net.name, "set": attack, "strategy": strategy}
            id = MeasurementId.of("t14", **parts, what="auc")
            if (estimate := area(has, one, name, level=run.level(id), seed=run.p.seed)) is not None:
                made[id] = estimate
                hits = flags(fixed[name], one.seen, name)
                made |= share(run, "t14", hits, one.rows["successes"], **parts, what="rate")
    return made


def placebos(run: Run, has: Detectives, seen: Mapping[tuple[str, float], Seen]) -> Estimates:
    """What is flagged of harmless changes of images that are right, at 5 %."""
    fixed, made = thresholds(has, FALSE_ALARMS[0]), Estimates()
    for (harmless, eps), one in seen.items():
        for name in told(has, brief=eps not in (0.0, PAPERS)):
            parts = {
                "data": has.net.name,
                "harmless": harmless,
                "eps": f"{eps:g}" if eps else "",
                "detector": name,
            }
            made |= share(run, "placebo", flags(fixed[name], one, name), has.clean(), **parts)
    return made


# Is it more than confidence? -----------------------------------------------------------------------------


def at_equal_confidence(run: Run, has: Detectives, found: Found) -> Estimates:
    """AUC among images of like confidence alone: fifths of all images by their lead, clean ones that are
    right and misled ones together.
    """
    made: Estimates = {}
    for attack in ("fgsm_u", "pgd_u"):
        for eps in (PAPERS, LARGEST):
            one = found[Condition(attack, eps)]
            among = one.rows["successes"]
            if int(among.sum()) < LEAST:
                continue
            leads = has.test.scores["margin"][has.correct], one.seen.scores["margin"][among]
            strata = fifths(leads)
            for name in COMPARED:
                id = MeasurementId.of("strata", data=has.net.name, set=attack, eps=f"{eps:g}", detector=name)
                estimate = detection.auc_in_strata(
                    has.test.scores[name][has.correct].numpy(),
                    one.seen.scores[name][among].numpy(),
                    strata,
                    level=run.level(id),
                    seeds=(run.p.seed,),
                )
                if estimate is not None:
                    made[id] = estimate
    return made


def fifths(sides: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Which fifth of all values together each value of both sides is in."""
    edges = torch.cat(list(sides)).quantile(torch.linspace(0, 1, STRATA + 1, dtype=torch.float64)[1:-1])
    first, second = (torch.bucketize(one, edges).numpy() for one in sides)
    return first, second


def everything(
    run: Run,
    has: Detectives,
    found: Found,
    others: Mapping[str, Shown],
    harmless: Mapping[tuple[str, float], Seen],
) -> Estimates:
    """All of the above."""
    made = false_alarms(run, has) | table(run, has, found, others) | headline(run, has, found)
    return (
        made | escapes(run, has, found) | placebos(run, has, harmless) | at_equal_confidence(run, has, found)
    )
