import pytest
import torch

from causalnb.attacks import run
from causalnb.attacks.noise import noise

IMAGES = 0.4 + 0.2 * torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BORDER = (torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(1)) > 0.5).float()


def change(images=IMAGES, **settings):
    return (noise(images, **{"norm": "linf", "eps": 0.1, "seed": 0} | settings) - images).double()


def test_sign_noise_is_plus_or_minus_eps_at_every_pixel():
    sign = change(kind="sign")
    assert torch.allclose(sign.abs(), torch.tensor(0.1, dtype=torch.float64), atol=1e-7)
    assert abs(sign.sign().mean()) < 4 / 7680**0.5


def test_uniform_noise_has_the_variance_of_the_uniform_law():
    uniform = change(kind="uniform")
    assert (
        uniform.abs().max() <= 0.1
        and abs(uniform.var() / (0.1**2 / 3) - 1) < 0.05
        and abs(uniform.mean()) < 0.003
    )


def test_gauss_noise_has_each_image_s_own_length():
    sizes = torch.linspace(0, 0.8, 40)
    assert torch.allclose(
        change(kind="gauss", norm="l2", eps=sizes).flatten(1).norm(dim=1), sizes.double(), atol=1e-6
    )


def test_gauss_noise_has_its_length_after_the_clipping_too():
    sizes = torch.linspace(0.1, 3, 40)
    clipped = noise(BORDER, kind="gauss", norm="l2", eps=sizes, seed=0)
    assert clipped.min() == 0 and clipped.max() == 1
    assert torch.allclose((clipped - BORDER).flatten(1).double().norm(dim=1), sizes.double(), atol=1e-5)


def test_shuffled_noise_has_the_perturbation_s_own_pixels_at_other_places():
    perturbation = (torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.5) / 5.1
    shuffled = change(kind="shuffle", perturbation=perturbation)
    for row in (0, 17):
        before, after = (
            sorted(pixels[row].flatten(1).T.round(decimals=4).tolist())
            for pixels in (perturbation.double(), shuffled)
        )
        assert before == after
    assert (shuffled - perturbation).abs().mean() > 0.03


@pytest.mark.parametrize(
    "kind, norm", [("sign", "linf"), ("uniform", "linf"), ("gauss", "l2"), ("shuffle", "l2")]
)
def test_the_draw_of_an_image_is_its_own(kind, norm):
    perturbation = 0.01 * IMAGES if kind == "shuffle" else None
    whole = noise(IMAGES, kind=kind, norm=norm, eps=0.5, seed=0, perturbation=perturbation)
    rows = [31, 2, 5]
    part = noise(
        IMAGES[rows],
        kind=kind,
        norm=norm,
        eps=0.5,
        seed=0,
        perturbation=None if perturbation is None else perturbation[rows],
    )
    assert torch.equal(part, whole[rows])
    assert not torch.equal(
        noise(IMAGES, kind=kind, norm=norm, eps=0.5, seed=1, perturbation=perturbation), whole
    )


@pytest.mark.parametrize("kind", ["sign", "uniform"])
def test_box_and_ball_hold_in_float64(kind):
    moved = noise(BORDER, kind=kind, norm="linf", eps=8 / 255, seed=0)
    assert moved.min() >= 0 and moved.max() <= 1 and (moved.double() - BORDER.double()).abs().max() <= 8 / 255


def test_the_global_generator_does_not_move():
    before = torch.get_rng_state()
    change(kind="uniform")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_draw_is_judged_like_an_attack(small):
    drawn = noise(small.images, kind="sign", norm="linf", eps=0.3, seed=5)
    result = run("noise", small.model, small.images, small.labels, norm="linf", eps=0.3, kind="sign", seed=5)
    fooled = result.correct & (small.model(drawn).argmax(dim=1) != small.labels)
    assert torch.equal(result.found, fooled) and 0 < fooled.sum() < 20
    assert torch.equal(result.images[fooled], drawn[fooled]) and torch.equal(
        result.images[~fooled], small.images[~fooled]
    )


def test_a_perturbation_is_shuffled_image_by_image_whatever_the_chunk(small):
    perturbation = 0.6 * (torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(3)) - 0.5)
    drawn = noise(small.images, kind="shuffle", norm="linf", eps=0.3, seed=0, perturbation=perturbation)
    fooled = small.model(drawn).argmax(dim=1) != small.labels
    result = run(
        "noise",
        small.model,
        small.images,
        small.labels,
        norm="linf",
        eps=0.3,
        seed=0,
        kind="shuffle",
        perturbation=perturbation,
        chunk=7,
    )
    assert torch.equal(result.found, fooled & result.correct) and result.found.sum() > 0
    assert torch.equal(result.images[result.found], drawn[result.found])


@pytest.mark.parametrize(
    "settings, sentence",
    [
        (
            {"kind": "gauss"},
            "there is no 'gauss' noise in 'linf': known are sign in linf; uniform in linf; gauss in l2; "
            "shuffle in linf and l2.",
        ),
        ({"kind": "sign", "eps": -1}, "eps must be a finite number from 0, or one for each of the 40 images"),
        (
            {"kind": "sign", "eps": torch.full((40,), torch.nan)},
            r"eps must be .* \(a failed attack's distance is nan: give it 0\).",
        ),
        ({"kind": "shuffle"}, "perturbation goes with kind='shuffle', and only with it."),
        (
            {"kind": "shuffle", "perturbation": IMAGES[:3]},
            r"perturbation has shape \(3, 3, 8, 8\), the images \(40, 3, 8, 8\).",
        ),
        (
            {"kind": "shuffle", "perturbation": IMAGES},
            "the perturbation to shuffle is larger than eps in linf.",
        ),
    ],
)
def test_noise_that_cannot_be_made_is_refused_with_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match="^" + sentence):
        change(**settings)
