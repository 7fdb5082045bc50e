"""The book's kinds of figures: data in, figure out, each as wide as the page's column. Nothing is computed
here but positions on the page; what has no data, or a number that is not finite, is a ValueError.
"""

from causalnb.plots.heatmap import matrix
from causalnb.plots.lines import LOOKS, curves, intervals, roc, scatter
from causalnb.plots.pictures import Picture, draw, effects, in_a_row, tiles
from causalnb.plots.readings import specification
from causalnb.plots.values import Curve, Interval

__all__ = [
    "LOOKS",
    "Curve",
    "Interval",
    "Picture",
    "curves",
    "draw",
    "effects",
    "in_a_row",
    "intervals",
    "matrix",
    "roc",
    "scatter",
    "specification",
    "tiles",
]
