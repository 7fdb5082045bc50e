import doctest
import math

import numpy as np
import pytest
from scipy import stats

from causalnb import statistics
from causalnb.statistics import (
    Estimate,
    exact,
    logic,
    mean,
    over_seeds,
    paired_difference,
    prediction_half_width,
    proportion,
    simultaneous_level,
    spread,
    summaries,
    widening,
)

SAMPLE = np.random.default_rng(7).normal(3.0, 2.0, size=200)


def test_a_proportion_has_wilsons_interval():
    k, n, z = 19, 20, 1.959963984540054
    centre, half = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    share = proportion(k, n, seeds=(3,))
    assert (share.value, share.method, share.n, share.level, share.seeds) == (0.95, "wilson", 20, 0.95, (3,))
    assert (share.low, share.high) == pytest.approx((centre - half, centre + half))


def test_a_proportion_of_all_has_a_lower_end_below_one():
    share = proportion(50, 50)
    assert share.high == 1.0 and 0.9 < share.low < 1.0


def test_a_count_of_part_lies_between_none_and_all_of_the_rest_and_has_no_level():
    one = statistics.bounds(10, 45, 100)
    assert one == statistics.Estimate(0.1, 0.1, 0.65, method="bounds", n=45)
    assert one.at(0.999) == one and not one.single_draw
    for counts in ((46, 45, 100), (-1, 45, 100), (1, 101, 100)):
        with pytest.raises(ValueError, match="is no count"):
            statistics.bounds(*counts)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (0, 0)])
def test_counts_that_are_no_proportion_are_refused(counts):
    with pytest.raises(ValueError, match="no proportion"):
        proportion(*counts)


def test_the_bootstrap_of_a_mean_comes_near_the_normal_interval():
    estimate = mean(SAMPLE)
    half = 1.96 * SAMPLE.std() / math.sqrt(len(SAMPLE))
    assert estimate.value == pytest.approx(SAMPLE.mean())
    assert (estimate.low, estimate.high) == pytest.approx(
        (SAMPLE.mean() - half, SAMPLE.mean() + half), abs=0.1 * half
    )


@pytest.mark.parametrize(
    ("ours", "theirs"), [(mean, np.mean), (spread, lambda x, axis: np.std(x, axis=axis, ddof=1))]
)
def test_the_interval_is_scipys_percentile_bootstrap(ours, theirs):
    estimate = ours(SAMPLE, level=0.9)
    interval = stats.bootstrap(
        (SAMPLE,),
        theirs,
        confidence_level=0.9,
        n_resamples=9999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert estimate.value == pytest.approx(theirs(SAMPLE, axis=0))
    assert (estimate.low, estimate.high) == pytest.approx(
        (interval.low, interval.high), abs=0.1 * (interval.high - interval.low)
    )


def test_an_interval_at_a_high_level_is_wider_and_no_extreme_of_the_resamples():
    usual, family = mean(SAMPLE), mean(SAMPLE, level=0.999)
    ratio = (family.high - family.low) / (usual.high - usual.low)
    assert ratio == pytest.approx(stats.norm.ppf(0.9995) / stats.norm.ppf(0.975), rel=0.1)


def test_a_high_level_draws_more_resamples_than_the_usual_number(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 1)
    few, usual = mean(SAMPLE, level=0.999), 1.96 * SAMPLE.std() / math.sqrt(len(SAMPLE))
    assert few.high - few.low > 2 * usual


def test_the_spread_of_two_values_is_bootstrapped_from_none_to_all_of_it():
    pair = spread([3.0, 4.0])
    assert (pair.value, pair.low, pair.high) == pytest.approx((math.sqrt(0.5), 0.0, math.sqrt(0.5)))


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    assert mean(SAMPLE, seed=4) == mean(SAMPLE, seed=4)
    assert mean(SAMPLE, seed=4).low != mean(SAMPLE, seed=5).low


def test_columns_share_their_resamples_so_a_shifted_column_has_a_shifted_interval():
    found = summaries({"a": SAMPLE, "b": SAMPLE + 10, "short": SAMPLE[:50]})
    assert list(found) == ["a", "b", "short"]
    assert found["b"].low - found["a"].low == pytest.approx(10)
    assert (found["a"].value, found["short"].value) == (mean(SAMPLE).value, mean(SAMPLE[:50]).value)
    assert found["short"].low == pytest.approx(mean(SAMPLE[:50]).low)


def test_doubling_a_sample_doubles_its_spread_and_both_ends():
    one, two = spread(SAMPLE), spread(2 * SAMPLE - 5)
    assert (two.value, two.low, two.high) == pytest.approx((2 * one.value, 2 * one.low, 2 * one.high))


def test_chunks_do_not_change_the_interval(monkeypatch):
    whole = mean(SAMPLE)
    monkeypatch.setattr(statistics, "_rows", lambda n: 37)
    assert mean(SAMPLE).low == pytest.approx(whole.low, rel=1e-12)


def test_one_image_has_a_mean_but_no_interval_and_no_spread():
    alone = mean([2.5])
    assert (alone.value, alone.low, alone.high, alone.level, alone.n) == (2.5, None, None, None, 1)
    with pytest.raises(ValueError, match="at least two"):
        spread([2.5])


def test_equal_values_have_an_interval_of_no_width():
    assert (mean([0.25] * 9).low, mean([0.25] * 9).high) == (0.25, 0.25)
    assert (spread([0.25] * 9).low, spread([0.25] * 9).high) == (0.0, 0.0)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]], 3.0])
def test_what_is_no_sample_is_refused(values):
    with pytest.raises(ValueError, match="one axis of finite numbers"):
        mean(values)


def test_the_p_value_of_few_pairs_is_that_of_all_sign_flips():
    after, before = np.array([1.3, 0.9, 2.2, 1.7, 1.1, 0.4]), np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    every = stats.permutation_test(
        (after, before),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert paired_difference(after, before).p == pytest.approx(every.pvalue, abs=0.02)


def test_the_p_value_of_outcomes_is_mcnemars():
    after, before = np.repeat([1, 0, 1, 0], [9, 2, 20, 20]), np.repeat([0, 1, 1, 0], [9, 2, 20, 20])
    assert paired_difference(after, before).p == pytest.approx(stats.binomtest(2, 11).pvalue, abs=0.01)


def test_pairs_that_move_together_differ_clearly_though_the_samples_overlap():
    moved = paired_difference(SAMPLE + 0.1 + np.random.default_rng(1).normal(0, 0.01, 200), SAMPLE)
    assert moved.value == pytest.approx(0.1, abs=0.01) and moved.low > 0.09 and moved.p == pytest.approx(1e-4)


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        paired_difference([1, 2, 3], [1, 2])


def test_the_draws_digest_is_of_the_sample_alone():
    assert mean(SAMPLE).draws == spread(SAMPLE.astype(np.float64)).draws != mean(SAMPLE[::-1]).draws
    assert len(mean(SAMPLE).draws) == 16


def test_a_prediction_interval_of_two_draws_is_that_of_students_t():
    assert prediction_half_width(1.0, 2) == pytest.approx(12.706 * math.sqrt(1.5), rel=1e-4)
    assert prediction_half_width(0.0, 5) == 0.0
    with pytest.raises(ValueError, match="two draws"):
        prediction_half_width(1.0, 1)


def test_exact_and_logical_results_have_no_interval():
    assert (exact(7, n=3).value, exact(7).low, exact(7).method) == (7.0, None, "exact")
    assert (logic(True).value, logic(np.False_, n=4).value, logic(True).method, logic(False, n=4).n) == (
        1.0,
        0.0,
        "logic",
        4,
    )
    with pytest.raises(ValueError, match="finite"):
        exact(math.nan)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_outside_zero_to_one_is_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean(SAMPLE, level=level)


# Ends and levels ------------------------------------------------------------------------------------------


def test_ends_are_the_intervals_or_the_point_twice():
    assert Estimate(0.5, 0.25, 0.0).ends == (0.25, 0.0) and Estimate(0.5).ends == (0.5, 0.5)
    assert Estimate(0.5, 0.25, 0.75).interval == (0.5, 0.25, 0.75) and logic(True).interval == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("level", [0.9, 0.9875])
def test_a_proportion_at_another_level_is_wilsons_at_that_level(level):
    assert proportion(19, 20, seeds=(3,)).at(level) == proportion(19, 20, level=level, seeds=(3,))


def test_a_bootstrap_at_another_level_comes_near_the_one_taken_there():
    moved, taken = mean(SAMPLE).at(0.9875), mean(SAMPLE, level=0.9875)
    assert (moved.level, moved.n, moved.draws) == (0.9875, 200, taken.draws)
    assert moved.ends == pytest.approx(taken.ends, abs=0.07 * (taken.high - taken.low))
    assert moved.at(0.95).ends == pytest.approx(mean(SAMPLE).ends)


def test_what_has_no_interval_has_none_at_another_level():
    assert [one.at(0.99) for one in (exact(7), logic(True), mean([2.5]))] == [
        exact(7),
        logic(True),
        mean([2.5]),
    ]
    assert mean(SAMPLE).at(0.95) == mean(SAMPLE)


def test_intervals_widen_as_their_quantiles_do():
    assert widening(0.95, 0.95) == widening(0.9, 0.9, 3) == 1.0
    assert widening(0.95, 0.99) == pytest.approx(2.575829 / 1.959964, rel=1e-6)
    assert widening(0.95, 0.99, 2) == pytest.approx(9.924843 / 4.302653, rel=1e-6)


def test_a_family_takes_a_twentieth_over_its_size_and_a_table_a_quarter_of_its_misses():
    assert [simultaneous_level(m) for m in (1, 10, 58)] == [0.95, 1 - 0.05 / 10, 1 - 0.05 / 58]
    assert [simultaneous_level(m, misses=math.ceil(m / 4)) for m in (4, 16, 32)] == [0.9875] * 3


@pytest.mark.parametrize(("m", "misses"), [(0, 1), (5, 0), (5, 6)])
def test_more_misses_than_intervals_are_refused(m, misses):
    with pytest.raises(ValueError, match=f"{misses} of {m} intervals"):
        simultaneous_level(m, misses=misses)


@pytest.mark.parametrize("together", [0.0, 0.9])
def test_m_intervals_at_the_familys_level_hold_together_in_nineteen_of_twenty_cases(together):
    """Whether the claims are of the same images or not."""
    m, draws, rng = 10, 4000, np.random.default_rng(3)
    off = math.sqrt(together) * rng.normal(size=(draws, 1)) + math.sqrt(1 - together) * rng.normal(
        size=(draws, m)
    )
    misses = (abs(off) > stats.norm.ppf((1 + simultaneous_level(m)) / 2)).any(1).mean()
    assert misses < 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    alone = (abs(off) > stats.norm.ppf(0.975)).any(1).mean()
    assert alone > 0.1


def test_a_quarter_of_the_bands_at_the_tables_level_miss_in_at_most_a_twentieth_of_cases():
    m, h, draws, rng = 32, 8, 4000, np.random.default_rng(4)
    level = simultaneous_level(m, misses=h)
    off = rng.normal(size=(draws, 1)) + 0.01 * rng.normal(size=(draws, m))  # all miss together: the worst
    missed = (abs(off) > stats.norm.ppf((1 + level) / 2)).sum(1)
    assert (missed >= h).mean() < 0.05


# Percentiles of many columns ------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["mean", "sd"])
def test_ends_of_many_columns_are_the_quantiles_of_all_their_resamples_at_once(statistic):
    """Three blocks of columns, the last one not full."""
    table = np.random.default_rng(5).gamma(2.0, size=(12, 300))
    found = summaries({str(i): table[:, i] for i in range(300)}, statistic=statistic, level=0.9, seed=6)
    index = np.random.default_rng(6).integers(12, size=(2000, 12))
    drawn = table[index].mean(axis=1) if statistic == "mean" else table[index].std(axis=1, ddof=0)
    if statistic == "sd":
        drawn *= math.sqrt(12 / 11)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    assert np.array([one.low for one in found.values()]) == pytest.approx(low, rel=1e-12)
    assert np.array([one.high for one in found.values()]) == pytest.approx(high, rel=1e-12)


# Over seeds -----------------------------------------------------------------------------------------------


def test_over_seeds_adds_the_spread_of_seeds_and_of_images():
    """Two trainings, means 1 and 3; three images, means 1, 2, 3: SE^2 = 2/2 + 1/3."""
    found = over_seeds([[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]], seeds=(5, 8), unit="%")
    half = 12.7062047 * math.sqrt(1 + 1 / 3)
    assert found.interval == pytest.approx((2.0, 2 - half, 2 + half))
    assert (found.n, found.seeds, found.method, found.level, found.unit) == (
        3,
        (5, 8),
        "student over seeds",
        0.95,
        "%",
    )
    assert len(found.draws) == 16 and found.at(0.99).high - 2 == pytest.approx(
        half * 63.6567 / 12.7062, rel=1e-4
    )


def test_over_seeds_of_what_no_image_changes_is_students_interval_over_the_seed_means():
    seed_means = np.array([0.7, 0.8, 0.75, 0.72])
    found = over_seeds(np.repeat(seed_means[:, None], 6, axis=1), seeds=range(4), level=0.9)
    theirs = stats.ttest_1samp(seed_means, 0).confidence_interval(0.9)
    assert found.ends == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(
    ("values", "seeds", "shape"),
    [
        ([[1.0, 2.0]], (1,), r"\(1, 2\) and 1 seeds"),
        ([[1.0], [2.0]], (1, 2), r"\(2, 1\)"),
        ([1.0, 2.0], (1, 2), r"\(2,\)"),
        ([[1.0, 2.0], [2.0, 3.0]], (7, 7), "1 seeds"),
        ([[1.0, 2.0], [2.0, 3.0]], (1, 2, 3), "3 seeds"),
    ],
)
def test_over_seeds_refuses_one_seed_one_image_and_seeds_that_are_not_the_rows(values, seeds, shape):
    with pytest.raises(ValueError, match=f"at least two seeds on at least two images.*{shape}"):
        over_seeds(values, seeds=seeds)


def test_over_seeds_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="1 not finite"):
        over_seeds([[1.0, math.nan], [2.0, 3.0]], seeds=(1, 2))


@pytest.mark.parametrize(
    ("seeds", "images", "most"), [(1.0, 0.0, 0.975), (0.2, 1.0, 1.0), (0.0, 1.0, 1.0), (0.5, 3.0, 1.0)]
)
def test_over_seeds_covers_the_truth_in_nineteen_of_twenty_cases_whichever_spreads(seeds, images, most):
    """Four trainings on thirty images, with noise of each training on each image."""
    rng, draws = np.random.default_rng(9), 600
    inside = []
    for _ in range(draws):
        effects = seeds * rng.normal(size=(4, 1)) + images * rng.normal(size=30) + rng.normal(size=(4, 30))
        low, high = over_seeds(effects, seeds=range(4)).ends
        inside.append(low <= 0 <= high)
    assert 0.95 - 2 * math.sqrt(0.05 * 0.95 / draws) < np.mean(inside) <= most


def test_the_examples_are_true():
    assert doctest.testmod(statistics).failed == 0
