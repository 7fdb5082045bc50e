"""AutoAttack's parts by pyautoattack (Croce & Hein 2020): a case in, candidate images out. Nothing is judged
here.

The library draws from torch's global generator, a whole batch at a time: an image's result hangs on its
neighbours and on `chunk`. It computes in float32. The same seed, order and chunk give what the library gives
when it is called directly.
"""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from causalnb import UserError
from causalnb.attacks import ball
from causalnb.attacks.foolbox_adapter import Case

NORMS = {"linf": "Linf", "l2": "L2"}
STANDARD_QUERIES = 5000  # Square's schedule is written for 10,000 and AutoAttack runs half of it


def apgd_ce(case: Case, *, steps: int, eot: int = 1) -> Tensor:
    """Auto-PGD on the cross-entropy.

    eot   gradients averaged at each step, for models that draw at random
    """
    return _apgd(case, steps, eot, "ce")


def apgd_dlr(case: Case, *, steps: int, eot: int = 1) -> Tensor:
    """Auto-PGD on the difference of logits ratio, which no scale of the logits changes; from three classes
    on.
    """
    _classes(case, "apgd-dlr", at_least=3)
    return _apgd(case, steps, eot, "dlr")


def apgd_t(case: Case, *, steps: int, n_targets: int = 9, eot: int = 1) -> Tensor:
    """Auto-PGD on the targeted difference of logits ratio, towards each of the likeliest other classes in
    turn; from four classes on.

    n_targets   at most so many classes, and no more than there are
    """
    from pyautoattack.autopgd_base import APGDAttack_targeted

    classes = _classes(case, "apgd-t", at_least=4)
    attack = APGDAttack_targeted(
        _model(case),
        n_iter=steps,
        norm=NORMS[case.norm],
        eps=case.eps,
        seed=_seed(case),
        eot_iter=eot,
        device=case.images.device,
        n_target_classes=min(n_targets, classes - 1),
        logger=_silent(),
    )
    found: Tensor = attack.perturb(case.images.float(), case.criterion.labels)
    return found


def fab_t(case: Case, *, steps: int, n_targets: int = 9) -> Tensor:
    """FAB: the smallest perturbation across the linearised boundary to each of the likeliest other classes
    (Croce & Hein 2020b).

    Within an eps the search ends with the first class that is reached inside it; for the minimum norm all are
    tried.
    """
    from pyautoattack.fab_pt import FABAttack_PT

    n_targets = min(n_targets, _classes(case, "fab-t", at_least=2) - 1)
    attack = FABAttack_PT(
        _model(case),
        norm=NORMS[case.norm],
        n_restarts=1,
        n_iter=steps,
        eps=case.eps,
        seed=_seed(case),
        targeted=True,
        device=case.images.device,
        n_target_classes=n_targets,
    )
    if math.isfinite(case.eps):
        found: Tensor = attack.perturb(case.images.float(), case.criterion.labels)
        return found
    best, least = (
        case.images,
        torch.full((len(case.images),), math.inf, dtype=torch.float64, device=case.images.device),
    )
    for attack.target_class in range(2, n_targets + 2):
        found = attack.attack_single_run(case.images, case.criterion.labels, is_targeted=True)
        moved = (
            (found != case.images.float()).flatten(1).any(dim=1)
        )  # an image that was not broken comes back clean, in float32
        images = found.to(case.images.dtype)
        size = ball.distance(case.images, images, case.norm)
        nearer = moved & (size < least)
        best, least = (
            torch.where(ball.aligned(nearer, images), images, best),
            torch.where(nearer, size, least),
        )
    return best


def square(case: Case, *, queries: int, rescale: bool) -> Tensor:
    """Square: random search with squares of pixels, which sees scores alone (Andriushchenko et al. 2020).

    queries   for each image
    rescale   whether the squares shrink by the share of the queries that is spent. AutoAttack does not; below
              its 5,000 queries the squares then stay too large, so that few queries look like robustness
    """
    from pyautoattack.square import SquareAttack

    if queries < STANDARD_QUERIES and not rescale:
        raise UserError(
            f"queries = {queries} is not possible with rescale=False: below {STANDARD_QUERIES} queries "
            "Square's squares would stay too large. "
            "Give rescale=True, and call it rescaled."
        )
    attack = SquareAttack(
        _model(case),
        norm=NORMS[case.norm],
        n_queries=queries,
        eps=case.eps,
        seed=_seed(case),
        resc_schedule=rescale,
        device=case.images.device,
    )
    found: Tensor = attack.perturb(case.images.float(), case.criterion.labels)
    return found


def autoattack(case: Case, *, version: Literal["standard", "rand"] = "standard") -> Tensor:
    """AutoAttack as the library runs it: its warnings become flags of the result.

    version   standard: apgd-ce, apgd-t, fab-t, square; rand, for models that draw at random: apgd-ce,
              apgd-dlr with 20 draws
    """
    from pyautoattack import AutoAttack, checks

    if version not in ("standard", "rand"):
        raise ValueError(f"version = {version!r} is not possible: AutoAttack here is standard or rand.")
    _classes(case, "autoattack", at_least=10 if version == "standard" else 3)
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))  # counted since the process began, else
    with _warnings() as flags:
        attack = AutoAttack(
            _model(case),
            norm=NORMS[case.norm],
            eps=case.eps,
            version=version,
            seed=_seed(case),
            device=case.images.device,
        )
        images, _ = attack.run_standard_evaluation(
            case.images.float(), case.criterion.labels, batch_size=len(case.images)
        )
    case.model.flags += [f"autoattack: {flag}" for flag in flags]
    found: Tensor = images
    return found


def _apgd(case: Case, steps: int, eot: int, loss: str) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack

    attack = APGDAttack(
        _model(case),
        n_iter=steps,
        norm=NORMS[case.norm],
        n_restarts=1,
        eps=case.eps,
        seed=_seed(case),
        loss=loss,
        eot_iter=eot,
        device=case.images.device,
        logger=_silent(),
    )
    found: Tensor = attack.perturb(case.images.float(), case.criterion.labels)
    return found


def _model(case: Case) -> Callable[[Tensor], Tensor]:
    """The watched model for a library that computes in float32, whatever the model's own type."""
    return lambda images: case.model(images.to(case.images.dtype)).float()


def _seed(case: Case) -> int:
    return case.seed + case.restart


@torch.no_grad()
def _classes(case: Case, name: str, *, at_least: int) -> int:
    classes = case.model.score(case.images[:1]).shape[1]
    if classes < at_least:
        raise UserError(
            f"{name} needs {at_least} classes or more, the model has {classes}: take cw-linf, which has the "
            "same aim, or another attack."
        )
    return classes


def _silent() -> logging.Logger:
    """Zero gradients are counted by our own panel; the library would warn of each batch."""
    logger = logging.getLogger("causalnb.silent")
    logger.disabled = True
    return logger


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What the library warns of, each once; its logger and the trace function that its check drops are
    afterwards as they were.
    """
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage().partition(" See ")[0]
            if message not in seen:
                seen.append(message)

    logger, trace, handler = logging.getLogger("auto-attack"), sys.gettrace(), Keep(logging.WARNING)
    before: tuple[bool, Any] = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield seen
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
        sys.settrace(trace)
