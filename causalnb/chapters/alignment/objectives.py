"""What is minimised in each training of the chapter: losses that attack inside, for the one `training.fit`.

An attacked image sees the model in evaluation mode, the losses see it as it trains. Every objective takes one
number a batch from the global generator, the seed of its paths, and does so first: two that differ in the
loss alone train against the same starts. None makes a forward pass that its loss does not need.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from causalnb.attacks.adversarial import ascend, drawn_seed, near
from causalnb.attacks.watch import preserved_state
from causalnb.chapters.alignment import losses, style
from causalnb.chapters.alignment.heads import LinearHead, ReleasedHead, head, last_layer, read, tapped
from causalnb.training import mode, predict

Base = Literal["madry", "trades", "trades-printed"]
Seen = Literal["M", "I", "all", "content", "random"]


@dataclass(frozen=True)
class Ball:
    """The attack that a training runs: PGD within `eps`, pixel units."""

    eps: float
    step: float
    steps: int
    norm: str = "linf"

    def end(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        seed: int,
        objective: Callable[[Tensor], Tensor] | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Where the paths of a batch end."""
        return ascend(
            model,
            images,
            labels,
            norm=self.norm,
            eps=self.eps,
            step=self.step,
            steps=self.steps,
            seed=seed,
            objective=objective,
            start=start,
        )

    def away(self, model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """TRADES' paths: away from the clean prediction, from near the image."""
        clean = predict(model, images)
        return self.end(model, images, labels, seed, _from(clean), near(images, seed=seed))


def _from(clean: Tensor) -> Callable[[Tensor], Tensor]:
    """KL of the clean prediction from that of other logits, [n]."""
    known = log_softmax(clean, 1)
    return lambda logits: kl_div(log_softmax(logits, 1), known, reduction="none", log_target=True).sum(1)


@dataclass(frozen=True)
class HalfHalf:
    """Attacked images and `weight` times clean ones: the t1 + t2 with hard labels that Table 7 lacks."""

    ball: Ball
    weight: float = 1.0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        ends = self.ball.end(model, images, labels, drawn_seed())
        return losses.half_half(model(images), model(ends), labels, weight=self.weight)


@dataclass(frozen=True)
class Trades:
    """TRADES (Zhang et al. 2019) as released, or as its paper prints it."""

    ball: Ball
    beta: float = 6.0
    printed: bool = False

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        ends = self.ball.away(model, images, labels, drawn_seed())
        return losses.trades(model(images), model(ends), labels, beta=self.beta, printed=self.printed)


@dataclass(frozen=True)
class Mart:
    """MART (Wang et al. 2020)."""

    ball: Ball
    beta: float = 5.0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        ends = self.ball.end(model, images, labels, drawn_seed())
        return losses.mart(model(images), model(ends), labels, beta=self.beta)


class CausalAdv(nn.Module):
    """Eq. (11) as the text has it: h and g minimise one sum.

    base      madry: CE on attacked images (M). trades-printed: CE(h(x), y) + trade CE(h(x_adv), h(x)), the
              target live (T: TRADES' paper scales so, gamma = 1 / trade divides it). trades: with KL
    weight    lambda; with 0 no style term and no forward pass for one
    beta      of the style term on clean images; attacked: of that on attacked ones (1 in the paper)
    sigma     of Eq. (10), for a linear g; not given in the paper
    seen      what the style head sees of r: M, the complement of the logits by the running covariance of r
              (Lemma 1); I, that by the identity. Controls: all; content, the span of W_c itself; random, a
              subspace of the rank that M leaves, drawn once
    kind      of g: linear or nonlinear
    permuted  control: the style head is fitted to labels permuted in the batch
    cut       control: no gradient of the style term reaches r, so that h trains as without it

    Buffers: M, and how many batches were seen. g's parameters train with the model's.
    """

    batches: Tensor
    subspace: Tensor

    def __init__(
        self,
        model: nn.Module,
        ball: Ball,
        *,
        base: Base = "madry",
        weight: float = 1.0,
        trade: float = 6.0,
        beta: float = 1.0,
        attacked: float = 1.0,
        sigma: float = 0.0,
        seen: Seen = "M",
        kind: Literal["linear", "nonlinear"] = "linear",
        permuted: bool = False,
        cut: bool = False,
        seed: int = 0,
    ) -> None:
        """`model` says how long r and the logits are; g's first weights and the random subspace come from
        `seed`.
        """
        super().__init__()
        if sigma and kind != "linear":
            raise ValueError("sigma enters by Eq. (10), which needs a linear g")
        last = last_layer(model)
        d, classes = last.in_features, last.out_features
        self.ball, self.base, self.weight, self.trade = ball, base, weight, trade
        self.beta, self.attacked, self.sigma, self.seen = beta, attacked, sigma, seen
        self.permuted, self.cut = permuted, cut
        self.g = head(kind, d, classes, seed=seed)
        self.covariance = style.Covariance(d)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        rank = max(d - min(classes, d), 1)
        self.register_buffer("subspace", style.random_directions(d, rank, seed=seed), persistent=False)

    def forward(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        seed = drawn_seed()
        if self.base == "madry":
            ends = self.ball.end(model, images, labels, seed)
        else:
            ends = self.ball.away(model, images, labels, seed)
        self.batches += 1
        if not self.weight and self.base == "madry":
            return cross_entropy(model(ends), labels)
        r, z = read(model, images)
        r_adv, z_adv = read(model, ends)
        own = cross_entropy(z_adv, labels) if self.base == "madry" else self._traded(z, z_adv, labels)
        return own + self.weight * self._style(model, r, r_adv, labels) if self.weight else own

    def _traded(self, z: Tensor, z_adv: Tensor, labels: Tensor) -> Tensor:
        printed = self.base == "trades-printed"
        return losses.trades(z, z_adv, labels, beta=self.trade, printed=printed)

    def _style(self, model: nn.Module, r: Tensor, r_adv: Tensor, labels: Tensor) -> Tensor:
        """The style term of a batch, once its clean representations are taken into M."""
        if self.seen == "M":
            self.covariance.update(r)
        if self.cut:
            r, r_adv = r.detach(), r_adv.detach()
        if self.permuted:
            labels = labels[torch.randperm(len(labels), device=labels.device)]
        basis, part = self.part(model)
        s, s_adv = self.g(part(r, basis)), self.g(part(r_adv, basis))
        if self.sigma and isinstance(self.g, LinearHead):
            noisy = part(self.g.weight, basis)
            s, s_adv = (losses.corrected(one, labels, noisy, self.sigma) for one in (s, s_adv))
        return losses.aligned(s, s_adv, labels, beta=self.beta, attacked=self.attacked)

    def part(self, model: nn.Module) -> tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """A basis [d, rank], and what of r the style head sees with it: the part without or within its
        span.
        """
        weight = last_layer(model).weight
        if self.seen == "random":
            return self.subspace.to(weight.dtype), style.within
        if self.seen == "all":
            return weight.new_zeros(weight.shape[1], 0), style.without
        basis = style.directions(weight, self.covariance.matrix()[0] if self.seen == "M" else None)
        return basis, style.within if self.seen == "content" else style.without


class Released(nn.Module):
    """What the released code does, as one loss with stopped gradients.

    g alone is fitted to the labels; h is to make g's prediction on attacked images that on clean ones, which
    stays live; lambda grows from 0 over `ramp` epochs; the attack sees the style term, at full weight;
    features have length 1, and the style is B r by the released deflation. One deviation: h sees g as it was
    before its own step.
    """

    batches: Tensor
    basis: Tensor

    def __init__(
        self,
        model: nn.Module,
        ball: Ball,
        *,
        base: Base = "madry",
        weight: float = 1.0,
        trade: float = 6.0,
        ramp: int = 1,
        seed: int = 0,
    ) -> None:
        """`model` says how long r and the logits are; g's first weights and the basis come from `seed`."""
        super().__init__()
        last = last_layer(model)
        d = last.in_features
        self.ball, self.base, self.weight, self.trade, self.ramp = ball, base, weight, trade, ramp
        self.grown = 0.0
        self.g = head("released", d, last.out_features, seed=seed)
        self.covariance = style.Covariance(d)
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("basis", style.random_directions(d, d, seed=seed).float(), persistent=False)

    def begin_epoch(self, epoch: int) -> None:
        """The ramp of lambda: `epoch` of `ramp`, from 0."""
        self.grown = min(epoch / self.ramp, 1.0)

    def forward(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        assert isinstance(self.g, ReleasedHead)
        seed = drawn_seed()
        with mode(model, train=False), torch.no_grad():
            r, clean = read(model, images)
        ends = self._ends(model, images, labels, seed, r, clean)
        r, z = read(model, images)
        r_adv, z_adv = read(model, ends)
        self.batches += 1
        self.covariance.update(_unit(r))
        b = self._map(model)
        s, s_adv = _unit(r) @ b.T, _unit(r_adv) @ b.T
        own = cross_entropy(self.g.corrected(s.detach(), labels, ratio=self.grown, learn=True), labels)
        with preserved_state(self.g, images.device, seed):
            target = self.g.corrected(s, labels, ratio=self.grown)
            tied = losses.soft_cross_entropy(self.g.corrected(s_adv, labels, ratio=self.grown), target)
        if self.base == "madry":
            first = cross_entropy(z_adv, labels)
        else:
            first = losses.trades(z, z_adv, labels, beta=self.trade, printed=self.base == "trades-printed")
        return first + self.weight * self.grown * tied + own

    def _map(self, model: nn.Module) -> Tensor:
        matrix = self.covariance.matrix()[0].to(self.basis.dtype)
        return style.deflated(self.basis, matrix, last_layer(model).weight)

    def _ends(
        self, model: nn.Module, images: Tensor, labels: Tensor, seed: int, r: Tensor, clean: Tensor
    ) -> Tensor:
        """Paths that also move the style head's prediction away from that on the clean image."""
        assert isinstance(self.g, ReleasedHead)
        g, b, away = self.g, self._map(model), _from(clean)
        scale, start = (1.0, None) if self.base == "madry" else (self.trade, near(images, seed=seed))
        with tapped(model) as tap, preserved_state(g, images.device, seed):
            target = g.corrected(_unit(r) @ b.T, labels, ratio=1.0).softmax(1).detach()

            def objective(logits: Tensor) -> Tensor:
                first = cross_entropy(logits, labels, reduction="none") if start is None else away(logits)
                s = g.corrected(_unit(tap.features[: len(labels)]) @ b.T, labels, ratio=1.0)
                return scale * first - self.weight * (target * log_softmax(s, 1)).sum(1)

            return self.ball.end(model, images, labels, seed, objective, start)


def _unit(r: Tensor) -> Tensor:
    return r / (r.norm(dim=1, keepdim=True) + 1e-6)
