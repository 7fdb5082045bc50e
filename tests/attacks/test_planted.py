from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.attacks import ball, run
from causalnb.attacks.planted import (
    THIN,
    WIDE,
    inner_points,
    planted,
    planted_control,
    random_search,
    readout,
    widest,
)

BUDGETS = [("linf", 0.1), ("l2", 0.5)]
PLACE = {"norm": "linf", "eps": 0.1, "seed": 0}
PGD = partial(run, "pgd", step=0.25 / 40, steps=40, **PLACE)


@pytest.fixture
def clean(small):
    return small.images[:8]


@pytest.mark.parametrize("margin", [THIN, WIDE])
@pytest.mark.parametrize(("norm", "eps"), BUDGETS)
def test_the_planted_point_is_class_1_and_the_image_and_its_inner_points_class_0(
    small, clean, norm, eps, margin
):
    inner = inner_points(clean, norm=norm, eps=eps, seed=3, inner=50)
    for one, image, some in zip(
        planted(small.model, clean, norm=norm, eps=eps, seed=3, inner=50, margin=margin),
        clean,
        inner,
        strict=True,
    ):
        gaps = one(torch.cat([image[None], some, one.point])).detach().diff(dim=1)[:, 0]
        assert torch.equal(one.image[0], image)
        assert gaps[-1] == pytest.approx(margin, abs=1e-3)
        assert gaps[:-1].max() == pytest.approx(margin - 1, abs=1e-3)


@pytest.mark.parametrize(("norm", "eps"), BUDGETS)
def test_the_planted_point_lies_at_eps_and_inner_points_strictly_inside(small, clean, norm, eps):
    points = torch.cat(
        [one.point for one in planted(small.model, clean, norm=norm, eps=eps, seed=0, inner=20)]
    )
    assert ball.distance(clean, points, norm).tolist() == pytest.approx([eps] * len(clean), abs=1e-5)
    assert 0 <= points.min() <= points.max() <= 1
    inner = inner_points(clean, norm=norm, eps=eps, seed=0, inner=20)
    for k in range(20):
        assert ball.distance(clean, inner[:, k], norm).max() <= 0.99 * eps


@pytest.mark.parametrize(("norm", "eps"), BUDGETS)
def test_pgd_finds_what_was_planted_and_random_search_does_not(small, clean, norm, eps):
    attack = partial(run, "pgd", norm=norm, eps=eps, step=eps / 16, steps=40, seed=0)
    control = planted_control(attack, small.model, clean, norm=norm, eps=eps, seed=0)
    assert control.attack == (8, 8) and control.random[0] <= 1 and control.queries == 40
    assert control.passed
    assert (
        str(control)
        == f"the attack breaks 8 of 8 planted images, random search with 40 points each {control.random[0]}; "
        "0 of 8 images could not be planted"
    )


def mirrored(model, images, labels):
    result = PGD(model, images, labels)
    return replace(result, images=(2 * images - result.images).clamp(0, 1))


def boasting(model, images, labels):
    return replace(PGD(model, images, labels), images=images, found=torch.ones(1, dtype=torch.bool))


def overreaching(model, images, labels):
    return run("pgd", model, images, labels, norm="linf", eps=0.4, step=0.1, steps=40, seed=0)


def outside(model, images, labels):
    result = PGD(model, images, labels)
    return replace(result, images=torch.where(result.images == 0, -1e-4, result.images))


@pytest.mark.parametrize(
    "attack", [mirrored, boasting, overreaching, outside, partial(run, "pgd", step=1e-6, steps=2, **PLACE)]
)
def test_a_broken_attack_fails_the_control(small, clean, attack):
    control = planted_control(attack, small.model, clean[:4], inner=30, **PLACE)
    assert control.attack == (0, 4)
    assert not control.passed


def test_a_model_whose_vulnerability_is_removed_is_not_reported_broken(small, clean):
    def sealed(model, images, labels):
        model.weight.zero_()
        model.bias.fill_(-1)
        return PGD(model, images, labels)

    control = planted_control(sealed, small.model, clean[:3], inner=50, **PLACE)
    assert control.attack == (0, 3) and control.random == (0, 3) and not control.passed


def test_random_search_finds_a_large_region_and_so_fails_the_control(small, clean):
    def loose(model, images, labels):
        model.bias.fill_(10)
        return PGD(model, images, 1 - labels)

    one = planted(small.model, clean[:1], inner=50, **PLACE)[0]
    assert not random_search(one, queries=50, **PLACE)
    assert not random_search(one, queries=0, **PLACE)
    control = planted_control(loose, small.model, clean[:3], inner=50, **PLACE)
    assert control.random[0] == 3 and not control.passed


def test_an_image_whose_features_do_not_separate_the_point_cannot_be_planted(clean):
    blind = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Linear(4, 3))
    nn.init.zeros_(blind[1].weight)
    assert planted(blind, clean, inner=20, **PLACE) == [None] * 8
    control = planted_control(PGD, blind, clean, inner=20, **PLACE)
    assert control.attack == (0, 0) and not control.passed
    assert "8 of 8 images could not be planted" in str(control)


def test_a_crowded_feature_cannot_be_planted_and_is_counted(clean):
    control = planted_control(
        PGD, nn.Sequential(nn.Flatten(), nn.Linear(36, 1), nn.Linear(1, 3)), clean, inner=300, **PLACE
    )
    assert control.attack[1] < 8 == control.images


def test_an_image_is_planted_alike_alone_and_in_any_batch(small, clean):
    whole = planted(small.model, clean, inner=20, **PLACE)
    alone = planted(small.model, clean[5:6], inner=20, **PLACE)[0]
    assert torch.equal(alone.point, whole[5].point)
    assert torch.allclose(alone.weight, whole[5].weight, rtol=1e-3, atol=1e-3)
    other = planted(small.model, clean[5:6], inner=20, **PLACE | {"seed": 1})[0]
    assert not torch.equal(alone.point, other.point)


def test_given_features_are_read_of_any_function(clean):
    read = partial(torch.flatten, start_dim=1)
    control = planted_control(PGD, lambda images: images, clean[:4], inner=100, features=read, **PLACE)
    assert control.attack == (4, 4) and control.passed


def test_what_has_no_features_is_refused_with_a_sentence(clean):
    with pytest.raises(UserError, match="plain function: give features"):
        planted(lambda images: images, clean, **PLACE)
    with pytest.raises(UserError, match=r"calls no nn\.Linear"):
        planted(nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten()), clean, **PLACE)
    with pytest.raises(UserError, match=r"takes \(32, 6\) for 16 images"):
        planted(
            nn.Sequential(nn.Conv2d(1, 2, (6, 1)), nn.Flatten(0, 2), nn.Linear(6, 3)),
            clean,
            inner=14,
            **PLACE,
        )
    with pytest.raises(ValueError, match="nothing can be planted in 'flow'"):
        planted(nn.Linear(6, 2), clean, norm="flow", eps=1.0, seed=0)


def test_the_features_are_what_enters_the_linear_layer_that_is_called_last(small, clean):
    one = planted(small.model, clean[:1], inner=10, **PLACE)[0]
    assert torch.equal(one.features(clean), small.model[:5](clean))


def test_features_without_a_gradient_fail_the_control(small, clean):
    read = lambda images: small.model[:5](images.detach()).detach()  # noqa: E731
    control = planted_control(PGD, small.model, clean[:4], inner=50, features=read, **PLACE)
    assert control.attack[0] == 0 and not control.passed


def test_the_network_is_left_as_it_was(small, clean):
    small.model.train()
    before = {name: values.clone() for name, values in small.model.state_dict().items()}
    planted_control(PGD, small.model, clean[:2], inner=10, **PLACE)
    assert all(module.training for module in small.model.modules())
    assert all(parameter.requires_grad for parameter in small.model.parameters())
    assert not any(module._forward_pre_hooks for module in small.model.modules())
    assert all(torch.equal(values, before[name]) for name, values in small.model.state_dict().items())


def test_the_widest_readout_is_the_best_of_all_directions_in_the_plane():
    rows = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + torch.tensor(
        [2.5, 1.0]
    )
    angles = torch.linspace(0, 2 * torch.pi, 100_001, dtype=torch.float64)
    best = (torch.stack([angles.cos(), angles.sin()], dim=1) @ rows.T).amin(dim=1).max()
    assert float((rows @ widest(rows)).min()) == pytest.approx(float(best), abs=1e-4)


def test_a_readout_separates_whatever_can_be_separated_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 60, generator=generator, dtype=torch.float64) * torch.logspace(
        0, 3, 60, dtype=torch.float64
    )
    assert (rows @ readout(rows)).min() > 0
    around = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    assert (around @ readout(around)).min() <= 1e-9
