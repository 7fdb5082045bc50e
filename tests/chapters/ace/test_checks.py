import math

import pytest
import torch

from causalnb.chapters.ace import by_hand
from causalnb.chapters.ace.checks import CHECKS, Check, layered_edges, pair_by_graph, paths
from causalnb.chapters.ace.closed_forms import CASES
from causalnb.chapters.ace.controls import sampled_error
from causalnb.chapters.ace.errata import ERRATA, REMARKS


@pytest.mark.parametrize("id", CHECKS)
def test_every_step_of_the_derivation_holds(id):
    check = CHECKS[id]()
    assert check.id == f"check.{id}" and check.holds, check
    assert check.holds == (check.value > check.bound if id == "H3" else check.value <= check.bound)


def test_every_step_and_every_closed_form_has_a_check():
    assert set(CHECKS) == {f"D{step}" for step in range(1, 13)} | set(CASES) | {"C6", "C11", "H1", "H2", "H3"}
    assert {id for id, check in CHECKS.items() if check.__module__ == by_hand.__name__} == {"H1", "H2", "H3"}


@pytest.mark.parametrize("id", ERRATA)
def test_a_statement_that_is_an_erratum_does_not_hold_as_printed(id):
    erratum = ERRATA[id]()
    assert erratum.id == f"erratum.{id}" and not erratum.holds, erratum


@pytest.mark.parametrize("id", REMARKS)
def test_what_a_remark_says_holds(id):
    remark = REMARKS[id]()
    assert remark.id == f"remark.{id}" and remark.holds, remark


def test_what_is_shown_is_an_erratum_or_a_remark():
    assert not ERRATA.keys() & REMARKS.keys() and set(ERRATA) == {"E2", "E4", "E5", "E11", "E12", "E24"}


@pytest.mark.parametrize(
    ("id", "value"),
    [
        ("E4b", 1),
        ("E6", math.exp(0.18) * abs((math.e - 1) - (0.87 + 0.13 * math.e))),  # E exp(x2 / 2) is exp(0.18)
        ("E22", 0.75),
        ("E23", 783 / 784),
    ],
)
def test_remarks_with_a_closed_form_have_its_value(id, value):
    assert REMARKS[id]().value == pytest.approx(value, rel=1e-9)


def test_checks_errata_and_remarks_are_named_by_what_they_show():
    every = [*CHECKS.values(), *ERRATA.values(), *REMARKS.values()]
    names = [check.__name__ for check in every if check.__name__ != "sampling_meets_the_closed_form"]
    assert len(set(names)) == len(names) == len(every) - len(CASES)
    assert all(check.__doc__ for check in every)


def test_a_check_fails_when_its_quantity_is_out_of_bounds(monkeypatch):
    broken = CASES["C3"].__class__(**{**vars(CASES["C3"]), "exact": lambda alpha: 2.5})
    monkeypatch.setitem(CASES, "C3", broken)
    assert isinstance(CHECKS["C3"](), Check) and not CHECKS["C3"]().holds
    assert not CHECKS["D4"]().holds


def test_paths_are_the_product_of_the_hidden_widths():
    def counted(graph, unit):
        return 1 if unit == (0, 0) else sum(counted(graph, parent) for parent in graph[unit])

    for widths in ((3, 2, 1), (2, 3, 4, 2)):
        assert counted(layered_edges(*widths), (len(widths) - 1, 0)) == paths(*widths)


@pytest.mark.parametrize("graph", ["x1 <- u -> x2", "x1 -> x2", "x2 -> x1"])
def test_the_three_graphs_share_one_observational_law(graph):
    pair = torch.stack(pair_by_graph(graph, 200_000))
    assert (pair.cov() - torch.tensor([[1.0, 0.8], [0.8, 1.0]])).abs().max() < 0.02


def test_the_standard_error_does_not_depend_on_the_dimension():
    errors = [
        sampled_error(torch.full((inputs,), 1 / math.sqrt(inputs - 1), dtype=torch.float64))
        for inputs in (3, 30, 300, 3000)
    ]
    assert max(errors) / min(errors) < 1.05
