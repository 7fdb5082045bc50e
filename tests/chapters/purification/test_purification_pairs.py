"""The gradient through the defence: what it keeps in memory, and the pairs of the benchmark."""

import weakref
from dataclasses import replace

import pytest
import torch

from benchmarks import __main__, purification
from causalnb.chapters.purification.defence import Settings, defend, drawn, fixed


class _Held:
    def __init__(self, values):
        self.values = values


def most_held(settings, *, bounded, n=2):
    """The most bytes that autograd keeps for a gradient at any time, [counted with hooks on what it saves]."""
    held = {"now": 0, "most": 0}

    def let_go(size):
        held["now"] -= size

    def pack(values):
        kept, size = _Held(values), values.numel() * values.element_size()
        held["now"] += size
        held["most"] = max(held["most"], held["now"])
        weakref.finalize(kept, let_go, size)
        return kept

    model = purification.network()
    x = torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    draw = fixed(settings, x, 0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.values):
        logits = defend(model, x, settings, draw, bounded=bounded)
        torch.autograd.grad(logits.square().sum(), x)
    return held["most"]


def test_a_gradient_keeps_little_more_than_one_step_and_the_states():
    whole = Settings(kind="smooth", steps=3, searches=4)
    one = max(
        most_held(replace(whole, steps=steps, searches=searches), bounded=False)
        for steps, searches in ((1, 0), (0, 1))
    )
    states = 4 * 2 * (3 * 256 + 4 * 3 * 16)
    assert most_held(whole, bounded=True) <= 1.5 * one + states
    assert most_held(whole, bounded=False) >= 3 * one


def test_the_pairs_are_known_and_both_ways_give_the_same_gradient():
    assert set(purification.PAIRS) == {"purify-gradient-memory", "purify-gradient"} < set(__main__.pairs())
    short = Settings(kind="smooth", steps=2, searches=2)
    one, other = (
        purification.gradient(short, bounded=bounded, n=1, dtype=torch.float64) for bounded in (True, False)
    )
    assert float((one - other).norm() / other.norm()) < 1e-6


@pytest.mark.parametrize("kind", ["sign", "smooth"])
def test_nothing_is_kept_where_gradients_are_off(kind):
    settings = Settings(kind=kind, steps=1, searches=1)
    x = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        logits = defend(purification.network(), x, settings, drawn(settings, x))
    assert not logits.requires_grad
