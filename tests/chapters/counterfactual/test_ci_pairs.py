import pytest
import torch

from benchmarks import __main__, counterfactual
from causalnb import models
from causalnb.chapters.counterfactual import checks, routes
from causalnb.chapters.counterfactual.filters import Filters


@pytest.fixture
def narrow(monkeypatch):
    """The pairs at a narrow network of 8 filters, timed once."""
    monkeypatch.setattr(
        counterfactual, "network", lambda: checks.alive(models.vgg16_cifar(width=0.1, last=8)).float()
    )
    monkeypatch.setattr(counterfactual, "FILTERS", 8)
    side_by_side = counterfactual.side_by_side
    monkeypatch.setattr(
        counterfactual, "side_by_side", lambda *a, **k: side_by_side(*a, **{**k, "rounds": 1})
    )


def test_the_five_pairs_are_known():
    assert (
        set(counterfactual.PAIRS)
        == {
            "ci-one-image",
            "ci-batch",
            "ci-one-image-copies",
            "ci-one-image-head",
            "ci-batch-head",
        }
        < set(__main__.pairs())
    )


def test_what_the_whole_network_pass_by_pass_gives_is_what_ours_is_compared_with(narrow):
    model, batch = counterfactual.network(), counterfactual.images(2)
    passes = counterfactual.whole_network(model, batch, 9)
    filters = Filters(model, counterfactual.LAYER)
    found = filters.logits(batch)
    assert torch.allclose(passes[:, 0], found.whole.float(), atol=1e-5)
    assert torch.allclose(passes[:, 1:], found.without.float(), atol=1e-5)
    assert counterfactual.difference(model, every=3) < 1e-12


@pytest.mark.parametrize(("way", "n"), [(routes.by_copies, 1), (routes.by_batch, 2)])
def test_a_pair_tells_how_far_both_are_apart_and_what_is_possible(narrow, way, n):
    found = counterfactual.against_route("p", way, n)
    assert found["difference"] < 2e-7 and found["bound"] > 0 and found["pair"] == "p"


def test_a_part_of_the_passes_is_named_and_scaled(narrow):
    found = counterfactual.against_passes("p", 1, 3)
    assert found["subset"] == "3 of 9 passes" and found["bound"] == 9 and found["difference"] < 1e-12
