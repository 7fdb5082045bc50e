"""The figures of chapter 0: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from causalnb import plots
from causalnb.chapters.bench.examples import Example
from causalnb.figstyle import BLUE, INK, VERMILLION
from causalnb.statistics import Interval

SHARES = (-0.02, 1.02)
SIDES = ("darker", "brighter")  # what the colours of a change mean


def digits(examples: Sequence[Example]) -> Figure:
    """One digit as each search left it, under what was done and the class that the network reads."""
    return plots.tiles([[plots.Picture(f"{one.what}: {one.read}", one.image) for one in examples]])


def changes(examples: Sequence[Example]) -> Figure:
    """The first of the examples, and what each of the others changed in it, on its own scale."""
    clean, *others = examples
    pictures = [plots.effects(f"{one.what}: {one.read}", one.image - clean.image) for one in others]
    return plots.tiles([[plots.Picture(f"{clean.what}: {clean.read}", clean.image), *pictures]], ends=SIDES)


def line(shares: Sequence[float], margins: Sequence[float], slopes: Mapping[str, Sequence[float]]) -> Figure:
    """The margin on the straight line from a clean image (0) to an attacked one (1), and what the loss tells
    an attack on the way.

    margins   the label's logit less the largest other; below 0 the image is broken
    slopes    name -> size of the gradient of the cross-entropy at each place; drawn over the largest of its
              own
    """
    own = {name: np.asarray(values) / max(values) for name, values in slopes.items()}
    return plots.curves(
        {
            "margin of the label": {"margin": dict(zip(shares, margins, strict=True))},
            "cross-entropy's gradient, each over its largest": {
                name: dict(zip(shares, values, strict=True)) for name, values in own.items()
            },
        },
        x="clean image (0) to attacked image (1)",
        levels={"margin of the label": {"": 0.0}},
        looks=dict(
            zip(("margin", *own), ((INK, "-", ""), (BLUE, "-", ""), (VERMILLION, "--", "")), strict=False)
        ),
    )


def robustness(rows: Mapping[str, Mapping[str, Interval]], worst: Mapping[str, float]) -> Figure:
    """Robust accuracy by each attack alone, a panel for each network; the dashed line is the worst case of
    each image.

    rows    network -> attack -> share with its interval; worst: network -> share
    """
    panels = {title: {attack: {"": one} for attack, one in found.items()} for title, found in rows.items()}
    return plots.intervals(
        panels, x="robust accuracy", at={title: (worst[title],) for title in rows}, limits=SHARES
    )


def budgets(curves: Mapping[str, Mapping[float, float]], own: Mapping[str, float]) -> Figure:
    """Robust accuracy against the budget, a line for each network; the dotted line is the budget at which it
    is judged.
    """
    figure = plots.curves({"robust accuracy": curves}, x="budget, L-inf, pixel units", limits=(0, 1.02))
    for title, (colour, *_) in zip(curves, plots.LOOKS, strict=False):
        figure.axes[0].axvline(own[title], color=colour, linestyle=":", linewidth=1.5, marker="")
    return figure


def planted(broken: Mapping[str, Interval], bars: Sequence[float]) -> Figure:
    """The share of planted examples that each search finds, with its interval; dashed, what an attack must
    reach and random search must not.
    """
    rows = {name: {"": one} for name, one in broken.items()}
    return plots.intervals({"": rows}, x="planted examples found", at={"": bars}, limits=SHARES)


def draws(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Accuracy of a model that draws at random, by how it was attacked: the mean over draws, and right in
    every draw.
    """
    return plots.intervals({"": rows}, x="accuracy", limits=SHARES)
