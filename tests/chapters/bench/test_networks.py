from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from causalnb import training
from causalnb.chapters.bench import networks
from causalnb.chapters.bench.parameters import Parameters
from causalnb.data import Images
from causalnb.store import Store

ROOT = Path(__file__).parents[3]


def images(n, seed):
    pixels = torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    return Images("noise", "train", pixels, torch.arange(n) % 3, ("a", "b", "c"), f"{seed}")


@pytest.fixture
def run(tmp_path):
    sets = {"train": images(30, 1), "test": images(12, 2)}
    return SimpleNamespace(
        p=Parameters.resolve({}),
        store=Store(tmp_path),
        device=torch.device("cpu"),
        load=lambda name, split="test": sets[split],
    )


def never(*arguments, **settings):
    raise AssertionError


def test_there_are_two_networks_each_with_its_budget_and_its_curve(run):
    nets = networks.networks(run)
    assert {name: (net.name, net.title, net.eps) for name, net in nets.items()} == {
        "plain": ("plain", "LeNet, plain", run.p.eps),
        "robust": ("robust", "LeNet, adversarially trained", run.p.eps_robust),
    }
    assert [len(net.curve) for net in nets.values()] == [
        4,
        sum(epochs for _, epochs in networks.STAGES["digits"]),
    ]
    for net in nets.values():
        assert not any(module.training for module in net.model.modules()) and net.model(
            run.load("").images
        ).shape == (12, 3)
        assert net.curve[-1] == training.accuracy(net.model, run.load(""))


def test_the_second_call_trains_nothing(run, monkeypatch):
    first = networks.networks(run)
    monkeypatch.setattr(networks.training.keeping, "fit", never)
    second = networks.networks(run)
    for name, net in first.items():
        assert torch.equal(second[name].curve, net.curve)
        assert all(
            torch.equal(a, b)
            for a, b in zip(
                second[name].model.state_dict().values(), net.model.state_dict().values(), strict=True
            )
        )


def test_the_robust_one_sees_the_budgets_of_its_stages_in_turn(run, monkeypatch):
    seen, losses = [], networks.adversarial

    def adversarial(**walk):
        def loss(model, images, labels):
            seen.append(walk["eps"])
            return losses(**walk)(model, images, labels)

        return loss

    monkeypatch.setattr(networks, "adversarial", adversarial)
    networks._robust(run)
    assert seen == [eps for eps, epochs in networks.STAGES["digits"] for _ in range(epochs)]


@pytest.mark.parametrize("stages", networks.STAGES.values())
def test_every_stage_s_steps_can_cross_its_ball(stages, run, monkeypatch):
    walks = []
    monkeypatch.setattr(networks, "adversarial", lambda **walk: walks.append(walk))
    monkeypatch.setitem(networks.STAGES, "digits", stages)
    monkeypatch.setattr(
        networks.training, "train_or_load", lambda *given, **rest: SimpleNamespace(curve=None)
    )
    networks._robust(run)
    assert [walk["eps"] for walk in walks] == [eps for eps, _ in stages]
    assert all(
        walk["norm"] == "linf" and walk["steps"] * walk["step"] >= 2 * walk["eps"] - 1e-9 for walk in walks
    )


def test_a_killed_training_goes_on_where_it_was(run, monkeypatch, capsys):
    whole = networks._robust(run)[0].state_dict()
    run.store = Store(run.store.root / "another")
    fit, stages = training.fit, iter(range(1))

    def dies(*arguments, **settings):
        if next(stages, None) is None:
            raise KeyboardInterrupt
        return fit(*arguments, **settings)

    monkeypatch.setattr(networks.training.keeping, "fit", dies)
    with pytest.raises(KeyboardInterrupt):
        networks._robust(run)
    monkeypatch.setattr(networks.training.keeping, "fit", fit)
    resumed = networks._robust(run)[0].state_dict()
    assert all(torch.equal(a, b) for a, b in zip(resumed.values(), whole.values(), strict=True))
    assert "another training" not in capsys.readouterr().err  # each stage has a checkpoint of its own


def test_the_weights_that_the_book_carries_are_those_the_chapter_asks_for_on_mnist(run, monkeypatch):
    """Found by their key alone: settings that changed since would train anew."""
    layer = Store(ROOT / "weights")
    [entry] = [entry for entry in layer.entries() if entry.what == "small_cnn on mnist against PGD"]
    mnist = Images(
        "mnist",
        "train",
        torch.zeros(1, 1, 28, 28).expand(10_001, 1, 28, 28),
        torch.zeros(10_001).long(),
        tuple("0123456789"),
        entry.key["data"],
    )
    run.p, run.load = Parameters.resolve({"profile": "laptop"}), lambda name, split="test": mnist
    run.store = Store(run.store.root, layers=(ROOT / "weights",))
    monkeypatch.setattr(networks.training.keeping, "fit", never)
    model, curve = networks._robust(run)
    assert [(use.made, use.carried) for use in run.store.uses] == [(False, True)] and isinstance(
        model, nn.Module
    )
    assert (
        len(curve) == sum(epochs for _, epochs in networks.STAGES["mnist"])
        and curve[-1] > 0.95
        and run.store.verify() == []
    )
