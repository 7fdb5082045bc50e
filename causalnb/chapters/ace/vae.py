"""A conditional beta-VAE (Higgins et al. 2016; Guo et al. 2024, III-B3) and the effect of its label on each
pixel.

The sizes are those of Chattopadhyay et al. 2019: encoder image + label - 512 - 256 - 128 - 2 x 10, decoder 10
+ label - 128 - 256 - 512 - image. Their auxiliary classifier sees the label itself and is left out.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVE = 0.01  # nats: a latent that carries more is active


class BetaVAE(nn.Module):
    """Encoder and decoder that both see the label; pixels are Bernoulli. Grey images of one size."""

    def __init__(self, *, classes: int, size: int, latents: int) -> None:
        """Images of size x size pixels, `latents` numbers in z."""
        super().__init__()
        self.classes, self.size, self.latents = classes, size, latents
        self.encoder = _layers(size * size + classes, 512, 256, 128, 2 * latents)
        self.decoder = _layers(latents + classes, 128, 256, 512, size * size)

    def encode(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z given images [n, 1, size, size] and labels [n]: each [n, latents]."""
        mean, log_variance = self.encoder(torch.cat([images.flatten(1), self._one_hot(labels)], 1)).chunk(
            2, 1
        )
        return mean, log_variance

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        """Logits of the pixels, [n, 1, size, size]."""
        pixels: Tensor = self.decoder(torch.cat([z, self._one_hot(labels)], 1))
        return pixels.view(-1, 1, self.size, self.size)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Pixel intensities at the mean of z: a reconstruction."""
        return self.decode(self.encode(images, labels)[0], labels).sigmoid()

    def _one_hot(self, labels: Tensor) -> Tensor:
        return F.one_hot(labels, self.classes).to(next(self.parameters()))


def beta_vae(*, classes: int = 10, size: int = 28, latents: int = 10, seed: int = 0) -> BetaVAE:
    """An untrained beta-VAE with torch's default initial weights, drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BetaVAE(classes=classes, size=size, latents=latents)


def _layers(*widths: int) -> nn.Sequential:
    pairs = [(nn.Linear(a, b), nn.ReLU()) for a, b in zip(widths, widths[1:], strict=False)]
    return nn.Sequential(*[layer for pair in pairs for layer in pair][:-1])


def elbo_loss(model: Any, images: Tensor, labels: Tensor, *, beta: float = 10.0) -> Tensor:
    """The loss of `training.fit`: reconstruction plus beta times KL, nats an image; z by torch's generator,
    which `fit` seeds.
    """
    mean, log_variance = model.encode(images, labels)
    z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
    reconstruction = F.binary_cross_entropy_with_logits(model.decode(z, labels), images, reduction="sum")
    return (reconstruction + beta * _kl(mean, log_variance).sum()) / len(images)


def _kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, variance) from N(0, 1), for each latent."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


@torch.no_grad()
def latent_kl(model: BetaVAE, images: Tensor, labels: Tensor) -> Tensor:
    """Nats that each latent carries, the mean of its KL over the images: [latents]."""
    return _kl(*model.encode(images, labels)).mean(0)


@torch.no_grad()
def sample(model: BetaVAE, labels: Tensor, *, seed: int) -> Tensor:
    """Images [n, 1, size, size] in [0, 1] of the labels: pixel intensities at z drawn from N(0, 1)."""
    return model.decode(_draw(model, len(labels), seed), labels).sigmoid()


@torch.no_grad()
def decoder_maps(
    model: BetaVAE, *, frequencies: Tensor | None = None, n: int = 1000, seed: int = 0
) -> Tensor:
    """R6: E_z[g(z, c)] less the same with the label drawn from the other classes; [classes, size, size].

    The cause is the decoder's label unit and the effect a pixel (Chattopadhyay 2019), not the other way
    round. All classes share the draws of z.

    frequencies   [classes], of the labels, as counts or shares; equal by default
    n             draws of z
    """
    z = _draw(model, n, seed)
    means = torch.stack(
        [
            model.decode(z, z.new_full((n,), c, dtype=torch.long)).sigmoid().double().mean((0, 1))
            for c in range(model.classes)
        ]
    )
    weights = (torch.ones(model.classes) if frequencies is None else frequencies).to(means)[:, None, None]
    weights = weights / weights.sum()
    return means - ((weights * means).sum(0) - weights * means) / (1 - weights)


def _draw(model: BetaVAE, n: int, seed: int) -> Tensor:
    z = torch.randn(n, model.latents, generator=torch.Generator().manual_seed(seed))
    return z.to(next(model.parameters()))
