import doctest

import pytest
import torch
from torch import nn

from causalnb import UserError, models


def test_lenet_has_the_layers_of_the_papers_lenet():
    net = models.lenet()
    shapes = {name: tuple(layer.weight.shape) for name, layer in net.named_children() if hasattr(layer, "weight")}
    assert shapes == {"conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84)}
    assert net.conv1.padding == (2, 2) and net.conv2.padding == (0, 0)


@pytest.mark.parametrize(("variant", "activation", "pool"), [
    ("relu-max", torch.relu, nn.functional.max_pool2d),
    ("tanh-average", torch.tanh, nn.functional.avg_pool2d),
])
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


@pytest.mark.parametrize("make", [models.lenet, lambda seed: models.build("resnet18", classes=2, channels=1, size=32, seed=seed)])
def test_weights_come_from_the_seed_and_the_global_generator_stays(make):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = models.state(make(seed=1))
    assert torch.equal(torch.rand(3), expected)
    again, other = models.state(make(seed=1)), models.state(make(seed=2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_initial_weights_are_torchs_defaults():
    weight = models.lenet(seed=0).fc1.weight
    assert weight.abs().max() <= 1 / 20 and abs(weight.std() - 1 / (20 * 3**0.5)) < 1e-3  # uniform within 1 / sqrt(400)


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_every_architecture_is_built_for_any_data(name):
    assert models.build(name, classes=3, channels=3, size=32, seed=0)(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(("name", "channels"), [("squeezenet1_1", 1), ("torchvision:resnet18", 1), ("torchvision:shufflenet_v2_x0_5", 3)])
def test_torchvisions_models_are_built_for_any_channels(name, channels):
    net = models.build(name, classes=5, channels=channels, size=64, seed=0).eval()
    assert net(torch.zeros(2, channels, 64, 64)).shape == (2, 5)
    convolution = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    assert convolution.in_channels == channels


def test_a_model_with_auxiliary_outputs_gives_one():
    assert models.build("googlenet", classes=5, channels=1, size=64, seed=0).train()(torch.zeros(2, 1, 64, 64)).shape == (2, 5)


def test_an_unknown_architecture_is_met_with_the_nearest():
    with pytest.raises(UserError, match=r"resnet19 is not an architecture \(did you mean resnet\d+\?\): give one of lenet, lenet-tanh, or"):
        models.build("resnet19", classes=2, channels=1, size=28, seed=0)


def test_a_normalised_model_sees_standardised_images_and_saves_its_constants():
    net = models.Normalised(nn.Identity(), mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0])
    seen = net(torch.full((2, 3, 4, 4), 0.5))
    assert torch.allclose(seen[1, :, 3, 0], torch.tensor([0.4, 0.15, 0.05]))
    assert set(net.state_dict()) == {"mean", "std"} and not list(net.parameters())


def test_a_state_is_a_copy_that_gives_the_same_answers():
    net = models.Normalised(models.lenet(seed=3), mean=[0.1], std=[0.3])
    kept, images = models.state(net), torch.rand(2, 1, 28, 28)
    before = net(images)
    with torch.no_grad():
        net.model.fc3.bias += 1
    other = models.Normalised(models.lenet(seed=4), mean=[0.0], std=[1.0])
    other.load_state_dict(kept)
    assert torch.equal(other(images), before) and not any(values.requires_grad for values in kept.values())


def test_examples_run():
    assert doctest.testmod(models).failed == 0
