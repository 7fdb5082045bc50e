"""Words in figures: how wide they are, where lines break, and where names stand."""

from collections.abc import Mapping

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
    """One key for all panels, above them, where there is more than one name."""
    handles = {
        name: handle
        for axes in figure.axes
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if len(handles) < 2:
        return
    across, room = len(handles), sum(width_of(name) + 0.6 for name in handles)
    while across > 1 and room > COLUMN:
        across, room = across - 1, (across - 1) * max(width_of(name) + 0.6 for name in handles)
    figure.legend(
        handles.values(),
        handles,
        loc="outside upper left",
        ncols=across,
        borderpad=0.3,
        columnspacing=1.4,
        handlelength=1.6,
    )


def say(axes: Axes, value: float, words: str, drawn: np.ndarray) -> None:
    """Words just over a horizontal line, at the end where the data are farther away; the axis grows to hold
    them.
    """
    scale, room = axes.yaxis.get_transform(), 1 - 1.2 * LINE / _height(axes)
    low, high, at = scale.transform([*axes.get_ylim(), value])
    if (at - low) > room * (high - low):
        axes.set_ylim(top=float(scale.inverted().transform([low + (at - low) / room])[0]))
    x, y = np.asarray(drawn).T
    left = x <= x.mean()
    away = [np.min(np.abs(y[side] - value), initial=np.inf) for side in (left, ~left)]
    place, align = ((0, "left"), (1, "right"))[int(away[1] > away[0])]
    axes.annotate(
        words,
        (place, value),
        xytext=((6, 3), (-6, 3))[align == "right"],
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha=align,
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
    return float(axes.get_position().height * axes.figure.get_figheight())
