"""Indicators that an attack failed: the rows of the sanity panel, one function each, a number and a sentence
from each.

Gradients are looked at, never followed. What the rows rest on is probe.py's; what they are called, in which
order they stand, and which demand each answers is panel.py's.
"""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn

from causalnb import UserError
from causalnb.attacks import ball, flags, planted
from causalnb.attacks.contract import run
from causalnb.attacks.flags import margins
from causalnb.attacks.probe import QUERIES, Finding, Model, Probe
from causalnb.attacks.watch import score

SEEDS = 5  # of restarts
DRAWS = 10  # uniform points or directions for each image
DIFFERENCES = 32  # images for finite differences
LARGEST_MARGIN = 5  # of the logits after division
FLAT = 0.05  # of the loss's rise, in the last tenth of the steps: half of what a straight climb gains there
AGREEMENT = 1e-3  # relative error of a finite difference
NOISE = {"linf": "uniform", "l2": "gauss"}

UNFOLLOWED = Finding(
    False, None, "PGD's path could not be followed: the model's clean answers change from pass to pass"
)


def _within(slack: int, n: int, value: int, sentence: str) -> Finding:
    """A row that lets `slack` of n images go the other way; where that is all of them, it could not fail."""
    if slack < n:
        return Finding(value <= slack, value, sentence)
    return Finding(None, value, f"{sentence}; this row lets {slack} pass, so give more images than that")


# Budgets and steps ----------------------------------------------------------------------------------------


def nothing_at_zero(probe: Probe) -> Finding:
    """A budget of 0 breaks nothing: what breaks there is no perturbation."""
    broken = int((probe.broken("pgd", eps=0.0, steps=1) | probe.broken("cw-linf", eps=0.0, steps=1)).sum())
    return Finding(broken == 0, broken, f"{broken} of {probe.n} images are wrong after an attack of size 0")


def monotone(probe: Probe) -> Finding:
    """A larger budget is never safer, by either loss; single images may differ, as each budget has a path of
    its own.
    """
    budgets = (
        *(share * probe.eps for share in (0.25, 0.5, 0.75, 1)),
        probe.eps + (probe.whole - probe.eps) / 4,
        probe.whole,
    )
    robust = {
        name: [
            probe.n,
            *(probe.n - int(probe.broken(name, eps=eps, steps=probe.steps).sum()) for eps in budgets),
        ]
        for name in ("pgd", "cw-linf")
    }
    rise = max(
        later - min(counts[: place + 1]) for counts in robust.values() for place, later in enumerate(counts)
    )
    counted = "; ".join(f"{name} {', '.join(map(str, counts))}" for name, counts in robust.items())
    return _within(
        probe.slack,
        probe.n,
        rise,
        f"robust images at eps = 0, {', '.join(f'{eps:.3g}' for eps in budgets)}: {counted}; largest rise "
        f"{rise}",
    )


def all_at_whole(probe: Probe) -> Finding:
    """A budget that reaches all of the box leaves no more than chance."""
    left = probe.n - int(
        (
            probe.broken("pgd", eps=probe.whole, steps=probe.steps)
            | probe.broken("cw-linf", eps=probe.whole, steps=probe.steps)
        ).sum()
    )
    return Finding(
        left <= probe.by_chance,
        left,
        f"{left} of {probe.n} images withstand eps = {probe.whole:.4g}, all of the box; chance is "
        f"{probe.by_chance}",
    )


def iterated(probe: Probe) -> Finding:
    """Many steps break what a single one breaks."""
    single, many = (
        int(broken.sum()) for broken in (probe.broken("fgsm"), probe.broken("pgd", steps=probe.steps))
    )
    return _within(
        probe.slack,
        probe.n,
        single - many,
        f"FGSM breaks {single} of {probe.n} images, PGD-{probe.steps} {many}",
    )


def more_steps(probe: Probe) -> Finding:
    """More steps never break less."""
    numbers = sorted({1, 10, probe.steps})
    counts = [int(probe.broken("pgd", steps=steps).sum()) for steps in numbers]
    fall = max(max(counts[: place + 1]) - count for place, count in enumerate(counts))
    said = ", ".join(f"PGD-{steps} {count}" for steps, count in zip(numbers, counts, strict=True))
    return _within(probe.slack, probe.n, fall, f"broken of {probe.n} images: {said}")


def flattened(probe: Probe) -> Finding:
    """The loss has stopped rising when the steps end."""
    if probe.path is None:
        return UNFOLLOWED
    passes = probe.path[0].mean(dim=1)
    tail = max(1, round(probe.steps / 10))
    rise, late = float(passes.max() - passes[0]), float(passes[-1] - passes[-1 - tail])
    if not rise > 0:
        return Finding(
            False,
            rise,
            f"the mean margin never rises above its start, {passes[0]:.3g}, in {probe.steps} steps",
        )
    share = late / rise
    return Finding(
        share <= FLAT,
        share,
        f"the mean margin rises by {rise:.3g} logits, {share:.1%} of it in the last {tail} of {probe.steps} "
        "steps",
    )


# Black boxes, gradients, success --------------------------------------------------------------------------


def white_beats_black(probe: Probe) -> Finding:
    """What breaks without gradients breaks with them."""
    white = (
        probe.broken("fgsm")
        | probe.broken("pgd", steps=probe.steps)
        | probe.broken("cw-linf", steps=probe.steps)
    )
    square, noise = probe.square(probe.eps), _noise(probe)
    alone = int(((square | noise) & ~white).sum())
    return _within(
        probe.slack,
        probe.n,
        alone,
        f"{int(white.sum())} of {probe.n} images are broken with gradients, {int(square.sum())} by "
        f"Square-{QUERIES} "
        f"(rescaled), {int(noise.sum())} by {DRAWS} draws of noise; {alone} only without gradients",
    )


def _noise(probe: Probe) -> Tensor:
    return torch.stack(
        [probe.broken("noise", kind=NOISE[probe.norm], again=draw) for draw in range(DRAWS)]
    ).any(dim=0)


def gradients(probe: Probe, *, margin: bool) -> Finding:
    """No image's gradient is exactly zero or not finite."""
    dead = int(
        sum(
            flags.zero_gradients(probe.model, images, labels, margin=margin).sum()
            for images, labels in zip(
                probe.images.split(probe.chunk), probe.labels.split(probe.chunk), strict=True
            )
        )
    )
    return Finding(
        dead == 0,
        dead / probe.n,
        f"the {'margin' if margin else 'cross-entropy'} has a gradient of exactly zero, or none that is "
        "finite, on "
        f"{dead} of {probe.n} images",
    )


def finite_differences(probe: Probe) -> Finding:
    """The gradient is the function's own: a copy in float64 changes along a random direction as its gradient
    says.
    """
    if not isinstance(probe.model, nn.Module):
        return Finding(None, None, "a plain function has no copy in float64")
    try:
        copied = copy.deepcopy(probe.model).double()
    except Exception as error:  # whatever a part of the model has against being copied: a lock, a file
        return Finding(None, None, f"the model has no copy in float64: {str(error).partition(chr(10))[0]}")
    start = probe.images[:DIFFERENCES]
    points = (
        (start + probe.eps * ball.point(start, (probe.seed, "differences"), probe.norm))
        .double()
        .clamp(0.001, 0.999)
        .requires_grad_()
    )
    toward, labels = ball.direction(points.detach(), (probe.seed, "toward")), probe.labels[:DIFFERENCES]
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
    return _within(
        math.ceil(0.05 * len(start)),
        len(start),
        wrong,
        f"gradients differ from finite differences by more than {AGREEMENT:g} on {wrong} of "
        f"{len(start)} images, by {errors.median():.1g} on the median one",
    )


def kept(probe: Probe) -> Finding:
    """An image that was broken anywhere on the way is reported, whatever the last iterate says."""
    if probe.path is None:
        return UNFOLLOWED
    passes, found = probe.path
    seen = (passes > 0).any(dim=0)
    lost = int((seen & ~found).sum())
    return Finding(
        lost == 0,
        lost,
        f"{int(seen.sum())} of {len(found)} images are broken on PGD's path, "
        f"{int((passes[-1] > 0).sum())} at its end; {int(found.sum())} are reported, {lost} lost",
    )


# Losses, seeds, outputs, control --------------------------------------------------------------------------


def losses(probe: Probe) -> Finding:
    """The cross-entropy and the margin, under the same search, break the same images."""
    entropy, margin = probe.broken("pgd", steps=probe.steps), probe.broken("cw-linf", steps=probe.steps)
    alone = int((entropy & ~margin).sum()), int((margin & ~entropy).sum())
    return _within(
        probe.slack,
        probe.n,
        max(alone),
        f"the cross-entropy breaks {int(entropy.sum())} of {probe.n} images, the margin {int(margin.sum())}; "
        f"{alone[0]} only the one, {alone[1]} only the other",
    )


def scale(probe: Probe) -> Finding:
    """The cross-entropy does not saturate: the same decisions with smaller logits break no more often."""
    by = max(float(-margins(probe.logits, probe.labels).min()) / LARGEST_MARGIN, 1e-12)
    plain, divided = (probe.broken("pgd", steps=probe.steps, over=over) for over in (1.0, by))
    alone = int((divided & ~plain).sum())
    return _within(
        probe.slack,
        probe.n,
        alone,
        f"logits from {probe.logits.min():.3g} to {probe.logits.max():.3g}; PGD breaks {int(plain.sum())} of "
        f"{probe.n} "
        f"images, and {int(divided.sum())} after division by {by:.3g}; {alone} only then",
    )


def gradient_free(probe: Probe) -> Finding:
    """Square is at work: within a budget that reaches all of the box it leaves no more than chance."""
    within, left = int(probe.square(probe.eps).sum()), probe.n - int(probe.square(probe.whole).sum())
    return Finding(
        left <= probe.by_chance,
        left,
        f"Square-{QUERIES} (rescaled) breaks {within} of {probe.n} images, and at eps = {probe.whole:.4g} "
        "all but "
        f"{left}; chance is {probe.by_chance}",
    )


def restarts(probe: Probe) -> Finding:
    """The result does not hang on the random start."""
    counts = [int(probe.broken("pgd", steps=probe.steps, again=again).sum()) for again in range(SEEDS)]
    spread = max(counts) - min(counts)
    return _within(
        probe.slack,
        probe.n,
        spread,
        f"PGD-{probe.steps} from {SEEDS} starts breaks {', '.join(map(str, counts))} of {probe.n} images",
    )


def logits_given(probe: Probe) -> Finding:
    """The outputs are logits, not probabilities."""
    sums = probe.logits.sum(dim=1)
    bad = flags.probabilities(probe.logits)
    return Finding(
        not bad,
        float(bad),
        f"outputs from {probe.logits.min():.3g} to {probe.logits.max():.3g}, their sums from "
        f"{sums.min():.3g} to "
        f"{sums.max():.3g}" + ": probabilities" * bad,
    )


@torch.no_grad()
def deterministic(probe: Probe) -> Finding:
    """Two passes give the same."""
    some = probe.images[: probe.chunk]
    change = float((score(probe.model, some) - score(probe.model, some)).abs().max())
    return Finding(
        not flags.randomised(probe.model, some),
        change,
        f"two passes of {len(some)} images differ by at most {change:.3g} in a logit",
    )


def no_optimisation(probe: Probe) -> Finding:
    """A forward pass takes no gradients of its own."""
    found = flags.optimises(probe.model, probe.images[:1])
    return Finding(
        not found,
        float(found),
        "the forward pass " + ("takes gradients of its own" if found else "takes no gradients"),
    )


def neighbours(probe: Probe) -> Finding:
    """An image's logits are its own: the same alone as in a batch."""
    some = probe.images[: probe.chunk]
    if flags.randomised(probe.model, some):
        return Finding(
            None, None, "two passes of the same batch differ, so nothing can be told of neighbours"
        )
    moves = flags.neighbours(probe.model, some)
    moved = int((moves > flags.ROUNDING).sum())
    return Finding(
        moved == 0,
        moved,
        f"{moved} of {len(moves)} images have other logits alone than "
        + (f"among {len(some)}" if len(some) > 1 else "beside their negative")
        + f", by {moves.max():.1g} of their size at most",
    )


def clean(probe: Probe) -> Finding:
    """The model gets more images right than guessing does."""
    chance = flags.near_chance(probe.n, probe.given, probe.logits.shape[1])
    said = f"{probe.n} of {probe.given} images are right, more than guessing gets"
    return Finding(not chance, probe.n / probe.given, chance or said)


def control(probe: Probe) -> Finding:
    """PGD, as it runs above, finds adversarial examples that were planted in the model's features; random
    search does not.

    Where it misses thin plants it must find wide ones: on its way to a thin plant a network that bends much
    holds other high points, and a search that is sound may end there.
    """
    try:
        read = probe.features or planted.entering_last_linear(probe.model, probe.images[:1])
    except UserError as error:
        return Finding(None, None, str(error))
    needed = f"{planted.NEEDED:.0%} at least, {planted.ALLOWED:.0%} at most"
    thin = _planted(probe, read, planted.THIN)
    if thin.passed:
        return Finding(True, thin.share, f"{thin}; needed: {needed}")
    wide = _planted(probe, read, planted.WIDE)
    said = (
        f"thin plants, {planted.THIN:.0%} of the gap beyond the boundary: {thin}; wide ones, "
        f"{planted.WIDE:.0%}: {wide}; needed of one kind: {needed}"
    )
    return Finding(wide.passed, wide.share, said)


def _planted(probe: Probe, read: Model, margin: float) -> planted.Control:
    attack = partial(
        run, "pgd", norm=probe.norm, eps=probe.eps, seed=probe.seed, **probe.walk(probe.eps, probe.steps)
    )
    return planted.planted_control(
        attack,
        probe.model,
        probe.images[: probe.planted],
        norm=probe.norm,
        eps=probe.eps,
        seed=probe.seed,
        margin=margin,
        features=read,
    )
