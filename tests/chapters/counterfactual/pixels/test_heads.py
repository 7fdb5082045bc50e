"""What a head shows of a network, against the network itself."""

import pytest
import torch
from torch import nn

from causalnb import UserError, models
from causalnb.chapters.counterfactual import ci
from causalnb.chapters.counterfactual.heads import Head, on_cpu

NETWORKS = {
    "means": (lambda: models.gap_cnn(classes=4), "relu3", (1, 8)),
    "places": (lambda: models.cnn37(classes=3, size=16), "relu4", (1, 16)),
    "dense": (lambda: models.vgg16_cifar(width=0.05, last=24, order="relu-bn"), "bn13", (3, 32)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    make, layer, (channels, size) = NETWORKS[request.param]
    torch.manual_seed(0)
    return make().eval(), layer, torch.rand(3, channels, size, size)


def test_counterfactual_information_from_what_a_head_shows_is_that_of_the_images(network):
    model, layer, images = network
    head = Head(model, layer, images, check=True)
    outputs = head.of(images)
    found, expected = head.information(outputs), ci(model, images, layer)
    assert (found.log_odds - expected.log_odds).abs().max() < 1e-6
    assert torch.equal(found.silent, expected.silent) and torch.equal(found.classes, expected.classes)
    assert torch.allclose(head.logits(outputs), model(images), atol=1e-6)


def test_removed_logits_have_a_gradient_in_the_images(network):
    model, layer, images = network
    head, asked = Head(model, layer, images), images.clone().requires_grad_()
    head.removed(head(asked)).without.sum().backward()
    assert asked.grad.abs().max() > 0


def test_gradient_times_activation_of_a_linear_head_is_its_closed_form():
    torch.manual_seed(0)
    model, images = models.gap_cnn(classes=4).eval(), torch.rand(3, 1, 8, 8)
    head = Head(model, "relu3", images)
    outputs = head.of(images)
    logits, g = head.logits(outputs).double(), head.responses(outputs).double()
    y, weight = logits.argmax(1), model.fc.weight.double()
    others = logits.scatter(1, y[:, None], -torch.inf).softmax(1)
    expected = g * (weight[y] - others @ weight)
    assert torch.allclose(head.sensitivity(outputs), expected, atol=1e-6)


def test_what_first_mixes_no_filters_is_refused():
    model = models.gap_cnn().eval()
    with pytest.raises(UserError, match="no linear layer is the first to mix"):
        Head(model, "conv1", torch.rand(1, 1, 8, 8))


def test_a_head_whose_features_do_not_tell_is_refused():
    class Bent(nn.Module):
        """Reads its features a second time behind a hook that the head does not see."""

        def __init__(self):
            super().__init__()
            self.conv, self.gap = nn.Conv2d(1, 6, 3), nn.AdaptiveAvgPool2d(1)
            self.flat, self.fc = nn.Flatten(), nn.Linear(6, 3)

        def forward(self, images):
            return self.fc(self.flat(self.gap(self.conv(images))))

    torch.manual_seed(0)
    model = Bent().eval()
    images = torch.rand(1, 1, 8, 8)
    Head(model, "conv", images, check=True)
    model.fc.register_forward_hook(
        lambda layer, given, made: made + given[0].square().sum(1, keepdim=True) * torch.eye(3)[0]
    )
    with pytest.raises(UserError, match="do not say what the filters do"):
        Head(model, "conv", images, check=True)


def test_a_copy_on_the_cpu_leaves_the_model_alone():
    model = models.gap_cnn().eval()
    head = on_cpu(model, "relu3", torch.rand(1, 1, 8, 8))
    assert head.model is not model and not list(model._forward_hooks)
