"""The live figure of chapter 3: a switch for each channel of an image, and what the chosen set does. Which
sets mislead is kept bit by bit; margin and AEL come from their Walsh coefficients of low order, with the
error that this leaves.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import figstyle, fragments
from causalnb.chapters.intervention import sets as sets_
from causalnb.chapters.intervention import values
from causalnb.chapters.intervention.metrics import Effects
from causalnb.chapters.intervention.swaps import Case

ORDER = 2  # of the coefficients that are kept
SHOWN = 3  # images
MARGIN, AEL = "margin", "change of the logits"


def low_orders(v: Tensor, order: int = ORDER) -> tuple[dict[int, float], float]:
    """The Walsh coefficients of v [2^H] up to an order, by set, and the largest error without the others."""
    channels = len(v).bit_length() - 1
    w = values.walsh(v.double())
    kept = sets_.sizes(torch.arange(len(v)), channels) <= order
    again = values.walsh(torch.where(kept, w, 0.0)) * len(v)  # the transform undoes itself
    return {mask: float(w[mask]) for mask in kept.nonzero().flatten().tolist()}, float(
        (again - v).abs().max()
    )


def images(case: Case) -> tuple[dict[str, fragments.Switched], dict[str, int], float]:
    """The first images on which APGD succeeds, with their switches; sets to choose; the largest error of
    margin and AEL as they are drawn.
    """
    every = case.swaps["apgd"].every
    assert every is not None
    rows = every.found.nonzero().flatten()[:SHOWN].tolist()
    classes, shown, worst = case.subject.net.test.classes, dict[str, fragments.Switched](), 0.0
    for row in rows:
        margin, off = low_orders(every.margins[row])
        norm, also = low_orders(every.norms[row])
        name = f"{len(shown) + 1}, a {classes[int(every.labels[row])]}"
        shown[name] = fragments.Switched(
            case.subject.images.images[row], every.wrong[row], {MARGIN: margin, AEL: norm}
        )
        worst = max(worst, off, also)
    return shown, chosen_sets(every, case.channels), worst


def chosen_sets(every: Effects, channels: int) -> dict[str, int]:
    """No channel, all, and the three and the seven of greatest AEA (of equal ones, of greatest AEL), with the
    last of which the figure begins.
    """
    best = {size: every.of(size) for size in (3, 7)}
    top = {size: int(one.sets[(one.aea + 1e-6 * one.ael).argmax()]) for size, one in best.items()}
    return {"none": 0, "all": sets_.whole(channels), "worst 3": top[3], "worst 7": top[7]}


def figure(case: Case, static: Figure, *, alt: str, caption: str) -> str:
    """The figure as HTML; `static` stands for it without script and on paper."""
    shown, sets, worst = images(case)
    told = f"{caption} Margin and change of the logits as drawn are off by at most {worst:.2f}."
    svg = figstyle.inline_svg(static, alt, "switches")
    return fragments.switches(shown, sets, svg, told, alt, says=("read right", "read wrong"))
