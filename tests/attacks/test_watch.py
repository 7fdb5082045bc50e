from itertools import repeat

import torch
from torch import nn

from causalnb.attacks.watch import ROWS, Criterion, WatchedModel, score


def test_passes_forward_and_backward_are_counted_apart(small):
    watched = WatchedModel(small.model, torch.device("cpu"), repeat(0))
    watched.follow(small.images, Criterion(small.labels))
    watched(small.images)
    watched(small.images.clone().requires_grad_())
    watched(small.images[:3])
    assert (watched.forwards, watched.backwards) == (51, 24)


def test_the_watched_model_is_no_submodule_so_that_moving_it_moves_nothing(small):
    assert list(WatchedModel(small.model, torch.device("cpu"), repeat(0)).parameters()) == []


def test_few_images_travel_with_copies_that_do_not_come_back():
    seen = []
    logits = score(lambda images: seen.append(len(images)) or images.flatten(1), torch.rand(3, 1, 2, 2))
    assert seen == [ROWS] and logits.shape == (3, 4)


def test_logits_that_are_not_finite_reach_no_goal():
    logits = torch.tensor([[0.0, 1.0], [0.0, torch.inf], [torch.nan, 0.0], [2.0, 1.0]])
    assert Criterion(torch.tensor([0, 0, 1, 0])).reached(logits).tolist() == [True, False, False, False]
    assert Criterion(torch.tensor([0, 0, 1, 0]), torch.tensor([1, 1, 0, 1])).reached(logits).tolist() == [
        True,
        False,
        False,
        False,
    ]


def test_the_last_iterate_that_reached_the_goal_is_remembered():
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    nn.init.constant_(model[1].bias, 0)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    watched, clean = (
        WatchedModel(model, torch.device("cpu"), repeat(0)),
        torch.tensor([0.3, 0.4]).reshape(2, 1, 1, 1),
    )
    watched.follow(clean, Criterion(torch.tensor([0, 0])))
    for iterate in ([-0.1, 0.1], [-0.2, 0.2]):
        watched(torch.tensor(iterate).reshape(2, 1, 1, 1))
    assert torch.allclose(
        watched.last_success(torch.tensor([0.5, 0.6]).reshape(2, 1, 1, 1)).flatten(),
        torch.tensor([-0.2, 0.4]),
    )
