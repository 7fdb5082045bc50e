"""A loss and a detector of the caller's, candidates of attacks that failed, and fgsm with targets."""

import torch
from torch import nn

from causalnb.attacks import ball, run

PGD = {"norm": "linf", "eps": 0.1, "step": 0.03, "steps": 8, "seed": 0}


def near(small, result, eps):
    assert (ball.distance(small.images, result.candidates, "linf") <= eps + 1e-6).all()
    assert result.candidates.min() >= 0 and result.candidates.max() <= 1


def test_candidates_are_the_success_or_the_last_that_was_tried(small):
    result = run("pgd", small.model, small.images, small.labels, **PGD | {"eps": 0.02, "step": 0.005})
    failed = result.correct & ~result.found
    assert result.found.any() and failed.any()
    assert torch.equal(result.candidates[result.found], result.images[result.found])
    moved = (result.candidates != small.images).flatten(1).any(1)
    assert moved[failed].all() and not moved[~result.correct].any()
    assert torch.equal(result.images[failed], small.images[failed])
    near(small, result, 0.02)


def test_with_every_image_tried_the_verdicts_stay_and_the_wrong_ones_have_candidates(small):
    plain, every = (
        run("pgd", small.model, small.images, small.labels, every=which, **PGD) for which in (False, True)
    )
    for name in ("images", "found", "predicted"):
        assert torch.equal(getattr(plain, name), getattr(every, name)), name
    assert torch.equal(plain.distance.nan_to_num(-1), every.distance.nan_to_num(-1))
    assert (every.candidates != small.images).flatten(1).any(1)[~every.correct].all()
    assert every.settings["every"] and "every" not in plain.settings


def test_the_cross_entropy_as_a_loss_of_ones_own_is_the_attack_itself(small):
    def loss(outputs, rows):
        return nn.functional.cross_entropy(outputs, small.labels[rows], reduction="none")

    for name in ("bim", "pgd", "fgsm"):
        settings = {"norm": "linf", "eps": 0.05, "seed": 0}
        settings |= {"step": 0.01, "steps": 10} if name != "fgsm" else {}
        plain = run(name, small.model, small.images, small.labels, **settings)
        own = run(name, small.model, small.images, small.labels, loss=loss, chunk=7, **settings)
        assert torch.equal(plain.images, own.images), name


def test_a_loss_is_climbed_with_targets_too_and_sees_each_image_s_own_row(small):
    targets = (small.labels + 1) % 5

    def loss(outputs, rows):
        return -nn.functional.cross_entropy(outputs, targets[rows], reduction="none")

    plain, own = (
        run("pgd", small.model, small.images, small.labels, targets=targets, loss=one, restarts=2, **PGD)
        for one in (None, loss)
    )
    assert torch.equal(plain.images, own.images) and plain.found.any()


def test_a_success_is_fooled_and_undetected(small):
    flagged = torch.arange(len(small.images)) % 2 == 0

    def detected(outputs, rows):
        return flagged[rows]

    plain = run("pgd", small.model, small.images, small.labels, **PGD)
    hidden = run("pgd", small.model, small.images, small.labels, detected=detected, chunk=5, **PGD)
    assert torch.equal(hidden.found, plain.found & ~flagged) and hidden.found.any()
    assert (hidden.candidates != small.images).flatten(1).any(1)[hidden.correct & flagged].all()


def test_columns_behind_the_classes_are_the_detector_s_alone(small):
    class Wider(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small.model

        def forward(self, images):
            return torch.cat([self.model(images), 100 + images.flatten(1).mean(1, keepdim=True)], 1)

    def detected(outputs, rows):
        return outputs[:, 5] > 100 + small.images[rows].flatten(1).mean(1)

    plain = run("pgd", small.model, small.images, small.labels, **PGD)
    wide = run("pgd", Wider(), small.images, small.labels, classes=5, **PGD)
    assert torch.equal(plain.images, wide.images)
    darker = run("pgd", Wider(), small.images, small.labels, classes=5, detected=detected, **PGD)
    found = darker.found
    assert 0 < found.sum() < plain.found.sum()
    assert (darker.images[found].flatten(1).mean(1) <= small.images[found].flatten(1).mean(1)).all()


def test_fgsm_with_targets_is_one_step_down_the_target_s_cross_entropy(small):
    targets = (small.labels + 1) % 5
    images = small.images.clone().requires_grad_()
    nn.functional.cross_entropy(small.model.eval()(images), targets, reduction="sum").backward()
    expected = (small.images - 0.05 * images.grad.sign()).clamp(0, 1)
    found = run(
        "fgsm", small.model, small.images, small.labels, norm="linf", eps=0.05, targets=targets, seed=0
    )
    assert torch.allclose(found.candidates[found.correct], expected[found.correct], atol=1e-6)


def test_within_a_smaller_budget_a_candidate_lies_in_it_too(small):
    result = run("ddn", small.model, small.images, small.labels, norm="l2", eps=None, steps=10, seed=0)
    cut = result.within(0.1)
    assert (ball.distance(small.images, cut.candidates, "l2") <= 0.1 + 1e-6).all()
    assert torch.equal(cut.candidates[cut.found], cut.images[cut.found])
