"""The causal diffusion model, its losses, its average, and one training."""

import math
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

from causalnb import UserError, data, training
from causalnb.chapters.purification import diffusion, objective
from causalnb.chapters.purification.mechanism import alive
from causalnb.chapters.purification.network import Averaged, causal_diffusion
from causalnb.chapters.purification.objective import CausalLoss, Follower, Weights


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 1), (28, 1), (32, 3)])
def test_noise_has_the_images_shape_and_logits_one_per_class(size, channels):
    model = causal_diffusion(classes=5, channels=channels, size=size)
    x = torch.rand(2, channels, size, size)
    assert model.noise(x, torch.tensor([3, 900])).shape == x.shape
    assert model(x).shape == (2, 5) and model.encode(x).shape == (2, 16)


def test_the_size_is_that_of_the_plan():
    model = causal_diffusion(size=28)
    own = sum(p.numel() for part in (model.encoder, model.head) for p in part.parameters())
    assert (sum(p.numel() for p in model.unet.parameters()), own) == (447_588, 179_220)
    wide = causal_diffusion(size=32, channels=3, classes=10, s=64, z=64, width=96)
    assert sum(p.numel() for p in wide.parameters()) < 6e6


def test_a_side_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(UserError, match="18 x 18 pixels: it halves them twice"):
        causal_diffusion(size=18)


def test_the_first_weights_are_of_the_seed_and_predict_no_noise():
    one, same, other = (causal_diffusion(size=8, seed=seed) for seed in (0, 0, 1))
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(one(x), same(x)) and not torch.equal(one(x), other(x))
    assert one.noise(x, torch.tensor([0, 999])).abs().max() == 0


def test_the_label_is_read_off_s_alone_and_latents_change_the_noise():
    model, latents = alive(), torch.randn(2, 16, dtype=torch.float64)
    changed = torch.cat([latents[:, :8], latents[:, 8:] + 1], 1)
    assert torch.equal(model.classify(latents), model.classify(changed))
    x, t = torch.rand(2, 1, 8, 8, dtype=torch.float64), torch.tensor([5, 500])
    assert not torch.allclose(model.noise(x, t, latents), model.noise(x, t, changed))


def test_log_variances_are_held():
    model = causal_diffusion(size=8)
    with torch.no_grad():
        model.encoder.fc2.bias.fill_(100)
    assert model.posterior(torch.zeros(1, 1, 8, 8))[1].max() == 4


# The average ---------------------------------------------------------------------------------------------


def test_the_average_follows_slower_and_slower_and_is_what_evaluates():
    both, x = Averaged(causal_diffusion(size=8), share=0.5), torch.rand(1, 1, 8, 8)
    start = both.average.head[0].bias.clone()
    with torch.no_grad():
        both.model.head[0].bias += 1
    both.follow()
    assert torch.allclose(both.average.head[0].bias, start + 0.9)
    for _ in range(20):
        both.follow()
    before = both.average.head[0].bias.clone()
    with torch.no_grad():
        both.model.head[0].bias += 1
    both.follow()
    assert torch.allclose(both.average.head[0].bias - before, torch.full_like(before, 0.5), atol=1e-4)
    assert torch.equal(both.eval()(x), both.average(x)) and torch.equal(both.train()(x), both.model(x))


# CLUB ----------------------------------------------------------------------------------------------------


def test_club_is_the_mean_over_all_pairs():
    g = torch.Generator().manual_seed(0)
    s, mean, log_variance = torch.randn(3, 6, 2, generator=g, dtype=torch.float64)
    pairs = torch.stack(
        [
            torch.stack(
                [
                    objective.log_likelihood(s[j : j + 1], mean[i : i + 1], log_variance[i : i + 1])[0]
                    for j in range(6)
                ]
            )
            for i in range(6)
        ]
    )
    expected = pairs.diagonal().mean() - pairs.mean()
    assert torch.allclose(objective.club(s, mean, log_variance), expected)


def test_a_follower_learns_a_pair_and_its_club_passes_the_information():
    torch.manual_seed(0)
    follower, n, r = Follower(1, 1, rate=3e-2), 1000, 0.7
    z = torch.randn(n, 1)
    s = r * z + math.sqrt(1 - r * r) * torch.randn(n, 1)
    assert abs(float(follower.estimate(s, z))) < 0.2
    for _ in range(60):
        follower.learn(s, z)
    assert 0.3367 < float(follower.estimate(s, z)) < 1.3


def test_a_follower_steps_as_adam_does():
    torch.manual_seed(0)
    follower = Follower(2, 3, steps=3)
    s, z = torch.randn(10, 2), torch.randn(10, 3)
    twin = pickle.loads(pickle.dumps(follower.conditional)).requires_grad_(True)
    adam = torch.optim.Adam(twin.parameters(), lr=1e-3)
    for _ in range(3):
        adam.zero_grad()
        (-objective.log_likelihood(s, *twin(z)).mean()).backward()
        adam.step()
    follower.learn(s, z)
    for one, other in zip(follower.conditional.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_estimate_moves_latents_and_not_the_conditional():
    follower, s, z = (
        Follower(2, 2),
        torch.randn(5, 2, requires_grad=True),
        torch.randn(5, 2, requires_grad=True),
    )
    follower.estimate(s, z).backward()
    assert s.grad.abs().max() > 0 and z.grad.abs().max() > 0
    assert all(one.grad is None for one in follower.conditional.parameters())


# The loss ------------------------------------------------------------------------------------------------


def terms(weights, seed=0):
    torch.manual_seed(seed)
    model = Averaged(causal_diffusion(size=8))
    loss = CausalLoss(weights, s=8, z=8, classes=4)
    return model, loss, loss.terms(model, torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1]))


def test_pre_training_knows_neither_labels_nor_club():
    _, loss, found = terms(Weights().pre_training())
    assert found["label"] == 0 and found["club"] == 0 and "unlearnt" not in found
    assert int(loss.follower.count) == 0
    assert Weights(beta_s=0.5, free=0.2).pre_training() == Weights(0.5, 1e-3, 0.0, 0.0, 0.2)


def test_the_kl_is_that_of_torchs_distributions():
    model, _, found = terms(Weights())
    torch.manual_seed(0)
    again, loss, _ = terms(Weights())
    x = torch.rand(6, 1, 8, 8)
    torch.manual_seed(1)
    found = loss.terms(again, x, torch.zeros(6, dtype=torch.int64))
    mean, log_variance = again.model.posterior(2 * x - 1)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    each = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0)
    assert torch.allclose(found["kl_s"] + found["kl_z"], each.mean(), atol=1e-6)


def test_free_nats_cost_nothing_and_pull_nothing():
    model, loss, found = terms(Weights(free=100.0))
    assert float(found["kl_z"].detach()) == pytest.approx(100 * 8 / 16)
    gradient = torch.autograd.grad(found["kl_z"], list(model.model.encoder.parameters()), allow_unused=True)
    assert all(one is None or one.abs().max() == 0 for one in gradient)


def test_a_starved_s_learns_nothing_from_the_noise():
    def slope(weights):
        model = Averaged(alive().float().requires_grad_(True))
        loss = CausalLoss(weights, s=8, z=8, classes=4)
        torch.manual_seed(0)
        noise = loss.terms(model, torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64))["noise"]
        return torch.autograd.grad(noise, model.model.encoder.fc2.bias)[0]

    full, starved = slope(Weights()), slope(Weights(starved=True))
    assert full[:8].abs().max() > 0 and starved[:8].abs().max() == 0
    assert torch.allclose(full[8:16], starved[8:16])


def test_what_is_turned_round_keeps_its_values_and_reverses_its_gradient():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = objective.turned(x, 0.3)
    y.sum().backward()
    assert torch.equal(y, x) and x.grad.tolist() == pytest.approx([-0.3, -0.3])


def test_beta_rises_over_the_warm_up():
    loss = CausalLoss(Weights(warm_up=4), s=2, z=2, classes=4)
    found = []
    for epoch in range(6):
        loss.begin_epoch(epoch)
        found.append(float(loss.beta))
    assert found == [0.25, 0.5, 0.75, 1, 1, 1]


def test_one_latent_in_ten_is_dropped_together(monkeypatch):
    seen = []

    def watched(model, x, t, noise, latents):
        seen.append((latents == 0).all(1))
        assert ((latents == 0).all(1) | (latents != 0).all(1)).all()
        return noise.flatten(1).mean(1)

    monkeypatch.setattr(diffusion, "noise_error", watched)
    model, loss = Averaged(causal_diffusion(size=8)), CausalLoss(Weights(), s=8, z=8, classes=4)
    torch.manual_seed(0)
    loss.terms(model, torch.rand(2000, 1, 8, 8), torch.zeros(2000, dtype=torch.int64))
    assert 0.07 < float(seen[0].float().mean()) < 0.13


def test_the_loss_is_named_by_its_weights():
    one, other = (CausalLoss(replace(Weights(), eta=eta), s=2, z=2, classes=4) for eta in (0.0, 0.1))
    assert one.__qualname__ != other.__qualname__ and "<" not in one.__qualname__


@pytest.fixture(scope="module")
def scenes():
    return data.shapes(256, cue="brightness", size=8, seed=0)


def fitted(scenes, weights, checkpoint=None, epochs=4):
    model = Averaged(causal_diffusion(size=8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = CausalLoss(weights, s=8, z=8, classes=4)
    recipe = training.Recipe(optimiser="adam", rate=1e-3, epochs=epochs, batch=64)
    return training.fit(model, scenes, loss, recipe, checkpoint=checkpoint)


def test_training_lowers_the_loss_and_the_average_follows(scenes):
    made = fitted(scenes, Weights(gamma=1.0))
    losses = [epoch["loss"] for epoch in made.history]
    assert losses[-1] < losses[0] - 0.2
    assert int(made.model.steps) == 16
    assert isinstance(made.model, nn.Module) and not made.model.average.head[0].weight.requires_grad


def test_a_killed_training_goes_on_to_the_same_weights(scenes, tmp_path):
    class Killed(Exception):
        pass

    weights, whole = Weights(eta=1e-2, warm_up=2), None
    whole = fitted(scenes, weights, epochs=3).model.state_dict()
    calls = {"n": 0}
    once = CausalLoss.begin_epoch

    def stop(self, epoch):
        calls["n"] += 1
        if calls["n"] == 3:
            raise Killed
        once(self, epoch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(CausalLoss, "begin_epoch", stop)
        fitted(scenes, weights, tmp_path / "c", epochs=3)
    again = fitted(scenes, weights, tmp_path / "c", epochs=3).model.state_dict()
    assert all(torch.equal(again[name], one) for name, one in whole.items())
