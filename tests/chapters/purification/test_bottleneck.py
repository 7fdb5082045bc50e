"""Bounds of information on Gaussian variables, E10 and E17, graphs, and the abstract's numbers."""

import math

import pytest
import torch

from causalnb.chapters.purification import abstract, bottleneck, graphs
from causalnb.statistics import proportion


@pytest.mark.parametrize(
    ("gain", "variance", "information", "upper", "with_e"),
    [
        (math.sqrt(0.75), 0.25, 0.6931, 0.6931, 0.8771),
        (1.0, 0.25, 0.8047, 0.8181, 0.9231),
        (0.5, 0.75, 0.1438, 0.1438, 0.3278),
        (1.0, 1.0, 0.3466, 0.5000, 0.3679),
    ],
)
def test_the_kl_term_bounds_the_information(gain, variance, information, upper, with_e):
    assert bottleneck.channel(gain, variance) == pytest.approx((information, upper), abs=1e-4)
    assert bottleneck.channel(gain, variance, math.e)[1] == pytest.approx(with_e, abs=1e-4)


@pytest.mark.parametrize(
    ("r", "information", "club"),
    [
        (0.1, 0.0050, 0.0101),
        (0.3, 0.0472, 0.0989),
        (0.5, 0.1438, 0.3333),
        (0.7, 0.3367, 0.9608),
        (0.9, 0.8304, 4.2632),
        (0.99, 1.9585, 49.2513),
    ],
)
def test_club_of_a_gaussian_pair(r, information, club):
    assert bottleneck.pair_information(r) == pytest.approx(information, abs=1e-4)
    assert bottleneck.pair_club(r, r, 1 - r * r) == pytest.approx(club, abs=1e-4)


def test_club_with_the_variance_that_a_tanh_allows():
    floored = [bottleneck.pair_club(r, r, math.exp(-1)) for r in (0.9, 0.99)]
    assert floored == pytest.approx([2.2018, 2.6642], abs=1e-4)


def test_a_conditional_may_pass_the_gate_and_club_lie_below_the_information():
    assert bottleneck.pair_gain(0.9, 0.1, 0.83) == pytest.approx(0.093, abs=1e-3)
    assert bottleneck.pair_club(0.9, 0.1, 0.83) == pytest.approx(0.108, abs=1e-3)


def test_the_kl_to_a_prior_of_variance_e():
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(bottleneck.kl(zero, zero, math.e)) == pytest.approx(0.18394, abs=1e-5)
    assert float(bottleneck.kl(zero, zero)) == 0


def test_information_between_groups_is_that_of_the_pair():
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64)
    assert float(bottleneck.information(covariance, [0], [1])) == pytest.approx(
        bottleneck.pair_information(0.9)
    )


def test_moving_everything_into_s_changes_only_what_is_meant():
    cases = bottleneck.drawn_cases(50, seed=3)
    before, after = cases.terms(), bottleneck.everything_in_s(cases).terms()
    assert torch.allclose(after["both"], before["both"])
    assert torch.allclose(after["bottleneck"], before["bottleneck"])
    assert after["apart"].abs().max() < 1e-12 < before["apart"].min()
    assert (after["label"] >= before["label"] - 1e-12).all()


def test_an_s_that_loses_information_is_worse():
    cases, none = bottleneck.drawn_cases(50, seed=3), torch.zeros(50)
    less = bottleneck.Cases(cases.covariance, cases.y, cases.x, cases.s[:1], cases.z[:1])
    assert (less.objective(none, none) < cases.objective(none, none)).all()


def test_a_drawn_case_is_a_label_style_and_noisy_latents():
    cases = bottleneck.drawn_cases(20)
    assert torch.linalg.eigvalsh(cases.covariance).min() > 0
    terms = cases.terms()
    assert (terms["label"] > 0).all() and (terms["bottleneck"] > terms["label"]).all()


# Graphs --------------------------------------------------------------------------------------------------


def test_graph_a_is_graph_c_and_b_and_d_are_others():
    assert graphs.CAPTIONED["a"] == graphs.CAPTIONED["c"]
    assert len(set(graphs.CAPTIONED.values())) == 3


@pytest.mark.parametrize(
    ("arrows", "given", "apart"),
    [
        ("A>B B>C", "", False),
        ("A>B B>C", "B", True),
        ("B>A B>C", "", False),
        ("B>A B>C", "B", True),
        ("A>B C>B", "", True),
        ("A>B C>B", "B", False),
        ("A>B C>B B>D", "D", False),
    ],
)
def test_separation_of_chains_forks_and_colliders(arrows, given, apart):
    graph = frozenset((arrow[0], arrow[2]) for arrow in arrows.split())
    assert graphs.separated(graph, "A", "C", frozenset(given)) is apart


def test_only_d_has_independent_causes():
    found = {name for name, graph in graphs.CAPTIONED.items() if graphs.independent_causes(graph)}
    assert found == {"d"}


# The abstract --------------------------------------------------------------------------------------------

MEANS = (86.39, 56.25, 82.62)


def test_512_is_the_smallest_number_of_images_and_the_only_one_up_to_626():
    found = abstract.sizes(MEANS, 1200)
    assert found[:2] == [512, 627] and len(found) == 14


def test_from_3334_images_on_everything_fits():
    assert abstract.always_from() == 3334
    assert all(abstract.fits(k / 100, 3 * 3334) for k in range(10_001))
    assert not all(abstract.fits(k / 100, 3 * 3300) for k in range(10_001))


def test_means_of_rounded_cells_fit_four_smaller_numbers_too():
    assert abstract.sizes(MEANS, 512, rounding=0.01) == [355, 397, 426, 470, 512]


def test_which_printed_numbers_fit():
    answers = abstract.ATTACKS * abstract.IMAGES
    fit = {value: abstract.fits(value, answers) for value in (*MEANS, 4.01, 3.13, 4.93, 82.38, 77.69)}
    assert [value for value, fits in fit.items() if not fits] == [4.01, 4.93, 82.38, 77.69]


@pytest.mark.parametrize(
    ("k", "low", "high"), [(442, 83.08, 89.03), (288, 51.92, 60.48), (423, 79.09, 85.65)]
)
def test_intervals_of_the_shares_if_512_images_were_asked(k, low, high):
    assert [100 * x for x in proportion(k, 512).ends] == pytest.approx([low, high], abs=0.01)
