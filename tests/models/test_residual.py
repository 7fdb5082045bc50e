import pytest
import torch
from torch import nn

from causalnb import models
from causalnb.vision import import_torchvision


class Padded(nn.Module):
    def __init__(self, new):
        super().__init__()
        self.new = new

    def forward(self, hidden):
        zeros = torch.zeros(len(hidden), self.new // 2, hidden.shape[2] // 2, hidden.shape[3] // 2)
        return torch.cat([zeros, nn.functional.avg_pool2d(hidden, 1, stride=2), zeros], dim=1)


def with_weights_of(ours, theirs):
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    return theirs


def lively(model):
    """The model with batch norms that change what passes them, in evaluation mode."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value in (layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var):
                value.uniform_(0.5, 1.5)
    return model.eval()


def test_resnet18_is_torchvisions_with_another_stem():
    theirs = import_torchvision().models.resnet18(num_classes=7)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    ours, images = lively(models.resnet18(classes=7, seed=1)), torch.rand(2, 3, 16, 16)
    assert torch.allclose(ours(images), with_weights_of(ours, theirs).eval()(images), rtol=1e-4)


def test_resnet20_is_made_of_torchvisions_blocks_with_padded_shortcuts():
    block = import_torchvision().models.resnet.BasicBlock
    stages = [
        block(i, o, 1 if i == o else 2, None if i == o else Padded(o - i))
        for i, o in zip(
            (16, 16, 16, 16, 32, 32, 32, 64, 64), (16, 16, 16, 32, 32, 32, 64, 64, 64), strict=True
        )
    ]
    theirs = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *stages,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 4),
    )
    ours, images = lively(models.resnet20(classes=4, channels=1, seed=1)), torch.rand(2, 1, 32, 32)
    assert torch.allclose(ours(images), with_weights_of(ours, theirs).eval()(images), rtol=1e-4)


@pytest.mark.parametrize("make", [models.resnet20, models.resnet18])
def test_convolutions_start_by_kaimings_normal_from_the_seed(make):
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    weight = first.stage3[1].conv2.weight
    assert abs(weight.std() * (weight[0].numel() / 2) ** 0.5 - 1) < 0.02
    assert torch.equal(weight, again.stage3[1].conv2.weight) and not torch.equal(
        weight, other.stage3[1].conv2.weight
    )
