"""The live figure of chapter 4: one Gaussian feature under attack, and a slider for the budget. The page
holds every frame; without script, and on paper, a still figure stands instead.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from importlib import resources
from string import Template
from zlib import crc32

import numpy as np
from scipy import stats

from causalnb.chapters.alignment import closed_forms as forms
from causalnb.fragments import wording
from causalnb.statistics import Floats

PLACES = np.linspace(-4, 4, 81)
WIDE, HIGH, GAP = 320, 150, 30
TOP = 0.42  # of the densities' axis


def frame(m: float, eps: float) -> Floats:
    """[2, places] levels of 0 to 1: the density of attacked images of class 1, of `TOP`, and P(Y = 1 | x)."""
    n = m - eps
    return np.stack([stats.norm.pdf(PLACES, n) / TOP, forms.sigmoid(2 * n * PLACES)])


def said(m: float, eps: float) -> str:
    """What a budget does, in a sentence."""
    one = forms.one_feature(m, eps)
    told = (
        f"ε = {eps:.2f}: {one.robust:.1%} of attacked images are read right; "
        f"KL from the natural posterior {one.kl:.3f} nats. "
    )
    if abs(eps - m) < 1e-9:
        return told + "Nothing tells the classes apart."
    return told + ("The classes have changed places." if eps > m else "The classes keep their sides.")


def figure(m: float, budgets: Sequence[float], first: int, static: str, *, alt: str, caption: str) -> str:
    """The figure as HTML; `first` is the place of the budget that it starts with, `static` a still SVG."""
    frames = np.stack([frame(m, float(eps)) for eps in budgets])
    packed = b64encode((255 * frames).round().clip(0, 255).astype(np.uint8).tobytes()).decode()
    right = WIDE + GAP
    shown = {
        "frames": packed,
        "said": [said(m, float(eps)) for eps in budgets],
        "n": len(PLACES),
        "wide": WIDE,
        "high": HIGH,
        "right": right,
    }
    key = f"live-{crc32(json.dumps(shown).encode()):08x}"
    density, chance = frame(m, 0.0)
    natural = _line(0, density) + _line(0, density[::-1]) + _line(right, chance)
    return _page().substitute(
        key=key,
        shown=json.dumps(shown),
        alt=alt,
        width=right + WIDE,
        height=HIGH + 50,
        right=right,
        wide=WIDE,
        high=HIGH,
        below=HIGH + 20,
        middle=WIDE // 2,
        centre=right + WIDE // 2,
        natural=natural,
        last=len(budgets) - 1,
        first=first,
        static=static,
        caption=wording.message(caption),
    )


def _page() -> Template:
    """The figure's HTML and script."""
    return Template(
        (resources.files("causalnb.chapters.alignment") / "slider.html").read_text(encoding="utf-8")
    )


def _line(at: float, values: Floats) -> str:
    """An SVG path through levels of 0 to 1, evenly across one panel."""
    across = at + np.arange(len(values)) * WIDE / (len(values) - 1)
    return "M" + "L".join(f"{x:.1f} {HIGH * (1 - v):.1f}" for x, v in zip(across, values, strict=True))
