"""Chapter 4: what a step of CausalAdv costs, against a form that recomputes the clean prediction and against
Madry's step.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.measure import Comparison, side_by_side
from causalnb.attacks.adversarial import adversarial, ascend, drawn_seed, near
from causalnb.chapters.alignment import losses
from causalnb.chapters.alignment.heads import read
from causalnb.chapters.alignment.objectives import Ball, CausalAdv
from causalnb.models import small_cnn
from causalnb.training import Loss, mode

BATCH = 128
BALL = Ball(eps=0.3, step=0.01, steps=10)


def problem(n: int = BATCH) -> tuple[nn.Module, Tensor, Tensor]:
    """A `small_cnn` whose last layer is drawn, as after a first step, with seeded images and labels."""
    model = small_cnn(seed=0)
    generator = torch.Generator().manual_seed(0)
    weight = model.get_submodule("fc3").get_parameter("weight")
    weight.data = torch.randn(weight.shape, generator=generator) / 10
    return model.train(), torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10


class Recomputed(CausalAdv):
    """T whose attack asks for the clean prediction anew in each step, and whose loss asks once more, as
    common reference code for TRADES does: 39 forwards' worth for ten steps, where the prediction once needs
    27.
    """

    def forward(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch: the same number."""
        seed = drawn_seed()

        def away(logits: Tensor) -> Tensor:
            with mode(model, train=False):
                clean = model(images).log_softmax(1)
            return (clean.exp() * (clean - logits.log_softmax(1))).sum(1)

        ends = ascend(
            model,
            images,
            labels,
            norm=self.ball.norm,
            eps=self.ball.eps,
            step=self.ball.step,
            steps=self.ball.steps,
            seed=seed,
            objective=away,
            start=near(images, seed=seed),
        )
        self.batches += 1
        z = model(images)
        own = cross_entropy(z, labels)
        r, again = read(model, images)
        r_adv, z_adv = read(model, ends)
        own = own + self.trade * losses.soft_cross_entropy(z_adv, again)
        return own + self.weight * self._style(model, r, r_adv, labels)


def step(loss: Loss, model: nn.Module, images: Tensor, labels: Tensor) -> list[Tensor]:
    """One training step up to its gradients, from the same draw."""
    torch.manual_seed(0)
    value = loss(model, images, labels)
    return list(torch.autograd.grad(value, [one for one in model.parameters() if one.requires_grad]))


def apart(one: Loss, other: Loss, n: int = 16) -> float:
    """The greatest difference of the gradients of two objectives in float64, without dropout."""
    model, images, labels = problem(n)
    model, images = model.double(), images.double()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    pairs = zip(step(one, model, images, labels), step(other, model, images, labels), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def text(kind: Callable[..., CausalAdv] = CausalAdv, **settings: object) -> CausalAdv:
    """The method as the text has it, on this network."""
    return kind(problem(1)[0], BALL, **settings)


def recomputed() -> Comparison:
    """T with the clean prediction anew in every step, against T with it once."""
    settings = {"base": "trades-printed", "weight": 0.5}
    model, images, labels = problem()
    other, ours = text(Recomputed, **settings), text(**settings)
    return side_by_side(
        partial(step, other, model, images, labels),
        partial(step, ours, model, images, labels),
        pair="alignment-step",
        difference=apart(text(Recomputed, **settings).double(), text(**settings).double()),
        bound=39 / 27,
    )


def madry() -> Comparison:
    """Madry's step against M's; at lambda 0 they are the same, and M's style term costs the rest."""
    model, images, labels = problem()
    theirs = adversarial(norm=BALL.norm, eps=BALL.eps, step=BALL.step, steps=BALL.steps)
    return side_by_side(
        partial(step, theirs, model, images, labels),
        partial(step, text(), model, images, labels),
        pair="alignment-step-madry",
        difference=apart(theirs, text(weight=0.0).double()),
        bound=23 / 26,
    )


PAIRS: dict[str, Callable[[], Comparison]] = {"alignment-step": recomputed, "alignment-step-madry": madry}
