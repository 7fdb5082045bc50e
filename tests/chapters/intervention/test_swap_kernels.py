"""Kernel norms, the rescaled twin, and perturbations along and beyond an attack's way."""

import doctest

import pytest
import torch
from swapping import alive, pair
from torch import nn

from causalnb import UserError, models
from causalnb.chapters.intervention import kernels, perturbations


@pytest.mark.parametrize(("make", "shape"), [(models.resnet20, (3, 16)), (models.cnn37, (1, 28))])
def test_a_rescaled_twin_has_the_same_logits_and_other_norms(make, shape):
    model, (clean, _) = alive(make()), pair(*shape)
    alpha = torch.linspace(0.5, 3, 16).double()
    twin = kernels.rescaled(model, "conv1", alpha)
    with torch.no_grad():
        assert (twin(clean) - model(clean)).abs().max() < 1e-13
    one, other = kernels.kernels(model, "conv1"), kernels.kernels(twin, "conv1")
    assert torch.allclose(other.norm, alpha * one.norm) and torch.allclose(other.std, alpha * one.std)
    assert torch.allclose(other.path, one.path)
    assert torch.allclose(other.folded, one.folded) == (make is models.resnet20)


def test_a_twin_whose_variance_would_be_negative_is_refused():
    model = models.resnet20().eval()
    model.bn1.running_var.fill_(1e-5)
    with pytest.raises(UserError, match="no twin"):
        kernels.rescaled(model, "conv1", torch.full((16,), 0.1))


def test_norms_by_hand():
    model = models.cnn37(size=8).eval()
    found = kernels.kernels(model, "conv1")
    assert torch.allclose(found.norm, model.conv1.weight.flatten(1).norm(dim=1))
    assert torch.allclose(found.std, model.conv1.weight.flatten(1).std(dim=1, correction=0))
    assert torch.allclose(found.path[3], found.norm[3] * model.conv2.weight[:, 3].norm())
    assert doctest.testmod(kernels).failed == 0


def test_what_is_no_convolution_or_leads_to_none_is_refused():
    with pytest.raises(UserError, match="no convolution"):
        kernels.kernels(models.cnn37().eval(), "fc")
    with pytest.raises(UserError, match="No convolution behind"):
        kernels.kernels(models.cnn37().eval(), "conv4")


# Perturbations -------------------------------------------------------------------------------------------


def linear():
    """Margin 2 (mean of the pixels - 1/2) of class 1 against class 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    model[1].weight.data = torch.tensor([[0.0] * 4, [0.5] * 4]).double()
    model[1].bias.data = torch.tensor([0.0, -1.0]).double()
    return model


def test_the_boundary_of_a_linear_network_is_found_and_passed_by_a_thousandth():
    clean = torch.full((2, 1, 2, 2), 0.7, dtype=torch.float64)
    attacked, labels = clean - torch.tensor([0.4, 0.1]).view(2, 1, 1, 1), torch.tensor([1, 1])
    made = perturbations.to_boundary(linear(), clean, attacked, labels)
    assert made.times[0].item() == pytest.approx(0.5 * perturbations.BEYOND)
    assert made.sure.tolist() == [True, False], "the second attack fails"
    assert torch.allclose(made.images[1], attacked[1])
    rho = perturbations.overshoot(linear(), clean, attacked, labels)
    assert rho.tolist() == pytest.approx([2.0, 0.5])
    at = perturbations.overshoot(linear(), clean, made.images, labels)
    assert at[0].item() == pytest.approx(perturbations.BEYOND)


def test_a_lengthened_perturbation_is_clipped_and_says_how_much():
    clean = torch.full((1, 1, 2, 2), 0.7, dtype=torch.float64)
    attacked = clean.clone()
    attacked[..., 0] -= 0.3
    made = perturbations.extended(linear(), clean, attacked, torch.tensor([1]), torch.tensor([3.0]))
    assert made.images[0, 0, 0].tolist() == pytest.approx([0.0, 0.7]) and made.clipped.tolist() == [0.5]
    assert made.sure.tolist() == [True]


def test_no_image_keeps_its_own_perturbation_and_flipping_twice_is_nothing():
    clean = torch.full((7, 1, 1, 1), 0.5)
    attacked = clean + 0.01 * torch.arange(1.0, 8).view(7, 1, 1, 1)
    moved = perturbations.of_another(clean, attacked, seed=0)
    assert ((moved - attacked).abs() > 1e-3).all()
    assert torch.allclose((moved - clean).sort(0).values, (attacked - clean).sort(0).values, atol=1e-6)
    again = perturbations.flipped(clean, perturbations.flipped(clean, attacked))
    assert torch.allclose(again, attacked)
