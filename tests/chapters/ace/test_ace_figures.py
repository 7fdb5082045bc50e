import numpy as np
import pytest
import torch
from looking import fits

from causalnb.chapters.ace import figures

DRAW = torch.Generator().manual_seed(0)
BUDGETS = (0.0, 0.05, 0.1, 0.2, 0.3)
READINGS = ("R1", "R1d", "R1e", "R2", "R3m", "R3b", "R5c", "R7x", "R12x4", "R6")
SETS = ("clean", "cw", "fgsm", "pgd")


def image():
    return torch.rand(28, 28, generator=DRAW)


def effects():
    return torch.randn(28, 28, generator=DRAW) / 50


def line(slope):
    return [(eps, slope * eps, slope * eps - 0.02, slope * eps + 0.02) for eps in BUDGETS]


def accuracies(low):
    return list(np.linspace(low, 98.5, 10))


FIGURES = {
    "idea": lambda: figures.idea(
        image(), (14, 10), np.linspace(0, 1, 11).tolist(), torch.linspace(0.2, 0.7, 11), effects()
    ),
    "graph": lambda: figures.graph((3, 2, 1)),
    "training": lambda: figures.training(
        {
            name: {"plain": accuracies(60), "with momentum": accuracies(85)}
            for name in ("MNIST", "Fashion-MNIST", "digits")
        },
        {"MNIST": 98.98, "Fashion-MNIST": 89.32},
    ),
    "attacked": lambda: figures.attacked(
        {name: image() for name in SETS}, {name: effects() for name in SETS}, own_scale=False
    ),
    "readings_of": lambda: figures.readings_of(image(), {name: effects() for name in READINGS}),
    "against_table": lambda: figures.against_table(
        {
            name: {f"R{i}": 0.4 + 0.1 * place + i / 200 for i in range(74)}
            for place, name in enumerate(("clean", "cw", "cw-clipped", "fgsm", "pgd"))
        },
        {"clean": 0.751, "cw": 0.734, "fgsm": 0.867, "pgd": 0.905},
        "mean TV, each map over its largest value",
    ),
    "agreement": lambda: figures.agreement(
        {name: torch.randn(600, generator=DRAW) / 1e3 for name in ("logit", "probability")},
        {name: torch.randn(600, generator=DRAW) / 1e3 for name in ("logit", "probability")},
    ),
    "strengths": lambda: figures.strengths(
        {
            title: {"FGSM": line(1), "PGD": line(2), "noise": line(0.1)}
            for title in ("share misled", "S", "TV, as it comes", "positive mass")
        },
        "largest change of a pixel",
    ),
    "by_rows": lambda: figures.by_rows(
        {
            name: {rows: (value + rows / 1e5, value, value + 0.1) for rows in (30, 100, 300, 1000, 3000)}
            for name, value in {
                "logit": 0.5,
                "logit.resolved": 0.49,
                "probability": 0.48,
                "probability.resolved": 0.1,
            }.items()
        }
    ),
    "samples": lambda: figures.samples(
        {f"β = {beta}": torch.rand(10, 28, 28, generator=DRAW) for beta in (1, 4)}
    ),
    "placebo": lambda: figures.placebo(
        {
            f"{reading}, {attack}": {"attack": (0.1, 0.05, 0.15), "placebo": (0.01, -0.02, 0.04)}
            for reading in ("R1", "R3m", "R12x4")
            for attack in ("C&W", "FGSM", "PGD")
        },
        "change of TV, maps over their largest value, logit of the true class",
    ),
    "corners": lambda: figures.corners((0.0, 0.5, 0.9, 0.99), (0.1, 0.2, 0.5, 1.2), (0.2, 0.4, 1.0, 1.4)),
}
EVERY = pytest.mark.parametrize("name", FIGURES)


@EVERY
def test_it_fills_the_column_its_words_stand_free_and_are_8_pixels_on_a_phone(name):
    fits(FIGURES[name]())
