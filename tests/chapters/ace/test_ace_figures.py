import numpy as np
import pytest
import torch
from looking import fits

from causalnb import figstyle
from causalnb.chapters.ace import figures

DRAW = torch.Generator().manual_seed(0)
BUDGETS = (0.0, 0.05, 0.1, 0.2, 0.3)
READINGS = (
    "R1",
    "R1c",
    "R1d",
    "R1e",
    "R2",
    "R3",
    "R3b",
    "R3c",
    "R3m",
    "R4",
    "R5",
    "R5c",
    "R6",
    "R12x2",
    "R12x4",
)
SETS = ("clean: 7", "C&W: 9", "FGSM: 3", "PGD: 2")


def image():
    return torch.rand(28, 28, generator=DRAW)


def effects():
    return torch.randn(28, 28, generator=DRAW) / 50


def line(slope):
    return [(eps, slope * eps, slope * eps - 0.02, slope * eps + 0.02) for eps in BUDGETS]


def accuracies(low):
    return list(np.linspace(low, 98.5, 10))


FIGURES = {
    "intervention": lambda: figures.intervention(
        image(), (14, 10), np.linspace(0, 1, 11).tolist(), torch.linspace(0.2, 0.7, 11)
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
    "readings_of": lambda: figures.readings_of(image()[None], {name: effects() for name in READINGS}),
    "specification": lambda: figures.specification(
        {f"R{i}": (0.4 + i / 900, 0.38 + i / 900, 0.42 + i / 900) for i in range(456)},
        {
            name: {f"R{i}": options[i % len(options)] for i in range(456)}
            for name, options in {
                "class": ["true", "predicted"],
                "score": ["logit", "probability", "pixel"],
                "baseline": ["mean over α", "0 against 1", "no intervention", "black", "training mean"],
                "rows": ["training", "class", "Taylor", "the image", "its set", "VAE"],
                "network": ["as printed", "momentum", "tanh, average"],
            }.items()
        },
        (0.905, 0.02),
        "Fashion-MNIST, FGSM: mean S",
        log=False,
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
    "over_threshold": lambda: figures.over_threshold(
        {
            f"{score}: mean S": {
                name: {share: (0.5 + share, 0.45, 0.6) for share in (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)}
                for name in ("clean", "FGSM", "PGD", "C&W")
            }
            for score in ("logit", "probability")
        }
    ),
    "placebo": lambda: figures.placebo(
        {
            title: {
                f"{reading} {attack}": {
                    "under the attack": (0.1, 0.05, 0.15),
                    "under noise of its size": (0.01, -0.02, 0.04),
                }
                for reading in ("R1", "R3", "R3m")
                for attack in ("FGSM", "PGD", "C&W")
            }
            for title in ("S", "TV over the largest effect")
        }
    ),
    "corners": lambda: figures.corners((0.0, 0.5, 0.9, 0.99), (0.1, 0.2, 0.5, 1.2), (0.2, 0.4, 1.0, 1.4)),
}
EVERY = pytest.mark.parametrize("name", FIGURES)


@EVERY
def test_it_fills_the_column_its_words_stand_free_and_are_8_pixels_on_a_phone(name):
    fits(FIGURES[name]())


def test_an_intervention_marks_the_pixel_and_draws_its_curve_over_the_mean():
    alphas, means = [0.0, 0.5, 1.0], torch.tensor([0.25, 0.5, 1.5])
    left, right = figures.intervention(picture := image(), (14, 10), alphas, means).axes[:2]
    assert np.array_equal(left.images[0].get_array(), picture)
    assert left.lines[0].get_xydata().tolist() == [[10, 14]]
    assert right.lines[0].get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1, 1.5]]
    assert right.lines[1].get_ydata() == [0.75, 0.75]


def test_a_network_has_an_arrow_for_each_pair_of_units_of_neighbouring_layers():
    left, right = figures.graph((3, 2, 1)).axes
    assert [len(axes.texts) for axes in (left, right)] == [3 * 2 + 2 * 1, 3]
    assert [len(axes.lines[0].get_xdata()) for axes in (left, right)] == [6, 4]
    assert "2 paths" in left.get_title("left")


def test_training_counts_epochs_from_one_and_marks_what_is_printed_where_it_is():
    one, other = figures.training(
        {"MNIST": {"plain": [90.0, 95.0]}, "digits": {"plain": [80.0]}}, {"MNIST": 98.98}
    ).axes
    assert one.lines[0].get_xydata().tolist() == [[1, 90], [2, 95]]
    assert one.lines[1].get_ydata() == [98.98, 98.98] and len(other.lines) == 1


@pytest.mark.parametrize("own", [True, False])
def test_attacked_maps_have_scales_of_their_own_or_one(own):
    maps = {"clean: 7": torch.full((2, 2), 0.1), "FGSM: 3": torch.full((2, 2), -0.4)}
    figure = figures.attacked({name: image() for name in maps}, maps, own_scale=own)
    limits = [axes.images[0].get_clim()[1] for axes in figure.axes[2:4]]
    assert limits == pytest.approx([0.1, 0.4] if own else [0.4, 0.4])
    assert [axes.get_title("left") for axes in figure.axes[:2]] == list(maps)


def test_every_reading_s_map_is_shown_after_the_image():
    maps = {name: effects() for name in READINGS}
    axes = figures.readings_of(image(), maps).axes[1 : 1 + len(maps)]
    assert [one.get_title("left").split("\n")[0] for one in axes] == list(READINGS)
    assert all(
        np.array_equal(one.images[0].get_array(), maps[name]) for one, name in zip(axes, maps, strict=True)
    )


def test_a_specification_is_drawn_in_the_order_of_its_estimates_over_the_printed_band():
    estimates = {"R1": (0.5, 0.4, 0.6), "R2": (0.3, 0.2, 0.4)}
    figure = figures.specification(
        estimates, {"class": dict.fromkeys(estimates, "true")}, (0.9, 0.1), "S", log=False
    )
    above = figure.axes[0]
    dots = [list(line.get_ydata()) for line in above.lines if line.get_linestyle() == "None"]
    assert dots == [[0.3, 0.5]] and above.get_yscale() == "linear"
    low, high = above.get_ylim()
    assert low <= 0.2 and high >= 0.9


def test_strengths_draw_noise_dashed_in_ink():
    axes = figures.strengths(
        {"S": {"FGSM": line(1), "noise": line(0.1)}, "TV": {"FGSM": line(1)}}, "budget"
    ).axes[0]
    assert axes.lines[0].get_ydata() == pytest.approx(np.array(BUDGETS))
    assert [one.get_linestyle() for one in axes.lines] == ["-", "--"]
    assert axes.lines[1].get_color() == figstyle.INK


def test_resolved_signs_have_the_colour_of_their_score_and_are_dashed():
    names = ("logit", "logit.resolved", "probability", "probability.resolved")
    axes = figures.by_rows({name: {30: (i, i, i), 300: (i + 1, i, i)} for i, name in enumerate(names)}).axes[
        0
    ]
    assert [one.get_xydata().tolist() for one in axes.lines] == [[[30, i], [300, i + 1]] for i in range(4)]
    assert [one.get_linestyle() for one in axes.lines] == ["-", "--"] * 2
    assert axes.lines[0].get_color() == axes.lines[1].get_color() != axes.lines[2].get_color()


def test_samples_are_a_row_for_each_name():
    rows = {"β = 1": torch.rand(3, 4, 4, generator=DRAW), "β = 4": torch.rand(3, 4, 4, generator=DRAW)}
    axes = figures.samples(rows).axes
    assert [one.get_title("left") for one in axes] == list(rows)
    assert np.array_equal(axes[1].images[0].get_array()[:, :4], rows["β = 4"][0])


def test_the_placebo_draws_attack_and_noise_and_where_nothing_changes():
    kinds = {"under the attack": (0.1, 0.0, 0.2), "under noise of its size": (0.05, 0.0, 0.1)}
    figure = figures.placebo({"S": {"R1 FGSM": kinds}, "TV": {"R1 FGSM": kinds}})
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["S", "TV"]
    for axes in figure.axes[:2]:
        assert [one.get_xdata()[0] for one in axes.lines[1::2]][:2] == [0.1, 0.05]
        assert axes.lines[4].get_xdata() == [0, 0]


def test_sparsity_over_a_threshold_is_a_line_for_each_set_of_images():
    points = {0.0: (0.5, 0.4, 0.6), 0.1: (0.75, 0.7, 0.8)}
    axes = figures.over_threshold({"logit: mean S": {"clean": points, "PGD": points}}).axes[0]
    assert [line.get_xydata().tolist() for line in axes.lines[:2]] == [[[0, 0.5], [0.1, 0.75]]] * 2


def test_corners_draw_both_effects_over_rho_and_the_world_s_at_zero():
    axes = figures.corners([0.0, 0.9], [0.1, 0.2], [0.3, 0.4]).axes[0]
    assert [one.get_ydata().tolist() for one in axes.lines[:2]] == [[0.3, 0.4], [0.1, 0.2]]
    assert axes.lines[2].get_ydata() == [0, 0]
