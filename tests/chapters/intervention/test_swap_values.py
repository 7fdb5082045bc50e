"""Averages, Shapley, Banzhaf, dividends and Walsh shares of random games, against their definitions."""

import doctest
import math
from itertools import permutations

import pytest
import torch

from causalnb.chapters.intervention import sets, values


def game(channels, *, n=1, seed=0):
    v = torch.randn(n, 1 << channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    v[:, 0] = 0
    return v


def additive(parts):
    return sets.members(sets.every(len(parts)), len(parts)).double() @ parts


def test_the_examples_are_true():
    assert doctest.testmod(values, extraglobs={"torch": torch}).failed == 0


def test_the_table_is_the_mean_over_the_sets_that_hold_a_channel():
    v = game(5, n=3)
    made = values.table(v, sets.every(5), 5)
    assert made.sizes == (1, 2, 3, 4, 5)
    for size in made.sizes:
        chosen = sets.of_size(5, size)
        inside = sets.members(chosen, 5)
        for j in range(5):
            assert torch.allclose(made.at(size)[:, j], v[:, chosen[inside[:, j]]].mean(1))
            if size < 5:
                outside = v[:, chosen[~inside[:, j]]].mean(1)
                assert torch.allclose(made.without()[:, size - 1, j], outside)


def test_sizes_that_are_not_complete_stand_in_no_table():
    some = torch.cat([sets.of_size(6, 1), sets.of_size(6, 2)[:-1], sets.of_size(6, 6)])
    assert values.table(torch.rand(2, len(some)), some, 6).sizes == (1, 6)


def test_shapley_from_the_table_is_the_mean_over_all_orders():
    v = game(5)[0]
    expected = torch.zeros(5, dtype=torch.float64)
    for order in permutations(range(5)):
        held = 0
        for j in order:
            expected[j] += v[held | 1 << j] - v[held]
            held |= 1 << j
    found = values.shapley(values.table(v[None], sets.every(5), 5))[0]
    assert (found - expected / math.factorial(5)).abs().max() < 1e-14
    assert found.sum() == pytest.approx(v[-1].item())


def test_banzhaf_from_the_table_is_the_mean_of_what_a_channel_adds():
    v = game(6)[0]
    for j in range(6):
        outside = torch.tensor([s for s in range(64) if not s >> j & 1])
        expected = (v[outside | 1 << j] - v[outside]).mean()
        found = values.banzhaf(values.table(v[None], sets.every(6), 6))[0, j]
        assert found.item() == pytest.approx(expected.item(), abs=1e-14)


def test_shapley_needs_every_size():
    few = sets.up_to(5, 3)
    with pytest.raises(ValueError, match="every size from 1 to 5"):
        values.shapley(values.table(torch.rand(1, len(few)), few, 5))


def test_dividends_sum_to_the_game_and_share_out_to_shapley():
    v = game(6, n=2)
    d = values.dividends(v)
    assert (values.sums(d) - v).abs().max() < 1e-12
    inside, of = sets.members(sets.every(6), 6).double(), sets.sizes(sets.every(6), 6).clamp(min=1)
    assert ((d / of) @ inside - values.shapley(values.table(v, sets.every(6), 6))).abs().max() < 1e-13


def test_walsh_coefficients_are_their_definition_and_orthogonal():
    v = game(4)[0]
    signs = torch.tensor([[(-1.0) ** bin(s & t).count("1") for t in range(16)] for s in range(16)]).double()
    w = values.walsh(v)
    assert (w - signs @ v / 16).abs().max() < 1e-15
    assert (w[1:] ** 2).sum().item() == pytest.approx(v.var(correction=0).item())
    first = w[[1, 2, 4, 8]]
    assert (first + values.banzhaf(values.table(v[None], sets.every(4), 4))[0] / 2).abs().max() < 1e-15


def test_an_additive_game_is_of_order_one_and_a_product_of_no_single_order():
    parts = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    assert values.shares(additive(parts))[0].item() == pytest.approx(1.0)
    both = sets.members(sets.every(2), 2).all(1).double()
    assert values.shares(both).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert values.shares(torch.ones(8)).tolist() == [0, 0, 0]


def test_a_game_that_falls_is_not_monotone():
    assert values.non_monotone(additive(torch.tensor([1.0, 2.0]).double())).item() == 0
    assert values.non_monotone(additive(torch.tensor([1.0, -2.0]).double())).item() == 0.5


def test_values_that_are_not_one_for_each_set_are_refused():
    with pytest.raises(ValueError, match="not one for each set"):
        values.walsh(torch.rand(6))
