import numpy as np
import pytest
import torch
from looking import fits

from causalnb.chapters.bench import figures
from causalnb.chapters.bench.examples import Example

ATTACKS = ("FGSM", "PGD", "APGD-CE", "APGD-T", "FAB-T", "Square", "DDN", "HopSkipJump", "transfer")
TITLES = ("plainly trained", "adversarially trained")
SHARES = np.linspace(0, 1, 41)

EXAMPLES = [
    Example(what, torch.full((28, 28), level), read)
    for what, level, read in (
        ("clean", 0.5, "7"),
        ("noise", 0.6, "7"),
        ("attack", 0.25, "3"),
        ("blinded", 0.5, "7"),
        ("knowing", 0.4, "3"),
    )
]

FIGURES = {
    "digits": lambda: figures.digits(EXAMPLES),
    "changes": lambda: figures.changes(EXAMPLES),
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


def test_a_digit_stands_under_what_was_done_and_the_class_that_is_read():
    axes = figures.digits(EXAMPLES).axes
    assert [one.get_title("left") for one in axes][:3] == ["clean: 7", "noise: 7", "attack: 3"]
    assert [float(one.images[0].get_array().mean()) for one in axes] == pytest.approx(
        [0.5, 0.6, 0.25, 0.5, 0.4]
    )


def test_a_change_is_the_image_less_the_clean_one_on_its_own_scale():
    clean, noise, attack, blinded, *_ = figures.changes(EXAMPLES).axes
    assert float(clean.images[0].get_array().mean()) == 0.5
    assert float(noise.images[0].get_array().mean()) == pytest.approx(0.1)
    assert float(attack.images[0].get_array().mean()) == -0.25 and attack.images[0].get_clim() == (
        -0.25,
        0.25,
    )
    assert not blinded.images[0].get_array().any()


def test_a_slope_is_drawn_over_the_largest_of_its_own():
    left, right = figures.line([0, 1], [2.0, -1.0], {"logits": [1.0, 4.0], "times 1000": [50.0, 0.0]}).axes
    assert left.lines[0].get_xydata().tolist() == [[0, 2], [1, -1]] and left.lines[1].get_ydata() == [0, 0]
    assert [one.get_ydata().tolist() for one in right.lines] == [[0.25, 1], [1, 0]]


def test_each_network_s_worst_case_is_a_line_beside_its_attacks():
    rows = {title: {"PGD": (0.5, 0.4, 0.6), "Square": (0.7, 0.6, 0.8)} for title in TITLES}
    axes = figures.robustness(rows, dict(zip(TITLES, (0.1, 0.2), strict=True))).axes
    assert [one.lines[1].get_xdata().tolist() for one in axes] == [[0.5, 0.7]] * 2
    assert [one.lines[2].get_xdata() for one in axes] == [[0.1, 0.1], [0.2, 0.2]]
    assert [one.get_title("left") for one in axes] == list(TITLES)


def test_the_budget_of_a_network_is_dotted_in_its_colour():
    points = {"plain": {0.0: 1.0, 0.1: 0.0}, "robust": {0.0: 0.9, 0.1: 0.5}}
    axes = figures.budgets(points, {"plain": 0.02, "robust": 0.06}).axes[0]
    assert [one.get_ydata().tolist() for one in axes.lines[:2]] == [[1, 0], [0.9, 0.5]]
    assert [one.get_xdata() for one in axes.lines[2:]] == [[0.02, 0.02], [0.06, 0.06]]
    assert [one.get_color() for one in axes.lines[:2]] == [one.get_color() for one in axes.lines[2:]]


def test_what_is_planted_and_drawn_stands_at_its_share():
    planted = figures.planted({"PGD": (0.98, 0.9, 1.0), "random": (0.1, 0.0, 0.2)}, (0.2, 0.95)).axes[0]
    assert planted.lines[1].get_xdata().tolist() == [0.98, 0.1]
    assert [one.get_xdata()[0] for one in planted.lines[2:]] == [0.2, 0.95]
    drawn = figures.draws({"clean": {"mean over draws": 0.9, "right in every draw": 0.4}}).axes[0]
    assert [one.get_xdata().tolist() for one in drawn.lines[1::2]] == [[0.9], [0.4]]
