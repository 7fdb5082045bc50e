"""The fast way against the paper's, on the book's networks, torchvision's and a user's module."""

import doctest

import pytest
import torch
from swapping import alive, pair
from torch import nn

from causalnb import UserError, models
from causalnb.chapters.intervention import engine as engine_
from causalnb.chapters.intervention import metrics, permutation, sets, values
from causalnb.vision import import_torchvision


def some(channels, seed=0):
    ends = torch.tensor([0, sets.whole(channels)])
    return torch.cat([ends, sets.of_size(channels, 1)[:4], sets.drawn(channels, 3, 10, seed=seed)])


class Users(nn.Module):
    """A shortcut, a functional activation, two convolutions that read the swapped features, one grouped."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 4, 3, stride=2, padding=1), nn.Conv2d(8, 4, 1, stride=2)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        sides = torch.cat([self.left(x), self.right(x)], dim=1).relu().mean((2, 3))
        return self.head(torch.cat([sides, self.deep(x).mean((2, 3))], dim=1))


CASES = {
    "resnet20": (models.resnet20, "conv1", (3, 16), "relu1", 1),
    "resnet20 block": (models.resnet20, "stage2.0", (3, 16), "stage2.0", 1),
    "cnn37": (models.cnn37, "conv1", (1, 28), "pool1", 1),
    "cnn37 second": (models.cnn37, "conv2", (1, 28), "pool2", 1),
    "lenet": (models.lenet, "conv1", (1, 28), "conv1", 0),
    "gap_cnn": (models.gap_cnn, "conv1", (1, 8), "relu1", 1),
    "user": (Users, "first", (3, 12), "norm", 0),
    "torchvision": (
        lambda: import_torchvision().models.resnet18(weights=None, num_classes=5),
        "conv1",
        (3, 16),
        "maxpool",
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_fast_way_is_the_papers_way(name):
    make, layer, shape, seam, seconds = CASES[name]
    model = alive(make())
    clean, attacked = pair(*shape)
    engine = engine_.Engine(model, layer)
    chosen = some(engine.width(clean))
    found = torch.stack([one.logits for one in engine(clean, attacked, chosen)])
    slow = engine_.by_the_text(model, layer, clean, attacked, chosen)
    assert (found - slow).abs().max() < 1e-12 * max(1, float(slow.abs().max()))
    assert (slow[:, 0] - slow[:, 1]).abs().max() > 1e-6, "the attack changes nothing: the test says nothing"
    assert engine.seam == seam and len(engine.seconds) == seconds
    assert engine.notes == []


def test_the_examples_are_true():
    for module in (engine_, metrics):
        assert doctest.testmod(module).failed == 0


def test_the_model_stays_as_it_is():
    model = alive(models.resnet20())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_modules()]
    engine_.swap(model, "conv1", *pair(3, 16))
    assert [name for name, _ in model.named_modules()] == names
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.requires_grad for value in model.parameters())


def test_each_image_may_have_sets_of_its_own():
    model, (clean, attacked) = alive(models.cnn37(size=8)), pair(1, 8, n=3)
    own = torch.stack([sets.drawn(16, 4, 6, seed=seed) for seed in range(3)])
    found = engine_.swap(model, "conv1", clean, attacked, own)
    for row in range(3):
        slow = engine_.by_the_text(model, "conv1", clean[row : row + 1], attacked[row : row + 1], own[row])
        assert (found[row] - slow[0]).abs().max() < 1e-13


def test_a_fast_way_that_gives_other_numbers_is_noticed_and_left():
    model, (clean, attacked) = alive(models.resnet20()), pair(3, 16)
    engine = engine_.Engine(model, "conv1")
    engine.own.fc.weight.data *= 2
    found = torch.stack([one.logits for one in engine(clean, attacked, some(16))])
    assert engine.notes == ["the fast way gave other numbers"] and engine.seconds == []
    assert (found - engine_.by_the_text(model, "conv1", clean, attacked, some(16))).abs().max() < 1e-12


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(UserError, match="training mode"):
        engine_.Engine(models.resnet20(), "conv1")


def test_a_layer_past_which_values_flow_is_refused_in_a_sentence():
    with pytest.raises(UserError, match="stage1.0.conv1 cannot be cut"):
        engine_.Engine(models.resnet20().eval(), "stage1.0.conv1")


# Effects -------------------------------------------------------------------------------------------------


def measured(n=6, chosen=None):
    model, (clean, attacked) = alive(models.cnn37(size=8, classes=3)), pair(1, 8, n=n)
    with torch.no_grad():
        labels = model(clean).argmax(1)
    chosen = sets.up_to(16, 2) if chosen is None else chosen
    return model, clean, attacked, metrics.effects(model, "conv1", clean, attacked, labels, chosen)


def test_effects_are_their_definitions():
    model, clean, attacked, found = measured()
    slow = engine_.by_the_text(model, "conv1", clean, attacked, found.sets)
    with torch.no_grad():
        z = model(clean)
    norms = (slow - z[:, None]).norm(dim=2)
    assert (found.norms.double() - norms).abs().max() < 1e-7
    assert torch.allclose(found.ael, norms.mean(0), atol=1e-7)
    assert torch.equal(found.wrong, slow.argmax(2) != found.labels[:, None])
    assert torch.equal(found.wrong, found.margins < 0) and found.right.all()
    assert torch.allclose(found.table().at(1)[:, 3], found.norms[:, 3].double())


def test_an_image_that_was_wrong_before_makes_aea_negative_where_a_swap_mends_it():
    _, clean, attacked, found = measured()
    one = metrics.Effects(
        found.sets,
        16,
        found.norms,
        found.margins,
        torch.zeros_like(found.wrong),
        found.clean,
        found.attacked,
        (found.labels + 1) % 3,
    )
    assert (one.aea == -1).all() and not one.right.any()


def test_groups_of_images_join_to_all():
    *_, found = measured()
    again = metrics.joined([found.take(slice(2)), found.take(slice(2, None))])
    assert torch.equal(again.norms, found.norms) and torch.equal(again.labels, found.labels)
    assert found.of(1).norms.shape == (6, 16)


# Permutations --------------------------------------------------------------------------------------------


def lattice(n=5, channels=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    v = torch.rand(n, 1 << channels, generator=g, dtype=torch.float64)
    v[:, 0] = 0
    return v, values.table(v, sets.every(channels), channels)


def test_all_orders_give_the_exact_averages_and_shapley_values():
    from itertools import permutations

    v, exact = lattice(n=2, channels=4)
    orders = torch.tensor(list(permutations(range(4)))).expand(2, -1, -1)
    found = permutation.sampled(v.gather(1, permutation.orders_to_sets(orders)), orders)
    assert (found.phi - values.shapley(exact)).abs().max() < 1e-14
    assert (found.mean - exact.mean).abs().max() < 1e-14
    assert (found.channel() - exact.channel.mean(0)).abs().max() < 1e-14


def test_sizes_1_h_less_1_and_h_are_exact_and_shapley_values_sum_to_all_whatever_is_drawn():
    v, exact = lattice()
    orders = sets.permutations(6, 5, 1, seed=0)
    chosen = permutation.orders_to_sets(orders)
    assert chosen.shape == (5, 2 * 6 + 1 + 2 * 3)
    found = permutation.sampled(v.gather(1, chosen), orders)
    for size in (1, 5, 6):
        assert (found.channel()[size - 1] - exact.at(size).mean(0)).abs().max() < 1e-14
        assert (found.mean[:, size - 1] - exact.mean[:, size - 1]).abs().max() < 1e-14
    assert (found.phi.sum(1) - v[:, -1]).abs().max() < 1e-14


def test_the_truth_lies_within_the_stated_errors():
    v, exact = lattice(n=400, channels=7, seed=1)
    orders = sets.permutations(7, 400, 2, seed=2)
    found = permutation.sampled(v.gather(1, permutation.orders_to_sets(orders)), orders)
    truth, middle = exact.channel.mean(0), slice(1, -2)
    apart = (found.channel() - truth)[middle] / found.errors[middle]
    assert apart.abs().max() < 4.5 and 0.3 < apart.std() < 1.7
    phi = values.shapley(exact)
    off = (found.phi - phi).mean(0) / ((found.phi - phi).std(0) / 20)
    assert off.abs().max() < 4


def test_resampled_images_are_weights():
    v, _ = lattice()
    orders = sets.permutations(6, 5, 2, seed=0)
    found = permutation.sampled(v.gather(1, permutation.orders_to_sets(orders)), orders)
    picked = torch.tensor([[2.0, 0, 1, 1, 1]])
    rows = torch.tensor([0, 0, 2, 3, 4])
    again = permutation.Sampled(found.phi[rows], found.total[rows], found.count[rows], found.mean[rows])
    assert torch.allclose(found.channel(picked)[0], again.channel())


def test_sixty_four_channels_go_by_permutations():
    orders = sets.permutations(64, 2, 1, seed=0)
    chosen = permutation.orders_to_sets(orders)
    weights = torch.arange(64).double()
    found = permutation.sampled(sets.members(chosen, 64).double() @ weights, orders)
    assert (found.phi - weights).abs().max() < 1e-11
