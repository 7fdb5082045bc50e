"""The figures of chapter 3: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import plots
from causalnb.figstyle import BLUE, COLUMN, EFFECT_STOPS, INK, RULE, VERMILLION, style
from causalnb.plots.text import LINE

CLIPPED = 0.10  # where the printed maps end, red below a half of it
RED = LinearSegmentedColormap.from_list("red", [*EFFECT_STOPS[:3:-1], EFFECT_STOPS[3], *EFFECT_STOPS[2:0:-1]])
EVERY = (1, 4, 8, 12, 16)  # channels that are labelled


def heat_maps(maps: Mapping[str, Tensor]) -> Figure:
    """p of all pairs of channels, clipped at .10 as printed: orange below .05, blue above; a panel a map.

    maps   title -> [channels, channels]
    """
    with style():
        figure = Figure(figsize=(COLUMN, COLUMN / len(maps) + 1.1))
        grid = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
        for axes, (title, p) in zip(grid, maps.items(), strict=True):
            shown = p.double().clamp(max=CLIPPED).numpy().copy()
            np.fill_diagonal(shown, np.nan)
            image = axes.imshow(shown, cmap=RED, vmin=0, vmax=CLIPPED)
            axes.set_title(title)
            ticks = [k for k in EVERY if k <= len(p)]
            axes.set_xticks([k - 1 for k in ticks], ticks)
            axes.set_yticks([k - 1 for k in ticks], ticks)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=list(grid), orientation="horizontal", shrink=0.6, aspect=40, pad=0.02)
        bar.set_ticks([0, CLIPPED / 2, CLIPPED], labels=["p = 0", "0.05", "0.10 and more"])
        bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def seen(pictures: Sequence[tuple[str, Tensor]], effects: Tensor, title: str) -> Figure:
    """An image clean and attacked, and beside them what each channel does alone.

    pictures   title and pixels [channels, height, width]; effects: [channels] AEL of each alone
    """
    with style():
        figure = Figure(figsize=(COLUMN, 2.3))
        grid = figure.subplots(1, len(pictures) + 1, width_ratios=[1] * len(pictures) + [2.4])
        for axes, (name, image) in zip(grid, pictures, strict=False):
            plots.draw(axes, plots.Picture(name, image))
            axes.set_title(name)
        right = grid[-1]
        right.bar(np.arange(1, len(effects) + 1), np.asarray(effects, dtype=float), color=BLUE, width=0.75)
        right.set_xticks([k for k in EVERY if k <= len(effects)])
        right.set(title=title, xlabel="channel, swapped alone")
    return figure


def ranks(panels: Mapping[str, Tensor]) -> Figure:
    """The rank of every channel at each size, H the most vulnerable; the three that lead at size 1 in colour
    (Fig. 4).

    panels   title -> ranks [sizes, channels]
    """
    with style():
        figure = Figure(figsize=(COLUMN, 3.0))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, found) in zip(grid, panels.items(), strict=True):
            x = np.arange(1, len(found) + 1)
            leading = found[0].argsort(descending=True)[:3].tolist()
            for j in range(found.shape[1]):
                if j not in leading:
                    axes.plot(x, found[:, j], color=RULE, alpha=0.35, linewidth=1, marker="")
            for j, (colour, dash, marker) in zip(leading, plots.LOOKS, strict=False):
                axes.plot(x, found[:, j], color=colour, linestyle=dash, marker=marker, markersize=4)
            axes.set_title(title)
            axes.set_yticks([1, 4, 8, 12, 16])
            axes.set_xticks([1, 5, 10, 15])
        figure.supxlabel("channels swapped")
    return figure


def against(panels: Mapping[str, tuple[Tensor, Tensor]], *, x: str) -> Figure:
    """One quantity against another, a panel a pair.

    panels   title, which names y -> x and y
    """
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    with style():
        figure = Figure(figsize=(COLUMN, 2.4 * down + 0.3))
        grid = list(figure.subplots(down, across, squeeze=False).ravel())
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes, (title, (a, b)) in zip(grid, panels.items(), strict=False):
            axes.plot(a, b, "o", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
            axes.set_title(title)
            axes.locator_params(nbins=4)
        figure.supxlabel(x, fontsize=None)
    return figure


def histograms(panels: Mapping[str, Tensor], *, x: str) -> Figure:
    """How many sets have which AEA: a panel a size (Figs. 2c, A3c, A4c).

    panels   title -> values [m] in [0, 1]
    """
    with style():
        figure = Figure(figsize=(COLUMN, 2.3))
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, values) in zip(grid, panels.items(), strict=True):
            axes.hist(np.asarray(values, dtype=float), bins=np.linspace(0, 1, 21), color=BLUE)
            axes.set(title=title, xlim=(-0.02, 1.02))
            axes.set_xticks([0, 0.5, 1])
        figure.supxlabel(x)
    return figure


def boxes(panels: Mapping[str, Sequence[Tensor]], *, names: Sequence[str], x: str) -> Figure:
    """Values of several groups as boxes (quartiles; whiskers to the 5th and 95th of a hundred), the mean as a
    dot.

    panels   title -> [n] of each group; names: of the groups
    """
    with style():
        figure = Figure(figsize=(COLUMN, 2.7 * len(panels)))
        grid = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, (title, groups) in zip(grid, panels.items(), strict=True):
            _boxes(axes, groups)
            axes.set_title(title)
            axes.set_xticks(range(1, len(names) + 1), names)
        grid[-1].set_xlabel(x)
    return figure


def _boxes(axes: Axes, groups: Sequence[Tensor]) -> None:
    line = {"color": INK, "linewidth": 1}
    axes.boxplot(
        [np.asarray(one, dtype=float) for one in groups],
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": BLUE, "linewidth": 2},
        meanprops={
            "marker": "o",
            "markerfacecolor": VERMILLION,
            "markeredgecolor": VERMILLION,
            "markersize": 4,
        },
    )


def values_of_channels(columns: Mapping[str, Tensor]) -> Figure:
    """What several measures say of each channel, each over its own largest; channels in the order of the
    first.

    columns   name -> [channels]
    """
    first = next(iter(columns.values()))
    order = first.argsort(descending=True).tolist()
    lines: dict[str, plots.Curve] = {
        name: {place + 1: float(found[j] / found.abs().max()) for place, j in enumerate(order)}
        for name, found in columns.items()
    }
    return plots.curves({"over its own largest": lines}, x="channels, in order of the first")


def orders(shares: Mapping[str, Tensor]) -> Figure:
    """The share of the variance over all sets that is of order 1, 2, 3, and more.

    shares   name -> [orders]
    """
    kinds = ("1", "2", "3", "4 and more")
    with style():
        figure = Figure(figsize=(COLUMN, LINE * (1.5 * len(shares) + 3.2)))
        axes = figure.subplots()
        for row, found in enumerate(shares.values()):
            parts = [*found[:3].tolist(), float(found[3:].sum())]
            start = 0.0
            for k, part in enumerate(parts):
                axes.barh(row, part, left=start, color=BLUE, alpha=(1, 0.6, 0.35, 0.15)[k], height=0.7)
                start += part
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set(
            ylim=(len(shares) - 0.4, -0.6), xlim=(0, 1), xlabel=f"share of variance; order {', '.join(kinds)}"
        )
        axes.tick_params(axis="y", length=0)
    return figure
