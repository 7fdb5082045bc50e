"""The figures of chapter 0: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalnb.figstyle import BLUE, GREEN, INK, PURPLE, RULE, VERMILLION, style
from causalnb.statistics import Interval


def line(shares: Sequence[float], margins: Sequence[float], slopes: Mapping[str, Sequence[float]]) -> Figure:
    """The margin on the straight line from a clean image (0) to an attacked one (1), and what the loss tells
    an attack on the way.

    margins   the label's logit less the largest other; below 0 the image is broken
    slopes    name -> size of the gradient of the cross-entropy at each place; drawn over the largest of its
              own
    """
    with style():
        figure = Figure(figsize=(6.4, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(shares, margins, color=INK, marker="")
        left.axhline(0, color=RULE, linestyle="--", linewidth=1, marker="")
        left.set_title("margin of the label")
        for (name, values), colour, dash in zip(
            slopes.items(), (BLUE, VERMILLION), ("-", "--"), strict=False
        ):
            right.plot(
                shares, np.asarray(values) / max(values), color=colour, linestyle=dash, marker="", label=name
            )
        right.set_title("cross-entropy's gradient, each over its largest")
        right.legend(fontsize=8.5)
        for axes in (left, right):
            axes.set_xlabel("clean image (0) to attacked image (1)")
    return figure


def robustness(rows: Mapping[str, Mapping[str, Interval]], worst: Mapping[str, float]) -> Figure:
    """Robust accuracy by each attack alone, a panel for each network; the dashed line is the worst case of
    each image.

    rows    network -> attack -> share with its interval; worst: network -> share
    """
    longest = max(len(attacks) for attacks in rows.values())
    with style():
        figure = Figure(figsize=(6.4, 0.6 + 0.24 * longest), layout="constrained")
        panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
        for axes, (title, attacks), colour in zip(panels, rows.items(), (BLUE, VERMILLION), strict=False):
            _intervals(axes, attacks, colour)
            axes.axvline(worst[title], color=INK, linestyle="--", linewidth=1, marker="")
            axes.set_title(title)
            axes.set_xlabel("robust accuracy")
            axes.set_xlim(-0.02, 1.02)
    return figure


def budgets(curves: Mapping[str, Mapping[float, float]], own: Mapping[str, float]) -> Figure:
    """Robust accuracy against the budget, a line for each network; the dotted line is the budget at which it
    is judged.
    """
    with style():
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        for (title, points), colour, marker in zip(
            curves.items(), (BLUE, VERMILLION), ("o", "s"), strict=False
        ):
            axes.plot(
                list(points), list(points.values()), color=colour, marker=marker, label=title, clip_on=False
            )
            axes.axvline(own[title], color=colour, linestyle=":", linewidth=1, marker="")
        axes.set_ylim(0, 1.02)
        axes.set_title("robust accuracy")
        axes.set_xlabel("budget, L-inf, pixel units")
        axes.legend(fontsize=8.5)
    return figure


def planted(broken: Mapping[str, Interval], bars: Sequence[float]) -> Figure:
    """The share of planted examples that each search finds, with its interval; dashed, what an attack must
    reach and random search must not.
    """
    with style():
        figure = Figure(figsize=(5.0, 0.7 + 0.26 * len(broken)), layout="constrained")
        axes = figure.subplots()
        _intervals(axes, broken, GREEN)
        for place in bars:
            axes.axvline(place, color=RULE, linestyle="--", linewidth=1, marker="")
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("planted examples found")
    return figure


def draws(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Accuracy of a model that draws at random, by how it was attacked: the mean over draws, and right in
    every draw.
    """
    names = list(rows)
    with style():
        figure = Figure(figsize=(5.0, 0.9 + 0.3 * len(names)), layout="constrained")
        axes = figure.subplots()
        for key, colour, marker in (("mean over draws", PURPLE, "o"), ("right in every draw", GREEN, "s")):
            axes.plot(
                [rows[name][key] for name in names],
                np.arange(len(names)),
                linestyle="",
                color=colour,
                marker=marker,
                label=key,
                clip_on=False,
            )
        axes.set_yticks(np.arange(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("accuracy")
        axes.legend(fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _intervals(axes: Axes, rows: Mapping[str, Interval], colour: str) -> None:
    places = np.arange(len(rows))
    values, low, high = (np.array([row[i] for row in rows.values()]) for i in range(3))
    axes.hlines(places, low, high, color=colour, linewidth=1.4)
    axes.plot(values, places, linestyle="", marker="o", color=colour, clip_on=False)
    axes.set_yticks(places, list(rows))
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
