"""The figures of chapter 2: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import plots
from causalnb.figstyle import BLUE, COLUMN, GREEN, INK, PURPLE, RULE, VERMILLION, style
from causalnb.plots.text import LINE


@dataclass(frozen=True)
class Dumbbell:
    """A printed share of the images and what it came to on the published ones, in percent of all evaluated.

    printed    as printed
    counted    published images that count: what it is if no other does
    most       what it is if all unpublished ones count as well
    said       printed and counted in words; "" for none
    """

    printed: float
    counted: float
    most: float
    said: str = ""


def dumbbells(top: Mapping[str, Dumbbell], below: Mapping[str, Mapping[str, Dumbbell]], title: str) -> Figure:
    """Printed and recomputed shares: `top`, under `title`, with their words; below it a panel for each table,
    on common rows.
    """
    rows = list(next(iter(below.values())))
    heights = [LINE * 1.3 * (len(top) + 0.6), LINE * 1.3 * (len(rows) + 0.6)]
    with style():
        figure = Figure(figsize=(COLUMN, sum(heights) + 5.5 * LINE))
        grid = figure.add_gridspec(2, 1, height_ratios=heights)
        axes = figure.add_subplot(grid[0])
        _dumbbells(axes, top)
        axes.set(title=title, xlim=(-2, 102))
        axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)])
        panels = grid[1].subgridspec(1, len(below)).subplots(sharey=True, squeeze=False)[0]
        for panel, (name, found) in zip(panels, below.items(), strict=True):
            _dumbbells(panel, found)
            panel.set(title=name, xlim=(-3, 78))
            panel.set_xticks((0, 25, 50, 75), ("0", "25", "50", "75 %"))
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names), columnspacing=1.4)
    return figure


def _dumbbells(axes: Axes, found: Mapping[str, Dumbbell]) -> None:
    y, each = np.arange(len(found)), list(found.values())
    printed, ours, most = ([getattr(one, name) for one in each] for name in ("printed", "counted", "most"))
    axes.hlines(y, ours, most, color=BLUE, lw=7, alpha=0.25, label="all unpublished ones too")
    axes.hlines(y, printed, ours, color=RULE, linewidth=1.2)
    axes.plot(ours, y, "o", color=BLUE, label="counted of the published", clip_on=False)
    axes.plot(printed, y, "D", color=VERMILLION, fillstyle="none", mew=2, label="as printed", clip_on=False)
    for row, one in enumerate(each):
        axes.annotate(one.said, (1.03, row), xycoords=axes.get_yaxis_transform(), va="center")
    axes.set_yticks(y, list(found))
    axes.set_ylim(len(found) - 0.5, -0.6)
    axes.tick_params(axis="y", length=0)


def bars(images: Sequence[tuple[str, Tensor]], vectors: Sequence[tuple[Tensor, Tensor]]) -> Figure:
    """Images and, beside each, its CI as bars over the prototype's in grey, each over its own largest size;
    filters in the order of the prototype's.

    images    title and pixels [channels, height, width]; vectors: CI and the prototype's, [filters] each
    """
    with style():
        figure = Figure(figsize=(COLUMN, 1.55 * len(images)))
        grid = figure.subplots(len(images), 2, width_ratios=[1, 5], squeeze=False)
        for (left, right), (title, image), (ci, over) in zip(grid, images, vectors, strict=True):
            plots.draw(left, plots.Picture("", image))
            right.set_title(title)
            x = np.arange(len(ci))
            right.bar(x, _scaled(over), width=1.0, color=INK, alpha=0.2)
            own = _scaled(ci)
            right.bar(x, own, width=0.7, color=np.where(own < 0, VERMILLION, BLUE))
            right.set(ylim=(-1.02, 1.02), xlim=(-1, len(ci)))
            right.set_axis_off()
            right.axhline(0, color=RULE, linewidth=0.8, marker="")
    return figure


def _scaled(values: Tensor) -> np.ndarray:
    return np.asarray(values / (values.abs().max() or 1), dtype=float)


def heat(names: Sequence[str], rows: Mapping[str, tuple[Tensor, Tensor]]) -> Figure:
    """Images and their heat maps, a pair of lines for each of `rows`, under the images' names.

    rows    by what was done to them: images [n, channels, height, width], maps [n, height, width] in [0, 1]
    """
    lines: list[list[plots.Picture]] = []
    for what, (images, maps) in rows.items():
        lines.append([plots.Picture(f"{name}, {what}", one) for name, one in zip(names, images, strict=True)])
        lines.append([plots.Picture("", one) for one in maps])
    return plots.tiles(lines)


def report_card(
    odds: Mapping[str, Tensor], causal: Mapping[str, int], flagged: Mapping[str, tuple[float, float]]
) -> Figure:
    """What a layer's filters say of some images: how large their CI are, how many causal filters each class's
    prototype has, and what the strategies flag.

    odds      by set of images, the log-odds CI of all its filters
    causal    by class
    flagged   by strategy, the share of clean images, and of these
    """
    with style():
        figure = Figure(figsize=(COLUMN, 2.2 + 2.2 + LINE * 1.4 * (len(flagged) + 3)), layout="constrained")
        first, second, third = figure.subplots(3, 1, height_ratios=[2, 2, LINE * 1.4 * (len(flagged) + 3)])
        edges = np.linspace(
            *np.quantile(np.concatenate([one.flatten() for one in odds.values()]), (0.01, 0.99))
        )
        for (name, values), colour in zip(odds.items(), (BLUE, VERMILLION), strict=True):
            heights = np.histogram(values.flatten(), edges)[0] / max(1, values.numel())
            first.stairs(heights, edges, color=colour, label=name, linewidth=1.6)
        first.set(title="share of all CI, by log-odds CI", yscale="log")
        first.legend(loc="upper right")
        second.bar(list(causal), list(causal.values()), color=BLUE, width=0.7)
        second.set(title="causal filters of each class's prototype")
        y = np.arange(len(flagged))
        for k, (label, colour, marker) in enumerate((("clean", BLUE, "o"), ("these", VERMILLION, "D"))):
            shares = [pair[k] for pair in flagged.values()]
            third.plot(shares, y, marker, color=colour, label=label, clip_on=False)
        third.set_yticks(y, list(flagged))
        third.set(title="share that each strategy flags", xlim=(-0.02, 1.02), ylim=(len(flagged) - 0.5, -0.5))
        third.legend(loc="lower right")
    return figure


def zeros_against_spread(
    points: Mapping[str, tuple[Tensor, Tensor]], prototypes: tuple[Tensor, Tensor], n: int
) -> Figure:
    """Zero filters of a vector against the standard deviation of its CI; dashed, the n that strategy 3 asks
    for.

    points       name -> standard deviations [k] and zeros [k]; prototypes: the same
    """
    looks = ((BLUE, "o"), (GREEN, "^"))
    with style():
        figure = Figure(figsize=(COLUMN, 3.4))
        axes = figure.subplots()
        for (name, (x, y)), (colour, marker) in zip(points.items(), looks, strict=False):
            axes.plot(x, y, marker, color=colour, markersize=4, alpha=0.6, markeredgewidth=0, label=name)
        axes.plot(*prototypes, "D", color=PURPLE, markersize=7, label="the author's prototypes")
        axes.axhline(n, color=INK, linestyle="--", linewidth=1, marker="")
        axes.set(
            xscale="log", title="filters with a CI of exactly 0", xlabel="standard deviation of the 512 CI"
        )
        axes.legend(loc="upper right")
    return figure


def saturation(shares: Mapping[str, Sequence[float]], scales: Sequence[float]) -> Figure:
    """The share of voting filters whose CI is 0 as the logits of one network grow, a line for each way to
    compute.
    """
    title = "share of voting filters with a CI of 0"
    lines = {name: dict(zip(scales, values, strict=True)) for name, values in shares.items()}
    return plots.curves({title: lines}, x="logits, times", limits=(-0.02, 1.05))


def shifted(fresh: Tensor, stale: Tensor) -> Figure:
    """CI of one image as its two published records have it, [filters] each, against each other."""
    return plots.scatter({"one image, two records": (fresh, stale)}, x="CI, first record", y="second")
