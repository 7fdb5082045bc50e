"""The printed test and its placebo, and tests by image, against scipy and where nothing is there."""

import doctest
import math

import pytest
import torch
from scipy import stats

from causalnb.chapters.intervention import sets, significance


def additive(parts):
    """Effects [n, m] of all sets of 3 of 16 channels, from those of the channels [n, 16]."""
    chosen = sets.of_size(16, 3)
    return parts.double() @ sets.members(chosen, 16).double().T, chosen


def gammas(n, seed):
    law = torch.distributions.Gamma(1.0, 1.0)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return law.sample((n, 16))


def test_the_examples_are_true():
    assert doctest.testmod(significance, extraglobs={"torch": torch}).failed == 0


def test_a_cell_is_scipys_rank_sum_of_the_sets_that_hold_one_channel_and_not_the_other():
    values, chosen = additive(gammas(30, 0))
    ael, inside = values.mean(0), sets.members(chosen, 16)
    found = significance.rank_sum_map(ael, chosen, 16)
    for j, k in ((0, 1), (5, 12), (15, 3)):
        one, other = ael[inside[:, j] & ~inside[:, k]], ael[inside[:, k] & ~inside[:, j]]
        assert len(one) == len(other) == math.comb(14, 2)
        assert found[j, k] == found[k, j] == pytest.approx(stats.ranksums(one, other).pvalue, rel=1e-9)
    assert (found.diagonal() == 1).all()


def test_noise_in_the_last_place_breaks_no_tie():
    chosen = sets.of_size(16, 3)
    equal = torch.full((len(chosen),), 0.1, dtype=torch.float64)
    noisy = equal + 1e-16 * torch.randn(len(chosen), dtype=torch.float64).sign()
    assert significance.red(significance.rank_sum_map(noisy, chosen, 16)) == 0


def test_one_value_against_one_is_never_red():
    chosen = sets.of_size(16, 1)
    found = significance.rank_sum_map(torch.arange(16.0), chosen, 16)
    assert significance.red(found) == 0
    assert found[0, 1].item() == pytest.approx(0.317, abs=0.001), (
        "the normal approximation's p of 1 against 1"
    )


def test_the_rate_of_false_alarms_is_what_exchangeable_channels_give():
    red = [
        significance.red(significance.rank_sum_map(values.mean(0), chosen, 16))
        for values, chosen in (additive(gammas(100, seed)) for seed in range(6))
    ]
    assert sum(red) / len(red) / 120 == pytest.approx(significance.false_alarms(16, 3), abs=0.06)
    with pytest.raises(ValueError, match="one value with one"):
        significance.false_alarms(16, 15)


def test_the_placebo_renames_each_images_channels_and_keeps_its_values():
    parts = gammas(5, 1)
    values, chosen = additive(parts)
    made = significance.shuffled(values, chosen, 16, seed=0)
    assert torch.allclose(made.sort(1).values, values.sort(1).values)
    recovered = torch.linalg.lstsq(sets.members(chosen, 16).double(), made.T).solution.T
    assert torch.allclose(recovered.sort(1).values, parts.double().sort(1).values)
    assert not torch.allclose(recovered, parts.double())
    with pytest.raises(ValueError, match="all sets of a size"):
        significance.shuffled(values[:, :-1], chosen[:-1], 16, seed=0)


def test_the_printed_map_is_red_on_the_placebo_where_the_test_by_image_is_not():
    values, chosen = additive(gammas(60, 2) * torch.linspace(0.5, 2, 16))
    placebo = significance.shuffled(values, chosen, 16, seed=3)
    assert significance.red(significance.rank_sum_map(placebo.mean(0), chosen, 16)) > 60
    by_image = placebo @ sets.members(chosen, 16).double() / math.comb(15, 2)
    assert significance.paired(by_image).share < 0.1


def test_the_test_by_image_finds_channels_that_differ_and_says_by_how_much():
    parts = 1 + 0.1 * torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    parts[:, 3] += 1
    found = significance.paired(parts)
    assert found.holm[3, [j for j in range(16) if j != 3]].max() < 1e-6
    assert found.share == pytest.approx(15 / 120, abs=2 / 120)
    expected = stats.wilcoxon((parts[:, 3] - parts[:, 4]).double().numpy()).pvalue
    assert found.p[3, 4] == found.p[4, 3] == pytest.approx(expected)
    assert found.difference[3, 4] == pytest.approx((parts[:, 3] - parts[:, 4]).double().mean().item())
    assert torch.equal(found.difference, -found.difference.T) and found.relative[3, 4] > 0.8


def test_equal_channels_have_p_one():
    same = torch.rand(20, 1).expand(20, 4) * torch.ones(4)
    found = significance.paired(same)
    assert (found.p == 1).all() and (found.holm == 1).all() and found.share == 0


def test_concordance_is_scipys_friedman_and_w_is_one_where_all_images_agree():
    values = torch.rand(12, 5, generator=torch.Generator().manual_seed(0)).double()
    found = significance.concordance(values)
    theirs = stats.friedmanchisquare(*values.T.numpy())
    assert found.p == pytest.approx(theirs.pvalue) and found.w == pytest.approx(theirs.statistic / 48)
    agreed = significance.concordance(torch.arange(5.0) + torch.rand(12, 1))
    assert agreed.w == pytest.approx(1) and agreed.p < 1e-8
    assert significance.concordance(torch.ones(6, 4)).w == 0
