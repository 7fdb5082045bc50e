"""What the half from pixels puts into the record, against the rows that ask for it."""

import pytest
import torch

from causalnb.attacks import run as attack
from causalnb.chapters.counterfactual import (
    attacked,
    charts,
    experiments,
    figures,
    measurements,
    networks,
    questions,
    rates,
)
from causalnb.chapters.counterfactual.attacked import Condition
from causalnb.chapters.counterfactual.estimates import extreme, median, ratio
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.ledger import matches
from causalnb.parameters import UserError
from causalnb.statistics import Estimate


@pytest.fixture(scope="session")
def made(run, has, shown, harmless, knows):
    strong = experiments.strong(run, has)
    found = measurements.everything(run, has, shown)
    found |= rates.everything(run, has, shown, strong, harmless)
    return found | questions.everything(run, has, shown, harmless, knows)


def test_every_row_that_cifar10_decides_has_its_measurement(run, made, shown):
    ids = [id.replace("digits8", "cifar10") for id in made]
    missing = set()
    for row in run.ledger.rows:
        by = row.decided_by
        for pattern in by.measurements:
            if by.data == "cifar10" or by.stand_in == "cifar10":
                asked = pattern.replace(by.data, "cifar10")
                if not any(matches(asked, id) for id in ids):
                    missing.add(row.id)
    assert not missing


def test_every_measurement_is_an_estimate_on_this_data(made):
    assert all(isinstance(one, Estimate) for one in made.values())
    assert {id.data for id in made} == {("digits8",)}


def test_successes_are_among_the_right_ones_and_these_among_all(shown):
    for one in shown.values():
        assert (one.rows["correct"] | ~one.rows["successes"]).all() and one.rows["all"].all()
        assert (one.rows["successes"] | ~one.reached).all()


def test_every_image_is_tried_also_the_wrong_ones(run, has, shown):
    one = shown[Condition("pgd_u", 24.0)]
    moved = (one.result.candidates != has.net.attacked.images).flatten(1).any(1)
    assert moved.all()


def test_bim_with_pgd_s_steps_and_no_random_start_is_pgd(run, has):
    net = has.net
    images, labels = net.attacked.images[:6], net.attacked.labels[:6]
    asked = {"norm": "linf", "eps": 0.1, "step": 0.02, "steps": 6, "seed": 0}
    bim = attack("bim", net.model, images, labels, every=True, **asked)
    loop = images.clone()
    for _ in range(6):
        loop.requires_grad_()
        loss = torch.nn.functional.cross_entropy(net.model(loop), labels, reduction="sum")
        step = 0.02 * torch.autograd.grad(loss, loop)[0].sign()
        loop = (images + (loop.detach() + step - images).clamp(-0.1, 0.1)).clamp(0, 1)
    failed = ~bim.found
    assert torch.allclose(bim.candidates[failed], loop[failed], atol=1e-6)


def test_targets_are_other_classes_and_drawn(has):
    images = has.net.attacked
    found = attacked.targets(images, seed=0)
    assert (found != images.labels).all() and (found < 10).all() and len(found.unique()) > 5
    assert torch.equal(found, attacked.targets(images, seed=0))


def test_the_author_s_budgets_are_conditions_of_their_own_and_end_at_10():
    p = Parameters.resolve({"authors": True, "scale": 1.0})
    his = [one for one in attacked.conditions(p) if one.author]
    assert {one.name for one in his} == {
        f"author.{way}_{kind}" for way in ("ten", "hundred") for kind in "tu"
    }
    for one in his:
        name, asked = attacked.settings(p, one)
        assert name == "bim" and asked["steps"] * asked["step"] == pytest.approx(10 / 255)
        assert asked["eps"] == pytest.approx(24 / 255)


def test_the_halves_of_the_test_set_share_no_image(run):
    test = run.load("digits8", "test")
    first, second = networks.halves(test, seed=0)
    assert len(first) + len(second) == len(test)
    ours, theirs = ({one.numpy().tobytes() for one in some.images} for some in (first, second))
    whole = {one.numpy().tobytes() for one in test.images}
    assert ours | theirs == whole and len(ours & theirs) <= len(test) - len(whole)


def test_rounded_weights_are_those_of_half_precision_and_rounding_again_changes_nothing(has):
    for weights in has.net.model.parameters():
        assert weights.ndim < 2 or torch.equal(weights, weights.half().float())


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"grid": "4,8,16"}, "claims are decided at 24 of 255"),
        ({"grid": "4,8,x"}, "budgets are numbers above 0"),
        ({"adaptive_eps": "4"}, "detectors are compared at 8 of 255"),
        ({"data": "digits8,shapes"}, "this chapter takes one data set"),
        ({"grid": "4,8,16,24,100", "scale": 4.0}, "100 of 255 times it is above 1"),
    ],
)
def test_impossible_parameters_are_refused_in_a_sentence(asked, sentence):
    with pytest.raises(UserError, match=sentence):
        Parameters.resolve(asked)


@pytest.mark.parametrize("profile", ["quick", "laptop", "gpu", "full"])
def test_every_profile_resolves(profile):
    p = Parameters.resolve({"profile": profile})
    assert 8.0 in p.adaptive_budgets and p.eps(255) == pytest.approx(p.scale)


# Estimates -----------------------------------------------------------------------------------------------


def test_a_median_s_interval_holds_it_and_few_values_have_none():
    values = list(range(101))
    found = median(values)
    assert found.low < found.value == 50 < found.high and found.high - found.low < 30
    assert median([1.0, 2.0, 3.0]).low is None


def test_a_ratio_of_equal_shares_is_one_and_no_count_is_divided_by_zero():
    same = ratio((10, 100), (10, 100))
    assert same.value == 1 and same.low < 1 < same.high
    none = ratio((50, 100), (0, 600))
    assert none.value > 100 and none.high < float("inf")


def test_the_largest_of_several_shares_lies_at_or_above_each():
    found = measurements.largest([(1, 10), (5, 10), (3, 10)], level=0.95)
    assert found.value == 0.5 and found.low < 0.5 < found.high


def test_extremes_of_columns():
    table = [[0.0, 1.0, 0.5]] * 20
    assert extreme(table, "range").interval == pytest.approx((1.0, 1.0, 1.0))
    assert extreme(table, "least").interval == pytest.approx((0.0, 0.0, 0.0))


# What is shown -------------------------------------------------------------------------------------------


def test_tables_and_charts_are_drawn_from_what_is_measured(run, has, made, shown):
    texts = {row.id: row.printed for row in run.ledger.rows if row.kind == "cell"}
    found = {str(id): one for id, one in made.items()}
    budgets = run.p.budgets
    for figure in (
        charts.curves(found, "digits8", budgets),
        charts.areas(found, "digits8", ("fgsm_u", "pgd_u"), 8.0),
        charts.equal_confidence(found, "digits8", "pgd_u", 8.0),
    ):
        assert figure.axes
    lines = charts.accepted(found, texts, "digits8")
    assert lines[0][1] == "65/100" and all("–" not in line[2:3] for line in lines)
    assert charts.with_network(found, texts, "digits8", "t3n10", "")[-1][1] == "00/300"
    assert len(charts.recovered(found, texts, "digits8")) == 7
    assert len(charts.successes(found, "digits8", budgets)) == 6
    assert [line[1] for line in charts.figure_3(found, texts, "digits8")] == [
        "164",
        "68",
        "182",
        "78",
        "128",
        "12",
    ]
    assert len(charts.recovered_by_budget(found, "digits8", budgets)) == 18
    names, rows = measurements.pictured(run, has, shown)
    assert len(figures.heat(names, rows).axes) == 16 and set(rows) == {"clean", "attacked"}
    for table in (
        charts.detection(found, "digits8", [("pgd_u", "8")], "tpr5"),
        charts.harmless(found, "digits8", 8.0),
        charts.evaded(found, "digits8", 8.0),
        charts.grown(found, "digits8"),
        charts.recovered_by_budget(found, "digits8", budgets),
    ):
        assert any(cell != "–" for line in table for cell in line[1:])
