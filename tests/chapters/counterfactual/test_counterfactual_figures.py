"""The figures of chapter 2: what stands where."""

import numpy as np
import pytest
import torch

from causalnb.chapters.counterfactual import figures
from causalnb.chapters.counterfactual.figures import Dumbbell


def lines(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


@pytest.fixture
def drawn():
    top = {"BIM": Dumbbell(100, 43, 60, "100 %, 129 of 249"), "FGSM": Dumbbell(0, 0, 5, "none")}
    below = {
        name: {"PGD": Dumbbell(8, 23, 63), "BIM": Dumbbell(3, 20, 70)} for name in ("Table 2", "Table 3")
    }
    return figures.dumbbells(top, below, "rejected")


def test_dumbbells_stand_at_printed_and_counted_again_in_the_order_given(drawn):
    first, *panels = drawn.axes
    assert lines(first, "as printed").get_xdata().tolist() == [100, 0]
    assert lines(first, "counted of the published").get_xdata().tolist() == [43, 0]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["BIM", "FGSM"]
    assert first.get_ylim()[0] > first.get_ylim()[1], "the first row on top"
    assert [panel.get_title(loc="left") for panel in panels] == ["Table 2", "Table 3"]


def test_bands_begin_at_what_is_counted_and_words_stand_beside_the_top_rows(drawn):
    first = drawn.axes[0]
    bands = first.collections[0].get_segments()
    assert [(segment[0][0], segment[1][0]) for segment in bands] == [(43, 60), (0, 5)]
    assert [text.get_text() for text in first.texts] == ["100 %, 129 of 249", "none"]


def test_bars_are_over_their_own_largest_and_coloured_by_sign():
    ci, over = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.1, 0.05, -0.1])
    figure = figures.bars([("a 7", torch.rand(1, 4, 4))], [(ci, over)])
    behind, own = np.split(np.array([bar.get_height() for bar in figure.axes[1].patches]), 2)
    assert behind.tolist() == pytest.approx([1, 0.5, -1]) and own.tolist() == pytest.approx([1, -0.5, 0])
    colours = [bar.get_facecolor() for bar in figure.axes[1].patches[3:]]
    assert colours[0] != colours[1]


def test_a_vector_of_zeros_is_flat():
    figure = figures.bars([("a 7", torch.rand(1, 4, 4))], [(torch.zeros(3), torch.ones(3))])
    assert [bar.get_height() for bar in figure.axes[1].patches[3:]] == [0, 0, 0]


def test_zeros_stand_against_a_logarithmic_spread_with_the_asked_number_dashed():
    dots = {"attacks": (torch.tensor([1e-5, 1e-3]), torch.tensor([9, 0]))}
    axes = figures.zeros_against_spread(dots, (torch.tensor([1e-4]), torch.tensor([3])), 5).axes[0]
    assert axes.get_xscale() == "log" and lines(axes, "attacks").get_ydata().tolist() == [9, 0]
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [5]


def test_zeros_over_the_size_of_logits_are_a_line_for_each_way_to_compute():
    axes = figures.saturation({"float32": [0, 1.0], "log-odds": [0, 0.0]}, (1, 40)).axes[0]
    assert lines(axes, "float32").get_ydata().tolist() == [0, 1]
