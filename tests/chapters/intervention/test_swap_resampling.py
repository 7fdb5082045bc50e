"""Statistics over images against scipy, and choices that are scored on other images than they were made on."""

import doctest

import pytest
import torch
from scipy import stats

from causalnb.chapters.intervention import resampling, sets
from causalnb.statistics import proportion

G = torch.Generator().manual_seed(0)


def whole(n):
    return torch.full((1, n), 1 / n, dtype=torch.float64)


def test_the_examples_are_true():
    assert doctest.testmod(resampling, extraglobs={"torch": torch}).failed == 0


def test_tau_and_r_are_scipys():
    a, b = torch.randn(2, 6, 16, generator=G).round(decimals=1)
    taus, rs = resampling.kendall(a, b), resampling.pearson(a, b)
    for row in range(6):
        assert taus[row].item() == pytest.approx(stats.kendalltau(a[row], b[row]).statistic)
        assert rs[row].item() == pytest.approx(stats.pearsonr(a[row].double(), b[row].double()).statistic)
    assert resampling.kendall(torch.ones(4), torch.arange(4.0)) == 0, "ties rank nothing"
    assert resampling.pearson(torch.ones(4), torch.arange(4.0)) == 0


def test_p_of_a_correlation_is_scipys():
    x, y = torch.randn(2, 16, generator=G).double()
    found = stats.pearsonr(x, y)
    assert resampling.correlation_p(found.statistic, 16) == pytest.approx(found.pvalue)


def test_an_interval_over_images_covers_and_is_that_of_the_seed():
    one = torch.rand(80, 30, generator=G) * torch.linspace(1, 2, 30)
    other = one + 0.3 * torch.rand(80, 30, generator=G)
    found = resampling.estimate(resampling.correlation(one, other), 80, within=(-1, 1))
    assert 0.99 < found.low < found.value < found.high <= 1 and found.n == 80
    assert found == resampling.estimate(resampling.correlation(one, other), 80, within=(-1, 1))
    assert found.value == pytest.approx(
        stats.pearsonr(one.double().mean(0), other.double().mean(0)).statistic
    )


def test_what_resampling_adds_to_the_noise_is_taken_out_again():
    """Two rankings that agree on the mean and hardly on single images."""
    truth = torch.linspace(0, 1, 16)
    one, other = (truth + 2 * torch.randn(400, 16, generator=G) for _ in range(2))
    statistic = resampling.correlation(one, other)
    point, values = resampling.drawn(statistic, 400)
    assert values.mean() < point - 0.02
    found = resampling.estimate(statistic, 400, within=(-1, 1))
    assert found.value - found.low == pytest.approx(
        values.mean().item() - values.quantile(0.025).item(), abs=2e-3
    )


def test_a_count_keeps_its_percentiles():
    wrong = {1: torch.rand(30, 5, generator=G) < 0.2, 2: torch.rand(30, 5, generator=G) < 0.9}
    found = resampling.estimate(resampling.onset(wrong, 0.8), 30, centred=False)
    assert found.low == int(found.low) and found.high == int(found.high)


def test_two_statistics_are_resampled_together():
    values = torch.rand(50, 20, generator=G)
    same = resampling.less(resampling.correlation(values, values), resampling.correlation(values, values))
    found = resampling.estimate(same, 50)
    assert found.interval == (0, 0, 0)


def test_the_least_agreement_is_that_of_the_worst_size():
    table = torch.arange(8.0).repeat(10, 3, 1)
    table[:, 2] = table[:, 2].flip(1)
    assert resampling.least_agreement(table)(whole(10)).item() == -1
    assert resampling.least_agreement(table[:, :2])(whole(10)).item() == 1
    assert resampling.least_agreement(table, base=2)(whole(10)).item() == -1


def test_common_tops_and_participation():
    one, other = torch.tensor([[4.0, 3, 2, 1]]), torch.tensor([[4.0, 1, 3, 2]])
    assert resampling.common(one, other, 1)(whole(1)).item() == 1
    assert resampling.common(one, other, 2)(whole(1)).item() == 0.5
    assert resampling.participation(torch.eye(4)[:1])(whole(1)).item() == 1
    assert resampling.participation(torch.ones(1, 4))(whole(1)).item() == 4


def test_shares_steps_and_onsets():
    values = torch.tensor([[0.0, 0.2, 0.6, 1.0]], dtype=torch.float64)
    assert resampling.share_of_sets(values, above=0.6)(whole(1)).item() == 0.5
    assert resampling.share_of_sets(values, below=0.2)(whole(1)).item() == 0.5
    assert resampling.least_step(values)(whole(1)).item() == pytest.approx(0.2)
    wrong = {1: torch.zeros(10, 3).bool(), 2: torch.ones(10, 3).bool()}
    assert resampling.onset(wrong)(whole(10)).item() == 2
    assert resampling.onset({1: wrong[1]})(whole(10)).item() == 2, (
        "none reaches it: one more than the largest"
    )


def test_relative_differences():
    assert resampling.relative_difference(torch.tensor([[1.0, 3.0]]))(whole(1)).item() == 1
    assert resampling.relative_difference(torch.ones(3, 5))(whole(3)).item() == 0


def test_the_excess_over_noise_is_positive_only_where_attacks_share_what_noise_lacks():
    gain, shared = torch.rand(16, generator=G), 3 * torch.rand(16, generator=G)
    noise = gain + 0.1 * torch.randn(80, 16, generator=G)
    one, other = (gain + shared + 0.1 * torch.randn(80, 16, generator=G) for _ in range(2))
    found = resampling.excess(one, other, noise)
    a, b, c = (x.double().mean(0) for x in (one, other, noise))
    r = [stats.pearsonr(x, y).statistic for x, y in ((a, b), (a, c), (b, c))]
    assert found.value == pytest.approx(r[0] - max(r[1:])) and found.low > 0
    alike = [gain + 0.1 * torch.randn(80, 16, generator=G) for _ in range(3)]
    assert resampling.excess(*alike).low < 0 < resampling.excess(*alike).high


def test_halves_share_no_chance():
    """Noise of an image that both perturbations carry makes R on the same images, and none on halves."""
    common = torch.randn(200, 16, generator=G)
    one, other = (common + 0.1 * torch.randn(200, 16, generator=G) for _ in range(2))
    assert resampling.correlation(one, other)(whole(200)).item() > 0.9
    assert abs(resampling.split_half(one, other)) < 0.6


def test_what_is_chosen_on_noise_gains_nothing_on_other_images():
    noise = torch.randn(4000, 500, generator=G)
    chosen_there = noise.mean(0).max().item()
    held = resampling.held_out(noise, resampling.top()).mean().item()
    assert chosen_there > 0.03 and abs(held) < 0.05
    assert resampling.held_out(noise, resampling.top_less_bottom(10)).mean().abs() < 0.02


def test_the_top_set_is_found_where_there_is_one():
    values = torch.rand(60, 20, generator=G)
    values[:, 7] += 1
    assert torch.equal(resampling.held_out(values, resampling.top()), values[:, 7].double())
    rest = values[:, [j for j in range(20) if j != 7]].double().mean(1)
    assert torch.allclose(resampling.held_out(values, resampling.top_less_rest), values[:, 7].double() - rest)
    found = resampling.chosen(values, resampling.top_less_bottom(1))
    assert found.low > 0.5


def test_halves_are_equal_and_apart():
    half = resampling.halves(9, seed=0)
    assert half.sum() == 4 and not torch.equal(half, resampling.halves(9, seed=1))


def test_the_greatest_share_lies_between_the_held_out_lower_end_and_a_bound_over_all_sets():
    wrong = torch.rand(200, 560, generator=G) < 0.3
    found = resampling.greatest(wrong)
    assert found.low < 0.3 < found.value + 0.1 and found.high > wrong.double().mean(0).max().item()
    assert found.high < 0.6
    broken = wrong.clone()
    broken[:, 11] = True
    one = resampling.greatest(broken)
    assert one.interval == (1.0, proportion(200, 200).low, 1.0)


def test_where_no_set_is_ever_wrong_the_bound_is_wilsons_and_not_zero():
    found = resampling.greatest(torch.zeros(100, 30, dtype=torch.bool))
    assert found.value == 0 and found.high == pytest.approx(proportion(0, 100).high)


def test_the_bound_holds_for_every_set_in_nineteen_of_twenty_cases():
    truth, misses = torch.linspace(0.1, 0.5, 100), 0
    for seed in range(40):
        wrong = torch.rand(120, 100, generator=torch.Generator().manual_seed(seed)) < truth
        misses += resampling.greatest(wrong, seed=seed).high < 0.5
    assert misses <= 3


def test_the_printed_map_is_drawn_again_on_resampled_images():
    chosen = sets.of_size(6, 3)
    values = torch.rand(20, len(chosen), generator=G)
    made = resampling.printed_map(values, chosen, 6, resamples=3, seed=0)
    assert made["red"].shape == made["p"].shape == (4,) and (made["p"] <= 1).all()
