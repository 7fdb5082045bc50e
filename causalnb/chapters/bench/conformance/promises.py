"""Lines that hold whatever an attack finds: whose result it is, what is left alone, what a failure looks
like, what is refused.
"""

import random
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from causalnb.attacks import ball
from causalnb.attacks.checked import TOLERANCE
from causalnb.attacks.suites import Step, evaluate
from causalnb.chapters.bench.conformance.cases import (
    SEED,
    Breaks,
    ConformanceCase,
    Outcome,
    Subject,
    network,
    some,
)
from causalnb.store import Store

LONE = 3  # images that are also attacked alone


def batch(case: ConformanceCase) -> Outcome:
    """1: an image's result is the same alone, in any batch, in any order."""
    n = case.trial.n
    orders = [list(range(n - 1, -1, -1)), *([row] for row in range(1, 1 + LONE))]
    changed, verdicts = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    for rows in orders:
        part = case.on(some(case.network, rows))
        changed[rows] |= _differ(part.images, case.base.images[rows])
        verdicts[rows] |= part.found != case.base.found[rows]
    return Outcome(
        not (changed | verdicts).any(),
        int((changed | verdicts).sum()),
        f"{int(changed.sum())} of {n} images come back another, {int(verdicts.sum())} verdicts differ, in "
        "reverse order or alone",
    )


def state(case: ConformanceCase) -> Outcome:
    """2: generators, modes, gradients, buffers, trace function and threads are as they were, also after an
    exception.
    """
    settings = case.trial.settings(case.trial.eps)
    models = [Breaks(network(classes=case.trial.classes, n=case.trial.n).model, at) for at in (0, 2)]
    outside = sys.gettrace()
    try:
        sys.settrace(_unmoved)
        changed = [what for model in models for what in _changes(case, model, settings)]
    finally:
        sys.settrace(outside)
    return Outcome(
        not changed,
        len(changed),
        f"{len(changed)} kinds of state change, in a run and in one that an exception ends" + _list(changed),
    )


def _changes(case: ConformanceCase, model: Breaks, settings: dict[str, Any]) -> list[str]:
    """What differs after the attack on a model that is in training mode, but for one layer, and has gradients
    and a frozen weight.
    """
    watched = [model, *(value for value in settings.values() if isinstance(value, nn.Module))]
    for each in watched:
        each.train()
        for parameter in each.parameters():
            parameter.grad = torch.ones_like(parameter)
        next(each.parameters()).requires_grad_(False)
    model.model[2].eval()  # type: ignore[index]
    before = _state(watched)
    graphs = False
    with suppress(RuntimeError):
        graphs = case.on(replace(case.network, model=model), **settings).images.requires_grad
    after = _state(watched)
    if model.at and model.passes < model.at:
        return ["no exception was raised"]
    return [what for what in before if before[what] != after[what]] + ["a graph behind the result"] * graphs


def _state(models: list[nn.Module]) -> dict[str, Any]:
    parameters = [parameter for model in models for parameter in model.parameters()]
    buffers = [buffer for model in models for buffer in model.buffers()]
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "numpy's generator": str(np.random.get_state()),
        "Python's generator": random.getstate(),
        "modes": [module.training for model in models for module in model.modules()],
        "requires_grad": [each.requires_grad for each in parameters],
        "gradients": [None if each.grad is None else each.grad.tolist() for each in parameters],
        "weights": [each.tolist() for each in parameters],
        "buffers": [each.tolist() for each in buffers],
        "identities": [id(each) for each in (*parameters, *buffers)],
        "trace function": sys.gettrace(),
        "threads": torch.get_num_threads(),
        "grad mode": torch.is_grad_enabled(),
    }


def _unmoved(frame: Any, event: str, argument: Any) -> None:
    """A trace function that does nothing."""


def failure(case: ConformanceCase) -> Outcome:
    """5: a failure is exactly the clean image, not found, distance nan; no image turns black."""
    wrong = failures = 0
    for result in (case.base, case.unbroken):
        lost = ~result.found
        failures += int(lost.sum())
        spoiled = (
            _differ(result.images, result.clean)
            | ~result.distance.isnan()
            | ((result.images == 0).flatten(1).all(dim=1))
        )
        wrong += int((spoiled & lost).sum()) + int((result.found & ~result.distance.isfinite()).sum())
    return Outcome(
        wrong == 0 and failures > 0,
        wrong,
        f"{wrong} of {failures} failures are not the clean image with distance nan",
    )


def budget(case: ConformanceCase) -> Outcome:
    """6: box and ball hold in float64 to 1e-6, eps = 0 returns the clean images, clean errors are not
    attacked and counted apart.
    """
    base, nothing = case.base, case.on(case.network, eps=0.0)
    size = (
        base.distance
        if case.trial.norm == "flow"
        else ball.distance(base.clean, base.images, case.trial.norm)
    )
    over = max(
        0.0,
        *(size[base.found] - case.trial.eps).tolist(),
        float(-base.images.min()),
        float(base.images.double().max() - 1),
    )
    errors = ~base.correct
    still = torch.equal(nothing.images, nothing.clean) and not nothing.found.any()
    apart = (
        torch.equal(errors.nonzero().flatten(), torch.arange(0, case.trial.n, 5))
        and not (base.found & errors).any()
    )
    counted = base.success_among_all[0] == base.success_among_correct[0] + int(errors.sum())
    good = over <= TOLERANCE and still and apart and counted and bool(base.found.any())
    return Outcome(
        good,
        over,
        f"{over:.1e} beyond ball or box over {int(base.found.sum())} successes; eps = 0 changes "
        f"{'nothing' if still else 'images'}; "
        f"{int(errors.sum())} clean errors are {'counted apart' if apart and counted else 'mixed in'}",
    )


def aim(case: ConformanceCase) -> Outcome:
    """13: with targets, success is the target and no other class; fewer than ten classes work; who has no
    targets says so.
    """
    five = network(classes=5, n=10)
    if not case.attack.targeted:
        return _aimless(case, five)
    targets = (five.labels + 1) % 5
    result = case.on(five, eps=case.wide, free=case.attack.minimum_norm, targets=targets)
    with torch.no_grad():
        missed = int((five.model(result.images).argmax(dim=1) != targets)[result.found].sum())
    return Outcome(
        missed == 0 and bool(result.found.any()),
        missed,
        f"{missed} of {int(result.found.sum())} successes among 5 classes are not the target",
    )


def _aimless(case: ConformanceCase, five: Subject) -> Outcome:
    settings: dict[str, Any] = {"version": "rand"} if case.name == "autoattack" else {}
    result = case.on(five, eps=case.wide, **settings)
    try:
        case.on(five, targets=(five.labels + 1) % 5)
        said = "targets are taken although it has none"
    except ValueError as refusal:
        said = str(refusal).partition(":")[0]
    good = said == f"{case.name} has no targets" and bool(result.found.any())
    return Outcome(
        good,
        int(result.found.sum()),
        f"{int(result.found.sum())} successes among 5 classes; with targets: {said}",
    )


def spoiled(case: ConformanceCase) -> Outcome:
    """15: an image with a pixel that is not a number spoils only itself; the others are attacked as if it
    were not there.
    """
    rows = [row for row in range(case.trial.n) if row != 4]
    images = case.network.images.clone()
    images[4, 0, 2, 2] = torch.nan
    with_it, without = case.on(replace(case.network, images=images)), case.on(some(case.network, rows))
    changed = int(
        (_differ(with_it.images[rows], without.images) | (with_it.found[rows] != without.found)).sum()
    )
    flagged = "pixels not finite: 1 images were not attacked" in with_it.flags and not with_it.found[4]
    return Outcome(
        changed == 0 and flagged,
        changed,
        f"{changed} of the {len(rows)} other images change; it is {'flagged' if flagged else 'not flagged'}",
    )


def resumes() -> Outcome:
    """14: an evaluation that was interrupted goes on from its store and ends as if it had not been."""
    subject, suite = network(), [Step("fgsm", {}), Step("pgd", {"step": 0.02, "steps": 10})]

    def passes(at: int, store: Store | None) -> tuple[int, Any]:
        model, result = Breaks(subject.model, at), None
        with suppress(RuntimeError):
            result = evaluate(
                model,
                subject.images,
                subject.labels,
                norm="linf",
                eps=0.06,
                suite=suite,
                seed=SEED,
                chunk=4,
                store=store,
            )
        return model.passes, result

    needed, whole = passes(0, None)
    with tempfile.TemporaryDirectory() as folder:
        stopped_at, stopped = passes(needed // 2, Store(Path(folder)))
        rest, resumed = passes(0, Store(Path(folder)))
    if stopped is not None or resumed is None:
        return Outcome(False, needed, "the evaluation was not interrupted, or did not go on")
    changed = int((_differ(resumed.images, whole.images) | (resumed.robust != whole.robust)).sum())
    return Outcome(
        changed == 0 and rest < needed,
        changed,
        f"{changed} of {len(subject.images)} images differ after an interruption at pass {stopped_at} of "
        f"{needed}; {rest} passes were left",
    )


def _differ(images: Tensor, others: Tensor) -> Tensor:
    """[n] whether an image differs in any bit that matters: nan is nan."""
    return (images.nan_to_num(-1) != others.nan_to_num(-1)).flatten(1).any(dim=1)


def _list(words: list[str]) -> str:
    return f": {', '.join(words)}" if words else ""


LINES: dict[int, Callable[[ConformanceCase], Outcome]] = {
    1: batch,
    2: state,
    5: failure,
    6: budget,
    13: aim,
    15: spoiled,
}
