"""The figures of chapter 1: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import plots
from causalnb.figstyle import BLUE, COLUMN, INK, RULE, VERMILLION, style
from causalnb.plots import Curve
from causalnb.statistics import Interval


def intervention(
    image: Tensor, pixel: tuple[int, int], alphas: Sequence[float], expectations: Tensor
) -> Figure:
    """One pixel set to each value, and the expected score that follows, with its mean, the baseline.

    image [28, 28]; pixel (row, column); expectations [len(alphas)] for that pixel
    """
    with style():
        figure = Figure(figsize=(COLUMN, 2.6))
        grid = figure.subplot_mosaic([["image", "mean"]], width_ratios=[1, 1.7])
        plots.draw(grid["image"], plots.Picture("one pixel marked", image))
        grid["image"].plot(
            *pixel[::-1], marker="s", markersize=10, markerfacecolor="none", color=VERMILLION, mew=2
        )
        mean = grid["mean"]
        mean.plot(alphas, expectations, color=BLUE, clip_on=False)
        mean.axhline(float(np.mean(np.asarray(expectations))), color=INK, ls="--", linewidth=1, marker="")
        mean.set_title("E[y | do(x = α)] over α; dashed: baseline")
        mean.set_xlabel("value α that the pixel is set to")
    return figure


def graph(widths: Sequence[int]) -> Figure:
    """A small network as a causal graph, and the same after its hidden layers are marginalised (the paper's
    Figs 1 and 2).
    """
    paths = int(np.prod(widths[1:-1]))
    title = f"{'-'.join(map(str, widths))} network:\n{paths} paths from each input to each output"
    with style():
        figure = Figure(figsize=(COLUMN, 2.6))
        left, right = figure.subplots(1, 2)
        _layers(left, widths, title)
        _layers(right, (widths[0], widths[-1]), "hidden layers marginalised:\ny = f ′(x)")
    return figure


def _layers(axes: Axes, widths: Sequence[int], title: str) -> None:
    places = [[(x, (n - 1) / 2 - i) for i in range(n)] for x, n in enumerate(widths)]
    arrow = {"arrowstyle": "-|>", "color": RULE, "shrinkA": 9, "shrinkB": 9, "linewidth": 1}
    for here, there in zip(places, places[1:], strict=False):
        for a in here:
            for b in there:
                axes.annotate("", b, a, arrowprops=arrow)
    x, y = zip(*(place for layer in places for place in layer), strict=True)
    axes.plot(x, y, "o", markersize=13, markerfacecolor=BLUE, markeredgecolor=INK, clip_on=False)
    axes.set_title(title)
    axes.set_axis_off()


def training(curves: Mapping[str, Mapping[str, Sequence[float]]], printed: Mapping[str, float]) -> Figure:
    """Test accuracy after each epoch, a panel for each data set and a line for each recipe; dashed, what the
    paper prints.

    curves   data set -> recipe -> accuracies in percent
    printed  data set -> percent, for the sets that the paper reports
    """
    titles = {data: f"{data}: test accuracy, %" for data in curves}
    panels: dict[str, dict[str, Curve]] = {
        titles[data]: {name: dict(enumerate(values, 1)) for name, values in recipes.items()}
        for data, recipes in curves.items()
    }
    levels = {titles[data]: {f"printed, {printed[data]}": printed[data]} for data in curves & printed.keys()}
    return plots.curves(panels, x="epoch", levels=levels)


def attacked(images: Mapping[str, Tensor], maps: Mapping[str, Tensor], *, own_scale: bool) -> Figure:
    """An image and its attacked versions above their effect maps (the paper's Figs 4 and 5).

    images, maps  title -> [28, 28]
    own_scale     each map on its own symmetric scale, or all on one
    """
    limit = None if own_scale else max(float(one.abs().max()) for one in maps.values())
    above = [plots.Picture(title, image) for title, image in images.items()]
    return plots.tiles([above, [plots.effects("", maps[title], limit) for title in images]])


def readings_of(image: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """One image and its map in each reading, each on its own scale (the paper's Fig. 3, in every reading).

    maps  reading -> [28, 28]
    """
    every = [plots.Picture("image", image), *(plots.effects(name, one) for name, one in maps.items())]
    across = min(6, len(every))
    return plots.tiles([every[i : i + across] for i in range(0, len(every), across)])


def specification(
    estimates: Mapping[str, Interval],
    decisions: Mapping[str, Mapping[str, str]],
    printed: tuple[float, float] | None,
    name: str,
    *,
    log: bool,
) -> Figure:
    """Every reading of a number of Table I, sorted, and what each decided; see `plots.specification`."""
    return plots.specification(estimates, decisions, title=name, printed=printed, log=log)


def agreement(sampled: Mapping[str, Tensor], taylor: Mapping[str, Tensor]) -> Figure:
    """Taylor's expectation against the sampled one, centred for each pixel, a panel for each score.

    sampled, taylor  panel name -> flat values of equal length
    """
    return plots.scatter(
        {name: (sampled[name], taylor[name]) for name in sampled}, x="sampled", y="by Taylor"
    )


def strengths(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]], unit: str
) -> Figure:
    """A statistic a panel against the budget, a line for each kind of perturbation with its interval as a
    band.

    panels   title -> kind -> (budget, value, low, high), ascending; unit: of the budget
    """
    kinds = dict.fromkeys(kind for lines in panels.values() for kind in lines)
    return plots.curves(
        {
            title: {
                kind: {eps: (value, low, high) for eps, value, low, high in points}
                for kind, points in lines.items()
            }
            for title, lines in panels.items()
        },
        x=unit,
        looks={kind: (INK, "--", "v") for kind in kinds if kind.endswith("noise")},
    )


def by_rows(curves: Mapping[str, Mapping[int, Interval]]) -> Figure:
    """Mean S against the number of rows behind the table, a line a score; dashed where only resolved signs
    count.

    curves   name -> rows -> (value, low, high)
    """
    names = {name: name.replace(".", ", ") for name in curves}
    each = [(BLUE, "-", "o"), (BLUE, "--", "o"), (VERMILLION, "-", "s"), (VERMILLION, "--", "s")]
    lines: dict[str, Curve] = {
        names[name]: {rows: value for rows, (value, *_) in of.items()} for name, of in curves.items()
    }
    return plots.curves(
        {"mean S of clean images": lines},
        x="training rows behind the table",
        looks=dict(zip(names.values(), each, strict=True)),
        ticks=sorted({rows for points in curves.values() for rows in points}),
    )


def samples(rows: Mapping[str, Tensor]) -> Figure:
    """Images in rows, e.g. a beta-VAE's samples of each class; rows: name -> [n, h, w]."""
    return plots.tiles([[plots.Picture(name, plots.in_a_row(images))] for name, images in rows.items()])


def over_threshold(curves: Mapping[str, Mapping[str, Mapping[float, Interval]]]) -> Figure:
    """Mean S over the share of a map's largest effect above which an effect counts as positive, a panel for
    each score and a line for each set of images.
    """
    return plots.curves(curves, x="counted as positive above this share of the largest effect")


def placebo(panels: Mapping[str, Mapping[str, Mapping[str, Interval]]]) -> Figure:
    """Change against the clean image, for each reading under the attack and under harmless noise of the same
    size; a panel for each number that changes.

    panels   title -> reading -> kind -> (value, low, high)
    """
    return plots.intervals(panels, x="change against the clean image", at=dict.fromkeys(panels, (0,)))


def corners(rhos: Sequence[float], single: Sequence[float], joint: Sequence[float]) -> Figure:
    """The effect of the corner patch on the score of its class, pixel by pixel summed and all at once, over
    its correlation.
    """
    lines = {"whole corner at once": joint, "sum over its pixels": single}
    title = "effect on the logit"
    return plots.curves(
        {title: {name: dict(zip(rhos, values, strict=True)) for name, values in lines.items()}},
        x="how often the corner agrees with the content, ρ",
        levels={title: {"in the world that made the images": 0.0}},
    )
