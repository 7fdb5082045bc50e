"""What a reader must know of a model before believing an attack's number: the warnings of AutoAttack, and
those it lacks.

Each looks at one batch of images; none attacks.
"""

import sys
from collections.abc import Callable, Iterator

import torch
from scipy.stats import binom
from torch import Tensor

from causalnb.attacks.watch import score

Model = Callable[[Tensor], Tensor]

ALONE = 8  # images that are also asked alone
ROUNDING = 1e-3  # of the logits' size: what batches of other sizes may change, 16-bit kernels aside
SKILL, LUCK = 0.1, 0.05  # near chance: so far on the way from chance to 1, or reached by guessing as often


def probabilities(logits: Tensor) -> bool:
    """Whether rows [n, classes] are distributions: a softmax, behind which gradients vanish where the model
    is sure.
    """
    return bool(len(logits)) and bool(
        ((logits >= 0) & (logits <= 1)).all() and ((logits.sum(dim=1) - 1).abs() < 1e-4).all()
    )


@torch.no_grad()
def randomised(model: Model, images: Tensor, *, draws: int = 5) -> bool:
    """Whether forward passes of the same images differ: in a prediction, or in the direction of the logits by
    more than 1e-4.
    """
    passes = torch.stack([score(model, images) for _ in range(draws)])
    directions = passes / passes.norm(dim=2, keepdim=True).clamp(min=1e-10)
    return (
        bool((passes.argmax(dim=2) != passes[0].argmax(dim=1)).any())
        or float((directions - directions[:1]).norm(dim=2).max()) > 1e-4
    )


@torch.no_grad()
def neighbours(model: Model, images: Tensor) -> Tensor:
    """[min(n, 8)] how far the logits of the first images move, in units of their size, when each is asked
    alone and not among the others.

    A single image stands beside its negative for once, 1 - image, so that it has a neighbour.

    >>> images = torch.rand(4, 1, 2, 2)
    >>> bool((neighbours(lambda some: some.flatten(1), images) < ROUNDING).all())
    True
    >>> bool((neighbours(lambda some: some.flatten(1) - some.mean(), images) > ROUNDING).all())
    True
    """
    company = images if len(images) > 1 else torch.cat([images, 1 - images])
    among = score(model, company)[: min(len(images), ALONE)]
    alone = torch.cat([score(model, one) for one in images[:ALONE].split(1)])
    return (alone - among).norm(dim=1) / torch.maximum(alone.norm(dim=1), among.norm(dim=1)).clamp(min=1e-10)


def near_chance(right: int, of: int, classes: int) -> str:
    """A sentence where guessing does about as well, else "": accuracy is less than a tenth of the way from
    1 / classes to 1, or the count is one that guessing reaches in one case of twenty.

    >>> near_chance(90, 100, 10), near_chance(15, 100, 10)[:33]
    ('', '15 of 100 images are right, where')
    """
    chance = 1 / classes
    by_luck = float(binom.sf(right - 1, of, chance))
    if right / of >= chance + SKILL * (1 - chance) and by_luck <= LUCK:
        return ""
    return (
        f"{right} of {of} images are right, where guessing among {classes} classes gets {of * chance:.3g} "
        f"and as many in {by_luck:.0%} of cases: give more images, or look at labels, normalisation, weights"
    )


def optimises(model: Model, images: Tensor) -> bool:
    """Whether a forward pass takes gradients of its own, as a defence does that optimises at test time."""
    called: list[str] = []

    def trace(frame: object, event: str, argument: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and code.co_name in ("grad", "backward") and "torch" in code.co_filename:
            called.append(code.co_name)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        score(model, images)
    finally:
        sys.settrace(before)
    return bool(called)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """[n] the largest other logit minus the label's: above 0 where the answer is wrong.

    >>> margins(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
    tensor([-1.])
    """
    if len(labels) != len(logits):
        raise ValueError(f"{len(labels)} labels for {len(logits)} rows of logits: give one for each")
    own = logits.gather(1, labels[:, None])
    return (logits.scatter(1, labels[:, None], -torch.inf) - own).amax(dim=1)


def zero_gradients(model: Model, images: Tensor, labels: Tensor, *, margin: bool = False) -> Tensor:
    """[n] whether the gradient by the image is exactly zero or not finite: of the cross-entropy, or of the
    margin between label and runner-up.
    """
    asked = images.detach().clone().requires_grad_()
    logits = score(model, asked)
    loss = (
        margins(logits, labels)
        if margin
        else torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    )
    gradients = torch.autograd.grad(loss.sum(), asked, allow_unused=True)[0] if loss.requires_grad else None
    if gradients is None:
        return torch.ones_like(labels, dtype=torch.bool)
    flat = gradients.flatten(1)
    return (flat == 0).all(dim=1) | ~flat.isfinite().all(dim=1)


def before_attacking(model: Model, images: Tensor, labels: Tensor) -> Iterator[str]:
    """Sentences on a batch [n, ...] that the model gets right; the model evaluates, and nothing is restored
    here.
    """
    with torch.no_grad():
        logits = score(model, images)
    if probabilities(logits):
        yield "softmax outputs: gradients vanish where the model is sure, give logits"
    if len(logits) > 1 and bool((logits == logits[0]).all()):
        yield "constant outputs: the model gives every image the same logits"
    if randomised(model, images):
        yield "randomised outputs: two passes differ, average over draws (EOT) and score over many"
    elif moved := int((neighbours(model, images) > ROUNDING).sum()):
        yield (
            f"answers hang on neighbours: {moved} of {min(len(images), ALONE)} images have other logits "
            "alone than in a batch (batch norm without running statistics?), so every number hangs on "
            "`chunk`: give the model fixed statistics"
        )
    if optimises(model, images):
        yield "optimises in the forward pass: attack the whole function, and the static model under it"
    if zero := int(zero_gradients(model, images, labels).sum()):
        yield f"zero gradients: the cross-entropy has none on {zero} of {len(images)} images"
