"""A small causal diffusion model: an encoder of the latents S and Z, a network that predicts noise given
them, and a head that reads the label off S alone.

Images in [-1, 1], [n, channels, side, side], their side a multiple of 4; latents c = (s, z) [n, d]. As in the
released code both latents scale and shift the features of every block, and are dropped together in training,
which gives the unconditional model that purifies. Ours is a hundredth of its size: pixels are unshuffled by
2, so that all convolutions run on a quarter of the places.
"""

import copy
import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.models.seeding import drawn

LEAST, MOST = -8.0, 4.0  # of a log-variance


class CausalDiffusion(nn.Module):
    """q(s, z|x), the noise predictor eps(x_t, t, s, z), and the head p(y|s).

    >>> model = causal_diffusion(classes=4, size=28)
    >>> sum(p.numel() for p in model.unet.parameters()), sum(p.numel() for p in model.parameters())
    (447588, 626808)
    """

    def __init__(self, *, classes: int, channels: int, size: int, s: int, z: int, width: int = 32) -> None:
        """`size` is the side of an image, `s` and `z` the numbers of latents, `width` the channels of the
        finest features.
        """
        super().__init__()
        self.s, self.z, self.shape = s, z, (channels, size, size)
        self.unet = UNet(channels, s + z, width)
        self.encoder = _encoder(channels, size, 2 * (s + z), width)
        self.head = nn.Sequential(nn.Linear(s, 64), nn.SiLU(), nn.Linear(64, classes))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(s, z|x), [n, s + z] each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance.clamp(LEAST, MOST)

    def encode(self, images: Tensor) -> Tensor:
        """The means of the latents [n, s + z]."""
        return self.posterior(images)[0]

    def noise(self, noisy: Tensor, t: Tensor, latents: Tensor | None = None) -> Tensor:
        """The noise in x_t at times t [n]; without latents, of any image."""
        if latents is None:
            latents = noisy.new_zeros(len(noisy), self.s + self.z)
        return self.unet(noisy, t, latents)

    def classify(self, latents: Tensor) -> Tensor:
        """Logits [n, classes] from s, the first latents."""
        return self.head(latents[:, : self.s])

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images in [0, 1] by the encoder and its head alone: the model undefended."""
        return self.classify(self.encode(2 * images - 1))


def causal_diffusion(
    *,
    classes: int = 4,
    channels: int = 1,
    size: int = 16,
    s: int = 8,
    z: int = 8,
    width: int = 32,
    seed: int = 0,
) -> CausalDiffusion:
    """A causal diffusion model with first weights from a seed; `width` is a multiple of 16."""
    if size % 4 or size < 8:
        raise UserError(
            f"A causal diffusion model cannot take images of {size} x {size} pixels: it halves them twice, "
            "so choose a set whose side is a multiple of 4, 8 or more."
        )
    return drawn(
        seed,
        lambda: CausalDiffusion(classes=classes, channels=channels, size=size, s=s, z=z, width=width),
    )


class UNet(nn.Module):
    """Five residual blocks on two scales around one skip each."""

    def __init__(self, channels: int, latents: int, width: int) -> None:
        """`latents` is how many numbers condition it."""
        super().__init__()
        self.waves, hidden = 2 * width, 3 * width
        self.time = nn.Sequential(nn.Linear(2 * width, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.latent = nn.Sequential(nn.Linear(latents, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.first = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.fine = Block(width, width, hidden)
        self.halve = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.coarse = Block(width, 2 * width, hidden)
        self.middle = Block(2 * width, 2 * width, hidden)
        self.back = Block(4 * width, 2 * width, hidden)
        self.up = Block(3 * width, width, hidden)
        last = zeroed(nn.Conv2d(width, 4 * channels, 3, padding=1))
        self.last = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), last)

    def forward(self, images: Tensor, t: Tensor, latents: Tensor) -> Tensor:
        """The predicted noise, of the images' shape."""
        time, latent = self.time(waves(t, self.waves).to(images.dtype)), self.latent(latents)
        fine = self.fine(self.first(nn.functional.pixel_unshuffle(images, 2)), time, latent)
        coarse = self.coarse(self.halve(fine), time, latent)
        back = self.back(torch.cat([self.middle(coarse, time, latent), coarse], 1), time, latent)
        wide = nn.functional.interpolate(back, size=fine.shape[2:])
        return nn.functional.pixel_shuffle(self.last(self.up(torch.cat([wide, fine], 1), time, latent)), 2)


class Block(nn.Module):
    """Two convolutions and a way past them; between them time and latents scale and shift the features:
    (h (1 + a_t) + b_t) (1 + p_c) + q_c.
    """

    def __init__(self, fan_in: int, fan_out: int, hidden: int) -> None:
        """Channels in and out, and how many numbers tell time and latents."""
        super().__init__()
        self.before = nn.Sequential(
            nn.GroupNorm(8, fan_in), nn.SiLU(), nn.Conv2d(fan_in, fan_out, 3, padding=1)
        )
        self.norm = nn.GroupNorm(8, fan_out)
        self.by_time, self.by_latent = nn.Linear(hidden, 2 * fan_out), nn.Linear(hidden, 2 * fan_out)
        self.after = zeroed(nn.Conv2d(fan_out, fan_out, 3, padding=1))
        self.past = nn.Identity() if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1)

    def forward(self, x: Tensor, time: Tensor, latent: Tensor) -> Tensor:
        """Features [n, fan_out, height, width]."""
        h = self.norm(self.before(x))
        for change in (self.by_time(time), self.by_latent(latent)):
            scale, shift = change[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.past(x) + self.after(nn.functional.silu(h))


def waves(t: Tensor, n: int) -> Tensor:
    """Times [times] as n sines and cosines of wavelengths from 2 pi to 20,000 pi: [times, n] float64."""
    half = torch.arange(n // 2, device=t.device, dtype=torch.float64)
    angles = t.double()[:, None] * torch.exp(-math.log(10_000) * half / len(half))
    return torch.cat([angles.sin(), angles.cos()], 1)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights 0, so that a block begins as the identity."""
    for values in layer.parameters():
        nn.init.zeros_(values)
    return layer


def _encoder(channels: int, size: int, outputs: int, width: int) -> nn.Sequential:
    side, wider = math.ceil(math.ceil(size / 4) / 2), 3 * width // 2
    layers = OrderedDict[str, nn.Module](
        unshuffle=nn.PixelUnshuffle(2),
        conv1=nn.Conv2d(4 * channels, width, 3, padding=1),
        norm1=nn.GroupNorm(8, width),
        silu1=nn.SiLU(),
        conv2=nn.Conv2d(width, wider, 3, stride=2, padding=1),
        norm2=nn.GroupNorm(8, wider),
        silu2=nn.SiLU(),
        conv3=nn.Conv2d(wider, 2 * width, 3, stride=2, padding=1),
        norm3=nn.GroupNorm(8, 2 * width),
        silu3=nn.SiLU(),
        flat=nn.Flatten(),
        fc1=nn.Linear(2 * width * side**2, 128),
        silu4=nn.SiLU(),
        fc2=nn.Linear(128, outputs),
    )
    return nn.Sequential(layers)


class Averaged(nn.Module):
    """A model that is trained, and the moving average of its weights, which is what evaluates.

    Whoever trains calls `follow` once a step. The average starts to move at once and slows down to `share`:
    the weight of what was is min(share, (1 + step) / (10 + step)).
    """

    steps: Tensor

    def __init__(self, model: CausalDiffusion, share: float = 0.998) -> None:
        """The average begins with the model's weights."""
        super().__init__()
        self.model, self.share = model, share
        self.average: CausalDiffusion = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the weights."""
        step = int(self.steps)
        share = min(self.share, (1 + step) / (10 + step))
        for mean, one in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(one, 1 - share)
        self.steps += 1

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images in [0, 1]: of the weights in training, else of their average."""
        return (self.model if self.training else self.average)(images)
