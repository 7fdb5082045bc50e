import doctest
import math
import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from causalnb import UserError
from causalnb.attacks import run
from causalnb.attacks.randomised import Draws, Expectation, Fixed, StraightThrough, Surrogate, rescore

EPS = 0.1
PGD = {"norm": "linf", "eps": EPS, "step": EPS / 4, "steps": 20, "seed": 0}


class Line(nn.Module):
    """Logits (0, w (x - 0.5)), w of +1 and -1: an image goes over at the L-inf budget |w (x - 0.5)| / 64."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, generator=torch.Generator().manual_seed(3)).sign())

    def forward(self, images):
        over = (images.flatten(1) - 0.5) @ self.weight
        return torch.stack([torch.zeros_like(over), over], dim=1)


class Shattered(Line):
    """`Line` and a wave at each pixel, of random phase at every pass: its mean is zero, its slope ten times
    the weight's.
    """

    def forward(self, images):
        pixels = images.flatten(1)
        wave = 0.1 * torch.sin(100 * pixels + 2 * math.pi * torch.rand_like(pixels)).sum(dim=1)
        return super().forward(images) + torch.stack([torch.zeros_like(wave), wave], dim=1)


class Noisy(nn.Module):
    """Images as logits, with noise from torch's, numpy's and Python's generators."""

    def forward(self, images):
        logits = images.flatten(1)
        return (
            logits * (1 + 0.01 * torch.randn(4))
            + np.random.rand()
            + random.random() * torch.rand_like(logits)
        )


class Coin(nn.Module):
    """Class 0, or with the given chance class 1, for each image and pass."""

    def __init__(self, chance):
        super().__init__()
        self.chance = chance

    def forward(self, images):
        wrong = (torch.rand(len(images)) < self.chance).float()
        return torch.stack([1 - wrong, wrong], dim=1)


class Purified(nn.Module):
    """A classifier behind 5 descents of 0.1 on the energy x A x / 2: the same as (1 - 0.1 A)^5 x."""

    def __init__(self, energy, classifier):
        super().__init__()
        self.energy, self.classifier = nn.Parameter(energy), classifier

    def forward(self, images):
        with torch.enable_grad():
            pixels = images.flatten(1) if images.requires_grad else images.flatten(1).requires_grad_()
            for _ in range(5):
                slope = torch.autograd.grad(
                    ((pixels @ self.energy) * pixels).sum() / 2, pixels, create_graph=True
                )[0]
                pixels = pixels - 0.1 * slope
            return self.classifier(pixels)


@pytest.fixture
def halfway():
    """64 images [1, 8, 8] whose distance to `Line`'s boundary is 0.4 to 0.6 of EPS, on both sides, and their
    classes.
    """
    weight = Line().weight.detach()
    across = 0.05 * torch.randn(64, 64, generator=torch.Generator().manual_seed(4))
    side = torch.tensor([1.0, -1.0]).repeat(32)
    along = (side * torch.linspace(0.4, 0.6, 64) * EPS)[:, None] * weight
    return (0.5 + along + across - (across @ weight)[:, None] * weight / 64).reshape(64, 1, 8, 8), (
        side > 0
    ).long()


def gradient(model, images):
    images = images.clone().requires_grad_()
    model(images).square().sum().backward()
    return images.grad


def share(counts):
    return counts[0] / counts[1]


def test_a_wave_of_random_phase_hides_from_pgd_and_not_from_pgd_on_the_expectation(halfway):
    model, (images, labels) = Shattered(), halfway
    plain = run("pgd", model, images, labels, **PGD)
    averaged = run("pgd", Expectation(model, 64), images, labels, **PGD)
    assert share(rescore(model, images, labels, seed=1).mean) == 1
    assert share(rescore(model, plain.images, labels, seed=1).mean) > 0.5
    assert share(rescore(model, averaged.images, labels, seed=1).mean) < 0.1


def test_the_expectation_of_logits_and_its_gradient_are_the_means_over_passes_of_their_own():
    images, model = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), Shattered()
    torch.manual_seed(5)
    passes = [images.clone().requires_grad_() for _ in range(7)]
    logits = torch.stack([model(some) for some in passes])
    logits.mean(dim=0)[:, 1].sum().backward()
    torch.manual_seed(5)
    together = images.clone().requires_grad_()
    mean = Expectation(model, 7)(together)
    mean[:, 1].sum().backward()
    assert torch.allclose(mean, logits.mean(dim=0)) and logits.std(dim=0)[:, 1].min() > 0.1
    assert torch.allclose(together.grad, sum(some.grad for some in passes), rtol=1e-4)


def test_draws_differ_where_the_model_draws_once_for_a_whole_batch():
    seen = []
    Expectation(lambda images: seen.append(torch.rand(()).item()) or images, 5)(torch.rand(4, 2))
    assert len(set(seen)) == 5


def test_the_expectation_of_probabilities_is_the_logarithm_of_their_mean():
    answers = iter([torch.tensor([[0.0, 3.0]]), torch.tensor([[200.0, 0.0]])])
    logits = Expectation(lambda images: next(answers), 2, of="probabilities")(torch.zeros(1, 1))
    expected = (torch.tensor([[0.0, 3.0]]).softmax(dim=1) + torch.tensor([[1.0, 0.0]])) / 2
    assert torch.allclose(logits, expected.log())


def test_straight_through_lets_pgd_through_a_quantisation_that_stops_it(halfway):
    images, labels = halfway
    images = ((images - 0.5) * 4 + 0.5).clamp(0, 1)
    settings = PGD | {"eps": 4 * EPS, "step": EPS}

    def quantise(images):
        return (images * 3).round() / 3

    line = Line()
    stopped = run("pgd", lambda images: line(quantise(images)), images, labels, **settings)
    through = run("pgd", nn.Sequential(StraightThrough(quantise), line), images, labels, **settings)
    assert stopped.correct.sum() > 50 and stopped.success_among_correct[0] == 0
    broken = line(quantise(through.images)).argmax(dim=1) != labels
    assert (
        torch.equal(broken[through.correct], through.found[through.correct])
        and share(through.success_among_correct) > 0.9
    )


@pytest.mark.parametrize(
    "function",
    [torch.round, lambda images: images, lambda images: torch.from_numpy(np.round(images.numpy()))],
    ids=["rounding", "identity", "numpy"],
)
def test_straight_through_is_the_function_forward_and_the_identity_backward(function):
    images = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    wrapped = images.clone().requires_grad_()
    given = StraightThrough(function)(wrapped)
    (given**2).sum().backward()
    assert torch.equal(given, function(images)) and torch.allclose(wrapped.grad, 2 * function(images))


def test_a_surrogate_gives_its_gradient_and_not_one_bit_of_its_logits():
    stand_in, images = nn.Linear(4, 3), torch.rand(5, 4)

    def model(images):
        return torch.from_numpy(images.numpy()[:, :3] ** 2)

    wrapped = images.clone().requires_grad_()
    logits = Surrogate(model, stand_in)(wrapped)
    logits[:, 0].sum().backward()
    assert torch.equal(logits, model(images)) and torch.allclose(
        wrapped.grad, stand_in.weight[0].expand(5, 4)
    )
    assert torch.equal(Surrogate(model, None)(images), model(images))


def test_the_fixed_noise_is_the_same_for_every_image_in_every_batch_and_at_every_call():
    fixed, images = Fixed(Noisy(), 7), torch.rand(6, 1, 2, 2)
    logits = fixed(images)
    torch.rand(1), np.random.rand(), random.random()
    assert torch.equal(fixed(images), logits) and torch.equal(fixed(images[[4, 1]]), logits[[4, 1]])
    assert torch.equal(fixed(images[:1].expand(3, 1, 2, 2)), logits[:1].expand(3, 4))
    assert not torch.allclose(Fixed(Noisy(), 8)(images), logits) and not torch.allclose(
        Noisy()(images), Noisy()(images)
    )


def test_fixed_noise_leaves_the_generators_where_they_stood_also_after_an_exception():
    def states():
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            np.random.get_state()[2],
            random.getstate(),
        )

    before = states()
    Fixed(Noisy(), 7)(torch.rand(2, 1, 2, 2, generator=torch.Generator()))
    with pytest.raises(ZeroDivisionError):
        Fixed(lambda images: Noisy()(images) / (1 // 0), 7)(torch.zeros(2, 1, 2, 2))
    rescore(Noisy(), torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), seed=0)
    assert states() == before


def test_gradients_flow_through_fixed_noise():
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        phase = 2 * math.pi * torch.rand(64)
    wrapped = images.clone().requires_grad_()
    Fixed(Shattered(), 7)(wrapped)[:, 1].sum().backward()
    expected = Line().weight + 10 * torch.cos(100 * images.flatten(1) + phase)
    assert torch.allclose(wrapped.grad.flatten(1), expected, atol=1e-3)


def test_an_attack_on_fixed_noise_belongs_to_each_image(halfway):
    images, labels = halfway
    whole = run("pgd", Fixed(Shattered(), 7), images[:12], labels[:12], **PGD)
    part = run("pgd", Fixed(Shattered(), 7), images[[9, 2]], labels[[9, 2]], **PGD)
    assert torch.equal(part.images, whole.images[[9, 2]]) and torch.equal(part.found, whole.found[[9, 2]])
    assert (
        len(rescore(Fixed(Shattered(), 7), whole.images, labels[:12], draws=3, seed=0).correct.unique(dim=0))
        == 1
    )


def test_a_purifier_that_optimises_is_attacked_whole(halfway):
    """Five descents on a quadratic are one matrix: the attack finds what it finds on the plain linear
    model.
    """
    images, labels = halfway
    root = torch.randn(64, 64, generator=torch.Generator().manual_seed(5)) / 8
    energy = root @ root.T
    model, plain = Purified(energy, nn.Linear(64, 2)), nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        direction = Line().weight @ torch.linalg.matrix_power(torch.eye(64) - 0.1 * energy, 5)
        for layer, weight in ((model.classifier, Line().weight), (plain[1], direction)):
            layer.weight.copy_(torch.stack([torch.zeros(64), weight]))
            layer.bias.copy_(torch.tensor([0.0, -(images.flatten(1) @ direction).quantile(0.5)]))
        labels = plain(images).argmax(dim=1)
    whole, linear = run("pgd", model, images, labels, **PGD), run("pgd", plain, images, labels, **PGD)
    assert (
        torch.equal(whole.correct, linear.correct)
        and torch.equal(whole.found, linear.found)
        and whole.found.sum() > 50
    )
    assert torch.allclose(whole.images, linear.images, atol=1e-5)
    assert model.energy.requires_grad and model.energy.grad is None
    assert torch.allclose(gradient(model, images), gradient(plain, images), rtol=1e-3, atol=1e-5)


def test_the_mean_over_draws_and_a_failure_in_any_of_them_are_told_apart():
    scored = Draws(
        torch.tensor([[True, True, False], [True, False, False], [True, True, False], [True, True, False]])
    )
    assert scored.mean == (7, 12) and scored.right_once == (2, 3)
    assert scored.fails_in_any.tolist() == [False, True, True] and scored.right_in_all == (1, 3)


def test_clean_images_asked_often_enough_fail_too():
    """A model wrong with chance 0.1 is right in 0.9 of the answers, and in all 20 of them for 0.9^20 = 0.12
    of the images.
    """
    scored = rescore(Coin(0.1), torch.zeros(500, 1, 2, 2), torch.zeros(500, dtype=torch.int64), seed=0)
    assert scored.mean[1] == 10_000 and abs(share(scored.mean) - 0.9) < 4 * math.sqrt(0.09 / 10_000)
    assert abs(share(scored.right_once) - 0.9) < 4 * math.sqrt(0.09 / 500)
    always = 0.9**20
    assert abs(share(scored.right_in_all) - always) < 4 * math.sqrt(always * (1 - always) / 500)
    assert int(scored.fails_in_any.sum()) == 500 - scored.right_in_all[0]


def test_the_seed_decides_the_draws_of_every_generator():
    images, labels = (
        torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0)),
        torch.arange(4).repeat(10),
    )
    first = rescore(Noisy(), images, labels, draws=6, seed=3)
    np.random.rand(), random.random()
    assert torch.equal(rescore(Noisy(), images, labels, draws=6, seed=3).correct, first.correct)
    assert not torch.equal(rescore(Noisy(), images, labels, draws=6, seed=4).correct, first.correct)
    assert len(first.correct.unique(dim=0)) > 1


def test_rescoring_asks_in_eval_mode_and_leaves_the_model_as_it_was(small):
    small.model.train()
    mean = small.model[1].running_mean.clone()
    scored = rescore(small.model, small.images, small.labels, draws=2, seed=0, chunk=5)
    assert scored.right_in_all == (20, 24) and scored.mean == (40, 48)
    assert small.model.training and torch.equal(small.model[1].running_mean, mean)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in small.model.parameters())


def test_answers_that_are_not_finite_are_wrong():
    logits = torch.tensor([[torch.nan, torch.inf], [1.0, 0.0]]).repeat(4, 1)
    scored = rescore(
        lambda images: logits, torch.zeros(8, 1, 1, 1), torch.zeros(8, dtype=torch.int64), draws=2, seed=0
    )
    assert scored.correct.tolist() == [[False, True] * 4] * 2


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: Expectation(Line(), 0),
            "draws = 0 is not possible: an expectation is the mean of at least one forward pass.",
        ),
        (
            lambda: Expectation(Line(), 2, of="odds"),
            "of = 'odds' is not possible: the mean is one of logits or of probabilities.",
        ),
        (
            lambda: StraightThrough(lambda images: images[:, :2])(torch.zeros(1, 3)),
            r"the function's output must have the shape of the images, \(1, 3\), not \(1, 2\): no gradient "
            r"can pass over.",
        ),
        (
            lambda: Surrogate(nn.Linear(2, 3), nn.Linear(2, 4))(torch.zeros(1, 2, requires_grad=True)),
            r"the model's logits must have the shape of the surrogate's, \(1, 4\), not \(1, 3\): no gradient "
            r"can pass over.",
        ),
        (
            lambda: rescore(Line(), torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), draws=1, seed=0),
            "draws = 1 is not possible: the mean over draws and a failure in any of them are told apart from "
            "2 draws on.",
        ),
        (
            lambda: rescore(Line(), torch.zeros(2, 1, 8, 8), torch.tensor([0]), seed=0),
            r"labels must be whole numbers \[2\], one for each image, got torch.int64 \(1,\).",
        ),
        (
            lambda: rescore(Line(), torch.zeros(2, 1, 8, 8), torch.tensor([True, False]), seed=0),
            r"labels must be whole numbers \[2\], one for each image, got torch.bool \(2,\).",
        ),
        (
            lambda: rescore(Line(), torch.zeros(2, 1, 8, 8), torch.tensor([0, 200]), seed=0),
            "labels run from 0 to 200, the model has classes 0 to 1.",
        ),
        (
            lambda: rescore(Line(), torch.zeros(0, 1, 8, 8), torch.zeros(0).long(), seed=0),
            "images must be at least one: of none there is no score.",
        ),
    ],
)
def test_what_is_not_possible_is_refused_with_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call()


def test_a_score_takes_images_from_0_to_1_and_counts_what_is_no_number_as_wrong():
    images, labels = torch.full((2, 1, 8, 8), 0.5), Line()(torch.full((2, 1, 8, 8), 0.5)).argmax(dim=1)
    with pytest.raises(UserError, match=r"rescore: images reach from 0 to 127.5, and must lie in \[0, 1\]"):
        rescore(Line(), torch.cat([images[:1] * 0, images[1:] * 255]), labels, draws=2, seed=0)
    images[0] = torch.nan
    assert rescore(Line(), images, labels, draws=2, seed=0).mean == (2, 4)


def test_the_examples_run():
    assert doctest.testmod(sys.modules[rescore.__module__]).failed == 0


def test_a_bounded_expectation_has_the_same_values_gradient_and_draws_after_it():
    class Drawing(torch.nn.Module):
        def forward(self, images):
            return (images + torch.randn_like(images)).square().flatten(1)[:, :3] * torch.rand(())

    x, found = torch.rand(4, 1, 2, 2, dtype=torch.float64), []
    for bounded in (True, False):
        torch.manual_seed(0)
        images = x.clone().requires_grad_()
        logits = Expectation(Drawing(), 5, of="probabilities", bounded=bounded)(images)
        [gradient] = torch.autograd.grad(logits.square().sum(), images)
        found.append((logits.detach(), gradient, torch.rand(3)))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)
