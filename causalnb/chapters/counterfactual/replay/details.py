"""What else the published vectors and pictures tell, as estimates by measurement id: no printed cell, and the
evidence beside many of them. None of these decides a row.
"""

import torch

from causalnb import chapters, data, detection
from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.chapters.counterfactual.printed import Count, all_among, count
from causalnb.chapters.counterfactual.replay import classes, counts, pictures, ties
from causalnb.chapters.counterfactual.replay.counts import ATTACKS, DATA, EVALUATED
from causalnb.chapters.counterfactual.replay.vectors import load
from causalnb.data import Images
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, exact, proportion

PUBLISHED = (*ATTACKS, "pgd16_t")
TAU = 0.5


def share(kind: str, k: int, n: int, **parts: object) -> Estimates:
    """k of n published images."""
    return {MeasurementId.of(kind, on=DATA, data=DATA, **parts): exact(k / n, n=n)}


def detailed() -> Estimates:
    """All that needs the vectors alone."""
    return {
        **among_published(),
        **strategy_4(),
        **by_keys(),
        **nearly_zero(),
        **grid(),
        **spread(),
        **zeros_of_prototypes(),
        **mask(),
        **single(),
        **matched(),
    }


def among_published() -> Estimates:
    """Strategy 1 on BIM, as a sample of all such images: how many of how many are rejected, and Wilson's
    interval of the share.
    """
    found: Estimates = {}
    for attack in ("bim_t", "bim_u"):
        rejected = strategies.no_features(load(f"imagenet.{attack}").ci)
        k, n = int(rejected.sum()), len(rejected)
        for what, one in (("", proportion(k, n)), ("count", exact(k, n=n)), ("of", exact(n, n=n))):
            found[MeasurementId.of("rejected", data=DATA, attack=attack, what=what)] = one
    return found


def strategy_4() -> Estimates:
    """The share of CIFAR images that S4 accepts, ties in published order; its ends are the least and the most
    over ties.
    """
    found: Estimates = {}
    for (attack, n, m, rule), each in counts.strategy_4().items():
        of = len(load(f"cifar.{attack}"))
        value, low, high = (k / of for k in each)
        id = MeasurementId.of("s4", data=DATA, attack=attack, sizes=f"{n}_{m}", rule=rule)
        found[id] = Estimate(value, low, high, method="over ties", n=of)
    return found


def by_keys() -> Estimates:
    """What the keys of CIFAR images say of the attack, and what S2 and S3 accept of images whose label
    changed and of those whose label did not.
    """
    found: Estimates = {}
    for attack, told in counts.successes().items():
        for what, (k, n) in told.items():
            if n:
                found |= share("keys", k, n, attack=attack, what=what.replace(" ", "_"))
    return found


def nearly_zero() -> Estimates:
    """ImageNet images of which no |CI| reaches a size."""
    found: Estimates = {}
    for name in ("clean", *PUBLISHED):
        for size, k in counts.largest_below(f"imagenet.{name}").items():
            found |= share("near", k, len(load(f"imagenet.{name}")), attack=name, below=f"{size:g}")
    return found


def grid() -> Estimates:
    """ImageNet images of which every CI is a multiple of 2^-24, so that P and every P' were at least one
    half.
    """
    found: Estimates = {}
    for name, (k, n) in ties.grids().items():
        found |= share("grid", k, n, attack=name)
    return found


def spread() -> Estimates:
    """Zero filters of CIFAR images against the spread of their CI."""
    of = ties.ties()
    found: Estimates = {
        **share("ties", of.many, of.n, what="many"),
    }
    for what, value, n in (
        ("widest", of.widest, of.many),
        ("wide", of.spread, of.n),
        ("many_among_wide", of.of_many, of.spread),
    ):
        found[MeasurementId.of("ties", data=DATA, what=what)] = exact(value, n=n)
    for attack, rho in of.spearman.items():
        n = len(load(f"cifar.{attack}"))
        found[MeasurementId.of("ties", data=DATA, what="spearman", attack=attack)] = exact(rho, n=n)
    return found


def zeros_of_prototypes() -> Estimates:
    """Zero filters of the author's ten CIFAR prototypes."""
    vectors = load("cifar.prototypes")
    return {
        MeasurementId.of("zeros", data=DATA, prototype=key): exact(int(k), n=vectors.ci.shape[1])
        for key, k in zip(vectors.keys, strategies.zeros(vectors.ci), strict=True)
    }


def mask() -> Estimates:
    """How often filter 511 is exactly 0 in CIFAR vectors, and how often the others are, in the median."""
    found: Estimates = {}
    for attack in ATTACKS:
        vectors = load(f"cifar.{attack}")
        last, median, _ = ties.zero_frequency(vectors)
        for what, value in (("last", last), ("others", median)):
            id = MeasurementId.of("mask", data=DATA, attack=attack, what=what)
            found[id] = exact(value, n=len(vectors))
    return found


def single() -> Estimates:
    """Single statistics of ImageNet vectors as detectors, clean against attacked images of other classes:
    AUC, and the share flagged where one in twenty clean images is.
    """
    found: Estimates = {}
    for statistic in classes.STATISTICS:
        for attack in PUBLISHED:
            auc, rate = classes.single(statistic, attack)
            parts = {"data": DATA, "statistic": statistic, "attack": attack}
            found[MeasurementId.of("single", **parts, what="auc")] = auc
            found[MeasurementId.of("single", **parts, what="rate")] = exact(rate, n=auc.n)
    return found


def matched() -> Estimates:
    """Targeted PGD against clean images of its target classes: strategies 2 and 4 with prototypes of ours
    from the published clean vectors.
    """
    of = classes.with_class_means()
    flags = detection.threshold_at(0.05, -of.clean.numpy()).flags(-of.attacked.numpy())
    found = {
        **accepted("clean", of.clean),
        **accepted("pgd_t", of.attacked),
        **share("matched", int(flags.sum()), len(flags), what="rate"),
    }
    for top in (1, 5):
        hits, n, own, m = classes.closest_classes(top=top)
        found |= share("matched", hits, n, what=f"among_{top}", attack="pgd_t")
        found |= share("matched", own, m, what=f"among_{top}", attack="clean")
    for (n, m, rule), (clean, attacked) in classes.accepted_by_common().items():
        for name, value in (("clean", clean), ("pgd_t", attacked)):
            id = MeasurementId.of("matched", data=DATA, what=f"s4_{n}_{m}", rule=rule, attack=name)
            found[id] = exact(value)
    return found


def accepted(attack: str, rho: torch.Tensor) -> Estimates:
    """The share of images whose rho is at least tau."""
    return share("matched", int((rho >= TAU).sum()), len(rho), what="accepted", attack=attack)


# Printed counts ------------------------------------------------------------------------------------------


def alarms(printed: dict[str, str], wrong: int = 64) -> dict[str, Count]:
    """Clean images that the printed counts reject, by table; of Table 1 also of those classified right, if no
    wrongly classified one was accepted (4.2: of the rejected, 64 are classified wrongly).
    """
    found = {}
    for table in ("t1", "t2", "t3n5", "t3n10"):
        k, n = count(printed[f"{table}.clean"])
        found[table] = n - k, n
    k, n = found["t1"]
    return found | {"t1 right": (k - wrong, n - wrong)}


def all_published(printed: dict[str, str]) -> Estimates:
    """The chance that all images of Table 3 at n = 10 lie among the published ones, had all 100 been
    evaluated and the published been drawn from them.
    """
    chance = 1.0
    for attack in ATTACKS:
        k, _ = count(printed[f"t3n10.{attack}"], of=EVALUATED["cifar"])
        chance *= all_among(k, len(load(f"cifar.{attack}")), EVALUATED["cifar"])
    return {MeasurementId.of("chance", on=DATA, table="t3n10"): exact(chance)}


# Pictures ------------------------------------------------------------------------------------------------


def test_set(run: chapters.Run[Parameters]) -> Images | None:
    """CIFAR-10's test images, where they and the published pictures are at hand; a quick run leaves them out,
    as they take more memory than all else in it.
    """
    there = any(one["present"] for one in data.describe() if one["name"] == "cifar10")
    wanted = run.p.profile != "quick" and there and pictures.at_hand()
    return run.load("cifar10", "test") if wanted else None


def of_pictures(test: Images) -> Estimates:
    """The published CIFAR pictures against CIFAR-10's test images: the least and the largest of their largest
    changes, the mean change, all in 1/255, and the share of odd changes; BIM's that equal PGD's.
    """
    on = (DATA, test.name)
    read = {name: pictures.read(name) for name in pictures.FOLDERS}
    found: Estimates = {}
    for name, some in read.items():
        of = pictures.change(some, test)
        told = {
            "least": float(of.largest.min()),
            "largest": float(of.largest.max()),
            "mean": of.mean,
            "odd": of.odd,
        }
        for what, value in told.items():
            found[MeasurementId.of("pictures", on=on, attack=name, what=what)] = exact(value, n=len(some))
    same, n = pictures.equal(read["bim"], read["pgd"])
    found[MeasurementId.of("pictures", on=on, what="equal")] = exact(same / n, n=n)
    return found


def points(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each vector of a file the standard deviation of its CI and its zero filters, [n] each."""
    ci = load(name).ci
    return ci.double().std(1), strategies.zeros(ci)
