"""The price of the contract: projected gradient descent through `attacks.run` against foolbox as its manual calls it."""

from collections.abc import Callable

import foolbox
import torch
from torch import Tensor, nn

from benchmarks.measure import Comparison, side_by_side
from causalnb.attacks import AttackResult, ball, run
from causalnb.models import lenet

EPS, STEP, STEPS = 0.1, 0.01, 40


def problem(n: int = 200) -> tuple[nn.Module, Tensor, Tensor]:
    """A LeNet with centred logits, so that its labels are many and its margins small, and seeded images of 28 x 28 that it gets right."""
    model = lenet(seed=0).eval()
    images = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.fc3.bias -= model(images).mean(dim=0)
        return model, images, model(images).argmax(dim=1)


def by_foolbox(model: nn.Module, images: Tensor, labels: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """foolbox's own call on all images at once, from the given start: images and whether each is broken."""
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS)
    attack.get_random_start = lambda clean, eps: type(clean)(start)
    _, clipped, success = attack(foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu"), images, labels, epsilons=EPS)
    return clipped, success


def by_contract(model: nn.Module, images: Tensor, labels: Tensor) -> AttackResult:
    """The same search with everything that surrounds it: checks, the clean prediction, the draws, the second look."""
    return run("pgd", model, images, labels, norm="linf", eps=EPS, step=STEP, steps=STEPS, seed=0)


def pgd_overhead() -> Comparison:
    """Seconds; above 1 the contract costs nothing: frozen parameters and smaller batches save more than it adds."""
    model, images, labels = problem()
    start = images + EPS * ball.point(images, (0, "pgd", 0), "linf")
    theirs, success = by_foolbox(model, images, labels, start)
    result = by_contract(model, images, labels)
    broken = success & result.found
    return side_by_side(
        lambda: by_foolbox(model, images, labels, start), lambda: by_contract(model, images, labels), pair="pgd-overhead",
        difference=(theirs - result.images)[broken].abs().max().item(), rounds=7)


PAIRS: dict[str, Callable[[], Comparison]] = {"pgd-overhead": pgd_overhead}
