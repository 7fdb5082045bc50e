import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import nn

from causalnb import UserError, models


def test_lenet_has_the_layers_of_the_papers_lenet():
    net = models.lenet()
    shapes = {
        name: tuple(layer.weight.shape) for name, layer in net.named_children() if hasattr(layer, "weight")
    }
    assert shapes == {
        "conv1": (6, 1, 5, 5),
        "conv2": (16, 6, 5, 5),
        "fc1": (120, 400),
        "fc2": (84, 120),
        "fc3": (10, 84),
    }
    assert net.conv1.padding == (2, 2) and net.conv2.padding == (0, 0)


@pytest.mark.parametrize(
    ("variant", "activation", "pool"),
    [
        ("relu-max", torch.relu, nn.functional.max_pool2d),
        ("tanh-average", torch.tanh, nn.functional.avg_pool2d),
    ],
)
def test_a_forward_pass_is_the_chain_written_out(variant, activation, pool):
    net, images = models.lenet(variant=variant, classes=4, channels=3, seed=2), torch.rand(5, 3, 28, 28)
    w = dict(net.named_parameters())
    hidden = pool(activation(nn.functional.conv2d(images, w["conv1.weight"], w["conv1.bias"], padding=2)), 2)
    hidden = pool(activation(nn.functional.conv2d(hidden, w["conv2.weight"], w["conv2.bias"])), 2).flatten(1)
    for layer in ("fc1", "fc2"):
        hidden = activation(hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    assert torch.allclose(net(images), hidden @ w["fc3.weight"].T + w["fc3.bias"], atol=1e-6)


@pytest.mark.parametrize("size", [12, 16, 28, 32, 33])
def test_lenet_takes_the_size_that_it_was_built_for(size):
    assert models.lenet(size=size)(torch.zeros(1, 1, size, size)).shape == (1, 10)


def test_too_small_images_are_refused_in_a_sentence():
    with pytest.raises(UserError, match="LeNet cannot take images of 8 x 8 pixels: .* 12 x 12 or more"):
        models.lenet(size=8)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant = 'sigmoid'"):
        models.lenet(variant="sigmoid")


def test_weights_come_from_the_seed_and_the_global_generator_stays():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = models.lenet(seed=1).state_dict()
    assert torch.equal(torch.rand(3), expected)
    again, other = models.lenet(seed=1).state_dict(), models.lenet(seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_initial_weights_are_torchs_defaults():
    weight = models.lenet(seed=0).fc1.weight
    assert (
        weight.abs().max() <= 1 / 20 and abs(weight.std() - 1 / (20 * 3**0.5)) < 1e-3
    )  # uniform within 1 / sqrt(400)


@pytest.mark.parametrize(
    "module", [name for _, name, _ in pkgutil.iter_modules(models.__path__, "causalnb.models.")]
)
def test_examples_run(module):
    assert doctest.testmod(importlib.import_module(module), extraglobs={"torch": torch, "nn": nn}).failed == 0
