import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError
from causalnb.attacks import ball


def images(n, *shape, dtype=torch.float32):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.0, 8 / 255, 0.3, 2.0])
def test_inside_holds_in_float64_and_reaches_the_border(norm, eps, dtype):
    clean = images(200, 1, 5, 5, dtype=dtype)
    far = clean + 4 * (images(200, 1, 5, 5, dtype=dtype).flip(0) - 0.5)
    result = ball.inside(clean, far, norm, eps)
    assert result.dtype == dtype and result.min() >= 0 and result.max() <= 1
    size = ball.distance(clean, result, norm)
    assert size.max() <= eps + 1e-14
    assert eps > 1 or (size.max() >= eps - 1e-6)


def test_what_is_inside_already_is_not_touched():
    clean = images(50, 1, 5, 5)
    near = (clean + 0.01 * images(50, 1, 5, 5).flip(0)).clamp(0, 1)
    assert torch.equal(ball.inside(clean, near, "linf", 0.02), near) and torch.equal(
        ball.inside(clean, near, "l2", torch.inf), near
    )


def test_points_are_uniform_in_the_ball():
    many = images(4000, 1, 1, 3)
    cube, sphere = ball.point(many, (0,), "linf"), ball.point(many, (0,), "l2").flatten(1)
    assert cube.abs().max() <= 1 and abs(cube.var() - 1 / 3) < 0.02
    volume = sphere.norm(dim=1) ** 3
    assert (
        volume.max() <= 1 + 1e-6 and abs(volume.mean() - 1 / 2) < 0.02 and abs(volume.var() - 1 / 12) < 0.01
    )
    assert sphere.mean(dim=0).abs().max() < 0.05


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.floats(0, 300) | st.sampled_from([8, 16, 255, 8 / 255, 1, 1 + 1e-8]),
    st.sampled_from(["linf", "l2", "flow"]),
    st.integers(1, 3),
    st.integers(1, 40),
)
def test_a_budget_larger_than_any_perturbation_is_refused_and_any_other_is_not(eps, norm, channels, side):
    images = torch.zeros(1, channels, side, side)
    largest = {"linf": 1.0, "l2": math.sqrt(channels * side**2), "flow": math.inf}[norm]
    if eps <= largest * (1 + 1e-7):
        assert ball.refuse_budget(eps, images, norm) is None
    else:
        sentence = (
            rf"^eps = .* in {norm} no two images in \[0, 1\] lie further apart than .*8/255, not 8\)\.$"
        )
        with pytest.raises(UserError, match=sentence):
            ball.refuse_budget(eps, images, norm)


def test_the_largest_perturbation_is_the_distance_of_black_and_white():
    for norm in ("linf", "l2"):
        black, white = torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5)
        assert ball.radius_of_box(black, norm) == pytest.approx(float(ball.distance(black, white, norm)))


@pytest.mark.parametrize("eps", [True, None, "0.3", -0.1, math.nan, math.inf, torch.tensor(0.1), [0.1]])
def test_what_is_no_number_from_0_is_no_budget(eps):
    with pytest.raises(ValueError, match="is not possible: the attack budget is one number from 0"):
        ball.refuse_budget(eps, torch.zeros(1, 1, 2, 2), "linf")
