"""What the page shows: figures, tables, the slider; sweeps, AutoAttack and textures on tiny sizes."""

import json
import re

import numpy as np
import pytest
import torch
from scipy import stats

from causalnb import processes
from causalnb.chapters.alignment import closed_forms as forms
from causalnb.chapters.alignment import (
    experiments,
    figures,
    measurements,
    networks,
    slider,
    stronger,
    sweeps,
    tables,
    textures,
)
from causalnb.chapters.alignment.experiments import Compared, Scores, packed
from causalnb.notebook import begin
from causalnb.statistics import over_seeds

TINY = {"n_images": 30, "n_strong": 10, "n_train": 100, "n_seeds": 2, "n_swept": 2, "device": "cpu"}


@pytest.fixture(autouse=True)
def tiny(tmp_path_factory, monkeypatch):
    """The digits' setting with one epoch and one step, in a store of the file's own."""
    monkeypatch.setenv("CAUSALNB_STORE", str(tmp_path_factory.getbasetemp() / "alignment-page-store"))
    how = networks.SMALL["digits8"]
    recipe = how.recipe.model_copy(update={"epochs": 1})
    few = networks.Setting(how.network, networks.Ball(0.1, 0.1, 1), (2, 0.05), recipe)
    monkeypatch.setitem(networks.SMALL, "digits8", few)
    monkeypatch.setattr(experiments, "QUICK", ("at", "m", "hh"))
    monkeypatch.setattr(processes, "map", lambda function, items, **_: [function(item) for item in items])
    return few


def scores(right):
    bits = packed(torch.tensor(right, dtype=torch.bool))
    columns = ("nat", "fgsm", "pgd", "cw", "apgd")
    return Scores(dict.fromkeys(columns, bits), dict.fromkeys(columns, len(right)), {}, {})


def differences(**each):
    """Estimates of points by id, from one list of numbers a seed."""
    return {id.replace("_", "."): over_seeds(v, seeds=range(len(v)), unit="points") for id, v in each.items()}


def forest_of(gain, over):
    rows = {"gain_digits8_m_pgd": gain}
    return differences(
        **rows, **{f"over_digits8_{one}_pgd": over for one in ("hh", "aux", "content", "random")}
    )


UP, EVEN = [[3.0, 3.1], [3.1, 3.0], [3.0, 3.0]], [[1.0, -1.0], [-1.0, 1.1], [0.0, 0.1]]


# Sweeps, AutoAttack, textures ----------------------------------------------------------------------------------


def test_a_sweep_keeps_the_arms_own_value_and_trains_the_others(monkeypatch):
    run = begin("alignment", **TINY)
    found = experiments.compared(run, "digits8")
    made = sweeps.swept(run, "digits8", found, {"hh": ("weight", 1.0, (0.0, 4.0))})["hh"]
    assert list(made) == [0.0, 1.0, 4.0] and all(one.shape == (2, 2, 30) for one in made.values())
    assert (made[1.0][1] == found.right("hh", "pgd")).all()
    assert (made[0.0][0] == found.right("at", "nat")).all(), "half-half without clean images is Madry"
    ids = measurements.sweeps(found, {"hh": made})
    assert ids["sweep.digits8.hh.0400.pgd"].value == pytest.approx(made[4.0][1].mean())
    edge = measurements.frontiers(run, found, {"hh": made})["frontier.digits8.hh.pgd"]
    assert edge.seeds == (0, 1) and edge.unit == "points"


def test_autoattack_is_on_the_first_network_of_each_arm_and_on_the_first_images(monkeypatch):
    monkeypatch.setattr(stronger, "standard", lambda model, images, labels, ball: labels >= 5)
    run = begin("alignment", **TINY, n_auto=20)
    found = experiments.compared(run, "digits8")
    right = stronger.standards(run, "digits8", found)
    made = measurements.standard(found, right)
    assert set(made) == {f"auto.digits8.{arm}" for arm in ("at", "m", "hh")}
    share = (experiments.images(run, "digits8")[1].labels[:20] >= 5).double().mean()
    assert made["auto.digits8.m"].n == 20 and made["auto.digits8.m"].value == pytest.approx(float(share))


def test_the_standard_suite_is_autoattacks_own(monkeypatch):
    asked = []

    def told(*given, **how):
        asked.append(how["suite"])
        return type("made", (), {"robust": torch.tensor([True])})

    monkeypatch.setattr(stronger, "evaluate", told)
    ball = networks.Ball(0.1, 0.1, 1)
    stronger.standard(networks.mlp(size=8), torch.rand(1, 1, 8, 8), torch.tensor([0]), ball)
    assert asked == ["standard"]


def test_textures_are_turned_and_the_scenes_are_kept():
    test = textures.scenes(20, seed=3)
    both = textures.both(test)
    assert len(both) == 40 and torch.equal(both.labels[:20], both.labels[20:])
    assert torch.equal(both.images[:20], test.images) and not torch.equal(both.images[20:], test.images)
    same = float((test.factors["texture"] == test.labels).double().mean())
    assert same > 0.6


def test_what_is_lost_where_textures_are_turned_is_over_seeds(tiny):
    run = begin("alignment", **TINY)
    recipe = textures.RECIPE.model_copy(update={"epochs": 1})
    how = networks.Setting(networks.cnn16, networks.Ball(0.06, 0.06, 1), (1, 0.06), recipe)
    lost = textures.lost(run, 40, range(2), how=how, tested=12)
    assert {arm: one.shape for arm, one in lost.items()} == {"at": (2, 12), "m": (2, 12)}
    ((id, made),) = measurements.textures(run, lost, range(2)).items()
    assert id == "shapes.permuted" and id.data == ("shapes",)
    assert made.value == pytest.approx(100 * (lost["at"] - lost["m"]).mean())


def test_ten_bins_hold_all_images_once():
    run = begin("alignment", **TINY)
    found = experiments.compared(run, "digits8")
    made = stronger.by_bin(run, "digits8", found)
    assert {name: len(one) for name, one in made.items()} == {"Madry": 10, "CausalAdv-M": 10}
    assert all(((one >= 0) & (one <= 1)).all() for one in made.values())


# Figures and tables ----------------------------------------------------------------------------------------------


def test_the_forest_has_a_row_a_difference_and_marks_what_is_printed():
    found = forest_of(UP, EVEN)
    drawn = figures.forest(found, {"digits8": "digits"}, {"digits8": {"m": 2.5}})
    (axes,) = drawn.axes
    assert [one.get_text() for one in axes.get_yticklabels()][0] == "M − AT"
    marks = {line.get_label(): line for line in axes.lines}
    assert marks["printed, PGD"].get_xdata().tolist() == [2.5]
    assert marks["PGD-20"].get_xdata()[0] == pytest.approx(np.mean(UP))


@pytest.mark.parametrize(
    "gain, over, said",
    [
        (EVEN, UP, "no gain to explain"),
        (UP, EVEN, "not above every control"),
        (UP, UP, "every control on 1 of 1"),
    ],
)
def test_the_forest_says_what_its_intervals_say(gain, over, said):
    assert said in figures.told(forest_of(gain, over), {"digits8": "digits"})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.shifted(1.0, (0.0, 0.5)),
        lambda: figures.distances(1.0),
        lambda: figures.surrogates(1.0, (0.25,)),
        lambda: figures.factors(1.0, 0.5),
        figures.bounds,
        lambda: figures.features((0.1, 0.25)),
        lambda: figures.courses({"a": np.random.rand(2, 5)}),
        lambda: figures.binned({"a": np.linspace(1, 0, 10)}),
    ],
)
def test_a_figure_draws_what_its_axes_name(draw):
    for axes in draw().axes:
        assert axes.get_title(loc="left") and axes.lines
        assert all(np.isfinite(line.get_ydata()).all() for line in axes.lines)


def test_the_factors_of_the_figure_are_those_of_the_closed_form():
    aside, trained = figures.factors(1.0, 0.5).axes[0].lines[:2]
    assert aside.get_ydata()[-1] == pytest.approx(forms.factors(1.0, 0.5, 0.9)[0])
    assert trained.get_ydata()[0] == pytest.approx(forms.one_feature(1.0, 0.5).kl)


def test_sweeps_and_frontiers_stand_in_percent():
    curve = {0.5: np.full((2, 2, 4), 0.25), 1.0: np.full((2, 2, 4), 0.75)}
    left, right = figures.swept({"m": curve}, {"m": "M"}, "λ").axes
    assert left.lines[0].get_ydata().tolist() == right.lines[0].get_ydata().tolist() == [25, 75]
    axes = figures.frontiers({"hh": curve}, {"hh": "half-half"}, {"M": (0.5, 0.4)}).axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[50, 40]]


def test_tables_are_the_closed_forms():
    assert tables.collider()[-1] == ("1", "0.0000", "0.3466", "0.5000", "0.7500", "1.0000")
    assert tables.one_feature((0.5,))[0][1:3] == ("0.6915", "0.0608")
    assert tables.factors((0.5,)) == [("0.5", "0.10927", "0.07650", "0.18577")]
    wrong = {line[0]: line[1:] for line in tables.wrong((0.25,))}
    assert wrong["both signs turned round"][-1] == "0.0007"
    assert float(wrong["both signs turned round"][0]) < float(wrong["strong feature alone"][0])
    assert tables.styles()[0][1] == "0.5000" and tables.dial()[2][1] == "0.0000"


def test_the_table_of_arms_says_where_nothing_was_measured():
    found = Compared("digits8", (0, 1), {"at": 2.0}, {"at": [scores([1, 0, 1, 1]), scores([1, 1, 1, 1])]})
    assert tables.arms(found, {}) == [("Madry", *["87.5"] * 5, "–", "2", "2")]
    lines = tables.differences(forest_of(UP, EVEN), "digits8", {"M − AT": "gain.{}.m"}, ("pgd", "apgd"))
    assert lines[0][0] == "M − AT" and lines[0][1].startswith("+3.0 [") and lines[0][2] == "–"


# The slider ------------------------------------------------------------------------------------------------------


@pytest.fixture
def page():
    return slider.figure(
        1.0, [0.0, 1.0, 2.0], 1, "<svg></svg>", alt="two curves", caption="A message. And `code`."
    )


def test_a_frame_is_the_law_of_its_budget():
    density, chance = slider.frame(1.0, 0.5)
    middle = len(slider.PLACES) // 2
    assert density[middle] * slider.TOP == pytest.approx(stats.norm.pdf(0.5)) and chance[middle] == 0.5
    there = slider.frame(1.0, 2.0)[1]
    assert there == pytest.approx(slider.frame(1.0, 0.0)[1][::-1]), "at twice the mean it is the mirror image"


def test_the_page_holds_every_frame_and_says_what_it_shows(page):
    shown = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert len(shown["said"]) == 3 and "50.0%" in shown["said"][1] and "changed places" in shown["said"][2]
    assert "Nothing tells the classes apart" in shown["said"][1]
    assert "<b>A message.</b>" in page and "<code>code</code>" in page and "$" not in page
    assert 'max="2" value="1"' in page
