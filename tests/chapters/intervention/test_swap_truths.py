"""The checks that the ledger names, each run and each seen to fail when what it checks is broken; errata."""

import doctest

import pytest
import torch

from causalnb import ledger
from causalnb.chapters import intervention
from causalnb.chapters.intervention import checks_of_truths, closed_forms, engine, errata, sets, values
from causalnb.chapters.intervention.metrics import effects

CHECKS = checks_of_truths.CHECKS


@pytest.mark.parametrize("id", CHECKS)
def test_each_check_holds(id):
    made = CHECKS[id]()
    assert made.holds and made.id == f"check.{id}" and made.n > 0 and made.what


def test_every_check_and_erratum_has_its_row_and_no_row_waits_for_none():
    rows = {row.id for row in ledger.load("intervention").rows}
    assert {id for id in rows if id.startswith("check.")} == {f"check.{id}" for id in CHECKS}
    assert {id for id in rows if id.startswith("erratum.")} == {one.id for one in errata.by_logic()}


def test_no_erratum_holds_as_printed():
    found = errata.by_logic()
    assert [one.id for one in found if one.holds] == [] and all(one.what for one in found)
    assert errata.the_usual_threshold(usual=0.05).holds


def test_the_examples_are_true():
    for module in (intervention, closed_forms, errata):
        assert doctest.testmod(module).failed == 0


# Broken on purpose ---------------------------------------------------------------------------------------


def test_a_swap_the_wrong_way_round_is_seen(monkeypatch):
    right = sets.members
    monkeypatch.setattr(sets, "members", lambda one, channels: ~right(one, channels))
    assert not CHECKS["I1"]().holds and not CHECKS["I2"]().holds


def test_a_product_that_forgets_a_channel_is_seen_and_the_plain_way_taken(monkeypatch):
    right = engine._Product.give

    def give(self, inside):
        right(self, inside & (torch.arange(inside.shape[1]) != 3))

    monkeypatch.setattr(engine._Product, "give", give)
    with pytest.raises(AssertionError):
        CHECKS["I13"]()


def test_another_weight_of_sizes_is_no_shapley_value(monkeypatch):
    right = values.shapley
    monkeypatch.setattr(values, "shapley", lambda of: right(of) * 1.001)
    assert not CHECKS["I9"]().holds and not CHECKS["toy"]().holds


# By numbers worked out here ------------------------------------------------------------------------------


def test_the_table_of_the_planted_channel_to_nine_digits():
    v = closed_forms.swapped(closed_forms.planted(torch.tensor([10.0] + [1.0] * 15)), 16, sets.every(16))
    made = v.table()
    expected = {2: (1.004987562, 0.198992437), 7: (1.029563014, 0.570570284), 15: (1.067707825, 1.022347192)}
    for size, (planted, other) in expected.items():
        assert made.at(size)[0, 0].item() == pytest.approx(planted, abs=1e-9)
        assert made.at(size)[0, 5].item() == pytest.approx(other, abs=1e-9)


def test_the_mean_of_size_two_by_hand_is_818912585():
    v = closed_forms.swapped(closed_forms.linear(closed_forms.TOY, (0, 0)), 4, sets.every(4)).table()
    assert f"{v.mean[0, 1].item():.8f}" == "8.18912585"


@pytest.mark.parametrize(
    ("size", "both", "other"), [(3, 0.133333, 0.009524), (7, 0.4, 0.142857), (14, 0.866667, 0.742857)]
)
def test_channels_that_act_together(size, both, other):
    found = closed_forms.swapped(closed_forms.together(), 16, sets.of_size(16, size)).table().at(size)[0]
    assert found[0].item() == pytest.approx(both, abs=1e-6)
    assert found[9].item() == pytest.approx(other, abs=1e-6)


def test_an_attack_of_twice_the_margin_needs_eight_channels():
    sevens = closed_forms.swapped(closed_forms.boundary(2), 16, sets.drawn(16, 7, 5, seed=0))
    eights = closed_forms.swapped(closed_forms.boundary(2), 16, sets.drawn(16, 8, 5, seed=0))
    assert (sevens.aea == 0).all() and (eights.aea == 1).all()


def test_a_network_in_float32_keeps_its_precision():
    model = closed_forms.planted(torch.ones(16)).float()
    clean = torch.zeros(2, 16, 1, 1)
    found = effects(model, "conv", clean, clean + 1, torch.zeros(2).long(), sets.of_size(16, 1))
    assert (found.norms.double() - 0.1).abs().max() < 1e-7
