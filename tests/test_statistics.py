import math

import numpy as np
import pytest
from scipy import stats

from causalnb import statistics
from causalnb.statistics import (
    exact,
    logic,
    mean,
    paired_difference,
    prediction_half_width,
    proportion,
    spread,
    summaries,
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
