"""Lines and dots on axes: curves, intervals, one quantity against another, ROC."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from causalnb.figstyle import BLUE, COLUMN, GREEN, INK, LABEL, PURPLE, RULE, VERMILLION, style
from causalnb.plots.text import LINE, key, name_ends, say, wrapped
from causalnb.plots.values import Curve, Interval, columns, some, strokes

STEPS = (1, 2, 2.5, 5, 10)  # between ticks
Look = tuple[str, str, str]  # colour, dash, marker
LOOKS: Sequence[Look] = (
    (BLUE, "-", "o"),
    (VERMILLION, "-", "s"),
    (GREEN, "-", "^"),
    (PURPLE, "-", "D"),
    (INK, "--", "v"),
)


def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    x: str,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    looks: Mapping[str, Look] | None = None,
    ticks: Sequence[float] = (),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Lines with their intervals as bands: one chart with names at the lines' ends, or small multiples, two
    abreast, under one key.

    panels   title, which names what is on the y axis -> name of a line -> value or interval at each x
    levels   title -> words -> height of a dashed line
    looks    name of a line -> its look, where the order of `LOOKS` is not meant
    ticks    the x to be labelled, on a logarithmic axis
    limits   of y
    """
    found = {t: {n: columns(c, f"line {n!r}") for n, c in some(p, t).items()} for t, p in panels.items()}
    names = list(dict.fromkeys(chain.from_iterable(some(found, "panels").values())))
    chosen = _looks(names) | dict(looks or {})
    alone = len(panels) == 1
    with style():
        figure, grid = _panels(len(panels), 3.3 if alone else 2.3)
        for axes, (title, lines) in zip(grid, found.items(), strict=True):
            axes.set_title(wrapped(title, COLUMN / (1 if alone else 2) - 0.7))
            for name, points in lines.items():
                _line(axes, name, points, chosen[name])
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
            _across(axes, ticks, 7 if alone else 5)
            axes.margins(x=0.02)
            if limits:
                axes.set_ylim(limits)
            _levels(axes, (levels or {}).get(title, {}))
            if alone and len(names) > 1:
                name_ends(axes, {n: (p[-1, 1], chosen[n][0]) for n, p in lines.items()})
        if not alone:
            key(figure)
        _name_x(figure, x)
    return figure


def intervals(
    panels: Mapping[str, Mapping[str, Mapping[str, float | Interval]]],
    *,
    x: str,
    at: Mapping[str, Sequence[float]] | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """A row a thing, with a value and its interval for each kind of measurement; panels stand side by side
    and share their rows.

    panels   title -> row -> kind -> value or interval; a key names the kinds where they are several
    at       title -> places of dashed lines
    limits   of x
    """
    rows = list(dict.fromkeys(chain.from_iterable(some(panels, "panels").values())))
    kinds = list(dict.fromkeys(k for panel in panels.values() for row in panel.values() for k in row))
    looks = _looks(some(kinds, "values"))
    height = LINE * (len(rows) * max(1.35, 0.75 * len(kinds)) + 3.6)
    with style():
        figure = Figure(figsize=(COLUMN, height))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, panel) in zip(grid, panels.items(), strict=True):
            for number, kind in enumerate(kinds):
                found = columns({rows.index(r): v[kind] for r, v in panel.items() if kind in v}, kind)
                found[:, 0] += 0.42 * (number - (len(kinds) - 1) / 2) / max(1, len(kinds) - 1)
                _spans(axes, kind, found, looks[kind])
            for place in (at or {}).get(title, ()):
                axes.axvline(place, color=INK, linestyle="--", linewidth=1, marker="")
            axes.set(title=title, xlim=limits, ylim=(len(rows) - 0.4, -0.6))
            axes.set_yticks(range(len(rows)), rows)
            axes.tick_params(axis="y", length=0)
            _across(axes, (), 7 if len(panels) == 1 else 4)
        _name_x(figure, x)
        key(figure)
    return figure


def scatter(panels: Mapping[str, tuple[Any, Any]], *, x: str, y: str, most: int = 400) -> Figure:
    """One quantity against another, two panels abreast, dashed where both are equal.

    panels   title -> values of x and of y; `most`: the dots that are drawn, evenly taken
    """
    with style():
        figure, grid = _panels(len(some(panels, "panels")), 2.9)
        for axes, (title, pair) in zip(grid, panels.items(), strict=False):
            a, b = (np.asarray(one, dtype=float) for one in pair)
            step = -(-len(some(a, f"values in {title!r}")) // most)
            limit = 1.05 * max(np.abs(a).max(), 1e-12)
            axes.axline((0, 0), slope=1, color=RULE, linestyle="--", linewidth=1, marker="")
            axes.plot(a[::step], b[::step], "o", color=BLUE, markersize=3, alpha=0.75, markeredgewidth=0)
            axes.set(title=f"{title}: {y}", xlim=(-limit, limit))
            axes.ticklabel_format(style="sci", axis="both", scilimits=(-2, 3))
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        _name_x(figure, x)
    return figure


def roc(lines: Mapping[str, tuple[Any, Any]], *, at: float | None = None) -> Figure:
    """The share found against the share of false alarms, a line a detector, dashed for one that guesses.

    lines   name (with its area, if that is known) -> false-positive rates and true-positive rates, ascending
    at      a false-positive rate to be marked
    """
    looks = _looks(list(some(lines, "lines")))
    with style():
        figure = Figure(figsize=(COLUMN, 4.2))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=RULE, linestyle="--", linewidth=1, marker="")
        for name, (false, true) in lines.items():
            points = columns(dict(enumerate(zip(false, true, true, strict=True))), name)[:, 1:]
            _line(axes, name, points[:, [0, 1, 1, 1]], (*looks[name][:2], ""))
        if at is not None:
            axes.axvline(at, color=INK, linestyle=":", linewidth=1, marker="")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", anchor="W")
        axes.set(title="share of attacked images found", xlabel="share of clean images flagged")
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), borderpad=0, labelspacing=0.8)
    return figure


def _panels(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """Axes for n panels, two abreast where there are several."""
    across = min(2, n)
    down = -(-n // across)
    figure = Figure(figsize=(COLUMN, height * down + 0.3))
    grid = list(figure.subplots(down, across, squeeze=False).ravel())
    for axes in grid[n:]:
        axes.remove()
    return figure, grid[:n]


def _name_x(figure: Figure, name: str) -> None:
    """What all panels have below them: under the one, or under the middle of all."""
    if len(figure.axes) == 1:
        figure.axes[0].set_xlabel(name)
    else:
        figure.supxlabel(name, fontsize=LABEL)


def _looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each name."""
    if len(names) > len(LOOKS):
        raise ValueError(f"{len(names)} lines in a figure: {len(LOOKS)} can be told apart")
    return dict(zip(names, LOOKS, strict=False))


def _line(axes: Axes, name: str, points: np.ndarray, look: Look) -> None:
    (x, value, low, high), (colour, dash, marker) = points.T, look
    axes.plot(x, value, color=colour, linestyle=dash, marker=marker, label=name, clip_on=False)
    if (low < high).any():
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)


def _spans(axes: Axes, name: str, points: np.ndarray, look: Look) -> None:
    axes.plot(*strokes(points[:, 2:], points[:, 0]), color=look[0], marker="")
    axes.plot(points[:, 1], points[:, 0], look[2], color=look[0], label=name, clip_on=False)


def _across(axes: Axes, ticks: Sequence[float], most: int) -> None:
    """The labels of x, at most so many; those given stand on a logarithmic axis."""
    if ticks:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(most, steps=STEPS))


def _levels(axes: Axes, levels: Mapping[str, float]) -> None:
    drawn = [np.asarray(line.get_xydata()) for line in axes.lines]
    for value in levels.values():
        axes.axhline(value, color=INK, linestyle="--", linewidth=1, marker="")
    for words, value in levels.items():
        say(axes, value, words, drawn)
