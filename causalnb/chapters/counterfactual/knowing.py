"""The attacks by someone who knows, on the chapter's network: which are made, at which budgets, through the
store. How they search is adaptive.py's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from causalnb.attacks import AttackResult
from causalnb.chapters.counterfactual import adaptive, attacked, experiments, orthogonal
from causalnb.chapters.counterfactual.adaptive import PLANTED, Evaded
from causalnb.chapters.counterfactual.attacked import PAPERS
from causalnb.chapters.counterfactual.detectors import STRATEGIES, UNION
from causalnb.chapters.counterfactual.experiments import Detectives, Shown
from causalnb.chapters.counterfactual.networks import Run
from causalnb.chapters.counterfactual.parameters import NEEDED
from causalnb.data import Images
from causalnb.detection import Threshold, threshold_at
from causalnb.store import memo

FALSE_ALARMS = (0.05, 0.01)
EVERYWHERE = (UNION, "mahalanobis")  # attacked at every budget; the others at the paper's alone
ATTACKED = (*STRATEGIES.values(), UNION, "rho.g", "softmax", "mahalanobis", PLANTED)
ORTHOGONAL = (UNION, "S2.rho", "mahalanobis", PLANTED)  # attacked by orthogonal gradients as well
Call = tuple[str, partial[Any]]


@dataclass(frozen=True)
class Knowing:
    """Attacks by someone who knows, on the first of the attacked images.

    matched   by budget of 255, an attack for each guide: the nearest image of the runner-up class, and its
              prototype
    aimed     at the paper's budget, an attack for each target class in turn, towards the nearest image of it
    evading   by detector and budget, by the search for a weight; orthogonal: by orthogonal gradients
    """

    matched: dict[float, list[Shown]]
    aimed: list[Shown]
    evading: dict[tuple[str, float], Evaded]
    orthogonal: dict[tuple[str, float], Evaded]


def thresholds(has: Detectives, rate: float) -> dict[str, Threshold]:
    """Of every detector, fixed on the held-out clean images, right or not: who detects does not know."""
    return {name: threshold_at(rate, score.numpy()) for name, score in has.held_out.scores.items()}


def knowing(run: Run, has: Detectives) -> Knowing:
    """All of them; those that are missing side by side where that pays."""
    p = run.p
    near = {eps: matching_calls(run, has, eps) for eps in NEEDED}
    aims = aimed_calls(run, has)
    pairs = [
        (name, eps)
        for name in ATTACKED
        for eps in (p.adaptive_budgets if name in EVERYWHERE else (PAPERS,))
        if name != "S4.10_30" or name in has.held_out.scores
    ]
    goals = {pair: evading_call(run, has, *pair) for pair in pairs}
    apart = {pair: orthogonal_call(run, has, *pair) for pair in pairs if pair[0] in ORTHOGONAL}
    matching = [one for calls in near.values() for one in calls]
    attacked.side_by_side(run, [*matching, *aims, *goals.values(), *apart.values()])
    return Knowing(
        {eps: [_shown(run, has, one) for one in calls] for eps, calls in near.items()},
        [_shown(run, has, one) for one in aims],
        {pair: memo(run.store, *one) for pair, one in goals.items()},
        {pair: memo(run.store, *one) for pair, one in apart.items()},
    )


def _shown(run: Run, has: Detectives, call: Call) -> Shown:
    result: AttackResult = memo(run.store, *call)
    return experiments.show(run, has, result, of=None, name=call[0])


def some(has: Detectives, n: int) -> tuple[Images, Tensor]:
    """The first n attacked images, and what the head shows of them."""
    images = has.net.attacked.take(slice(n))
    return images, has.test.outputs[: len(images)]


def matching_calls(run: Run, has: Detectives, eps: float) -> Sequence[Call]:
    """Feature matching towards each guide of the runner-up class."""
    images, outputs = some(has, run.p.n_matched)
    targets = adaptive.runners_up(has.head, outputs, images.labels)
    every = (
        adaptive.guides(has.head, has.known, outputs, targets),
        adaptive.prototype_guides(has.head, has.known, targets),
    )
    return [_matching(run, has, images, guides, eps, f"guide {k}") for k, guides in enumerate(every)]


def aimed_calls(run: Run, has: Detectives) -> list[Call]:
    """Feature matching at the paper's budget towards the nearest image of each other class."""
    images, outputs = some(has, run.p.n_adaptive)
    k = len(images.classes)
    made = []
    for step in range(1, min(run.p.n_targets, k - 1) + 1):
        targets = (images.labels + step) % k
        guides = adaptive.guides(has.head, has.known, outputs, targets)
        made.append(_matching(run, has, images, guides, PAPERS, f"target {step}"))
    return made


def _matching(run: Run, has: Detectives, images: Images, guides: Tensor, eps: float, which: str) -> Call:
    net, device = has.net, run.device
    given = (images.images.to(device), images.labels.to(device), guides.to(device))
    asked: dict[str, Any] = {"eps": run.p.eps(eps), "steps": run.p.adaptive_steps, "seed": run.p.seed}
    made = partial(adaptive.matched, net.model, net.layer, *given, **asked)
    return f"features matched, {which}, {eps:g} on {net.name}", made


def evading_call(run: Run, has: Detectives, name: str, eps: float) -> Call:
    """The attack on one detector, or on the union."""
    given, asked = _aimed_at(run, has, name, eps)
    made = partial(adaptive.evade, *given, **asked, rounds=run.p.n_weights)
    return f"{name} evaded at {eps:g} on {has.net.name}", made


def orthogonal_call(run: Run, has: Detectives, name: str, eps: float) -> Call:
    """The same by orthogonal gradients."""
    given, asked = _aimed_at(run, has, name, eps)
    return f"{name} evaded orthogonally at {eps:g} on {has.net.name}", partial(
        orthogonal.evade, *given, **asked
    )


def _aimed_at(run: Run, has: Detectives, name: str, eps: float) -> tuple[list[Any], dict[str, Any]]:
    p, net = run.p, has.net
    images, outputs = some(has, p.n_adaptive)
    targets = adaptive.runners_up(has.head, outputs, images.labels)
    moved = [one.to(run.device) for one in (images.images, images.labels, targets)]
    asked = {"limits": limits(has, name), "eps": p.eps(eps), "steps": p.adaptive_steps, "seed": p.seed}
    return [net.model, net.layer, has.known, *moved], asked


def limits(has: Detectives, name: str, rate: float = FALSE_ALARMS[0]) -> dict[str, float]:
    """The largest scores that are not flagged."""
    held = has.held_out.scores
    if name == UNION:
        return adaptive.limits_of_union(held, threshold_at(rate, held[UNION].numpy()).value)
    if name == PLANTED:
        score = adaptive.planted(has.known, has.head.features(has.held_out.outputs))
        return {PLANTED: threshold_at(rate, score.numpy()).value}
    return {name: threshold_at(rate, held[name].numpy()).value}


def undetected(shown: Sequence[Shown], threshold: Threshold, name: str) -> Tensor:
    """Which images [n] were right, and are fooled and not flagged by one attack or another."""
    each = [
        one.rows["successes"] & ~torch.from_numpy(threshold.flags(one.seen.scores[name].numpy()))
        for one in shown
    ]
    return torch.stack(each).any(0)
