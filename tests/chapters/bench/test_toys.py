import math

import pytest
import torch

from causalnb.attacks import ball, run
from causalnb.chapters.bench.toys import PIXELS, Line, Shattered, halfway


def passes(n, *, seed=0, **settings):
    """Line's own logits of one image, and logits of n passes of the shattered one with the gradients of the
    last logit.
    """
    line, image = Line().double(), torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    images = image.expand(n, 1, 8, 8).clone().requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logits = Shattered(line, **settings)(images)
    return (
        line(image)[0].detach(),
        logits.detach(),
        torch.autograd.grad(logits[:, -1].sum(), images)[0].flatten(1) - line.weight.detach(),
    )


def test_the_mean_over_passes_is_the_model():
    own, logits, _ = passes(5000)
    spread = 0.1 * math.sqrt(PIXELS / 2)  # of a sum of waves of height 0.1
    assert torch.equal(logits[:, 0], own[0].expand(5000)) and abs(
        logits[:, 1].mean() - own[1]
    ) < 5 * spread / math.sqrt(5000)
    assert logits[:, 1].std().item() == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize("height, frequency", [(0.1, 100.0), (0.2, 30.0)])
def test_the_slope_of_a_wave_is_height_times_frequency_at_a_pixel(height, frequency):
    wave = passes(500, height=height, frequency=frequency)[2] / (height * frequency)
    assert 0.999 < wave.abs().max() <= 1 + 1e-9
    assert wave.square().mean().item() == pytest.approx(1 / 2, rel=0.03) and wave.mean().abs() < 0.02


def test_one_pass_s_gradient_points_anywhere_and_the_mean_of_many_along_the_line():
    waves = passes(4000)[2]
    weight = Line().weight.detach().double()

    def agreement(gradient):
        return ((gradient + weight).sign() == weight).double().mean(dim=-1)

    assert agreement(waves).mean() < 0.55 and agreement(waves.mean(dim=0)) == 1


def test_every_pass_draws_anew_in_evaluation_mode_as_well():
    model, image = Shattered(Line()).eval(), torch.full((2, 1, 8, 8), 0.5)
    first, second = model(image)[:, 1]
    assert first != second and (model(image)[:, 1] != torch.stack([first, second])).all()
    assert torch.equal(passes(3, seed=1)[1], passes(3, seed=1)[1])


def test_without_height_it_is_the_model():
    own, logits, _ = passes(2, height=0.0)
    assert torch.allclose(logits, own.expand(2, 2), rtol=0, atol=1e-12)


def test_every_image_goes_over_at_half_of_the_budget_and_no_attack_is_needed_to_know():
    model, eps = Line(), 0.1
    images, labels = halfway(model, 20, eps)
    assert (
        torch.equal(model(images).argmax(dim=1), labels)
        and sorted(set(labels.tolist())) == [0, 1]
        and images.min() > 0
        and images.max() < 1
    )
    radii = model(images)[:, 1].abs() / PIXELS
    assert torch.allclose(radii, torch.linspace(0.4, 0.6, 20) * eps, atol=1e-5)
    downhill = -(2.0 * labels - 1)[:, None] * model.weight.detach().sign()
    for factor, broken in ((0.99, False), (1.01, True)):
        moved = images + (factor * radii[:, None] * downhill).reshape(images.shape)
        assert ((model(moved).argmax(dim=1) != labels) == broken).all() and (
            ball.distance(images, moved, "linf") < eps
        ).all()
    assert run("fgsm", model, images, labels, norm="linf", eps=eps, seed=0).found.all()


def test_images_and_signs_are_those_of_their_seeds():
    first, again, other = (halfway(Line(), 6, 0.1, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(Line().weight, Line(seed=1).weight) and (Line().weight.abs() == 1).all()
