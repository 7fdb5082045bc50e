"""Ground truths G1 to G6, by numbers worked out here and not by the package's own checks, which are run too."""

import math

import pytest
import torch

from causalnb.chapters.counterfactual import checks, closed_forms, readings, strategies
from causalnb.chapters.counterfactual.filters import Filters, ci


@pytest.mark.parametrize("id", checks.CHECKS)
def test_each_check_holds(id):
    made = checks.CHECKS[id]()
    assert made.holds and made.id == f"check.{id}" and made.n > 0 and made.what


def planted(**options):
    weights, bias, responses = closed_forms.drawn_head(classes=4, filters=20, n=5, **options)
    return weights, bias, responses, closed_forms.planted(weights, bias), closed_forms.images_of(responses)


def test_g1_a_planted_filter_responds_to_its_own_block_alone():
    weights, bias, responses, model, images = planted()
    assert torch.equal(model.relu(model.conv(images))[..., 0, 0], responses)
    assert (model(images) - (responses @ weights.T + bias)).abs().max() < 1e-14


def test_g1_a_filter_is_causal_where_its_vote_for_the_class_beats_the_mean_of_all():
    weights, _, responses, model, images = planted()
    found, p = ci(model, images, "relu"), model(images).softmax(1)
    for n, y in enumerate(found.classes.tolist()):
        for i in range(20):
            votes = torch.exp(-weights[:, i] * responses[n, i])
            assert bool(found.ci[n, i] > 0) == bool(votes[y] < (p[n] * votes).sum()) or i < 4


def test_g1_a_constant_added_to_a_filters_votes_changes_nothing():
    weights, bias, _, model, images = planted()
    shifted = weights.clone()
    shifted[:, 7] += 5.0
    other = ci(closed_forms.planted(shifted, bias), images, "relu")
    assert (other.ci - ci(model, images, "relu").ci).abs().max() < 1e-12


def test_g1_a_vote_for_the_class_can_still_be_a_stronger_one_for_the_next():
    model = closed_forms.planted(torch.tensor([[1.0, 2.0], [2.0, 0.0]], dtype=torch.float64))
    found = ci(model, closed_forms.images_of(torch.tensor([[0.5, 1.0]]).double()), "relu")
    assert found.classes.tolist() == [0] and found.ci[0, 0] < 0 < found.ci[0, 1]


def test_g1_causal_filters_of_two_classes_are_the_positive_votes():
    model, image = closed_forms.two_classes([3.0, -1.0, 0.5, -0.25, 2.0])
    found = ci(model, image, "relu")
    assert (found.ci[0] > 0).tolist() == [True, False, True, False, True]
    assert found.margin.item() == pytest.approx(4.25)


@pytest.mark.parametrize("how", [closed_forms.either, closed_forms.greatest])
def test_g2_two_filters_that_stand_in_for_each_other_have_no_ci_and_as_a_pair_all_of_it(how):
    model = closed_forms.Redundant(3.0, how)
    image = torch.ones(1, 1, 2, 1, dtype=torch.float64)
    assert (ci(model, image, "read.relu").ci == 0).all()

    def logits(responses):
        margin = 3.0 * how(responses)
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    falls = closed_forms.fall_without(logits, torch.ones(1, 2).double(), [[0], [1], [0, 1]])[0]
    whole = 1 / (1 + math.exp(-3)) - 0.5
    assert falls.tolist() == pytest.approx([0, 0, whole], abs=1e-12)
    shares = closed_forms.shapley_of_two(falls[None, :2], falls[None, 2])
    assert shares[0].tolist() == pytest.approx([whole / 2, whole / 2])


def test_g2_shapley_values_of_filters_that_add_up_are_their_own_falls():
    falls = torch.tensor([[0.2, 0.1]])
    assert closed_forms.shapley_of_two(falls, falls.sum(1)).tolist() == [pytest.approx([0.2, 0.1])]


def test_g3_a_stale_mask_changes_signs_and_zeros_and_leaves_correlations_and_ranks():
    _, _, _, model, images = planted()
    right = ci(model, images, "relu").ci
    wrong = readings.stale(right)
    one, other = (strategies.pearson(c[:2], c[2:4]).rho for c in (right, wrong))
    assert (one - other).abs().max() < 1e-12
    assert torch.equal(right.argsort(dim=1, stable=True)[:, :8], wrong.argsort(dim=1, stable=True)[:, :8])
    assert (strategies.causal(right) != strategies.causal(wrong)).any()
    assert (strategies.zeros(right) != strategies.zeros(wrong)).all()


def test_g4_a_dead_filter_counts_behind_batch_norm_and_not_before_it():
    model, images, c = closed_forms.dead_behind_norm()
    assert abs(c) > 0.01 and (model.relu(model.conv(images))[:, 0] == 0).all()
    assert (ci(model, images, "bn").ci[:, 0].abs() > 1e-4).all()
    assert (ci(model, images, "relu").ci[:, 0] == 0).all()


def test_g5_where_a_removal_swaps_classes_the_readings_differ_by_hand():
    model, image, (own, largest) = closed_forms.swapping()
    assert model(image).softmax(1)[0].tolist() == pytest.approx([0.5, 0.45, 0.05])
    assert (own, largest) == (pytest.approx(1 / 3), pytest.approx(0.6))
    text, code = (ci(model, image, "relu", reading=r).ci[0, 0].item() for r in ("text", "code"))
    assert (text, code) == (pytest.approx(1 / 6), pytest.approx(-0.1))


def test_g6_zeros_of_float32_grow_with_the_logits_and_those_of_log_odds_do_not():
    found = checks.zeros_at([1, 10, 40, 160])
    assert found["float32"][0] < 0.05 < found["float32"][2] < found["float32"][3]
    assert found["log-odds"] == [0] * 4 and found["exact"] == [0] * 4
    assert found["float64"][3] > 0 and all(
        wide >= narrow for wide, narrow in zip(found["float32"], found["float64"], strict=True)
    )


def test_removing_a_filter_is_removing_its_whole_map():
    weights, bias, responses, model, images = planted()
    masked = images.clone()
    masked[:, :, 14:16] = 0  # the block of filter 7
    removed = Filters(model, "relu").logits(images)
    assert (removed.without[:, 7] - model(masked)).abs().max() < 1e-14
