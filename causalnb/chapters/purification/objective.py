"""The training losses of a causal diffusion model: noise error, KL, cross-entropy, and CLUB between S and Z.

The page states the objective in words (CIB Objective); these four bounds stand for its terms:

    L = L_eps + gamma CE(y, head(s)) + beta KL(q(s, z|x) || N(0, I)) + eta I_CLUB(S; Z).

The released loss has two stages: pre-training, L_eps and KL alone, then all four terms.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from causalnb.chapters.purification import bottleneck, diffusion
from causalnb.chapters.purification.network import Averaged

DROPPED = 0.1  # how often an image's latents are dropped in training


@dataclass(frozen=True)
class Weights:
    """Of the terms, and two changes of the objective that stand as controls.

    beta_s beta_z   of the KL of each block, a dimension
    gamma eta       of cross-entropy and of CLUB; gamma = 0 and eta = 0 are pre-training
    free            nats a dimension that the KL of z may have for nothing
    starved         whether the noise error teaches s nothing
    reversed        weight of a label head on z whose gradient is turned round, so that z unlearns the label
    warm_up         epochs in which beta rises to its value
    """

    beta_s: float = 1e-3
    beta_z: float = 1e-3
    gamma: float = 0.1
    eta: float = 1e-3
    free: float = 0.0
    starved: bool = False
    reversed: float = 0.0
    warm_up: int = 0

    def pre_training(self) -> "Weights":
        """The first stage: noise error and KL alone."""
        return Weights(self.beta_s, self.beta_z, 0.0, 0.0, self.free, self.starved, 0.0, self.warm_up)


# CLUB ----------------------------------------------------------------------------------------------------


class Conditional(nn.Module):
    """q(s|z), a diagonal Gaussian: two small networks give its mean and its log-variance, which a tanh holds
    between -1 and 1.
    """

    def __init__(self, s: int, z: int, hidden: int = 64) -> None:
        """Numbers of s and z."""
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, s))
        self.log_variance = nn.Sequential(nn.Linear(z, hidden), nn.ReLU(), nn.Linear(hidden, s), nn.Tanh())

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of s, [n, s] each."""
        return self.mean(z), self.log_variance(z)


def log_likelihood(s: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log q(s|z) of each pair but for its constant: [n]."""
    return -((s - mean).square() / log_variance.exp() + log_variance).sum(1) / 2


def club(s: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """CLUB (Cheng et al. 2020, Eq. 8): the mean of log q(s_i|z_i) less that of log q(s_j|z_i) over all j.

    An upper bound of I(S; Z) where q is near enough the true conditional, and nothing where it is not.

    >>> s = torch.tensor([[1.0], [-1.0]])
    >>> float(club(s, s, torch.zeros(2, 1))), float(club(s, 0 * s, torch.zeros(2, 1)))
    (1.0, 0.0)
    """
    return club_parts(s, mean, log_variance).mean()


def club_parts(s: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """What each pair adds to CLUB, [n], whose mean it is."""
    spread = s.var(0, correction=0) + (s.mean(0) - mean).square()  # mean over j of (s_j - mean_i)^2
    return ((spread - (s - mean).square()) / log_variance.exp()).sum(1) / 2


class Follower(nn.Module):
    """A conditional that follows the latents: a few steps of an Adam of its own at every call, whose state
    stays from call to call.
    """

    first: Tensor
    second: Tensor
    count: Tensor

    def __init__(self, s: int, z: int, *, rate: float = 1e-3, steps: int = 2) -> None:
        """`steps` at each call."""
        super().__init__()
        self.conditional = Conditional(s, z).requires_grad_(False)
        size = sum(values.numel() for values in self.conditional.parameters())
        self.rate, self.steps = rate, steps
        self.register_buffer("first", torch.zeros(size))
        self.register_buffer("second", torch.zeros(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def learn(self, s: Tensor, z: Tensor) -> None:
        """Make s likelier given z, both detached."""
        s, z = s.detach(), z.detach()
        for _ in range(self.steps):
            own = {name: one.detach().requires_grad_() for name, one in self.conditional.named_parameters()}
            with torch.enable_grad():
                loss = -log_likelihood(s, *functional_call(self.conditional, own, (z,))).mean()
                slopes = torch.autograd.grad(loss, list(own.values()))
            self._step(torch.cat([slope.flatten() for slope in slopes]))

    def estimate(self, s: Tensor, z: Tensor) -> Tensor:
        """CLUB of the latents, whose gradient reaches them and not the conditional."""
        return club(s, *self.conditional(z))

    @torch.no_grad()
    def _step(self, slope: Tensor) -> None:
        self.count += 1
        self.first.lerp_(slope, 0.1)
        self.second.lerp_(slope.square(), 0.001)
        ahead = (self.first / (1 - 0.9**self.count)) / ((self.second / (1 - 0.999**self.count)).sqrt() + 1e-8)
        sizes = [one.numel() for one in self.conditional.parameters()]
        for one, change in zip(self.conditional.parameters(), ahead.split(sizes), strict=True):
            one.sub_(self.rate * change.view_as(one))


# The loss ------------------------------------------------------------------------------------------------


class CausalLoss(nn.Module):
    """The loss of a stage, as `training.fit` wants it: of a model, images in [0, 1], and labels."""

    beta: Tensor

    def __init__(self, weights: Weights, *, s: int, z: int, classes: int) -> None:
        """Numbers of latents and classes."""
        super().__init__()
        self.weights = weights
        self.__qualname__ = f"CausalLoss({weights}, {s}, {z}, {classes})"  # carried weights know it by this
        self.follower = Follower(s, z)
        self.unlearnt = nn.Linear(z, classes) if weights.reversed else None
        self.register_buffer("beta", torch.tensor(0.0 if weights.warm_up else 1.0))

    def begin_epoch(self, epoch: int) -> None:
        """Raise beta, epoch by epoch from the first."""
        self.beta.fill_(min(1.0, (epoch + 1) / self.weights.warm_up) if self.weights.warm_up else 1.0)

    def forward(self, model: Averaged, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch; the model's average follows."""
        terms, w = self.terms(model, images, labels), self.weights
        model.follow()
        total = terms["noise"] + self.beta * (w.beta_s * terms["kl_s"] + w.beta_z * terms["kl_z"])
        total = total + w.gamma * terms["label"] + w.eta * terms["club"]
        return total + terms["unlearnt"] if "unlearnt" in terms else total

    def terms(self, model: Averaged, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Each term of a batch, unweighted; the KL of a block in nats by all latents, as one weight counts
        it. CLUB's conditional learns first.
        """
        w, own = self.weights, model.model
        x = 2 * images - 1
        mean, log_variance = own.posterior(x)
        latents = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        s, z = latents.split([own.s, own.z], dim=1)
        shown = torch.cat([s.detach(), z], 1) if w.starved else latents
        kept = (torch.rand(len(x), 1, device=x.device) >= DROPPED).to(x.dtype)
        t = torch.randint(diffusion.STEPS, (len(x),), device=x.device)
        kl = bottleneck.kl(mean, log_variance).mean(0)
        kl_s, kl_z = kl.split([own.s, own.z])
        found = {
            "noise": diffusion.noise_error(own.noise, x, t, torch.randn_like(x), kept * shown).mean(),
            "kl_s": kl_s.sum() / len(kl),
            "kl_z": kl_z.clamp_min(w.free).sum() / len(kl),
            "label": x.new_zeros(()),
            "club": x.new_zeros(()),
        }
        if w.gamma:
            found["label"] = nn.functional.cross_entropy(own.head(s), labels)
        if w.eta:
            self.follower.learn(s, z)
            found["club"] = self.follower.estimate(s, z)
        if self.unlearnt is not None:
            found["unlearnt"] = nn.functional.cross_entropy(self.unlearnt(turned(z, w.reversed)), labels)
        return found


class _Turned(torch.autograd.Function):
    """The identity, whose gradient is turned round and weighed (Ganin & Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor, weight: float) -> Tensor:
        ctx.weight = weight  # type: ignore[attr-defined]
        return values.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None  # type: ignore[attr-defined]


def turned(values: Tensor, weight: float) -> Tensor:
    """The values; what is learnt from them is unlearnt by whoever made them, `weight` times as fast."""
    result: Tensor = _Turned.apply(values, weight)
    return result
