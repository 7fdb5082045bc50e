"""Tables 2 and 3 and strategy 1 on the published vectors, each count twice: as what it is if only the
published images were evaluated, and as the interval that the unpublished ones leave open.

A published set has n images of the N that the paper evaluated; k of the n are counted. If all N were, the
count is between k and k + N - n.
"""

import torch
from torch import Tensor

from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.replay.vectors import load, prototypes
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, bounds, exact

DATA = "causadv"  # the published vectors, as a set of data
ATTACKS = ("fgsm_t", "pgd_t", "bim_t", "fgsm_u", "pgd_u", "bim_u")
EVALUATED = {"cifar": 100, "imagenet": 300}  # images of each set, as 4.1 says
CLASSES = {"cifar": 10, "imagenet": 1000}
SMALL = (0, 5, 10)  # of strategy 1's "small natural number"


def counted(kind: str, among: Tensor, of: int, *, cell: bool = True, **parts: str) -> Estimates:
    """How many of the published images count, as a share of those evaluated: "interval" and "published".

    among   [n], which published images count
    cell    the paper prints a count of `of`, which k must equal; else it claims a share, k / n
    """
    k, n = int(among.sum()), len(among)
    readings = {"interval": bounds(k, n, of), "published": exact(k / (of if cell else n), n=n)}
    return {
        MeasurementId.of(kind, on=DATA, data=DATA, **parts, reading=name): one
        for name, one in readings.items()
    }


def as_counts(estimate: Estimate, of: int) -> str:
    """A share of those evaluated as whole counts: k, or [k, k + N - n].

    >>> as_counts(bounds(10, 45, 100), 100), as_counts(exact(0.1), 100)
    ('[10, 65]', '10')
    """
    ends = [str(round(end * of)) for end in estimate.ends]
    return ends[0] if estimate.low is None else f"[{', '.join(ends)}]"


def table_2() -> Estimates:
    """Images whose CI correlates with the prototype of their predicted class with rho >= 0.5; an undefined
    rho counts as rejected.
    """
    found: Estimates = {}
    for attack in ATTACKS:
        vectors = load(f"cifar.{attack}")
        rho = strategies.correlation(vectors.ci, vectors.labels, prototypes(load("cifar.prototypes")))
        found |= counted("t2", rho.accepted(), EVALUATED["cifar"], attack=attack)
    return found


def table_3() -> Estimates:
    """Images with at least 5, and at least 10, filters of CI = 0: the text's "has 10 zero filters", which
    fits the printed counts where the caption's "higher than" does not.
    """
    found: Estimates = {}
    for attack in ATTACKS:
        zeros = strategies.zeros(load(f"cifar.{attack}").ci)
        for n in (5, 10):
            found |= counted(f"t3n{n}", zeros >= n, EVALUATED["cifar"], attack=attack)
    return found


def strategy_1() -> Estimates:
    """ImageNet images that S1 rejects: no causal filter, or at most a few; those that it accepts; clean ones
    that it rejects.
    """
    found: Estimates = {}
    for attack in (*ATTACKS, "pgd16_t"):
        ci = load(f"imagenet.{attack}").ci
        for n in SMALL:
            rejected = strategies.no_features(ci, n=n)
            found |= counted("s1", rejected, EVALUATED["imagenet"], cell=False, attack=attack, n=str(n))
        accepted = ~strategies.no_features(ci)
        found |= counted("s1", accepted, EVALUATED["imagenet"], cell=False, attack=attack, n="passes")
    clean = load("imagenet.clean").ci
    for n in SMALL:
        share = exact(float(strategies.no_features(clean, n=n).double().mean()), n=len(clean))
        found[MeasurementId.of("s1", data=DATA, attack="clean", n=n)] = share
    return found


def needed() -> Estimates:
    """What it takes to reject every published image of untargeted BIM, and the share of clean images that it
    rejects too: |F_W| <= n with the least such n, max|CI| <= c with the least such c; "at" is that n, that c.
    """
    attacked, clean = load("imagenet.bim_u").ci, load("imagenet.clean").ci
    found: Estimates = {}
    for how, statistic in (("n", strategies.causal), ("max", largest)):
        at, others = statistic(attacked).max(), statistic(clean)
        parts = {"data": DATA, "how": how}
        share = exact(float((others <= at).double().mean()), n=len(clean))
        found[MeasurementId.of("needed", **parts)] = share
        found[MeasurementId.of("needed", **parts, what="at")] = exact(float(at), n=len(attacked))
    return found


def largest(ci: Tensor) -> Tensor:
    """max|CI| [n]."""
    return ci.abs().amax(-1)


def largest_below(name: str, sizes: tuple[float, ...] = (1e-6, 1e-4, 1e-3, 1e-2)) -> dict[float, int]:
    """How many vectors have all |CI| below each size: what "nearly zero" might mean."""
    of = largest(load(name).ci)
    return {size: int((of < size).sum()) for size in sizes}


def causal_prototypes() -> Estimates:
    """Prototypes that have a causal filter, of the ten and of the thousand."""
    found: Estimates = {}
    for data_set, of in CLASSES.items():
        causal = strategies.causal(load(f"{data_set}.prototypes").ci) > 0
        found |= counted("proto", causal, of, cell=False, set=data_set)
    return found


def both_signs() -> Estimates:
    """Prototypes that have positive and negative CI."""
    found: Estimates = {}
    for data_set, of in CLASSES.items():
        ci = load(f"{data_set}.prototypes").ci
        found |= counted("signs", (ci > 0).any(1) & (ci < 0).any(1), of, cell=False, set=data_set)
    return found


def zero_prototypes() -> Estimates:
    """Of the author's CIFAR prototypes, those with at least n filters of CI = 0, which S3 calls natural."""
    zeros = strategies.zeros(load("cifar.prototypes").ci)
    return {
        MeasurementId.of("s3proto", data=DATA, n=n): exact(float((zeros >= n).double().mean()), n=len(zeros))
        for n in (5, 10)
    }


def strategy_4() -> dict[tuple[str, int, int, strategies.Rule], tuple[int, int, int]]:
    """CIFAR images that S4 accepts, by attack, n, m and rule: with ties in published order, and the least and
    the most over ties. The paper prints S4 for ImageNet only.
    """
    found: dict[tuple[str, int, int, strategies.Rule], tuple[int, int, int]] = {}
    own = prototypes(load("cifar.prototypes"))
    for attack in ATTACKS:
        vectors = load(f"cifar.{attack}")
        for n, m in strategies.PAIRS:
            shared = strategies.common(vectors.ci, vectors.labels, own, n=n, m=m, causal_only=False)
            for rule in ("containment", "meeting"):
                count, least, most = (
                    int(shared.accepted(rule, ties).sum()) for ties in ("count", "least", "most")
                )
                found[attack, n, m, rule] = count, least, most
    return found


def successes() -> dict[str, dict[str, tuple[int, int]]]:
    """CIFAR attacks by what the keys say: label changed, label = the key's second field; and of the images
    whose label changed, and of those whose label did not, how many S2 and S3 (n = 10) accept. Each as (k, n).
    """
    own, found = prototypes(load("cifar.prototypes")), dict[str, dict[str, tuple[int, int]]]()
    for attack in ATTACKS:
        vectors = load(f"cifar.{attack}")
        changed, n = vectors.labels != vectors.classes, len(vectors)
        second = torch.tensor([key.second == key.label for key in vectors.read])
        accepted = {
            "S2": strategies.correlation(vectors.ci, vectors.labels, own).accepted(),
            "S3": strategies.zeros(vectors.ci) >= 10,
        }
        found[attack] = {
            "label changed": (int(changed.sum()), n),
            "label is the second field": (int(second.sum()), n),
            **{
                f"{name} accepts {what}": (int((mask & which).sum()), int(which.sum()))
                for name, mask in accepted.items()
                for what, which in (("changed", changed), ("unchanged", ~changed))
            },
        }
    return found
