from itertools import product
from statistics import median
from types import SimpleNamespace

import pytest
import torch

from causalnb import ledger
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace import measurements, seed_spread, strength, tables
from causalnb.chapters.ace.claims import claim_id
from causalnb.chapters.ace.experiments import DETECTORS, WEIGHTS
from causalnb.chapters.ace.measurements import between_id, cell_id, resolved_id
from causalnb.chapters.ace.networks import Latents, Trained
from causalnb.chapters.ace.specifications import COMPARISONS, READINGS
from causalnb.chapters.ace.strength import Point
from causalnb.fragments import Tile, explorer
from causalnb.statistics import Estimate
from causalnb.training import Recipe

RISES, FALLS, OPEN, ZERO, ALONE = (
    Estimate(0.0, low, high)
    for low, high in ((0.1, 0.3), (-0.3, -0.1), (-0.1, 0.1), (0.0, 0.2), (None, None))
)


def cell(text):
    """table.DATA.SET.COLUMN.READING.SCORE.OF[.SCALE], after a comma the network"""
    text, _, network = text.partition(",")
    _, data, which, column, *key = text.split(".")
    return cell_id(data, which, column, ".".join(key[:3]), *key[3:], network=network)


def claim(text):
    """claim.CLAIM.DATA.ATTACK.READING.SCORE.OF[.SCALE]"""
    kind, name, data, attack, *key = text.split(".")
    return claim_id(kind, ".".join([name, *key[3:]]), data, attack, ".".join(key[:3]))


def test_class_by_attack_counts_whole_intervals_above_and_below_nothing_over_both_sets():
    found = {
        "claim.T6.mnist.fgsm.R1.logit.true": RISES,
        "claim.T6.mnist.pgd.R3.logit.true": RISES,
        "claim.T6.mnist.cw.R6.pixel.true": FALLS,
        "claim.T6.mnist.cw.R1.logit.true": OPEN,
        "claim.T6.mnist.cw.R2.logit.true": ZERO,
        "claim.T6.mnist.cw.R3.logit.true": ALONE,
        "claim.T6.mnist.fgsm.R1.probability.predicted": FALLS,
        "claim.T8.mnist.fgsm.R1.logit.true.raw": FALLS,
        "claim.T8.mnist.fgsm.R1.logit.true.scaled": RISES,
        "claim.T8.mnist.pgd.R1.logit.predicted.scaled": OPEN,
        # what is no part of it: another claim, what noise does
        "claim.T7.mnist.fgsm.R1.logit.true": RISES,
        "noise.T6.mnist.fgsm.R1.logit.true": RISES,
        "beyond.T6.mnist.fgsm.R1.logit.true": RISES,
        "claim.T6.fashion_mnist.fgsm.R1.logit.true": FALLS,
    }
    found = {claim(text): one for text, one in found.items()}
    none = "0/0/0"
    assert tables.directions(measurements.directions(found)) == [
        ("true class, FGSM and PGD", "2/0/1 (1/0/0)", f"0/0/1 ({none})", f"1/0/0 ({none})"),
        ("true class, C&W", f"0/3/1 ({none})", f"{none} ({none})", f"{none} ({none})"),
        ("predicted class, FGSM and PGD", f"0/0/1 ({none})", f"{none} ({none})", f"0/1/0 ({none})"),
        ("predicted class, C&W", *[f"{none} ({none})"] * 3),
    ]


def training(*curve, seed=0):
    recipe, values = Recipe(seed=seed), torch.tensor(curve, dtype=torch.float64)
    return Trained("", recipe, torch.nn.Identity(), None, None, values)


def test_trainings_say_when_each_seed_first_reaches_what_is_printed():
    nets = {"mnist": training(0.5, 0.9523, 0.94), "digits": training(0.8, 0.91)}
    others = {
        "mnist": {"plain": [training(0.5, 0.6, 0.9522, seed=1)], "momentum": [training(0.96, 0.95, 0.97)]},
        "digits": {"plain": [], "momentum": []},
    }
    assert tables.trainings(nets, others, {"mnist": 95.23}) == [
        ("MNIST, as printed", "94.00, 95.22", "95.23", "2, never", "3"),
        ("MNIST, with momentum", "97.00", "95.23", "1", "3"),
        ("digits, as printed", "91.00", "–", "–", "2"),
    ]


def test_curves_are_the_first_training_of_each_recipe_in_percent():
    others = {
        "mnist": {"plain": [training(0.1, 0.1)], "momentum": [training(0.25, 1.0), training(0.2, 0.2)]},
        "digits": {"plain": [], "momentum": []},
    }
    assert tables.curves({"mnist": training(0.5, 0.75), "digits": training(0.125)}, others) == {
        "MNIST": {"as printed": [50.0, 75.0], "with momentum": [25.0, 100.0]},
        "digits": {"as printed": [12.5]},
    }


def test_an_interval_is_a_value_with_its_ends_a_value_alone_or_a_dash():
    found = {"a": Estimate(0.5, 0.25, 0.756), "b": Estimate(0.5)}
    assert [tables.interval(found, id) for id in ("a", "b", "c")] == ["0.50 (0.25 to 0.76)", "0.50", "–"]
    assert tables.interval(found, "a", "{:.0%}".format) == "50% (25% to 76%)"
    assert tables.interval({"a": Estimate(0.0, 0.0, 0.0)}, "a") == "0.00 (0.00 to 0.00)"


def test_spreads_between_trainings_stand_beside_those_over_images_and_the_printed_ones():
    """Of clean images the maps of the true class stand for the predicted one's as well."""
    sets = ("clean", "fgsm", "pgd", "cw")
    keys = [f"{reading}.logit.{of}" for reading in ("R1", "R3m") for of in ("true", "predicted")]
    kept = [
        (place, which, key)
        for place, which in enumerate(sets)
        for key in keys
        if (which, key.split(".")[2]) != ("clean", "predicted")
    ]
    found = {cell_id("mnist", which, "S_std", key): Estimate(0.1 + 0.01 * i) for i, which, key in kept}
    found |= {between_id("mnist", which, "S", key): Estimate(0.001) for _, which, key in kept}
    printed = {
        f"table.mnist.{which}.S_std": value
        for which, value in zip(sets, (0.164, 0.096, 0.062, 0.073), strict=True)
    }
    cells = tuple(f"{0.1 + 0.01 * i:.3f} / 0.001" for i in range(4))
    ours = [
        (f"{reading}, {words}", *cells)
        for reading in ("R1", "R3m")
        for words in ("true class", "predicted class")
    ]
    assert tables.between("mnist", found, printed) == [
        ("printed, over images", "0.164", "0.096", "0.062", "0.073"),
        *ours,
    ]
    assert tables.between("mnist", found, {}) == ours


# Table I as curves ----------------------------------------------------------------------------------------


def test_a_cell_s_readings_come_with_their_intervals_and_what_each_decided():
    cells = {
        "table.mnist.cw.TV_mean.R1.logit.true.scaled": (5.0, 4.0, 6.0),
        "table.mnist.cw.TV_mean.R6.pixel.predicted.raw": (7.0, 6.0, 8.0),
        "table.mnist.cw.TV_mean.R3m.probability.true.raw,cited": (9.0, 8.0, 9.5),
        # what is no reading of the cell
        "table.mnist.cw-clipped.TV_mean.R1.logit.true.raw": (1.0, 0.0, 2.0),
        "table.mnist.cw.TV_std.R1.logit.true.raw": (1.0, 0.0, 2.0),
        "table.mnist.pgd.TV_mean.R1.logit.true.raw": (1.0, 0.0, 2.0),
        "table.mnist.cw.TV_mean.R8.logit.true.raw": (1.0, 0.0, 2.0),
    }
    found = {cell(text): Estimate(*interval) for text, interval in cells.items()}
    estimates, decisions = tables.specifications(found, "table.mnist.cw.TV_mean")
    r1, r6, r3m = (cell(text) for text in list(cells)[:3])
    assert estimates == {r1: (5.0, 4.0, 6.0), r6: (7.0, 6.0, 8.0), r3m: (9.0, 8.0, 9.5)}
    assert decisions == {
        "class": {r1: "true", r6: "predicted", r3m: "true"},
        "score": {r1: "logit", r6: "pixel", r3m: "probability"},
        "scale": {r1: "scaled", r6: "raw", r3m: "raw"},
        "baseline": {r1: "mean over α", r6: "other classes", r3m: "training mean"},
        "rows": {r1: "training", r6: "VAE", r3m: "the image"},
        "network": {r1: "as printed", r6: "as printed", r3m: "tanh, average"},
    }


def test_sparsity_has_no_scale_to_decide():
    found = {cell("table.mnist.pgd.S_mean.R1.logit.true"): Estimate(0.5, 0.4, 0.6)}
    decisions = tables.specifications(found, "table.mnist.pgd.S_mean")[1]
    assert set(decisions) == {"class", "score", "baseline", "rows", "network"}


BOOK = """
paper: {short: P, title: T, authors: A, venue: V, year: 2020, doi: 10/x, claims: [a, b, c]}
rows:
- {id: t.S, kind: cell, location: I, statement: s, printed: "0.70", rule: {type: cell},
   tol: {of: mean, n: null, why: w}, decided_by: {measurements: ["t.S.*"], data: mnist}}
- {id: t.none, kind: cell, location: I, statement: s, printed: "0.5", rule: {type: cell},
   tol: {of: mean, n: null, why: w}, decided_by: {measurements: ["t.none.*"], data: mnist}}
"""


def test_a_band_is_what_is_printed_and_the_median_tolerance_of_the_readings():
    spreads = {f"t.S.R{i}": {"sd": sd, "k": 3} for i, sd in enumerate((0.01, 0.02, 0.5))}
    book = ledger.parse("p", BOOK, spreads)
    tolerances = [book.rows[0].tolerance(id) for id in spreads]
    assert tables.band(book, "t.S") == (0.70, median(tolerances)) == (0.70, tolerances[1])
    assert tables.band(book, "t.none") is None, "no seed spread, no tolerance"
    assert tables.band(book, "t.digits") is None, "nothing is printed for other data"


def test_what_the_text_allows_is_listed_with_its_words():
    lines = tables.allowed()
    assert [name for name, *_ in lines] == list(READINGS)
    assert dict((name, rest[:2]) for name, *rest in lines)["R3b"] == [
        "f(x) - f(x; x_p <- 0)",
        "“under intervention versus no intervention”",
    ]


def test_sparsity_over_its_threshold_is_a_line_for_each_set():
    sets = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD", "cw": "C&W"}
    found = {
        resolved_id("mnist", which, "R3m.logit.true", share): Estimate(float(share) + place, 0.0, 9.0)
        for place, which in enumerate(sets)
        for share in ("0", "0.001", "0.1")
    }
    made = tables.over_threshold(found, "mnist", "R3m.logit.true", (0.0, 0.001, 0.1))
    assert list(made) == list(sets.values())
    assert made["PGD"] == {0.0: (2.0, 0.0, 9.0), 0.001: (2.001, 0.0, 9.0), 0.1: (2.1, 0.0, 9.0)}


def test_maps_that_are_no_readings_have_s_and_scaled_tv_of_each_set():
    sets = ("clean", "fgsm", "pgd", "cw")
    found = {
        cell_id("mnist", which, column, f"{reading}.logit.true", scale): Estimate(value + place / 10)
        for place, which in enumerate(sets)
        for column, scale, value in (("S_mean", "", 0.25), ("TV_mean", "scaled", 10.0))
        for reading in COMPARISONS
    }
    line = ("0.250", "0.350", "0.450", "0.550", "10.0", "10.1", "10.2", "10.3")
    assert tables.compared("mnist", found) == [(reading, *line) for reading in COMPARISONS]


def test_an_attack_stands_beside_its_noise_with_their_intervals():
    ids = [
        f"{attack}.{reading}.logit.true.scaled"
        for reading in ("R1", "R3", "R3m")
        for attack in ("fgsm", "pgd", "cw")
    ]
    found = {claim(f"claim.T8.mnist.{id}"): Estimate(0.01 * i, -1.0, 1.0) for i, id in enumerate(ids)} | {
        claim(f"noise.T8.mnist.{id}"): Estimate(5.0) for id in ids
    }
    made = tables.against_noise(found, "mnist", "T8", "scaled")
    assert list(made) == [
        f"{reading} {attack}" for reading in ("R1", "R3", "R3m") for attack in ("FGSM", "PGD", "C&W")
    ]
    assert made["R3m PGD"] == {
        "under the attack": (pytest.approx(0.07), -1.0, 1.0),
        "under noise of its size": (5.0, 5.0, 5.0),
    }


def test_latents_have_a_line_for_each_beta_with_every_seed():
    kl = torch.tensor([1.0, 0.0, 0.0])
    found = [
        Latents(10.0, seed, active, (0, 0), torch.empty(0)) for seed, active in enumerate((kl, kl + 1))
    ] + [Latents(1.0, 0, kl, (0, 0), torch.empty(0))]
    measured = {
        "vae.nats.10": Estimate(2.5),
        "vae.labels.10": Estimate(0.125),
        "vae.nats.1": Estimate(1.0),
        "vae.labels.1": Estimate(1.0),
    }
    assert tables.latents(found, measured) == [
        ("β = 1", "1 of 3", "1.00", "100%"),
        ("β = 10", "1 of 3, 3 of 3", "2.50", "12%"),
    ]


def test_detectors_have_every_kind_of_image_and_a_dash_where_nothing_was_measured():
    found = {
        "detector.mnist.R1.fgsm": Estimate(0.9, 0.8, 1.0),
        "detector.mnist.R1.evading.10": Estimate(0.5),
        "detector.digits.R3m.noise": Estimate(0.6),
    }
    lines = {line[0]: line[1:] for line in tables.detectors("mnist", found)}
    assert tuple(lines) == DETECTORS and {len(cells) for cells in lines.values()} == {4 + len(WEIGHTS)}
    assert lines["R1"] == ("0.90 (0.80 to 1.00)", "–", "–", "–", "–", "–", "0.50") and set(lines["R3m"]) == {
        "–"
    }


def test_likeness_is_found_in_either_order_and_is_one_with_itself():
    found = {
        "alike.mnist.R1-R3": Estimate(0.25),
        "alike.mnist.R8-R1": Estimate(0.0),
        "alike.digits.R3-R8": Estimate(0.9),
    }
    assert tables.alike("mnist", ("R1", "R3", "R8"), found) == [
        ("R1", "1", "0.25", "0.00"),
        ("R3", "0.25", "1", "–"),
        ("R8", "0.00", "–", "1"),
    ]


# The live figure ------------------------------------------------------------------------------------------


def point(kind, norm, eps, number):
    """Three images whose pixels and effects say which point and which image they are of."""
    each = torch.arange(3.0).view(3, 1, 1)
    maps = {
        key: number + (0.01 * place + 0.1 * each).repeat(1, 2, 2)
        for place, key in enumerate(strength.READINGS)
    }
    for values in maps.values():
        values[:, 0, 0] = -1.0
    return Point(
        kind,
        norm,
        eps,
        (number / 20 + each / 100).repeat(1, 2, 2)[:, None],
        maps,
        torch.tensor([number % 2, 1, 0]),
        torch.tensor([0, 1, 1]),
    )


@pytest.fixture
def made():
    every = [
        *product(("fgsm", "pgd", "noise"), ["linf"], (0.1, 0.2, 0.3, 0.4)),
        *product(("cw", "noise"), ["l2"], (1.0, 2.0, 3.0)),
    ]
    return [point("clean", "", 0.0, 0), *(point(*one, number) for number, one in enumerate(every, 1))]


@pytest.mark.parametrize(
    ("asked", "shown"), [(1, ["1: zero"]), (2, ["1: zero", "2: one"]), (9, ["1: zero", "2: one", "3: one"])]
)
def test_there_is_a_tile_for_every_combination_of_the_images_there_are(made, asked, shown):
    choices, tiles = tables.tiles(made, ("zero", "one"), 0.3, images=asked)
    assert choices["image"] == shown and [len(of) for of in choices.values()] == [len(shown), 3, 3, 3, 2]
    assert set(tiles) == set(product(*choices.values()))
    assert explorer(choices, tiles, "", "", "")  # which refuses what is missing


def test_a_tile_shows_the_image_and_map_that_were_chosen(made):
    choices, tiles = tables.tiles(made, ("zero", "one"), 0.3)
    at = {(one.kind, one.eps): one for one in made}
    much, little, nothing = choices["budget"]
    for (image, attack, budget, reading, of), tile in tiles.items():
        kind = {"FGSM": "fgsm", "PGD": "pgd", "C&W": "cw"}[attack]
        chosen = (
            at["clean", 0.0]
            if budget == nothing
            else at[kind, {little: (0.1, 1.0), much: (0.3, 3.0)}[budget][kind == "cw"]]
        )
        number = choices["image"].index(image)
        effects = chosen.maps[f"{reading}.logit.{of.removesuffix(' class')}"][number]
        assert (
            isinstance(tile, Tile)
            and torch.equal(tile.image, chosen.images[number, 0])
            and torch.equal(tile.effects, effects)
        )
        assert tile.said.startswith(f"Predicted: {('zero', 'one')[int(chosen.predicted[number])]}. ")
        sparsity, variation = (
            statistic(effects[None]).item() for statistic in (m.sparsity, m.total_variation)
        )
        assert f"S {sparsity:.3f}, TV {variation:.3g} " in tile.said


def test_where_the_page_cannot_be_changed_stand_the_first_image_and_its_map_at_the_largest_budgets(made):
    images, maps = tables.pictured(made, ("zero", "one"), 0.3)
    at = {(one.kind, one.eps): one for one in made}
    shown = {"clean": at["clean", 0.0], "FGSM": at["fgsm", 0.3], "PGD": at["pgd", 0.3], "C&W": at["cw", 3.0]}
    titles = {name: f"{name}: {('zero', 'one')[int(one.predicted[0])]}" for name, one in shown.items()}
    assert set(images) == set(maps) == set(titles.values())
    assert titles["clean"] == "clean: zero" and len({title[-4:] for title in titles.values()}) == 2
    assert all(
        torch.equal(images[titles[name]], one.images[0, 0])
        and torch.equal(maps[titles[name]], one.maps["R3m.logit.true"][0])
        for name, one in shown.items()
    )


@pytest.mark.parametrize(
    ("eps", "named"),
    [
        (0.3, ["0.3 (C&W: L2 norm 3)", "0.1 (C&W: L2 norm 1)"]),
        (0.15, ["0.15 (C&W: L2 norm 1.5)", "0.05 (C&W: L2 norm 0.5)"]),
        (0.9, ["0.9 (C&W: L2 norm 9)", "0.3 (C&W: L2 norm 3)"]),
        (1 / 3, ["0.333333 (C&W: L2 norm 3.33333)", "0.111111 (C&W: L2 norm 1.11111)"]),
    ],
)
def test_the_budgets_to_choose_from_are_the_run_s(eps, named):
    linf, l2 = (strength.budgets(eps, norm) for norm in ("linf", "l2"))
    every = [*product(("fgsm", "pgd"), ["linf"], linf), *product(["cw"], ["l2"], l2)]
    points = [point("clean", "", 0.0, 0), *(point(*one, number) for number, one in enumerate(every, 1))]
    choices, tiles = tables.tiles(points, ("zero", "one"), eps)
    assert choices["budget"] == [*named, "0, the clean image"]
    assert set(tiles) == set(product(*choices.values()))
    assert len(tables.pictured(points, ("zero", "one"), eps)[0]) == 4


def test_lines_over_the_budget_begin_with_the_clean_images(made):
    ids = ("misled", "S.R3m.logit.true", "TV.R3m.logit.true", "positive.R3m.logit.true")
    found = {
        f"{one.id}.{what}": Estimate(one.eps + 10 * place, 0.0, 1.0)
        for one in made
        for place, what in enumerate(ids)
    }
    panels = tables.over_budget(made, found, "l2", ("cw", "noise"))
    assert list(panels) == ["share misled", "S", "TV, as it comes", "positive mass"] and all(
        set(lines) == {"C&W", "noise"} for lines in panels.values()
    )
    assert panels["S"]["C&W"] == [(eps, eps + 10, 0.0, 1.0) for eps in (0.0, 1.0, 2.0, 3.0)]
    assert [one[0] for one in tables.over_budget(made, found, "linf", ("noise",))["S"]["noise"]] == [
        0.0,
        0.1,
        0.2,
        0.3,
        0.4,
    ]


def test_the_words_under_a_tile_are_the_statistics_of_its_map():
    maps = {key: torch.tensor([[[4.0, -2.0], [1.0, 0.0]]]) for key in strength.READINGS}
    one = [
        Point(kind, "", eps, torch.zeros(1, 1, 2, 2), maps, torch.tensor([1]), torch.tensor([0]))
        for kind, eps in (("clean", 0.0), *product(("fgsm", "pgd"), (0.1, 0.3)), ("cw", 1.0), ("cw", 3.0))
    ]
    said = {tile.said for tile in tables.tiles(one, ("zero", "one"), 0.3)[1].values()}
    assert said == {
        "Predicted: one. S 0.500, TV 6.71 (1.68 over the largest effect)."
    }  # the length of (-3, -6), and over 4


def test_the_tiles_of_a_run_are_complete(run, net, points):
    choices, tiles = tables.tiles(points, net.test.classes, run.p.eps)
    assert len(tiles) == 2 * 3 * 3 * 3 * 2 and set(tiles) == set(product(*choices.values()))
    assert explorer(choices, tiles, "", "", "")


# Spreads between trainings --------------------------------------------------------------------------------


def test_spreads_come_from_trainings_set_apart_at_the_laptop_profile(monkeypatch):
    asked = []

    def begin(**parameters):
        asked.append(parameters)
        return SimpleNamespace(**parameters)

    monkeypatch.setattr(seed_spread, "cells", lambda run, name: {f"accuracy.{name}.plain": float(run.seed)})
    found = seed_spread.measured(begin)
    seeds = list(seed_spread.SEEDS)
    assert found == {f"accuracy.{name}.plain": seeds for name in ("mnist", "fashion_mnist")}
    assert len(seeds) == len(set(seeds)) >= 5
    assert [(one["data"], one["seed"]) for one in asked] == list(product(("mnist", "fashion_mnist"), seeds))
    assert all(one["profile"] == "laptop" and one["n_images"] >= one["n_individual"] for one in asked)
    assert min(one["seed"] for one in asked) > 20  # no training of a run at seed 0 is one of them
