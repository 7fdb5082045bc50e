"""Two things that may give another answer have another description; what has no content to be seen is refused."""

import copy
import random
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn.utils import parametrizations

from causalnb.attacks.adversarial import adversarial
from causalnb.attacks.randomised import Expectation, Fixed, StraightThrough, Surrogate
from causalnb.data import Images
from causalnb.models import Normalised, lenet
from causalnb.store import Unknowable, describe, read, write
from causalnb.store.identity import digest
from causalnb.training import Recipe, cross_entropy


class Levels(nn.Module):
    """Rounds its input to some levels, kept as a plain attribute."""

    def __init__(self, levels):
        super().__init__()
        self.levels = levels

    def forward(self, images):
        return torch.round(images * (self.levels - 1)) / (self.levels - 1)


def of_source(source, **names):
    """A class that a notebook's cell would define."""
    held = {"nn": nn, "torch": torch, "__name__": "__main__", **names}
    exec(source, held)
    return held["Net"]


NET = "class Net(nn.Module):\n    def forward(self, x):\n        return {}\n"


def seeded(seed=0, activation=nn.ReLU):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), activation(), nn.Linear(4, 3)
        ).eval()


def changed(change, model=None):
    """A network after one change."""
    model = seeded() if model is None else model
    with torch.no_grad():
        change(model)
    return model


def tied():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    return model


def untied():
    model = tied()
    model[1].weight = nn.Parameter(model[0].weight.detach().clone())
    return model


@dataclass(frozen=True)
class Settings:
    steps: int = 3
    step: float = 0.1


class Point(NamedTuple):
    x: int
    y: int


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a


class Plain:
    def __init__(self, a):
        self.a = a


def captures(value):
    def function(x):
        return value * x

    return function


def doubled(x):
    return 2 * x


def images(values=0.5, classes=("a", "b"), name="one"):
    return Images(name, "test", torch.full((2, 1, 2, 2), values), torch.tensor([0, 1]), classes, "digest")


DIFFERENT = {
    "an attribute": lambda: (Levels(256), Levels(2)),
    "an attribute below": lambda: (nn.Sequential(Levels(256), seeded()), nn.Sequential(Levels(2), seeded())),
    "an edited forward": lambda: (of_source(NET.format("x"))(), of_source(NET.format("x + 1"))()),
    "a helper of the forward": lambda: (
        of_source(NET.format("h(x)"), h=captures(1))(),
        of_source(NET.format("h(x)"), h=captures(2))(),
    ),
    "a global number of the forward": lambda: (
        of_source(NET.format("G * x"), G=1)(),
        of_source(NET.format("G * x"), G=2)(),
    ),
    "a forward of the instance": lambda: (
        seeded(),
        changed(lambda model: setattr(model, "forward", captures(3))),
    ),
    "a hook": lambda: (seeded(), changed(lambda m: m[1].register_forward_hook(lambda *all: None))),
    "another hook": lambda: (
        changed(lambda m: m[1].register_forward_hook(captures(1))),
        changed(lambda m: m[1].register_forward_hook(captures(2))),
    ),
    "a weight": lambda: (seeded(), changed(lambda m: m[4].bias[1].add_(1e-6))),
    "a buffer": lambda: (seeded(), changed(lambda m: m[2].running_mean[2].add_(1e-6))),
    "a buffer that is not saved": lambda: tuple(
        changed(lambda m, v=v: m.register_buffer("b", torch.tensor(v), persistent=False)) for v in (1.0, 2.0)
    ),
    "an activation": lambda: (seeded(), seeded(activation=nn.Tanh)),
    "an in-place activation": lambda: (nn.ReLU(), nn.ReLU(inplace=True)),
    "padding": lambda: (
        nn.Conv2d(1, 1, 3, padding=1),
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
    ),
    "eps of a norm": lambda: (nn.BatchNorm1d(2), nn.BatchNorm1d(2, eps=0.1)),
    "weights that are shared": lambda: (tied(), untied()),
    "draws": lambda: (Expectation(seeded(), 1), Expectation(seeded(), 50)),
    "of what the mean is": lambda: (Expectation(seeded(), 2), Expectation(seeded(), 2, of="probabilities")),
    "a fixed seed": lambda: (Fixed(seeded(), 0), Fixed(seeded(), 1)),
    "a function inside": lambda: (StraightThrough(torch.round), StraightThrough(torch.floor)),
    "an own function inside": lambda: (StraightThrough(captures(1)), StraightThrough(captures(2))),
    "the surrogate": lambda: (Surrogate(seeded(), seeded(1)), Surrogate(seeded(), seeded(2))),
    "mean": lambda: (Normalised(seeded(), [0.5], [0.5]), Normalised(seeded(), [0.4], [0.5])),
    "wrapped": lambda: (seeded(), nn.Sequential(seeded())),
    "a variant": lambda: (lenet(seed=0), lenet(seed=0, variant="tanh-average")),
    "a graph": lambda: (fx.symbolic_trace(Levels(3)), fx.symbolic_trace(Levels(4))),
    "a parametrised layer": lambda: (
        nn.Linear(2, 2),
        parametrizations.weight_norm(nn.Linear(2, 2)),
    ),
    "a closure": lambda: (captures(1), captures(2)),
    "a lambda": lambda: (lambda x: x, lambda x: -x),
    "a default": lambda: (lambda x, a=1: a, lambda x, a=2: a),
    "a partial": lambda: (partial(doubled, x=1), partial(doubled, x=2)),
    "a bound method": lambda: (Plain(1).__init__, Plain(2).__init__),
    "a loss's budget": lambda: tuple(adversarial(norm="linf", eps=e, step=0.1, steps=1) for e in (0.1, 0.2)),
    "a field": lambda: (Settings(), Settings(steps=4)),
    "a recipe": lambda: (Recipe(), Recipe(rate=0.1)),
    "a kind of number": lambda: (1, 1.0),
    "truth and one": lambda: (True, 1),
    "text and a number": lambda: ("1", 1),
    "a list and a tuple": lambda: ([1], (1,)),
    "nothing and its name": lambda: (None, "None"),
    "precision": lambda: (torch.ones(2), torch.ones(2).double()),
    "shape": lambda: (torch.ones(2, 1), torch.ones(1, 2)),
    "a bit": lambda: (torch.tensor([0.1]), torch.tensor([0.10000001])),
    "a sign of zero": lambda: (torch.tensor([0.0]), torch.tensor([-0.0])),
    "arrays": lambda: (np.arange(3), np.arange(3.0)),
    "a key's order": lambda: ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "kinds of mappings": lambda: ({}, OrderedDict()),
    "a named tuple": lambda: (Point(1, 2), (1, 2)),
    "slots": lambda: (Slotted(1), Slotted(2)),
    "an object": lambda: (Plain(1), Plain(2)),
    "a namespace": lambda: (SimpleNamespace(a=1), SimpleNamespace(a=2)),
    "pixels": lambda: (images(), images(0.25)),
    "a subset": lambda: (images(), images().take(slice(1))),
    "names of classes": lambda: (images(), images(classes=("a", "c"))),
    "dtypes": lambda: (torch.float32, torch.float64),
    "ends of a range": lambda: (range(2), range(3)),
    "signs of infinity": lambda: (float("inf"), float("-inf")),
}
SAME = {
    "made again": (seeded, seeded),
    "a mode": (seeded, lambda: seeded().train()),
    "gradients asked for": (seeded, lambda: seeded().requires_grad_(False)),
    "a copy": (seeded, lambda: copy.deepcopy(seeded())),
    "a cell that was run again": (lambda: of_source(NET.format("x"))(), lambda: of_source(NET.format("x"))()),
    "a documented cell": (
        lambda: of_source(NET.format("x"))(),
        lambda: of_source(
            "class Net(nn.Module):\n    '''Says.'''\n\n    def forward(self, x):\n        return x\n"
        )(),
    ),
    "the name of a set": (images, lambda: replace(images(), name="two", split="train")),
    "a draw that takes all": (images, lambda: images().take(slice(None))),
    "a field at its default": (Settings, lambda: Settings(steps=3)),
    "a closure made again": (lambda: captures(2), lambda: captures(2)),
    "a function": (lambda: doubled, lambda: doubled),
    "a loss": (lambda: cross_entropy, lambda: cross_entropy),
    "layout in memory": (
        lambda: torch.arange(6.0).view(2, 3),
        lambda: torch.arange(6.0).view(2, 3).T.clone().T,
    ),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_may_answer_differently_is_told_apart(what):
    first, second = DIFFERENT[what]()
    assert digest(first) != digest(second)
    assert digest(first) == digest(first)


@pytest.mark.parametrize("what", SAME)
def test_what_answers_alike_is_one(what):
    first, second = SAME[what]
    assert digest(first()) == digest(second())


REFUSED = {
    "a path": lambda: Path("x"),
    "a torch generator": torch.Generator,
    "a numpy generator": np.random.default_rng,
    "a Python generator of numbers": random.Random,
    "an iterator": lambda: iter([1]),
    "a generator": lambda: (x for x in [1]),
    "an object without content": object,
    "an open file": lambda: open(__file__),  # noqa: SIM115
    "objects in an array": lambda: np.array([object()], dtype=object),
    "a sparse tensor": lambda: torch.eye(2).to_sparse(),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("inside", ["alone", "in a list", "in a model", "in a closure"])
def test_what_has_no_content_to_be_seen_is_refused_in_a_sentence(what, inside):
    value = REFUSED[what]()
    held = {
        "alone": value,
        "in a list": [1, value],
        "in a closure": captures(value),
        "in a model": Levels(value),
    }
    with pytest.raises(Unknowable, match=r"^the thing.* (is of|is a|is an) .*: give .*\.$") as caught:
        describe(held[inside], "the thing")
    place = {"alone": "the thing ", "in a list": "the thing[1]", "in a model": "the thing.levels"}
    assert str(caught.value).startswith(place.get(inside, "the thing (captured).value"))


def test_a_cycle_ends():
    model = seeded()
    object.__setattr__(model, "whole", SimpleNamespace(model=model))
    knot = []
    knot.append(knot)
    assert digest(model) == digest(model) and digest(knot) == digest(knot) != digest([[]])


def test_two_loads_of_one_file_are_one_model(tmp_path):
    write(tmp_path / "weights.safetensors", seeded(3).state_dict(), {})
    loaded = []
    for _ in range(2):
        model = seeded()
        model.load_state_dict(read(tmp_path / "weights.safetensors")[0])
        loaded.append(digest(model))
    assert loaded[0] == loaded[1] == digest(seeded(3)) != digest(seeded())


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(plain, plain)
def test_plain_values_have_one_description_each(first, second):
    assert (describe(first) == describe(second)) == (typed(first) == typed(second))


def typed(value):
    """A value with the types inside it: 1 and 1.0 and True are three."""
    if isinstance(value, dict):
        return ["dict", [[name, typed(one)] for name, one in value.items()]]
    return ["list", [typed(one) for one in value]] if isinstance(value, list) else [type(value), repr(value)]
