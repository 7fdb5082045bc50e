"""Our toy for the pilot claims: points on two arcs, four models after the graphs of figures_17_1, attacked.
The page does not describe its own toy data.

A point is (0.5, 0.25) + r (cos angle, sin angle) and noise: which arc, r = 0.2 or 0.4, causes the label; the
angle, between 0 and pi, is style. Points [n, 2] lie in the unit square, so that the house's attacks take them
as they take images.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalnb.attacks.adversarial import ascend
from causalnb.chapters.purification.bottleneck import kl
from causalnb.chapters.purification.objective import Follower
from causalnb.models.seeding import drawn

Norm = Literal["l2", "linf"]
MODELS = {
    "discriminative": "discriminative",
    "generative": "generative",
    "causal": "causal, one latent",
    "causaldiff": "causal, S and Z",
}
OURS = "causaldiff"
CENTRE, RADII, SPREAD = (0.5, 0.25), (0.2, 0.4), 0.015
BATCH, RATE, HIDDEN = 128, 3e-3, 32
BETA, GAMMA, ETA = 3e-3, 1.0, 1e-2
TRAINING, ATTACKED = 2000, 500  # steps of a training, points attacked
PGD_STEPS = 100  # as figures_2_1 says
NORMS: tuple[Norm, ...] = ("l2", "linf")
GRID = tuple(round(0.02 * k, 2) for k in range(1, 9))  # budgets; half of the gap between the arcs is 0.1


def points(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Points [n, 2] and labels [n], both arcs alike.

    >>> x, y = points(4, seed=0)
    >>> x.shape, y.tolist()
    (torch.Size([4, 2]), [0, 1, 0, 1])
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    angle = torch.pi * torch.rand(n, generator=g)
    around = torch.stack([angle.cos(), angle.sin()], 1)
    noise = SPREAD * torch.randn(n, 2, generator=g)
    return (torch.tensor(CENTRE) + torch.tensor(RADII)[labels, None] * around + noise).clamp(0, 1), labels


class Toy(nn.Module):
    """Two latents of a point, and logits, after one of the four graphs.

    discriminative  X to V to Y: cross-entropy alone
    generative      V to X, X to Y: an autoencoder of X that sees no label, a classifier of what it makes of X
    causal          V to X, V to Y: one block of two latents for both
    causaldiff      S to X, Z to X, S to Y: one latent each, the label from S alone
    """

    def __init__(self, kind: str) -> None:
        """`kind` is one of `MODELS`."""
        super().__init__()
        self.kind = kind
        self.encoder, self.decoder = _layers(2, 4), _layers(2, 2)
        self.head = _layers({"generative": 2, OURS: 1}.get(kind, 2), 2)
        self.follower = Follower(1, 1, steps=1)

    def latents(self, x: Tensor) -> Tensor:
        """Their means [n, 2], S first."""
        return self.encoder(_wide(x))[:, :2]

    def read(self, latents: Tensor) -> Tensor:
        """Logits [n, 2] from latents."""
        if self.kind == "generative":
            return self.head(self.decoder(latents))
        return self.head(latents[:, :1] if self.kind == OURS else latents)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, 2]."""
        return self.read(self.latents(x))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean over a batch; a Gaussian decoder stands for the diffusion model."""
        x = _wide(x)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        log_variance = log_variance.clamp(-8, 2)
        if self.kind == "discriminative":
            return nn.functional.cross_entropy(self.read(mean), y)
        latents = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        made = self.decoder(latents)
        total = (made - x).square().sum(1).mean() + BETA * kl(mean, log_variance).sum(1).mean()
        if self.kind == "generative":
            return total + GAMMA * nn.functional.cross_entropy(self.head(made.detach()), y)
        total = total + GAMMA * nn.functional.cross_entropy(self.read(latents), y)
        if self.kind == OURS:
            s, z = latents.split(1, dim=1)
            self.follower.learn(s, z)
            total = total + ETA * self.follower.estimate(s, z)
        return total


def _wide(x: Tensor) -> Tensor:
    """Points of the unit square, of mean near 0 and variance near 1."""
    return 4 * (x - 0.5)


def _layers(fan_in: int, fan_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(fan_in, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, fan_out)
    )


def trained(kind: str, *, steps: int, seed: int) -> Toy:
    """A model after some steps of Adam on fresh points."""
    model = drawn(seed, lambda: Toy(kind))
    optimiser = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for step in range(steps):
            optimiser.zero_grad()
            model.loss(*points(BATCH, seed=1000 * seed + step)).backward()
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)


# Attacked -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attacked:
    """What PGD does to a model's points, by budget [budgets, n].

    stands     whether it is still right
    latent     how far the latents move, in units of their spread over points
    answer     how far the probability of the label moves
    """

    stands: Tensor
    latent: Tensor
    answer: Tensor

    @property
    def margin(self) -> Tensor:
        """The least budget of the grid that flips each point [n]; beyond the grid, one step more; 0 where it
        was wrong unattacked.
        """
        held = self.stands.cumprod(0).sum(0)
        return torch.tensor([0.0, *GRID, GRID[-1] + GRID[0]])[held]


def attacked(model: Toy, x: Tensor, y: Tensor, norm: Norm, *, steps: int) -> Attacked:
    """By PGD at no budget and at each of `GRID`, from the points themselves."""
    with torch.no_grad():
        before, chance = model.latents(x), _of_label(model, x, y)
        spread = before.std(0).clamp_min(1e-6)
    found: dict[str, list[Tensor]] = {"stands": [], "latent": [], "answer": []}
    for eps in (0.0, *GRID):
        asked: dict[str, Any] = {"norm": norm, "eps": eps, "step": 2.5 * eps / steps, "steps": steps}
        moved = ascend(model, x, y, start=x, seed=0, **asked) if eps else x
        with torch.no_grad():
            found["stands"].append(model(moved).argmax(1) == y)
            found["latent"].append(((model.latents(moved) - before) / spread).norm(dim=1))
            found["answer"].append((chance - _of_label(model, moved, y)).abs())
    return Attacked(**{name: torch.stack(each) for name, each in found.items()})


def _of_label(model: Toy, x: Tensor, y: Tensor) -> Tensor:
    return model(x).softmax(1).gather(1, y[:, None])[:, 0]
