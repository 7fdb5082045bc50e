"""Gradient attacks by foolbox: a case in, candidate images out. Nothing is judged here, and no state is kept.

Every number that shapes an attack is an argument; foolbox's own defaults for steps and step sizes are never used.
"""

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import ball
from causalnb.attacks.watch import Goal, Watched


@dataclass(frozen=True)
class Case:
    """What an attack is given: images that the model gets right, their goal, the budget (inf: any), and what decides the draws."""

    model: Watched
    images: Tensor
    goal: Goal
    norm: str
    eps: float
    seed: int
    restart: int = 0


def fgsm(case: Case) -> Tensor:
    """One step of length eps along the gradient (L2) or its sign (L-inf): Goodfellow et al. 2015."""
    attacks = _foolbox().attacks
    attack = {"linf": attacks.LinfFastGradientAttack, "l2": attacks.L2FastGradientAttack}[case.norm]()
    return _run(attack, case, epsilon=case.eps)


def pgd(case: Case, *, step: float, steps: int) -> Tensor:
    """Projected gradient ascent on the cross-entropy from a uniform point of the ball: Madry et al. 2018.

    step   length of one step in pixel units (L-inf: of every pixel; L2: of the whole step)
    """
    attacks = _foolbox().attacks
    kind = {"linf": attacks.LinfProjectedGradientDescentAttack, "l2": attacks.L2ProjectedGradientDescentAttack}[case.norm]
    attack = kind(abs_stepsize=step, steps=steps, random_start=True)
    start = case.images + case.eps * ball.point(case.images, (case.seed, "pgd", case.restart), case.norm)
    attack.get_random_start = lambda images, eps: type(images)(start)   # its own would come from torch's global generator
    return _run(attack, case, epsilon=case.eps)


def cw(case: Case, *, step: float, steps: int, binary_search_steps: int, initial_const: float, confidence: float = 0.0) -> Tensor:
    """The smallest L2 perturbation found by Adam and a search over the constant: Carlini & Wagner 2017.

    step            Adam's rate in arctanh space, not in pixels
    initial_const   weight of the classification term at the first of the binary_search_steps; too small for few of them, images are left unbroken
    confidence      by how much the logits must differ
    """
    # abort_early looks at the loss summed over the batch: an image's result would hang on its neighbours.
    attack = _foolbox().attacks.L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps, steps=steps, stepsize=step, confidence=confidence, initial_const=initial_const, abort_early=False)
    candidates = _run(attack, case)
    # Its best image starts at zeros: one that is black everywhere says that nothing was found.
    black = (candidates == 0).flatten(1).all(dim=1)
    return torch.where(ball.aligned(black, candidates), case.images, candidates)


def _foolbox() -> ModuleType:
    # foolbox imports GitPython, which refuses to be imported where there is no git program unless told to be quiet.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import foolbox

    return foolbox


def _run(attack: Any, case: Case, **budget: float) -> Tensor:
    foolbox, goal = _foolbox(), case.goal
    criterion = foolbox.Misclassification(goal.labels) if goal.targets is None else foolbox.TargetedMisclassification(goal.targets)
    model = foolbox.PyTorchModel(case.model, bounds=(0, 1), device=case.model.device)
    candidates: Tensor = attack.run(model, case.images, criterion, **budget)
    return candidates
