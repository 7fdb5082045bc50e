"""The contract of every attack: what goes in is checked, what comes out is judged by a fresh look at the model.

Only images that the model gets right are attacked. A success is an image inside the box [0, 1] and the budget that the
untouched model, asked again, misclassifies (or takes for the target). A failure is a value: exactly the clean image,
`found` False, `distance` nan. How the single attacks search is foolbox_adapter.py's.
"""

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from causalnb import UserError, console
from causalnb.attacks import ball, foolbox_adapter
from causalnb.attacks.foolbox_adapter import Case
from causalnb.attacks.noise import NORMS as NOISE_NORMS
from causalnb.attacks.noise import noise
from causalnb.attacks.watch import Goal, Watched, device_of, score, untouched

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Attack:
    """A row of the table: how candidates are made, in which norms, and what the attack can do.

    The keyword arguments of `candidates` are the attack's settings; those without a default must be given.
    """

    candidates: Callable[..., Tensor]
    norms: tuple[str, ...]
    targeted: bool = False
    minimum_norm: bool = False
    restarts: bool = False


def _placebo(case: Case, *, kind: str, perturbation: Tensor | None = None) -> Tensor:
    return noise(case.images, kind=kind, norm=case.norm, eps=case.eps, seed=case.seed, perturbation=perturbation)


ATTACKS: dict[str, Attack] = {
    "fgsm": Attack(foolbox_adapter.fgsm, norms=("linf", "l2")),
    "pgd": Attack(foolbox_adapter.pgd, norms=("linf", "l2"), targeted=True, restarts=True),
    "cw": Attack(foolbox_adapter.cw, norms=("l2",), targeted=True, minimum_norm=True),
    "noise": Attack(_placebo, norms=tuple(sorted({norm for norms in NOISE_NORMS.values() for norm in norms}))),
}


@dataclass(frozen=True, repr=False)
class AttackResult:
    """What one attack did to n images, everything on the images' own device.

    images      [n, ...] attacked where found, else exactly the clean image
    found       [n] bool; correct: the clean prediction was right, so the image was attacked
    predicted   [n] the class of `images`, by a fresh forward pass
    distance    [n] float64 in `norm` and pixel units, nan where not found
    queries     images that went forward and backward for the attack alone, without the judging
    flags       sentences: what a reader must know before believing the numbers
    """

    name: str
    norm: str
    eps: float | None
    settings: dict[str, Any]
    images: Tensor
    found: Tensor
    correct: Tensor
    predicted: Tensor
    distance: Tensor
    queries: tuple[int, int]
    seconds: float
    flags: tuple[str, ...]
    clean: Tensor
    goal: Goal

    def __repr__(self) -> str:
        """One line instead of every pixel."""
        broken, attacked = self.success_among_correct
        return f"AttackResult({self.name}, {self.norm}, eps={self.eps}: {broken} of {attacked} attacked images broken, flags={self.flags})"

    @property
    def success_among_correct(self) -> tuple[int, int]:
        """Images broken, of those that were right and so were attacked."""
        return int(self.found.sum()), int(self.correct.sum())

    @property
    def success_among_all(self) -> tuple[int, int]:
        """Images that are wrong in the end (or taken for the target), clean errors among them, of all: the count that libraries print."""
        already = ~self.correct if self.goal.targets is None else ~self.correct & (self.predicted == self.goal.targets)
        return int((self.found | already).sum()), len(self.found)

    @property
    def robust_accuracy(self) -> tuple[int, int]:
        """Images that are right before and after, of all."""
        return int((self.correct & ~self.found).sum()), len(self.found)

    def within(self, eps: float) -> "AttackResult":
        """The same result judged at the budget `eps`: images beyond it become the clean image, not found."""
        if self.eps is not None and eps > self.eps:
            raise ValueError(f"this {self.name} searched within eps = {self.eps}: at {eps} it says nothing.")
        kept = self.found & (self.distance <= eps + TOLERANCE)
        images = torch.where(ball.aligned(kept, self.images), self.images, self.clean)
        predicted = torch.where(self.found & ~kept, self.goal.labels, self.predicted)
        return replace(self, eps=eps, images=images, found=kept, predicted=predicted, distance=self.distance.where(kept, torch.nan))


def run(name: str, model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, norm: str, eps: float | None, step: float | None = None,
        steps: int | None = None, targets: Tensor | None = None, seed: int, chunk: int = 128, **settings: Any) -> AttackResult:
    """Attack each image that the model gets right.

    name      fgsm, pgd (step, steps, restarts=1), cw (step, steps, binary_search_steps, initial_const, confidence=0),
              noise (kind, perturbation: see `noise`)
    model     logits [n, classes] of images [n, ...] in [0, 1]; normalisation belongs inside it
    norm      "linf" or "l2", where the attack has it
    eps       the budget in pixel units; None asks cw for the smallest perturbation, whatever its size
    targets   [n] the class wanted for each image (pgd, cw); success then means that class and no other
    seed      with an image's own pixels it decides that image's random start, the same for every eps
    chunk     images in memory at a time

    Refused: pixels outside [0, 1] by more than 1e-6, outputs that are finite for no image, settings the attack does not
    have or that it needs and are not given. Images with pixels that are not finite are not attacked, and flagged.

    >>> model = lambda images: torch.stack([torch.zeros(len(images)), images.flatten(1).sum(dim=1) - 1], dim=1)
    >>> run("fgsm", model, torch.full((1, 1, 2, 2), 0.3), torch.tensor([1]), norm="linf", eps=0.06, seed=0).found
    tensor([True])
    """
    attack = _known(name, norm, eps, targets)
    settings = _settings(name, attack, settings | {key: value for key, value in (("step", step), ("steps", steps)) if value is not None})
    clean, finite = _boxed(images)
    goal = _goal(clean, labels, targets)
    start, device = time.perf_counter(), device_of(model, images)
    with untouched(model, device, int(seed)):
        logits = _logits(model, clean, device, chunk)
        correct = _right(logits, goal, finite)
        rows = correct.nonzero().flatten()
        whole = clean.clone(), torch.zeros_like(correct), logits.argmax(dim=1), torch.full(correct.shape, torch.nan, dtype=torch.float64, device=clean.device)
        with closing(_ticks(name, len(rows), chunk, settings)) as ticks:
            watched = Watched(model, device, ticks)
            for part in torch.split(rows, chunk) if len(rows) else ():
                case = Case(watched, clean[part].to(device), goal.at(part).to(device), norm, math.inf if eps is None else eps, int(seed))
                for values, some in zip(whole, _search(attack, case, **_of(part, settings, device)), strict=True):
                    values[part] = some.to(clean.device)
    attacked, found, predicted, distance = whole
    return AttackResult(
        name=name, norm=norm, eps=eps, settings=_recorded(settings) | {"seed": int(seed), "chunk": chunk}, images=attacked, found=found, correct=correct,
        predicted=predicted, distance=distance, queries=(watched.forwards, watched.backwards), seconds=time.perf_counter() - start,
        flags=tuple(_flags(attack, eps or 0.0, settings, logits, finite)), clean=clean, goal=goal)


def _search(attack: Attack, case: Case, *, restarts: int = 1, **settings: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, found, predicted, distance of one case: attack, pull into the ball, ask the model afresh, repeat on what is left."""
    images, found = case.images.clone(), torch.zeros_like(case.goal.labels, dtype=torch.bool)
    predicted, distance = case.goal.labels.clone(), torch.full(found.shape, torch.nan, dtype=torch.float64, device=found.device)
    radius = math.inf if attack.minimum_norm else case.eps
    for restart in range(restarts):
        left = (~found).nonzero().flatten()
        if not len(left):
            break
        trial = replace(case, images=case.images[left], goal=case.goal.at(left), restart=restart)
        case.model.follow(trial.images, trial.goal)
        candidates = attack.candidates(trial, **_of(left, settings, found.device))
        if not attack.minimum_norm:
            candidates = case.model.last_success(candidates)
        candidates = ball.inside(trial.images, candidates, case.norm, radius)
        with torch.no_grad():
            logits = case.model.score(candidates)
        size = ball.distance(trial.images, candidates, case.norm)
        hit = trial.goal.reached(logits) & (size <= case.eps + TOLERANCE)
        for values, some in zip((images, predicted, distance), (candidates, logits.argmax(dim=1), size), strict=True):
            values[left[hit]] = some[hit]
        found[left[hit]] = True
    return images, found, predicted, distance


def _of(rows: Tensor, settings: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The settings with those that hold a value for each image cut to the given rows."""
    return {key: value[rows.to(value.device)].to(device) if isinstance(value, Tensor) else value for key, value in settings.items()}


def _recorded(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not isinstance(value, Tensor)}


def _ticks(name: str, n: int, chunk: int, settings: dict[str, Any]) -> Any:
    passes = math.prod(settings.get(key, 1) for key in ("restarts", "steps", "binary_search_steps")) * math.ceil(n / chunk)
    return console.progress(range(passes), what=name, total=passes)


def _known(name: str, norm: str, eps: float | None, targets: Tensor | None) -> Attack:
    """The table's row of that name, or a sentence that says what is possible."""
    if name not in ATTACKS:
        raise ValueError(f"{name!r} is no attack known here: known are {', '.join(ATTACKS)}.")
    attack = ATTACKS[name]
    if norm not in attack.norms:
        raise ValueError(f"{name} has no norm {norm!r}: it has {', '.join(attack.norms)}.")
    if eps is None and not attack.minimum_norm:
        raise ValueError(f"{name} needs eps: it searches inside a ball. eps=None asks for the smallest perturbation, which {_names('minimum_norm')} can do.")
    if eps is not None and not (isinstance(eps, Real) and 0 <= eps < math.inf):
        raise ValueError(f"eps = {eps!r} is not possible: the attack budget is one number from 0 (pixel units); a curve is one call for each eps.")
    if targets is not None and not attack.targeted:
        raise ValueError(f"{name} has no targets: {_names('targeted')} can be sent to a class.")
    return attack


def _names(ability: str) -> str:
    return " and ".join(name for name, attack in ATTACKS.items() if getattr(attack, ability))


def _settings(name: str, attack: Attack, given: dict[str, Any]) -> dict[str, Any]:
    """All settings of the attack, the given ones and its defaults; what is missing or unknown is refused."""
    known = {key: parameter.default for key, parameter in list(inspect.signature(attack.candidates).parameters.items())[1:]}
    known |= {"restarts": 1} if attack.restarts else {}
    if unknown := [key for key in given if key not in known]:
        raise ValueError(f"{name} has no setting {unknown[0]!r}: it has {', '.join(known) or 'none'}.")
    if missing := [key for key, default in known.items() if default is inspect.Parameter.empty and key not in given]:
        raise ValueError(f"{name} needs {' and '.join(missing)}: no library's default stands in for a number that decides the result.")
    for key, value in given.items():
        if isinstance(value, (int, float)) and not (value > 0 or value == known[key]):
            raise ValueError(f"{key} = {value} is not possible for {name}: it is a number above 0.")
    return known | given


def _boxed(images: Tensor) -> tuple[Tensor, Tensor]:
    """The images clipped to [0, 1] where they miss it by rounding, and [n] whether all their pixels are finite."""
    if not images.is_floating_point() or images.dim() < 2 or not len(images):
        raise ValueError(f"images must be floating point [n, ...] with n at least 1, got {images.dtype} {tuple(images.shape)}.")
    finite = images.isfinite().flatten(1).all(dim=1)
    outside = ((images < -TOLERANCE) | (images > 1 + TOLERANCE)) & ball.aligned(finite, images)
    if outside.any():
        index = outside.nonzero()[0].tolist()
        usable = images[finite]
        raise UserError(f"images[{', '.join(map(str, index))}] = {images[tuple(index)]:.7g} lies outside [0, 1] (these images reach from {usable.min():.4g} to "
                        f"{usable.max():.4g}): give pixels in [0, 1] and keep normalisation inside the model.")
    return images.detach().clamp(0, 1), finite


def _goal(images: Tensor, labels: Tensor, targets: Tensor | None) -> Goal:
    for what, classes in (("labels", labels), ("targets", targets)):
        if classes is not None and (classes.shape != (len(images),) or classes.is_floating_point()):
            raise ValueError(f"{what} must be whole numbers [{len(images)}], one for each image, got {classes.dtype} {tuple(classes.shape)}.")
    if targets is not None and (targets.to(labels.device) == labels).any():
        raise ValueError(f"targets[{int((targets.to(labels.device) == labels).nonzero()[0])}] is the image's own label: a target is another class.")
    return Goal(labels.long(), None if targets is None else targets.long()).to(images.device)


@torch.no_grad()
def _logits(model: Callable[[Tensor], Tensor], images: Tensor, device: torch.device, chunk: int) -> Tensor:
    return torch.cat([score(model, part.to(device)) for part in torch.split(images, chunk)]).to(images.device)


def _right(logits: Tensor, goal: Goal, finite: Tensor) -> Tensor:
    """[n] whether the image is usable and its clean prediction right."""
    for what, classes in (("labels", goal.labels), ("targets", goal.targets)):
        if classes is not None and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
            raise ValueError(f"{what} run from {int(classes.min())} to {int(classes.max())}, the model has classes 0 to {logits.shape[1] - 1}.")
    usable = finite & logits.isfinite().all(dim=1)
    if finite.any() and not usable.any():
        raise UserError(f"the model's outputs are not finite for any of the {int(finite.sum())} images: look at its weights and its normalisation.")
    return usable & (logits.argmax(dim=1) == goal.labels)


def _flags(attack: Attack, eps: float, settings: dict[str, Any], logits: Tensor, finite: Tensor) -> Iterator[str]:
    """What a reader must know before believing the numbers."""
    reach = settings["steps"] * settings["step"] if "step" in settings and not attack.minimum_norm else math.inf
    if reach < 2 * eps - TOLERANCE:
        yield f"short path: steps x step = {reach:.4g} cannot cross the ball, 2 eps = {2 * eps:.4g}"
    if not finite.all():
        yield f"pixels not finite: {int((~finite).sum())} images were not attacked"
    usable = logits[finite]
    if not usable.isfinite().all():
        yield f"logits not finite: {int((~usable.isfinite().all(dim=1)).sum())} images were not attacked"
    if len(usable) and ((usable >= 0) & (usable <= 1)).all() and ((usable.sum(dim=1) - 1).abs() < 1e-4).all():
        yield "softmax outputs: gradients vanish where the model is sure, give logits"
    if len(usable) > 1 and (usable == usable[0]).all():
        yield "constant outputs: the model gives every image the same logits"
