"""The figures of chapter 1: data in, figure out. Nothing is computed here but positions on the page."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from causalnb.figstyle import BLUE, EFFECT, GREEN, INK, PURPLE, RULE, VERMILLION, style

SETS = {"clean": "clean", "cw": "C&W", "cw-clipped": "C&W, L2 ≤ 0.3", "fgsm": "FGSM", "pgd": "PGD"}
COLOURS = {"clean": INK, "cw": VERMILLION, "cw-clipped": PURPLE, "fgsm": BLUE, "pgd": GREEN}


def idea(
    image: Tensor, pixel: tuple[int, int], alphas: Sequence[float], expectations: Tensor, effects: Tensor
) -> Figure:
    """One pixel set to each value, the expected score that follows, and the effect of every pixel at its own
    value.

    image [28, 28]; pixel (row, column); expectations [len(alphas)] for that pixel; effects [28, 28]
    """
    with style():
        figure = Figure(figsize=(5.0, 4.6), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[1.2, 1])
        left, right, middle = (figure.add_subplot(place) for place in (grid[0, 0], grid[0, 1], grid[1, :]))
        _picture(left, image, "an image, one pixel marked")
        left.plot(
            pixel[1],
            pixel[0],
            marker="s",
            markersize=7,
            markerfacecolor="none",
            markeredgecolor=VERMILLION,
            markeredgewidth=1.6,
        )
        middle.plot(alphas, expectations, color=BLUE, clip_on=False)
        middle.axhline(
            float(np.mean(np.asarray(expectations))), color=RULE, linestyle="--", linewidth=1, marker=""
        )
        middle.set_title("E[y | do(x = α)] over α; dashed: baseline")
        middle.set_xlabel("value α that the pixel is set to")
        _map(right, effects, float(np.abs(np.asarray(effects)).max()), "effect of each pixel")
    return figure


def graph(widths: Sequence[int]) -> Figure:
    """A small network as a causal graph, and the same after its hidden layers are marginalised (the paper's
    Figs 1 and 2).
    """
    with style():
        figure = Figure(figsize=(6.4, 2.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        _layers(
            left,
            widths,
            f"{'-'.join(map(str, widths))} network: {int(np.prod(widths[1:-1]))} paths from each input to "
            "each output",
        )
        _layers(right, (widths[0], widths[-1]), "hidden layers marginalised: y = f ′(x)")
    return figure


def _layers(axes: Axes, widths: Sequence[int], title: str) -> None:
    places = [[(x, (n - 1) / 2 - i) for i in range(n)] for x, n in enumerate(widths)]
    for here, there in zip(places, places[1:], strict=False):
        for a in here:
            for b in there:
                axes.annotate(
                    "",
                    b,
                    a,
                    arrowprops={
                        "arrowstyle": "-|>",
                        "color": RULE,
                        "shrinkA": 8,
                        "shrinkB": 8,
                        "linewidth": 0.8,
                    },
                )
    points = np.array([p for layer in places for p in layer])
    axes.plot(
        points[:, 0],
        points[:, 1],
        linestyle="",
        marker="o",
        markersize=11,
        markerfacecolor=BLUE,
        markeredgecolor=INK,
        clip_on=False,
    )
    axes.set_title(title)
    axes.set_axis_off()


def training(curves: Mapping[str, Mapping[str, Sequence[float]]], printed: Mapping[str, float]) -> Figure:
    """Test accuracy after each epoch, a panel for each data set and a line for each recipe; dashed, what the
    paper prints.

    curves   data set -> recipe -> accuracies in percent
    printed  data set -> percent, for the sets that the paper reports
    """
    with style():
        figure = Figure(figsize=(3.2 * len(curves), 2.6), layout="constrained")
        for axes, (data, recipes) in zip(
            figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
        ):
            for (name, values), colour in zip(recipes.items(), (BLUE, VERMILLION), strict=False):
                axes.plot(range(1, len(values) + 1), values, color=colour, label=name, clip_on=False)
            if data in printed:
                axes.axhline(
                    printed[data],
                    color=RULE,
                    linestyle="--",
                    linewidth=1,
                    marker="",
                    label=f"printed, {printed[data]}",
                )
            axes.set_title(f"{data}: test accuracy, %")
            axes.set_xlabel("epoch")
            axes.legend(loc="lower right", fontsize=8.5)
    return figure


def attacked(images: Mapping[str, Tensor], maps: Mapping[str, Tensor], *, own_scale: bool) -> Figure:
    """An image and its attacked versions above their effect maps (the paper's Figs 4 and 5).

    images, maps  set name -> [28, 28]
    own_scale     each map on its own symmetric scale, or all on one
    """
    limit = max(float(m.abs().max()) for m in maps.values())
    with style():
        figure = Figure(figsize=(1.35 * len(images), 3.0), layout="constrained")
        grid = figure.subplots(2, len(images), squeeze=False)
        for column, name in enumerate(images):
            own = float(maps[name].abs().max())
            _picture(grid[0, column], images[name], SETS.get(name, name))
            _map(
                grid[1, column],
                maps[name],
                own if own_scale else limit,
                f"± {own if own_scale else limit:.2g}",
            )
    return figure


def readings_of(image: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """One image and its map in each reading, each on its own scale (the paper's Fig. 3, in every reading).

    maps  reading -> [28, 28]
    """
    panels = 1 + len(maps)
    columns = min(5, panels)
    rows = -(-panels // columns)
    with style():
        figure = Figure(figsize=(1.35 * columns, 1.6 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        _picture(grid[0], image, "image")
        for axes, (name, values) in zip(grid[1:], maps.items(), strict=False):
            _map(axes, values, float(values.abs().max()), f"{name}  ± {float(values.abs().max()):.1g}")
        for axes in grid[panels:]:
            axes.set_axis_off()
    return figure


def against_table(ours: Mapping[str, Mapping[str, float]], printed: Mapping[str, float], name: str) -> Figure:
    """Every reading's value for each set, with what the paper prints as a bar.

    ours     set -> reading -> value
    printed  set -> value; empty for data that the paper does not use
    """
    with style():
        figure = Figure(figsize=(5.0, 2.6), layout="constrained")
        axes = figure.subplots()
        for place, (which, values) in enumerate(ours.items()):
            spread = np.linspace(-0.28, 0.28, len(values))
            axes.plot(
                place + spread,
                list(values.values()),
                linestyle="",
                marker="o",
                markersize=3.2,
                color=COLOURS[which],
                markeredgewidth=0,
                alpha=0.75,
            )
            if which in printed:
                axes.plot(
                    [place - 0.36, place + 0.36], [printed[which]] * 2, color=INK, marker="", linewidth=2
                )
        axes.set_xticks(range(len(ours)), [SETS[which] for which in ours])
        axes.set_title(name)
    return figure


def agreement(sampled: Mapping[str, Tensor], taylor: Mapping[str, Tensor]) -> Figure:
    """Taylor's expectation against the sampled one, centred for each pixel, a panel for each score.

    sampled, taylor  panel name -> flat values of equal length
    """
    with style():
        figure = Figure(figsize=(2.3 * len(sampled), 2.3), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(sampled), squeeze=False).ravel(), sampled, strict=True):
            x, y = sampled[name].numpy(), taylor[name].numpy()
            every = max(1, len(x) // 400)
            limit = 1.05 * max(np.abs(x).max(), 1e-12)
            axes.plot([-limit, limit], [-limit, limit], color=RULE, linestyle="--", linewidth=1, marker="")
            axes.plot(
                x[::every],
                y[::every],
                linestyle="",
                marker="o",
                markersize=2,
                color=BLUE,
                alpha=0.5,
                markeredgewidth=0,
            )
            axes.set_title(name)
            axes.set_xlabel("sampled")
            axes.ticklabel_format(style="sci", axis="both", scilimits=(-2, 3))
    return figure


def strengths(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float, float]]]], unit: str
) -> Figure:
    """A statistic a panel against the budget, a line for each kind of perturbation with its interval as a
    band.

    panels   title -> kind -> (budget, value, low, high), ascending; unit: of the budget
    """
    with style():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        for axes, (title, kinds) in zip(figure.subplots(2, 2).ravel(), panels.items(), strict=True):
            for (kind, points), colour in zip(kinds.items(), (VERMILLION, BLUE, GREEN), strict=False):
                budget, value, low, high = (list(column) for column in zip(*points, strict=True))
                dashed = kind.endswith("noise")
                axes.plot(
                    budget,
                    value,
                    color=INK if dashed else colour,
                    linestyle="--" if dashed else "-",
                    label=kind,
                    clip_on=False,
                )
                axes.fill_between(budget, low, high, color=INK if dashed else colour, alpha=0.16, linewidth=0)
            axes.set_title(title)
            axes.set_xlabel(unit)
        figure.axes[0].legend(fontsize=8.5)
    return figure


def by_rows(curves: Mapping[str, Mapping[int, tuple[float, float, float]]]) -> Figure:
    """Mean S against the number of rows behind the table, a line a score; dashed where only resolved signs
    count.

    curves   name -> rows -> (value, low, high)
    """
    with style():
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        for (name, points), colour, dash in zip(
            curves.items(), (BLUE, BLUE, VERMILLION, VERMILLION), ("-", "--", "-", "--"), strict=True
        ):
            axes.plot(
                list(points),
                [value for value, *_ in points.values()],
                color=colour,
                linestyle=dash,
                label=name.replace(".", ", "),
                clip_on=False,
            )
        sizes = sorted({rows for points in curves.values() for rows in points})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{rows:,}" for rows in sizes])
        axes.minorticks_off()
        axes.legend(fontsize=8.5)
        axes.set_title("mean S of clean images")
        axes.set_xlabel("training rows behind the table")
    return figure


def samples(rows: Mapping[str, Tensor]) -> Figure:
    """Images in rows, e.g. a beta-VAE's samples of each class; rows: name -> [n, h, w]."""
    most = max(len(images) for images in rows.values())
    with style():
        figure = Figure(figsize=(0.6 * most, 0.78 * len(rows)), layout="constrained")
        for line, (name, images) in zip(
            figure.subplots(len(rows), most, squeeze=False), rows.items(), strict=True
        ):
            for axes, image in zip(line, images, strict=False):
                _picture(axes, image, "")
            line[0].set_title(name)
    return figure


def placebo(changes: Mapping[str, Mapping[str, tuple[float, float, float]]], name: str) -> Figure:
    """Change against the clean image, for each reading under the attack and under harmless noise of the same
    size.

    changes  reading -> {"attack": (value, low, high), "placebo": (value, low, high)}
    """
    with style():
        figure = Figure(figsize=(5.0, 0.32 * len(changes) + 0.9), layout="constrained")
        axes = figure.subplots()
        for place, pair in enumerate(changes.values()):
            for (kind, (value, low, high)), colour, shift in zip(
                pair.items(), (VERMILLION, BLUE), (-0.16, 0.16), strict=True
            ):
                axes.plot([low, high], [place + shift] * 2, color=colour, marker="", linewidth=1.4)
                axes.plot(
                    value,
                    place + shift,
                    color=colour,
                    marker="o" if kind == "attack" else "s",
                    linestyle="",
                    label=kind if not place else None,
                )
        axes.axvline(0, color=RULE, linewidth=0.8, marker="")
        axes.set_yticks(range(len(changes)), list(changes))
        axes.invert_yaxis()
        axes.set_title(name)
        axes.legend(loc="best", fontsize=8.5)
    return figure


def corners(rhos: Sequence[float], single: Sequence[float], joint: Sequence[float]) -> Figure:
    """The effect of the corner patch on the score of its class, pixel by pixel summed and all at once, over
    its correlation.
    """
    with style():
        figure = Figure(layout="constrained")
        axes = figure.subplots()
        for values, colour, name in (
            (joint, BLUE, "whole corner at once"),
            (single, VERMILLION, "sum over its pixels"),
        ):
            axes.plot(rhos, values, color=colour, marker="o" if colour == BLUE else "s", clip_on=False)
            _label(axes, name, (rhos[-1], values[-1]), colour)
        axes.axhline(0, color=RULE, linestyle="--", linewidth=1, marker="")
        axes.set_title("effect on the logit; dashed: the effect in the world that made the images")
        axes.set_xlabel("how often the corner agrees with the content, ρ")
    return figure


def _label(axes: Axes, text: str, end: tuple[float, float], colour: str) -> None:
    """A line's name at its right end."""
    axes.annotate(
        text, end, xytext=(7, 0), textcoords="offset points", color=colour, va="center", annotation_clip=False
    )


def _picture(axes: Axes, image: Tensor, title: str) -> None:
    axes.imshow(image.reshape(image.shape[-2:]), vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()


def _map(axes: Axes, values: Tensor, limit: float, title: str) -> None:
    axes.imshow(values, cmap=EFFECT, vmin=-limit or -1, vmax=limit or 1)
    axes.set_title(title)
    axes.set_axis_off()
