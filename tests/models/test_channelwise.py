import pytest
import torch
from torch import nn

from causalnb import models
from causalnb.models.channelwise import apart_until, first_mixing
from causalnb.models.folding import folded
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


# How far a swap of channels can be moved ------------------------------------------------------------------


def shared(seed=0):
    """A chain whose ReLU is called twice, with a norm over several channels at its end."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.norm = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.GroupNorm(2, 4)
            self.own = nn.BatchNorm2d(4, track_running_stats=False)

        def forward(self, x):
            return self.norm(self.own(self.act(self.act(self.conv(x)))))

    return Net().eval()


@pytest.mark.parametrize(
    ("make", "layer", "seam"),
    [
        (models.cnn37, "conv1", "pool1"),
        (models.cnn37, "conv4", "relu4"),
        (models.resnet20, "conv1", "relu1"),
        (models.resnet20, "bn1", "relu1"),
        (models.resnet20, "stage1.0", "stage1.0"),
        (models.vgg16_cifar, "conv2", "pool1"),
        (models.lenet, "conv1", "conv1"),
        (shared, "conv", "conv"),
    ],
)
def test_a_swap_can_be_moved_behind_what_treats_channels_alone_and_no_further(make, layer, seam):
    assert apart_until(make(), layer) == seam


@pytest.mark.parametrize("name", ["resnet20", "vgg16_cifar", "resnet18"])
def test_folded_batch_norms_give_the_same_logits_and_leave_the_model(name):
    model = models.build(name, classes=3, channels=3, size=32, **({"width": 0.1} if name[0] == "v" else {}))
    model = model.double().train()
    images = torch.rand(4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        model(images)
    before, made = model.eval().state_dict(), folded(model)
    convolutions = sum(isinstance(part, nn.Conv2d) for part in model.modules())
    assert made[1] == convolutions and sum(isinstance(p, nn.BatchNorm2d) for p in made[0].modules()) == 0
    assert (made[0](images) - model(images)).abs().max() < 1e-12
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_batch_norm_that_reads_a_shared_convolution_is_not_folded():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.left, self.right = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2)

        def forward(self, x):
            x = self.conv(x)
            return self.left(x) + self.right(x)

    assert folded(Two().eval())[1] == 0 and folded(shared())[1] == 0
    with pytest.raises(ValueError, match="evaluation mode"):
        folded(Two())


def test_a_relu_works_in_place_only_where_nothing_else_reads_its_input():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.twice, self.once = nn.Conv2d(1, 2, 1), nn.ReLU(), nn.ReLU()

        def forward(self, x):
            x = self.conv(x)
            return self.once(x + self.twice(x))

    model = Reads().eval()
    made, images = folded(model)[0], torch.randn(2, 1, 3, 3)
    assert (made.twice.inplace, made.once.inplace, model.once.inplace) == (False, True, False)
    assert torch.equal(made(images), model(images))
    assert all(
        part.inplace for part in folded(models.resnet20().eval())[0].modules() if isinstance(part, nn.ReLU)
    )
