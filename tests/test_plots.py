import numpy as np
import pytest
from looking import fits

from causalnb import plots

DRAW = np.random.default_rng(0)
BUDGETS = (0.0, 0.05, 0.1, 0.2, 0.3)


def curve(slope=1.0, wide=0.05, at=BUDGETS):
    return {x: (slope * x, slope * x - wide, slope * x + wide) for x in at}


def image(side=28):
    return DRAW.random((side, side))


def many(n=296):
    values = np.sort(DRAW.normal(0.5, 0.15, n))
    return {f"reading {i}": (v, v - 0.04, v + 0.04) for i, v in enumerate(values)}


def decided(names):
    options = {
        "class": ("true", "predicted"),
        "score": ("logit", "probability"),
        "rows": ("all", "own", "VAE"),
    }
    return {what: {n: of[DRAW.integers(len(of))] for n in names} for what, of in options.items()}


def effects():
    return DRAW.normal(size=(28, 28)) / 100


READINGS = many()
FIGURES = {
    "one chart": lambda: plots.curves(
        {
            "mean S of clean images": {
                "logit": curve(1.0),
                "logit, resolved": curve(1.05),
                "probability": curve(0.2),
            }
        },
        x="largest change of a pixel",
    ),
    "a chart of two decades": lambda: plots.curves(
        {"mean S": {"logit": curve(0.001, 0.01, (30, 100, 300, 1000, 3000))}},
        x="rows",
        ticks=(30, 100, 300, 1000, 3000),
        levels={"mean S": {"printed, 0.75": 0.75}},
    ),
    "small multiples": lambda: plots.curves(
        {
            title: {"FGSM": curve(), "PGD": curve(1.1), "shuffled noise": curve(0.1)}
            for title in (
                "share misled",
                "S",
                "TV, each map over its largest value",
                "positive mass",
                "one more",
            )
        },
        x="L2 norm",
    ),
    "rows of intervals": lambda: plots.intervals(
        {
            "": {
                f"R{i}, FGSM": {"attack": (i, i - 1, i + 1), "noise": (-i, -i - 0.5, -i + 0.5)}
                for i in range(9)
            }
        },
        x="change of S",
        at={"": (0,)},
    ),
    "panels of intervals": lambda: plots.intervals(
        {
            title: {f"attack number {i}": {"": (i / 9, i / 12, min(1, i / 7))} for i in range(9)}
            for title in ("plainly trained", "adversarially trained")
        },
        x="robust accuracy",
        limits=(-0.02, 1.02),
    ),
    "images and maps": lambda: plots.tiles(
        [
            [plots.Picture(name, image()) for name in ("clean", "C&W, L2 ≤ 0.3", "FGSM", "PGD")],
            [plots.effects("", effects()) for _ in range(4)],
        ]
    ),
    "many maps": lambda: plots.tiles(
        [[plots.effects(f"R{7 * i + j}x4", effects() / 1e3) for j in range(6)] for i in range(3)]
    ),
    "images in a row": lambda: plots.tiles(
        [[plots.Picture(f"β = {beta}", plots.in_a_row([image() for _ in range(10)]))] for beta in (1, 4, 16)]
    ),
    "dots": lambda: plots.scatter(
        {name: DRAW.normal(size=(2, 900)) / 1e3 for name in ("logit", "probability", "pixel")},
        x="sampled",
        y="by Taylor",
    ),
    "roc": lambda: plots.roc(
        {
            f"detector {i}, area .{i}": (np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** (1 / i))
            for i in (2, 3, 4)
        },
        at=0.05,
    ),
    "matrix": lambda: plots.matrix(
        np.linspace(-1, 1, 72).reshape(8, 9),
        [f"reading {i}" for i in range(8)],
        [f"class {i}" for i in range(9)],
        signed=True,
    ),
    "specification curve": lambda: plots.specification(
        READINGS, decided(READINGS), title="mean S, MNIST, clean", printed=(0.751, 0.05)
    ),
    "few specifications": lambda: plots.specification(
        (few := many(9)), decided(few), title="mean TV, MNIST, C&W", log=True
    ),
}
EVERY = pytest.mark.parametrize("name", FIGURES)


@EVERY
def test_it_fills_the_column_its_words_stand_free_and_are_8_pixels_on_a_phone(name):
    fits(FIGURES[name]())
