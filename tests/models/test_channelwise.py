import pytest
import torch
from torch import nn

from causalnb import models
from causalnb.models.channelwise import first_mixing
from causalnb.vision import import_torchvision


@pytest.mark.parametrize(
    ("name", "layer", "linear"),
    [
        ("vgg16_cifar", "relu13", "fc"),
        ("vgg16_cifar", "conv13", "fc"),
        ("vgg16_cifar", "pool5", "fc"),
        ("vgg16_cifar", "relu12", None),
        ("gap_cnn", "relu3", "fc"),
        ("small_cnn", "relu4", "fc1"),
        ("cnn37", "conv4", "fc"),
        ("resnet20", "stage3.2", "fc"),
        ("resnet20", "stage3.2.conv2", "fc"),
        ("resnet20", "stage3.2.conv1", None),
        ("resnet20", "stage3.1", None),
        ("vgg16_cifar", "fc", None),
    ],
)
def test_channels_stay_apart_up_to_the_first_linear_layer_or_a_convolution_mixes_them(name, layer, linear):
    options = {"width": 0.1} if name == "vgg16_cifar" else {}
    model = models.build(name, classes=3, channels=3, size=32, **options).eval()
    found = first_mixing(model, layer)
    assert found == (linear and (linear, linear == "fc" or name == "densenet121"))


@pytest.mark.parametrize(
    ("name", "layer", "linear"),
    [
        ("vgg11", "features.19", "classifier.0"),
        ("resnet18", "layer4.1.conv2", "fc"),
        ("resnet50", "layer4.2.conv3", "fc"),
        ("mobilenet_v3_small", "features.12.0", "classifier.0"),
        ("mobilenet_v3_small", "features.11.block.1.0", None),
        ("densenet121", "features.norm5", "classifier"),
    ],
)
def test_torchvisions_networks_are_seen_through(name, layer, linear):
    with torch.device("meta"):
        model = import_torchvision().models.get_model(name, weights=None).eval()
    found = first_mixing(model, layer)
    assert found == (linear and (linear, linear == "fc" or name == "densenet121"))


class Past(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.beside = nn.Conv2d(1, 2, 1), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, images):
        means = self.conv(images).mean((2, 3))
        return self.fc(means) + self.beside(means)


class Later(Past):
    def forward(self, images):
        means = self.conv(images).mean((2, 3))
        return self.fc(means).relu() + self.beside(means)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 1), nn.Linear(2, 2)

    def forward(self, images):
        features = self.conv(images)
        return self.fc((features * features.mean((1, 2, 3), keepdim=True)).mean((2, 3)))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 1, 1), nn.Linear(1, 2)

    def forward(self, images):
        return self.fc(self.conv(self.conv(images)).mean((2, 3)))


@pytest.mark.parametrize("make", [Past, Later, Gated, Twice])
def test_a_second_reader_a_gate_and_a_layer_called_twice_are_seen(make):
    assert first_mixing(make().eval(), "conv") is None


def test_a_linear_layer_on_the_last_axis_of_a_map_is_not_one_on_channels():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Linear(4, 4), nn.Flatten(), nn.Linear(32, 2))
    assert first_mixing(model.eval(), "0") is None


def test_a_hook_on_a_step_between_hides_what_it_does():
    model = models.gap_cnn().eval()
    model.gap.register_forward_hook(lambda module, given, made: made.flip(1))
    assert first_mixing(model, "relu3") is None


def test_a_step_that_the_trace_cannot_follow_is_not_seen():
    class Choosing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 2, 1), nn.Linear(2, 2)

        def forward(self, images):
            features = self.conv(images).mean((2, 3))
            return self.fc(features if features.sum() > 0 else -features)

    assert first_mixing(Choosing().eval(), "conv") is None
