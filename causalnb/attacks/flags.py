"""What a reader must know of a model before believing an attack's number: the warnings of AutoAttack, and
those it lacks.

Each looks at one batch of images; none attacks.
"""

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from causalnb.attacks.watch import score

Model = Callable[[Tensor], Tensor]


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
    if optimises(model, images):
        yield "optimises in the forward pass: attack the whole function, and the static model under it"
    if zero := int(zero_gradients(model, images, labels).sum()):
        yield f"zero gradients: the cross-entropy has none on {zero} of {len(images)} images"
