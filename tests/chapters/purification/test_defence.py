"""The defence and how it is scored, on a small model with drawn weights."""

import torch
from torch import nn

from causalnb.attacks.randomised import Fixed
from causalnb.chapters.purification import defence, evaluation, released
from causalnb.chapters.purification.defence import Around, Defence, Settings, fixed, purify
from causalnb.chapters.purification.evaluation import Threat
from causalnb.chapters.purification.mechanism import alive, images
from causalnb.randomness import generators_at

SHORT = Settings(steps=2, searches=1)
SMOOTH = Settings(kind="smooth", steps=2, searches=1)


def test_noise_fixed_for_all_images_is_that_of_fixed():
    model, x = alive(), images(4)
    for settings in (SHORT, SMOOTH):
        together = Defence(model, settings, seed=3)(x)
        one_by_one = Fixed(Defence(model, settings), 3)(x)
        assert torch.allclose(together, one_by_one, atol=1e-9)


def test_another_call_draws_other_noise_and_a_seed_the_same():
    model, x = alive(), images(2)
    free, held = Defence(model, SHORT), Defence(model, SHORT, seed=0)
    assert not torch.equal(free(x), free(x)) and torch.equal(held(x), held(x))


def test_the_sign_purifier_stays_in_its_radius_and_in_the_box():
    model, x = alive(), 2 * images(3) - 1
    for radius in (0.05, 0.15):
        settings = Settings(steps=5, step=0.1, radius=radius, searches=0)
        given = purify(model, x, settings, fixed(settings, x, 0))
        assert (given - x).abs().max() <= radius + 1e-12 and given.abs().max() <= 1
        assert (given - x).abs().max() >= radius / 2


def test_the_smooth_purifier_moves_by_its_reach_at_most():
    model, x = alive(), torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    settings = Settings(kind="smooth", steps=1, reach=0.4, searches=0)
    moved = (purify(model, x, settings, fixed(settings, x, 0)) - x).flatten(1).norm(dim=1)
    assert torch.allclose(moved, torch.full_like(moved, 0.4))


def test_purification_makes_an_image_likelier():
    model, x = alive(), 2 * images(3) - 1
    settings = Settings(kind="smooth", steps=10, reach=2.0, searches=0)
    draw = fixed(settings, x, 0)
    before, after = (
        torch.stack(
            [defence.pair_error(model, at, t, noise) for t, noise in zip(draw.t, draw.purifying, strict=True)]
        ).mean()
        for at in (x, purify(model, x, settings, draw))
    )
    assert after < before


def test_the_cost_is_counted_in_passes():
    calls = []

    class Counted(nn.Module):
        def noise(self, noisy, t, latents=None):
            calls.append(len(noisy))
            return noisy * (1 if latents is None else latents.sum(1).view(-1, 1, 1, 1))

        def encode(self, x):
            return x.flatten(1)[:, :2]

        def classify(self, latents):
            return latents

    settings = Settings(steps=3, searches=2)
    defence.defend(Counted(), images(1), settings)
    assert len(calls) == settings.passes == 2 * 3 + 2 * 4


def test_around_a_classifier_purifies_and_hands_on_images_in_the_box():
    seen = []
    plain = Around(lambda noisy, t: 0 * noisy + 0.1 * noisy, lambda x: seen.append(x) or x.flatten(1)[:, :3])
    assert defence.defend(plain, images(2), Settings(steps=2, searches=0)).shape == (2, 3)
    assert seen[0].min() >= 0 and seen[0].max() <= 1


# Attack and score ----------------------------------------------------------------------------------------


class Lucky(nn.Module):
    """Right with probability 1/2 on a dark image, always on a bright one."""

    def forward(self, x):
        bright = x.flatten(1).mean(1) > 0.5
        right = bright | (torch.rand(len(x)) < 0.5)
        return torch.stack([right.double(), 0.5 * torch.ones(len(x)).double()], 1)


def test_the_candidate_that_fails_most_is_scored_on_fresh_draws():
    bright, dark = torch.ones(40, 1, 2, 2), torch.zeros(40, 1, 2, 2)
    labels = torch.zeros(40, dtype=torch.int64)
    found = evaluation.chosen_and_scored(Lucky(), {"clean": bright, "dark": dark}, labels, draws=20, seed=0)
    assert (found["choice"] == 1).all() and torch.equal(found["images"], dark)
    assert bool(found["single.clean"].all())
    share = evaluation.withstood(found)
    assert 0.4 < float(share["mean"].mean()) < 0.6 and share["all"].sum() == 0
    assert not torch.equal(found["fresh"], found["single.dark"])


def test_a_union_is_below_every_threat_and_their_mean():
    g = torch.Generator().manual_seed(0)
    each = {name: {"fresh": torch.rand(5, 30, generator=g) < 0.7} for name in ("linf", "l2", "flow")}
    worst, means = evaluation.union(each), [evaluation.withstood(one)["mean"] for one in each.values()]
    assert (worst <= torch.stack(means).amin(0)).all() and (worst <= torch.stack(means).mean(0)).all()


def test_candidates_lie_in_the_budget():
    model, x = alive().float(), images(8).float()
    labels = model(x).argmax(1)
    for norm, eps in (("linf", 0.1), ("l2", 0.5)):
        found = evaluation.candidates(Defence(model, SHORT), x, labels, Threat(norm, eps, 2, 1), seed=0)
        assert list(found) == ["clean", "encoder", "straight", "denoised", "smooth"]
        for name, one in found.items():
            change = (one - x).flatten(1)
            size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
            assert size.max() <= eps + 1e-6 and one.min() >= 0 and one.max() <= 1, name
            assert name == "clean" or size.max() > eps / 2


def test_only_the_smooth_defence_has_a_gradient_of_its_own():
    model = alive()
    assert "own" in evaluation.attackers(Defence(model, SMOOTH), 2)
    assert "own" not in evaluation.attackers(Defence(model, SHORT), 2)


# The released control flow -------------------------------------------------------------------------------


def test_steep_latent_steps_leave_the_attack_a_gradient_of_zeros():
    x = images(4).float()
    for rate, share in ((released.STEEP, 1.0), (released.DEFAULT, 0.0)):
        script = released.Released(alive().float(), rate=rate)
        with generators_at(0, x.device):
            given = x.clone().requires_grad_()
            loss = nn.functional.cross_entropy(
                script(given), torch.zeros(4, dtype=torch.int64), reduction="sum"
            )
            [gradient] = torch.autograd.grad(loss, given)
        assert float((gradient.flatten(1) == 0).all(1).double().mean()) == share


def test_the_released_paths_give_probabilities_and_go_by_the_gradient_mode():
    script, x = released.Released(alive(), rate=released.DEFAULT), images(2)
    with torch.no_grad():
        judged = script(x)
    assert torch.allclose(judged.sum(1), torch.ones(2, dtype=torch.float64))
    assert not judged.requires_grad and script(x.requires_grad_()).requires_grad
