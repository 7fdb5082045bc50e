"""How figures look, and how one becomes HTML that takes the page's ink. Nothing here draws data or
computes.

A figure is drawn once, as wide as the column of text; a phone shows the same drawing smaller. So no label
is smaller than `LABEL`: 8 CSS pixels on a phone, about the size of a caption on a desk.
"""

import base64
import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

INK, RULE = "#010203", "#040506"  # stand-ins for the page's text and axis colours, which its theme sets
BLUE, VERMILLION, GREEN, PURPLE = "#2a7fb8", "#D55E00", "#009E73", "#b8649a"
EFFECT_STOPS = ("#023f63", "#0072B2", "#86bbdb", "#f6f5f2", "#efb183", "#D55E00", "#7c3600")
EFFECT = LinearSegmentedColormap.from_list("effect", EFFECT_STOPS)
COLUMN_PIXELS, PHONE_PIXELS = 688, 358  # CSS pixels: the column on a desk, and at a page width of 390
COLUMN = COLUMN_PIXELS / 96  # inches
LABEL = 11.8  # points: 8.2 CSS pixels where the figure is shrunk to PHONE_PIXELS
LARGEST = 200_000  # bytes of SVG; a figure beyond that becomes a PNG
RC: Any = {
    "figure.figsize": (COLUMN, 3.2),
    "figure.dpi": 96,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.wspace": 0.05,
    "figure.constrained_layout.hspace": 0.05,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": LABEL,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": LABEL,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.linewidth": 1.0,
    "axes.labelcolor": INK,
    "axes.labelsize": LABEL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": LABEL,
    "axes.titlelocation": "left",
    "axes.titleweight": "normal",
    "axes.titlepad": 5,
    "axes.prop_cycle": cycler(color=[BLUE, VERMILLION, GREEN, PURPLE], marker=["o", "s", "^", "D"]),
    "xtick.labelsize": LABEL,
    "xtick.color": RULE,
    "xtick.labelcolor": INK,
    "xtick.major.size": 4,
    "ytick.labelsize": LABEL,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
    "ytick.major.size": 4,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "image.interpolation": "none",
    "image.cmap": "gray",
    "svg.fonttype": "none",
}


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside have the book's look: transparent, two spines, four colours that each carry a
    marker of their own.
    """
    with mpl.rc_context(RC):
        yield


def inline_svg(figure: Figure, alt: str, salt: str) -> str:
    """The figure as one `<svg role="img">` for an HTML page, the same bytes from run to run; the figure is
    closed.

    alt      what it shows, for those who do not see it: kind, axes, range, message
    salt     prefix of the ids inside; two figures of one page need two
    returns  text stays text in the page's font, ink is `currentColor`, axes are `--cn-axis`; above 200 KB a
             PNG instead
    """
    source = _save(figure, "svg", salt, metadata={"Date": None, "Creator": None}).decode()
    width, viewbox = re.search(r'width="([\d.]+)pt".*?(viewBox="[^"]*")', source).groups()  # type: ignore[union-attr]
    body = _page_colours(_own_ids(_bare(source), salt))
    if len(body) > LARGEST:
        return png(figure, alt)
    look = f"max-width:{float(width) * 4 / 3:.0f}px;stroke-linejoin:round;stroke-linecap:butt"
    return (
        f'<svg class="cn-svg" role="img" aria-label="{html.escape(alt)}" style="{look}" '
        f"{viewbox}>{body}</svg>"
    )


def png(figure: Figure, alt: str) -> str:
    """The figure as an `<img>` of twice the resolution, on a white face so that it reads on a dark page; the
    figure is closed.
    """
    content = _save(figure, "png", "", dpi=2 * 96, facecolor="white")
    width = int.from_bytes(content[16:20], "big") // 2
    encoded = base64.b64encode(content).decode()
    return (
        f'<img class="cn-png" alt="{html.escape(alt)}" width="{width}" src="data:image/png;base64,{encoded}">'
    )


def _save(figure: Figure, kind: str, salt: str, **options: Any) -> bytes:
    from matplotlib import pyplot

    out = io.BytesIO()
    with mpl.rc_context({**RC, "svg.hashsalt": salt}):
        if layout := figure.get_layout_engine():
            layout.execute(figure)
        figure.set_layout_engine("none")  # what is laid out stays, instead of being laid out again
        whole = Bbox.union([figure.bbox_inches, figure.get_tightbbox()])  # what sticks out is not cut off
        figure.savefig(out, format=kind, bbox_inches=whole, **options)
    pyplot.close(figure)
    return out.getvalue()


def _bare(source: str) -> str:
    """What stands inside the svg element, without comments, titles, metadata, page-wide styles, and
    indentation.
    """
    inside = source[source.index(">", source.index("<svg")) + 1 : source.rindex("</svg>")]
    inside = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>|<!--.*?-->|<title>.*?</title>",
        "",
        inside,
        flags=re.DOTALL,
    )
    return re.sub(r"\s*\n\s*", "\n", inside).strip()


def _own_ids(source: str, salt: str) -> str:
    """Ids that something refers to get the salt in front; the others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', source))
    source = re.sub(
        r' id="([\w.-]+)"', lambda match: f' id="{salt}-{match[1]}"' if match[1] in used else "", source
    )
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{salt}-", source).replace("xlink:href", "href")


def _page_colours(source: str) -> str:
    source = re.sub(r" ?font-family: [^;\"]*;?", "", source)
    return source.replace(INK, "currentColor").replace(RULE, "var(--cn-axis,#8a867e)")
