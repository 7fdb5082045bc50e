"""Probes, likelihoods and pictures on latents whose content is known."""

import math
from types import SimpleNamespace

import pytest
import torch

from causalnb import UserError, data
from causalnb.chapters.purification import networks, scores
from causalnb.chapters.purification.mechanism import alive
from causalnb.chapters.purification.parameters import Parameters


@pytest.fixture(scope="module")
def scenes():
    return data.shapes(200, cue="brightness", size=16, seed=0)


def test_a_probe_finds_a_label_that_is_there_and_no_label_in_noise():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (600,), generator=g)
    there = torch.nn.functional.one_hot(labels, 4) + 0.1 * torch.randn(600, 4, generator=g)
    noise = torch.randn(600, 4, generator=g)
    for found in (scores.label_found, scores.neighbours_found):
        assert found(there, labels).double().mean() == 1
        assert 0.1 < found(noise, labels).double().mean() < 0.4
    assert scores.silhouette(there, labels).mean() > 0.5 > 0.1 > scores.silhouette(noise, labels).mean()


def test_style_is_told_by_latents_that_hold_it(scenes):
    wanted = scores.style(scenes.factors)
    assert torch.allclose(wanted.mean(0), torch.zeros(6).double(), atol=1e-6) and wanted.shape == (200, 6)
    g = torch.Generator().manual_seed(0)
    mixed = wanted @ torch.linalg.qr(torch.randn(6, 6, generator=g).double())[0]
    assert scores.style_told(mixed, wanted).mean() > 0.99
    assert scores.style_told(wanted[:, :3], wanted).mean() == pytest.approx(0.5, abs=0.15)
    assert scores.style_told(torch.randn(200, 6, generator=g), wanted).mean() < 0.1


def test_the_probes_information_is_that_of_the_label_where_both_hold_it():
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(800) % 4
    there = torch.nn.functional.one_hot(labels, 4).double()
    noise = torch.randn(800, 4, generator=g).double()
    assert scores.probe_information(there, there, labels) == pytest.approx(math.log(4), abs=1e-6)
    assert scores.probe_information(there, noise, labels) < 0.05


def test_samples_go_by_their_seed_and_means_by_none(scenes):
    model = alive(16)
    x = scenes.images[:5].double()
    one, same, other = (scores.latents(model, x, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(scores.latents(model, x, seed=None), model.encode(2 * x - 1))


def test_errors_by_time_are_of_each_image_and_the_same_noise(scenes):
    model = alive(16).float()
    few = scores.errors_by_time(model, scenes.images[:4], seed=0, draws=1, times=(10, 400))
    assert few.shape == (2, 4)
    assert torch.equal(few, scores.errors_by_time(model, scenes.images[:4], seed=0, draws=1, times=(10, 400)))


def test_pictures_from_s_alone_do_not_see_z():
    model, latents = alive(8).float(), torch.randn(2, 16)
    other = torch.cat([latents[:, :8], latents[:, 8:] + 1], 1)
    one, same = (scores.pictures(model, given, keep="s", seed=0, steps=2) for given in (latents, other))
    assert torch.equal(one, same) and one.shape == (2, 1, 8, 8)
    both = [scores.pictures(model, given, keep="both", seed=0, steps=2) for given in (latents, other)]
    assert not torch.equal(*both) and both[0].min() >= 0 and both[0].max() <= 1


# Parameters and arms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["quick", "laptop", "gpu", "full"])
def test_every_profile_is_possible_and_has_its_arms(profile):
    p = Parameters.resolve({"profile": profile})
    assert set(p.sets) <= set(networks.OF_SET)
    for name in p.sets:
        assert set(networks.OF_SET[name]) <= set(networks.arms(p))


def test_five_etas_are_trained_one_of_them_the_default():
    p = Parameters.resolve({})
    etas = {arm.weights.eta for arm in networks.arms(p).values() if arm.name.startswith(("eta", "two"))}
    assert etas == set(networks.ETAS) and p.eta in networks.ETAS


def test_wrong_parameters_are_told_in_a_sentence():
    with pytest.raises(UserError, match="data = 'imagenet' is not possible"):
        Parameters.resolve({"data": "imagenet"})
    with pytest.raises(UserError, match="width = 20 is not possible: it is a multiple of 16"):
        Parameters.resolve({"width": 20})


def test_two_stages_share_the_steps_and_joint_training_has_them_all(scenes):
    p = Parameters.resolve({"training_steps": 40})
    two = networks.stages(p, networks.arms(p)["two-stage"], scenes)
    [(joint, recipe)] = networks.stages(p, networks.arms(p)["joint"], scenes)
    steps = math.ceil(len(scenes) / networks.BATCH)
    assert [its.epochs * steps for _, its in two] == [20, 20] and recipe.epochs * steps == 40
    first, second = (loss.weights for loss, _ in two)
    assert (first.gamma, first.eta, second.gamma, second.eta) == (0, 0, p.gamma, p.eta)
    assert first.warm_up == 1 and second.warm_up == 0 and joint.weights.warm_up == 2


def test_images_to_train_probe_and_attack_are_other_scenes():
    run = SimpleNamespace(p=Parameters.resolve({"n_train": 100, "n_images": 8}), load=data.load)
    of = networks.sets(run, "shapes")
    assert of.train.images.shape == (100, 1, 16, 16) and len(of.attacked) == 8
    assert of.attacked.labels.bincount().tolist() == [2, 2, 2, 2] and set(of.attacked.factors) >= set(
        scores.STYLE
    )
    assert not torch.equal(of.train.images[:8], of.probe.images[:8])


def test_pooling_keeps_the_mean_of_an_image():
    images = data.Images("toy", "test", torch.rand(2, 1, 28, 28), torch.tensor([0, 1]), ("a", "b"), "0")
    small = networks.pooled(images)
    assert small.images.shape == (2, 1, 16, 16) and small.digest != images.digest
    assert torch.allclose(small.images.sum((1, 2, 3)) * 4, images.images.sum((1, 2, 3)), rtol=1e-5)
