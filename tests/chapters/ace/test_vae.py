import math

import pytest
import torch
from torch import nn

from causalnb.chapters.ace import vae
from causalnb.chapters.ace.networks import Latents


def still(model, mean=0.0, log_variance=0.0):
    """A model whose encoder gives this mean and log-variance to every image."""
    last = model.encoder[-1]
    last.weight.data.zero_()
    last.bias.data = torch.tensor([mean] * model.latents + [log_variance] * model.latents)
    return model


def test_the_layers_are_those_of_the_public_model():
    model = vae.beta_vae()
    assert [layer.out_features for layer in model.encoder if isinstance(layer, nn.Linear)] == [
        512,
        256,
        128,
        20,
    ]
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [
        128,
        256,
        512,
        784,
    ]
    assert (model.encoder[0].in_features, model.decoder[0].in_features) == (794, 20)
    assert not isinstance(model.encoder[-1], nn.ReLU)


def test_a_seed_gives_the_weights_and_touches_no_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = vae.beta_vae(seed=1), vae.beta_vae(seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, 0.0), (-0.5, math.log(0.25))])
def test_kl_is_the_closed_form(mean, log_variance):
    model = still(vae.beta_vae(), mean, log_variance)
    expected = (mean**2 + math.exp(log_variance) - 1 - log_variance) / 2
    found = vae.latent_kl(model, torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 2]))
    assert found.tolist() == pytest.approx([expected] * 10, abs=1e-6)
    assert Latents(10.0, 0, found, (0, 0), torch.empty(0)).active == (0 if expected == 0 else 10)


def test_a_latent_is_active_above_a_hundredth_of_a_nat():
    assert vae.ACTIVE == 0.01
    assert Latents(10.0, 0, torch.tensor([0.0, 0.0099, 0.0101, 2.0]), (0, 0), torch.empty(0)).active == 2


def test_the_loss_is_reconstruction_plus_beta_times_kl():
    model = still(vae.beta_vae(), 1.0, 0.0)
    last = model.decoder[-1]
    last.weight.data.zero_()
    last.bias.data.zero_()  # every pixel 1/2: log 2 nats each
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([0, 1, 2, 3])
    for beta in (0.0, 1.0, 10.0):
        assert vae.elbo_loss(model, images, labels, beta=beta).item() == pytest.approx(
            784 * math.log(2) + beta * 10 * 0.5, rel=1e-5
        )


def test_samples_are_images_of_their_seed():
    model, labels = vae.beta_vae(classes=4, size=8), torch.tensor([0, 1, 2])
    first = vae.sample(model, labels, seed=0)
    assert first.shape == (3, 1, 8, 8) and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, vae.sample(model, labels, seed=0)) and not torch.equal(
        first, vae.sample(model, labels, seed=1)
    )


def test_decoder_maps_are_the_class_less_the_other_classes_by_frequency():
    model, frequencies = vae.beta_vae(classes=3, size=4, seed=2).double(), torch.tensor([5, 2, 3])
    z = torch.randn(500, 10, generator=torch.Generator().manual_seed(7)).double()
    with torch.no_grad():
        means = [model.decode(z, torch.full((500,), c)).sigmoid().mean((0, 1)) for c in range(3)]
    maps = vae.decoder_maps(model, frequencies=frequencies, n=500, seed=7)
    assert torch.allclose(maps[0], means[0] - (0.2 * means[1] + 0.3 * means[2]) / 0.5)
    assert torch.allclose(maps[1], means[1] - (0.5 * means[0] + 0.3 * means[2]) / 0.8)
    equal = vae.decoder_maps(model, n=500, seed=7)
    assert equal.sum(0).abs().max() < 1e-12


def test_a_decoder_deaf_to_the_label_has_no_effects():
    model = vae.beta_vae(classes=3, size=4)
    model.decoder[0].weight.data[:, model.latents :] = 0
    assert vae.decoder_maps(model, n=50).abs().max() < 1e-12


def test_the_loss_learns_the_class_means():
    """Two classes, one bright at the left and one at the right: R6 finds the halves."""
    labels = torch.arange(64) % 2
    images = torch.zeros(64, 1, 4, 4)
    images[labels == 0, :, :, :2], images[labels == 1, :, :, 2:] = 0.9, 0.9
    model, loss = vae.beta_vae(classes=2, size=4), vae.elbo_loss
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(150):
            optimiser.zero_grad()
            loss(model, images, labels).backward()
            optimiser.step()
    maps = vae.decoder_maps(model, n=100)
    assert maps[0, :, :2].min() > 0.5 and maps[0, :, 2:].max() < -0.5
    assert torch.allclose(maps[0], -maps[1])
