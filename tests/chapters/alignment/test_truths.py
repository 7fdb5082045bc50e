"""Closed forms against numbers that others computed, draws, and each other; every check, broken once."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from causalnb import ledger
from causalnb.chapters.alignment import checks, derived, linear, printed
from causalnb.chapters.alignment import closed_forms as forms

MU, SD = forms.STRONG_AND_WEAK


def six(*values):
    return pytest.approx(values if len(values) > 1 else values[0], abs=5e-7)


# D1 ------------------------------------------------------------------------------------------------------


def test_the_collider():
    clear, noisy = forms.collider(), forms.collider(flipped=0.1)
    assert (clear.marginal, clear.given) == six(0, 0.346574)
    assert (clear.from_style, clear.from_image, clear.from_both) == six(0.5, 0.75, 1)
    assert noisy.given == six(0.184032)
    assert (noisy.from_style, noisy.from_image, noisy.from_both) == six(0.5, 0.7, 0.9)
    assert forms.collider(hidden=0.0).given == 0
    assert forms.collider(hidden=0.3).given == six(0.3 * 0.346574 + 3e-8)


# D2 and D3 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eps", "values"),
    [
        (0.25, (0.841345, 0.773373, 0.011463, 0.010097, 0.043005, 0.075707, 0.483440, 0.471976)),
        (0.5, (0.841345, 0.691462, 0.060770, 0.050540, 0.104546, 0.174312, 0.642495, 0.581726)),
        (1, (0.841345, 0.500000, 0.374567, 0.336831, 0.277990, 0.432763, 1.067714, 0.693147)),
        (1.5, (0.841345, 0.308538, 1.060770, 1.050540, 0.487471, 0.728275, 1.642495, 0.581726)),
        (2, (0.841345, 0.158655, 2.000000, 2.000000, 0.682689, 1.000000, 2.356316, 0.356316)),
    ],
)
def test_one_feature(eps, values):
    of = forms.one_feature(1, eps)
    found = (of.natural, of.robust, of.kl, of.reverse, of.tv, of.root, of.ce, of.entropy)
    assert found == six(*values)


def test_one_feature_by_draws():
    x = 0.5 + torch.randn(400_000, generator=torch.Generator().manual_seed(0)).double().numpy()
    each = forms.binary_kl(x, 2 * x)
    assert each.mean() == pytest.approx(forms.one_feature(1, 0.5).kl, abs=4 * each.std() / math.sqrt(len(x)))


@pytest.mark.parametrize(
    ("eps", "gamma", "a", "value"),
    [
        (0.5, 0, 0.5, 0.581726),
        (0.5, 1 / 6, 0.555164, 0.648404),
        (0.5, 1, 0.705677, 0.964772),
        (0.25, 0, 0.75, 0.471976),
        (0.25, 1 / 6, 0.779974, 0.532825),
        (0.25, 1, 0.861526, 0.833621),
    ],
)
def test_which_surrogate_eq_5_asks_for(eps, gamma, a, value):
    assert forms.surrogate(1, eps, gamma) == six(a, value)


def test_the_triangle_under_two_marginals():
    found = forms.distances(1, 0.5, 0.705677)
    assert found["tv.attacked"] + found["tv.natural"] == six(0.102972)
    assert found["moved"] == six(0.104546)
    assert (found["paired"], found["middle"]) == six(0.179159, 0.112830)
    far = forms.distances(6, 5, 1)
    assert far["tv.attacked"] + far["tv.natural"] == six(0.0000453)
    assert far["kl.attacked"] + far["kl.natural"] == six(0.0000453)
    assert math.sqrt(far["kl.natural"] / 2) == pytest.approx(0.0048, abs=5e-5)
    assert far["roots"] == pytest.approx(0.0029, abs=5e-5)


def test_between_both_posteriors_the_triangle_costs_nothing_under_one_marginal():
    n, m = 0.5, 1.0
    for a in (0.5, 0.6, 0.705677, 0.9, 1.0):
        under_one = [
            forms.gaussian(lambda x, c=c, a=a: forms.binary_tv(2 * c * x, 2 * a * x), n, kink=0.0)
            for c in (n, m)
        ]
        assert sum(under_one) == six(0.104546)


# D4 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigma", "label", "values"),
    [
        (0.5, 0, (0.802758, 0.728065, 0.907083)),
        (1, 0, (1.148243, 0.826003, 2.057171)),
        (2, 0, (2.107258, 0.956979, 9.202836)),
        (1, 1, (1.848243, 1.361986, 2.862037)),
        (1, 2, (1.948243, 1.183997, 3.727532)),
    ],
)
def test_eq_9_and_what_it_bounds(sigma, label, values):
    ce, below, exact, bound = forms.gaussian_head(checks.THREE, checks.MU, label, sigma)
    assert (ce, below, bound) == six(*values) and exact == pytest.approx(bound, abs=1e-9)
    assert below <= ce <= bound


def test_eq_9_by_draws():
    z = torch.randn(400_000, 2, generator=torch.Generator().manual_seed(1)).double().numpy()
    logits = (checks.MU + z) @ checks.THREE.T
    each = np.logaddexp.reduce(logits, axis=1) - logits[:, 0]
    value, below, _, bound = forms.gaussian_head(checks.THREE, checks.MU, 0, 1.0)
    assert each.mean() == pytest.approx(value, abs=4 * each.std() / math.sqrt(len(z)))
    assert below < each.mean() < bound


# D5, D6 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eps", "both", "strong"),
    [(0.1, 0.005767, 0.000043), (0.25, 0.499988, 0.000483), (0.5, 8.808208, 0.004449)],
)
def test_two_features(eps, both, strong):
    assert forms.two_features_kl(MU, SD, (1, 1), eps)[0] == six(both)
    assert forms.two_features_kl(MU, SD, (1, 0), eps)[0] == six(strong)


def test_two_features_with_a_sign_turned_round():
    assert forms.two_features_kl(MU, SD, (0, 1), 0.25)[0] == six(0.311482)
    assert [forms.two_features_kl(MU, SD, (1, -1), eps)[0] for eps in (0.1, 0.25)] == [
        six(0.000053),
        six(0.000002),
    ]
    entropies = [forms.two_features_kl(MU, SD, signs, 0.25)[1] for signs in ((1, 1), (1, 0), (1, -1))]
    assert entropies == [six(0.166370), six(0.005042), six(0.0000003)]


def test_the_always_wrong_rule():
    assert forms.two_features_kl(MU, SD, (-1, -1), 0.1)[0] == six(0.000011)
    assert forms.two_features_tv(MU, SD, (-1, -1), 0.1) == six(0.000019)
    assert forms.two_features_tv(MU, SD, (1, 0), 0.1) == six(0.000204)
    assert forms.two_features_tv(MU, SD, (-1, -1), 0.25) < 5e-7
    covariance, bayes = np.diag(np.square(SD)), np.array(MU) / np.square(SD)
    assert forms.accuracies(-bayes, MU, covariance)[0] == six(0.000683)
    away = forms.one_feature(1, -0.5)
    assert (away.tv, away.kl) == six(0.038460, 0.015639)


def test_two_features_by_draws():
    mu, sd = np.array(MU), np.array(SD)
    n = mu - 0.1
    x = n + sd * torch.randn(400_000, 2, generator=torch.Generator().manual_seed(2)).double().numpy()
    a, b = (2 * x @ (c / sd**2) for c in (n, mu))
    for each, value in (
        (forms.binary_kl(a, b), forms.two_features_kl(MU, SD, (1, 1), 0.1)[0]),
        (np.abs(expit(a) - expit(b)), forms.two_features_tv(MU, SD, (1, 1), 0.1)),
    ):
        assert each.mean() == pytest.approx(value, abs=4 * each.std() / math.sqrt(len(x)))


def test_the_style_head_at_the_optimum():
    mu, covariance = np.array(MU), np.diag(np.square(SD))
    inner = (np.eye(2), covariance + np.outer(mu, mu), covariance)
    rules = {
        "bayes": np.linalg.solve(covariance, mu),
        "robust": linear.robust_rule(MU, covariance, 0.1)[0],
        "strong": np.array([1.0, 0.0]),
    }
    found = {
        name: [forms.style_accuracies(w, MU, covariance, m)[0] for m in inner] for name, w in rules.items()
    }
    assert found["bayes"] == [six(0.972509), six(0.5), six(0.5)]
    assert found["robust"] == [six(0.969798), six(0.523153), six(0.738974)]
    assert found["strong"] == [six(0.993790), six(0.638163), six(0.993790)]
    attacked = [forms.style_accuracies(rules["bayes"], MU, covariance, m, 0.1)[1] for m in inner[:2]]
    assert attacked == [six(0.954211), six(0.217440)]


# Styles inside the graph ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "first", "second"),
    [
        (0, 0, 0.060770),
        (0.25, 0.033992, 0.068444),
        (0.5, 0.109268, 0.076502),
        (0.75, 0.359935, 0.075835),
        (0.9, 1.144761, 0.041009),
        (0.99, 12.435769, 0.000000),
    ],
)
def test_where_the_attack_sits(share, first, second):
    assert forms.factors(1, 0.5, share) == six(first, second)
    total = forms.one_feature(1, 0.5).kl + share * 0.25 / (2 * (1 - share))
    assert sum(forms.factors(1, 0.5, share)) == pytest.approx(total)


# 6.1 and 6.2 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eps", "standard", "robust", "ratio"),
    [
        (0.1, (0.999317, 0.989155), (0.999146, 0.990437), 4.1667),
        (0.25, (0.999317, 0.825632), (0.977250, 0.933193), 0),
        (0.5, (0.999317, 0.092175), (0.977250, 0.841345), 0),
    ],
)
def test_standard_and_robust_rules(eps, standard, robust, ratio):
    covariance = np.diag(np.square(SD))
    bayes, own = (linear.robust_rule(MU, covariance, size)[0] for size in (0.0, eps))
    assert bayes[1] / bayes[0] == pytest.approx(6.25)
    assert forms.accuracies(bayes, MU, covariance, eps) == six(*standard)
    assert forms.accuracies(own, MU, covariance, eps) == six(*robust)
    assert own[1] / own[0] == pytest.approx(ratio, abs=5e-5)


def test_the_robust_rule_for_correlated_features():
    covariance = np.array([[0.25, 0.06], [0.06, 0.0625]])
    w, z = linear.robust_rule((1, 0.5), covariance, 0.25)
    assert z.tolist() == pytest.approx([0.25, 0.25]) and w[1] / w[0] == six(0.549020)
    assert forms.accuracies(w, (1, 0.5), covariance, 0.25)[1] == six(0.937434)
    assert linear.best_angle((1, 0.5), covariance, 0.25) == pytest.approx(0.937434, abs=1e-6)


def test_averaging_many_weak_features_is_accurate_and_not_robust():
    """After Tsipras et al. 2019: 100 features of mean .3, unit spread, a budget of twice the mean."""
    w, mu = np.ones(100), np.full(100, 0.3)
    assert forms.accuracies(w, mu, np.eye(100), 0.6) == six(0.998650, 0.001350)


@pytest.mark.parametrize(
    ("rho", "standard", "robust"),
    [
        (0, (0, 0.977250, 0.933193, 0.977250, 0.933193), (0, 0.977250, 0.933193, 0.977250, 0.933193)),
        (0.25, (0.5, 0.980375, 0.908889, 0.965546, 0.862454), (0, 0.977250, 0.933193, 0.977250, 0.933193)),
        (0.5, (1, 0.987326, 0.910144, 0.910144, 0.672640), (0, 0.977250, 0.933193, 0.977250, 0.933193)),
        (
            0.75,
            (1.5, 0.993790, 0.933193, 0.758036, 0.382089),
            (2 / 3, 0.991147, 0.943077, 0.922636, 0.736455),
        ),
        (1, (2, 0.997661, 0.961450, 0.5, 0.144422), (4 / 3, 0.997227, 0.964288, 0.710450, 0.338696)),
    ],
)
def test_the_dial(rho, standard, robust):
    for rule, expected in ((linear.standard(rho), standard), (linear.robust(rho), robust)):
        of = linear.turned(rule, rho)
        assert (of.ratio, of.natural, of.robust, of.flipped, of.flipped_robust) == six(*expected)


# Checks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", checks.CHECKS)
def test_each_step_of_ours_holds(id):
    assert checks.CHECKS[id]().holds


def test_which_statements_of_the_paper_hold():
    fail = {"association.marginal", "factor", "eq4"}
    assert {id for id, check in derived.DERIVED.items() if not check().holds} == fail


@pytest.mark.parametrize("id", derived.ERRATA)
def test_no_erratum_holds_as_printed(id):
    assert not derived.ERRATA[id]().holds


def test_every_check_has_its_row_and_no_row_waits_for_none():
    rows = ledger.load("alignment").rows
    asked = {pattern for row in rows for pattern in row.decided_by.measurements}
    cells = {row.id: row.printed for row in rows if row.kind == "cell"}
    made = {f"check.{id}" for id in checks.CHECKS} | {f"derive.{id}" for id in derived.DERIVED}
    made |= {f"erratum.{id}" for id in derived.ERRATA} | {one.id for one in printed.by_print(cells)}
    logical = tuple(f"{kind}." for kind in ("check", "derive", "erratum", "print"))
    assert {pattern for pattern in asked if pattern.startswith(logical)} == made


def test_sums_of_eq_10():
    assert [derived.total_of_eq_10(sigma) for sigma in (0.0, 0.5, 1.0, 2.0)] == [
        six(1),
        six(0.731686),
        six(0.209019),
        six(0.000164),
    ]


def test_behind_a_relu_zero_covariance_is_not_independence():
    assert derived.relu_correlation() == pytest.approx(0.5696, abs=5e-5)
    r = torch.randn(1_000_000, 2, generator=torch.Generator().manual_seed(0)).relu()
    c, s = r[:, 0] - r[:, 1], r[:, 0] + r[:, 1]
    found = torch.corrcoef(torch.stack([c**2, s**2]))[0, 1].item()
    assert found == pytest.approx(derived.relu_correlation(), abs=0.01)
    assert abs(torch.cov(torch.stack([c, s]))[0, 1].item()) < 0.01


def test_the_released_deflation_damps_directions_that_share_a_component_less():
    alone, shared = checks.attenuation(d=128), checks.attenuation(d=128, shared=0.5)
    assert alone[-1] < 1e-20 and shared[-1] < 1e-20  # the last one is taken out
    assert shared[:-1].mean() > 3 * alone[:-1].mean()


# Broken once: what a check compares is changed, and it no longer holds -----------------------------------


@pytest.mark.parametrize(
    ("id", "name", "other"),
    [
        ("D1", "collider", lambda **of: forms.Collider(0.01, 0.3, 0.5, 0.75, 1)),
        ("D2.sum", "one_feature", lambda m, eps: forms.OneFeature(0.8, 0.7, 0.1, 0.1, 0.1, 0.9, 0.7)),
        ("D3", "surrogate", lambda m, eps, gamma: (m, 0.0)),
        ("D5", "two_features_kl", lambda *of: (0.1, 0.1)),
        ("factor", "factors", lambda *of: (0.1, 0.1)),
    ],
)
def test_a_check_can_fail(monkeypatch, id, name, other):
    monkeypatch.setattr(forms, name, other)
    assert not checks.CHECKS[id]().holds


def test_the_dial_check_fails_for_a_rule_that_keeps_style(monkeypatch):
    monkeypatch.setattr(linear, "robust", linear.standard)
    assert not checks.CHECKS["dial"]().holds
