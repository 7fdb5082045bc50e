"""The specification curve: all readings of a number, sorted, and what each of them decided."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from causalnb.figstyle import BLUE, COLUMN, GREEN, INK, style
from causalnb.plots.text import LINE, say
from causalnb.plots.values import Interval, columns, some, strokes


def specification(
    estimates: Mapping[str, Interval],
    decisions: Mapping[str, Mapping[str, str]],
    *,
    title: str,
    printed: tuple[float, float] | None = None,
    log: bool = False,
) -> Figure:
    """The estimates of all readings, sorted, with their intervals, and below them what each reading decided
    (Simonsohn et al. 2020).

    estimates   reading -> value with its interval
    decisions   decision -> reading -> option; a strip a decision, in it a line an option
    printed     the printed value and its tolerance, drawn as a band; green where an estimate lies in it
    """
    order = sorted(some(estimates, "estimates"), key=lambda name: estimates[name][0])
    found = columns({place: estimates[name] for place, name in enumerate(order)}, "estimates")
    missing = sorted({name for chosen in decisions.values() for name in order if name not in chosen})
    if missing:
        raise ValueError(f"readings without a decision: {missing}")
    options = {what: list(dict.fromkeys(chosen[n] for n in order)) for what, chosen in decisions.items()}
    heights = [2.1, *(LINE * (len(names) + 0.4) for names in options.values())]
    with style():
        figure = Figure(figsize=(COLUMN, sum(heights) + 0.5))
        top, *strips = figure.subplots(
            len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False
        )[:, 0]
        top.set(title=title, yscale="log" if log else "linear", xlim=(-1, len(order)))
        _sorted(top, found, printed)
        for axes, (what, names) in zip(strips, options.items(), strict=True):
            _strip(axes, [names.index(decisions[what][name]) for name in order], what, names)
    return figure


def _sorted(axes: Axes, found: np.ndarray, printed: tuple[float, float] | None) -> None:
    within = np.zeros(len(found), bool)
    if printed is not None:
        value, tolerance = printed
        within = np.abs(found[:, 1] - value) <= tolerance
        axes.axhspan(value - tolerance, value + tolerance, color=INK, alpha=0.12, linewidth=0)
        axes.axhline(value, color=INK, linestyle="--", linewidth=1, marker="")
    size = min(6.0, 500 / len(found))
    for those, colour in ((~within, BLUE), (within, GREEN)):
        if those.any():
            x, y = strokes(found[those, 2:], found[those, 0])
            axes.plot(y, x, color=colour, marker="", linewidth=0.3 * size, alpha=0.45)
            axes.plot(found[those, 0], found[those, 1], "o", color=colour, markersize=size)
    if printed is not None:
        say(axes, value, f"printed {value:g}, tolerance {tolerance:.2g}", [found[:, :2]])
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        subs = (1, 2, 3, 5) if high < 100 * low else (1,)
        axes.yaxis.set(major_locator=LogLocator(subs=subs), major_formatter="{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))


def _strip(axes: Axes, chosen: Sequence[int], what: str, options: Sequence[str]) -> None:
    places = np.array(chosen)
    for option in range(len(options)):
        here = np.flatnonzero(places == option)
        x, y = strokes(
            np.stack([np.full(len(here), option - 0.3), np.full(len(here), option + 0.3)], 1), here
        )
        axes.plot(y, x, color=INK, marker="", linewidth=min(5.0, 350 / len(chosen)), solid_capstyle="butt")
    axes.set_yticks(range(len(options)), options)
    axes.set_ylim(len(options) - 0.5, -0.6)
    axes.tick_params(length=0, labelbottom=False)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.annotate(
        what, (1, 0.5), xytext=(6, 0), xycoords="axes fraction", textcoords="offset points", va="center"
    )
