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
    ("make", "least"), [(models.cnn37, 8), (models.small_cnn, 16), (models.vgg16_cifar, 32)]
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
