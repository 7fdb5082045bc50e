import json

import pytest
import torch

from benchmarks import __main__, ace, measure
from causalnb.chapters.ace.interventions import interventional_table

FIELDS = {"pair", "quantity", "ratio", "low", "high", "difference", "bound", "threads", "rounds"}


def test_a_ratio_is_the_median_of_other_over_ours():
    costs = iter([9.0, 1.0, 6.0, 2.0, 10.0, 2.0, 8.0, 2.0])
    result = measure.side_by_side(
        lambda: next(costs), lambda: next(costs), pair="p", quantity="bytes", rounds=3, difference=0.0
    )
    assert (result["ratio"], result["low"], result["high"]) == (4.0, 3.0, 5.0)
    assert set(result) == FIELDS


def test_a_subset_is_scaled_and_named():
    result = measure.side_by_side(
        lambda: 2.0,
        lambda: 4.0,
        pair="p",
        quantity="bytes",
        rounds=2,
        difference=0.0,
        subset="1 of 10",
        scale=10,
    )
    assert result["ratio"] == 5.0 and set(result) == FIELDS | {"subset"}
    assert "the other ran 1 of 10" in measure.sentence(result)


def test_the_thread_count_is_afterwards_as_it_was():
    before = torch.get_num_threads()
    seen = []
    measure.side_by_side(
        lambda: seen.append(torch.get_num_threads()) or 1,
        lambda: 1,
        pair="p",
        quantity="bytes",
        rounds=1,
        threads=1,
        difference=0.0,
    )
    assert set(seen) == {1} and torch.get_num_threads() == before


def test_the_simple_way_and_ours_give_one_table():
    model, rows, alphas = ace.network().double(), ace.images(2).double(), ace.ALPHAS[::10].double()
    assert (
        ace.expectations(model, rows, alphas) - interventional_table(model, rows, alphas).expectation
    ).abs().max() < 1e-12


def test_a_propagated_intervention_needs_an_eighth_of_the_multiply_adds():
    whole = 25 * 6 * 784 + 150 * 16 * 100 + 400 * 120 + 120 * 84 + 84 * 10
    assert whole == 416_520 and whole / ace.multiply_adds() == pytest.approx(8.2, abs=0.3)


def test_json_is_an_object_a_line_and_an_unknown_pair_a_sentence(monkeypatch, capsys):
    result = measure.side_by_side(
        lambda: 2.0, lambda: 1.0, pair="p", quantity="bytes", rounds=1, difference=0.0
    )
    monkeypatch.setattr(__main__, "pairs", lambda: {"p": lambda: result})
    assert __main__.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert __main__.main(["q"]) == 1
    assert capsys.readouterr().err == "q is not a pair: choose from p.\n"
