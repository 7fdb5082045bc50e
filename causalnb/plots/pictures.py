"""Images and maps of effects in rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from causalnb.figstyle import COLUMN, EFFECT, style
from causalnb.plots.text import LINE, wrapped
from causalnb.plots.values import some


@dataclass(frozen=True)
class Picture:
    """An image [height, width] in [0, 1], or of one or three channels before that, under its title; with a
    limit, a map of signed effects instead.
    """

    title: str
    values: Any
    limit: float | None = None

    @property
    def pixels(self) -> np.ndarray:
        """[height, width], or [height, width, 3]."""
        values = np.asarray(self.values)
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        coloured = values.ndim == 3 and len(values) == 3 and self.limit is None
        if not values.size or not (values.ndim == 2 or coloured):
            raise ValueError(f"{self.title!r} is no picture: {values.shape} for [height, width]")
        return np.moveaxis(values, 0, -1) if coloured else values


def effects(title: str, values: Any, limit: float | None = None) -> Picture:
    """A map of signed effects [height, width], on its own symmetric scale where no limit is given."""
    return Picture(title, values, float(np.abs(np.asarray(values)).max()) if limit is None else limit)


def tiles(rows: Sequence[Sequence[Picture]], *, ends: tuple[str, str] = ("lowers", "raises")) -> Figure:
    """Rows of images and maps under their titles; a map's title ends in the limit of its scale.

    ends   what the two colours of a map mean
    """
    across = max((len(row) for row in rows), default=0)
    pictures = some([one for row in rows for one in row], "pictures")
    gap, key = 0.1, 2.2 * LINE if any(one.limit is not None for one in pictures) else 0.0
    width = (COLUMN - (across - 1) * gap) / across
    shapes = [
        [one.pixels.shape[0] / one.pixels.shape[1] for one in some(row, "pictures in a row")] for row in rows
    ]
    width = min(width, 2.3 / max(map(max, shapes)))
    titles = [[wrapped(_title(one), width) for one in row] for row in rows]
    above = [LINE * max(t.count("\n") + bool(t) for t in line) + 0.06 for line in titles]
    heights = [width * max(row) for row in shapes]
    whole = sum(above) + sum(heights) + gap * (len(rows) - 1) + key + 0.03
    with style():
        figure = Figure(figsize=(COLUMN, whole))
        figure.set_layout_engine("none")
        top = whole
        for row, line, title, height in zip(rows, titles, above, heights, strict=True):
            top -= title + height
            for column, (one, words) in enumerate(zip(row, line, strict=True)):
                place = (column * (width + gap) / COLUMN, top / whole, width / COLUMN, height / whole)
                draw(figure.add_axes(place), one).set_title(words)
            top -= gap
        if key:
            _scale(figure.add_axes((0.34, 0.5 * LINE / whole, 0.32, 0.5 * LINE / whole)), ends)
    return figure


def draw(axes: Axes, one: Picture) -> Axes:
    """The picture in these axes, under its title."""
    if one.limit is None:
        axes.imshow(one.pixels, vmin=0, vmax=1)
    else:
        axes.imshow(one.pixels, cmap=EFFECT, vmin=-one.limit or -1, vmax=one.limit or 1)
    axes.set_axis_off()
    axes.set_title(_title(one))
    return axes


def in_a_row(images: Any) -> np.ndarray:
    """Images [n, height, width] beside each other as one, a clear pixel between."""
    gap = np.full((len(images[0]), 1), np.nan)
    parts = [part for image in images for part in (np.asarray(image, float), gap)]
    return np.concatenate(parts[:-1], axis=1)


def _scale(axes: Axes, ends: tuple[str, str]) -> None:
    """The colours of maps, from one end to the other."""
    axes.imshow(np.linspace(-1, 1, 64)[None], cmap=EFFECT, aspect="auto")
    axes.set_axis_off()
    for place, words, align in ((-0.02, ends[0], "right"), (1.02, ends[1], "left")):
        axes.text(place, 0.5, words, transform=axes.transAxes, ha=align, va="center")


def _title(one: Picture) -> str:
    if one.limit is None:
        return one.title
    return "\n".join(filter(None, (one.title, f"up to {one.limit:.2g}")))
