import math

import pytest
import torch

from causalnb.chapters.ace import controls
from causalnb.chapters.ace.checks import drawn_images, network
from causalnb.chapters.ace.controls import CONTROLS, kinked, largest_jump, sampled_error, slopes_along
from causalnb.chapters.ace.errata import ERRATA, REMARKS
from causalnb.models import lenet

PIXELS = torch.tensor([39, 66])


def standard_error(inputs, *, rows=1000, seed=0):
    """Of E[f | do(x1 = 1)] for f = sum of standard normal values over sqrt(inputs - 1), written out."""
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 0] = 1
    return (x.sum(1) / math.sqrt(inputs - 1)).std().item() / math.sqrt(rows)


@pytest.fixture(scope="module")
def slopes():
    image = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return {
        variant: slopes_along(lenet(variant=variant, size=12, seed=1).double(), image, pixels=PIXELS)
        for variant in ("tanh-average", "relu-max")
    }


@pytest.mark.parametrize("id", ["E8", "E11"])
def test_the_probe_could_have_found_the_opposite(id):
    control = CONTROLS[id]()
    assert (
        control.id == f"control.{id}" and control.holds and control.holds == (control.value <= control.bound)
    ), control


@pytest.mark.parametrize("inputs", [3, 30, 3000])
def test_the_control_of_e8_uses_the_probe_of_its_remark(inputs):
    scaled = torch.full((inputs,), 1 / math.sqrt(inputs - 1), dtype=torch.float64)
    assert sampled_error(scaled, rows=500, seed=3) == pytest.approx(
        standard_error(inputs, rows=500, seed=3), rel=1e-12
    )
    assert REMARKS["E8"]().value == pytest.approx(standard_error(3000) / standard_error(3), rel=1e-12)


@pytest.mark.parametrize("inputs", [3, 30, 300])
def test_the_standard_error_of_a_sum_is_that_of_its_sampled_inputs(inputs):
    assert sampled_error(torch.ones(inputs, dtype=torch.float64), rows=50_000) == pytest.approx(
        math.sqrt((inputs - 1) / 50_000), rel=0.02
    )


def test_a_probe_that_is_blind_to_growth_fails_its_control(monkeypatch):
    monkeypatch.setattr(controls, "sampled_error", lambda weight: standard_error(len(weight)))
    assert not CONTROLS["E8"]().holds


def test_the_control_of_e11_uses_the_probe_of_its_erratum():
    assert largest_jump(slopes_along(network(), drawn_images(1))).max().item() == ERRATA["E11"]().value


def test_kinks_are_found_on_the_network_of_erratum_e11_as_well():
    assert kinked(slopes_along(network(), drawn_images(1))).all()


@pytest.mark.parametrize("variant", ["relu-max", "tanh-average"])
def test_a_probe_that_says_the_same_of_both_networks_fails_its_control(monkeypatch, variant):
    monkeypatch.setattr(controls, "lenet", lambda *, size, **_: lenet(variant=variant, size=size))
    control = CONTROLS["E11"]()
    assert not control.holds and control.value == 0.5


def test_a_bound_in_logits_finds_no_kink_in_an_untrained_lenet(slopes):
    assert largest_jump(slopes["relu-max"]).max() < 0.01 and kinked(slopes["relu-max"]).all()


def test_the_scale_of_the_logits_does_not_matter(slopes):
    for of in slopes.values():
        assert torch.equal(kinked(1000 * of), kinked(of))


def test_a_line_without_slope_has_no_kink():
    assert not kinked(torch.zeros(1, 5, 2)).any()


def test_a_kink_is_as_large_at_twice_the_spacing_and_a_bend_twice_as_large(slopes):
    coarse = {variant: (of[:, ::2] + of[:, 1::2]) / 2 for variant, of in slopes.items()}
    growth = {variant: largest_jump(coarse[variant]) / largest_jump(of) for variant, of in slopes.items()}
    assert (growth["tanh-average"] - 2).abs().max() < 0.05
    assert growth["relu-max"].max() < 1.5
