import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import collisions, cut, fits, label_sizes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from causalnb import figstyle, plots
from causalnb.plots.heatmap import SHADES, _readable
from causalnb.plots.text import width_of, wrapped

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


def lines_of(axes):
    return {line.get_label(): line.get_xydata() for line in axes.lines}


def strokes_of(line):
    """The ends of the pieces of a line that is broken by NaN."""
    return np.split(line.get_xydata(), range(3, len(line.get_xydata()), 3))


def test_a_line_goes_through_what_was_given_and_its_band_from_low_to_high():
    given = {0.0: (1, 0.5, 1.5), 0.1: (2, 1.5, 3), 0.3: (-1, -2, 0)}
    axes = plots.curves({"S": {"FGSM": given, "PGD": {0.0: 1.0, 0.3: 2.0}}}, x="budget").axes[0]
    assert lines_of(axes)["FGSM"].tolist() == [[0.0, 1], [0.1, 2], [0.3, -1]]
    assert lines_of(axes)["PGD"].tolist() == [[0.0, 1], [0.3, 2]]
    (band,) = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(9)}
    assert {(x, end) for x, (_, *ends) in given.items() for end in ends} <= corners


def test_each_panel_has_its_title_its_lines_and_its_level():
    figure = plots.curves(
        {"S": {"a": {0: 1, 1: 2}}, "TV": {"a": {0: 3, 1: 4}}}, x="budget", levels={"TV": {"printed, 9": 9.0}}
    )
    left, right = figure.axes
    assert (left.get_title("left"), right.get_title("left")) == ("S", "TV")
    assert [len(left.lines), len(right.lines)] == [1, 2]
    assert right.lines[1].get_ydata() == [9, 9] and right.get_ylim()[1] > 9
    assert [text.get_text() for text in right.texts] == ["printed, 9"]


def test_a_band_in_one_panel_does_not_need_one_in_the_other():
    figure = plots.curves({"S": {"a": {0: 1, 1: 2}}, "TV": {"a": {0: (3, 2, 4), 1: (4, 3, 5)}}}, x="budget")
    assert [len(axes.collections) for axes in figure.axes] == [0, 1]


def test_a_row_s_interval_runs_from_low_to_high_with_its_value_on_it():
    rows = {"R1": {"attack": (2, 1, 4), "noise": (0, -1, 1)}, "R2": {"attack": (5, 3, 6), "noise": 7}}
    axes = plots.intervals({"": rows}, x="change", at={"": (0,)}).axes[0]
    spans, dots = axes.lines[0], axes.lines[1]
    assert [stroke[:2, 0].tolist() for stroke in strokes_of(spans)] == [[1, 4], [3, 6]]
    assert dots.get_xdata().tolist() == [2, 5] and axes.lines[3].get_xdata().tolist() == [0, 7]
    assert np.abs(dots.get_ydata() - [0, 1]).max() < 0.5
    assert [label.get_text() for label in axes.get_yticklabels()] == ["R1", "R2"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.lines[4].get_xdata() == [0, 0]


def test_a_row_without_a_kind_shows_the_others():
    axes = plots.intervals({"": {"R1": {"attack": 1.0}, "R2": {"attack": 2.0, "noise": 3.0}}}, x="S").axes[0]
    assert [line.get_xdata().tolist() for line in axes.lines[1::2]] == [[1, 2], [3]]


def test_a_tile_is_the_given_picture_and_a_map_is_symmetric_about_zero():
    picture, signed = image(5), np.array([[0.1, -0.4], [0.0, 0.2]])
    figure = plots.tiles([[plots.Picture("clean", picture), plots.effects("R1", signed)]])
    left, right = (axes.images[0] for axes in figure.axes[:2])
    assert (left.get_array() == picture).all() and left.get_clim() == (0, 1)
    assert (right.get_array() == signed).all() and right.get_clim() == (-0.4, 0.4)
    assert [axes.get_title("left") for axes in figure.axes[:2]] == ["clean", "R1\nup to 0.4"]


def test_channels_come_first_as_in_a_batch():
    grey, colours = DRAW.random((1, 4, 4)), DRAW.random((3, 4, 4))
    figure = plots.tiles([[plots.Picture("grey", grey), plots.Picture("colours", colours)]])
    left, right = (axes.images[0].get_array() for axes in figure.axes)
    assert (left == grey[0]).all() and (right == colours.transpose(1, 2, 0)).all()


@pytest.mark.parametrize("shape", [(2, 4, 4), (4,), (0, 4)])
def test_what_is_no_picture_is_refused_by_its_title(shape):
    with pytest.raises(ValueError, match="'clean' is no picture"):
        plots.tiles([[plots.Picture("clean", np.zeros(shape))]])


def test_a_map_of_zeros_is_drawn_in_the_middle_of_the_scale():
    axes = plots.tiles([[plots.effects("R1", np.zeros((3, 3)))]]).axes[0]
    assert axes.images[0].get_clim() == (-1, 1)


def test_images_in_a_row_keep_their_pixels_and_stand_apart():
    images = np.stack([image(4), image(4), image(4)])
    row = plots.in_a_row(images)
    assert row.shape == (4, 14) and np.isnan(row[:, [4, 9]]).all()
    assert (row[:, 5:9] == images[1]).all()


def test_a_scatter_shows_every_dot_up_to_its_most_and_takes_the_rest_evenly():
    x = np.arange(10.0)
    few = plots.scatter({"logit": (x, -x)}, x="sampled", y="formula").axes[0].lines[1]
    assert few.get_xydata().tolist() == np.stack([x, -x], 1).tolist()
    some = plots.scatter({"logit": (x, -x)}, x="sampled", y="formula", most=4).axes[0].lines[1]
    assert some.get_xdata().tolist() == [0, 3, 6, 9]


def test_a_detector_s_line_is_its_rates_on_a_square():
    axes = plots.roc({"variation": ([0, 0.2, 1], [0, 0.9, 1])}, at=0.05).axes[0]
    assert lines_of(axes)["variation"].tolist() == [[0, 0], [0.2, 0.9], [1, 1]]
    assert axes.get_aspect() == 1 and axes.lines[2].get_xdata() == [0.05, 0.05]


def test_a_cell_has_its_number_and_one_that_was_not_measured_a_dash():
    axes = plots.matrix([[0.5, -1.25], [np.nan, 0]], ["a", "b"], ["c", "d"], signed=True).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.50", "−1.25", "–", "0.00"]
    assert axes.images[0].get_clim() == (-1.25, 1.25)
    assert np.array_equal(axes.images[0].get_array().filled(9), [[0.5, -1.25], [9, 0]])


@pytest.mark.parametrize("scale", [figstyle.EFFECT, SHADES])
def test_a_cell_s_number_stands_out_from_every_shade(scale):
    for shade in scale(np.linspace(0, 1, 101)):
        assert contrast(shade[:3], _readable(shade)) >= 4.5


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#fffefb", "#16181b"])
def test_lines_stand_out_on_the_light_page_and_on_the_dark_one(page):
    assert all(contrast(colour, page) >= 3 for colour, *_ in plots.LOOKS if colour != figstyle.INK)


def test_no_two_lines_are_told_apart_by_colour_alone():
    assert len({marker for *_, marker in plots.LOOKS}) == len(plots.LOOKS)


def test_readings_are_sorted_and_each_decision_s_strip_marks_what_they_chose():
    estimates = {"a": (3, 2, 4), "b": (1, 0, 2), "c": (2, 1, 3)}
    chosen = {"class": {"a": "true", "b": "predicted", "c": "true"}, "rows": dict.fromkeys("abc", "all")}
    top, classes, rows = plots.specification(estimates, chosen, title="S").axes
    spans, dots = top.lines
    assert dots.get_xydata().tolist() == [[0, 1], [1, 2], [2, 3]]
    assert [stroke[:2, 1].tolist() for stroke in strokes_of(spans)] == [[0, 2], [1, 3], [2, 4]]
    names = [label.get_text() for label in classes.get_yticklabels()]
    marks = {name: line.get_xdata()[::3].tolist() for name, line in zip(names, classes.lines, strict=True)}
    assert marks == {"predicted": [0], "true": [1, 2]}
    assert rows.lines[0].get_xdata()[::3].tolist() == [0, 1, 2]
    assert [axes.texts[0].get_text() for axes in (classes, rows)] == ["class", "rows"]


def test_the_printed_value_is_a_band_of_its_tolerance_and_readings_in_it_are_green():
    estimates = {"a": (0.5, 0.4, 0.6), "b": (0.7, 0.6, 0.8), "c": (0.9, 0.8, 1.0)}
    top = plots.specification(estimates, {}, title="S", printed=(0.72, 0.05)).axes[0]
    assert [round(end, 9) for end in (top.patches[0].get_y(), top.patches[0].get_height())] == [0.67, 0.1]
    green = [line for line in top.lines if line.get_color() == figstyle.GREEN and line.get_marker() == "o"]
    assert [line.get_ydata().tolist() for line in green] == [[0.7]]
    assert top.texts[0].get_text() == "printed 0.72, tolerance 0.05"


EMPTY = {
    "no panels": lambda: plots.curves({}, x="budget"),
    "a panel without lines": lambda: plots.curves({"S": {}}, x="budget"),
    "a line without points": lambda: plots.curves({"S": {"FGSM": {}}}, x="budget"),
    "no rows": lambda: plots.intervals({"": {}}, x="S"),
    "a row without kinds": lambda: plots.intervals({"": {"R1": {}}}, x="S"),
    "no pictures": lambda: plots.tiles([[]]),
    "no dots": lambda: plots.scatter({"logit": ([], [])}, x="a", y="b"),
    "no detector": lambda: plots.roc({}),
    "a detector without rates": lambda: plots.roc({"variation": ([], [])}),
    "no cells": lambda: plots.matrix(np.empty((0, 0)), [], []),
    "no readings": lambda: plots.specification({}, {}, title="S"),
}


@pytest.mark.parametrize("what", EMPTY)
def test_what_has_no_data_is_refused(what):
    with pytest.raises(ValueError, match="a figure needs data: no "):
        EMPTY[what]()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_refused_by_its_name(wrong):
    with pytest.raises(ValueError, match="finite numbers: line 'FGSM'"):
        plots.curves({"S": {"FGSM": {0: 1.0, 1: wrong}}}, x="budget")


def test_more_lines_than_can_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="6 lines in a figure: 5 can be told apart"):
        plots.curves({"S": {str(i): {0: i} for i in range(6)}}, x="budget")


def test_a_matrix_whose_words_do_not_fit_its_columns_is_refused():
    with pytest.raises(ValueError, match="'unpronounceable' is wider than one of 9 columns"):
        plots.matrix(np.zeros((1, 9)), ["a"], ["unpronounceable"] * 9)


def test_a_matrix_has_a_name_for_each_row_and_column():
    with pytest.raises(ValueError, match=r"a matrix of \(2, 2\) for 1 rows and 2 columns"):
        plots.matrix(np.zeros((2, 2)), ["a"], ["b", "c"])


def test_a_reading_that_a_decision_leaves_open_is_refused():
    with pytest.raises(ValueError, match=r"readings without a decision: \['b'\]"):
        plots.specification({"a": (1, 0, 2), "b": (1, 0, 2)}, {"class": {"a": "true"}}, title="S")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=12), max_size=12), st.floats(0.3, 4))
def test_wrapped_words_keep_their_order_and_a_line_is_too_wide_only_as_one_word(words, width):
    lines = wrapped(" ".join(words), width).split("\n")
    assert " ".join(lines).split() == words
    assert all(width_of(line) <= width or " " not in line for line in lines)


def test_names_at_the_ends_of_lines_that_meet_stand_a_line_apart_in_their_order():
    figure = plots.curves({"S": {"low": {0: 0, 1: 0.99}, "high": {0: 2, 1: 1.0}, "far": {0: 0, 1: 0}}}, x="x")
    named = {text.get_text(): text.xy[1] for text in figure.axes[0].texts}
    assert named["far"] < named["low"] < named["high"] <= 1
    assert collisions(figure) == []


def bare(*words):
    with figstyle.style():
        figure = Figure()
        figure.set_layout_engine("none")
        for x, word, size in words:
            figure.text(x, 0.5, word, fontsize=size)
    return figure


def test_words_over_each_other_cut_or_small_do_not_pass():
    fine, large = (0.1, "fine", figstyle.LABEL), (0.12, "over it", figstyle.LABEL)
    assert collisions(bare(fine)) == [] and collisions(bare(fine, large)) == [("fine", "over it")]
    assert cut(bare(fine)) == [] and cut(bare((0.99, "beyond", 12))) == ["beyond"]
    svg = figstyle.inline_svg(bare(fine, (0.5, "small", 9)), "words", "a1")
    assert [size >= 8 for size in label_sizes(svg, figstyle.PHONE_PIXELS)] == [True, False]
