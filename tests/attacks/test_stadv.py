import doctest
from itertools import repeat

import pytest
import torch
from torch import nn

from causalnb.attacks import stadv as module
from causalnb.attacks.foolbox_adapter import Case
from causalnb.attacks.stadv import roughness, stadv, warp
from causalnb.attacks.watch import Criterion, WatchedModel

IMAGES = torch.rand(6, 3, 7, 9, generator=torch.Generator().manual_seed(0))


def still(images=IMAGES):
    return torch.zeros(len(images), 2, *images.shape[2:], dtype=torch.float64)


def uneven(size, images=IMAGES):
    return size * (
        2 * torch.rand(still(images).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        - 1
    )


def case_of(model, images, labels, eps, targets=None):
    watched = WatchedModel(model, torch.device("cpu"), repeat(0))
    criterion = Criterion(labels, targets)
    watched.follow(images, criterion)
    return Case(watched, images, criterion, "flow", eps, seed=0)


class Middle(nn.Module):
    """Whether the mean of the middle pixels is below `edge`: logits edge - mean for class 0, mean - edge for
    class 1, 0 for class 2.
    """

    def __init__(self, edge):
        super().__init__()
        self.edge = edge

    def forward(self, images):
        over = images[:, :, 3:-3, 3:-3].flatten(1).mean(dim=1) - self.edge
        return 100 * torch.stack([-over, over, torch.full_like(over, -1.0)], dim=1)


@pytest.fixture
def ramp():
    """Images [4, 1, 9, 9] that rise by 0.05 a pixel along either axis, up or down, with 0.5 in the middle; an
    edge 0.05 above: one pixel away.
    """
    rise = 0.05 * (torch.arange(9.0) - 4)
    right, down = 0.5 + rise.expand(9, 9), 0.5 + rise[:, None].expand(9, 9)
    return torch.stack([right, right.flip(1), down, down.flip(0)])[:, None]


def test_no_flow_gives_back_every_bit():
    assert torch.equal(warp(IMAGES, still()), IMAGES)
    assert torch.equal(warp(IMAGES.double(), still()), IMAGES.double())


@pytest.mark.parametrize("down, right", [(0, 1), (0, -2), (3, 0), (-1, 2)])
def test_a_flow_of_whole_pixels_moves_the_image_exactly(down, right):
    flow = still() + torch.tensor([float(down), float(right)])[:, None, None]
    rows, columns = (torch.arange(7) + down).clamp(0, 6), (torch.arange(9) + right).clamp(0, 8)
    assert torch.equal(warp(IMAGES, flow), IMAGES[:, :, rows][:, :, :, columns])


def test_the_warp_is_torch_s_bilinear_sampling():
    images, flow = IMAGES.double(), uneven(2.7)
    down, right = torch.arange(7.0)[:, None] + flow[:, 0], torch.arange(9.0) + flow[:, 1]
    grid = torch.stack([right * 2 / 8 - 1, down * 2 / 6 - 1], dim=3)
    expected = nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    assert torch.allclose(warp(images, flow), expected, atol=1e-12)


def test_the_slope_between_pixels_is_the_finite_difference():
    flow, way = (uneven(0.45) + 0.5).requires_grad_(), uneven(1e-6, IMAGES.flip(0))
    weights = IMAGES.flip(0).double()

    def value(flow):
        return (weights * warp(IMAGES.double(), flow)).sum()

    slope = (torch.autograd.grad(value(flow), flow)[0] * way).sum()
    assert torch.allclose(slope, (value(flow + way) - value(flow - way)) / 2, rtol=1e-6)


def test_the_slope_at_rest_is_the_mean_of_both_sides():
    flow = still().requires_grad_()
    slope = torch.autograd.grad(warp(IMAGES, flow).sum(), flow)[0]
    wide = nn.functional.pad(IMAGES.double(), (1, 1, 1, 1), mode="replicate").sum(dim=1)
    assert torch.allclose(slope[:, 0], (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]) / 2, atol=1e-6)
    assert torch.allclose(slope[:, 1], (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]) / 2, atol=1e-6)


def test_a_long_flow_stays_inside_the_image_s_own_values():
    moved = warp(IMAGES, uneven(50.0))
    assert moved.isfinite().all() and IMAGES.min() <= moved.min() and moved.max() <= IMAGES.max()


def test_roughness_counts_each_pair_of_neighbours_from_both_ends():
    flow = still()[:2]
    flow[1, :, :, 4:] = torch.tensor([3.0, 4.0])[:, None, None]
    assert torch.allclose(
        roughness(flow), torch.tensor([0.0, 2 * 7 * 5 / 63], dtype=torch.float64), atol=1e-8
    )
    resting = still().requires_grad_()
    assert not torch.autograd.grad(roughness(resting).sum(), resting)[0].any()


@pytest.mark.parametrize("eps, broken", [(0.8, False), (0.99, False), (1.01, True), (1.2, True)])
def test_a_ramp_one_pixel_from_the_edge_is_broken_by_more_than_one_pixel_and_by_no_less(ramp, eps, broken):
    labels = torch.zeros(4, dtype=torch.int64)
    images, size = stadv(case_of(Middle(0.55), ramp, labels, eps), step=eps / 4, steps=12)
    assert (Middle(0.55)(images).argmax(dim=1) == (1 if broken else 0)).all()
    assert ((size > 1) & (size <= eps)).all() if broken else torch.equal(images, ramp) and not size.any()


def test_a_flow_goes_left_and_right_up_and_down_alike(ramp):
    images, size = stadv(
        case_of(Middle(0.55), ramp, torch.zeros(4, dtype=torch.int64), 1.2), step=0.3, steps=12
    )
    assert torch.allclose(images[1], images[0].flip(2), atol=1e-6) and torch.allclose(
        images[3], images[2].flip(1), atol=1e-6
    )
    assert torch.allclose(images[2], images[0].transpose(1, 2), atol=1e-6) and (size == size[0]).all()


def test_smoothness_takes_along_the_pixels_that_the_model_does_not_read(ramp):
    def unread(smooth):
        images, _ = stadv(
            case_of(Middle(0.55), ramp, torch.zeros(4, dtype=torch.int64), 1.2),
            step=0.3,
            steps=12,
            smooth=smooth,
        )
        change = images - ramp
        change[:, :, 3:-3, 3:-3] = 0
        return change

    along = unread(0.05)
    assert not unread(0.0).any() and along.max() > 0.01 and along.min() > -1e-6


def test_a_target_is_reached_and_no_other_class(ramp):
    """The middle is 0.5: class 1 begins 1 pixel away. Class 2, whose logit is never the largest, is out of
    reach.
    """
    labels = torch.zeros(4, dtype=torch.int64)
    images, size = stadv(
        case_of(Middle(0.55), ramp, labels, 1.2, targets=torch.tensor([1, 2, 1, 2])), step=0.3, steps=12
    )
    assert Middle(0.55)(images).argmax(dim=1).tolist() == [1, 0, 1, 0]
    assert (size > 0).tolist() == [True, False, True, False] and torch.equal(images[1::2], ramp[1::2])


def test_no_budget_leaves_the_clean_image(small):
    images, size = stadv(case_of(small.model, small.images[4:], small.labels[4:], 0.0), step=0.1, steps=3)
    assert torch.equal(images, small.images[4:]) and not size.any()


def test_budget_and_box_hold_and_what_is_broken_is_broken_in_a_fresh_pass(small):
    case = case_of(small.model, small.images[4:], small.labels[4:], 0.3)
    images, size = stadv(case, step=0.1, steps=10)
    broken = small.model(images).argmax(dim=1) != small.labels[4:]
    assert broken.sum() > 3 and torch.equal(broken, size > 0)
    assert size.dtype == torch.float64 and size.max() <= 0.3 and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images[~broken], case.images[~broken])


def test_an_image_s_result_is_its_own(small):
    images, size = stadv(case_of(small.model, small.images[4:], small.labels[4:], 0.5), step=0.1, steps=10)
    for rows in ([11], [19, 0, 7]):
        part = stadv(
            case_of(small.model, small.images[4:][rows], small.labels[4:][rows], 0.5), step=0.1, steps=10
        )
        assert torch.equal(part[0], images[rows]) and torch.equal(part[1], size[rows])


def test_a_wider_budget_breaks_what_a_narrower_one_broke(small):
    counts = [
        int(
            (
                stadv(case_of(small.model, small.images[4:], small.labels[4:], eps), step=eps / 4, steps=12)[
                    1
                ]
                > 0
            ).sum()
        )
        for eps in (0.1, 0.3, 1.0, 3.0)
    ]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_passes_are_counted_and_no_generator_moves(small):
    case, before = case_of(small.model, small.images, small.labels, 0.3), torch.get_rng_state()
    stadv(case, step=0.1, steps=5)
    assert (case.model.forwards, case.model.backwards) == (6 * 24, 5 * 24)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_image_with_a_gradient_that_is_no_number_spoils_itself_alone(ramp):
    class Split(Middle):
        def forward(self, images):
            return (
                super().forward(images)
                + 0 * (images[:, 0, 0, 0] * (images[:, 0, 0, 8] > 0.69)).sqrt()[:, None]
            )

    black = ramp.clone()
    black[0, 0, 0, 0] = 0
    images, size = stadv(
        case_of(Split(0.55), black, torch.zeros(4, dtype=torch.int64), 1.2), step=0.3, steps=12
    )
    assert images.isfinite().all() and (size[1:] > 1).all()


def test_images_without_a_plane_are_refused_with_a_sentence():
    with pytest.raises(
        ValueError,
        match=r"^stadv moves pixels in the plane: images must be \[n, channels, height, width\], got \(2, "
        r"5\).$",
    ):
        stadv(case_of(nn.Linear(5, 2), torch.rand(2, 5), torch.tensor([0, 0]), 1.0), step=0.1, steps=1)


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
