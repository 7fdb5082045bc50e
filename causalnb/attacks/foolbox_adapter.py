"""Attacks by foolbox: a case in, candidate images out. Nothing is judged here, and no state is kept.

Every number that shapes an attack is an argument; foolbox's own defaults for steps and step sizes are never
used.
"""

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import ball
from causalnb.attacks.watch import Criterion, Loss, WatchedModel


@dataclass(frozen=True)
class Case:
    """What an attack is given: images that the model gets right, their criterion, the budget (inf: any), what
    decides the draws, and what is climbed instead of the cross-entropy.
    """

    model: WatchedModel
    images: Tensor
    criterion: Criterion
    norm: str
    eps: float
    seed: int
    restart: int = 0
    loss: Loss | None = None


def fgsm(case: Case) -> Tensor:
    """One step of length eps along the gradient (L2) or its sign (L-inf): Goodfellow et al. 2015; with
    targets down the cross-entropy of the target.
    """
    return _ascent(case, case.images, case.eps, 1)


def bim(case: Case, *, step: float, steps: int) -> Tensor:
    """Projected gradient ascent on the cross-entropy from the clean image: Kurakin et al. 2017, in L2 as
    well.
    """
    return _ascent(case, case.images, step, steps)


def pgd(case: Case, *, step: float, steps: int) -> Tensor:
    """Projected gradient ascent on the cross-entropy from a uniform point of the ball: Madry et al. 2018.

    step   length of one step in pixel units (L-inf: of every pixel; L2: of the whole step)
    """
    return _ascent(case, _point(case, "pgd"), step, steps)


def cw_linf(case: Case, *, step: float, steps: int) -> Tensor:
    """`pgd` on the margin, the largest other logit minus the label's: what adversarial training papers call
    C&W.

    The loss is f_6 of Carlini & Wagner 2017 (with targets: towards them); the search is not theirs.
    """

    def margin(model: Any, classes: Any) -> Callable[[Any], Any]:
        def loss(images: Any) -> Any:
            logits = model(images).raw
            own = logits.gather(1, classes.raw[:, None])[:, 0]
            others = logits.scatter(1, classes.raw[:, None], -math.inf).amax(dim=1)
            return type(images)((others - own).sum())

        return loss

    return _ascent(case, _point(case, "cw-linf"), step, steps, loss=margin)


def cw(
    case: Case,
    *,
    step: float,
    steps: int,
    binary_search_steps: int,
    initial_const: float,
    confidence: float = 0.0,
) -> Tensor:
    """The smallest L2 perturbation found by Adam and a search over the constant: Carlini & Wagner 2017.

    step            Adam's rate in arctanh space, not in pixels
    initial_const   weight of the classification term at the first of the binary_search_steps; too small for
                    few of them, images are left unbroken
    confidence      by how much the logits must differ
    """
    # abort_early looks at the loss summed over the batch: an image's result would hang on its neighbours.
    attack = _foolbox().attacks.L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps,
        steps=steps,
        stepsize=step,
        confidence=confidence,
        initial_const=initial_const,
        abort_early=False,
    )
    candidates = _run(attack, case)
    # Its best image starts at zeros: one that is black everywhere says that nothing was found.
    black = (candidates == 0).flatten(1).all(dim=1)
    return torch.where(ball.aligned(black, candidates), case.images, candidates)


def ddn(case: Case, *, steps: int, init_epsilon: float = 1.0, gamma: float = 0.05) -> Tensor:
    """The smallest L2 perturbation by steps of a norm that shrinks by the share gamma on success and grows on
    failure: Rony et al. 2019.
    """
    return _run(_foolbox().attacks.DDNAttack(init_epsilon=init_epsilon, steps=steps, gamma=gamma), case)


def deepfool(case: Case, *, steps: int, overshoot: float = 0.02, nearest: int = 10) -> Tensor:
    """The smallest perturbation by steps to the nearest linearised boundary: Moosavi-Dezfooli et al. 2016.

    nearest   how many of the likeliest classes are looked at; a pass forward and backward for each but the
              first
    """
    attacks = _foolbox().attacks
    kind = {"linf": attacks.LinfDeepFoolAttack, "l2": attacks.L2DeepFoolAttack}[case.norm]
    return _run(kind(steps=steps, overshoot=overshoot, candidates=nearest), case)


def hsj(case: Case, *, steps: int, directions: int = 100, starts: int = 50) -> Tensor:
    """HopSkipJump, which sees decisions alone (Chen et al. 2020): the smallest perturbation from a start
    blended with noise.

    directions   random directions at the first step; their number grows with the root of the step
    starts       blends with uniform noise that are tried for a start; an image without one is given up

    Image by image: over a batch foolbox would divide every image's gradient by the norm of all of them
    together.
    """
    foolbox = _foolbox()
    attack = foolbox.attacks.HopSkipJumpAttack(
        steps=steps, initial_gradient_eval_steps=directions, constraint=case.norm
    )
    found = []
    for row in range(len(case.images)):
        one = replace(
            case,
            images=case.images[row : row + 1],
            criterion=case.criterion.at(torch.tensor([row], device=case.images.device)),
        )
        attack.approximate_gradients = partial(_decisions, one)
        torch.manual_seed(ball.seed_of(one.images[0], (case.seed, "hsj", case.restart)))
        with warnings.catch_warnings():  # of an image without a start, which is a result here
            warnings.simplefilter("ignore")
            start = _run(
                foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(directions=starts, steps=50), one
            )
        reached = one.criterion.reached(one.model.outputs(start)).all()
        found.append(_run(attack, one, starting_points=start) if reached else one.images)
    return torch.cat(found)


def _decisions(case: Case, _: Any, images: Any, steps: int, delta: Any) -> Any:
    """The direction towards which an image [1, ...] stays misclassified (Chen et al. 2020, Eq. 16), all
    decisions in one pass.
    """
    centre, shape = images.raw, (steps, *images.shape[1:])
    noise = (
        torch.randn(shape, dtype=centre.dtype)
        if case.norm == "l2"
        else 2 * torch.rand(shape, dtype=centre.dtype) - 1
    )
    noise = noise.to(centre.device)
    asked = (centre + delta.raw * noise / ball.aligned(noise.flatten(1).norm(dim=1), noise)).clamp(0, 1)
    criterion = case.criterion.at(torch.zeros(steps, dtype=torch.long, device=centre.device))
    signs = 2.0 * criterion.reached(case.model.outputs(asked)).to(centre.dtype) - 1
    weights = signs if signs.mean().abs() == 1 else signs - signs.mean()
    gradient = (ball.aligned(weights, asked) * (asked - centre)).mean(dim=0, keepdim=True)
    return type(images)(gradient / gradient.norm().clamp(min=1e-12))


def _foolbox() -> ModuleType:
    # foolbox imports GitPython, which refuses to be imported where there is no git program unless told to be
    # quiet.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import foolbox

    return foolbox


def _point(case: Case, name: str) -> Tensor:
    return case.images + case.eps * ball.point(case.images, (case.seed, name, case.restart), case.norm)


def _ascent(
    case: Case, start: Tensor, step: float, steps: int, *, loss: Callable[[Any, Any], Any] | None = None
) -> Tensor:
    attacks = _foolbox().attacks
    kind = {
        "linf": attacks.LinfProjectedGradientDescentAttack,
        "l2": attacks.L2ProjectedGradientDescentAttack,
    }[case.norm]
    attack = kind(abs_stepsize=step, steps=steps, random_start=True)
    attack.get_random_start = lambda images, eps: type(images)(
        start
    )  # its own would come from torch's global generator
    if loss or case.loss:
        attack.get_loss_fn = loss or partial(_climbed, case)
    return _run(attack, case, epsilon=case.eps)


def _climbed(case: Case, model: Any, classes: Any) -> Callable[[Any], Any]:
    """The caller's loss as foolbox sums it; with targets foolbox goes down."""
    sign = 1.0 if case.criterion.targets is None else -1.0

    def loss(images: Any) -> Any:
        assert case.loss is not None and case.criterion.rows is not None
        return type(images)(sign * case.loss(case.model.outputs(images.raw), case.criterion.rows).sum())

    return loss


def _run(attack: Any, case: Case, **budget: Any) -> Tensor:
    foolbox, criterion = _foolbox(), case.criterion
    criterion = (
        foolbox.Misclassification(criterion.labels)
        if criterion.targets is None
        else foolbox.TargetedMisclassification(criterion.targets)
    )
    model = foolbox.PyTorchModel(
        case.model, bounds=(0, 1), device=case.model.device
    )  # without the device it would move to a GPU
    candidates: Tensor = attack.run(model, case.images, criterion, **budget)
    return candidates
