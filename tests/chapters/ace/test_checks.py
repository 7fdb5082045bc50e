import math

import pytest
import torch

from causalnb.chapters.ace import by_hand
from causalnb.chapters.ace.checks import CHECKS, Check, layered_edges, pair_by_graph, paths
from causalnb.chapters.ace.closed_forms import CASES
from causalnb.chapters.ace.controls import sampled_error
from causalnb.chapters.ace.errata import ERRATA, pixels_are_correlated

RIGHT_AS_PRINTED = {"E9", "E13", "E25"}


@pytest.mark.parametrize("id", CHECKS)
def test_every_step_of_the_derivation_holds(id):
    check = CHECKS[id]()
    assert check.id == f"check.{id}" and check.holds, check
    assert check.holds == (check.value > check.bound if id == "H3" else check.value <= check.bound)


def test_every_step_and_every_closed_form_has_a_check():
    assert set(CHECKS) == {f"D{step}" for step in range(1, 13)} | set(CASES) | {"C6", "C11", "H1", "H2", "H3"}
    assert {id for id, check in CHECKS.items() if check.__module__ == by_hand.__name__} == {"H1", "H2", "H3"}


@pytest.mark.parametrize("id", ERRATA)
def test_a_printed_statement_holds_only_where_it_is_a_clarification(id):
    erratum = ERRATA[id]()
    assert erratum.id == f"erratum.{id}" and erratum.holds == (id in RIGHT_AS_PRINTED), erratum


def test_checks_and_errata_are_named_by_what_they_show():
    names = [check.__name__ for check in (*CHECKS.values(), *ERRATA.values())]
    assert len({name for name in names if name != "sampling_meets_the_closed_form"}) == len(CHECKS) - len(
        CASES
    ) + len(ERRATA)
    assert all(check.__doc__ for check in (*CHECKS.values(), *ERRATA.values()))


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


def test_independent_pixels_need_no_principal_components():
    generator = torch.Generator().manual_seed(0)
    independent = torch.rand(5000, 1, 4, 4, generator=generator)
    common = torch.rand(5000, 1, 1, 1, generator=generator)
    found = pixels_are_correlated(independent + 3 * common, components=1)
    assert found.id == "erratum.E14" and not found.holds and found.value > 0.9 and found.bound < 0.1
    assert pixels_are_correlated(independent, components=8).value == pytest.approx(0.5, abs=0.05)
