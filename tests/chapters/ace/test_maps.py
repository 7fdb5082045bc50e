import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from causalnb.chapters.ace import maps as m

EVERYWHERE = torch.ones(1, 28, 28, dtype=torch.bool)


def constant(value):
    return torch.full((1, 28, 28), value, dtype=torch.float64)


def drawn(n=3, seed=0):
    return torch.randn(n, 28, 28, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1.0), (0.7, 0.0), (-0.7, 1.0)])
def test_sparsity_of_a_constant_map(value, expected):
    assert m.sparsity(constant(value)).item() == expected
    assert m.total_variation(constant(value)).item() == 0


def test_a_single_pixel_has_two_sides_and_a_diagonal():
    spike = constant(0.0)
    spike[0, 10, 10] = 3
    assert m.total_variation(spike).item() == pytest.approx(3 * (2 + math.sqrt(2)))
    assert m.sparsity(spike).item() == pytest.approx(783 / 784)


def test_smoothed_total_variation_is_total_variation_with_a_gradient_where_a_map_is_flat():
    maps = drawn(5)
    assert (m.total_variation(maps, smoothing=1e-12) - m.total_variation(maps)).abs().max() < 1e-3
    flat = constant(0.0).requires_grad_()
    value = m.total_variation(flat, smoothing=1e-12)
    value.sum().backward()
    assert value.item() == pytest.approx(27 * 27 * 1e-6) and flat.grad.isfinite().all()
    uneven = maps.clone().requires_grad_()
    m.total_variation(uneven, smoothing=1e-12).sum().backward()
    assert uneven.grad.abs().max() > 0.1


def test_a_vertical_edge_counts_once_in_each_summed_row():
    edge = constant(0.0)
    edge[..., 14:] = 2
    assert m.total_variation(edge).item() == pytest.approx(27 * 2)
    assert m.total_variation(edge, border="replicate").item() == pytest.approx(28 * 2)


def test_a_checkerboard():
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    board = ((-1) ** (rows + columns))[None].double()
    assert m.total_variation(board).item() == pytest.approx(27 * 27 * math.sqrt(8))
    assert m.total_variation(board, border="replicate").item() == pytest.approx(2169.92, abs=0.01)
    assert m.sparsity(board).item() == 0.5


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_total_variation_scales_with_the_map_and_sparsity_does_not(factor, seed):
    phi = drawn(seed=seed)
    assert torch.allclose(m.total_variation(factor * phi), factor * m.total_variation(phi))
    assert torch.equal(m.sparsity(factor * phi), m.sparsity(phi))
    assert torch.allclose(m.rescale(factor * phi), m.rescale(phi))


def test_sparsity_of_the_negative_is_the_share_that_is_not_negative():
    phi = drawn()
    phi[:, :5] = 0
    assert torch.allclose(m.sparsity(-phi), (phi >= 0).double().mean((1, 2)))


def test_a_threshold_is_a_share_of_the_largest_effect_of_either_sign():
    phi = torch.tensor([[[-10.0, 0.09, 0.11, 1.0]]])
    assert m.sparsity(phi, threshold=0.01).item() == 0.5


def test_colour_maps_are_counted_over_all_channels():
    phi = drawn(6).view(2, 3, 28, 28)
    assert torch.allclose(m.total_variation(phi), m.total_variation(phi.flatten(0, 1)).view(2, 3).sum(1))
    assert torch.allclose(m.sparsity(phi), m.sparsity(phi.flatten(0, 1)).view(2, 3).mean(1))


def test_an_unknown_border_is_refused():
    with pytest.raises(ValueError, match="inner or replicate"):
        m.total_variation(constant(0.0), border="wrap")


def test_a_zero_map_stays_zero_when_rescaled():
    assert m.rescale(torch.cat([constant(0.0), constant(-2.0)])).unique().tolist() == [-1.0, 0.0]


def test_a_difference_that_leaves_the_mask_is_not_the_masks():
    phi, mask = drawn(1), EVERYWHERE.clone()
    assert torch.equal(m.total_variation(phi, mask=mask), m.total_variation(phi))
    mask[..., 14:], mask[:, 20:] = False, False
    assert m.total_variation(phi, mask=mask).item() == pytest.approx(
        m.total_variation(phi[:, :20, :14]).item()
    )


def test_masses_and_shares_of_a_mask():
    phi = torch.tensor([[[1.0, -2.0], [3.0, 0.0]]])
    mask = torch.tensor([[[True, True], [False, True]]])
    assert (m.positive_mass(phi, mask).item(), m.negative_mass(phi, mask).item()) == (1.0, 2.0)
    assert (m.positive_share(phi, mask).item(), m.negative_share(phi, mask).item()) == (
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    )
    assert m.positive_share(phi, ~mask & mask).item() == 0
    assert m.mean_size(phi).item() == 1.5


def test_digit_and_background_are_what_is_bright_and_what_is_black():
    images = torch.tensor([[[[0.0, 0.5, 0.51, 1.0]]]])
    assert m.digit(images).tolist() == [[[False, False, True, True]]]
    assert m.background(images).tolist() == [[[True, False, False, False]]]
    assert m.digit(torch.rand(2, 3, 4, 4)).shape == (2, 3, 4, 4)


def test_flips_count_one_direction_inside_the_mask():
    before, after = torch.tensor([[[-1.0, -1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, -1.0, -1.0, 1.0]]])
    mask = torch.ones(1, 1, 4, dtype=torch.bool)
    assert (m.flips(before, after, mask).item(), m.flips(after, before, mask).item()) == (0.25, 0.25)
    assert m.flips(before, before, mask).item() == 0
    assert m.flips(before, after, before < 0).item() == 0.5


def test_correlation_is_pearsons():
    first, second = drawn(4), drawn(4, seed=1)
    expected = torch.stack(
        [
            torch.corrcoef(torch.stack([a, b]))[0, 1]
            for a, b in zip(first.flatten(1), second.flatten(1), strict=True)
        ]
    )
    assert torch.allclose(m.correlation(first, second), expected)
    assert torch.allclose(m.correlation(first, 3 * first * 1e-12), torch.ones(4, dtype=torch.float64))
    assert m.correlation(first[:1], constant(2.0)).item() == 0
    assert torch.allclose(m.disturbance(first, -first), torch.full((4,), 2.0, dtype=torch.float64))


def test_the_highest_pixels_go_back_to_clean():
    clean, attacked = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    ranking = torch.tensor([[[0.1, 0.4], [0.3, 0.4]]])
    assert m.restore_top(clean, attacked, ranking, share=0.5).flatten().tolist() == [1.0, 0.0, 1.0, 0.0]
    assert torch.equal(m.restore_top(clean, attacked, ranking, share=0.0), attacked)
    assert torch.equal(m.restore_top(clean, attacked, ranking, share=1.0), clean)


def test_localisation_is_the_area_under_the_curve_with_ties_shared():
    phi = (drawn(3).abs() * 4).round()
    marked = drawn(3, seed=5) > 0.5
    expected = [
        roc_auc_score(marks.flatten(), values.flatten()) for marks, values in zip(marked, phi, strict=True)
    ]
    assert m.localisation(phi, marked).tolist() == pytest.approx(expected)
    assert m.localisation(-phi, marked).tolist() == pytest.approx(expected)


def test_images_without_both_kinds_of_pixels_have_no_localisation():
    marked = torch.zeros(3, 28, 28, dtype=torch.bool)
    marked[1, 0, 0], marked[2] = True, True
    assert m.localisation(drawn(3), marked).isnan().tolist() == [True, False, True]
