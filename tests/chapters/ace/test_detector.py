import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from causalnb.attacks.adversarial import ascend
from causalnb.chapters.ace import detector, readings
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.checks import layer
from causalnb.chapters.ace.detector import (
    Effects,
    Smoothed,
    auc_parts,
    enough,
    evade,
    features,
    scored,
    smooth_variation,
)
from causalnb.chapters.ace.interventions import interventional_table
from causalnb.models import lenet

READINGS = ("R1", "R3m", "R7x")
FOLD = torch.arange(30) % detector.FOLDS


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# The area under the curve ---------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_the_mean_of_the_parts_is_the_area_under_the_curve_with_ties_halved(digits):
    clean, suspicious = (
        torch.randn(40, generator=generator(seed), dtype=torch.float64).round(decimals=digits)
        for seed in (0, 1)
    )
    parts = auc_parts(clean, suspicious + 0.3)
    expected = roc_auc_score([0] * 40 + [1] * 40, torch.cat([clean, suspicious + 0.3]))
    assert parts.shape == (40,) and parts.mean().item() == pytest.approx(expected, abs=1e-12)
    tied = auc_parts(clean, suspicious)
    assert tied.mean().item() == pytest.approx(
        roc_auc_score([0] * 40 + [1] * 40, torch.cat([clean, suspicious])), abs=1e-12
    )


def test_detectors_that_know_all_or_nothing():
    scores = torch.arange(5.0)
    assert auc_parts(scores, scores + 10).tolist() == [1.0] * 5 and auc_parts(scores + 10, scores).mean() == 0
    assert auc_parts(torch.zeros(5), torch.zeros(5)).tolist() == [0.5] * 5


def test_the_spread_of_the_parts_is_the_sampling_error_with_both_versions_of_an_image_together():
    """The attacked score follows the clean one: as if of different images, the error would come out
    greater.
    """
    n, draws = 60, 400
    clean = torch.randn(draws, n, generator=generator(), dtype=torch.float64)
    suspicious = clean + 0.5 + 0.3 * torch.randn(draws, n, generator=generator(1), dtype=torch.float64)
    parts = torch.stack([auc_parts(*pair) for pair in zip(clean, suspicious, strict=True)])
    error = parts.mean(1).std().item()
    assert parts.std(1).mean().item() / math.sqrt(n) == pytest.approx(error, rel=0.12)
    apart = torch.stack([auc_parts(a, b) for a, b in zip(clean, suspicious.roll(1, 0), strict=True)])
    assert apart.std(1).mean().item() / math.sqrt(n) > 1.5 * error


# The detector ---------------------------------------------------------------------------------------------


def drawn(shift=0.0, seed=0):
    return torch.randn(30, 3, generator=generator(seed), dtype=torch.float64) + shift


@pytest.fixture
def case():
    """Features of 30 images: clean, attacked as fitted on, which attack succeeded, others."""
    return drawn(), drawn(1.0, 1), torch.arange(30) % 7 != 0, {"pgd": drawn(0.7, 2), "noise": drawn(0.0, 3)}


def test_features_are_the_papers_two_and_the_positive_mass():
    maps = torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 0, 0]], [[-1, -1, -1], [-1, -1, -1], [-1, -1, 3]]])
    assert torch.allclose(features(maps), torch.tensor([[8 / 9, 2 + math.sqrt(2), 1.0], [8 / 9, 0.0, 3.0]]))


def test_only_pairs_from_other_folds_that_were_broken_are_fitted_on(case):
    clean, fitted_on, broken, others = case
    before = scored(clean, fitted_on, broken, others)
    for image in (11, 18):
        assert broken[image]
        outlier = fitted_on.clone()
        outlier[image] = 40.0
        after = scored(clean, outlier, broken, others)
        for name in ("clean", "pgd", "noise"):
            same = after[name] == before[name]
            assert torch.equal(same, FOLD[image] == FOLD), name
    outlier = fitted_on.clone()
    outlier[~broken] = 40.0
    assert all(
        torch.equal(values, before[name]) for name, values in scored(clean, outlier, broken, others).items()
    )


def test_a_clean_version_is_in_no_fit_that_scores_another_version_of_its_image(case):
    clean, fitted_on, broken, others = case
    before, outlier = scored(clean, fitted_on, broken, others), clean.clone()
    outlier[11] = -40.0
    after = scored(outlier, fitted_on, broken, others)
    for name in others:
        assert torch.equal(after[name] == before[name], FOLD[11] == FOLD)
    assert after["clean"][11] < before["clean"][11] - 10


def test_versions_that_are_asked_about_teach_nothing(case):
    clean, fitted_on, broken, others = case
    before = scored(clean, fitted_on, broken, others)
    after = scored(clean, fitted_on, broken, others | {"noise": others["noise"] + 100})
    assert (
        torch.equal(after["pgd"], before["pgd"])
        and torch.equal(after["clean"], before["clean"])
        and (after["noise"] != before["noise"]).all()
    )


def test_the_attack_that_is_fitted_on_scores_higher_and_a_copy_of_the_clean_images_does_not(case):
    clean, _, broken, _ = case
    found = scored(clean, clean + 3, broken, {"fgsm": clean + 3, "copy": clean})
    assert auc_parts(found["clean"], found["fgsm"]).mean() > 0.9
    assert torch.equal(found["copy"], found["clean"])


@pytest.mark.parametrize(
    ("places", "holds"),
    [([], False), ([3], False), ([1, 6, 11], False), ([1, 2], True), ([4, 5], True), (range(12), True)],
)
def test_there_is_enough_to_fit_on_where_two_folds_have_broken_images(places, holds):
    broken = torch.zeros(12, dtype=torch.bool)
    broken[list(places)] = True
    assert enough(broken) == holds
    fitted_on = drawn(1.0, 1)[:12]
    if holds:
        assert scored(drawn()[:12], fitted_on, broken, {"pgd": fitted_on})["pgd"].isfinite().all()
    else:
        with pytest.raises(
            ValueError, match=f"{len(places)} broken images leave a fold without any to fit on"
        ):
            scored(drawn()[:12], fitted_on, broken, {})


# The attacker who knows -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy():
    """A smooth LeNet of 12 x 12 images with steep weights, its table, fill, images between grid values, and
    their predicted classes.
    """
    model = lenet(variant="tanh-average", classes=4, size=12, seed=1).double().eval()
    for parameter in model.parameters():
        parameter.data *= 2
        parameter.requires_grad_(False)
    rows, images = (
        torch.rand(n, 1, 12, 12, generator=generator(seed), dtype=torch.float64)
        for n, seed in ((20, 1), (3, 2))
    )
    table = interventional_table(model, rows, torch.linspace(0, 1, 4, dtype=torch.float64))
    return model, table, rows.mean(0), images, model(images).argmax(1)


def test_effects_are_the_maps_of_the_readings(toy):
    model, table, fill, images, classes = toy
    of = {"predicted": classes}
    found = {reading: Effects(reading, model, table, fill)(images, classes) for reading in READINGS}
    maps = readings.population(table, images, of) | readings.gradients(model, images, of)
    assert torch.allclose(found["R1"].float(), maps["R1.logit.predicted"], atol=1e-6)
    assert torch.allclose(found["R7x"].float(), maps["R7x.logit.predicted"], atol=1e-6)
    assert torch.allclose(
        found["R3m"].float(), maps["R7.logit.predicted"] * (images - fill)[:, 0].float(), atol=1e-6
    )
    assert min(maps[f"{reading}.logit.predicted"].abs().max() for reading in ("R1", "R7x")) > 1e-3


def test_effects_of_r3m_are_r3m_where_the_network_is_linear_and_its_limit_near_the_fill(toy):
    model, table, fill, images, classes = toy
    linear, of = nn.Sequential(nn.Flatten(), layer(144, 4)), {"predicted": classes}
    exact = readings.individual(linear, images, of, alphas=torch.zeros(1), fill=fill)["R3m.logit.predicted"]
    assert torch.allclose(Effects("R3m", linear, table, fill)(images, classes).float(), exact, atol=1e-5)
    near = 0.999 * fill + 0.001 * images
    limit = readings.individual(model, near, of, alphas=torch.zeros(1), fill=fill)["R3m.logit.predicted"]
    first = Effects("R3m", model, table, fill)(near, classes).float()
    assert (first - limit).abs().max() < 1e-3 * limit.abs().max()


@pytest.mark.parametrize("reading", READINGS)
def test_effects_have_the_gradient_that_finite_differences_have(toy, reading):
    model, table, fill, images, classes = toy
    effects, direction, weights = (
        Effects(reading, model, table, fill),
        *(torch.randn(3, 1, 12, 12, generator=generator(seed)).double() for seed in (3, 4)),
    )
    points, step = images.clone().requires_grad_(), 1e-6
    slope = (
        torch.autograd.grad((effects(points, classes) * weights[:, 0]).sum(), points)[0] * direction
    ).sum()
    ends = [(effects(images + sign * step * direction, classes) * weights[:, 0]).sum() for sign in (1, -1)]
    assert abs(slope.item()) > 1e-3 and slope.item() == pytest.approx(
        ((ends[0] - ends[1]) / (2 * step)).item(), rel=1e-4
    )


@pytest.mark.parametrize("reading", READINGS)
def test_effects_are_the_same_where_no_gradient_is_kept(toy, reading):
    model, table, fill, images, classes = toy
    effects = Effects(reading, model, table, fill)
    with torch.no_grad():
        quiet = effects(images, classes)
    assert torch.equal(quiet, effects(images, classes)) and not images.requires_grad


def test_smooth_variation_is_total_variation_with_a_gradient_where_a_map_is_flat():
    maps = torch.randn(5, 12, 12, generator=generator(), dtype=torch.float64)
    assert (smooth_variation(maps) - m.total_variation(maps)).abs().max() < 1e-4
    flat = torch.zeros(2, 12, 12, requires_grad=True)
    value = smooth_variation(flat)
    value.sum().backward()
    assert value.max() < 1e-3 and flat.grad.isfinite().all()
    uneven = maps.clone().requires_grad_()
    smooth_variation(uneven).sum().backward()
    assert uneven.grad.abs().max() > 0.1


def test_the_labels_logit_alone_rises_with_the_roughness(toy):
    model, table, fill, images, classes = toy
    effects, labels = Effects("R7x", model, table, fill), torch.tensor([3, 0, 1])
    clean = torch.tensor([2.0, 1.0, 0.5])
    added = Smoothed(model, effects, labels, clean, weight=5.0)(images) - model(images)
    rougher = 5.0 * (smooth_variation(effects(images, classes)) / clean - 1)
    assert (
        torch.allclose(added, rougher[:, None] * nn.functional.one_hot(labels, 4))
        and rougher.abs().min() > 1e-3
    )
    assert torch.equal(Smoothed(model, effects, labels, clean, weight=0.0)(images), model(images))


def test_the_search_begins_at_the_networks_own_loss(toy):
    model, table, fill, images, classes = toy
    effects = Effects("R1", model, table, fill)
    guarded = Smoothed(model, effects, classes, smooth_variation(effects(images, classes)), weight=50.0)
    assert torch.allclose(guarded(images), model(images), atol=1e-4)


def test_another_number_of_images_than_labels_is_refused(toy):
    model, table, fill, images, _ = toy
    guarded = Smoothed(
        model, Effects("R1", model, table, fill), torch.tensor([0, 1]), torch.ones(2), weight=1.0
    )
    with pytest.raises(ValueError, match="3 images for 2 labels"):
        guarded(images)


BUDGET = {"eps": 0.2, "step": 0.05, "steps": 8, "seed": 0}


@pytest.mark.parametrize("reading", READINGS)
def test_an_attacker_who_knows_finds_smoother_maps_within_the_budget(toy, reading):
    model, table, fill, _, _ = toy
    images = torch.rand(9, 1, 12, 12, generator=generator(5), dtype=torch.float64)
    labels, effects = model(images).argmax(1), Effects(reading, model, table, fill)
    alone = ascend(model, images, labels, norm="linf", **BUDGET)
    ends = {
        weight: evade(model, effects, images, labels, weight=weight, **BUDGET) for weight in (0.0, 0.3, 3.0)
    }
    assert torch.equal(ends[0.0], alone) and not torch.equal(ends[0.0], images)
    rough = [smooth_variation(effects(some, model(some).argmax(1))).mean().item() for some in ends.values()]
    assert rough[0] > rough[1] > rough[2]
    for some in ends.values():
        assert (some - images).abs().max() <= 0.2 + 1e-6 and some.min() >= 0 and some.max() <= 1


def test_an_attacker_who_knows_may_have_few_images(toy):
    model, table, fill, images, labels = toy
    ends = evade(model, Effects("R7x", model, table, fill), images, labels, weight=3.0, **BUDGET)
    assert ends.shape == images.shape and not torch.equal(ends, images)
