"""What the live figure of chapter 2 shows."""

import dataclasses
from itertools import product

import pytest
import torch

from causalnb import models
from causalnb.chapters.counterfactual import examples, strategies
from causalnb.chapters.counterfactual.closed_forms import images_of, two_classes
from causalnb.chapters.counterfactual.filters import ci
from causalnb.chapters.counterfactual.networks import Net
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.data import Images


def of(model, layer, fitted, test):
    """A network with the same images for whatever is asked of them."""
    return Net("x", model, layer, fitted, test, test, test, torch.empty(0), (1, 1))


@pytest.fixture(scope="module")
def net():
    model = models.gap_cnn(classes=3, seed=1).eval()
    pixels = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        labels = model(pixels).argmax(1)
    images = Images("x", "test", pixels, labels, ("a", "b", "c"), "")
    return of(model, "relu3", images, images)


@pytest.fixture(scope="module")
def some(net):
    labels = tuple(net.test.labels.unique().tolist()[:2])
    return examples.first_right(net, labels or (0,))


def test_examples_are_the_first_of_their_class_that_the_network_gets_right(net, some):
    label = int(some.labels[0])
    wrong = net.test.labels.clone()
    first = int((wrong == label).nonzero()[0, 0])
    wrong[first] = (label + 1) % 3
    moved = Images("x", "test", net.test.images, wrong, net.test.classes, "")
    again = examples.first_right(of(net.model, net.layer, net.fitted, moved), (label,))
    assert torch.equal(some.images[0], net.test.images[first])
    assert not torch.equal(again.images[0], some.images[0])


def test_vectors_are_the_packages_in_log_odds_and_subtracted_in_float32(net, some):
    found = examples.vectors(net, {("none", "0"): some.images})["none", "0"]
    exact = ci(net.model, some.images, net.layer)
    assert torch.equal(found["log-odds"].ci, exact.log_odds)
    assert torch.allclose(found["float32"].ci, exact.ci, atol=1e-6)
    assert torch.equal(found["float32"].classes, exact.classes)


def test_a_sure_network_has_no_ci_in_float32_and_all_of_them_in_log_odds():
    model, image = two_classes([1.0] * 20, scale=2.0)
    images = Images(
        "x",
        "test",
        torch.cat([image, images_of(torch.zeros(1, 20))]).float(),
        torch.tensor([0, 0]),
        ("a", "b"),
        "",
    )
    found = examples.vectors(of(model.float(), "relu", images, images), {("none", "0"): image.float()})
    seen = found["none", "0"]
    assert "S1 passes it: 0 of 20 filters are causal" in examples.said(
        ("a", "b"), seen["float32"], 0, "float32"
    )
    assert ": 20 have a CI of 0 in float32" in examples.said(("a", "b"), seen["float32"], 0, "float32")
    assert ": ρ is not defined" in examples.said(("a", "b"), seen["float32"], 0, "float32")
    assert ": 20 of 20" in examples.said(("a", "b"), seen["log-odds"], 0, "log-odds")


def test_each_strategy_flags_what_is_below_the_limit_that_clean_images_fixed(net, some):
    seen = examples.vectors(net, {("none", "0"): some.images})["none", "0"]["log-odds"]
    filters = ci(net.model, net.held_out.images, net.layer)
    held = strategies.scores(filters.log_odds, filters.classes, seen.prototypes)
    for name, limit in seen.limits.items():
        assert (-held[name] < limit).double().mean() <= examples.RATE
    strict = {name: 1e3 for name in seen.limits}
    for limits, word in ((strict, "flags"), ({name: -1e3 for name in strict}, "passes")):
        said = examples.said(net.test.classes, dataclasses.replace(seen, limits=limits), 0, "log-odds")
        assert [one.split()[1] for one in said.split(". ")[-4:]] == [word] * 4


@pytest.mark.parametrize(
    ("strategy", "value", "limit", "said"),
    [
        ("S1", 12, 32, "S1 flags it: x, 32 needed."),
        ("S1", 32, 32, "S1 passes it: x, 32 needed."),
        ("S3", 0, 0, "S3 passes it: x, none is needed."),
        ("S2", 0.7, -0.25, "S2 passes it: x, -0.25 is needed."),
    ],
)
def test_a_strategy_says_its_limit(strategy, value, limit, said):
    assert examples._judged(strategy, "x", value, limit) == said


def test_bars_stand_in_the_order_of_the_prototype(net, some):
    of = examples.vectors(net, {("none", "0"): some.images})["none", "0"]["log-odds"]
    bars = examples.bars(net.test.classes, some.images[0], of, 0, "log-odds")
    assert bars.over.tolist() == sorted(bars.over.tolist(), reverse=True)
    assert sorted(bars.values.tolist()) == sorted(of.ci[0].tolist())


def test_there_is_a_tile_for_every_choice_and_attacks_are_kept_within_their_budget(net, some):
    class Run:
        p, store = Parameters.resolve({}), None

    versions = examples.attacked(Run(), net, some, (0.2,)) | {("none", "0.2"): some.images}
    assert set(versions) == {(attack, "0.2") for attack in (*examples.ATTACKS, "none")}
    assert all((images - some.images).abs().max() <= 0.2 + 1e-6 for images in versions.values())
    names = {row: f"image {row}" for row in range(len(some))}
    choices, tiles = examples.tiles(names, some, versions, examples.vectors(net, versions))
    assert list(choices) == ["image", "attack", "budget", "scale"]
    assert set(tiles) == set(product(*choices.values()))
