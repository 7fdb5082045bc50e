"""How far the accuracy of the MNIST-37 network spreads from training to training: what `causalnb spread
intervention` writes to seed_spread.json.

The trainings have seeds set apart, which decide no row. A ResNet-20 takes an hour: its row goes without.
"""

from collections.abc import Callable

from causalnb.chapters.intervention import networks
from causalnb.chapters.intervention.networks import Run

SEEDS = (101, 102, 103, 104, 105, 106, 107, 108)
NAME = "mnist37"

Values = dict[str, list[float]]  # measurement id -> a value a seed


def measured(begin: Callable[..., Run]) -> Values:
    """The test accuracy of each seed; `begin` starts a run of this chapter with the given parameters."""
    nets = networks.networks(begin(profile="laptop", data=NAME), NAME, seeds=SEEDS)
    return {f"t1.clean.{NAME}.cnn37": [right / n for right, n in (net.accuracy for net in nets)]}
