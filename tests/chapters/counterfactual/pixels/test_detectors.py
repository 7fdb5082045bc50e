"""Scores of detectors: closed forms, and one way against another."""

import math

import torch

from causalnb.chapters.counterfactual import adaptive, detectors
from causalnb.chapters.counterfactual.detectors import References, union
from causalnb.detection import threshold_at


def references(**changed):
    kept = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    made = {
        "prototypes": kept,
        "classes": torch.arange(2),
        "images": torch.arange(2),
        "vectors": {},
        "filters": 2,
        "means": kept.double(),
        "precision": torch.eye(2, dtype=torch.float64),
        "kept": kept,
        "labels": torch.arange(2),
        "width": 1.0,
    }
    return References(**made | changed)


def test_mahalanobis_distance_is_to_the_nearest_mean_in_units_of_the_spread():
    precision = torch.diag(torch.tensor([4.0, 1.0], dtype=torch.float64))
    found = detectors.nearest_mean(references(precision=precision), torch.tensor([[0.5, 0.0], [2.0, 3.0]]))
    assert found.tolist() == [1.0, 9.0]


def test_density_is_a_gaussian_kernel_s_around_the_class_s_own_images():
    found = detectors.sparsity(references(width=2.0), torch.tensor([[1.0, 0.0]] * 2), torch.tensor([0, 1]))
    assert torch.allclose(found, torch.full((2,), 1 / 8, dtype=torch.float64))
    kept = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    two = references(kept=kept, labels=torch.tensor([0, 0, 1]), width=1.0)
    assert detectors.sparsity(two, torch.tensor([[0.0, 0.0]]), torch.tensor([0])).item() == 0


def test_confidence_scores_fall_as_the_network_grows_surer():
    logits = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [60.0, 0.0, 0.0]])
    found = detectors.of_confidence(logits)
    assert all((one.diff() < 0).all() for one in found.values())
    assert math.isclose(found["margin"][1].item(), -2.0) and math.isclose(
        found["softmax"][2].item(), math.log(2) - 60, rel_tol=1e-9
    )


def test_a_median_of_a_window_takes_out_a_single_pixel():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 1
    assert detectors.median(image, 3).abs().max() == 0
    assert detectors.median(torch.full((1, 1, 4, 4), 0.3), 2).unique().tolist() == [torch.tensor(0.3).item()]


def test_noise_belongs_to_an_image_whatever_its_batch():
    images = torch.rand(3, 1, 4, 4)
    whole = detectors.noisy(images, size=0.1, seed=0)
    assert torch.equal(whole[2:], detectors.noisy(images[2:], size=0.1, seed=0))
    assert not torch.equal(whole, detectors.noisy(images, size=0.1, seed=0, draw=1))


def test_shifts_are_none_for_a_network_whose_leads_do_not_move():
    def model(images):
        return torch.tensor([[1.0, 0.0, 2.0]]).expand(len(images), 3) + images.flatten(1).mean(1)[:, None]

    class Flat(torch.nn.Module):
        def forward(self, images):
            return model(images)

    found = detectors.shifts(Flat(), torch.rand(4, 1, 2, 2), size=0.2, repeats=3, seed=0)
    assert found.abs().max() < 1e-6


def test_the_test_of_log_odds_asks_for_the_largest_standardised_shift_towards_another_class():
    known = detectors.Odds(torch.zeros(3, 3), torch.tensor([[1.0, 2.0, 4.0]] * 3))
    found = detectors.of_odds(known, torch.tensor([[9.0, 1.0, 4.0]]), torch.tensor([0]))
    assert found.tolist() == [1.0]


def test_the_union_flags_where_a_strategy_exceeds_its_limit_and_nowhere_else():
    generator = torch.Generator().manual_seed(0)
    names = list(detectors.STRATEGIES.values())

    def drawn(n):
        return {
            name: torch.randint(-6, 6, (n,), generator=generator).double()
            if name != "S2.rho"
            else torch.randn(n, generator=generator).double()
            for name in names
        }

    held_out, found = drawn(200), drawn(500)
    own = union(held_out, held_out)
    for rate in (0.05, 0.2):
        fixed = threshold_at(rate, own.numpy())
        limits = adaptive.limits_of_union(held_out, fixed.value)
        over = torch.stack([found[name] > limit for name, limit in limits.items()]).any(0)
        assert torch.equal(torch.from_numpy(fixed.flags(union(held_out, found).numpy())), over)
        assert fixed.realised.value <= rate


def test_prototypes_are_the_surest_images_that_are_right(has):
    outputs, labels = has.held_out.outputs, has.net.held_out.labels
    rows = detectors.surest(has.head, outputs, labels)
    found = has.head.information(outputs)
    right = found.classes == labels
    for row in rows:
        same = right & (labels == labels[row])
        assert right[row] and found.margin[row] == found.margin[same].max()


def test_every_score_is_a_finite_number_of_each_image(has, shown):
    sets = [has.test, has.held_out, *(one.seen for one in shown.values())]
    for seen in sets:
        assert all(one.shape == (len(seen.outputs),) and one.isfinite().all() for one in seen.scores.values())


def test_scores_of_a_few_names_are_those_of_all(has):
    names = (*detectors.STRATEGIES.values(), "rho.g", "softmax", "mahalanobis")
    at = detectors.prototypes_of(has.known)
    few = adaptive.score_named(has.head, has.known, at, has.test.outputs, names)
    for name in names:
        assert torch.allclose(few[name], has.test.scores[name], atol=1e-9), name
