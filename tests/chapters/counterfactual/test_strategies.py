import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from causalnb import UserError
from causalnb.chapters.counterfactual import strategies
from causalnb.chapters.counterfactual.filters import Information
from causalnb.chapters.counterfactual.prototypes import Prototypes, choose

few = settings(max_examples=60, deadline=None, derandomize=True)


def prototypes(rows, classes=None):
    ci = torch.tensor(rows, dtype=torch.float64)
    known = torch.arange(len(ci)) if classes is None else torch.tensor(classes)
    return Prototypes(ci, known, torch.full_like(known, -1))


def vectors(*rows):
    return torch.tensor(rows, dtype=torch.float64)


# Strategies 1 and 3 --------------------------------------------------------------------------------------


def test_causal_filters_are_those_above_zero_and_s1_rejects_where_there_are_few():
    ci = vectors([0.1, 0.0, -0.1, 0.2], [0.0, -0.0, -0.1, -0.2], [1e-30, 0, 0, 0])
    assert strategies.causal(ci).tolist() == [2, 0, 1]
    assert strategies.no_features(ci).tolist() == [False, True, False]
    assert strategies.no_features(ci, n=1).tolist() == [False, True, True]


def test_zeros_have_no_sign_and_a_size_up_to_which_they_count():
    ci = vectors([0.0, -0.0, 1e-8, -1e-8, 1e-5])
    assert [strategies.zeros(ci, up_to=t).item() for t in (0, 1e-7, 1e-4)] == [2, 4, 5]
    assert strategies.too_few_zeros(ci, n=3).item() and not strategies.too_few_zeros(ci, n=2).item()


# Strategy 2 ----------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(-30, 30), st.floats(-3, 3), st.sampled_from([3, 17, 512]))
@few
def test_pearson_is_scipys(seed, shift, exponent, n):
    g = np.random.default_rng(seed)
    a = (g.normal(size=n) + shift) * 10**exponent
    b = a * g.normal() + g.normal(size=n)
    found = strategies.pearson(torch.from_numpy(a), torch.from_numpy(b))
    assert found.defined and found.rho.item() == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)


def test_pearson_of_float32_vectors_is_scipys_of_the_same_numbers():
    g = np.random.default_rng(0)
    a, b = (1e-6 * g.normal(size=(2, 5, 512))).astype(np.float32)
    expected = [stats.pearsonr(x.astype(float), y.astype(float)).statistic for x, y in zip(a, b, strict=True)]
    found = strategies.pearson(torch.from_numpy(a), torch.from_numpy(b))
    assert found.rho.tolist() == pytest.approx(expected, abs=1e-12)


def test_an_undefined_correlation_is_told_is_rejected_and_is_never_nan():
    own = prototypes([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    ci = vectors([0.1, 0.2, 0.3], [0.0, 0.0, 0.0], [0.7, 0.7, 0.7], [1.0, 2.0, 4.0])
    found = strategies.correlation(ci, torch.tensor([0, 1, 1, 1]), own)
    assert found.defined.tolist() == [False, False, False, True] and found.undefined == 3
    assert not found.rho.isnan().any() and found.accepted().tolist() == [False, False, False, True]
    assert found.accepted(tau=-1).tolist() == [False, False, False, True]
    assert found.score.tolist() == [1, 1, 1, pytest.approx(-1)]


def test_the_rank_is_the_place_of_the_own_prototype_and_beyond_all_where_rho_is_undefined():
    own = prototypes([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.1, 0.0]], classes=[2, 5, 7])
    ci = vectors([1.0, 0.1, 0.0], [1.0, 0.1, 0.0], [1.0, 0.1, 0.0], [0.0, 0.0, 0.0])
    assert strategies.rank(ci, torch.tensor([7, 2, 5, 7]), own).tolist() == [1, 2, 3, 4]


# Strategy 4 ----------------------------------------------------------------------------------------------


def overlaps(ci, prototype, n, m, floor):
    """Every overlap that some way to break ties gives, the slow way."""

    def tops(values, k):
        able = [i for i, value in enumerate(values) if value > floor]
        for chosen in itertools.combinations(able, min(k, len(able))):
            left = [values[i] for i in able if i not in chosen]
            if not chosen or not left or min(values[i] for i in chosen) >= max(left):
                yield set(chosen)

    return {len(a & b) for a in tops(ci, n) for b in tops(prototype, m)}


@given(
    st.lists(st.integers(-1, 3), min_size=7, max_size=7),
    st.lists(st.integers(-1, 3), min_size=7, max_size=7),
    st.integers(1, 4),
    st.integers(0, 3),
    st.booleans(),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_overlap_lies_between_the_least_and_the_most_over_all_ways_to_break_ties(a, b, n, more, causal):
    found = strategies.common(
        vectors(a), torch.tensor([0]), prototypes([b]), n=n, m=n + more, causal_only=causal
    )
    able = overlaps(a, b, n, n + more, 0 if causal else -9)
    assert (found.least.item(), found.most.item()) == (min(able), max(able))
    assert found.count.item() in able


def test_both_rules_and_fewer_causal_filters_than_asked():
    own, y = prototypes([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0]]), torch.tensor([0, 0, 0])
    ci = vectors([9, 8, 0, 0, 0, 0.5], [0, 0, 0, 0, 9, 8], [7, -1, -1, -1, -1, -1])
    found = strategies.common(ci, y, own, n=2, m=3)
    assert found.count.tolist() == [2, 0, 1]
    assert found.accepted("containment").tolist() == [True, False, False]
    assert found.accepted("meeting").tolist() == [True, False, True]


def test_an_image_without_causal_features_shares_none():
    found = strategies.common(torch.zeros(1, 4), torch.tensor([0]), prototypes([[4.0, 3, 2, 1]]), n=1, m=2)
    assert found.most.item() == 0 and not found.accepted("meeting").item()


@given(st.integers(0, 10_000))
@few
def test_sets_that_meet_at_small_n_and_m_meet_at_greater_ones_and_containment_need_not_stay(seed):
    g = torch.Generator().manual_seed(seed)
    ci, own = torch.randn(30, 64, generator=g), prototypes(torch.randn(3, 64, generator=g).tolist())
    y = torch.randint(3, (30,), generator=g)
    meet = [
        strategies.common(ci, y, own, n=n, m=m).accepted("meeting") for n, m in ((3, 10), (5, 20), (10, 30))
    ]
    assert (meet[1] | ~meet[0]).all() and (meet[2] | ~meet[1]).all()


@pytest.mark.parametrize(("n", "m"), [(4, 3), (0, 2), (2, 9)])
def test_top_sets_that_the_text_excludes_are_refused(n, m):
    with pytest.raises(ValueError, match="1 <= n <= m"):
        strategies.common(torch.zeros(1, 4), torch.tensor([0]), prototypes([[4.0, 3, 2, 1]]), n=n, m=m)


# Scores --------------------------------------------------------------------------------------------------


def test_every_score_is_greater_where_its_strategy_is_nearer_to_adversarial():
    g = torch.Generator().manual_seed(0)
    own = prototypes(torch.randn(3, 40, generator=g).tolist())
    y = torch.tensor([0, 1, 2])
    like, null = own.ci.clone(), torch.zeros(3, 40)
    like[:, :4] = 0
    scores = {name: strategies.scores(ci, y, own) for name, ci in (("like", like), ("null", null))}
    assert set(scores["like"]) == {
        *("S1", "S2.rho", "S2.rank", "S3.0", "S3.1e-07", "S3.0.0001"),
        *("S4.3_10", "S4.5_20", "S4.10_30"),
    }
    for name, natural in scores["like"].items():
        null_is = scores["null"][name]
        assert not null_is.isnan().any() and natural.dtype == torch.float64
        assert (null_is < natural).all() if name.startswith("S3") else (null_is > natural).all(), name
    assert set(strategies.scores(like[:, :12], y, prototypes(own.ci[:, :12].tolist()))) >= {"S4.3_10"}


def test_thresholds_on_scores_are_the_strategies_rules():
    g = torch.Generator().manual_seed(1)
    own, y = prototypes(torch.randn(3, 40, generator=g).tolist()), torch.randint(3, (50,), generator=g)
    ci = own.of(y) + torch.randn(50, 40, generator=g).double()
    found, shared = strategies.scores(ci, y, own), strategies.common(ci, y, own, n=5, m=20)
    assert torch.equal(found["S1"] >= -20, strategies.no_features(ci, n=20))
    assert torch.equal(found["S2.rho"] <= -0.5, strategies.correlation(ci, y, own).accepted())
    assert torch.equal(found["S4.5_20"] <= -5, shared.accepted("containment"))
    assert torch.equal(found["S4.5_20"] <= -1, shared.accepted("meeting"))


# Prototypes ----------------------------------------------------------------------------------------------


def information(margins, classes):
    ci = torch.arange(3.0 * len(margins)).view(-1, 3).double()
    return Information(
        ci, ci, torch.tensor(classes), torch.tensor(margins).double(), torch.zeros(ci.shape).bool(), "none"
    )


def test_the_prototype_is_the_surest_image_of_its_class_among_those_classified_right():
    found = information([2.0, 90.0, 80.0, 99.0, 1.0], [0, 0, 0, 1, 1])
    own = choose(found, torch.tensor([0, 0, 0, 0, 1]))
    assert own.classes.tolist() == [0, 1] and own.images.tolist() == [1, 4]
    assert torch.equal(own.ci, found.ci[[1, 4]]) and len(own) == 2
    assert torch.tensor([90.0, 80.0]).sigmoid().tolist() == [
        1.0,
        1.0,
    ]  # which a float32 P does not tell apart


def test_a_class_without_a_prototype_is_refused_in_a_sentence():
    own = prototypes([[1.0, 2.0], [3.0, 4.0]], classes=[2, 5])
    assert own.of(torch.tensor([5, 2])).tolist() == [[3, 4], [1, 2]]
    for missing in (3, 9, 0):
        with pytest.raises(UserError, match=f"The class {missing} has no prototype: take images of .*2, 5"):
            own.row(torch.tensor([2, missing]))
    with pytest.raises(UserError, match="No image is classified right"):
        choose(information([1.0], [0]), torch.tensor([1]))
