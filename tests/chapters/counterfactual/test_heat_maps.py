import torch

from causalnb.chapters.counterfactual.heatmaps import heat_maps, overlap


def test_a_map_is_the_mean_of_the_causal_filters_from_least_to_greatest():
    a = torch.zeros(1, 3, 2, 2)
    a[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    a[0, 1] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    a[0, 2] = 100
    maps = heat_maps(a, torch.tensor([True, True, False]))
    assert torch.equal(maps, torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]))


def test_each_image_can_have_filters_of_its_own():
    a = torch.rand(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    causal = torch.tensor([[True, False, True, False], [False, True, False, False]])
    maps = heat_maps(a, causal)
    assert torch.equal(maps[:1], heat_maps(a[:1], causal[0])) and torch.equal(
        maps[1:], heat_maps(a[1:], causal[1])
    )
    assert (maps.flatten(1).amin(1) == 0).all() and (maps.flatten(1).amax(1) == 1).all()


def test_a_map_that_does_not_vary_is_0_and_overlaps_with_none():
    flat = heat_maps(torch.ones(1, 2, 4, 4), torch.tensor([True, False]))
    none = heat_maps(torch.rand(1, 2, 4, 4), torch.tensor([False, False]))
    assert (flat == 0).all() and (none == 0).all()
    assert overlap(flat, flat).item() == 0 and overlap(flat, torch.rand(1, 4, 4)).item() == 0


def test_overlap_is_the_intersection_of_the_brightest_over_their_union():
    one, other = torch.zeros(2, 1, 5, 5)
    one[0, 0], other[0, 0, :3], other[0, 1, :2] = 1.0, 1.0, 1.0
    one = one + torch.arange(25).view(5, 5) * 1e-6
    assert overlap(one, one).item() == 1
    assert overlap(one, other).item() == 3 / 7
    assert overlap(one, one.flip(1)).item() == 0
