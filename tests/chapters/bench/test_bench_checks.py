import pytest
import torch

from causalnb.chapters.bench import checks


@pytest.mark.parametrize("id", checks.CHECKS)
def test_every_step_of_what_an_attack_solves_holds(id):
    check = checks.CHECKS[id]()
    assert check.id == f"check.{id}" and check.holds and check.n >= 200, check


def test_a_check_beyond_its_bound_does_not_hold():
    assert not checks.within("check.x", "", 1.1, 1.0, 1).holds


def test_a_step_that_is_not_along_the_sign_gains_less(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "sign", lambda self: torch.ones_like(self))
    assert not checks.least_change().holds


def test_below_the_lead_of_104_logits_the_slope_is_not_silent(monkeypatch):
    one_hot = torch.nn.functional.one_hot
    monkeypatch.setattr(torch.nn.functional, "one_hot", lambda labels, n: 0.8 * one_hot(labels, n))
    assert not checks.silence().holds
