"""How far the cells of this chapter spread from training to training: what `causalnb spread ace` writes to
seed_spread.json.

The trainings have seeds set apart, which decide no row. All else is as at the laptop profile, on fewer of the
same images. A training takes minutes, so there are eight: with three, a tolerance is twice as wide.
"""

from collections.abc import Callable

from causalnb import console
from causalnb.chapters.ace import experiments, families, measurements
from causalnb.chapters.ace.networks import Run, trained
from causalnb.store import memo

SEEDS = (101, 102, 103, 104, 105, 106, 107, 108)
SETS = ("mnist", "fashion_mnist")
FEWER = {"n_images": 300, "n_individual": 100}

Values = dict[str, list[float]]  # measurement id -> a value a seed


def measured(begin: Callable[..., Run]) -> Values:
    """Every reading of every cell, for each seed; `begin` starts a run of this chapter with the given
    parameters.
    """
    found: Values = {}
    for name in SETS:
        each = []
        for seed in SEEDS:
            each.append(cells(begin(profile="laptop", data=name, seed=seed, **FEWER), name))
            console.say(f"{name}, seed {seed}: {len(each[-1])} values")
        found |= {id: [one[id] for one in each] for id in each[0]}
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
