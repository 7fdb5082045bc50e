import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalnb import UserError
from causalnb.chapters.ace.checks import drawn_images, layer, network
from causalnb.chapters.ace.interventions import (
    average_effects,
    binary,
    blocks,
    by_class,
    intervene,
    interventional_table,
    look_up,
    scores,
    single_and_joint,
)
from causalnb.models import lenet

ALPHAS = torch.linspace(0, 1, 5, dtype=torch.float64)


class Tiny(nn.Module):
    """f_1 = 4 x1 x2 + 2 x3, f_2 = x1 - x3, on images [n, 1, 1, 3]."""

    def forward(self, images):
        a, b, c = images.flatten(1).unbind(1)
        return torch.stack([4 * a * b + 2 * c, a - c], 1)


ROWS = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.75, 0.0]], dtype=torch.float64).view(2, 1, 1, 3)
GRID = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)


def test_the_effects_of_a_net_written_by_hand_are_known_to_the_last_digit():
    table = interventional_table(Tiny(), ROWS, GRID)
    assert table.natural[0].tolist() == [1.75, -0.25]
    # x1: E[4 a x2 + 2 x3] = 2 a + 1; x2: E[4 x1 a + 2 x3] = a + 1; x3: E[4 x1 x2 + 2 a] = 0.75 + 2 a
    assert table.expectation[0, :, :, 0].tolist() == [[1.0, 2.0, 3.0], [1.0, 1.5, 2.0], [0.75, 1.75, 2.75]]
    assert table.expectation[0, :, :, 1].tolist() == [
        [-0.5, 0.0, 0.5],
        [-0.25, -0.25, -0.25],
        [0.25, -0.25, -0.75],
    ]
    assert average_effects(table)[0, :, :, 0].tolist() == [
        [-1.0, 0.0, 1.0],
        [-0.5, 0.0, 0.5],
        [-1.0, 0.0, 1.0],
    ]
    assert average_effects(table, baseline="empirical")[0, 0, :, 0].tolist() == [-0.75, 0.25, 1.25]
    assert average_effects(table, baseline="zero")[0, 0, :, 0].tolist() == [0.0, 1.0, 2.0]
    assert binary(table)[0].tolist() == [[2.0, 1.0], [1.0, 0.0], [2.0, -1.0]]


def test_a_table_by_class_takes_each_class_from_its_own_table():
    tables = [interventional_table(Tiny(), rows, GRID) for rows in (ROWS, ROWS[:, :, :, [2, 0, 1]])]
    merged = by_class(tables)
    assert (
        torch.equal(merged.alphas, GRID)
        and merged.effect.shape == (2, 3, 3, 2)
        and merged.natural.shape == (2, 2)
    )
    for name in ("effect", "natural", "error"):
        for c in (0, 1):
            assert torch.equal(getattr(merged, name)[..., c], getattr(tables[c], name)[..., c]), (name, c)
        assert not torch.equal(getattr(tables[0], name)[..., 1], getattr(tables[1], name)[..., 1]), name
    # f_1 over ROWS; f_2 = x1 - x3 over the rows (1, 0, 1/4) and (0, 1/2, 3/4)
    assert merged.expectation[0, :, :, 0].tolist() == [[1.0, 2.0, 3.0], [1.0, 1.5, 2.0], [0.75, 1.75, 2.75]]
    assert merged.expectation[0, :, :, 1].tolist() == [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, -0.5]]


def test_standard_errors_are_those_of_the_rows_own_effects():
    # x1 on f_1: each row's effect against its own mean over the grid is 4 x2 (alpha - 1/2): -0.5, -1.5 at 0
    table = interventional_table(Tiny(), ROWS, GRID)
    assert table.error[0, 0, :, 0].tolist() == [0.5, 0.0, 0.5]
    assert table.error[0, 2, :, 0].tolist() == [0.0, 0.0, 0.0]


def test_own_values_between_grid_values_are_interpolated():
    table = interventional_table(Tiny(), ROWS, GRID)
    images = torch.tensor([[0.25, 0.75, 1.0], [0.0, 0.5, 0.1]], dtype=torch.float64)
    found = look_up(average_effects(table), table.alphas, images, torch.tensor([0, 1]))[0]
    assert torch.allclose(found, torch.tensor([[-0.5, 0.25, 1.0], [-0.5, 0.0, 0.4]], dtype=torch.float64))


def test_values_may_differ_by_pixel_and_by_image():
    by_pixel = intervene(Tiny(), ROWS, torch.tensor([[0.0], [1.0], [0.5]], dtype=torch.float64))
    assert by_pixel[..., 0, 0].tolist() == [[2.0, 2.0, 1.0], [0.0, 2.0, 2.5]]
    values = ROWS.flatten(1)[..., None] + torch.tensor([[[0.0]], [[1.0]]])
    assert intervene(Tiny(), ROWS, values)[:, :, 0, 1].tolist() == [[-1.0, -1.0, -1.0], [1.5, 0.5, -0.5]]


def test_pixels_may_be_chosen_in_any_order():
    chosen = intervene(Tiny(), ROWS, GRID, pixels=torch.tensor([2, 0]))
    assert torch.equal(chosen, intervene(Tiny(), ROWS, GRID)[:, [2, 0]])


@pytest.mark.parametrize("n", [1, 2, 7])
def test_batched_forwards_and_propagation_give_one_table(n):
    model, rows = lenet(size=12).double(), torch.rand(n + 1, 1, 12, 12, dtype=torch.float64)
    fast, slow = (
        interventional_table(model, rows, ALPHAS, method=method, chunk=50)
        for method in ("propagate", "forward")
    )
    for name, values in vars(fast).items():
        assert torch.allclose(values, getattr(slow, name), atol=1e-12), name


def test_another_model_falls_back_to_whole_networks():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    rows = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(intervene(model, rows, ALPHAS), intervene(model, rows, ALPHAS, method="forward"))
    with pytest.raises(UserError, match="'propagate' cannot take a Sequential and images of 8 x 8"):
        intervene(model, rows, ALPHAS, method="propagate")


def test_an_intervention_without_effect_gives_exactly_zero():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 3))
    model[1].weight.data[:, 5] = 0
    rows = torch.rand(40, 1, 8, 8)
    for block in blocks(model, rows, rows.flatten(1)[..., None]):
        assert torch.equal(block.logits, block.natural[:, None, None].expand_as(block.logits))


def test_the_model_keeps_its_mode_and_gathers_no_gradient():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Dropout(0.5))
    model[2].train()
    model[1].eval()
    first, second = (
        intervene(model, torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0)), ALPHAS)
        for _ in range(2)
    )
    assert torch.equal(first, second) and not first.requires_grad
    assert model[2].training and not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_done_is_said():
    with pytest.raises(ValueError, match=r"\[n, channels, height, width\] with n >= 1, not \[3, 4\]"):
        intervene(Tiny(), torch.zeros(3, 4), GRID)
    with pytest.raises(ValueError, match="2 rows or more"):
        interventional_table(Tiny(), ROWS[:1], GRID)
    with pytest.raises(ValueError, match="auto, propagate or forward"):
        intervene(Tiny(), ROWS, GRID, method="quick")
    with pytest.raises(ValueError, match="uniform, empirical or zero"):
        average_effects(interventional_table(Tiny(), ROWS, GRID), baseline="mean")


def test_probabilities_near_one_keep_their_small_effects():
    q = scores(torch.tensor([[20.0, 0.0], [20.0001, 0.0]]))[1, :, 0]
    assert 0 < q[1] - q[0] < 1e-12


def test_effects_average_to_zero_over_the_grid():
    table = interventional_table(network(), drawn_images(), ALPHAS)
    assert average_effects(table).mean(2).abs().max() < 1e-12


def test_effects_on_probabilities_sum_to_zero_over_the_classes():
    table = interventional_table(network(), drawn_images(), ALPHAS)
    for baseline in ("uniform", "empirical", "zero"):
        assert average_effects(table, baseline=baseline)[1].sum(-1).abs().max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-10, 10), factor=st.floats(-5, 5), seed=st.integers(0, 100))
def test_logit_effects_ignore_a_constant_and_are_linear_in_the_network(shift, factor, seed):
    rows, first, second = (
        drawn_images(5, seed=seed),
        network(),
        nn.Sequential(nn.Flatten(), layer(9, 4, seed=seed)),
    )

    class Combined(nn.Module):
        def forward(self, images):
            return first(images) + factor * second(images) + shift

    combined, a, b = (
        average_effects(interventional_table(model, rows, ALPHAS))[0] for model in (Combined(), first, second)
    )
    assert torch.allclose(combined, a + factor * b, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 100))
def test_the_order_of_the_rows_is_nothing(order, seed):
    rows = drawn_images(6, seed=seed)
    one, other = (interventional_table(network(), some, ALPHAS) for some in (rows, rows[list(order)]))
    assert torch.allclose(one.effect, other.effect, atol=1e-12) and torch.allclose(
        one.error, other.error, atol=1e-12
    )


def test_a_copy_of_a_pixel_stays_as_data_under_do():
    """x2 = x1 in every row: do(x1) leaves x2, so f = x1 + x2 has slope 1 in alpha, not 2."""
    model = nn.Sequential(nn.Flatten(), layer(2, 1, weight=torch.ones(1, 2, dtype=torch.float64)))
    x = torch.rand(20, 1, 1, 1, dtype=torch.float64)
    expectation = interventional_table(model, torch.cat([x, x], 3), ALPHAS).expectation[0, 0, :, 0]
    assert torch.allclose(expectation, ALPHAS + x.mean())


def test_do_keeps_the_correlation_among_the_other_pixels():
    """E[x2 x3] of the rows, not E[x2] E[x3]."""

    class Product(nn.Module):
        def forward(self, images):
            return images.flatten(1).prod(1, keepdim=True)

    rows = torch.tensor([[0.3, 0.0, 0.0], [0.8, 1.0, 1.0]], dtype=torch.float64).view(2, 1, 1, 3)
    assert (
        interventional_table(Product(), rows, ALPHAS).expectation[0, 0, :, 0].tolist()
        == (ALPHAS * 0.5).tolist()
    )


def test_single_effects_miss_what_pixels_do_together():
    """4 x1 x2 from (0, 0) to (1, 1): each alone does nothing, both together 4."""
    before, after = torch.zeros(1, 1, 1, 3, dtype=torch.float64), torch.ones(1, 1, 1, 3, dtype=torch.float64)
    single, joint = single_and_joint(Tiny(), before, after, torch.tensor([0]))
    assert (single[0].item(), joint[0].item()) == (2.0, 6.0)


def test_single_and_joint_effects_agree_on_a_linear_network():
    model, before, after = nn.Sequential(nn.Flatten(), layer(9, 4)), drawn_images(4), drawn_images(4, seed=2)
    single, joint = single_and_joint(model, before, after, torch.tensor([0, 1, 2, 3]), chunk=3)
    assert torch.allclose(single[0], joint[0])


def test_a_table_on_another_device_holds_the_same():
    table = interventional_table(Tiny(), ROWS, GRID)
    moved = table.to("cpu")
    assert type(moved) is type(table) and vars(moved).keys() == vars(table).keys()
    assert all(torch.equal(a, b) for a, b in zip(vars(table).values(), vars(moved).values(), strict=True))


def test_a_model_whose_first_layer_works_in_place_leaves_the_images_alone():
    model = nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace=True), nn.Flatten(), layer(9, 4))
    images = 3 * drawn_images(2)
    before = images.clone()
    effects = intervene(model, images, GRID)
    assert torch.equal(images, before)
    changed = torch.cat([GRID[1:2], before[0].flatten()[1:]]).view(1, 1, 3, 3)
    assert torch.allclose(effects[0, 0, 1], model(changed)[0], atol=1e-12)


@pytest.mark.parametrize("pixels", [[-1], [3], []])
def test_pixels_are_pixels_of_the_image(pixels):
    with pytest.raises(ValueError, match="pixels are indices from 0 to 2, one at least"):
        intervene(Tiny(), ROWS, GRID, pixels=torch.tensor(pixels, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_pixel_without_effect_has_effect_zero_in_the_table_to_the_last_digit(dtype, classes):
    model = lenet(size=12, classes=classes).to(dtype)
    for parameter in model.parameters():
        parameter.data *= 3
    rows = torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(0)).to(dtype)
    model.conv1.weight.data.zero_()
    table = interventional_table(model, rows, ALPHAS.to(dtype), method="propagate")
    assert not table.effect.any() and not table.error.any()
