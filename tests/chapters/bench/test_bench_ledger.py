"""The rows of chapter 0 against what its record holds, and the sizes that its profiles set."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from causalnb import UserError, data, ledger, runner
from causalnb.attacks import ATTACKS, evaluate, run
from causalnb.attacks.panel import Panel, Row
from causalnb.attacks.planted import Control
from causalnb.attacks.randomised import Draws
from causalnb.attacks.suites import SUITES, Step
from causalnb.chapters.bench import measurements
from causalnb.chapters.bench.conformance import Line
from causalnb.chapters.bench.experiments import Attacked
from causalnb.chapters.bench.networks import Net
from causalnb.chapters.bench.parameters import Parameters
from causalnb.chapters.bench.traps import Trap
from causalnb.ledger import matches
from causalnb.parameters import Profile
from causalnb.record import Measurement, Record
from causalnb.statistics import exact, paired_difference, proportion

NETS = ("plain", "robust")


@pytest.fixture(scope="module")
def book():
    return ledger.load("bench")


@pytest.fixture(scope="module")
def attacked():
    """One result on twelve images, ten of them right and five of these broken, in the place of all; the suite
    has it alone.
    """
    model, images, labels = (
        nn.Sequential(nn.Flatten(), Above()),
        torch.linspace(0.35, 0.9, 12)[:, None, None, None].expand(12, 1, 2, 2),
        torch.ones(12).long(),
    )
    result = run("fgsm", model, images, labels, norm="linf", eps=0.24, seed=0)
    names = ("noise", "transfer", "fgsm", "pgd", "cw-linf", "apgd-ce", "apgd-t", "square")
    return Attacked("linf", 0.24, {name: replace(result, name=name) for name in names}), evaluate(
        model, images, labels, norm="linf", eps=0.24, suite=(Step("fgsm", {}),), seed=0
    )


class Above(nn.Module):
    """Class 1 above a mean of 0.42."""

    def forward(self, pixels):
        return torch.stack([torch.full((len(pixels),), 0.42), pixels.mean(dim=1)], dim=1)


@pytest.fixture(scope="module")
def measured(attacked):
    """Everything that the functions of measurements.py put into a record, of toy results, by id."""
    run = SimpleNamespace(p=Parameters.resolve({}), load=lambda name: range(50))
    good, bad = Row(5, "a row", "pass", 0.0, ""), Row(5, "a row", "fail", 1.0, "")
    panels = {
        "plain": Panel((good, replace(good, name="not here", word="not applicable")), 9),
        "masked": Panel((bad,), 9),
        "robust": Panel((good,), 9),
    }
    draws = {
        name: Draws(torch.rand(20, 16, generator=torch.Generator().manual_seed(k)) < share)
        for k, (name, share) in enumerate({"clean": 0.95, "once": 0.9, "mean": 0.05}.items())
    }
    found = measurements.accuracies(
        run,
        {
            name: Net(name, "", nn.Identity(), 0.1, torch.tensor([0.1, 0.96], dtype=torch.float64))
            for name in NETS
        },
    )
    found |= measurements.panels(panels)
    for name in NETS:
        found |= measurements.robustness(run, name, attacked[0]) | measurements.robustness(
            run, name, replace(attacked[0], norm="l2")
        )
        found |= measurements.comparisons(name, *attacked)
    found |= measurements.budgets(run, {name: {0.0: (38, 40), 0.1: (20, 40), 0.3: (0, 40)} for name in NETS})
    found |= measurements.planted(
        run,
        {
            name: Control((49, 50), (by_chance, 50), 50, 40)
            for by_chance, name in enumerate(("pgd", "cw-linf", "apgd-ce"))
        },
    )
    found |= measurements.directly(
        {
            name: {"apgd-t": (0, 99), "fab-t": (0, 99), "square": (0, 99), "pgd": (1, 99), "ddn": (0, 99)}
            for name in NETS
        }
    )
    found |= measurements.traps(
        [Trap("F1", "foolbox", 9, 1, 20), Trap("F13", "foolbox", 8, 2, 20)],
        12,
        {"logits": 0, "logits - 50": 20},
        {"logits": (1, 1), "logits x 1000": (18, 1)},
        20,
    )
    return (
        found
        | measurements.random_model(draws)
        | measurements.conformance([Line("pgd", 1, "pass", 0, ""), Line("pgd", 3, "exempt", 1, "")])
    )


def judged(book, estimates, profile="laptop"):
    of = {
        id: Measurement(estimate=one, rows={row.id: row.digest for row in book.decided_by(id)})
        for id, one in estimates.items()
    }
    made = Record(
        chapter="bench",
        profile=profile,
        edition="1",
        parameters={},
        sections=[],
        source_digest="",
        sources={},
        environment={},
        measurements=of,
        seeds=[],
        device="cpu",
        threads=1,
        data={},
        store=[],
        started="2026-01-01",
        finished="2026-01-01",
        seconds=0,
        cpu_seconds=0,
        peak_memory=0,
    )
    return {one.row.id: one.word for one in ledger.judge(book, made)}


# Rows -----------------------------------------------------------------------------------------------------


def test_every_row_is_a_control_of_ours_and_in_no_denominator(book):
    for row in book.rows:
        assert (
            row.kind == "control"
            and row.ours
            and not (row.printed or row.quote or row.family or row.controls or row.table)
        ), row.id
    assert ledger.printed_cells(ledger.judge(book, None)) == [] and set(
        ledger.counts(ledger.judge(book, None)).values()
    ) == {0}


def test_every_row_stands_for_a_demand_or_for_our_adapter(book):
    for row in book.rows:
        numbers = [int(number) for number in re.findall(r"\d+", row.location)]
        assert row.location == "our adapter" or (
            re.match(r"demands? \d", row.location) and all(1 <= number <= 27 for number in numbers)
        ), row.id
        assert row.rule.type == "equal" or row.rule.why, row.id
        assert row.statement and not re.search(r"[{}]", row.statement), row.id


def test_every_pattern_names_something_that_is_measured(book, measured):
    for row in book.rows:
        for pattern in row.decided_by.measurements:
            assert any(matches(pattern, id) for id in measured), (row.id, pattern)


def test_both_networks_have_the_same_rows(book):
    ids = {
        net: {row.id.replace(f".{net}", ".*") for row in book.rows if row.id.endswith(f".{net}")}
        for net in NETS
    }
    assert ids["plain"] == ids["robust"] and len(ids["plain"]) == 5


def test_a_measurement_decides_its_own_row(book):
    for id, expected in {
        "only.plain.dropping": ["demand.3.plain"],
        "only.robust.square": ["demand.7.robust"],
        "panel.plain": ["panel.plain"],
        "panel.plain.a row": [],
        "masked.noticed": ["panel.masked"],
        "direct.plain.square": ["direct.square"],
        "planted.random": ["planted.random"],
        "conformance.exempt": [],
        "budget.plain.0.100": [],
    }.items():
        assert [row.id for row in book.decided_by(id)] == expected, id


def test_at_the_laptop_s_sizes_a_bench_without_fault_holds_every_row(book, measured):
    """Sample sizes are the profile's: an interval over fifty images must be narrow enough to decide."""
    n = Parameters.resolve({"profile": "laptop"})
    best = {
        id: one for id, one in measured.items() if id.startswith(("panel.", "masked.", "conformance.fail"))
    }
    best |= {id: exact(0.0, n=n.n_images) for id in measured if id.startswith(("only.", "direct."))}
    best |= {id: proportion(0, n.n_panel) for id in measured if id.startswith("unbounded.")}
    best |= {
        f"planted.{name}": proportion(n.n_planted, n.n_planted) for name in ("pgd", "cw-linf", "apgd-ce")
    } | {"planted.random": proportion(5, n.n_planted)}
    best["draws.overrated"] = paired_difference(np.full(64, 0.9), np.full(64, 0.05))
    assert set(judged(book, best).values()) == {"reproduced"}


@pytest.mark.parametrize(
    "id, value, row",
    [
        ("only.plain.iterated", exact(0.002), "demand.6.plain"),
        ("only.robust.transfer", exact(0.002), "demand.7.robust"),
        ("only.plain.dropping", exact(0.012), "demand.3.plain"),
        ("unbounded.plain", proportion(12, 40), "demand.5.plain"),
        ("panel.robust", exact(0.0), "panel.robust"),
        ("masked.noticed", exact(0.0), "panel.masked"),
        ("planted.pgd", proportion(30, 50), "planted.pgd"),
        ("planted.random", proportion(45, 50), "planted.random"),
        ("direct.plain.square", exact(0.01), "direct.square"),
        ("direct.robust.ddn", exact(0.03), "direct.ddn"),
        ("conformance.fail", exact(1.0), "conformance"),
    ],
)
def test_a_fault_is_seen(book, id, value, row):
    assert judged(book, {id: value})[row] == "not reproduced"


# Measurements ---------------------------------------------------------------------------------------------


def test_what_the_notebook_says_in_its_sentences_is_measured(measured):
    cells = runner.convert(runner.chapter("bench")).cells
    named = {
        id
        for cell in cells
        if cell.cell_type == "markdown"
        for id in re.findall(r"\{measured\}`(?:[^`<]*<)?([^`:>]+)", cell.source)
    }
    patterns = {
        pattern
        for cell in cells
        for call in re.findall(r"run\.values\(([^)]*)\)", cell.source)
        for pattern in re.findall(r'"([^"]+)"', call)
    }
    assert named and patterns
    for pattern in named | patterns:
        assert any(matches(pattern, id) for id in measured), pattern


def test_the_worst_case_is_that_of_each_image_over_results_on_all_images(attacked):
    of, _ = attacked
    first = of.results["fgsm"]
    few = replace(
        first, name="hsj", found=first.correct[:3], correct=first.correct[:3], clean=first.clean[:3]
    )
    turned = replace(first, name="pgd", found=first.correct & ~first.found)
    found = measurements.robustness(
        SimpleNamespace(p=Parameters.resolve({})),
        "plain",
        replace(of, results={"fgsm": first, "pgd": turned, "hsj": few}),
    )
    assert {id: one.value for id, one in found.items()} == {
        "robust.plain.linf.fgsm": 5 / 12,
        "robust.plain.linf.pgd": 5 / 12,
        "robust.plain.linf.hsj": 0.0,
        "robust.plain.linf.worst": 0.0,
    }


def test_what_one_attack_alone_breaks_is_a_share_of_all_images(attacked):
    of, dropped = attacked
    nothing = replace(of.results["pgd"], found=torch.zeros(12, dtype=torch.bool))
    without = {name: replace(nothing, name=name) for name in ("pgd", "cw-linf", "apgd-ce", "apgd-t")}
    first = measurements.comparisons("plain", of, dropped)
    assert first.pop("passes.plain").value == sum(
        sum(of.results[name].queries) for name in {one.name for one in dropped.results}
    ) / sum(sum(one.queries) for one in dropped.results)
    assert {one.value for one in first.values()} == {0.0}
    alone = measurements.comparisons("plain", replace(of, results={**of.results, **without}), dropped)
    shares = {id: one.value for id, one in alone.items() if id.startswith("only.")}
    assert shares == {
        f"only.plain.{what}": 5 / 12 for what in ("iterated", "noise", "transfer", "square")
    } | {"only.plain.dropping": 0.0}
    spared = replace(dropped, robust=torch.zeros(12, dtype=torch.bool))
    assert measurements.comparisons("plain", of, spared)["only.plain.dropping"].value == 5 / 12


def test_a_panel_s_row_that_does_not_apply_is_not_measured_and_the_masked_model_must_fail(measured):
    assert {id: one.value for id, one in measured.items() if id.startswith(("panel.", "masked."))} == {
        "panel.plain.a row": 1.0,
        "panel.masked.a row": 0.0,
        "panel.robust.a row": 1.0,
        "panel.plain": 1.0,
        "panel.masked": 0.0,
        "panel.robust": 1.0,
        "masked.noticed": 1.0,
    }


def test_tests_that_fail_are_counted_of_those_that_apply(measured):
    failed = {id: (one.value, one.n) for id, one in measured.items() if id.startswith("failed.")}
    assert failed == {"failed.plain": (0.0, 1), "failed.masked": (1.0, 1), "failed.robust": (0.0, 1)}


def test_of_the_random_searches_the_luckiest_counts(measured):
    assert measured["planted.random"].value == 2 / 50 and measured["unbounded.plain"].value == 0.0


# Parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", get_args(Profile))
def test_every_profile_sets_everything(profile):
    p = Parameters.resolve({"profile": profile})
    assert (
        all(value is not None for value in p.model_dump().values())
        and p.data in data.NAMES
        and p.suite in SUITES
    )
    assert p.checked == "all" or set(p.checked.split(",")) <= set(ATTACKS)


def test_one_data_set_is_taken_and_no_other_suite():
    for given, start in (
        (
            {"data": "mnist,digits"},
            "data = 'mnist,digits' is not possible: this chapter takes one set of ten classes in grey, of "
            "digits,",
        ),
        ({"suite": "standard"}, "suite = 'standard' is not possible"),
        ({"eps": 0}, "eps = 0 is not possible"),
    ):
        with pytest.raises(UserError) as caught:
            Parameters.resolve(given)
        assert str(caught.value).startswith(start)


def test_parameters_that_rows_hold_fixed_exist_in_the_chapter(book):
    assert {name for row in book.rows for name in row.decided_by.parameters} <= set(Parameters.model_fields)
