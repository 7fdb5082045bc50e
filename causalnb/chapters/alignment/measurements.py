"""What the runs of chapter 4 come to, as estimates by the ids of the ledger: over seeds and images, in
points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from causalnb import chapters
from causalnb.attacks.planted import Control
from causalnb.chapters.alignment.arms import ARMS
from causalnb.chapters.alignment.experiments import Compared
from causalnb.chapters.alignment.linear import Turned
from causalnb.chapters.alignment.overfitting import Course
from causalnb.chapters.alignment.parameters import Parameters
from causalnb.record import MeasurementId
from causalnb.statistics import Estimate, Estimates, Floats, logic, over_seeds, proportion

Run = chapters.Run[Parameters]
TABLES = {"mnist": "t1", "mnist14": "t1", "cifar10": "t2", "cifar16": "t2"}
READINGS = {  # arms that are a reading of the method -> the method's arm, and the reading
    "m": ("m", "text"),
    "m-i": ("m", "text-i"),
    "m-s1": ("m", "text-s1"),
    "m-nonlinear": ("m", "nonlinear"),
    "m-code": ("m", "code"),
    "t": ("t", "text"),
    "t-kl": ("t", "text-kl"),
    "t-one": ("t", "text-one"),
    "t-nonlinear": ("t", "nonlinear"),
    "t-code": ("t", "code"),
}
PLAIN = ("at", "trades")
CONTROLS = ("hh", "aux", "content", "random")
GAINS = ("m", "t", "t-kl", "t-one", "m-i", "m-s1", "m-nonlinear", "m-code", "labels")
COLUMNS = ("fgsm", "pgd", "cw", "apgd")


def accuracies(found: Compared, *, checkpoint: str = "last") -> Estimates:
    """The accuracy of every arm that a table has, in each of its columns; one seed by Wilson, several over
    them.
    """
    made: Estimates = {}
    for arm in found.scores:
        if arm not in PLAIN and arm not in READINGS:
            continue
        own, reading = READINGS.get(arm, (arm, ""))
        for column in ("nat", "fgsm", "pgd", "cw"):
            id = MeasurementId.of(
                TABLES.get(found.name, "t0"),
                data=found.name,
                arm=own,
                checkpoint=checkpoint,
                column=column,
                reading=reading,
            )
            made[id] = _share(found, found.right(arm, column))
    return made


def shares(found: Compared) -> Estimates:
    """The accuracy of every arm, controls too, in every column."""
    return {
        MeasurementId.of("arm", data=found.name, arm=arm, column=column): _share(
            found, found.right(arm, column)
        )
        for arm in found.scores
        for column in ("nat", *COLUMNS)
        if column in found.scores[arm][0].bits
    }


def _share(found: Compared, right: Floats) -> Estimate:
    seeds = found.seeds[: len(right)]
    if len(right) == 1:
        return proportion(int(right.sum()), right.shape[1], seeds=seeds)
    return over_seeds(right, seeds=seeds)


def difference(
    run: Run, found: Compared, id: MeasurementId, arm: str, base: str, column: str
) -> Estimate | None:
    """Points by which an arm is above another in a column, over the seeds and images that both have; None for
    fewer than two seeds.
    """
    a, b = (found.right(one, column) for one in (arm, base))
    k = min(len(a), len(b))
    if k < 2:
        return None
    return over_seeds(100 * (a[:k] - b[:k]), seeds=found.seeds[:k], level=run.level(id), unit="points")


def comparisons(run: Run, found: Compared) -> Estimates:
    """Gains over the baselines in every column, M less each control, M less Madry at equal compute, and
    whether Madry's training learned at all.
    """
    asked = [
        (MeasurementId.of("gain", data=found.name, arm=arm, attack=column), arm, ARMS[arm].base, column)
        for arm in GAINS
        for column in COLUMNS
    ]
    asked += [
        (MeasurementId.of("over", data=found.name, control=control, attack=column), "m", control, column)
        for control in CONTROLS
        for column in ("pgd", "apgd")
    ]
    asked.append((MeasurementId.of("compute", data=found.name, attack="pgd"), "m", "at-longer", "pgd"))
    made: Estimates = {}
    for id, arm, base, column in asked:
        if {arm, base} <= found.scores.keys() and column in found.scores[arm][0].bits:
            estimate = difference(run, found, id, arm, base, column)
            made |= {id: estimate} if estimate else {}
    if len(found.scores["at"]) > 1:
        id = MeasurementId.of("control", what="learned", data=found.name)
        made[id] = over_seeds(found.right("at", "pgd"), seeds=found.seeds, level=run.level(id))
    return made


def at_equal_accuracy(clean: Floats, robust: Floats, curve: Mapping[float, Floats]) -> Floats:
    """[seeds, n] outcomes under attack of the mixture of two neighbours on a frontier that has the clean
    accuracy of `clean`, seed by seed, less nothing where it lies between them; the nearer end where it lies
    beyond.

    clean, robust   [seeds, n] of the arm that is compared; curve: weight -> [2, seeds, n], clean and robust
    returns         the arm's outcomes less the mixture's

    >>> ends = {0.0: np.array([[[1.0, 0.0]], [[1.0, 1.0]]]), 1.0: np.array([[[1.0, 1.0]], [[0.0, 0.0]]])}
    >>> at_equal_accuracy(np.array([[1.0, 0.5]]), np.array([[1.0, 1.0]]), ends)
    array([[0.5, 0.5]])
    """
    off = np.empty_like(robust)
    for seed in range(len(robust)):
        points = sorted((one[0, seed].mean(), weight) for weight, one in curve.items())
        levels = np.array([level for level, _ in points])
        weights = [weight for _, weight in points]
        at = clean[seed].mean()
        upper = int(np.clip(np.searchsorted(levels, at), 1, len(levels) - 1))
        gap = levels[upper] - levels[upper - 1]
        share = float(np.clip((at - levels[upper - 1]) / gap, 0, 1)) if gap > 0 else 0.0
        below, above = (curve[weights[place]][1, seed] for place in (upper - 1, upper))
        off[seed] = robust[seed] - ((1 - share) * below + share * above)
    return off


def frontiers(run: Run, found: Compared, curves: Mapping[str, Mapping[float, Floats]]) -> Estimates:
    """M under PGD less each frontier at M's clean accuracy, in points."""
    made: Estimates = {}
    for by, curve in curves.items():
        k = next(iter(curve.values())).shape[1]
        id = MeasurementId.of("frontier", data=found.name, by=by, attack="pgd")
        off = at_equal_accuracy(found.right("m", "nat")[:k], found.right("m", "pgd")[:k], curve)
        made[id] = over_seeds(100 * off, seeds=found.seeds[:k], level=run.level(id), unit="points")
    return made


def sweeps(found: Compared, curves: Mapping[str, Mapping[float, Floats]]) -> Estimates:
    """Accuracy clean and under PGD of an arm at each value of a setting, over seeds."""
    made: Estimates = {}
    for arm, curve in curves.items():
        for value, outcomes in curve.items():
            for column, right in zip(("nat", "pgd"), outcomes, strict=True):
                at = f"{round(100 * value):04d}"
                id = MeasurementId.of("sweep", data=found.name, arm=arm, at=at, column=column)
                made[id] = over_seeds(right, seeds=found.seeds[: len(right)])
    return made


def standard(found: Compared, right: Mapping[str, Floats]) -> Estimates:
    """Accuracy of the first network of each arm under AutoAttack, by Wilson."""
    return {
        MeasurementId.of("auto", data=found.name, arm=arm): proportion(
            int(one.sum()), len(one), seeds=found.seeds[:1]
        )
        for arm, one in right.items()
    }


def planted(found: Compared, control: Control) -> Estimates:
    """Whether the attack breaks what is planted, and random search does not."""
    return {
        MeasurementId.of("control", what="planted", data=found.name): logic(
            control.passed, n=control.attack[1]
        )
    }


def losses_under(run: Run, found: Compared, id: MeasurementId, before: Floats, after: Floats) -> Estimates:
    """Points of accuracy that a second attack takes beyond a first, over seeds; nothing for one seed."""
    if len(before) < 2:
        return {}
    values = 100 * (before - after)
    return {id: over_seeds(values, seeds=found.seeds[: len(values)], level=run.level(id), unit="points")}


def shown(run: Run, found: Compared, kind: str, before: Floats, after: Floats) -> Estimates:
    """By an attack on the style head too ("adaptive") or with more steps ("pgd500")."""
    id = MeasurementId.of("shown", data=found.name, kind=kind)
    return losses_under(run, found, id, before, after)


def transfers(run: Run, found: Compared, right: Mapping[str, Floats], twin: tuple[int, int]) -> Estimates:
    """M's accuracy under images of other networks less that under its own, and how many fool the source's
    twin.
    """
    made: Estimates = {}
    for source, one in right.items():
        id = MeasurementId.of("obf", data=found.name, source=source)
        made |= losses_under(run, found, id, one, found.right("m", "pgd")[:, : one.shape[1]])
    if not twin[1]:  # a twin that gets nothing right cannot be fooled
        return made
    control = MeasurementId.of("control", what="transfer", data=found.name)
    return made | {control: proportion(*twin, level=run.level(control))}


def bins(run: Run, found: Compared, upper: Mapping[str, Floats]) -> Estimates:
    """M less Madry in the upper half by KL, in points."""
    made: Estimates = {}
    for how, values in upper.items():
        id = MeasurementId.of("bins", data=found.name, how=how)
        made |= losses_under(run, found, id, values, 0 * values)
    return made


def flips(run: Run, rho: float, found: Mapping[str, Sequence[Turned]], seeds: Sequence[int]) -> Estimates:
    """M's rule less Madry's in accuracy under attack where style is turned round, in points: Student over the
    trainings alone, for each rule's accuracy is exact.
    """
    id = MeasurementId.of("flip", rho=f"{round(100 * rho):03d}")
    own = [
        one.flipped_robust - other.flipped_robust for one, other in zip(found["m"], found["at"], strict=True)
    ]
    both = 100 * np.repeat(np.array(own)[:, None], 2, axis=1)  # two equal columns have no spread over images
    return {id: replace(over_seeds(both, seeds=seeds, level=run.level(id), unit="points"), n=None)}


def gaps(run: Run, name: str, found: Mapping[str, Sequence[Course]], seeds: Sequence[int]) -> Estimates:
    """What Madry's training loses under PGD from the best epoch to the last, and how much less M does, in
    points.
    """
    at, m = (100 * np.stack([one.lost() for one in found[arm]]) for arm in ("at", "m"))
    made: Estimates = {}
    for part, values in (("at", at), ("pgd", at - m)):
        id = MeasurementId.of("gap", data=name, part=part)
        made[id] = over_seeds(values, seeds=seeds, level=run.level(id), unit="points")
    return made


def textures(run: Run, lost: Mapping[str, Floats], seeds: Sequence[int]) -> Estimates:
    """How much less accuracy M loses than Madry where textures are turned round, in points."""
    id = MeasurementId.of("shapes.permuted", on=("shapes",))
    values = 100 * (lost["at"] - lost["m"])
    return {id: over_seeds(values, seeds=seeds, level=run.level(id), unit="points")}
