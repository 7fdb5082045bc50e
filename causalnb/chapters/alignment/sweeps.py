"""Trainings over one of their weights: lambda of the methods (Table 9's analogue), the weight of clean images
in half-half and of the tie in TRADES, whose accuracies clean and under attack trace a frontier.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from causalnb.chapters.alignment import experiments
from causalnb.chapters.alignment.experiments import Compared
from causalnb.chapters.alignment.networks import Run, setting
from causalnb.statistics import Floats

Curve = dict[float, Floats]  # weight -> [2, seeds, n], right clean and under PGD
FRONTIER: dict[str, tuple[str, float, tuple[float, ...]]] = {  # arm -> setting, its own value, the others
    "hh": ("weight", 1.0, (0.5, 2.0)),
    "trades": ("beta", 6.0, (1.0, 3.0)),
}
LAMBDA: dict[str, tuple[str, float, tuple[float, ...]]] = {
    "m": ("weight", 1.0, (0.2, 0.5, 1.5, 2.0)),
    "t-kl": ("weight", 0.5, (0.2, 1.0, 1.5, 2.0)),
}


def swept(
    run: Run, name: str, found: Compared, over: Mapping[str, tuple[str, float, Sequence[float]]]
) -> dict[str, Curve]:
    """Clean and robust outcomes of arms at several values of a setting, by arm; those at an arm's own value
    are `found`'s. At most `n_swept` seeds, the first.
    """
    train, test = experiments.images(run, name)
    how = setting(run, name)
    against = experiments.Attacks(how.ball.eps, *how.strong, columns=("pgd",), norm=how.ball.norm)
    made: dict[str, Curve] = {}
    for arm, (changed, own, values) in over.items():
        seeds = found.seeds[: min(run.p.n_swept, len(found.scores[arm]))]
        each = [(value, seed) for value in values for seed in seeds]
        jobs = [
            experiments.job(
                run,
                name,
                arm,
                seed,
                train,
                test,
                against,
                factor=found.factors[arm],
                changes={changed: value},
            )
            for value, seed in each
        ]
        rows: dict[float, list[Floats]] = {value: [] for value in values}
        for (value, _), one in zip(each, experiments.all_scores(run, jobs), strict=True):
            rows[value].append(np.stack([one.right("nat"), one.right("pgd")]))
        curve = {value: np.stack(parts, axis=1) for value, parts in rows.items()}
        curve[own] = np.stack([found.right(arm, column)[: len(seeds)] for column in ("nat", "pgd")])
        made[arm] = dict(sorted(curve.items()))
    return made
