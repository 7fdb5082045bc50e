"""The sanity panel: what must hold before a model's robust accuracy is believed, each row computed on a few
images.

The rows answer the demands of Carlini et al. 2019, Athalye, Carlini & Wagner 2018, Croce & Hein 2020, Pintor
et al. 2022 (indicators of attack failure) and Zimmermann et al. 2022 that a program can check. A failing row
does not say that a model is weak: it says that attacks on it were, or that its number hangs on something else
than the images. How attacks search, and a model's robust accuracy itself, do not stand here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from causalnb import UserError
from causalnb.attacks import ball, indicators
from causalnb.attacks.checked import usable
from causalnb.attacks.indicators import NOISE
from causalnb.attacks.probe import Finding, Model, Probe
from causalnb.attacks.suites import correct
from causalnb.attacks.watch import device_of, preserved_state, score
from causalnb.randomness import whole_seed

PLANTED = "planted examples are found"


@dataclass(frozen=True)
class Row:
    """One line of the panel.

    demand   its number among the demands on an evaluation: 5 budgets, 6 steps, 7 black boxes, 8 gradients, 9
             success, 10 losses, 11 attacks without gradients, 12 restarts, 13 outputs, 15 the planted control
    value    the number that decides, None where nothing could be computed
    """

    demand: int
    name: str
    word: Literal["pass", "fail", "not applicable"]
    value: float | None
    sentence: str


@dataclass(frozen=True)
class Panel:
    """The rows, and how many images they rest on."""

    rows: tuple[Row, ...]
    n: int

    def __iter__(self) -> Iterator[Row]:
        """Row after row."""
        return iter(self.rows)

    @property
    def failed(self) -> list[Row]:
        """The rows that fail."""
        return [row for row in self.rows if row.word == "fail"]

    def __str__(self) -> str:
        """A table for a terminal."""
        width = max((len(row.name) for row in self.rows), default=0)
        silent = sum(row.word == "not applicable" for row in self.rows)
        head = (
            f"sanity panel: {len(self.failed)} of {len(self.rows)} rows fail"
            + (f", {silent} not applicable" if silent else "")
            + f", n = {self.n}"
        )
        return "\n".join(
            [
                head,
                *(
                    f"{row.demand:>3}  {row.name:<{width}}  {row.word:<14}  {row.sentence}"
                    for row in self.rows
                ),
            ]
        )


def sanity_panel(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str = "linf",
    eps: float,
    seed: int = 0,
    steps: int = 40,
    chunk: int = 128,
    planted: int = 20,
    features: Model | None = None,
) -> Panel:
    """Look for the failures that make an attack's number too good, on the images [n, ...] that the model gets
    right.

    eps        the budget in pixel units, less than reaches all of the box
    steps      of PGD on the cross-entropy and on the margin, 10 or more; each search's steps add up to 2.5
               eps
    planted    images for the planted control, at most
    features   images [n, ...] -> [n, d] for the planted control; without it, what enters the model's last
               nn.Linear

    Where two searches are compared, one image in twenty (two at least) may go the other way: on one or two
    images such a row is not applicable.

    Refused, as a UserError: outputs that are not finite, a model that is right on none of the images, outputs
    that carry no gradient at all.

    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> images = torch.rand(8, 1, 4, 4)
    >>> panel = sanity_panel(model, images, model(images).argmax(dim=1), eps=0.1, steps=10)
    >>> sorted({row.demand for row in panel})
    [5, 6, 7, 8, 9, 10, 11, 12, 13, 15]
    """
    with torch.inference_mode(False):
        probe = prepared(
            model,
            usable(images, of="images"),
            usable(labels, of="labels"),
            norm=norm,
            eps=ball.plain(eps),
            seed=whole_seed(seed),
            steps=ball.plain(steps),
            chunk=chunk,
            planted=planted,
            features=features,
        )
    with preserved_state(model, probe.images.device, probe.seed):
        return Panel(tuple(_row(demand, name, look(probe)) for demand, name, look in ROWS), probe.n)


def prepared(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    eps: float,
    seed: int,
    steps: int,
    chunk: int,
    planted: int,
    features: Model | None,
) -> Probe:
    """What the rows need, of the images that the model gets right; arguments and refusals as in
    `sanity_panel`.
    """
    if norm not in NOISE:
        raise ValueError(f"there is no panel in {norm!r}: it is for {' and '.join(NOISE)}.")
    whole = ball.radius_of_box(images, norm)
    if not 0 < eps < whole:
        raise UserError(
            f"eps = {eps} is not possible: give one above 0 and below {whole:.4g}, which reaches all of the "
            f"box in {norm}."
        )
    if steps < 10:
        raise UserError(
            f"steps = {steps} is not possible: the panel compares PGD with 10 steps and more, so give 10 at "
            "least."
        )
    first = correct(model, images, labels, seed=seed, chunk=chunk)
    if not first.correct.any():
        raise UserError(
            f"the model gets none of the {len(images)} images right, so there is nothing to attack: look at "
            "labels and normalisation."
        )
    device = device_of(model, images)
    clean, right = first.clean[first.correct].to(device), first.criterion.labels[first.correct].to(device)
    with preserved_state(model, device, seed):
        logits = torch.cat([_logits(model, part) for part in clean.split(chunk)])
    return Probe(model, clean, right, logits, norm, eps, seed, steps, chunk, planted, features, len(images))


def _logits(model: Model, images: Tensor) -> Tensor:
    logits = score(model, images.clone().requires_grad_())
    if not logits.requires_grad:
        raise UserError(
            "the model's outputs carry no gradient (it detaches them, or works under no_grad): attack what "
            "carries one in its place, such as "
            "StraightThrough or Surrogate, or attack it with square."
        )
    return logits.detach()


def _row(demand: int, name: str, finding: Finding) -> Row:
    words: dict[bool | None, Literal["pass", "fail", "not applicable"]] = {
        True: "pass",
        False: "fail",
        None: "not applicable",
    }
    return Row(demand, name, words[finding.holds], finding.value, finding.sentence)


ROWS: tuple[tuple[int, str, Callable[[Probe], Finding]], ...] = (
    (5, "nothing breaks at eps 0", indicators.nothing_at_zero),
    (5, "larger eps is never safer", indicators.monotone),
    (5, "everything breaks at full eps", indicators.all_at_whole),
    (6, "many steps beat one", indicators.iterated),
    (6, "more steps are never weaker", indicators.more_steps),
    (6, "the loss has flattened", indicators.flattened),
    (7, "gradients beat black boxes", indicators.white_beats_black),
    (8, "cross-entropy has gradients", partial(indicators.gradients, margin=False)),
    (8, "margin has gradients", partial(indicators.gradients, margin=True)),
    (8, "finite differences agree", indicators.finite_differences),
    (9, "success is kept", indicators.kept),
    (10, "two losses agree", indicators.losses),
    (10, "logit scale does not matter", indicators.scale),
    (11, "Square is at work", indicators.gradient_free),
    (12, "restarts agree", indicators.restarts),
    (13, "outputs are logits", indicators.logits_given),
    (13, "outputs do not change", indicators.deterministic),
    (13, "no optimisation inside", indicators.no_optimisation),
    (13, "neighbours do not matter", indicators.neighbours),
    (13, "clean answers beat guessing", indicators.clean),
    (15, PLANTED, indicators.control),
)
