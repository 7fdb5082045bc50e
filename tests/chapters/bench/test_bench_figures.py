import numpy as np
import pytest
from looking import fits

from causalnb.chapters.bench import figures

ATTACKS = ("FGSM", "PGD", "APGD-CE", "APGD-T", "FAB-T", "Square", "DDN", "HopSkipJump", "transfer")
TITLES = ("plainly trained", "adversarially trained")
SHARES = np.linspace(0, 1, 41)

FIGURES = {
    "line": lambda: figures.line(
        SHARES,
        4 - 7 * SHARES,
        {"logits": 1e-3 + SHARES**2, "logits × 1000": 1e-9 + (SHARES > 0.6)},
    ),
    "robustness": lambda: figures.robustness(
        {title: {name: (0.6, 0.5, 0.7 + i / 40) for i, name in enumerate(ATTACKS)} for title in TITLES},
        dict(zip(TITLES, (0.3, 0.5), strict=True)),
    ),
    "budgets": lambda: figures.budgets(
        {
            title: {eps: max(0, 1 - slope * eps) for eps in (0, 0.05, 0.1, 0.2, 0.4)}
            for title, slope in zip(TITLES, (9, 4), strict=True)
        },
        dict(zip(TITLES, (0.05, 0.15), strict=True)),
    ),
    "planted": lambda: figures.planted(
        {name: (0.98, 0.9, 1.0) for name in (*ATTACKS, "random")}, (0.2, 0.95)
    ),
    "draws": lambda: figures.draws(
        {
            name: {"mean over draws": 0.9, "right in every draw": 0.5}
            for name in ("clean images", "the gradient of one draw", "the mean over draws")
        }
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_it_fills_the_column_its_words_stand_free_and_are_8_pixels_on_a_phone(name):
    fits(FIGURES[name]())
