"""The live figure of chapter 4: one Gaussian feature under attack, and a slider for the budget. The page holds
every frame; without script, and on paper, a still figure stands instead.
"""

import json
from base64 import b64encode
from zlib import crc32

import numpy as np
from scipy import stats

from causalnb.chapters.alignment import closed_forms as forms
from causalnb.statistics import Floats

PLACES = np.linspace(-4, 4, 81)
WIDE, HIGH, GAP = 320, 150, 30
TOP = 0.42  # of the densities' axis
HTML = """<figure class="cn-fig" id="{key}"><script type="application/json">{shown}</script>
<div class="cn-live" role="group" aria-label="{alt}" hidden><div style="grid-column:1/-1">
<svg viewBox="0 -26 {width} {height}" role="img" aria-label="{alt}" style="display:block;width:100%;height:auto;font:15px var(--cn-sans)">
<g fill="currentColor"><text x="0" y="-10">density of X&#771; by class</text><text x="{right}" y="-10">P(Y = 1 | x&#771;)</text>
<text x="0" y="{below}">−4</text><text x="{middle}" y="{below}" text-anchor="middle">x&#771;</text><text x="{wide}" y="{below}" text-anchor="end">4</text>
<text x="{right}" y="{below}">−4</text><text x="{centre}" y="{below}" text-anchor="middle">x&#771;</text><text x="{width}" y="{below}" text-anchor="end">4</text></g>
<g stroke="var(--cn-axis)"><path d="M0 {high}H{wide}M{right} {high}H{width}"/></g>
<g fill="none" stroke="var(--cn-mute)" stroke-width="2" stroke-dasharray="4 4"><path d="{natural}"/></g>
<g fill="none" stroke-width="3"><path stroke="#2a7fb8"/><path stroke="#D55E00"/><path stroke="#2a7fb8"/></g></svg>
<p style="margin:.4rem 0!important"><label for="{key}-eps">budget ε</label> <input id="{key}-eps" type="range" min="0" max="{last}" value="{first}" style="width:60%;min-height:24px;vertical-align:middle"></p>
<output for="{key}-eps" aria-live="polite"></output></div></div><div class="cn-static">{static}</div>
<script>{script}</script><figcaption>{caption}</figcaption></figure>"""
SCRIPT = """(() => {
const figure = document.getElementById("KEY"), {frames, said, n, wide, high, right} = JSON.parse(figure.querySelector("script").textContent);
const levels = Uint8Array.from(atob(frames), (c) => c.charCodeAt(0)), input = figure.querySelector("input"), lines = figure.querySelectorAll("path[stroke^='#']");
const line = (at, values) => "M" + [...values].map((v, k) => (at + k * wide / (n - 1)).toFixed(1) + " " + (high * (1 - v / 255)).toFixed(1)).join("L");
const draw = () => {
  const at = 2 * n * input.value, density = levels.slice(at, at + n), chance = levels.slice(at + n, at + 2 * n);
  [line(0, density), line(0, density.slice().reverse()), line(right, chance)].forEach((d, k) => lines[k].setAttribute("d", d));
  figure.querySelector("output").textContent = said[input.value];
  input.setAttribute("aria-valuetext", said[input.value].split(":")[0]);
};
input.addEventListener("input", draw);
figure.querySelector(".cn-live").hidden = false;
figure.querySelector(".cn-static").hidden = true;
draw();
})();"""


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


def figure(m: float, budgets: Floats, first: int, static: str, *, alt: str, caption: str) -> str:
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
    message, _, more = caption.partition(". ")
    return HTML.format(
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
        script=SCRIPT.replace("KEY", key),
        caption=f"<b>{message}.</b> {more}",
    )


def _line(at: float, values: Floats) -> str:
    """An SVG path through levels of 0 to 1, evenly across one panel."""
    across = at + np.arange(len(values)) * WIDE / (len(values) - 1)
    return "M" + "L".join(f"{x:.1f} {HIGH * (1 - v):.1f}" for x, v in zip(across, values, strict=True))
