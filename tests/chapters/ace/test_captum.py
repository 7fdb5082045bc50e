"""The readings that Captum (Kokhlikyan et al. 2020) has under other names, against Captum."""

import pytest
import torch
from torch import nn

from causalnb.chapters.ace import readings
from causalnb.chapters.ace.checks import layer
from causalnb.models import lenet

captum = pytest.importorskip("captum.attr")

LABELS = torch.tensor([0, 1, 2, 3, 0])


@pytest.fixture(params=["relu", "tanh", "lenet"])
def case(request):
    """A float64 network and images [5, 1, height, width] of its size."""
    size = 12 if request.param == "lenet" else 4
    images = torch.rand(5, 1, size, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    if request.param == "lenet":
        return lenet(classes=4, size=size).double().eval(), images
    return nn.Sequential(
        nn.Flatten(), layer(16, 8), {"relu": nn.ReLU(), "tanh": nn.Tanh()}[request.param], layer(8, 4, seed=1)
    ), images


def forwards(model):
    """What each score is to Captum."""
    return {"logit": model, "probability": nn.Sequential(model, nn.Softmax(1))}


def same(maps, reading, score, attributions):
    found, wanted = maps[f"{reading}.{score}.true"], attributions[:, 0].detach().float()
    assert wanted.abs().max() > 1e-4  # so that two maps of nothing are not the same
    return torch.allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("score", readings.SCORES)
@pytest.mark.parametrize("steps", [5, 32])
def test_r8_is_integrated_gradients(case, score, steps):
    model, images = case
    maps = readings.integrated_gradients(model, images, {"true": LABELS}, steps=steps)
    theirs = captum.IntegratedGradients(forwards(model)[score]).attribute(
        images, baselines=0.0, target=LABELS, n_steps=steps, method="riemann_middle"
    )
    assert same(maps, "R8", score, theirs)


@pytest.mark.parametrize("score", readings.SCORES)
def test_r3b_is_occlusion_of_one_pixel_by_black(case, score):
    model, images = case
    maps = readings.individual(
        model, images, {"true": LABELS}, alphas=torch.linspace(0, 1, 3), fill=images.mean(0)
    )
    theirs = captum.Occlusion(forwards(model)[score]).attribute(
        images, sliding_window_shapes=(1, 1, 1), baselines=0.0, target=LABELS
    )
    assert same(maps, "R3b", score, theirs)


@pytest.mark.parametrize("score", readings.SCORES)
def test_r12_is_occlusion_of_blocks_by_the_mean(case, score):
    model, images = case
    fill = images.mean(0)
    maps = readings.by_blocks(model, images, {"true": LABELS}, fill=fill, size=2)
    theirs = captum.Occlusion(forwards(model)[score]).attribute(
        images,
        sliding_window_shapes=(1, 2, 2),
        strides=(1, 2, 2),
        baselines=fill[None].expand_as(images),
        target=LABELS,
    )
    assert torch.equal(theirs[..., ::2, ::2], theirs[..., 1::2, 1::2])  # one number a block
    assert same(maps, "R12x2", score, theirs[..., ::2, ::2])


@pytest.mark.parametrize("score", readings.SCORES)
def test_r7x_is_the_input_times_its_gradient(case, score):
    model, images = case
    theirs = captum.InputXGradient(forwards(model)[score]).attribute(
        images.clone().requires_grad_(), target=LABELS
    )
    assert same(readings.gradients(model, images, {"true": LABELS}), "R7x", score, theirs)
