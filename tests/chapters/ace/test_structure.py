"""A LeNet that its user changed gives the table of plain forwards, whatever was changed."""

import copy
import types
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from causalnb import UserError
from causalnb.chapters.ace import propagation, structure
from causalnb.chapters.ace.interventions import interventional_table, scores
from causalnb.models import LeNet, lenet

ALPHAS = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
SIZE = 12


class Doubled(LeNet):
    def forward(self, images):
        return 2 * super().forward(images.flip(3))


class Same(LeNet):
    pass


class Shifted(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs).roll(1, -1)


def becomes(kind):
    """A model, or a part of it by name, that is of another class from now on."""

    def change(model, *, part=""):
        model.get_submodule(part).__class__ = kind

    return change


def part(name, make):
    return lambda model: setattr(model, name, make())


def setting(name, **values):
    """Settings of a part as a user assigns them, without building it anew."""

    def change(model):
        for key, value in values.items():
            setattr(getattr(model, name), key, value)

    return change


def convolution(name, *, loud=1.0, **options):
    """A convolution of another kind in the place of conv1 or conv2, its outputs as many places as before."""

    def change(model):
        old = getattr(model, name)
        new = nn.Conv2d(old.in_channels, old.out_channels, **options)
        new.weight.data *= loud
        setattr(model, name, new)

    return change


def forward_of_its_own(model):
    model.forward = types.MethodType(lambda self, images: LeNet.forward(self, images).square(), model)


def forward_of_an_activation(model):
    model.activation.forward = torch.sin


def inner_convolution(model):
    inner = model.conv1._conv_forward
    model.conv1._conv_forward = lambda *args: inner(*args).roll(1, 3)


def hook(name):
    return lambda model: model.get_submodule(name).register_forward_hook(lambda *args: args[2].flip(1))


def pre_hook(name):
    return lambda model: model.get_submodule(name).register_forward_pre_hook(
        lambda module, inputs: (inputs[0].roll(1, -1),)
    )


def wrapped(name, *more):
    return lambda model: setattr(model, name, nn.Sequential(getattr(model, name), *more))


def narrower(model):
    model.fc1, model.fc2 = nn.Linear(16, 50), nn.Linear(50, 84)


def smaller_weight(model):
    model.conv1.weight = nn.Parameter(model.conv1.weight[..., 1:4, 1:4])
    model.conv1.padding = 1


def no_biases(model):
    for name in structure.LAYERS:
        getattr(model, name).bias = None


HARMLESS = {
    "nothing": lambda model: None,
    "no biases": no_biases,
    "another width": narrower,
    "activation in place": part("activation", lambda: nn.ReLU(inplace=True)),
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "a part that forward never calls": lambda model: setattr(model, "extra", nn.Dropout()),
    "in training": lambda model: model.train(),
}
CHANGED = {
    "circular padding": setting("conv1", padding_mode="circular"),
    "circular convolution": convolution("conv1", kernel_size=5, padding=2, padding_mode="circular"),
    "reflecting convolution": convolution("conv1", kernel_size=5, padding=2, padding_mode="reflect"),
    "3 x 3": convolution("conv1", kernel_size=3, padding=1),
    "7 x 7": convolution("conv1", kernel_size=7, padding=3),
    "wider by dilation": convolution("conv1", kernel_size=5, dilation=2, padding=4),
    "dilated 3 x 3": convolution("conv2", kernel_size=3, dilation=2),
    "in two groups": convolution("conv2", kernel_size=5, groups=2),
    "padded by a word": convolution("conv1", kernel_size=5, padding="same"),
    "smaller weight": smaller_weight,
    "overlapping pool": part("pool", lambda: nn.MaxPool2d(3, 2, 1)),
    "shifted pool": part("pool", lambda: nn.MaxPool2d(2, 2, padding=1)),
    "pool with gaps": part("pool", lambda: nn.MaxPool2d(2, 2, dilation=1, ceil_mode=True)),
    "sums instead of means": part("pool", lambda: nn.AvgPool2d(2, divisor_override=1)),
    "power pool": part("pool", lambda: nn.LPPool2d(2, 2)),
    "leaky": part("activation", lambda: nn.LeakyReLU(0.2)),
    "bent": part("activation", nn.GELU),
    "activation with a forward of its own": forward_of_an_activation,
    "two activations": wrapped("activation", nn.Sigmoid()),
    "conv in a sequence": wrapped("conv1", nn.BatchNorm2d(6)),
    "fc with dropout": wrapped("fc2", nn.Dropout(0.9)),
    "another linear": lambda model: becomes(Shifted)(model, part="fc2"),
    "subclass": becomes(Doubled),
    "subclass that changes nothing": becomes(Same),
    "forward": forward_of_its_own,
    "inner convolution": inner_convolution,
    "weight norm": lambda model: parametrizations.weight_norm(model.fc1),
    "pruned": lambda model: prune.l1_unstructured(model.conv2, "weight", amount=0.5),
    "hook on conv1": hook("conv1"),
    "hook on pool": hook("pool"),
    "hook on the model": hook(""),
    "hook before fc3": pre_hook("fc3"),
    "hook before the model": pre_hook(""),
    "weights that are no numbers": lambda model: model.fc3.weight.data.fill_(torch.nan),
}
ALL = HARMLESS | CHANGED


def changed(*names, variant="relu-max", seed=0):
    model = lenet(variant=variant, size=SIZE, classes=3, seed=seed).double()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name in names:
            ALL[name](model)
    for parameter in model.double().parameters():
        parameter.data *= 3
    return model


def rows(n=2):
    return torch.rand(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@torch.no_grad()
def plain(model, images):
    """The expectations by whole networks in evaluation mode, written out."""
    model = model.eval()
    each = images.flatten(1)[:, None, None].repeat(1, SIZE**2, len(ALPHAS), 1)
    for pixel in range(SIZE**2):
        each[:, pixel, :, pixel] = ALPHAS
    logits = model(each.view(-1, 1, SIZE, SIZE))
    return scores(logits.view(*each.shape[:3], -1)).mean(1)


def outcome(work):
    """What comes back, or the kind of error."""
    try:
        return work()
    except (RuntimeError, ValueError) as error:
        return type(error)


def assert_right(model):
    images = rows()
    found = outcome(lambda: interventional_table(model, images, ALPHAS).expectation)
    expected = outcome(lambda: plain(model, images))
    if isinstance(expected, type):
        assert found is expected
    else:
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0, equal_nan=True)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    names=st.lists(st.sampled_from(sorted(ALL)), max_size=2, unique=True),
    variant=st.sampled_from(["relu-max", "tanh-average"]),
    seed=st.integers(0, 5),
)
def test_any_two_changes_at_once_give_the_table_of_plain_forwards(names, variant, seed):
    try:
        model = changed(*names, variant=variant, seed=seed)
    except (AttributeError, TypeError, RuntimeError):
        reject()  # the second change found nothing to hold on to
    assert_right(model)


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_change_alone_gives_the_table_of_plain_forwards(name):
    assert_right(changed(name))


@pytest.mark.parametrize("name", sorted(ALL))
def test_propagation_takes_what_is_harmless_and_nothing_else(name):
    model = changed(name).eval()
    found = propagation.obstacle(model, rows(), ALPHAS.expand(2, 144, 3), torch.arange(144))
    assert bool(found) is (name in CHANGED), found


SEEN = [
    "circular convolution", "reflecting convolution", "sums instead of means", "leaky", "forward", "subclass",
    "activation with a forward of its own", "inner convolution", "pruned", "hook on conv1", "hook on pool",
    "hook on the model", "hook before fc3", "hook before the model", "another linear",
]  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_change_that_no_list_foresees_shows_in_the_answers(name, monkeypatch):
    monkeypatch.setattr(structure, "obstacle", lambda model, images: "")
    assert_right(changed(name))


def test_a_class_that_was_patched_shows_in_the_answers(monkeypatch):
    original = LeNet.forward
    monkeypatch.setattr(LeNet, "forward", lambda self, images: original(self, images).roll(1, 1))
    assert_right(changed("nothing"))


def test_a_hook_on_every_module_counts():
    handle = nn.modules.module.register_module_forward_hook(lambda *args: args[2] * 1.5)
    try:
        assert_right(changed("nothing"))
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "name, reason",
    [
        ("3 x 3", r"its conv1 has kernel_size \(3, 3\), not 5"),
        ("shifted pool", "its pool has padding 1, not 0"),
        ("circular padding", "its conv1 has padding_mode circular, not zeros"),
        ("leaky", "its activation is a LeakyReLU, not a ReLU or a Tanh"),
        ("hook on pool", "its pool has a hook"),
        ("forward", "its model has a forward of its own"),
        ("subclass", "the model is a Doubled, not the book's LeNet"),
        ("smaller weight", r"its conv1 has padding 1, not 2"),
        ("weights that are no numbers", "it gave other logits than the model"),
    ],
)
def test_who_asks_for_propagation_is_told_why_not(name, reason):
    with pytest.raises(UserError, match=f"cannot take a .* 12 x 12: {reason}; choose 'auto' or 'forward'"):
        interventional_table(changed(name), rows(), ALPHAS, method="propagate")


@pytest.mark.parametrize("size, fits", [(12, True), (16, True), (28, True), (30, False), (14, False)])
def test_sizes_that_4_divides_are_taken(size, fits):
    assert (structure.obstacle(lenet(size=size), torch.zeros(1, 1, size, size)) == "") is fits


@pytest.mark.parametrize(
    "model, images, context, reason",
    [
        (lenet(), torch.zeros(1, 1, 32, 32), nullcontext(), r"its fc1 has weights \[120, 400\]"),
        (lenet(), torch.zeros(1, 3, 28, 28), nullcontext(), r"its conv1 has weights \[6, 1, 5, 5\], not"),
        (lenet(), torch.zeros(1, 1, 28, 12), nullcontext(), "square images"),
        (lenet().half(), torch.zeros(1, 1, 28, 28).half(), nullcontext(), "not float32 or float64"),
        (lenet().double(), torch.zeros(1, 1, 28, 28), nullcontext(), "no plain torch.float32 weights on cpu"),
        (lenet(), torch.full((1, 1, 28, 28), torch.inf), nullcontext(), "not finite"),
        (lenet(), torch.zeros(1, 1, 28, 28), torch.autocast("cpu", torch.bfloat16), "autocast"),
    ],
)
def test_images_of_another_size_kind_or_precision_are_not_taken(model, images, context, reason):
    with context:
        assert reason.replace("\\", "") in structure.obstacle(model, images)


def test_values_that_are_not_finite_go_through_whole_networks():
    values = torch.tensor([0.0, torch.inf], dtype=torch.float64).expand(2, 144, 2)
    assert propagation.obstacle(changed("nothing"), rows(), values, torch.arange(144)) == (
        "the values are not finite"
    )


def test_looking_at_a_model_leaves_it_as_it_was():
    model = changed("in training")
    before = copy.deepcopy(model.state_dict())
    interventional_table(model, rows(), ALPHAS)
    assert model.training and all(
        torch.equal(before[key], value) for key, value in model.state_dict().items()
    )
