import pytest
import torch
from scipy import integrate

from causalnb.chapters.ace.closed_forms import (
    CASES,
    QUADRATIC,
    QUADRATIC_COVARIANCE,
    composed_effects,
    conditioned_pair,
    conditioned_quadratic,
    grid_baselines,
)
from causalnb.chapters.ace.taylor import taylor_expectation

EXACT = {
    "C1": 1.25,
    "C2": -0.9,
    "C2b": -0.8784,
    "C3": 2.4108997064,
    "C4a": 0.5363446982,
    "C4b": 0.1977965574,
    "C4c": 0.3989422804,
    "C5a": 0.6159760511,
    "C5b": 0.7160675076,
    "C5c": 0.6112304638,
    "C7": 0.6415,
    "C8": 1.0,
    "C9": 0.8955931148,
    "C10": 0.26,
    "C10e": 6.0,
}
TAYLOR = {
    "C1": 1.25,
    "C2": -0.9,
    "C2b": -0.8784,
    "C3": 2.4035842028,
    "C4a": 0.25,
    "C4b": 0.0,
    "C4c": 0.0,
    "C5a": 0.6152647318,
    "C5b": 0.4483991332,
    "C5c": -0.3665531836,
    "C7": 0.6415,
    "C8": 1.0,
    "C9": 0.5,
    "C10": 0.26,
    "C10e": 4.0,
}
BASELINE = {
    "C1": 0.65,
    "C2": -0.5,
    "C2b": -0.488,
    "C3": 2.0571568398,
    "C4a": 0.5522701681,
    "C7": 0.5698333333,
}
EFFECT = {
    "C1": 0.6,
    "C2": -0.4,
    "C2b": -0.3904,
    "C3": 0.3537428666,
    "C4a": -0.0159254699,
    "C7": 0.0716666667,
    "C10": 0.0,
}
CLOSE = {"rel": 0, "abs": 1e-10}


@pytest.mark.parametrize("id", CASES)
def test_expectation_and_taylor_value_are_the_known_ones(id):
    case = CASES[id]
    assert case.expectation == pytest.approx(EXACT[id], **CLOSE)
    assert case.taylor() == pytest.approx(TAYLOR[id], **CLOSE)
    assert case.baseline == pytest.approx(BASELINE.get(id, case.baseline), **CLOSE)
    assert case.effect == pytest.approx(EFFECT.get(id, case.effect), **CLOSE)


@pytest.mark.parametrize("id", CASES)
def test_a_million_rows_meet_the_closed_form(id):
    mean, error = CASES[id].sampled(1_000_000)
    assert abs(mean - CASES[id].expectation) < 4 * error


@pytest.mark.parametrize("id", CASES)
def test_the_stated_moments_are_those_of_the_law(id):
    case = CASES[id]
    rows = case.draw(200_000, torch.Generator().manual_seed(1))
    spread = case.covariance.diagonal().sqrt()
    assert ((rows.mean(0) - case.mean).abs() < 5 * spread / 200_000**0.5).all()
    assert ((rows.T.cov() - case.covariance).abs() < 0.05 * spread.outer(spread)).all()


def test_taylor_of_the_relu_case_gives_another_sign_and_size_of_effect():
    case = CASES["C4a"]

    def expectation(alpha):
        return taylor_expectation(case.f, case.mean, case.covariance, pixel=0, alpha=alpha).item()

    assert case.taylor() - integrate.quad(expectation, 0, 1, points=[0.25])[0] == pytest.approx(
        -0.03125, **CLOSE
    )


def test_keeping_the_observational_covariance_is_wrong():
    assert CASES["C7"].taylor() == pytest.approx(0.6415, **CLOSE)
    mean = CASES["C7"].mean.clone()
    mean[0] = 0.6
    assert CASES["C7"].f(mean).item() + (QUADRATIC * QUADRATIC_COVARIANCE).sum().item() / 2 == pytest.approx(
        0.7715, **CLOSE
    )


def test_conditioning_is_not_intervening():
    assert conditioned_quadratic() == pytest.approx(0.6836975309, **CLOSE)
    assert conditioned_pair() == pytest.approx(2.6, **CLOSE)


def test_two_linear_layers_act_as_their_product():
    assert torch.allclose(
        composed_effects(), torch.tensor([[0.45, -0.6, 1.5], [0.6, 0.825, -0.6]], dtype=torch.float64)
    )


def test_an_inclusive_grid_overweights_its_ends():
    equal, trapezoid, integral = grid_baselines()
    assert (equal, trapezoid, integral) == (
        pytest.approx(2.0740458453, **CLOSE),
        pytest.approx(2.0588708515, **CLOSE),
        pytest.approx(2.0571568398, **CLOSE),
    )
