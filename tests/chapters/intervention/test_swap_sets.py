"""Sets as bits against itertools, and the numbers of section 3.5 of the method's counts."""

import doctest
import math
from itertools import combinations

import pytest
import torch

from causalnb import UserError
from causalnb.chapters.intervention import sets


def test_the_examples_are_true():
    assert doctest.testmod(sets).failed == 0


@pytest.mark.parametrize("size", range(17))
def test_all_sets_of_a_size_are_there_once(size):
    found = sets.of_size(16, size)
    assert len(found) == math.comb(16, size) == len(found.unique())
    assert (sets.sizes(found, 16) == size).all() and (found.diff() > 0).all()


def test_the_counts_of_the_paper():
    assert len(sets.up_to(16, 3)) == 696 and len(sets.up_to(32, 4)) == 41_448
    assert len(sets.every(16)) - 1 == 65_535 and sets.whole(16) == 65_535


def test_members_are_the_channels_of_the_set():
    expected = {sum(1 << j for j in chosen): chosen for chosen in combinations(range(6), 3)}
    for one in sets.of_size(6, 3).tolist():
        assert sets.members(torch.tensor(one), 6).nonzero().flatten().tolist() == list(expected[one])


def test_drawn_sets_are_of_the_size_none_twice_and_the_seeds():
    found = sets.drawn(16, 7, 500, seed=3)
    assert len(found.unique()) == 500 and (sets.sizes(found, 16) == 7).all()
    assert torch.equal(found, sets.drawn(16, 7, 500, seed=3))
    assert not torch.equal(found, sets.drawn(16, 7, 500, seed=4))
    assert torch.equal(sets.drawn(16, 15, 500, seed=0), sets.of_size(16, 15))


def test_every_channel_is_drawn_about_as_often():
    share = sets.members(sets.drawn(16, 4, 1500, seed=0), 16).double().mean(0)
    assert (share - 0.25).abs().max() < 0.05


def test_prefixes_grow_by_one_channel_to_all():
    orders = sets.permutations(5, 3, 2, seed=0)
    assert orders.shape == (3, 4, 5) and torch.equal(orders[:, 2:], orders[:, :2].flip(2))
    made = sets.prefixes(orders)
    assert (sets.sizes(made, 5) == torch.arange(1, 6)).all() and (made[..., -1] == 31).all()


def test_permuted_sets_rename_their_channels():
    assert sets.permuted(torch.tensor([0b011]), torch.tensor([2, 0, 1])).tolist() == [0b101]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: sets.of_size(65, 1), "65 channels"),
        (lambda: sets.of_size(16, 17), "17 of 16"),
        (lambda: sets.of_size(40, 20), "too many to list"),
        (lambda: sets.every(32), "too many to list"),
    ],
)
def test_what_cannot_be_listed_is_refused_in_a_sentence(make, told):
    with pytest.raises(UserError, match=told):
        make()


def test_sixty_four_channels_fit():
    alone, but_one = sets.of_size(64, 1), sets.of_size(64, 63)
    assert torch.equal(sets.members(alone, 64).sum(0), torch.ones(64, dtype=torch.int64))
    assert (sets.sizes(but_one, 64) == 63).all() and len(but_one.unique()) == 64
    assert sets.members(torch.tensor(sets.whole(64)), 64).all()
    assert (sets.prefixes(sets.permutations(64, 2, 1, seed=0))[..., -1] == sets.whole(64)).all()
