"""Parameters, networks and effects in pieces, on embedded data."""

from types import SimpleNamespace

import pytest
import torch

from causalnb import UserError, data
from causalnb.chapters.intervention import experiments, metrics, networks, permutation, sets
from causalnb.chapters.intervention.parameters import Parameters
from causalnb.store import Store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return SimpleNamespace(
        p=Parameters.resolve({"epochs": 5}),
        store=Store(tmp_path_factory.mktemp("store")),
        device=torch.device("cpu"),
        load=lambda name, split="test": data.load(name, split),
    )


@pytest.fixture(scope="module")
def nets(run):
    return networks.networks(run, "digits37")


@pytest.mark.parametrize("profile", ["quick", "laptop", "gpu", "full"])
def test_every_profile_is_complete(profile):
    p = Parameters.resolve({"profile": profile})
    assert p.n_trainings >= 2 and p.sets and p.n_hsj <= p.n_images


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": "nothing"}, "data = 'nothing'"),
        ({"n_images": 10, "n_lattice": 16}, "n_lattice = 16"),
        ({"eps": 8.0}, "eps"),
    ],
)
def test_impossible_values_are_a_sentence(given, told):
    with pytest.raises(UserError, match=told):
        Parameters.resolve(given)


def test_digits37_are_the_threes_and_sevens_of_digits8():
    test, whole = data.load("digits37", "test"), data.load("digits8", "test")
    kept = whole.take((whole.labels == 3) | (whole.labels == 7))
    assert torch.equal(test.images, kept.images) and test.classes == ("3", "7")
    assert torch.equal(test.labels, (kept.labels == 7).long()) and test.digest != whole.digest


def test_trainings_differ_by_their_seed_and_are_kept(run, nets):
    assert [net.seed for net in nets] == [0, 1] and nets[0].layer == "conv1"
    assert not torch.equal(nets[0].model.conv1.weight, nets[1].model.conv1.weight)
    assert all(right / n > 0.9 for right, n in (net.accuracy for net in nets))
    again = networks.networks(run, "digits37", seeds=[1])[0]
    assert torch.equal(again.model.conv1.weight, nets[1].model.conv1.weight)


def test_weights_are_those_of_16_bits(nets):
    for value in nets[0].model.parameters():
        assert torch.equal(value, value.half().float()) and value.dtype == torch.float32


def test_the_early_stop_takes_the_epoch_nearest_to_the_printed_accuracy(run):
    net = networks.stopped_early(run, "digits37", seed=0)
    share = net.accuracy[0] / net.accuracy[1]
    assert abs(share - networks.EARLY) == pytest.approx(-float(net.curve.max()), abs=0.02)


def test_natural_images_take_one_cycle_of_a_resnet():
    images = data.Images("toy", "train", torch.zeros(4, 3, 32, 32), torch.zeros(4).long(), ("a", "b"), "")
    recipe = networks.recipe_for(images, None)
    assert (recipe.schedule, recipe.epochs, recipe.nesterov) == ("one-cycle", 45, True)
    assert networks.untrained(images, 0).fc.out_features == 2


# Pieces --------------------------------------------------------------------------------------------------


def attacked(net, n=6):
    some = data.draw(net.test, n, seed=0)
    noise = 0.3 * torch.randn(some.images.shape, generator=torch.Generator().manual_seed(0))
    return some.images, (some.images + noise).clamp(0, 1), some.labels


def test_pieces_are_the_whole_and_a_killed_run_goes_on(nets, tmp_path, monkeypatch):
    net, chosen = nets[0], sets.up_to(16, 2)
    whole = metrics.effects(net.model, net.layer, *attacked(net), chosen)
    monkeypatch.setattr(experiments, "PIXELS", 2 * len(chosen) * 64)
    store, calls = Store(tmp_path), []
    right = experiments.memo

    def failing(store, what, piece):
        calls.append(piece)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return right(store, what, piece)

    monkeypatch.setattr(experiments, "memo", failing)
    with pytest.raises(KeyboardInterrupt):
        experiments.swapped(store, "noise", net.model, net.layer, *attacked(net), chosen, workers=1)
    made = experiments.swapped(store, "noise", net.model, net.layer, *attacked(net), chosen, workers=1)
    assert len(calls) == 5 and len(list(tmp_path.glob("*.safetensors"))) == 3
    for name in ("norms", "margins", "wrong", "clean", "labels", "sets"):
        assert torch.allclose(getattr(made, name).double(), getattr(whole, name).double(), atol=1e-6)


def test_the_estimate_by_permutations_agrees_with_all_sets_within_its_errors(nets, tmp_path):
    net = nets[0]
    images = attacked(net, n=40)
    found, _ = experiments.sampled(None, "noise", net.model, net.layer, *images, channels=16, pairs=3, seed=0)
    exact = metrics.effects(net.model, net.layer, *images, sets.of_size(16, 3)).table().at(3).mean(0)
    off = (found.channel()[2] - exact) / found.errors[2]
    assert off.abs().max() < 4 and isinstance(found, permutation.Sampled)
