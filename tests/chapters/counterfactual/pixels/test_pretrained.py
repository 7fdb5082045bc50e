"""The network of a reader's own weights: torchvision's VGG16 on a folder of images, with random weights."""

import pytest
import torch
from torch import nn

from causalnb import models, vision
from causalnb.chapters.counterfactual import (
    ci,
    detectors,
    experiments,
    knowing,
    measurements,
    networks,
    questions,
    rates,
)
from causalnb.chapters.counterfactual.filters import Filters
from causalnb.chapters.counterfactual.heads import Head, at_once
from causalnb.data import Images
from causalnb.models import Normalised
from causalnb.notebook import begin
from causalnb.parameters import UserError

CLASSES, FILTERS, SIZE = 5, 32, 32
LOAD = models.load


@pytest.fixture(scope="module")
def narrow():
    """VGG16's layers at a few channels each, a head of three dense layers on 7 x 7 places, as torchvision's."""
    torch.manual_seed(0)
    theirs = vision.import_torchvision().models.vgg
    widths = [c if c == "M" else 8 for c in theirs.cfgs["D"]]
    widths[-2] = FILTERS
    model = theirs.VGG(theirs.make_layers(widths), num_classes=CLASSES, init_weights=False)
    sizes = (FILTERS * 49, 24, 24, CLASSES)
    for place, (before, after) in zip((0, 3, 6), zip(sizes, sizes[1:], strict=False), strict=True):
        model.classifier[place] = nn.Linear(before, after)
    return Normalised(model, networks.MEAN, networks.STD).eval()


@pytest.fixture(scope="module")
def run(narrow, tmp_path_factory):
    """A run whose folder holds images with the labels that the network gives them, so that it is right."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        pixels = torch.rand(120, 3, SIZE, SIZE, generator=generator)
        logits = narrow(pixels)
        # labels by the order of one logit: with random weights one class would take all images
        bias = logits.mean(0)
        narrow.model.classifier[6].bias -= bias
        labels = narrow(pixels).argmax(1)
    classes = tuple("abcde")
    test = Images("imagenet", "test", pixels, labels, classes, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALNB_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setattr(models, "load", lambda path, name, **made: narrow)
        run = begin(
            "counterfactual", profile="quick", device="cpu", weights="vgg16.safetensors", n_images=40,
            n_held_out=40, n_fitted=100, n_attacked=30, n_strong=10, n_matched=5, n_adaptive=5,
            adaptive_steps=5, n_weights=1, n_targets=1, resamples=100, steps=5, roth_draws=2,
        )  # fmt: skip
        run.load = lambda name, split="test": test
        yield run


def test_the_last_convolution_of_torchvision_s_vgg16_is_asked_by_blocks_of_49_places(narrow):
    images = torch.rand(2, 3, SIZE, SIZE)
    found = ci(narrow, images, networks.CONV13)
    assert found.route == "block rank-49 into model.classifier.0" and found.ci.shape == (2, FILTERS)
    slow = Filters(narrow.double(), networks.CONV13)
    exact = slow(images.double())
    slow.routes = slow.routes[1:]
    batched = slow(images.double())
    narrow.float()
    assert batched.route == "batched" and (exact.ci - batched.ci).abs().max() < 1e-12


def test_all_of_the_chapter_from_pixels_is_measured_on_it(run):
    net = networks.network(run)
    assert (net.name, net.layer) == ("imagenet", networks.CONV13) and networks.second(run) is None
    has = experiments.detectives(run, net)
    assert (
        has.known.means.shape[1] == has.known.filters == FILTERS and has.known.kept.shape[1] == FILTERS * 49
    )
    shown, strong, harmless = (
        experiments.shown(run, has), experiments.strong(run, has), experiments.placebos(run, has),
    )  # fmt: skip
    made = measurements.everything(run, has, shown) | rates.everything(run, has, shown, strong, harmless)
    made |= questions.everything(run, has, shown, harmless, knowing.knowing(run, has))
    decided = {row.id for id in made for row in run.ledger.decided_by(id)}
    asked = {row.id for row in run.ledger.rows if row.decided_by.data == "imagenet"}
    assert {id for id in asked - decided if not id.startswith("claim.T14")} == set()


def test_without_a_file_of_weights_the_run_says_so(monkeypatch):
    run = begin("counterfactual", profile="quick", device="cpu", weights="absent.safetensors")
    colour = Images("x", "test", torch.rand(30, 3, 32, 32), torch.arange(30) % 3, ("a", "b", "c"), "")
    monkeypatch.setattr(run, "load", lambda name, split="test": colour)
    monkeypatch.setattr(models, "load", LOAD)
    with pytest.raises(UserError, match="absent.safetensors cannot be read"):
        networks.network(run)


def test_many_classes_and_large_images_are_taken_in_parts_that_change_nothing(run, monkeypatch):
    net = networks.network(run)
    head = Head(net.model, net.layer, net.test.images[:1])
    with torch.no_grad():
        best, second = net.model(net.test.images).topk(2).values.T
    clear = (best - second).argsort(descending=True)[:12]  # no rounding changes their class
    outputs = head.of(net.test.images[clear])
    known = detectors.fit(head, outputs, net.test.labels[clear])
    whole = detectors.of_outputs(head, known, outputs)
    for module in ("heads", "detectors", "strategies"):
        monkeypatch.setattr(f"causalnb.chapters.counterfactual.{module}.NUMBERS", 3 * FILTERS * CLASSES)
    parts = detectors.of_outputs(head, known, outputs)
    assert whole.keys() == parts.keys()
    assert all(torch.allclose(whole[name], parts[name], atol=1e-5) for name in whole)
    assert at_once(torch.empty(500, 3, 224, 224), 200) == 83 and at_once(net.test.images, 200) == 200
