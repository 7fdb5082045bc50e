import collections
import random
import types

import numpy as np
import pytest
import torch
from torch import nn

from causalnb.models.copies import copied, undone, unmarked

CALLS, SETTINGS = [], {"scale": 1}


class Noting(nn.Module):
    """Notes each call wherever a function can."""

    everywhere = collections.deque()
    total = 0

    def __init__(self):
        super().__init__()
        self.own, self.counter = [], torch.zeros(1)
        self.box, self.table = types.SimpleNamespace(calls=0), np.zeros(2)
        self.draws, self.numpys, self.torchs = random.Random(1), np.random.default_rng(1), torch.Generator()
        box, times = self.box, 0

        def note(part, given):
            nonlocal times
            times += 1
            box.calls += 1
            part.table[:] += 1

        self.times = lambda: times
        self.register_forward_pre_hook(note)

    def forward(self, images):
        CALLS.append(images)
        SETTINGS["scale"] += 1
        SETTINGS["new"] = images
        self.everywhere.append(images)
        type(self).total += 1
        type(self).late = images
        self.own.append(images)
        self.counter += 1
        return images + torch.rand(1) + random.random() + np.random.rand()


def test_a_call_of_a_copy_is_undone_in_closures_globals_classes_and_generators():
    model, images = Noting(), torch.ones(2)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    with undone(model):
        first = copied(model)(images)
        assert CALLS and Noting.total == 1 and model.times() == 1 and model.box.calls == 1
    assert (CALLS, SETTINGS, list(Noting.everywhere), Noting.total) == ([], {"scale": 1}, [], 0)
    assert (model.own, model.counter.item(), model.times(), model.box.calls) == ([], 0, 0, 0)
    assert not hasattr(Noting, "late") and not model.table.any()
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()
    with undone(model):
        assert torch.equal(copied(model)(images), first)


def test_generators_arrays_and_tensors_of_a_closure_go_back_too():
    held = [torch.zeros(2), np.zeros(2), torch.Generator(), np.random.default_rng(2), random.Random(2)]
    grown = torch.zeros(1)
    model = nn.Identity()
    model.register_forward_hook(lambda *given: None if held else held)
    model.register_forward_hook(lambda *given: grown)

    def draw():
        return torch.rand(1, generator=held[2]).item(), held[3].random(), held[4].random()

    with undone(model):
        held[0].add_(1), np.add(held[1], 1, out=held[1])
        grown.resize_(3)
        first = draw()
    assert held[0].tolist() == held[1].tolist() == [0, 0] and grown.shape == (1,)
    assert draw() == first


def test_everything_goes_back_after_an_error():
    model = Noting()
    with pytest.raises(KeyError), undone(model):
        copied(model)(torch.ones(1))
        raise KeyError
    assert CALLS == []


def test_a_copy_shares_no_tensor_and_has_no_history():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.last = [model(torch.ones(1, 2))]
    copy = copied(model)
    assert copy[0].weight is copy[1].weight is not model[0].weight
    assert copy.last[0].is_leaf and torch.equal(copy.last[0], model.last[0]) and not model.last[0].is_leaf


def test_attributes_and_lists_of_unmarked_modules_are_as_before_their_children_not_looked_at():
    model = nn.Sequential(nn.Identity())
    model.kept, model.rows = [1], {"a": [2]}
    with unmarked([model]):
        model.kept.append(2), model.rows["a"].clear(), setattr(model, "new", 3), setattr(model[0], "new", 4)
        model.register_buffer("seen", torch.zeros(1))
    assert (model.kept, model.rows, hasattr(model, "new"), model[0].new) == ([1], {"a": [2]}, False, 4)
    assert dict(model.named_buffers()) == {}
