"""Indicators that an attack failed: the rows of the sanity panel, one function each, a number and a sentence
from each.

Attacks run through `run` alone; gradients are looked at, never followed. What the rows are called, in which
order they stand, and which demand each answers is panel.py's.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.attacks import ball, flags
from causalnb.attacks.contract import run
from causalnb.attacks.flags import margins
from causalnb.attacks.planted import ALLOWED, NEEDED, entering_last_linear, planted_control
from causalnb.attacks.watch import score

Model = Callable[[Tensor], Tensor]

SEEDS = 5  # of restarts
DRAWS = 10  # uniform points or directions for each image
QUERIES = 100  # of Square, rescaled
DIFFERENCES = 32  # images for finite differences
LARGEST_MARGIN = 5  # of the logits after division
FLAT = 0.05  # of the loss's rise, in the last tenth of the steps: half of what a straight climb gains there
AGREEMENT = 1e-3  # relative error of a finite difference
NOISE = {"linf": "uniform", "l2": "gauss"}


class Finding(NamedTuple):
    """What a row found: whether it holds (None: it has no meaning here), its number, a sentence."""

    holds: bool | None
    value: float | None
    sentence: str


UNFOLLOWED = Finding(
    False, None, "PGD's path could not be followed: the model's clean answers change from pass to pass"
)


class Traced(nn.Module):
    """A model that notes the margins of every pass of a whole batch: [n] each, and whether gradients were
    asked.
    """

    def __init__(self, model: Model, labels: Tensor) -> None:
        """`labels` [n] of the batch that is followed."""
        super().__init__()
        self.model, self.labels = model, labels
        self.passes: list[tuple[bool, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits, as they are."""
        logits = self.model(images)
        if len(logits) >= len(self.labels):
            self.passes.append(
                (images.requires_grad, margins(logits.detach()[: len(self.labels)], self.labels))
            )
        return logits


class Divided(nn.Module):
    """A model's logits divided by a number: the same decisions."""

    def __init__(self, model: Model, by: float) -> None:
        """`by` is above 0."""
        super().__init__()
        self.model, self.by = model, by

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.model(images) / self.by


@dataclass(frozen=True)
class Bench:
    """The images [n, ...] that the model gets right, their clean logits [n, classes], the budget, and the
    attacks run so far.
    """

    model: Model
    images: Tensor
    labels: Tensor
    logits: Tensor
    norm: str
    eps: float
    seed: int
    steps: int
    chunk: int
    planted: int
    features: Model | None
    known: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def slack(self) -> int:
        """How many images may go the other way where two searches are compared: one in twenty, two at least,
        since each search is one path.
        """
        return max(2, math.ceil(0.05 * self.n))

    @property
    def by_chance(self) -> int:
        """How many images a model without knowledge gets right: one in `classes`."""
        return self.n // self.logits.shape[1]

    @property
    def whole(self) -> float:
        """The budget that reaches all of the box [0, 1] from anywhere in it."""
        return radius_of_box(self.images, self.norm)

    def broken(
        self,
        name: str,
        *,
        eps: float | None = None,
        steps: int | None = None,
        again: int = 0,
        over: float = 1.0,
        **settings: Any,
    ) -> Tensor:
        """[n] whether images are wrong after an attack; with `steps`, its `walk`. `again` is another seed,
        `over` divides the logits.
        """
        eps = self.eps if eps is None else eps
        if steps is not None:
            settings |= self.walk(eps, steps)
        key = (name, eps, again, over, *sorted(settings.items()))
        if key not in self.known:
            model = self.model if over == 1 else Divided(self.model, over)
            result = run(
                name,
                model,
                self.images,
                self.labels,
                norm=self.norm,
                eps=eps,
                seed=self.seed + again,
                chunk=self.chunk,
                stop=True,
                **settings,
            )
            self.known[key] = result.found | ~result.correct
        return self.known[key]

    def square(self, eps: float) -> Tensor:
        """[n] whether Square breaks images."""
        return self.broken("square", eps=eps, queries=QUERIES, rescale=True)

    @cached_property
    def path(self) -> tuple[Tensor, Tensor] | None:
        """PGD's path on one batch, margins of each iterate [steps + 1, n], and what `run` says was found [n].

        None where the clean answers change from pass to pass, so that the rows are not the images.
        """
        some, labels = self.images[: self.chunk], self.labels[: self.chunk]
        traced = Traced(self.model, labels)
        result = run(
            "pgd",
            traced,
            some,
            labels,
            norm=self.norm,
            eps=self.eps,
            seed=self.seed,
            chunk=self.chunk,
            **self.walk(self.eps, self.steps),
        )
        if not result.correct.all():
            return None
        asked = [place for place, (gradients, _) in enumerate(traced.passes) if gradients]
        return torch.stack([noted for _, noted in traced.passes[asked[0] : asked[-1] + 2]]), result.found

    def walk(self, eps: float, steps: int) -> dict[str, Any]:
        """Settings of a search whose steps add up to 2.5 eps."""
        return {"steps": steps, "step": max(2.5 * eps / steps, 1e-12)}


def radius_of_box(images: Tensor, norm: str) -> float:
    """How far the box [0, 1] reaches from a corner of it."""
    return 1.0 if norm == "linf" else math.sqrt(images[0].numel())


# Budgets and steps ----------------------------------------------------------------------------------------


def nothing_at_zero(bench: Bench) -> Finding:
    """A budget of 0 breaks nothing: what breaks there is no perturbation."""
    broken = int((bench.broken("pgd", eps=0.0, steps=1) | bench.broken("cw-linf", eps=0.0, steps=1)).sum())
    return Finding(broken == 0, broken, f"{broken} of {bench.n} images are wrong after an attack of size 0")


def monotone(bench: Bench) -> Finding:
    """A larger budget is never safer, by either loss; single images may differ, as each budget has a path of
    its own.
    """
    budgets = (
        *(share * bench.eps for share in (0.25, 0.5, 0.75, 1)),
        bench.eps + (bench.whole - bench.eps) / 4,
        bench.whole,
    )
    robust = {
        name: [
            bench.n,
            *(bench.n - int(bench.broken(name, eps=eps, steps=bench.steps).sum()) for eps in budgets),
        ]
        for name in ("pgd", "cw-linf")
    }
    rise = max(
        later - min(counts[: place + 1]) for counts in robust.values() for place, later in enumerate(counts)
    )
    counted = "; ".join(f"{name} {', '.join(map(str, counts))}" for name, counts in robust.items())
    return Finding(
        rise <= bench.slack,
        rise,
        f"robust images at eps = 0, {', '.join(f'{eps:.3g}' for eps in budgets)}: {counted}; largest rise "
        f"{rise}",
    )


def all_at_whole(bench: Bench) -> Finding:
    """A budget that reaches all of the box leaves no more than chance."""
    left = bench.n - int(
        (
            bench.broken("pgd", eps=bench.whole, steps=bench.steps)
            | bench.broken("cw-linf", eps=bench.whole, steps=bench.steps)
        ).sum()
    )
    return Finding(
        left <= bench.by_chance,
        left,
        f"{left} of {bench.n} images withstand eps = {bench.whole:.4g}, all of the box; chance is "
        f"{bench.by_chance}",
    )


def iterated(bench: Bench) -> Finding:
    """Many steps break what a single one breaks."""
    single, many = (
        int(broken.sum()) for broken in (bench.broken("fgsm"), bench.broken("pgd", steps=bench.steps))
    )
    return Finding(
        single - many <= bench.slack,
        single - many,
        f"FGSM breaks {single} of {bench.n} images, PGD-{bench.steps} {many}",
    )


def more_steps(bench: Bench) -> Finding:
    """More steps never break less."""
    numbers = sorted({1, 10, bench.steps})
    counts = [int(bench.broken("pgd", steps=steps).sum()) for steps in numbers]
    fall = max(max(counts[: place + 1]) - count for place, count in enumerate(counts))
    said = ", ".join(f"PGD-{steps} {count}" for steps, count in zip(numbers, counts, strict=True))
    return Finding(fall <= bench.slack, fall, f"broken of {bench.n} images: {said}")


def flattened(bench: Bench) -> Finding:
    """The loss has stopped rising when the steps end."""
    if bench.path is None:
        return UNFOLLOWED
    passes = bench.path[0].mean(dim=1)
    tail = max(1, round(bench.steps / 10))
    rise, late = float(passes.max() - passes[0]), float(passes[-1] - passes[-1 - tail])
    if not rise > 0:
        return Finding(
            False,
            rise,
            f"the mean margin never rises above its start, {passes[0]:.3g}, in {bench.steps} steps",
        )
    share = late / rise
    return Finding(
        share <= FLAT,
        share,
        f"the mean margin rises by {rise:.3g} logits, {share:.1%} of it in the last {tail} of {bench.steps} "
        "steps",
    )


# Black boxes, gradients, success --------------------------------------------------------------------------


def white_beats_black(bench: Bench) -> Finding:
    """What breaks without gradients breaks with them."""
    white = (
        bench.broken("fgsm")
        | bench.broken("pgd", steps=bench.steps)
        | bench.broken("cw-linf", steps=bench.steps)
    )
    square, noise = bench.square(bench.eps), _noise(bench)
    alone = int(((square | noise) & ~white).sum())
    return Finding(
        alone <= bench.slack,
        alone,
        f"{int(white.sum())} of {bench.n} images are broken with gradients, {int(square.sum())} by "
        f"Square-{QUERIES} "
        f"(rescaled), {int(noise.sum())} by {DRAWS} draws of noise; {alone} only without gradients",
    )


def _noise(bench: Bench) -> Tensor:
    return torch.stack(
        [bench.broken("noise", kind=NOISE[bench.norm], again=draw) for draw in range(DRAWS)]
    ).any(dim=0)


def gradients(bench: Bench, *, margin: bool) -> Finding:
    """No image's gradient is exactly zero or not finite."""
    dead = int(
        sum(
            flags.zero_gradients(bench.model, images, labels, margin=margin).sum()
            for images, labels in zip(
                bench.images.split(bench.chunk), bench.labels.split(bench.chunk), strict=True
            )
        )
    )
    return Finding(
        dead == 0,
        dead / bench.n,
        f"the {'margin' if margin else 'cross-entropy'} has a gradient of exactly zero, or none that is "
        "finite, on "
        f"{dead} of {bench.n} images",
    )


def finite_differences(bench: Bench) -> Finding:
    """The gradient is the function's own: a copy in float64 changes along a random direction as its gradient
    says.
    """
    if not isinstance(bench.model, nn.Module):
        return Finding(None, None, "a plain function has no copy in float64")
    copied = copy.deepcopy(bench.model).double()
    start = bench.images[:DIFFERENCES]
    points = (
        (start + bench.eps * ball.point(start, (bench.seed, "differences"), bench.norm))
        .double()
        .clamp(0.001, 0.999)
        .requires_grad_()
    )
    toward, labels = ball.direction(points.detach(), (bench.seed, "toward")), bench.labels[:DIFFERENCES]
    try:
        values = margins(score(copied, points), labels)
        along = (torch.autograd.grad(values.sum(), points)[0] * toward).flatten(1).sum(dim=1)
    except RuntimeError as error:
        return Finding(None, None, f"the model does not work in float64: {str(error).splitlines()[0]}")
    if values.dtype != torch.float64:
        return Finding(None, None, f"the model gives {values.dtype} for float64 images")
    with torch.no_grad():
        ends = [margins(score(copied, points + side * 1e-6 * toward), labels) for side in (1, -1)]
    slopes = (ends[0] - ends[1]) / 2e-6
    errors = (slopes - along).abs() / torch.maximum(slopes.abs(), along.abs()).maximum(1e-6 * values.abs())
    wrong = int((~(errors <= AGREEMENT)).sum())
    return Finding(
        wrong <= math.ceil(0.05 * len(start)),
        wrong,
        f"gradients differ from finite differences by more than {AGREEMENT:g} on {wrong} of "
        f"{len(start)} images, by {errors.median():.1g} on the median one",
    )


def kept(bench: Bench) -> Finding:
    """An image that was broken anywhere on the way is reported, whatever the last iterate says."""
    if bench.path is None:
        return UNFOLLOWED
    passes, found = bench.path
    seen = (passes > 0).any(dim=0)
    lost = int((seen & ~found).sum())
    return Finding(
        lost == 0,
        lost,
        f"{int(seen.sum())} of {len(found)} images are broken on PGD's path, "
        f"{int((passes[-1] > 0).sum())} at its end; {int(found.sum())} are reported, {lost} lost",
    )


# Losses, seeds, outputs, control --------------------------------------------------------------------------


def losses(bench: Bench) -> Finding:
    """The cross-entropy and the margin, under the same search, break the same images."""
    entropy, margin = bench.broken("pgd", steps=bench.steps), bench.broken("cw-linf", steps=bench.steps)
    alone = int((entropy & ~margin).sum()), int((margin & ~entropy).sum())
    return Finding(
        max(alone) <= bench.slack,
        max(alone),
        f"the cross-entropy breaks {int(entropy.sum())} of {bench.n} images, the margin {int(margin.sum())}; "
        f"{alone[0]} only the one, {alone[1]} only the other",
    )


def scale(bench: Bench) -> Finding:
    """The cross-entropy does not saturate: the same decisions with smaller logits break no more often."""
    by = max(float(-margins(bench.logits, bench.labels).min()) / LARGEST_MARGIN, 1e-12)
    plain, divided = (bench.broken("pgd", steps=bench.steps, over=over) for over in (1.0, by))
    alone = int((divided & ~plain).sum())
    return Finding(
        alone <= bench.slack,
        alone,
        f"logits from {bench.logits.min():.3g} to {bench.logits.max():.3g}; PGD breaks {int(plain.sum())} of "
        f"{bench.n} "
        f"images, and {int(divided.sum())} after division by {by:.3g}; {alone} only then",
    )


def gradient_free(bench: Bench) -> Finding:
    """Square is at work: within a budget that reaches all of the box it leaves no more than chance."""
    within, left = int(bench.square(bench.eps).sum()), bench.n - int(bench.square(bench.whole).sum())
    return Finding(
        left <= bench.by_chance,
        left,
        f"Square-{QUERIES} (rescaled) breaks {within} of {bench.n} images, and at eps = {bench.whole:.4g} "
        "all but "
        f"{left}; chance is {bench.by_chance}",
    )


def restarts(bench: Bench) -> Finding:
    """The result does not hang on the random start."""
    counts = [int(bench.broken("pgd", steps=bench.steps, again=again).sum()) for again in range(SEEDS)]
    spread = max(counts) - min(counts)
    return Finding(
        spread <= bench.slack,
        spread,
        f"PGD-{bench.steps} from {SEEDS} starts breaks {', '.join(map(str, counts))} of {bench.n} images",
    )


def logits_given(bench: Bench) -> Finding:
    """The outputs are logits, not probabilities."""
    sums = bench.logits.sum(dim=1)
    bad = flags.probabilities(bench.logits)
    return Finding(
        not bad,
        float(bad),
        f"outputs from {bench.logits.min():.3g} to {bench.logits.max():.3g}, their sums from "
        f"{sums.min():.3g} to "
        f"{sums.max():.3g}" + ": probabilities" * bad,
    )


@torch.no_grad()
def deterministic(bench: Bench) -> Finding:
    """Two passes give the same."""
    some = bench.images[: bench.chunk]
    change = float((score(bench.model, some) - score(bench.model, some)).abs().max())
    return Finding(
        not flags.randomised(bench.model, some),
        change,
        f"two passes of {len(some)} images differ by at most {change:.3g} in a logit",
    )


def no_optimisation(bench: Bench) -> Finding:
    """A forward pass takes no gradients of its own."""
    found = flags.optimises(bench.model, bench.images[:1])
    return Finding(
        not found,
        float(found),
        "the forward pass " + ("takes gradients of its own" if found else "takes no gradients"),
    )


def control(bench: Bench) -> Finding:
    """PGD, as it runs above, finds adversarial examples that were planted in the model's features; random
    search does not.
    """
    try:
        read = bench.features or entering_last_linear(bench.model, bench.images[:1])
    except UserError as error:
        return Finding(None, None, str(error))
    attack = partial(
        run, "pgd", norm=bench.norm, eps=bench.eps, seed=bench.seed, **bench.walk(bench.eps, bench.steps)
    )
    done = planted_control(
        attack,
        bench.model,
        bench.images[: bench.planted],
        norm=bench.norm,
        eps=bench.eps,
        seed=bench.seed,
        features=read,
    )
    found, of = done.attack
    return Finding(
        done.passed,
        found / of if of else 0.0,
        f"{done}; needed: {NEEDED:.0%} at least, {ALLOWED:.0%} at most",
    )
