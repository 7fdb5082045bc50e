"""What a reader sees of a figure: its words, how large they are, and whether they get into each other's way."""

import re
from itertools import combinations

from matplotlib.text import Text

from causalnb import figstyle


def label_sizes(svg, width):
    """The size in CSS pixels of each label of an SVG when it is so many pixels wide."""
    whole = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    sizes = re.findall(r"<t(?:ext|span)[^>]*?font(?:-size)?: ?([\d.]+)px", svg)
    assert len(sizes) == len(re.findall(r"<t(?:ext|span)[ >]", svg))
    return [float(size) * width / whole for size in sizes]


def words(figure):
    """The visible text of a figure, each with the box that it takes, in pixels of the drawing."""
    figure.draw_without_rendering()
    unseen = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not axes.axison or not _within(tick.get_loc(), axis.get_view_interval())
    }
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in unseen
    ]


def _within(place, ends):
    """A tick beyond the ends of its axis is kept by matplotlib and not drawn."""
    reach = 1e-9 * abs(ends[1] - ends[0])
    return min(ends) - reach <= place <= max(ends) + reach


def _inside(box):
    """The box without the hairs that letters leave free at its edges."""
    return box.padded(-0.04 * min(box.height, box.width))


def collisions(figure):
    """Pairs of words that overlap."""
    return [
        (a, b)
        for (a, here), (b, there) in combinations(words(figure), 2)
        if _inside(here).overlaps(_inside(there))
    ]


def cut(figure):
    """Words that stick out of the figure."""
    return [
        word
        for word, box in words(figure)
        if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1
    ]


def fits(figure):
    """A figure whose words stand free, in a drawing as wide as the column, 8 pixels high on a phone."""
    assert collisions(figure) == [] and cut(figure) == []
    svg = figstyle.inline_svg(figure, "a figure", "a1")
    assert f"max-width:{figstyle.COLUMN_PIXELS}px" in svg
    assert min(label_sizes(svg, figstyle.PHONE_PIXELS)) >= 8
    assert max(label_sizes(svg, figstyle.COLUMN_PIXELS)) <= 17
