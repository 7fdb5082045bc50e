from functools import partial

import pytest
import torch
from torch import nn

from causalnb import UserError, models
from causalnb.chapters.counterfactual import checks, readings, routes
from causalnb.chapters.counterfactual.filters import Filters, ci, vectors_of
from causalnb.chapters.counterfactual.seams import seam


def images(n, *, channels=3, size=32, dtype=torch.float64):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


NETWORKS = {
    "vgg": (lambda: models.vgg16_cifar(width=0.1, last=24), "relu13", 32, "rank-1 into fc"),
    "dense head": (
        lambda: models.vgg16_cifar(width=0.1, last=24, order="relu-bn"),
        "bn13",
        32,
        "rank-1 into fc1",
    ),
    "convolution": (lambda: models.vgg16_cifar(width=0.1, last=24), "conv13", 32, "rank-1 into fc"),
    "places": (lambda: models.cnn37(channels=3, size=16), "relu4", 16, "block rank-4 into fc"),
    "block": (lambda: models.resnet20(), "stage3.2", 8, "rank-1 into fc"),
    "inside a block": (lambda: models.resnet20(), "stage3.2.conv2", 8, "rank-1 into fc"),
    "before a block": (lambda: models.resnet20(), "stage3.1", 8, "batched"),
    "in an earlier block": (lambda: models.resnet20(), "stage3.1.conv2", 8, "copies"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_route_gives_what_the_whole_network_gives_for_every_filter_in_float64(name):
    make, layer, size, told = NETWORKS[name]
    model, few = checks.alive(make()), images(2, size=size)
    filters = Filters(model, layer)
    with torch.no_grad():
        a = filters.seam.activations(few)
        slow = routes.by_whole(filters.seam, a, few)
        expected = readings.information(*readings.log_odds(slow.whole, slow.without))
        for way in [*filters.routes, routes.by_copies]:
            found = way(filters.seam, a, few)
            apart = readings.information(*readings.log_odds(found.whole, found.without)) - expected
            assert apart.abs().max() < 1e-12
            assert (found.silent | ~slow.silent).all()
    assert filters.told(a.shape[1]) == told and expected.abs().max() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("make", "layer", "size"),
    [
        (lambda: models.vgg16_cifar(width=0.1, last=24), "relu13", 32),
        (lambda: models.vgg16_cifar(width=0.1, last=24, order="relu-bn"), "relu13", 32),
        (lambda: models.resnet20(), "stage3.2", 8),
    ],
)
def test_a_dead_filter_is_exactly_0_by_every_route_also_in_a_batch(make, layer, size, dtype):
    model, few = checks.alive(make()).to(dtype), images(3, size=size, dtype=dtype)
    kill(model, layer, [1, 5])
    filters = Filters(model, layer)
    with torch.no_grad():
        a = filters.seam.activations(few)
        for way in [*filters.routes, routes.by_copies, routes.by_whole]:
            found = way(filters.seam, a, few)
            before, after = readings.log_odds(found.whole, found.without)
            both = readings.information(before, after), before[:, None] - after
            assert all((one[:, [1, 5]] == 0).all() for one in both)
            assert found.silent[:, [1, 5]].all()


def test_the_logits_without_a_silent_filter_are_those_with_it_whatever_rounding_made_of_them():
    whole = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))
    rounded = whole[:, None] + torch.tensor([1e-7, -1e-7, 0.5])[None, :, None]
    silent = torch.tensor([[True, True, False], [False, True, False]])
    found = routes.exact(whole, rounded, silent)
    assert torch.equal(found.without[silent], whole[:, None].expand(-1, 3, -1)[silent])
    assert torch.equal(found.without[~silent], rounded[~silent]) and torch.equal(found.silent, silent)
    ci, odds, *_ = vectors_of(routes.Removed(whole, rounded, silent), "text")
    assert (ci[silent] == 0).all() and (odds[silent] == 0).all() and (odds[~silent] != 0).any()


def kill(model, layer, filters):
    """Let some filters of the layer respond to nothing."""
    hook = lambda module, given, made: made.index_fill(1, torch.tensor(filters), 0)  # noqa: E731
    model.get_submodule(layer).register_forward_hook(hook)


def test_a_filter_that_is_negative_before_a_relu_changes_nothing_and_is_silent():
    model = checks.alive(models.gap_cnn())
    model.conv3.weight.data[7], model.conv3.bias.data[7] = 0, -1
    found = ci(model, images(2, channels=1, size=8), "conv3")
    assert found.silent[:, 7].all() and (found.ci[:, 7] == 0).all() and found.route == "rank-1 into fc"


def test_the_size_of_a_batch_moves_float32_by_less_than_2e_7():
    model, few = checks.alive(models.vgg16_cifar(width=0.1, last=24)).float(), images(5, dtype=torch.float32)
    filters = Filters(model, "relu13")
    whole, parts = filters(few, batch=5), filters(few, batch=2)
    alone = torch.cat([filters(few[i : i + 1]).ci for i in range(5)])
    assert (whole.ci - parts.ci).abs().max() < 2e-7 and (whole.ci - alone).abs().max() < 2e-7
    assert torch.equal(whole.ci == 0, alone == 0)


class Squeezed(nn.Module):
    """A network whose last channels are scaled by what all of them are."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 6, 3), nn.ReLU()
        self.gate, self.fc = Gate(), nn.Linear(6, 3)

    def forward(self, batch):
        return self.fc(self.gate(self.relu(self.conv(batch))).mean((2, 3)))


class Gate(nn.Module):
    def forward(self, a):
        return a * a.mean((1, 2, 3), keepdim=True)


def test_a_gate_over_channels_is_left_to_the_batched_route():
    model = checks.alive(Squeezed())
    found = ci(model, images(2, size=8), "relu")
    slow = routes.by_whole(*seam_of(model, "relu", images(2, size=8)))
    expected = readings.information(*readings.log_odds(slow.whole, slow.without))
    assert found.route == "batched" and (found.ci - expected).abs().max() < 1e-12


def seam_of(model, layer, batch):
    at = seam(model, layer)
    with torch.no_grad():
        return at, at.activations(batch), batch


def test_a_route_that_differs_on_three_filters_gives_way_to_the_next_and_says_so():
    model = checks.alive(models.gap_cnn())
    filters = Filters(model, "relu3")
    wrong = filters.block._replace(linear=nn.Linear(128, 10).double())
    filters.routes[0] = partial(routes.by_block, block=wrong)
    found = filters(images(2, channels=1, size=8))
    assert found.route == "batched"
    assert [note[:40] for note in found.notes] == ["not rank-1 into fc: on three filters it "]
    assert (found.ci - ci(model, images(2, channels=1, size=8), "relu3").ci).abs().max() < 1e-12


def test_silent_filters_are_0_among_a_thousand_classes_whose_sums_may_round_differently():
    model = checks.alive(models.gap_cnn(classes=1000)).float()
    kill(model, "relu3", [3])
    for batch in (
        images(1, channels=1, size=8, dtype=torch.float32),
        images(3, channels=1, size=8, dtype=torch.float32),
    ):
        found = ci(model, batch, "relu3")
        assert (found.ci[:, 3] == 0).all() and (found.log_odds[:, 3] == 0).all()


def test_filters_can_be_features_without_a_map():
    model, few = checks.alive(models.gap_cnn()), images(2, channels=1, size=8)
    found, maps = ci(model, few, "flat"), ci(model, few, "relu3")
    assert found.route == "batched" and (found.ci - maps.ci).abs().max() < 1e-12


def test_where_values_flow_past_the_layer_the_note_says_why_it_is_not_cut():
    found = ci(checks.alive(models.resnet20()), images(1, size=8), "stage3.2.conv2")
    assert found.route == "rank-1 into fc" and "flows past it" in found.notes[0]


@pytest.mark.parametrize(
    ("layer", "mode", "sentence"),
    [
        ("relu13", True, "The model is in training mode, .*: call model.eval\\(\\) first."),
        ("relu14", False, "relu14 is no layer of this model"),
    ],
)
def test_a_model_in_training_and_a_name_that_is_no_layer_are_refused(layer, mode, sentence):
    model = models.vgg16_cifar(width=0.1, last=8).train(mode)
    with pytest.raises(UserError, match=sentence):
        ci(model, images(1, dtype=torch.float32), layer)


def test_a_layer_that_is_called_twice_has_no_filters_of_its_own():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, batch):
            return self.fc(self.conv(self.conv(batch)).mean((2, 3)))

    with pytest.raises(UserError, match="calls conv 2 times on an image"):
        ci(Twice().eval(), images(1, dtype=torch.float32), "conv")


def test_the_model_is_afterwards_as_it_was():
    model = checks.alive(models.resnet20())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ci(model, images(1, size=8), "stage3.2.conv2")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_some_images_can_be_taken_and_none_are_refused():
    filters = Filters(checks.alive(models.gap_cnn()), "relu3")
    found = filters(images(3, channels=1, size=8))
    some = found.take(slice(1, 3))
    assert len(some) == 2 and torch.equal(some.ci, found.ci[1:]) and some.route == found.route
    assert torch.allclose(
        found.probability, filters.logits(images(3, channels=1, size=8)).whole.softmax(1).amax(1)
    )
    with pytest.raises(ValueError, match="no images"):
        filters(images(0, channels=1, size=8))
