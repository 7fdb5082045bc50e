"""A heat map with its numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from causalnb.figstyle import COLUMN, EFFECT, EFFECT_STOPS, INK, style
from causalnb.plots.text import LINE, width_of, wrapped
from causalnb.plots.values import some

SHADES = LinearSegmentedColormap.from_list("shades", EFFECT_STOPS[3::-1])
LIGHT, DARK = "#ffffff", "#000000"  # numbers on cells, which have the same colours in both themes


def matrix(
    values: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    signed: bool = False,
    limits: tuple[float, float] | None = None,
    form: Callable[[float], str] = "{:.2f}".format,
) -> Figure:
    """A heat map [rows, columns] with its numbers in the cells; NaN was not measured, and is a dash.

    signed   blue below 0, orange above; limits: of the colours, else 0 or -max to max
    refused  numbers or words that are wider than a column
    """
    values = np.asarray(values, dtype=float)
    if values.shape != (len(rows), len(columns)) or not np.isfinite(some(values, "cells")).any():
        raise ValueError(f"a matrix of {values.shape} for {len(rows)} rows and {len(columns)} columns")
    most = np.nanmax(np.abs(values)) or 1.0
    low, high = limits or (-most if signed else 0.0, most)
    width = (COLUMN - max(map(width_of, rows)) - 0.2) / len(columns)
    texts = [["–" if np.isnan(v) else form(v).replace("-", "−") for v in row] for row in values]
    for text in {word for name in columns for word in name.split()}.union(*texts):
        if width_of(text) > width - 0.08:
            raise ValueError(f"{text!r} is wider than one of {len(columns)} columns of the page")
    heads = [wrapped(name, width - 0.08) for name in columns]
    height = 1.9 * LINE * len(rows) + LINE * (1 + max(head.count("\n") + 1 for head in heads))
    colours = EFFECT if signed else SHADES
    with style():
        figure = Figure(figsize=(COLUMN, height))
        axes = figure.subplots()
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            ink = _readable(colours((value - low) / (high - low))) if np.isfinite(value) else INK
            axes.text(j, i, texts[i][j], color=ink, ha="center", va="center")
        axes.set_xticks(range(len(columns)), heads)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        axes.spines[:].set_visible(False)
    return figure


def _readable(shade: tuple[float, ...]) -> str:
    """The ink that stands out more from a colour (its relative luminance by WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shade[:3]]
    return DARK if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.179 else LIGHT
