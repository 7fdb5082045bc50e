"""The tables of chapter 0 against the headers that its notebook gives them, and against the results that they
show.
"""

import ast
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from causalnb import runner
from causalnb.attacks import ATTACKS, evaluate, run
from causalnb.attacks.panel import Panel, Row
from causalnb.attacks.suites import Step
from causalnb.chapters.bench import tables
from causalnb.chapters.bench.conformance import Line
from causalnb.chapters.bench.experiments import Attacked
from causalnb.chapters.bench.networks import Net
from causalnb.chapters.bench.parameters import Parameters

SUITE = (
    Step("fgsm", {}),
    Step("bim", {"step": 0.02, "steps": 10}),
    Step("square", {"queries": 20, "rescale": True}),
)
PANELS = {
    "plain": Panel(
        (
            Row(5, "nothing at 0", "pass", 0.0, "0 of 9"),
            Row(15, "planted", "not applicable", None, "no layer"),
        ),
        9,
    ),
    "masked": Panel((Row(5, "nothing at 0", "fail", 2.0, "2 of 9"), Row(6, "flat", "pass", 0.1, "0.1")), 9),
}
LINES = [
    Line("pgd", 1, "pass", 0.0, "none differs"),
    Line("pgd", 3, "exempt", 9.0, "saturates: 9"),
    Line("ddn", 15, "fail", 1.0, "one differs"),
]


@pytest.fixture(scope="module")
def attacked():
    """A small network, nine images of which it gets seven, and what three attacks do to them with and without
    dropping.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, images = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).eval(), torch.rand(9, 1, 6, 6)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[:2] = (labels[:2] + 1) % 4
    given = {"norm": "linf", "eps": 0.06, "seed": 0}
    results = {step.name: run(step.name, model, images, labels, **given, **step.settings) for step in SUITE}
    return SimpleNamespace(
        of=Attacked("linf", 0.06, results),
        dropped=evaluate(model, images, labels, suite=SUITE, **given),
        run=SimpleNamespace(
            interval=lambda id: (0.5, 0.25, 0.75) if id.endswith("worst") else (0.25, 0.125, 0.5)
        ),
    )


@pytest.fixture(scope="module")
def made(attacked):
    """Each table by its name."""
    run, net = (
        SimpleNamespace(p=Parameters.resolve({})),
        Net("plain", "LeNet, plain", nn.Identity(), 0.1, torch.ones(1)),
    )
    return {
        "demands": tables.demands(),
        "threats": tables.threats(run, {"plain": net, "robust": replace(net, title="robust", eps=0.15)}),
        "settings": tables.settings(run, net),
        "panels": tables.panels(PANELS),
        "tested": tables.tested(PANELS),
        "side_by_side": tables.side_by_side(attacked.run, {"plain": attacked.of, "robust": attacked.of}),
        "attacked": tables.attacked(attacked.run, "plain", attacked.of),
        "dropped": tables.dropped(attacked.dropped),
        "conformance": tables.conformance(LINES),
        "exemptions": tables.exemptions(LINES),
    }


def headers():
    """Name of a table -> the headers under which the notebook shows it."""
    cells = [
        cell.source for cell in runner.convert(runner.chapter("bench")).cells if cell.cell_type == "code"
    ]
    calls = [
        node
        for cell in cells
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.table"
    ]
    found = {}
    for header, body, *_ in (call.args for call in calls):
        found.setdefault(body.func.attr, []).append(eval(ast.unparse(header), {"panels": PANELS}))
    return found


def test_a_line_has_as_many_columns_as_the_notebook_s_header(made):
    shown = headers()
    assert shown.keys() == made.keys()
    for name, lines in made.items():
        assert lines and {len(line) for line in lines} == {len(header) for header in shown[name]}, name
        assert all(isinstance(text, str) for line in lines for text in line), name


def test_the_demands_are_twenty_seven_with_their_numbers(made):
    assert [line[0] for line in made["demands"]] == [str(number) for number in range(1, 28)]
    assert len({line[1] for line in made["demands"]}) == 27 and all(line[2] for line in made["demands"])


def test_a_threat_is_a_network_and_a_norm_with_its_budget(made):
    assert [line[:3] for line in made["threats"]] == [
        ("LeNet, plain", "L-inf", "0.1 (25.5/255)"),
        ("LeNet, plain", "L2", "1"),
        ("robust", "L-inf", "0.15 (38.2/255)"),
        ("robust", "L2", "1"),
    ]


def test_every_attack_of_the_contract_is_listed_with_its_settings_in_the_suite(made):
    by_name = {line[0]: line for line in made["settings"]}
    assert list(by_name) == list(ATTACKS) and tables.KINDS.keys() == ATTACKS.keys()
    assert (
        by_name["pgd"][2:4] == ("linf, l2", "steps 10, step 0.025")
        and by_name["fgsm"][3] == "none"
        and by_name["hsj"][3] == "not in the suite"
    )


def test_a_panel_s_row_has_a_sign_and_a_sentence_for_each_model_that_has_it(made):
    assert made["panels"] == [
        ("nothing at 0", "✓ 0 of 9", "✕ 2 of 9"),
        ("planted", "– no layer", ""),
        ("flat", "", "✓ 0.1"),
    ]


def test_a_panel_s_tests_are_signs_alone(made):
    assert made["tested"] == [("nothing at 0", "✓", "✕"), ("planted", "–", ""), ("flat", "", "✓")]


def test_networks_stand_side_by_side_attack_by_attack_and_the_worst_case_last(made):
    *lines, worst = made["side_by_side"]
    assert [line[:2] for line in lines] == [
        ("fgsm", "one step"),
        ("bim-10", "steps from the clean image"),
        ("square-20 (rescaled)", "scores alone"),
    ]
    assert {line[2:] for line in lines} == {("25.0% [12.5%, 50.0%]",) * 2}
    assert worst[0] == "worst case" and worst[2:] == ("50.0% [25.0%, 75.0%]",) * 2


def test_a_line_of_an_attack_says_its_interval_its_count_and_its_queries(made, attacked):
    *lines, worst = made["attacked"]
    assert [line[0] for line in lines] == ["fgsm", "bim-10", "square-20 (rescaled)"] and worst == (
        "worst case",
        "50.0% [25.0%, 75.0%]",
        *[""] * 5,
    )
    for line, result in zip(lines, attacked.of.results.values(), strict=True):
        assert line[1:3] == ("25.0% [12.5%, 50.0%]", f"{int(result.found.sum())} of 7") and result.found.any()
        assert line[3] == f"{result.distance[result.found].median():.3g}" and line[4:6] == tuple(
            map(str, result.queries)
        )


def test_an_attack_that_broke_nothing_has_no_median_distance(attacked):
    nothing = attacked.of.results["fgsm"].within(0.0)
    assert tables.attacked(attacked.run, "plain", Attacked("linf", 0.06, {"fgsm": nothing}))[0][2:4] == (
        "0 of 7",
        "",
    )


def test_what_is_robust_after_each_attack_is_what_was_right_less_all_that_was_broken(made, attacked):
    lines = made["dropped"]
    assert lines[0][1] == "7" and [int(line[1]) for line in lines] == [
        7,
        *(int(line[1]) - int(line[2]) for line in lines[:-1]),
    ]
    assert lines[-1][3] == f"{attacked.dropped.robust_accuracy().value:.1%}" and int(lines[0][2]) > 0


def test_conformance_has_a_sign_for_each_line_that_was_asked(made):
    assert made["conformance"] == [("pgd", "✓", "", "–", *[""] * 12), ("ddn", *[""] * 14, "✕")]
    assert made["exemptions"] == [("pgd, 3", "saturates: 9")]
