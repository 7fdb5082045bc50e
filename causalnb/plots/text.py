"""Words in figures: how wide they are, where lines break, and where names stand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from causalnb.figstyle import COLUMN, LABEL

LINE = 1.25 * LABEL / 72  # inches from one line of text to the next


def width_of(text: str) -> float:
    """Inches that a line of text takes."""
    face = FontProperties(family="DejaVu Sans", size=LABEL)
    return float(text_to_path.get_text_width_height_descent(text, face, False)[0]) / 72


def wrapped(text: str, width: float) -> str:
    """The text in lines no wider than so many inches, where its words allow."""
    lines: list[str] = []
    for line in text.split("\n") if text else ():
        lines.append("")
        for word in line.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and width_of(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
    return "\n".join(lines)


def key(figure: Figure) -> None:
    """One key for all panels, above them; a panel with one line needs none."""
    handles = {name: handle for axes in figure.axes for handle, name in _labelled(axes)}
    if not handles:
        return
    across, room = len(handles), sum(width_of(name) + 0.6 for name in handles)
    while across > 1 and room > COLUMN:
        across, room = across - 1, (across - 1) * max(width_of(name) + 0.6 for name in handles)
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper left",
        ncols=across,
        borderpad=0.5,
        columnspacing=1.4,
        handlelength=1.6,
    )


def say(axes: Axes, value: float, words: str, lines: Sequence[np.ndarray]) -> None:
    """Words along a horizontal line, at its left or right end, over or under it: at the first of these places
    that the lines [n, (x, y)] leave free, or the freest. The axis grows to hold them.
    """
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    flat, line = axes.transScale + axes.transLimits, LINE / _height(axes)
    at = float(flat.transform((lines[0][0, 0], value))[1])
    wide = (width_of(words) + 0.15) / (axes.get_position().width * COLUMN)

    def free(place: tuple[str, int]) -> float:
        x, middle = np.linspace(0, wide, 30), at + 0.6 * line * place[1]
        x = x if place[0] == "left" else 1 - x[::-1]
        heights = [np.interp(x, *flat.transform(one).T) for one in lines]
        return min(1.1 * line, float(np.abs(np.array(heights) - middle).min()))

    under = [(side, -1) for side in ("left", "right") if at > 1.2 * line]
    side, way = max([("left", 1), ("right", 1), *under], key=free)
    if way > 0 and at > 1 - 1.2 * line:
        scale = axes.yaxis.get_transform()
        low, there = scale.transform([axes.get_ylim()[0], value])
        top = low + (there - low) / (1 - 1.2 * line)
        axes.set_ylim(top=float(scale.inverted().transform([top])[0]))
    axes.annotate(
        words,
        (float(side == "right"), value),
        xytext=(6 if side == "left" else -6, 3 * way),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha=side,
        va="bottom" if way > 0 else "top",
    )


def name_ends(axes: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Each line's name at its right end, as far apart as the text is high."""
    axes.set_ylim(axes.get_ylim())
    places = {n: axes.transLimits.transform((0, height))[1] for n, (height, _) in ends.items()}
    gap = 1.05 * LINE / _height(axes)
    low, high = -np.inf, 1.0
    names = sorted(places, key=lambda name: places[name])
    for name in names:
        low = places[name] = max(places[name], low + gap)
    for name in reversed(names):
        places[name] = min(places[name], high)
        high = places[name] - gap
    for name, place in places.items():
        axes.annotate(
            name,
            (1, place),
            xytext=(6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=ends[name][1],
            va="center",
            annotation_clip=False,
        )


def _height(axes: Axes) -> float:
    """About how high the axes will be, in inches: a title, labels and the rest take their part."""
    return axes.bbox.height / axes.figure.dpi


def _labelled(axes: Axes) -> list[tuple[Any, str]]:
    found = list(zip(*axes.get_legend_handles_labels(), strict=True))
    return found if len(found) > 1 else []
