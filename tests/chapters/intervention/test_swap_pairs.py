import pytest
import torch

from benchmarks import __main__, intervention
from causalnb.chapters.intervention import engine, sets


@pytest.fixture
def short(monkeypatch):
    """Few sets, timed once."""
    monkeypatch.setattr(intervention, "LATTICE", 8)
    side_by_side = intervention.side_by_side
    monkeypatch.setattr(intervention, "side_by_side", lambda *a, **k: side_by_side(*a, **{**k, "rounds": 1}))
    of_size, every = sets.of_size, sets.every
    monkeypatch.setattr(intervention.sets_, "of_size", lambda channels, size: of_size(channels, size)[::70])
    monkeypatch.setattr(intervention.sets_, "every", lambda channels: every(channels)[::1024])
    monkeypatch.setattr(intervention, "_part", lambda: every(16)[::8192])
    monkeypatch.setattr(intervention, "NAIVE", 2)


def test_the_seven_pairs_are_known():
    sizes = {f"swap-size-3{end}" for end in ("", "-cached", "-single", "-tail")}
    lattices = {f"swap-all-mnist37{end}" for end in ("", "-cached", "-pool")}
    assert set(intervention.PAIRS) == sizes | lattices < set(__main__.pairs())


def test_the_other_ways_are_what_ours_is_compared_with():
    for case in (intervention.resnet(2), intervention.small(3)):
        model, clean, attacked = case
        chosen = torch.tensor([0, 5, 4097, sets.whole(16)])
        text = engine.by_the_text(model, "conv1", clean, attacked, chosen)
        for other in (intervention.naive, intervention.cached, intervention._one_at_a_time):
            assert (other(*case, chosen) - text).abs().max() < 1e-5
    assert (intervention._at_pool(*case, chosen) - text).abs().max() < 1e-5


@pytest.mark.parametrize("pair", ["swap-size-3-cached", "swap-size-3-tail", "swap-all-mnist37-pool"])
def test_a_pair_gives_its_fields_and_equal_results(short, pair):
    made = intervention.PAIRS[pair]()
    assert made["pair"] == pair and made["difference"] < 1e-5 and made["ratio"] > 0 and made["threads"] == 1
