"""A small network on digits, trained in seconds: what the page takes apart in the open."""

from dataclasses import dataclass

from torch import nn

from causalnb import chapters, models, training
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.data import Images
from causalnb.training import Recipe

Run = chapters.Run[Parameters]


@dataclass(frozen=True)
class Net:
    """A network in evaluation mode, the layer whose filters are asked, its training and its test images."""

    name: str
    model: nn.Module
    layer: str
    fitted: Images
    test: Images


def network(run: Run) -> Net:
    """`gap_cnn` on digits of 8 x 8 pixels, whatever the profile's own data."""
    train, test = run.load("digits8", "train"), run.load("digits8", "test")
    recipe = Recipe(optimiser="adam", rate=5e-3, schedule="one-cycle", epochs=6, batch=50, seed=run.p.seed)
    model = models.gap_cnn(seed=run.p.seed)
    stages = [(training.cross_entropy, recipe)]
    made = training.train_or_load(run.store, "gap_cnn on digits8", model, stages, train, test=test)
    return Net("digits8", made.model.eval(), "relu3", train, test)
