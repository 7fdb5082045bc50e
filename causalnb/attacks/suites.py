"""Suites of attacks: the cheap ones first, what is broken dropped, and the worst case of each image in the
end.

A model is as robust as the strongest attack on each image says, not as the mean of attacks or the best row.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from causalnb import UserError
from causalnb.attacks import ball, flags
from causalnb.attacks.contract import run
from causalnb.attacks.results import AttackResult
from causalnb.attacks.watch import Criterion, device_of, preserved_state, score
from causalnb.randomness import whole_seed
from causalnb.statistics import Estimate, proportion
from causalnb.store import Store, memo

SUITES: dict[str, str] = {
    "short": "minutes: each kind of attack with few steps, to see a weak model early",
    "full": "PGD and the margin with 40 steps, then the standard suite; in L2 also DDN",
    "standard": "AutoAttack's own: APGD-CE, APGD-T, FAB-T with 100 steps, Square with 5,000 queries",
    "rand": "AutoAttack's for models that draw at random: APGD-CE and APGD-DLR, 20 draws a step",
}


@dataclass(frozen=True)
class Step:
    """One attack of a suite with its settings."""

    name: str
    settings: dict[str, Any]


def steps_of(suite: str, *, norm: str, eps: float, classes: int) -> tuple[Step, ...]:
    """The attacks of a suite, the cheap ones first.

    With two or three classes the losses that need four are replaced by the margin: that is no longer
    AutoAttack's own.
    """

    def walk(name: str, steps: int, **more: Any) -> Step:
        return Step(name, {**ball.pgd_schedule(eps, steps), **more})

    targeted = Step("apgd-t", {"steps": 100}) if classes >= 4 else walk("cw-linf", 100, restarts=3)
    standard = (
        Step("apgd-ce", {"steps": 100}),
        targeted,
        Step("fab-t", {"steps": 100}),
        Step("square", {"queries": 5000, "rescale": False}),
    )
    short_targeted = Step("apgd-t", {"steps": 20, "n_targets": 3}) if classes >= 4 else walk("cw-linf", 20)
    third = Step("apgd-dlr", {"steps": 100, "eot": 20}) if classes >= 3 else walk("cw-linf", 100)
    table = {
        "short": (
            Step("fgsm", {}),
            walk("pgd", 10),
            walk("cw-linf", 20),
            Step("apgd-ce", {"steps": 20}),
            short_targeted,
            Step("square", {"queries": 300, "rescale": True}),
        ),
        "full": (
            Step("fgsm", {}),
            walk("pgd", 40),
            walk("cw-linf", 40),
            *((Step("ddn", {"steps": 200}),) if norm == "l2" else ()),
            *standard,
        ),
        "standard": standard,
        "rand": (Step("apgd-ce", {"steps": 100, "eot": 20}), third),
    }
    if suite not in table:
        raise ValueError(f"suite = {suite!r} is not possible: it is one of {', '.join(table)}.")
    return table[suite]


@dataclass(frozen=True)
class Evaluation:
    """What a suite did to n images.

    results   of each attack, on the images that it was given: `rows[i]` [m] are their places among all
    correct   [n] whether the clean prediction is right; robust: right, and broken by no attack
    images    [n, ...] the first success against each image, else the clean image
    flags     sentences: what a reader must know before believing the numbers
    """

    suite: str
    results: tuple[AttackResult, ...]
    rows: tuple[Tensor, ...]
    correct: Tensor
    robust: Tensor
    images: Tensor
    flags: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of all attacks together."""
        return sum(result.seconds for result in self.results)

    def accuracy(self, *, level: float = 0.95) -> Estimate:
        """Clean accuracy, with Wilson's interval."""
        return proportion(int(self.correct.sum()), len(self.correct), level=level)

    def robust_accuracy(self, *, level: float = 0.95) -> Estimate:
        """The share of images right before and after every attack, with Wilson's interval."""
        return proportion(int(self.robust.sum()), len(self.robust), level=level)


def evaluate(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    eps: float,
    suite: str | Sequence[Step],
    seed: int,
    chunk: int = 128,
    drop: bool = True,
    store: Store | None = None,
    heard: Callable[[AttackResult, Tensor], None] = lambda result, rows: None,
) -> Evaluation:
    """Attack images with a suite.

    model     logits [n, classes] of images [n, ...] in [0, 1]
    suite     a name in SUITES, or attacks with their settings
    drop      whether an image that is broken is spared the rest of the attack and the attacks that come
              later: the worst case is the same for much less
    store     where each attack on each chunk is kept: an evaluation that was stopped goes on there
    heard     takes each attack's result, and the places of its images among all, as soon as it is there

    Refused: what `run` refuses, whether or not an image is left to attack, and a suite without attacks.

    >>> model = lambda x: torch.stack([torch.zeros(len(x)), x.flatten(1).sum(dim=1) - 1], dim=1)
    >>> images = torch.full((2, 1, 2, 2), 0.3); images[1] = 0.9
    >>> labels, suite = torch.ones(2, dtype=torch.int64), [Step("fgsm", {})]
    >>> evaluate(model, images, labels, norm="linf", eps=0.1, suite=suite, seed=0).robust
    tensor([False,  True])
    """
    if not isinstance(suite, str) and not len(suite):
        raise UserError(
            "The suite has no attacks, and no attack breaks no image: give one of "
            f"{', '.join(SUITES)}, or at least one Step."
        )
    eps, seed = ball.plain(eps), whole_seed(seed)
    first = correct(model, images, labels, seed=seed, chunk=chunk)
    device = device_of(model, first.clean)
    ball.refuse_budget(eps, first.clean, norm)
    with preserved_state(model, device, seed), torch.no_grad():
        classes = score(model, first.clean[:1].to(device)).shape[1]
    chosen = steps_of(suite, norm=norm, eps=eps, classes=classes) if isinstance(suite, str) else tuple(suite)
    images, labels, right = first.clean, first.criterion.labels, first.correct
    robust, best = right.clone(), images.clone()
    results: list[AttackResult] = []
    rows: list[Tensor] = []
    for step in chosen:
        left = (robust if drop else right).nonzero().flatten()
        if not len(left):
            break
        asked: dict[str, Any] = {"norm": norm, "eps": eps, "seed": seed, "chunk": chunk, "stop": drop}
        asked |= {key: ball.plain(value) for key, value in step.settings.items()}
        parts = [
            memo(store, f"{step.name} in a suite", run, step.name, model, images[part], labels[part], **asked)
            for part in torch.split(left, chunk)
        ]
        result = joined(parts)
        anew = result.found & robust[left]
        best[left[anew]] = result.images[anew]
        robust[left] &= ~result.found
        results.append(result)
        rows.append(left)
        heard(result, left)
    chance = flags.near_chance(int(right.sum()), len(right), classes)
    said = [
        *first.flags,
        *([f"clean accuracy near chance: {chance}"] if chance else []),
        *_flags(model, images, labels, right, results, rows, device, seed, chunk),
    ]
    return Evaluation(
        suite if isinstance(suite, str) else "own",
        tuple(results),
        tuple(rows),
        right,
        robust,
        best,
        tuple(dict.fromkeys(said)),
    )


def correct(
    model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, seed: int = 0, chunk: int = 128
) -> AttackResult:
    """Which images the model gets right, and what cannot be attacked refused: an attack of size nothing."""
    return run("noise", model, images, labels, norm="linf", eps=0.0, seed=seed, chunk=chunk, kind="sign")


def joined(results: Sequence[AttackResult]) -> AttackResult:
    """The results of one attack on several batches as that on all of them."""
    first = results[0]
    names = ("images", "candidates", "found", "correct", "predicted", "distance", "clean")
    cat: dict[str, Any] = {name: torch.cat([getattr(one, name) for one in results]) for name in names}
    targets = (
        None
        if first.criterion.targets is None
        else torch.cat([one.criterion.targets for one in results if one.criterion.targets is not None])
    )
    queries = sum(one.queries[0] for one in results), sum(one.queries[1] for one in results)
    flags = tuple(dict.fromkeys(flag for one in results for flag in one.flags))
    return replace(
        first,
        **cat,
        criterion=Criterion(torch.cat([one.criterion.labels for one in results]), targets),
        queries=queries,
        seconds=sum(one.seconds for one in results),
        flags=flags,
    )


def _flags(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    correct: Tensor,
    results: Iterable[AttackResult],
    rows: Iterable[Tensor],
    device: torch.device,
    seed: int,
    chunk: int,
) -> Iterable[str]:
    some = correct.nonzero().flatten()[:chunk]
    if len(some):
        with preserved_state(model, device, seed):
            yield from flags.before_attacking(model, images[some].to(device), labels[some].to(device))
    before = correct.clone()
    for result, left in zip(results, rows, strict=True):
        yield from result.flags
        alone = int((result.found & before[left]).sum())
        if result.name == "square" and alone > max(1, math.floor(0.002 * len(images))):
            yield (
                f"square improves: it alone broke {alone} images that gradients left, which points at "
                "masked gradients"
            )
        before[left] &= ~result.found


def worst_case(results: Sequence[AttackResult]) -> Tensor:
    """[n] whether an image is right and broken by none of the attacks, all run on the same n images.

    >>> from causalnb.attacks import run
    >>> model = lambda x: torch.stack([torch.zeros(len(x)), x.flatten(1).sum(dim=1) - 1], dim=1)
    >>> images, labels = torch.full((1, 1, 2, 2), 0.3), torch.tensor([1])
    >>> worst_case([run("fgsm", model, images, labels, norm="linf", eps=eps, seed=0) for eps in (0.01, 0.1)])
    tensor([False])
    """
    if not results:
        raise ValueError("a worst case over no attack says nothing: give at least one result.")
    first = results[0]
    for other in results[1:]:
        if not torch.equal(other.clean, first.clean) or not torch.equal(other.correct, first.correct):
            raise ValueError(
                f"{other.name} and {first.name} were not run on the same images and model: a worst case is "
                "taken image by image."
            )
    return first.correct & ~torch.stack([result.found for result in results]).any(dim=0)


def renamed(result: AttackResult) -> str:
    """The attack's name with what makes it another one than its name says: "square-300 (rescaled)"."""
    if result.name == "square":
        return f"square-{result.settings['queries']}" + (" (rescaled)" if result.settings["rescale"] else "")
    steps = f"-{result.settings['steps']}" if "steps" in result.settings else ""
    restarts = f" x {result.settings['restarts']}" if result.settings.get("restarts", 1) > 1 else ""
    return result.name + steps + restarts
