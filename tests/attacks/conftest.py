from types import SimpleNamespace

import pytest
import torch
from torch import nn


def network():
    """A small network with batch norm, 24 images with pixels at both ends of the box, labels of which 4 are
    wrong.
    """
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 5)
    )
    model(torch.rand(200, 1, 6, 6))
    images = (torch.rand(24, 1, 6, 6) * 1.6 - 0.3).clamp(0, 1)
    with torch.no_grad():
        model[5].bias -= model.eval()(images).mean(dim=0)
        labels = model(images).argmax(dim=1)
    labels[:4] = (labels[:4] + 1) % 5
    return SimpleNamespace(model=model, images=images, labels=labels)


def twin():
    """Nearly the same network."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = network().model
        model[5].weight += 0.03 * torch.randn(5, 64)
    return model


SETTINGS = {
    "fgsm": {"norm": "linf", "eps": 0.05},
    "bim": {"norm": "linf", "eps": 0.05, "step": 0.015, "steps": 10},
    "pgd": {"norm": "linf", "eps": 0.05, "step": 0.015, "steps": 10},
    "pgd-l2": {"norm": "l2", "eps": 0.3, "step": 0.1, "steps": 10},
    "cw-linf": {"norm": "linf", "eps": 0.05, "step": 0.015, "steps": 10},
    "cw": {
        "norm": "l2",
        "eps": None,
        "step": 0.05,
        "steps": 30,
        "binary_search_steps": 3,
        "initial_const": 1.0,
    },
    "ddn": {"norm": "l2", "eps": None, "steps": 20},
    "deepfool": {"norm": "linf", "eps": 0.1, "steps": 10},
    "deepfool-l2": {"norm": "l2", "eps": None, "steps": 10},
    "hsj": {"norm": "linf", "eps": None, "steps": 1, "directions": 10, "starts": 20},
    "apgd-ce": {"norm": "linf", "eps": 0.05, "steps": 10},
    "apgd-ce-l2": {"norm": "l2", "eps": 0.3, "steps": 10},
    "apgd-dlr": {"norm": "linf", "eps": 0.05, "steps": 10},
    "apgd-t": {"norm": "linf", "eps": 0.05, "steps": 10, "n_targets": 2},
    "fab-t": {"norm": "linf", "eps": 0.05, "steps": 5, "n_targets": 2},
    "fab-t-l2": {"norm": "l2", "eps": None, "steps": 5, "n_targets": 2},
    "square": {"norm": "linf", "eps": 0.1, "queries": 50, "rescale": True},
    "stadv": {"norm": "flow", "eps": 0.3, "step": 0.1, "steps": 10},
    "transfer": {"norm": "linf", "eps": 0.1, "step": 0.03, "steps": 10, "source": twin()},
    "noise": {"norm": "linf", "eps": 0.3, "kind": "sign"},
}
# One run that leaves an image unbroken takes seconds: test_autoattack_adapter.py has it whole, its parts
# stand above.
TOO_LONG = {"autoattack"}
# These draw for a whole batch at once, in their library.
BATCH = {"apgd-ce", "apgd-ce-l2", "apgd-dlr", "apgd-t", "square"}


@pytest.fixture(params=SETTINGS)
def attack(request):
    """The name and settings of each attack in turn."""
    return request.param.removesuffix("-l2"), dict(SETTINGS[request.param])


@pytest.fixture(params=[name for name in SETTINGS if name not in BATCH])
def lone(request):
    """Of each attack whose result belongs to an image alone."""
    return request.param.removesuffix("-l2"), dict(SETTINGS[request.param])


@pytest.fixture
def covered():
    return {name.removesuffix("-l2") for name in SETTINGS} | TOO_LONG


@pytest.fixture
def small():
    return network()


@pytest.fixture
def linear():
    """f(x) = (0, w x + b): the least L-inf and L2 perturbations are the margin |w x + b| over the dual norm
    of w.
    """
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(16, generator=generator, dtype=torch.float64)
    distances = torch.linspace(0.05, 0.3, 12) * torch.tensor([1.0, -1.0]).repeat(6)
    along = distances[:, None] * weight / weight.norm()
    across = 0.05 * torch.randn(12, 16, generator=generator, dtype=torch.float64)
    images = 0.5 + along + across - (across @ weight)[:, None] * weight / weight.norm() ** 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.zeros(16), weight]))
        model[1].bias.copy_(torch.tensor([0.0, -0.5 * weight.sum()]))
    margins = distances.abs() * weight.norm()
    return SimpleNamespace(
        model=model,
        images=images.reshape(12, 1, 4, 4),
        labels=(distances > 0).long(),
        weight=weight,
        margins=margins,
    )
