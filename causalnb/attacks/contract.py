"""The contract of every attack: what goes in is checked, what comes out is judged by a fresh look at the
model.

Only images that the model gets right are attacked, unless every one is asked for. A success is an image
inside the box [0, 1] and the budget that the untouched model, asked again, misclassifies (or takes for the
target), and that no detector flags where one is given. A failure is a value: exactly the clean image, `found`
False, `distance` nan. How the single attacks search is foolbox_adapter.py's.
"""

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from causalnb.attacks import autoattack_adapter, ball, checked, foolbox_adapter
from causalnb.attacks.checked import TOLERANCE, boxed, criterion_of, logits_of, recorded, right, ticks
from causalnb.attacks.flags import probabilities
from causalnb.attacks.foolbox_adapter import Case
from causalnb.attacks.noise import NORMS as NOISE_NORMS
from causalnb.attacks.noise import noise
from causalnb.attacks.results import AttackResult
from causalnb.attacks.stadv import stadv
from causalnb.attacks.watch import ROWS, Detected, Loss, WatchedModel, device_of, preserved_state
from causalnb.randomness import whole_seed


@dataclass(frozen=True)
class Attack:
    """A row of the table: how candidates are made, in which norms, and what the attack can do.

    The keyword arguments of `candidates` are the attack's settings; those without a default must be given. It
    returns images, or images with the size of each perturbation where the norm is none of pixels.
    remembers   whether the library keeps its own successes; for the others the last iterate that succeeded is
                kept here
    batchwise   whether it draws for a whole batch at once, so that an image's result hangs on its neighbours
    losses      whether it can climb a loss of the caller's
    """

    candidates: Callable[..., Tensor | tuple[Tensor, Tensor]]
    norms: tuple[str, ...] = ("linf", "l2")
    targeted: bool = False
    minimum_norm: bool = False
    restarts: bool = False
    remembers: bool = False
    batchwise: bool = False
    losses: bool = False


def _placebo(case: Case, *, kind: str, perturbation: Tensor | None = None) -> Tensor:
    return noise(
        case.images, kind=kind, norm=case.norm, eps=case.eps, seed=case.seed, perturbation=perturbation
    )


def _transfer(case: Case, *, source: Callable[[Tensor], Tensor], by: str = "pgd", **settings: Any) -> Tensor:
    """What attack `by` makes of another model, the twin: broken or not, its last iterates are shown to the
    model itself.
    """
    row = ATTACKS[by]
    if row.minimum_norm or by == "transfer":
        raise ValueError(f"by = {by!r} is not possible: transfer takes an attack inside a ball, such as pgd.")
    twin = WatchedModel(source, device_of(source, case.images), iter(()))
    with preserved_state(source, twin.device, case.seed):
        twin.follow(case.images, case.criterion)
        candidates = row.candidates(
            replace(case, model=twin), **_settings(by, replace(row, restarts=False), settings)
        )
    case.model.forwards, case.model.backwards = (
        case.model.forwards + twin.forwards,
        case.model.backwards + twin.backwards,
    )
    return cast(Tensor, candidates)


ATTACKS: dict[str, Attack] = {
    "fgsm": Attack(foolbox_adapter.fgsm, targeted=True, losses=True),
    "bim": Attack(foolbox_adapter.bim, targeted=True, losses=True),
    "pgd": Attack(foolbox_adapter.pgd, targeted=True, restarts=True, losses=True),
    "cw-linf": Attack(foolbox_adapter.cw_linf, targeted=True, restarts=True),
    "cw": Attack(foolbox_adapter.cw, norms=("l2",), targeted=True, minimum_norm=True),
    "ddn": Attack(foolbox_adapter.ddn, norms=("l2",), targeted=True, minimum_norm=True),
    "deepfool": Attack(foolbox_adapter.deepfool, minimum_norm=True),
    "hsj": Attack(foolbox_adapter.hsj, minimum_norm=True, targeted=True),
    "apgd-ce": Attack(autoattack_adapter.apgd_ce, restarts=True, remembers=True, batchwise=True),
    "apgd-dlr": Attack(autoattack_adapter.apgd_dlr, restarts=True, remembers=True, batchwise=True),
    "apgd-t": Attack(autoattack_adapter.apgd_t, restarts=True, remembers=True, batchwise=True),
    "fab-t": Attack(autoattack_adapter.fab_t, minimum_norm=True, remembers=True),
    "square": Attack(autoattack_adapter.square, restarts=True, remembers=True, batchwise=True),
    "autoattack": Attack(autoattack_adapter.autoattack, remembers=True, batchwise=True),
    "stadv": Attack(stadv, norms=("flow",), targeted=True, remembers=True),
    "transfer": Attack(_transfer, targeted=True),
    "noise": Attack(
        _placebo, norms=tuple(sorted({norm for norms in NOISE_NORMS.values() for norm in norms}))
    ),
}


def run(
    name: str,
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    eps: float | None,
    step: float | None = None,
    steps: int | None = None,
    targets: Tensor | None = None,
    seed: int,
    chunk: int = 128,
    stop: bool = False,
    every: bool = False,
    loss: Loss | None = None,
    detected: Detected | None = None,
    classes: int | None = None,
    **settings: Any,
) -> AttackResult:
    """Attack each image that the model gets right.

    name      a row of ATTACKS; its settings are documented where it is made. Gradients: fgsm, bim, pgd,
              cw-linf (step, steps), apgd-ce, apgd-dlr, apgd-t (steps). Minimum norm: cw, ddn, deepfool,
              fab-t, hsj. Without gradients: square, hsj. The rest: autoattack, transfer (source, by), stadv
              (norm "flow"), noise, the placebo
    model     logits [n, classes] of images [n, ...] in [0, 1]; normalisation belongs inside it
    norm      "linf" or "l2", where the attack has it; "flow" for stadv
    eps       the budget in pixel units ("flow": how far a pixel may move, in pixels); None asks the
              minimum-norm attacks for the smallest perturbation, whatever its size
    targets   [n] the class wanted for each image, where the attack has it; success then means that class and
              no other
    seed      with an image's own pixels it decides that image's random start, the same for every eps
    chunk     images in memory at a time
    stop      whether an image's search inside the ball ends with its first success. What is found is the same
              and costs less; the images are the first that cross the boundary, not the end of the path
    every     whether images that the model gets wrong are tried too: they have candidates, and are no success
    loss      climbed instead of the cross-entropy, image by image: (outputs, rows) -> [n], rows the places of
              these images among those given here (fgsm, bim, pgd)
    detected  (outputs, rows) -> [n], bool: which are flagged. A success is then fooled and undetected
    classes   how many of the model's columns are logits; those behind them are for `loss` and `detected`
              alone. None: all

    Refused: pixels outside [0, 1] by more than 1e-6, a budget larger than any perturbation there, outputs
    that are finite for no image, settings the attack does not have or that it needs and are not given. Images
    with pixels that are not finite are not attacked, and flagged.

    >>> model = lambda x: torch.stack([torch.zeros(len(x)), x.flatten(1).sum(dim=1) - 1], dim=1)
    >>> images, labels = torch.full((1, 1, 2, 2), 0.3), torch.tensor([1])
    >>> run("fgsm", model, images, labels, norm="linf", eps=0.06, seed=0).found
    tensor([True])
    """
    eps, step, steps, seed = (ball.plain(value) for value in (eps, step, steps, whole_seed(seed)))
    attack = _known(name, norm, eps, targets)
    settings = _settings(
        name,
        attack,
        settings | {key: value for key, value in (("step", step), ("steps", steps)) if value is not None},
    )
    clean, finite = boxed(images)
    if eps is not None:
        ball.refuse_budget(eps, clean, norm)
    if loss is not None and not attack.losses:
        raise ValueError(f"{name} climbs no loss of yours: {_names('losses')} can.")
    plain = criterion_of(clean, labels, targets)
    places = torch.arange(len(clean), device=clean.device)
    criterion = replace(plain, rows=places, detected=detected, classes=classes)
    start, device = time.perf_counter(), device_of(model, clean)
    with preserved_state(model, device, seed):
        logits = logits_of(model, clean, device, chunk)[:, :classes]
        correct = right(logits, criterion, finite)
        usable = finite & logits.isfinite().all(dim=1)
        rows = (usable if every else correct).nonzero().flatten()
        whole = (
            clean.clone(),
            clean.clone(),
            torch.zeros_like(correct),
            logits.argmax(dim=1),
            torch.full(correct.shape, torch.nan, dtype=torch.float64, device=clean.device),
        )
        with closing(ticks(name, len(rows), chunk, settings)) as passes:
            watched = WatchedModel(model, device, passes, rows=1 if attack.batchwise else ROWS)
            for part in torch.split(rows, chunk) if len(rows) else ():
                case = Case(
                    watched,
                    clean[part].to(device),
                    criterion.at(part).to(device),
                    norm,
                    math.inf if eps is None else eps,
                    seed,
                    loss=loss,
                )
                for values, some in zip(
                    whole, _search(attack, case, stop, **_of(part, settings, device)), strict=True
                ):
                    values[part] = some.to(clean.device)
    attacked, candidates, found, predicted, distance = whole
    if every:  # what was wrong before is no success
        attacked, found, predicted = (
            torch.where(ball.aligned(correct, some), some, other)
            for some, other in ((attacked, clean), (found, correct), (predicted, logits.argmax(dim=1)))
        )
        distance = distance.where(correct, torch.nan)
    asked = recorded(settings) | {"seed": seed, "chunk": chunk}
    asked |= recorded({"loss": loss, "detected": detected} if loss or detected else {})
    asked |= {key: True for key, value in (("stop", stop), ("every", every)) if value}
    return AttackResult(
        name=name,
        norm=norm,
        eps=eps,
        settings=asked,
        images=attacked,
        candidates=candidates,
        found=found,
        correct=correct,
        predicted=predicted,
        distance=distance,
        queries=(watched.forwards, watched.backwards),
        seconds=time.perf_counter() - start,
        flags=(*_flags(attack, eps or 0.0, settings, logits, finite), *dict.fromkeys(watched.flags)),
        clean=clean,
        criterion=plain,
    )


def _search(
    attack: Attack, case: Case, stop: bool, *, restarts: int = 1, **settings: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Images, candidates, found, predicted, distance of one case: attack, pull into the ball, ask the model
    afresh, repeat on what is left.
    """
    images, tried = case.images.clone(), case.images.clone()
    found = torch.zeros_like(case.criterion.labels, dtype=torch.bool)
    predicted, distance = (
        case.criterion.labels.clone(),
        torch.full(found.shape, torch.nan, dtype=torch.float64, device=found.device),
    )
    radius = math.inf if attack.minimum_norm else case.eps
    for restart in range(restarts):
        left = (~found).nonzero().flatten()
        if not len(left):
            break
        trial = replace(case, images=case.images[left], criterion=case.criterion.at(left), restart=restart)
        near = partial(_inside, trial) if stop and math.isfinite(case.eps) else None
        case.model.follow(trial.images, trial.criterion, near)
        candidates = attack.candidates(trial, **_of(left, settings, found.device))
        if isinstance(candidates, tuple):
            candidates, size = candidates
            tried[left] = candidates
        else:
            held = partial(ball.inside, trial.images, norm=case.norm, eps=radius)
            tried[left] = held(candidates.detach().to(trial.images.dtype))
            if near or not (attack.minimum_norm or attack.remembers):
                candidates = case.model.last_success(candidates)
            candidates = held(candidates.detach().to(trial.images.dtype))
            size = ball.distance(trial.images, candidates, case.norm)
        with torch.no_grad():
            outputs = case.model.score(candidates)
        hit = trial.criterion.reached(outputs) & (size <= case.eps + TOLERANCE)
        for values, some in zip(
            (images, tried, predicted, distance),
            (candidates, candidates, trial.criterion.logits(outputs).argmax(dim=1), size),
            strict=True,
        ):
            values[left[hit]] = some[hit]
        found[left[hit]] = True
    return images, tried, found, predicted, distance


def _inside(case: Case, images: Tensor) -> Tensor:
    return ball.distance(case.images, images, case.norm) <= case.eps + TOLERANCE


def _of(rows: Tensor, settings: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The settings with those that hold a value for each image cut to the given rows."""
    return {
        key: value[rows.to(value.device)].to(device) if isinstance(value, Tensor) else value
        for key, value in settings.items()
    }


def _known(name: str, norm: str, eps: float | None, targets: Tensor | None) -> Attack:
    """The table's row of that name, or a sentence that says what is possible."""
    if name not in ATTACKS:
        raise ValueError(f"{name!r} is no attack known here: known are {', '.join(ATTACKS)}.")
    attack = ATTACKS[name]
    if norm not in attack.norms:
        raise ValueError(f"{name} has no norm {norm!r}: it has {', '.join(attack.norms)}.")
    if eps is None and not attack.minimum_norm:
        raise ValueError(
            f"{name} needs eps: it searches inside a ball. eps=None asks for the smallest perturbation, "
            f"which {_names('minimum_norm')} can do."
        )
    if targets is not None and not attack.targeted:
        raise ValueError(f"{name} has no targets: {_names('targeted')} can be sent to a class.")
    return attack


def _names(ability: str) -> str:
    return " and ".join(name for name, attack in ATTACKS.items() if getattr(attack, ability))


def _settings(name: str, attack: Attack, given: dict[str, Any]) -> dict[str, Any]:
    """All settings of the attack, the given ones and its defaults; what is missing or unknown is refused."""
    parameters = list(inspect.signature(attack.candidates).parameters.values())[1:]
    given = checked.plain_settings(name, parameters, given)
    known = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    known |= {"restarts": 1} if attack.restarts else {}
    if len(known) == len(parameters) + attack.restarts and (
        unknown := [key for key in given if key not in known]
    ):
        raise ValueError(f"{name} has no setting {unknown[0]!r}: it has {', '.join(known) or 'none'}.")
    if missing := [
        key for key, default in known.items() if default is inspect.Parameter.empty and key not in given
    ]:
        raise ValueError(
            f"{name} needs {' and '.join(missing)}: no library's default stands in for a number that decides "
            "the result."
        )
    for key, value in given.items():
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and not (value > 0 or value == known.get(key))
        ):
            raise ValueError(f"{key} = {value} is not possible for {name}: it is a number above 0.")
    return known | given


def _flags(
    attack: Attack, eps: float, settings: dict[str, Any], logits: Tensor, finite: Tensor
) -> Iterator[str]:
    """What a reader must know before believing the numbers."""
    reach = (
        settings["steps"] * settings["step"] if "step" in settings and not attack.minimum_norm else math.inf
    )
    if reach < 2 * eps - TOLERANCE:
        yield f"short path: steps x step = {reach:.4g} cannot cross the ball, 2 eps = {2 * eps:.4g}"
    if not finite.all():
        yield f"pixels not finite: {int((~finite).sum())} images were not attacked"
    usable = logits[finite]
    if not usable.isfinite().all():
        yield f"logits not finite: {int((~usable.isfinite().all(dim=1)).sum())} images were not attacked"
    if probabilities(usable):
        yield "softmax outputs: gradients vanish where the model is sure, give logits"
    if len(usable) > 1 and (usable == usable[0]).all():
        yield "constant outputs: the model gives every image the same logits"
