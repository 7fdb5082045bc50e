import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from causalnb import detection
from causalnb.detection import (
    FOLDS,
    Rate,
    auc,
    auc_difference,
    auc_in_strata,
    auc_parts,
    cross_fitted,
    enough,
    flagged,
    flagged_anew,
    roc,
    threshold_at,
)
from causalnb.statistics import proportion

FOLD = np.arange(30) % FOLDS
SCORES = st.lists(st.integers(-3, 3), min_size=2, max_size=9)


def rng(seed=0):
    return np.random.default_rng(seed)


def won(suspicious, clean):
    """1 where the suspicious score is above, 1/2 where they tie."""
    return float(suspicious > clean) + 0.5 * float(suspicious == clean)


def by_loops(clean, suspicious):
    """DeLong's components, each from its definition."""
    above = [sum(won(s, c) for c in clean) / len(clean) for s in suspicious]
    below = [sum(won(s, c) for s in suspicious) / len(suspicious) for c in clean]
    return np.array(above), np.array(below)


def half(estimate):
    return estimate.high - estimate.value


# The area under the curve ---------------------------------------------------------------------------------


@given(clean=SCORES, suspicious=SCORES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_area_is_the_share_of_pairs_that_scipy_counts(clean, suspicious):
    found = auc(clean, suspicious).value
    assert found == pytest.approx(np.mean([won(s, c) for s in suspicious for c in clean]), abs=1e-12)
    theirs = stats.mannwhitneyu(suspicious, clean).statistic / (len(clean) * len(suspicious))
    assert found == pytest.approx(theirs, abs=1e-12)
    assert auc(suspicious, clean).value == pytest.approx(1 - found, abs=1e-12)


@given(clean=SCORES, suspicious=SCORES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_delongs_interval_is_that_of_its_components_by_loops(clean, suspicious):
    above, below = by_loops(clean, suspicious)
    error = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    found, area = auc(clean, suspicious, level=0.9), above.mean()
    if error > 1e-9:
        z = stats.norm.ppf(0.95)
        assert found.ends == pytest.approx((max(0, area - z * error), min(1, area + z * error)), abs=1e-12)
    assert (found.method, found.level, found.n) == ("delong auc", 0.9, min(len(clean), len(suspicious)))


def test_delongs_error_is_that_of_a_u_statistic_over_fresh_samples():
    n0, n1, draws = 40, 25, 800
    clean, suspicious = rng().normal(size=(draws, n0)), rng(1).normal(0.8, size=(draws, n1))
    found = [auc(*pair) for pair in zip(clean, suspicious, strict=True)]
    spread = np.std([one.value for one in found])
    assert np.mean([half(one) for one in found if one.high < 1]) / 1.96 == pytest.approx(spread, rel=0.08)
    truth = stats.norm.cdf(0.8 / math.sqrt(2))
    assert 0.92 < np.mean([one.low <= truth <= one.high for one in found]) < 0.98


def test_two_versions_of_an_item_stay_together():
    """The suspicious score follows the clean one, which makes the area surer than of different items."""
    clean = rng().normal(size=(250, 60))
    suspicious = clean + 0.5 + 0.3 * rng(1).normal(size=clean.shape)
    pairs = list(zip(clean, suspicious, strict=True))
    together, apart = ([auc(*pair, paired=paired) for pair in pairs] for paired in (True, False))
    spread = np.std([one.value for one in together])
    assert np.mean([half(one) for one in together]) / 1.96 == pytest.approx(spread, rel=0.12)
    assert np.mean([half(one) for one in apart]) / 1.96 > 1.5 * spread
    assert [one.value for one in together] == [one.value for one in apart]


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_the_mean_of_the_parts_is_the_area_and_their_spread_its_paired_error(digits):
    clean, suspicious = (rng(seed).normal(size=40).round(digits) for seed in (0, 1))
    parts, labels = auc_parts(clean, suspicious + 0.3), [0] * 40 + [1] * 40
    expected = roc_auc_score(labels, np.concatenate([clean, suspicious + 0.3]))
    assert parts.shape == (40,) and parts.mean() == pytest.approx(expected, abs=1e-12)
    found = auc(clean, suspicious + 0.3, paired=True)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert half(found) == pytest.approx(1.959964 * parts.std(ddof=1) / math.sqrt(40), rel=1e-6)


def test_detectors_that_know_all_or_nothing():
    scores = np.arange(5.0)
    assert auc_parts(scores, scores + 10).tolist() == [1.0] * 5 and auc_parts(scores + 10, scores).mean() == 0
    assert auc_parts(np.zeros(5), np.zeros(5)).tolist() == [0.5] * 5
    assert auc_parts([], []).shape == (0,)


def test_where_delongs_error_is_nothing_the_interval_is_wilsons_of_as_many_pairs():
    apart = auc(np.arange(30.0), np.arange(20.0) + 100)
    assert apart.interval == pytest.approx((1.0, proportion(20, 20).low, 1.0))
    assert auc(np.arange(20.0) + 100, np.arange(30.0)).ends == pytest.approx(proportion(0, 20).ends)
    tied = auc(np.zeros(10), np.zeros(12))
    assert tied.interval == pytest.approx((0.5, *proportion(5, 10).ends))
    single = auc([0.0, 1.0, 2.0], [1.5])
    assert single.value == pytest.approx(2 / 3) and half(single) > 0.3, "one item has no spread of its own"


@pytest.mark.parametrize("paired", [False, True])
def test_the_bootstrap_resamples_items_and_comes_near_delong(paired):
    clean = rng(2).normal(size=80)
    suspicious = clean * paired + rng(3).normal(1.0, size=80)
    found, delong = (
        auc(clean, suspicious, paired=paired, method=how, seed=5) for how in ("bootstrap", "delong")
    )
    assert (found.method, found.value, found.draws) == ("bootstrap auc", delong.value, delong.draws)
    assert found.ends == pytest.approx(delong.ends, abs=0.25 * half(delong))
    again = auc(clean, suspicious, paired=paired, method="bootstrap", seed=6)
    assert (
        again.ends != found.ends
        and auc(clean, suspicious, method="bootstrap", seed=6, paired=paired) == again
    )


@given(clean=SCORES, suspicious=SCORES, paired=st.booleans())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_every_resample_has_the_area_of_the_items_that_it_drew(clean, suspicious, paired):
    n = min(len(clean), len(suspicious)) if paired else 0
    a, b = (np.array(x[: n or None], dtype=float) for x in (clean, suspicious))
    sizes = (len(a),) if paired else (len(a), len(b))
    for weights in detection.resampled(*sizes, level=0.9, seed=1):
        first, last = weights[0][:20], weights[-1][:20]
        wins = np.array([[won(s, c) for c in a] for s in b])
        expected = np.einsum("ri,ij,rj->r", last, wins, first)
        found = detection._bootstrapped(a, b, paired, 0.9, 1)[0, :20]
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("clean", "suspicious", "paired"),
    [
        ([], [1.0], False),
        ([1.0], [], False),
        ([1.0, math.nan], [1.0], False),
        ([[1.0]], [1.0], False),
        (1.0, [1.0], False),
        ([1.0, 2.0], [1.0], True),
    ],
)
def test_what_are_no_scores_is_refused(clean, suspicious, paired):
    with pytest.raises(ValueError, match="one axis of finite numbers, at least one clean"):
        auc(clean, suspicious, paired=paired)


def test_another_interval_than_the_two_is_refused():
    with pytest.raises(ValueError, match="method = 'hanley': it is delong or bootstrap"):
        auc([0.0], [1.0], method="hanley")


def test_the_examples_are_true():
    assert doctest.testmod(detection).failed == 0


# Two detectors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
def test_two_detectors_are_compared_by_delongs_covariance_by_loops(paired):
    clean, suspicious = rng(4).normal(size=(2, 30)), rng(5).normal(1.0, size=(2, 30 if paired else 20))
    clean[1] += clean[0]
    found = auc_difference((clean[0], suspicious[0]), (clean[1], suspicious[1]), paired=paired)
    (above, below), (above_, below_) = (by_loops(clean[i], suspicious[i]) for i in range(2))
    up, down = above_ - above, below_ - below
    error = math.sqrt((up + down).var(ddof=1) / 30 if paired else up.var(ddof=1) / 20 + down.var(ddof=1) / 30)
    assert found.value == pytest.approx(above_.mean() - above.mean(), abs=1e-12)
    assert half(found) == pytest.approx(1.959964 * error, rel=1e-6)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / error)) and found.n == len(up)


def test_the_same_items_make_a_difference_surer_than_two_intervals_do():
    clean, suspicious = rng(6).normal(size=100), rng(7).normal(1.0, size=100)
    worse = clean + 0.3 * rng(8).normal(size=100), suspicious + 0.3 * rng(9).normal(size=100)
    found = auc_difference(worse, (clean, suspicious))
    assert half(found) < 0.5 * (half(auc(*worse)) + half(auc(clean, suspicious)))


def test_equal_detectors_differ_by_nothing_without_an_interval():
    pair = rng().normal(size=9), rng(1).normal(size=7)
    found = auc_difference(pair, pair)
    assert (found.value, found.low, found.p) == (0.0, None, None) and found.single_draw


def test_two_detectors_on_other_items_are_refused():
    with pytest.raises(ValueError, match="on the same items"):
        auc_difference(([1.0, 2.0], [3.0]), ([1.0], [3.0]))


# Curves, thresholds, rates --------------------------------------------------------------------------------


def test_the_curve_goes_from_nothing_to_all_and_has_the_area():
    clean, suspicious = rng(1).normal(size=50).round(1), rng(2).normal(1.0, size=40).round(1)
    curve = roc(clean, suspicious)
    assert (curve.false_positive[0], curve.true_positive[0], curve.thresholds[0]) == (0.0, 0.0, math.inf)
    assert (curve.false_positive[-1], curve.true_positive[-1]) == (1.0, 1.0)
    assert np.trapezoid(curve.true_positive, curve.false_positive) == pytest.approx(
        auc(clean, suspicious).value
    )
    for false, true, at in zip(curve.false_positive, curve.true_positive, curve.thresholds, strict=True):
        assert false == (clean >= at).mean() and true == (suspicious >= at).mean()


@given(scores=st.lists(st.integers(0, 4), min_size=1, max_size=12), rate=st.floats(0, 0.99))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_threshold_flags_at_most_the_rate_and_no_lower_one_does(scores, rate):
    found = threshold_at(rate, scores)
    realised = sum(x > found.value for x in scores) / len(scores)
    assert found.realised.value == realised <= rate + 1e-9 and found.realised.n == len(scores)
    lower = [x for x in scores if x < found.value]
    assert all(sum(x > low for x in scores) / len(scores) > rate for low in lower)


def test_a_threshold_on_scores_that_tie_says_how_far_below_the_rate_it_stays():
    found = threshold_at(0.3, [0.0] * 6 + [1.0] * 4)
    assert (found.value, found.asked, found.realised.value) == (1.0, 0.3, 0.0)
    smooth = threshold_at(0.29, np.arange(100.0))
    assert smooth.realised.value == 0.29 and smooth.flags([70.0, 70.5, 99.0]).tolist() == [False, True, True]


@pytest.mark.parametrize("rate", [-0.1, 1.0, 5])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        threshold_at(rate, [1.0, 2.0])


def test_a_rate_names_its_denominator():
    fixed, scores = threshold_at(0.2, np.arange(10.0)), [9.0, 8.0, 0.0, 9.0]
    found = flagged(fixed, scores, of="attacked images")
    assert found == Rate(proportion(3, 4), "attacked images")
    some = flagged(fixed, scores, of="images that mislead the network", among=[1, 0, 1, 0], level=0.9)
    assert some.share == proportion(1, 2, level=0.9)
    assert str(some).endswith("] of 2 images that mislead the network") and str(some).startswith("50.0% [")


@pytest.mark.parametrize(
    ("of", "among", "told"), [(" ", None, "of what"), ("images", [0, 0], "no proportion")]
)
def test_a_rate_of_nothing_is_refused(of, among, told):
    with pytest.raises(ValueError, match=told):
        flagged(threshold_at(0.2, [0.0, 1.0]), [0.0, 1.0], of=of, among=among)


# Detectors ------------------------------------------------------------------------------------------------


def drawn(shift=0.0, seed=0):
    return rng(seed).normal(size=(30, 3)) + shift


@pytest.fixture
def case():
    """Features of 30 items: clean, suspicious as fitted on, which are usable, others."""
    return drawn(), drawn(1.0, 1), np.arange(30) % 7 != 0, {"pgd": drawn(0.7, 2), "noise": drawn(0.0, 3)}


def test_only_pairs_from_other_folds_that_are_usable_are_fitted_on(case):
    clean, fitted_on, usable, others = case
    before = cross_fitted(clean, fitted_on, usable, others)
    for item in (11, 18):
        assert usable[item]
        outlier = fitted_on.copy()
        outlier[item] = 40.0
        after = cross_fitted(clean, outlier, usable, others)
        for name in ("clean", "pgd", "noise"):
            assert ((after[name] == before[name]) == (FOLD[item] == FOLD)).all(), name
    outlier = fitted_on.copy()
    outlier[~usable] = 40.0
    after = cross_fitted(clean, outlier, usable, others)
    assert all((values == before[name]).all() for name, values in after.items())


def test_a_clean_version_is_in_no_fit_that_scores_another_version_of_its_item(case):
    clean, fitted_on, usable, others = case
    before, outlier = cross_fitted(clean, fitted_on, usable, others), clean.copy()
    outlier[11] = -40.0
    after = cross_fitted(outlier, fitted_on, usable, others)
    for name in others:
        assert ((after[name] == before[name]) == (FOLD[11] == FOLD)).all()
    assert after["clean"][11] < before["clean"][11] - 10


def test_versions_that_are_asked_about_teach_nothing(case):
    clean, fitted_on, usable, others = case
    before = cross_fitted(clean, fitted_on, usable, others)
    after = cross_fitted(clean, fitted_on, usable, others | {"noise": others["noise"] + 100})
    assert (after["pgd"] == before["pgd"]).all() and (after["clean"] == before["clean"]).all()
    assert (after["noise"] != before["noise"]).all()


def test_what_is_fitted_on_scores_higher_and_a_copy_of_the_clean_items_does_not(case):
    clean, _, usable, _ = case
    found = cross_fitted(clean, clean + 3, usable, {"fgsm": clean + 3, "copy": clean})
    assert auc(found["clean"], found["fgsm"], paired=True).value > 0.9
    assert (found["copy"] == found["clean"]).all()


def test_labels_that_mean_nothing_are_not_learned():
    """A tree knows by heart all that it was fitted on; of what it was not it knows nothing."""
    clean, other = rng(1).normal(size=(2, 200, 4))
    usable = np.ones(200, dtype=bool)
    how = {"make": lambda: DecisionTreeClassifier(random_state=0)}
    found = cross_fitted(clean, other, usable, {"other": other}, **how)
    area = auc(found["clean"], found["other"], paired=True)
    assert area.low < 0.5 < area.high
    heart = how["make"]().fit(np.concatenate([clean, other]), np.repeat([0, 1], 200))
    assert auc(heart.predict_proba(clean)[:, 1], heart.predict_proba(other)[:, 1]).value == 1.0


def test_features_of_any_shape_and_number_of_folds_are_taken(case):
    clean, fitted_on, usable, others = case
    flat = cross_fitted(clean, fitted_on, usable, others, folds=3)
    images = {name: each.reshape(30, 1, 3) for name, each in others.items()}
    deep = cross_fitted(clean.reshape(30, 1, 3), fitted_on.reshape(30, 1, 3), usable, images, folds=3)
    assert all((deep[name] == flat[name]).all() for name in flat) and set(flat) == {"clean", "pgd", "noise"}
    assert (flat["pgd"] != cross_fitted(clean, fitted_on, usable, others)["pgd"]).any()


@pytest.mark.parametrize(
    ("places", "holds"),
    [([], False), ([3], False), ([1, 6, 11], False), ([1, 2], True), ([4, 5], True), (range(12), True)],
)
def test_there_is_enough_to_fit_on_where_two_folds_have_usable_items(places, holds):
    usable = np.zeros(12, dtype=bool)
    usable[list(places)] = True
    assert enough(usable) == holds
    fitted_on = drawn(1.0, 1)[:12]
    if holds:
        found = cross_fitted(drawn()[:12], fitted_on, usable, {"pgd": fitted_on})
        assert np.isfinite(found["pgd"]).all()
    else:
        with pytest.raises(
            ValueError, match=f"{len(places)} usable items leave a fold without any to fit on"
        ):
            cross_fitted(drawn()[:12], fitted_on, usable, {})


# Strata, and thresholds drawn anew -----------------------------------------------------------------------


def test_what_the_stratum_tells_is_no_area_among_its_own():
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 200), np.repeat([0, 1], [40, 360])
    clean, suspicious = (one + 0.1 * rng.standard_normal(len(one)) for one in strata)
    assert auc(clean, suspicious).value > 0.65
    inside = auc_in_strata(clean, suspicious, strata)
    assert inside.low < 0.5 < inside.high


def test_one_stratum_is_the_area_itself():
    rng = np.random.default_rng(1)
    clean, suspicious = rng.standard_normal(50), 1 + rng.standard_normal(60)
    one = auc_in_strata(clean, suspicious, (np.zeros(50), np.zeros(60)))
    assert one.interval == pytest.approx(auc(clean, suspicious).interval)
    assert auc_in_strata(clean, suspicious, (np.zeros(50), np.ones(60))) is None


def test_a_rate_whose_threshold_is_drawn_too_is_less_sure():
    rng = np.random.default_rng(2)
    clean, suspicious = rng.standard_normal(60), 1.5 + rng.standard_normal(2000)
    fixed = threshold_at(0.05, clean)
    both = flagged_anew(0.05, clean, suspicious, resamples=400)
    alone = flagged(fixed, suspicious, of="attacked images").share
    assert both.value == pytest.approx(alone.value)
    assert both.high - both.low > 2 * (alone.high - alone.low)
