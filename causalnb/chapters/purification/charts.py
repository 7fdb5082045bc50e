"""The figures and tables of chapter 5: estimates in, figures and lines of text out; nothing is computed."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from causalnb import plots
from causalnb.chapters.purification import bottleneck, gaussian
from causalnb.chapters.purification.climbing import BASELINES, DEFENCES
from causalnb.chapters.purification.diffusion import kept
from causalnb.chapters.purification.knowledge import RUNGS
from causalnb.chapters.purification.toy import GRID, MODELS, NORMS
from causalnb.figstyle import BLUE, COLUMN, GREEN, VERMILLION, style
from causalnb.plots.text import LINE
from causalnb.statistics import Estimate

Found = Mapping[str, Estimate]
Lines = list[tuple[str, ...]]
COLOURS = {"ours": (BLUE, "o"), "pgd": (VERMILLION, "s"), "plain": (GREEN, "^")}
SCALES = ("8", "scaled")


def told(found: Found, id: str, form: str = ".2f") -> str:
    """A value with the ends of its interval; a dash where nothing was measured."""
    one = found.get(id)
    if one is None:
        return "–"
    ends = f" ({one.low:{form}} to {one.high:{form}})" if one.low is not None and one.high is not None else ""
    return f"{one.value:{form}}{ends}"


# The ladder ----------------------------------------------------------------------------------------------


def ladder(found: Found, data: str) -> Figure:
    """Accuracy of three defences, from top to bottom as the attacker knows more, with intervals."""
    rows = list(RUNGS)
    with style():
        figure = Figure(figsize=(COLUMN, LINE * (2.1 * len(rows) + 4)))
        axes = figure.subplots()
        for shift, (name, (colour, marker)) in zip((-0.2, 0, 0.2), COLOURS.items(), strict=True):
            places = [k + shift for k, rung in enumerate(rows) if f"ladder.{data}.{name}.{rung}" in found]
            each = [one for rung in rows if (one := found.get(f"ladder.{data}.{name}.{rung}"))]
            values = [one.value for one in each]
            axes.hlines(places, *zip(*(one.interval[1:] for one in each), strict=True), color=colour, lw=1.6)
            axes.plot(values, places, f"{marker}-", color=colour, label=DEFENCES[name], lw=0.8, clip_on=False)
        axes.set_yticks(range(len(rows)), [RUNGS[rung] for rung in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.set(title="accuracy, by what the attacker knows", xlim=(-0.02, 1.02))
        axes.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100 %"))
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=3, columnspacing=1.2, handlelength=1.6)
    return figure


def climbed(found: Found, data: str) -> Lines:
    """The same as a table."""
    return [
        (words, *(told(found, f"ladder.{data}.{name}.{rung}") for name in DEFENCES))
        for rung, words in RUNGS.items()
    ]


def baselines(found: Found, data: str) -> Lines:
    """Other changes of the image before a plain network."""
    rungs = ("clean", "transfer", "expected")
    return [
        (words, *(told(found, f"before.{data}.{name}.{rung}") for rung in rungs))
        for name, words in BASELINES.items()
    ]


# Latents, likelihood, the released script ----------------------------------------------------------------


def disentangled(found: Found, data: str, readings: Sequence[str]) -> Lines:
    """What S and Z tell, by training."""
    wanted = {
        "label from s": "s_label",
        "label from z": "z_label",
        "label from z's means": "z_label_means",
        "style from z": "z_style",
        "style from z, less from s": "difference",
        "nats a dimension in z": "kl_z",
        "CLUB less the probes' bound": "club",
        "label of a swapped picture is s's": "swap",
    }
    return [
        (words, *(told(found, f"control.gate.{data}.{part}.{reading}") for reading in readings))
        for words, part in wanted.items()
    ]


def likelihoods(errors: Mapping[str, Tensor], times: Sequence[int]) -> Figure:
    """The mean noise error over time of several kinds of images, [times, n] each, over the clean one's."""
    means = {name: one.mean(1) for name, one in errors.items()}
    clean = means.pop("clean")
    lines: dict[str, plots.Curve] = {
        name: {float(t): float(one) for t, one in zip(times, its / clean, strict=True)}
        for name, its in means.items()
    }
    return plots.curves(
        {"noise error, times that of clean images": lines}, x="time of the diffusion", ticks=times
    )


def script(found: Found, data: str) -> Lines:
    """The rebuilt script: by step of the latents and size of the attack."""
    lines: Lines = []
    for size, words in (("8", "8/255, as released"), ("scaled", "our eps, clamp scaled")):
        for rate in ("1e5", "5e-2"):
            parts = ("zero", "clean", "stands")
            cells = [told(found, f"control.released.{data}.{part}.{size}-{rate}") for part in parts]
            if set(cells) != {"–"}:
                lines.append((f"{words}; latent steps {rate}", *cells))
    return lines


# Closed forms --------------------------------------------------------------------------------------------


def contraction(variances: Sequence[float]) -> Figure:
    """What one denoising step leaves of a perturbation along directions of several variances, over time."""
    times = np.unique(np.geomspace(1, 999, 60).round().astype(int))
    a = kept()[torch.from_numpy(times)]
    lines = {
        f"variance {s2:g}": dict(zip(times.tolist(), gaussian.one_step(a, s2).tolist(), strict=True))
        for s2 in variances
    }
    title = "share of a perturbation that one step leaves"
    return plots.curves({title: lines}, x="time of the diffusion", limits=(-0.02, 1.02))


def bounds() -> Figure:
    """CLUB and the information of a Gaussian pair over its correlation: conditional true and untrained."""
    r = [k / 40 for k in range(38)]
    lines = {
        "CLUB, true": {x: bottleneck.pair_club(x, x, 1 - x * x) for x in r},
        "information": {x: bottleneck.pair_information(x) for x in r},
        "CLUB, untrained": {x: bottleneck.pair_club(x, 0.0, 1.0) for x in r},
    }
    return plots.curves({"nats": lines}, x="correlation of S and Z", limits=(-0.05, 3.0))


def losses(errors: Tensor) -> Figure:
    """The noise error of each training step."""
    lines: dict[str, plots.Curve] = {"a batch": {float(k): float(one) for k, one in enumerate(errors)}}
    return plots.curves({"noise error of a batch": lines}, x="training step")


# The toy -------------------------------------------------------------------------------------------------


def arcs(found: Found) -> Figure:
    """Accuracy of the four models over the budget, in Linf and L2."""
    panels = {
        f"accuracy, {norm}": {
            words: {
                eps: one.interval for eps in (0.0, *GRID) if (one := found.get(f"arcs.{norm}.{kind}.{eps:g}"))
            }
            for kind, words in MODELS.items()
        }
        for norm in NORMS
    }
    return plots.curves(panels, x="budget", limits=(-0.02, 1.02))


def pilot(found: Found) -> Lines:
    """tables_2_1 on our toy: what moves, and the margin, in both norms."""
    parts = [(norm, what) for what in ("latent", "answer", "margin") for norm in NORMS]
    return [
        (words, *(told(found, f"arcs.{norm}.{kind}.{what}", ".3f") for norm, what in parts))
        for kind, words in MODELS.items()
    ]


# Pictures ------------------------------------------------------------------------------------------------


def stages(rows: Sequence[tuple[Sequence[str], Sequence[Tensor]]]) -> Figure:
    """Rows of images [1, height, width] in [0, 1] under their titles, and nothing else."""
    drawn = [[plots.Picture(*both) for both in zip(*row, strict=True)] for row in rows]
    return plots.tiles(drawn)
