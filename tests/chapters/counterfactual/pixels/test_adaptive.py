"""Attacks by someone who knows the detectors."""

import pytest
import torch

from causalnb.attacks import ball
from causalnb.chapters.counterfactual import adaptive, detectors, knowing, orthogonal
from causalnb.chapters.counterfactual.adaptive import Chase
from causalnb.chapters.counterfactual.attacked import Condition


def some(has, n=8):
    return has.net.attacked.images[:n], has.net.attacked.labels[:n]


def test_matching_brings_the_features_nearer_to_the_guide_and_stays_in_the_ball(run, has):
    images, labels = some(has)
    outputs = has.head.of(images)
    guides = adaptive.guides(has.head, has.known, outputs, adaptive.runners_up(has.head, outputs, labels))
    eps = run.p.eps(8)
    found = adaptive.matched(has.net.model, has.net.layer, images, labels, guides, eps=eps, steps=8, seed=0)
    before, after = (
        (has.head.features(has.head.of(one)) - guides).norm(dim=1) for one in (images, found.candidates)
    )
    assert (after < before)[found.correct].all()
    assert (ball.distance(images, found.candidates, "linf") <= eps + 1e-6).all()


def test_a_guide_is_the_nearest_training_image_of_its_class(has):
    images, labels = some(has)
    outputs = has.head.of(images)
    targets = (labels + 1) % 10
    guides = adaptive.guides(has.head, has.known, outputs, targets)
    for row, target in enumerate(targets):
        kept = has.known.kept[has.known.labels == target]
        apart = (kept - has.head.features(outputs)[row]).norm(dim=1)
        assert torch.equal(guides[row], kept[apart.argmin()])


@pytest.mark.parametrize("name", knowing.ATTACKED)
def test_what_evades_is_fooled_undetected_and_in_the_ball_of_8_bits(run, has, knows, name):
    found, limits = knows.evading[name, 8.0], knowing.limits(has, name)
    images, labels = some(has)
    at = detectors.prototypes_of(has.known)
    chase = Chase(has.head, has.known, at, labels, limits)
    outputs = has.head.of(found.images)
    rows = torch.arange(len(images))
    assert (has.head.logits(outputs).argmax(1) != labels)[found.found].all()
    assert not chase.detected(outputs, rows)[found.found].any()
    assert (found.images * 255 - (found.images * 255).round()).abs().max() < 1e-3
    assert (ball.distance(images, found.images, "linf") <= run.p.eps(8) + 0.5 / 255 + 1e-6).all()
    assert (found.fooled | ~found.found).all() and (found.correct | ~found.found).all()


@pytest.mark.parametrize("name", knowing.ORTHOGONAL)
def test_orthogonal_gradients_find_what_is_misled_undetected_and_in_the_ball(run, has, knows, name):
    found, limits = knows.orthogonal[name, 8.0], knowing.limits(has, name)
    images, labels = some(has)
    chase = Chase(has.head, has.known, detectors.prototypes_of(has.known), labels, limits)
    outputs = has.head.of(found.images)
    assert (has.head.logits(outputs).argmax(1) != labels)[found.found].all()
    assert not chase.detected(outputs, torch.arange(len(images)))[found.found].any()
    assert (ball.distance(images, found.images, "linf") <= run.p.eps(8) + 0.5 / 255 + 1e-6).all()
    assert (found.fooled | ~found.found).all() and (found.correct | ~found.found).all()


def test_a_step_is_orthogonal_to_the_gradient_whose_turn_it_is_not(has, shown):
    images, labels = has.net.attacked.images[:12], has.net.attacked.labels[:12]
    moved = shown[Condition("pgd_u", 24.0)].result.candidates[:12]
    both = torch.cat([images, moved])
    reached = has.head.logits(has.head.of(moved)).argmax(1)
    targets = torch.cat([(labels + 1) % 10, reached])
    entrance, at = orthogonal.Entrance(), detectors.prototypes_of(has.known)
    chase = Chase(has.head, has.known, at, targets, {"mahalanobis": 1.0})
    given, rows = both.clone().requires_grad_(), torch.arange(24)

    def gradient(loss):
        outputs = has.head(entrance(given))
        return torch.autograd.grad(loss(outputs).sum(), given)[0].flatten(1)

    step = gradient(lambda outputs: orthogonal._climbed(chase, entrance, outputs, rows))
    mislead = gradient(lambda outputs: chase.confidence(outputs, rows))
    hide = gradient(lambda outputs: chase.suspicion(outputs, rows))
    misled = torch.arange(24) >= 12
    assert torch.equal(has.head.logits(has.head.of(both)).argmax(1) == targets, misled)
    other, turn = torch.where(misled[:, None], mislead, hide), torch.where(misled[:, None], hide, mislead)
    cosine = torch.nn.functional.cosine_similarity(step, other, dim=1)
    assert cosine.abs().max() < 1e-3 and ((step * turn).sum(1) <= 1e-6).all()
    assert (step.norm(dim=1) > 0).any()


def test_a_detector_that_flags_nothing_is_evaded_wherever_the_network_is_fooled(run, has):
    images, labels = some(has)
    given = (has.known, images, labels, (labels + 1) % 10)
    asked = {"eps": run.p.eps(16), "steps": 5, "rounds": 1, "seed": 0}
    free, closed = (
        adaptive.evade(has.net.model, has.net.layer, *given, limits={"softmax": limit}, **asked)
        for limit in (1e9, -1e9)
    )
    assert torch.equal(free.found, free.fooled) and free.found.any() and not closed.found.any()


@pytest.mark.parametrize("name", adaptive.SURROGATES)
def test_a_surrogate_is_above_zero_with_a_gradient_where_its_detector_flags(has, shown, name):
    images = shown[Condition("pgd_u", 24.0)].result.candidates[:20].clone().requires_grad_()
    outputs = has.head(images)
    at = detectors.prototypes_of(has.known)
    classes = has.head.logits(outputs).argmax(1)
    scores = adaptive.score_named(has.head, has.known, at, outputs.detach(), (name,))[name]
    limit = float(scores.quantile(0.3))
    chase = Chase(has.head, has.known, at, classes, {name: limit})
    suspicion = chase.suspicion(outputs, torch.arange(20))
    suspicion.sum().backward()
    assert suspicion.isfinite().all() and images.grad.isfinite().all()
    flagged = scores > limit
    assert flagged.any() and (suspicion > 0)[flagged].all()
    assert (images.grad.flatten(1).abs().amax(1) > 0)[flagged].all()


def test_a_planted_detector_is_a_linear_score_of_the_features(has):
    features = has.head.features(has.test.outputs)
    first, second = features[:1], features[1:2]
    both = adaptive.planted(has.known, (first + second) / 2)
    mean = (adaptive.planted(has.known, first) + adaptive.planted(has.known, second)) / 2
    assert torch.allclose(both, mean, atol=1e-6)
