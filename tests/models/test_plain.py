import pytest
import torch

from causalnb import UserError, models
from causalnb.vision import import_torchvision


def test_cnn37_is_the_chain_written_out():
    net, images = models.cnn37(classes=3, channels=2, size=20, seed=2), torch.rand(5, 2, 20, 20)
    w, hidden = dict(net.named_parameters()), images
    for number in (1, 2, 3, 4):
        hidden = torch.nn.functional.conv2d(
            hidden, w[f"conv{number}.weight"], w[f"conv{number}.bias"], padding=1
        ).relu()
        hidden = torch.nn.functional.max_pool2d(hidden, 2) if number < 4 else hidden
    assert torch.allclose(net(images), hidden.flatten(1) @ w["fc.weight"].T + w["fc.bias"], atol=1e-6)


def test_gap_cnn_is_the_chain_written_out():
    net, images = models.gap_cnn(classes=3, channels=2, size=9, seed=2), torch.rand(5, 2, 9, 9)
    w, hidden = dict(net.named_parameters()), images
    for number in (1, 2, 3):
        weight, bias = w[f"conv{number}.weight"], w[f"conv{number}.bias"]
        hidden = torch.nn.functional.conv2d(hidden, weight, bias, padding=1).relu()
        hidden = torch.nn.functional.max_pool2d(hidden, 2) if number == 2 else hidden
    assert torch.allclose(net(images), hidden.mean((2, 3)) @ w["fc.weight"].T + w["fc.bias"], atol=1e-6)


def test_vgg16_with_batch_norm_after_relu_has_a_head_of_two_dense_layers():
    net = models.vgg16_cifar(width=0.1, last=20, order="relu-bn", classes=4, seed=2).eval()
    names = [name for name, _ in net.named_children()]
    assert names[:3] == ["conv1", "relu1", "bn1"] and names[-9:-7] == ["bn13", "pool5"]
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
                norm.running_mean.uniform_(-1, 1)
    images = torch.rand(3, 3, 64, 64)
    hidden = images
    for name in names[: names.index("shrink")]:
        hidden = net.get_submodule(name)(hidden)
    dense = net.bn14(net.fc1(hidden.amax((2, 3))).relu())
    assert hidden.shape == (3, 20, 2, 2) and torch.allclose(net(images), net.fc(dense), atol=1e-6)


def test_the_order_of_batch_norm_and_relu_leaves_the_first_convolutions_as_they_were():
    one, other = (
        models.vgg16_cifar(width=0.1, last=8, order=order, seed=4) for order in ("bn-relu", "relu-bn")
    )
    assert torch.equal(one.conv13.weight, other.conv13.weight)


def test_vgg16_has_torchvisions_features_without_biases():
    vgg = import_torchvision().models.vgg
    theirs, ours = vgg.make_layers(vgg.cfgs["D"], batch_norm=True).eval(), models.vgg16_cifar(seed=1).eval()
    weights = [value for name, value in ours.state_dict().items() if not name.startswith("fc")]
    names = [
        name
        for name in theirs.state_dict()
        if not (name.endswith("bias") and theirs[int(name.split(".")[0])]._get_name() == "Conv2d")
    ]
    theirs.load_state_dict(dict(zip(names, weights, strict=True)), strict=False)
    for layer in theirs:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.zeros_(layer.bias)
    images = torch.rand(2, 3, 64, 64)
    assert torch.allclose(ours(images), ours.fc(theirs(images).mean((2, 3))), atol=1e-5)


def test_the_width_scales_twelve_convolutions_and_leaves_the_last():
    widths = [
        layer.out_channels
        for name, layer in models.vgg16_cifar(width=0.1, last=40).named_children()
        if name.startswith("conv")
    ]
    assert widths == [8, 8, 13, 13, 26, 26, 26, 51, 51, 51, 51, 51, 40]


@pytest.mark.parametrize(("width", "millions"), [(0.25, 1.37), (0.5, 4.28)])
def test_narrow_vgg16_has_the_parameters_that_it_is_known_by(width, millions):
    assert (
        round(sum(value.numel() for value in models.vgg16_cifar(width=width).parameters()) / 1e6, 2)
        == millions
    )


@pytest.mark.parametrize(
    ("make", "least"),
    [(models.cnn37, 8), (models.gap_cnn, 2), (models.small_cnn, 16), (models.vgg16_cifar, 32)],
)
def test_images_have_the_least_size_or_are_refused_in_a_sentence(make, least):
    assert make(size=least, channels=1, classes=3).eval()(torch.zeros(2, 1, least, least)).shape == (2, 3)
    with pytest.raises(
        UserError,
        match=f"cannot take images of {least - 1} x {least - 1} pixels: .* need {least} x {least} or more",
    ):
        make(size=least - 1)


@pytest.mark.parametrize("widths", [{"width": 0}, {"last": 0}])
def test_a_network_without_width_is_refused(widths):
    with pytest.raises(ValueError, match="a width above 0 and at least one last channel"):
        models.vgg16_cifar(**widths)
