"""The long computations of chapter 2 from pixels: what the detectors see of every set of images; through the
store. Estimates are measurements.py's, the attacker who knows is adaptive.py's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.attacks import AttackResult
from causalnb.chapters.counterfactual import attacked, detectors, heads
from causalnb.chapters.counterfactual.attacked import PAPERS, Condition
from causalnb.chapters.counterfactual.detectors import Odds, References, Scores, eight_bits
from causalnb.chapters.counterfactual.heads import Head
from causalnb.chapters.counterfactual.networks import Net, Run
from causalnb.store import memo

SHIFTED = 1000  # training images at most on which the test of log-odds is fitted
ROWS = ("all", "successes", "correct")


@dataclass(frozen=True)
class Seen:
    """What the detectors make of n images, rounded to 8 bits.

    outputs  [n, classes + d] of the head; scores: [n] float64 by name, a greater one more suspicious
    """

    outputs: Tensor
    scores: Scores


@dataclass(frozen=True)
class Shown:
    """An attack with what is seen of its images, over the attacked images.

    rows     [n] bool by the paper's ways to count: "all" attempts; "successes", images that were right and
             are now taken for another class; "correct", attempts on images that were right
    reached  [n], right before, and now taken for their target; the same as successes without targets
    """

    seen: Seen
    rows: Mapping[str, Tensor]
    reached: Tensor
    result: AttackResult


@dataclass(frozen=True)
class Detectives:
    """A network with detectors fitted on its clean training images, and what they see of clean images.

    correct  [n] bool, which of the test images the network gets right, rounded to 8 bits
    """

    net: Net
    head: Head
    known: References
    odds: Odds
    held_out: Seen
    test: Seen
    correct: Tensor

    def clean(self, rows: str = "correct") -> Tensor:
        """Which of the attacked images count as clean: "all", or those that are right; [n] bool."""
        right = self.correct[: len(self.net.attacked)]
        return torch.ones_like(right) if rows == "all" else right


def detectives(run: Run, net: Net) -> Detectives:
    """The detectors of a network."""
    example, few = net.test.images[:1], eight_bits(net.fitted.images[:SHIFTED])
    of = (net.model, net.layer)
    head = heads.on_cpu(*of, example, check=True)
    given = net.fitted.images.to(run.device)
    fitted = memo(run.store, f"outputs on {net.name}", heads.outputs, *of, given).cpu()
    known = memo(run.store, f"detectors on {net.name}", references, *of, example, fitted, net.fitted.labels)
    moved = memo(
        run.store, f"shifts on {net.name}", detectors.shifts, net.model, few.to(run.device), **noise_of(run)
    )
    odds = detectors.fit_odds(moved.cpu(), head.logits(fitted)[: len(few)].argmax(1))
    held_out, test = (look(run, net, known, some.images, odds=odds) for some in (net.held_out, net.test))
    for seen in (test, held_out):
        seen.scores[detectors.UNION] = detectors.union(held_out.scores, seen.scores)
    correct = head.logits(test.outputs).argmax(1) == net.test.labels
    return Detectives(net, head, known, odds, held_out, test, correct)


def noise_of(run: Run) -> dict[str, Any]:
    """The noise of the test of log-odds: of the size of the paper's budget on ImageNet."""
    return {"size": run.p.eps(PAPERS), "repeats": run.p.roth_draws, "seed": run.p.seed}


def references(model: nn.Module, layer: str, example: Tensor, outputs: Tensor, labels: Tensor) -> References:
    """What detectors know, from a head's outputs on clean training images; for the store."""
    return detectors.fit(heads.on_cpu(model, layer, example), outputs, labels)


def look(
    run: Run, net: Net, known: References, images: Tensor, *, odds: Odds | None = None, what: str = ""
) -> Seen:
    """What the detectors see of images [n, ...], but for the union; the test of log-odds where `odds` are
    given.
    """
    asked = (net.model, net.layer, known, eight_bits(images.cpu()).to(run.device))
    noise, name = noise_of(run) if odds else {}, f"scores{what} on {net.name}"
    made: Seen = memo(run.store, name, seen, *asked, odds=odds, noise=noise)
    return Seen(made.outputs.cpu(), {key: one.cpu() for key, one in made.scores.items()})


def seen(
    model: nn.Module,
    layer: str,
    known: References,
    images: Tensor,
    *,
    odds: Odds | None,
    noise: dict[str, Any],
) -> Seen:
    """The scores of images as they are; for the store."""
    head = heads.on_cpu(model, layer, images[:1])
    outputs = heads.outputs(model, layer, images)
    scores = detectors.of_outputs(head, known, outputs) | {"squeezing": detectors.squeezed(model, images)}
    if odds is not None:
        moved = detectors.shifts(model, images, **noise)
        scores["odds"] = detectors.of_odds(odds, moved, head.logits(outputs).argmax(1))
    return Seen(outputs, scores)


def shown(run: Run, has: Detectives, every: Sequence[Condition] | None = None) -> dict[Condition, Shown]:
    """Every attack, or these, and what the detectors see of its images."""
    every = attacked.conditions(run.p) if every is None else every
    found = attacked.attack_all(run, has.net, every)
    return {one: show(run, has, result, of=one) for one, result in found.items()}


def show(run: Run, has: Detectives, result: AttackResult, *, of: Condition | None, name: str = "") -> Shown:
    """An attack on the first of the attacked images; the test of log-odds at the paper's budget alone."""
    odds = has.odds if of is None or of.eps == PAPERS else None
    what = f" of {name or (of.name if of else result.name)}"
    made = look(run, has.net, has.known, result.candidates, odds=odds, what=what)
    made.scores[detectors.UNION] = detectors.union(has.held_out.scores, made.scores)
    n = len(result.found)  # the first of the attacked images
    correct, labels = has.correct[:n], has.net.attacked.labels[:n]
    predicted = has.head.logits(made.outputs).argmax(1)
    misled, wanted = correct & (predicted != labels), result.criterion.targets
    reached = misled if wanted is None else misled & (predicted == wanted.cpu())
    rows = {"all": torch.ones_like(correct), "successes": misled, "correct": correct}
    return Shown(made, rows, reached, result)


def strong(run: Run, has: Detectives) -> dict[str, Shown]:
    """The attacks of low and of high confidence."""
    return {
        name: show(run, has, result, of=None, name=name)
        for name, result in attacked.strong(run, has.net).items()
    }


def placebos(run: Run, has: Detectives) -> dict[tuple[str, float], Seen]:
    """Noise at every budget of the grid and blur, on the attacked images, by name and budget of 255 (blur:
    0).
    """
    clean, p = has.net.attacked.images, run.p
    asked = {("noise", eps): p.eps(eps) for eps in p.budgets} | {("blur", 0.0): 0.0}
    made = {}
    for (name, eps), size in asked.items():
        images = attacked.placebo(clean, name, eps=size, seed=p.seed)
        odds = has.odds if eps in (0.0, PAPERS) else None
        made[name, eps] = look(run, has.net, has.known, images, odds=odds, what=f" of {name}")
        made[name, eps].scores[detectors.UNION] = detectors.union(has.held_out.scores, made[name, eps].scores)
    return made


# Table 4 ---------------------------------------------------------------------------------------------------


def defended(run: Run, net: Net, images: Tensor) -> dict[str, Tensor]:
    """The classes [n] that the network gives images [n, ...] behind each defence of Table 4: 3 bits a pixel,
    a median of 7 x 7 (3 x 3 on images below 16 pixels), noise of 9 of 255, as the author's code sets them.
    """
    window = 7 if images.shape[-1] >= 16 else 3
    changed = {
        "fs": detectors.fewer_bits(images, 3),
        "ss": detectors.median(images, window),
        "gda": detectors.noisy(images, size=run.p.eps(9), seed=run.p.seed),
    }
    return {
        name: detectors.predicted(net.model, some.to(run.device)).argmax(1).cpu()
        for name, some in changed.items()
    }
