"""The networks of the chapter, trained once on few digits, and what they make of shapes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from causalnb import data, record, training
from causalnb.chapters.ace import networks, truth, vae
from causalnb.chapters.ace.checks import layer
from causalnb.chapters.ace.parameters import Parameters
from causalnb.models import lenet
from causalnb.store import Store

WEIGHTS = Path(__file__).parents[3] / "weights"


def test_a_trained_network_comes_with_its_accuracies_and_balanced_drawn_images(run, net):
    test = run.load("digits", "test")
    assert net.curve.shape == (2,) and net.curve[-1].item() == pytest.approx(
        training.accuracy(net.model, test), abs=1e-12
    )
    assert (len(net.test), net.seed, net.model.training) == (14, 0, False)
    assert sorted(net.test.labels.bincount().tolist()) == [1] * 6 + [2] * 4
    assert torch.equal(net.test.images, data.draw(test, 14, seed=run.p.image_seed).images)


def test_the_seed_of_the_images_is_not_that_of_the_weights(run, net):
    other = networks.trained(run, "digits", seed=1)
    assert other.seed == 1 and torch.equal(other.test.images, net.test.images)
    assert not torch.equal(other.model.fc3.weight, net.model.fc3.weight) and other.recipe != net.recipe


def test_a_network_is_trained_once(monkeypatch, run, net):
    monkeypatch.setattr(training.keeping, "fit", None)
    again = networks.trained(run, "digits")
    assert again.recipe == net.recipe and torch.equal(again.curve, net.curve)
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), net.model.parameters(), strict=True)
    )


@pytest.fixture
def asked_for(monkeypatch):
    """What trainings are asked for, each as (name, recipe, model, data, settings); none is made."""
    asked = []

    def noted(store, name, model, stages, data, *, seeds, **settings):
        [(_, recipe)] = stages
        models = [model(seed).eval() for seed in seeds]
        for seed, one in zip(seeds, models, strict=True):
            its = recipe.model_copy(update={"seed": recipe.seed + seed})
            asked.append((name, its, one, data, settings))
        return [training.Outcome(one, torch.zeros(2), torch.zeros(0), {}) for one in models]

    monkeypatch.setattr(training, "train_or_load", noted)
    return asked


def run_with(run, **changed):
    p = run.p.model_copy(update=changed)
    return SimpleNamespace(p=p, store=run.store, device=run.device, load=run.load)


@pytest.mark.parametrize(("momentum", "with_momentum"), [(0.9, [(5, 0.9), (6, 0.9), (7, 0.9)]), (0.0, [])])
def test_beside_the_first_training_stand_the_next_seeds_every_seed_with_momentum_and_the_cited_network(
    asked_for, run, momentum, with_momentum
):
    found = networks.others(run_with(run, seed=5, n_trainings=3, other_momentum=momentum), "digits")
    told = {which: [(one.seed, one.recipe.momentum) for one in several] for which, several in found.items()}
    own = run.p.momentum
    assert told == {"plain": [(6, own), (7, own)], "momentum": with_momentum, "cited": [(5, own)]}
    assert [one.recipe for several in found.values() for one in several] == [call[1] for call in asked_for]


def test_the_cited_network_has_tanh_and_averaging_and_a_name_of_its_own(asked_for, run):
    networks.others(run_with(run, n_trainings=1, other_momentum=0.0), "digits")
    [(name, recipe, model, *_)] = asked_for
    cited = lenet(variant="tanh-average", seed=run.p.seed)
    assert name == "LeNet (tanh-average) on digits" and recipe.seed == run.p.seed
    assert str(model) == str(cited) and torch.equal(model.fc3.weight, cited.fc3.weight)
    images = run.load("digits").images[:2]
    assert torch.equal(model(images), cited.eval()(images))


def test_where_the_first_is_the_cited_network_and_alone_none_stands_beside_it(asked_for, run):
    found = networks.others(
        run_with(run, seed=0, n_trainings=1, other_momentum=0.0, variant="tanh-average"), "digits"
    )
    assert found == {"plain": [], "momentum": [], "cited": []} and asked_for == []


def test_only_trainings_on_many_images_are_worth_a_process_each(asked_for, run):
    networks.trained(run, "digits")
    few, labels = run.load("digits", "train"), torch.arange(10_001) % 10
    large = replace(few, images=few.images[:1].expand(10_001, -1, -1, -1), labels=labels)
    some = run_with(run)
    some.load = lambda name, split="test": large if split == "train" else run.load("digits")
    networks.trained(some, "mnist")
    assert [settings["workers"] for *_, settings in asked_for] == [1, None]


@pytest.mark.parametrize(
    ("seed", "momentum", "recipe"),
    [(None, None, (3, 0.5)), (4, None, (4, 0.5)), (None, 0.9, (3, 0.9)), (0, 0.0, (0, 0.0))],
)
def test_a_training_takes_the_seed_and_momentum_that_are_given_else_the_parameters(
    asked_for, run, seed, momentum, recipe
):
    one = networks.trained(
        run_with(run, seed=3, momentum=0.5, optimiser="sgd"), "digits", seed=seed, momentum=momentum
    )
    [(_, its, *_)] = asked_for
    assert (its.seed, its.momentum) == recipe == (one.seed, one.recipe.momentum) and one.recipe == its
    assert torch.equal(one.model.fc3.weight, lenet(seed=recipe[0]).fc3.weight)


def test_only_networks_that_the_book_carries_outlive_a_change_of_code(monkeypatch, run, tmp_path):
    """Those of the weights folder are found by name, recipe and data; the others by the code too."""
    own = Store(tmp_path, layers=(run.store.root, WEIGHTS))
    asked = SimpleNamespace(p=run.p, store=own, device=run.device, load=run.load)
    networks.trained(asked, "digits")
    mnist = next(one for one in Store(WEIGHTS).entries() if one.what == "LeNet on mnist")
    laptop = Parameters.resolve({"profile": "laptop"})
    some = replace(run.load("digits", "test"), digest=mnist.key["data"])
    carried = SimpleNamespace(p=laptop, store=own, device=run.device, load=lambda name, split="test": some)
    plain = record.code_digest
    monkeypatch.setattr(record, "code_digest", lambda path: f"edited {plain(path)}")
    networks.trained(carried, "mnist")
    networks.trained(asked, "digits")
    assert [(use.what, use.made, use.carried) for use in own.uses] == [
        ("LeNet on digits", False, False),
        ("LeNet on mnist", False, True),
        ("LeNet on digits", True, False),
    ]


# Beta-VAEs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found_latents(run, net):
    return networks.latents(run, net)


def test_the_printed_beta_has_every_seed_and_the_others_the_first(run, found_latents):
    assert [(one.beta, one.seed) for one in found_latents] == [
        (run.p.vae_beta, 0),
        (run.p.vae_beta, 1),
        (1.0, 0),
        (4.0, 0),
    ]


def test_latents_are_measured_on_test_images_and_samples_shown_to_the_network(run, net, found_latents):
    test, labels = run.load("digits", "test").take(slice(1000)), torch.arange(100) % 10
    for one in found_latents[1:3]:
        model = networks.generator(run, net, beta=one.beta, seed=one.seed)
        assert torch.allclose(one.kl, vae.latent_kl(model, test.images, test.labels)) and one.kl.shape == (
            10,
        )
        drawn = vae.sample(model, labels, seed=run.p.seed)
        assert one.labels == (int((net.model(drawn).argmax(1) == labels).sum()), 100)
        assert torch.equal(one.images, drawn[:10])
    assert not torch.equal(found_latents[0].kl, found_latents[1].kl) and not torch.equal(
        found_latents[0].kl, found_latents[2].kl
    )


def test_a_generator_is_trained_for_about_the_steps_that_are_asked_for(asked_for, run, net):
    for steps in (1, 300, 10_000):
        networks.generator(run_with(run, vae_steps=steps), net, beta=4.0, seed=2)
        what, recipe, model, train, _ = asked_for[-1]
        assert (what, recipe.seed) == ("beta-VAE (4) on digits", 2)
        first = vae.beta_vae(seed=2).encoder[0].weight
        assert torch.equal(model.encoder[0].weight, first)
        assert (
            recipe.epochs == 1
            if steps == 1
            else recipe.epochs * len(train) / recipe.batch == pytest.approx(steps, rel=0.05)
        )


def test_samples_have_their_labels_in_turn(run, net):
    images, labels = networks.samples(run, net, vae.beta_vae(), n=23)
    assert images.shape == (23, 1, 28, 28) and labels.tolist() == [i % 10 for i in range(23)]


# Where the truth is known ---------------------------------------------------------------------------------


def test_the_effect_of_the_own_corner_is_the_mean_weight_of_its_pixels_where_the_network_is_linear():
    model, labels = nn.Sequential(nn.Flatten(), layer(28 * 28, 4)), torch.tensor([2, 0, 3, 1, 2])
    rows = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = model[1].weight.detach().view(4, 28, 28)
    own = torch.stack([weight[c][data.corners(28)[c]].mean() for c in labels.tolist()])
    assert torch.allclose(truth.own_corner_effect(model, rows, labels), own)
    assert own.unique().numel() == 4


def test_the_corner_is_lit_alone_and_together_on_images_whose_corners_say_nothing(monkeypatch, run):
    """With the network as it is drawn: all numbers again, from the images."""
    seen = []
    monkeypatch.setattr(
        training,
        "train_or_load",
        lambda store, name, model, stages, data, **rest: seen.append((name, data, model.eval())),
    )
    one = truth.corner(run, 0.9, images=12)
    what, train, model = seen[0]
    assert "0.9" in what and len(train) == 200 and one.rho == 0.9
    assert (train.factors["corner"] == train.labels).double().mean() > 0.85  # 0.9 and a quarter of the rest
    new, free = (data.shapes(1000, rho=rho, seed=1) for rho in (0.9, 0.0))
    assert one.accuracy == (int((training.predict(model, new.images).argmax(1) == new.labels).sum()), 1000)
    assert one.without == (int((training.predict(model, free.images).argmax(1) == free.labels).sum()), 1000)
    some = free.take(slice(12))
    dark, lit = (
        data.do(some, corner=some.labels, strength=0.0).images,
        data.do(some, corner=some.labels).images,
    )
    each = torch.arange(12)
    logits = [training.predict(model, images)[each, some.labels].double() for images in (dark, lit)]
    assert torch.allclose(one.joint, logits[1] - logits[0], atol=1e-5) and one.joint.abs().max() > 1e-4
    single = torch.zeros(12, dtype=torch.float64)
    for pixel in ((lit - dark).flatten(1).abs() > 0).any(0).nonzero().flatten():
        changed = dark.flatten(1).clone()
        changed[:, pixel] = lit.flatten(1)[:, pixel]
        single += training.predict(model, changed.view_as(dark))[each, some.labels].double() - logits[0]
    assert torch.allclose(one.single, single, atol=1e-4)
    assert (
        torch.allclose(one.pixel, truth.own_corner_effect(model, some.images, some.labels))
        and len(one.pixel) == 12
    )


def test_a_network_uses_a_corner_that_goes_with_the_label_and_not_one_that_does_not(run):
    asked = SimpleNamespace(p=run.p.model_copy(update={"n_shapes": 400}), store=run.store, device=run.device)
    none, always = (truth.corner(asked, rho, images=40) for rho in (0.0, 0.99))
    assert always.joint.mean() > none.joint.mean().abs() + 1 and always.pixel.mean() > none.pixel.mean().abs()
    assert always.accuracy[0] / 1000 > 0.9 > always.without[0] / 1000
