"""The benchmark's pairs compare equals."""

import torch

from benchmarks import alignment
from benchmarks.__main__ import pairs


def test_both_pairs_are_known():
    assert set(alignment.PAIRS) <= set(pairs())


def test_the_recomputed_form_has_the_same_gradients():
    settings = {"base": "trades-printed", "weight": 0.5}
    made = [alignment.text(kind, **settings).double() for kind in (alignment.Recomputed, alignment.CausalAdv)]
    assert alignment.apart(*made, n=4) < 1e-12


def test_a_pair_sees_a_difference():
    one, other = (alignment.text(base="trades-printed", weight=weight).double() for weight in (0.5, 0.6))
    assert alignment.apart(one, other, n=4) > 1e-6


def test_madrys_step_is_ms_without_the_style_term():
    theirs = alignment.adversarial(norm="linf", eps=0.3, step=0.01, steps=10)
    assert alignment.apart(theirs, alignment.text(weight=0.0).double(), n=4) == 0


def test_a_pair_runs(monkeypatch):
    monkeypatch.setattr(alignment, "BALL", alignment.Ball(0.3, 0.01, 1))
    monkeypatch.setattr(alignment, "problem", lambda n=4, real=alignment.problem: real(min(n, 4)))
    found = alignment.PAIRS["alignment-step-madry"]()
    assert found["pair"] == "alignment-step-madry" and found["difference"] == 0 and found["ratio"] > 0
    assert found["threads"] == 1 and torch.get_num_threads() >= 1
