"""How far the cells of this chapter spread from training to training: what `causalnb spread ace` writes to
seed_spread.json.

The trainings have seeds set apart, which decide no row. All else is as at the laptop profile, on fewer of the
same images.
"""

import statistics
from collections.abc import Callable

from causalnb import console
from causalnb.chapters.ace import experiments, families, measurements
from causalnb.chapters.ace.networks import Run, trained
from causalnb.store import memo

SEEDS = (101, 102, 103)
SETS = ("mnist", "fashion_mnist")
FEWER = {"n_images": 300, "n_individual": 100}

Spreads = dict[str, dict[str, float]]


def measured(begin: Callable[..., Run]) -> Spreads:
    """The spread of every reading of every cell; `begin` starts a run of this chapter with the given
    parameters.
    """
    found: Spreads = {}
    for name in SETS:
        each = []
        for seed in SEEDS:
            each.append(cells(begin(profile="laptop", data=name, seed=seed, **FEWER), name))
            console.say(f"{name}, seed {seed}: {len(each[-1])} values")
        found |= spreads(each)
    return found


def cells(run: Run, name: str) -> dict[str, float]:
    """The value of every reading of every cell on one data set, by measurement id."""
    net, with_momentum = trained(run, name), trained(run, name, momentum=run.p.other_momentum)
    found = experiments.attacked(run, net)
    labels = net.test.labels[found["fgsm"].correct.cpu()].to(run.device)
    sets = {which: some.to(run.device) for which, some in experiments.image_sets(net, found).items()}
    columns: families.Columns = {}
    for family_name, family in experiments.all_families(run, net).items():
        what = f"cells of {family_name} on {name}, seed {net.seed}"
        columns |= memo(run.store, what, families.cells, family, net.model, sets, labels)
    accuracies = {
        f"accuracy.{name}.{recipe}": one.curve[-1].item()
        for recipe, one in (("plain", net), ("momentum", with_momentum))
    }
    return accuracies | {
        id: estimate.value for id, estimate in measurements.table_cells(run, name, columns).items()
    }


def spreads(each: list[dict[str, float]]) -> Spreads:
    """The standard deviation of each value over trainings, with their number.

    >>> spreads([{"a": 1.0}, {"a": 3.0}, {"a": 5.0}])
    {'a': {'sd': 2.0, 'k': 3}}
    """
    return {
        id: {"sd": float(f"{statistics.stdev(one[id] for one in each):.6g}"), "k": len(each)}
        for id in sorted(each[0])
    }
