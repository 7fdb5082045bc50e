"""The replay as estimates by measurement id, as the ledger asks for them."""

from collections.abc import Callable, Mapping

from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.printed import clearer, count, separation
from causalnb.chapters.counterfactual.replay import classes, counts, ties
from causalnb.chapters.counterfactual.replay.counts import ATTACKS, DATA, EVALUATED, counted
from causalnb.chapters.counterfactual.replay.vectors import load
from causalnb.record import MeasurementId
from causalnb.statistics import Estimates, exact

SEPARATED = ("fgsm_t", "pgd_t", "fgsm_u", "pgd_u")  # attacks that both tables do not reject altogether
Level = Callable[[str], float]


def replayed(level: Level = lambda id: 0.95) -> Estimates:
    """Everything that the published vectors decide; about five CPU seconds.

    level   that the interval of a measurement must have, `run.level`
    """
    return {
        **counts.table_2(),
        **counts.table_3(),
        **counts.strategy_1(),
        **counts.needed(),
        **counts.causal_prototypes(),
        **counts.both_signs(),
        **counts.zero_prototypes(),
        **many_zeros(),
        **low_probabilities(),
        **normal(),
        **escaping(level),
    }


def many_zeros(*, least: int = 10) -> Estimates:
    """ImageNet images with at least 10 zero filters: "very large for clean as well as adversarial"."""
    found: Estimates = {}
    for name in ("clean", *ATTACKS):
        among = strategies.zeros(load(f"imagenet.{name}").ci) >= least
        found |= counted("t10", among, EVALUATED["imagenet"], cell=False, attack=name)
    return found


def low_probabilities() -> Estimates:
    """Images of untargeted FGSM whose P may lie below one half: "all ... very low probabilities"."""
    low = ~ties.half_or_more(load("imagenet.fgsm_u").ci)
    return counted("t13", low, EVALUATED["imagenet"], cell=False)


def normal() -> Estimates:
    """Clean vectors and prototypes that pass Shapiro's test, and their median excess kurtosis."""
    found: Estimates = {}
    for name in ("imagenet.clean", "imagenet.prototypes", "cifar.prototypes"):
        of = classes.normality(name)
        parts = {"data": DATA, "set": name}
        found[MeasurementId.of("normal", **parts, what="passed")] = exact(of.passed / of.n, n=of.n)
        found[MeasurementId.of("normal", **parts, what="kurtosis")] = exact(of.kurtosis, n=of.n)
    return found


def escaping(level: Level) -> Estimates:
    """AUC of strategy 2 for targeted PGD, clean and attacked images of the same classes."""
    id = MeasurementId.of("t14", data=DATA, attack="pgd_t", strategy="s2")
    return {id: classes.auc_over_classes(classes.with_class_means(), level=level(id))}


def of_the_tables(printed: Mapping[str, str], level: Level = lambda id: 0.95) -> Estimates:
    """What the printed counts say by themselves: how much better Table 2 separates than Table 1, by attack,
    the largest share that Table 4 recovers, and the ratio of Fig. 3 at 10/30.

    printed   the ledger's text of each cell, by row; "k/n" of Table 4 is of 300 whatever n says
    """
    wide = max(level(f"t9.{attack}") for attack in SEPARATED)
    found: Estimates = {}
    for attack in SEPARATED:
        first, second = (
            separation(count(printed[f"{table}.clean"]), count(printed[f"{table}.{attack}"]), level=wide)
            for table in ("t1", "t2")
        )
        found[MeasurementId.of("t9", attack=attack)] = clearer(first, second)
        found[MeasurementId.of("youden", table="t1", attack=attack)] = first.detected
        found[MeasurementId.of("youden", table="t2", attack=attack)] = second.detected
    shares = [count(text, of=300) for id, text in printed.items() if id.startswith("t4.")]
    found[MeasurementId.of("t12")] = exact(max(k / n for k, n in shares))
    found[MeasurementId.of("t11")] = exact(int(printed["f3.clean.10_30"]) / int(printed["f3.adv.10_30"]))
    return found
