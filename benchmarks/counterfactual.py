"""Chapter 2: counterfactual information of the last 512 filters of a VGG16, by its structure."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, cost, side_by_side
from causalnb.chapters.counterfactual import routes
from causalnb.chapters.counterfactual.filters import Filters
from causalnb.chapters.counterfactual.readings import information, log_odds
from causalnb.models import vgg16_cifar

LAYER, FILTERS = "relu13", 512


def network() -> nn.Sequential:
    """A VGG16 at full width whose batch norms know the statistics of these images, as after a training."""
    model = vgg16_cifar().train()
    with torch.no_grad():
        for _ in range(3):
            model(images(16))
    return model.eval()


def images(n: int) -> Tensor:
    """Seeded noise, [n, 3, 32, 32]."""
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def whole_network(model: nn.Module, batch: Tensor, passes: int) -> Tensor:
    """Some of the 513 passes that published code makes: the network with all filters, and without each."""
    made = [model(batch)]
    last = model.get_submodule(LAYER)
    for one in range(passes - 1):
        handle = last.register_forward_hook(
            lambda module, given, a, one=one: a.index_fill(1, torch.tensor([one]), 0)
        )
        made.append(model(batch))
        handle.remove()
    return torch.stack(made, 1)


def route(filters: Filters, way: Callable[..., routes.Removed], batch: Tensor) -> Tensor:
    """CI of a batch by one of the slower routes."""
    with torch.no_grad():
        found = way(filters.seam, filters.seam.activations(batch), batch)
        return information(*log_odds(found.whole, found.without))


@torch.no_grad()
def difference(model: nn.Module, *, every: int = 32) -> float:
    """The greatest between ours and the whole network without a filter, in float64, for every 32nd filter of
    one image.
    """
    exact, one = copy.deepcopy(model).double(), images(1).double()
    filters = Filters(exact, LAYER)
    some = torch.arange(0, FILTERS, every)
    slow = torch.stack(
        [routes.whole_without(filters.seam.model, filters.seam.layer, one, filter) for filter in some], dim=1
    )
    ours = filters(one).ci[:, some]
    return float((ours - information(*log_odds(exact(one), slow))).abs().max())


def against_passes(pair: str, n: int, passes: int) -> Comparison:
    """The whole network for each filter, as published code loops, the first passes of 513; no exact way needs
    less than one of them.
    """
    model = network()
    filters, batch = Filters(model, LAYER), images(n)
    return side_by_side(
        lambda: whole_network(model, batch, passes),
        lambda: filters(batch),
        pair=pair,
        difference=difference(model),
        bound=FILTERS + 1,
        subset=f"{passes} of {FILTERS + 1} passes",
        scale=(FILTERS + 1) / passes,
    )


def against_route(pair: str, way: Callable[..., routes.Removed], n: int) -> Comparison:
    """Another way that is exact too."""
    model = network()
    filters, batch = Filters(model, LAYER), images(n)

    def other() -> Tensor:
        return route(filters, way, batch)

    apart = float((other() - filters(batch).ci).abs().max())
    with torch.no_grad():
        bound = cost(other) / min(cost(lambda: model(batch)) for _ in range(5))
    return side_by_side(other, lambda: filters(batch), pair=pair, difference=apart, bound=bound)


PAIRS: dict[str, Callable[[], Comparison]] = {
    "ci-one-image": lambda: against_passes("ci-one-image", 1, 57),
    "ci-batch": lambda: against_passes("ci-batch", 64, 3),
    "ci-one-image-copies": lambda: against_route("ci-one-image-copies", routes.by_copies, 1),
    "ci-one-image-head": lambda: against_route("ci-one-image-head", routes.by_batch, 1),
    "ci-batch-head": lambda: against_route("ci-batch-head", routes.by_batch, 64),
}
