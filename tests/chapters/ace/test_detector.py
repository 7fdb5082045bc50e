import math

import pytest
import torch
from torch import nn

from causalnb.attacks.adversarial import ascend
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace import readings
from causalnb.chapters.ace.checks import layer
from causalnb.chapters.ace.detector import (
    SMOOTHING,
    Effects,
    Smoothed,
    evade,
    features,
)
from causalnb.chapters.ace.interventions import interventional_table
from causalnb.models import lenet

READINGS = ("R1", "R3m", "R7x")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def roughness(maps):
    return m.total_variation(maps, smoothing=SMOOTHING)


# The detector ---------------------------------------------------------------------------------------------


def test_features_are_the_papers_two_and_the_positive_mass():
    maps = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]], [[-1, -1, -1], [-1, -1, -1], [-1, -1, 3]]])
    assert torch.allclose(features(maps), torch.tensor([[8 / 9, 2 + math.sqrt(2), 1.0], [8 / 9, 0.0, 3.0]]))


# The attacker who knows -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    """A smooth LeNet of 12 x 12 images with steep weights, its table, fill, images between grid values, and
    their predicted classes.
    """
    model = lenet(variant="tanh-average", classes=4, size=12, seed=1).double().eval()
    for parameter in model.parameters():
        parameter.data *= 2
        parameter.requires_grad_(False)
    rows, images = (
        torch.rand(n, 1, 12, 12, generator=generator(seed), dtype=torch.float64)
        for n, seed in ((20, 1), (3, 2))
    )
    table = interventional_table(model, rows, torch.linspace(0, 1, 4, dtype=torch.float64))
    return model, table, rows.mean(0), images, model(images).argmax(1)


def test_effects_are_the_maps_of_the_readings(toy):
    model, table, fill, images, classes = toy
    of = {"predicted": classes}
    found = {reading: Effects(reading, model, table, fill)(images, classes) for reading in READINGS}
    maps = readings.population(table, images, of) | readings.gradients(model, images, of)
    assert torch.allclose(found["R1"].float(), maps["R1.logit.predicted"], atol=1e-6)
    assert torch.allclose(found["R7x"].float(), maps["R7x.logit.predicted"], atol=1e-6)
    assert torch.allclose(
        found["R3m"].float(), maps["R7.logit.predicted"] * (images - fill)[:, 0].float(), atol=1e-6
    )
    assert min(maps[f"{reading}.logit.predicted"].abs().max() for reading in ("R1", "R7x")) > 1e-3


def test_effects_of_r3m_are_r3m_where_the_network_is_linear_and_its_limit_near_the_fill(toy):
    model, table, fill, images, classes = toy
    linear, of = nn.Sequential(nn.Flatten(), layer(144, 4)), {"predicted": classes}
    exact = readings.individual(linear, images, of, alphas=torch.zeros(1), fill=fill)["R3m.logit.predicted"]
    assert torch.allclose(Effects("R3m", linear, table, fill)(images, classes).float(), exact, atol=1e-5)
    near = 0.999 * fill + 0.001 * images
    limit = readings.individual(model, near, of, alphas=torch.zeros(1), fill=fill)["R3m.logit.predicted"]
    first = Effects("R3m", model, table, fill)(near, classes).float()
    assert (first - limit).abs().max() < 1e-3 * limit.abs().max()


@pytest.mark.parametrize("reading", READINGS)
def test_effects_have_the_gradient_that_finite_differences_have(toy, reading):
    model, table, fill, images, classes = toy
    effects, direction, weights = (
        Effects(reading, model, table, fill),
        *(torch.randn(3, 1, 12, 12, generator=generator(seed)).double() for seed in (3, 4)),
    )
    points, step = images.clone().requires_grad_(), 1e-6
    slope = (
        torch.autograd.grad((effects(points, classes) * weights[:, 0]).sum(), points)[0] * direction
    ).sum()
    ends = [(effects(images + sign * step * direction, classes) * weights[:, 0]).sum() for sign in (1, -1)]
    assert abs(slope.item()) > 1e-3 and slope.item() == pytest.approx(
        ((ends[0] - ends[1]) / (2 * step)).item(), rel=1e-4
    )


@pytest.mark.parametrize("reading", READINGS)
def test_effects_are_the_same_where_no_gradient_is_kept(toy, reading):
    model, table, fill, images, classes = toy
    effects = Effects(reading, model, table, fill)
    with torch.no_grad():
        quiet = effects(images, classes)
    assert torch.equal(quiet, effects(images, classes)) and not images.requires_grad


def test_the_labels_logit_alone_rises_with_the_roughness(toy):
    model, table, fill, images, classes = toy
    effects, labels = Effects("R7x", model, table, fill), torch.tensor([3, 0, 1])
    clean = torch.tensor([2.0, 1.0, 0.5])
    added = Smoothed(model, effects, labels, clean, weight=5.0)(images) - model(images)
    rougher = 5.0 * (roughness(effects(images, classes)) / clean - 1)
    assert (
        torch.allclose(added, rougher[:, None] * nn.functional.one_hot(labels, 4))
        and rougher.abs().min() > 1e-3
    )
    assert torch.equal(Smoothed(model, effects, labels, clean, weight=0.0)(images), model(images))


def test_the_search_begins_at_the_networks_own_loss(toy):
    model, table, fill, images, classes = toy
    effects = Effects("R1", model, table, fill)
    guarded = Smoothed(model, effects, classes, roughness(effects(images, classes)), weight=50.0)
    assert torch.allclose(guarded(images), model(images), atol=1e-4)


def test_another_number_of_images_than_labels_is_refused(toy):
    model, table, fill, images, _ = toy
    guarded = Smoothed(
        model, Effects("R1", model, table, fill), torch.tensor([0, 1]), torch.ones(2), weight=1.0
    )
    with pytest.raises(ValueError, match="3 images for 2 labels"):
        guarded(images)


BUDGET = {"eps": 0.2, "step": 0.05, "steps": 8, "seed": 0}


@pytest.mark.parametrize("reading", READINGS)
def test_an_attacker_who_knows_finds_smoother_maps_within_the_budget(toy, reading):
    model, table, fill, _, _ = toy
    images = torch.rand(9, 1, 12, 12, generator=generator(5), dtype=torch.float64)
    labels, effects = model(images).argmax(1), Effects(reading, model, table, fill)
    alone = ascend(model, images, labels, norm="linf", **BUDGET)
    ends = {
        weight: evade(model, effects, images, labels, weight=weight, **BUDGET) for weight in (0.0, 0.3, 3.0)
    }
    assert torch.equal(ends[0.0], alone) and not torch.equal(ends[0.0], images)
    rough = [roughness(effects(some, model(some).argmax(1))).mean().item() for some in ends.values()]
    assert rough[0] > rough[1] > rough[2]
    for some in ends.values():
        assert (some - images).abs().max() <= 0.2 + 1e-6 and some.min() >= 0 and some.max() <= 1


def test_an_attacker_who_knows_may_have_few_images(toy):
    model, table, fill, images, labels = toy
    ends = evade(model, Effects("R7x", model, table, fill), images, labels, weight=3.0, **BUDGET)
    assert ends.shape == images.shape and not torch.equal(ends, images)
