"""The long computations, on few digits: what goes in, what comes out, and what is asked of the method."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from causalnb import UserError, ledger, training
from causalnb.chapters.ace import (
    claims,
    detector,
    experiments,
    families,
    measurements,
    networks,
    readings,
    strength,
)
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.interventions import Table, interventional_table
from causalnb.chapters.ace.specifications import COMPARISONS, FIXED, READINGS
from causalnb.models import lenet

MAIN = {
    f"{reading}.{score}.{of}"
    for reading in ("R1", "R1d", "R1e", "R3", "R3b", "R3c", "R3m")
    for score in readings.SCORES
    for of in ("predicted", "true")
}


@pytest.fixture(scope="module")
def effects(run, net, right, sets):
    """All readings of the clean images and what they are compared with, made family by family."""
    of = readings.classes_of(net.model, sets["clean"], right.labels)
    each = (experiments.all_families(run, net) | experiments.comparisons(run)).values()
    return {key: maps for one in each for key, maps in one.maps(net.model, sets["clean"], of).items()}


@pytest.fixture(scope="module")
def noise(run, sets):
    return experiments.placebo_sets(run, sets)


@pytest.fixture(scope="module")
def columns(run, net, right, sets, noise, found):
    return experiments.columns(run, net, sets, noise, right.labels, found)


def by_hand(*, effect, error):
    """A table of two pixels, values 0 and 1 and ten classes: these [2 pixels, 2 values] for each score and
    class.
    """
    effect, error = (
        torch.tensor(values, dtype=torch.float64)[None, :, :, None].expand(2, 2, 2, 10).clone()
        for values in (effect, error)
    )
    return Table(
        torch.tensor([0.0, 1.0], dtype=torch.float64), effect, torch.zeros(2, 10, dtype=torch.float64), error
    )


# Attacks --------------------------------------------------------------------------------------------------


def test_attacks_have_the_budget_that_is_asked_for_and_the_runs_own_without_one(run):
    own, other = experiments.attack_settings(run.p), experiments.attack_settings(run.p, eps=0.1)
    assert {name: of["eps"] for name, of in own.items()} == {"fgsm": 0.3, "pgd": 0.3, "cw": None}
    assert {name: of["eps"] for name, of in other.items()} == {"fgsm": 0.1, "pgd": 0.1, "cw": None}
    assert own["cw"] == other["cw"] and own["pgd"]["steps"] == other["pgd"]["steps"] == 5
    assert experiments.attack_settings(run.p, eps=0.0)["fgsm"]["eps"] == 0


@pytest.mark.parametrize(("steps", "step"), [(5, 0.4 * 0.1), (60, 0.1 / 30), (200, 0.1 / 30)])
def test_pgds_steps_cross_the_ball_and_are_no_shorter_than_foolboxs(run, steps, step):
    of = experiments.attack_settings(run.p.model_copy(update={"pgd_steps": steps}), eps=0.1)["pgd"]
    assert of["step"] == pytest.approx(step) and of["steps"] * of["step"] >= 0.2 - 1e-12


def test_sets_are_the_images_that_are_right_when_clean(net, found, right, sets):
    assert set(found) == {"fgsm", "pgd", "cw", "cw-clipped"} and set(sets) == set(found) | {"clean"}
    assert (
        torch.equal(sets["clean"], right.images)
        and (training.predict(net.model, right.images).argmax(1) == right.labels).all()
    )
    assert {len(images) for images in sets.values()} == {len(right)} and 2 <= len(right) < len(net.test)
    changed = {name: (sets[name] - sets["clean"]).flatten(1) for name in found}
    assert max(changed[name].abs().max() for name in ("fgsm", "pgd")) <= 0.3 + 1e-6
    assert changed["cw-clipped"].norm(dim=1).max() <= 0.3 + 1e-6 < changed["cw"].norm(dim=1).max()


def test_a_network_that_is_right_too_seldom_is_refused_in_a_sentence(run, net):
    with_one = replace(net.test.take(slice(10)), labels=torch.tensor([3] + [4] * 9))
    constant = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    constant[1].weight.data.zero_()
    constant[1].bias.data = torch.eye(10)[3]
    with pytest.raises(
        UserError, match=r"The network on digits gets 1 of 10 images right, .* train longer \(epochs\)"
    ):
        experiments.attacked(run, replace(net, model=constant, test=with_one))


def test_noise_has_the_size_of_its_attack(run, sets):
    made = experiments.placebo_sets(run, sets)
    assert set(made) == {"fgsm", "pgd", "cw"}
    change = {name: (images - sets["clean"]).flatten(1) for name, images in made.items()}
    attack = {name: (sets[name] - sets["clean"]).flatten(1) for name in made}
    assert torch.allclose(change["cw"].norm(dim=1), attack["cw"].norm(dim=1), atol=1e-3)
    for name in ("fgsm", "pgd"):
        assert (change[name].abs().amax(1) <= attack[name].abs().amax(1) + 1e-6).all() and change[
            name
        ].norm() > 0.5 * attack[name].norm()
    assert all(not torch.equal(change[name], attack[name]) for name in made)


# Tables ---------------------------------------------------------------------------------------------------


def test_rows_are_as_many_as_asked_for_and_no_more_than_there_are(run, net):
    assert [len(experiments.drawn_rows(run, net, n)) for n in (None, 7, len(net.train), 10**6)] == [
        20,
        7,
        len(net.train),
        len(net.train),
    ]
    assert experiments.drawn_rows(run, net).labels.bincount().tolist() == [2] * 10


def test_each_class_has_a_table_of_its_own_rows(run, net):
    rows = experiments.drawn_rows(run, net)
    one = experiments.class_tables(run, net, rows.images, rows.labels)
    for c in (0, 7):
        own = interventional_table(net.model, rows.images[rows.labels == c], experiments.alphas(run.p))
        assert torch.equal(one.effect[..., c], own.effect[..., c]) and torch.equal(
            one.natural[:, c], own.natural[:, c]
        )
        assert not torch.equal(one.effect[..., c], experiments.table(run, net).effect[..., c])


def test_what_is_empty_for_every_network_is_empty_for_this_one(run, net):
    found = experiments.degenerate(run, net)
    assert set(found) == {"R9", "R10", "R11"}
    assert found["R9"] < 1e-12 and found["R11"] < 1e-12 and found["R10"] >= 0


def test_a_table_that_is_of_no_probabilities_would_show(monkeypatch, run, net):
    """Effects 1 and 3 at the first pixel, 0 and -4 at the second, in each of ten classes; against their mean
    -1, 1 and 2, -2.
    """
    monkeypatch.setattr(
        experiments, "table", lambda run, net: by_hand(effect=[[1, 3], [0, -4]], error=[[0, 0], [0, 0]])
    )
    assert experiments.degenerate(run, net) == {"R9": 20.0, "R10": 1.0, "R11": 0.0}


# S against the number of rows -----------------------------------------------------------------------------


@pytest.fixture
def two_pixels(net):
    images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5]]).view(4, 1, 1, 2)
    return replace(net, test=replace(net.test, images=images, labels=torch.tensor([0, 1, 2, 3])))


@pytest.mark.parametrize(
    ("error", "resolved"), [(0.0, [0.5, 0, 0.5, 1]), (0.49, [0.5, 0, 0.5, 1]), (0.51, [1, 1, 1, 1])]
)
def test_a_sign_is_resolved_beyond_two_standard_errors(monkeypatch, run, two_pixels, error, resolved):
    """Effects -1, 1 at the first pixel and 1, -1 at the second; halfway they are 0, which is not positive."""
    one = by_hand(effect=[[1, 3], [0, -2]], error=[[error, error], [error, error]])
    monkeypatch.setattr(experiments, "table", lambda run, net, rows: one)
    ((size, found),) = experiments.by_rows(run, two_pixels, [30])
    assert size == 30 and set(found) == {"logit", "probability", "logit.resolved", "probability.resolved"}
    for score in readings.SCORES:
        assert found[score].tolist() == [0.5, 0, 0.5, 1] and found[f"{score}.resolved"].tolist() == resolved


def test_s_by_rows_is_that_of_r1_and_no_smaller_where_signs_must_be_resolved(run, net):
    by_rows = dict(experiments.by_rows(run, net, [20, 40]))
    maps = readings.population(experiments.table(run, net), net.test.images, {"true": net.test.labels})
    for score in readings.SCORES:
        assert torch.allclose(by_rows[20][score], m.sparsity(maps[f"R1.{score}.true"]).double(), atol=1e-6)
        assert all(
            (found[f"{score}.resolved"] >= found[score]).all() and len(found[score]) == 14
            for found in by_rows.values()
        )
    assert (by_rows[20]["logit.resolved"] > by_rows[20]["logit"] + 0.1).all() and not torch.equal(
        by_rows[20]["logit"], by_rows[40]["logit"]
    )


# Maps -----------------------------------------------------------------------------------------------------


def test_every_reading_is_made_for_both_classes(run, right, effects):
    assert {key.split(".")[0] for key in effects} == {*READINGS, *COMPARISONS}
    assert {key.split(".")[2] for key in effects} == {"predicted", "true"}
    few = min(run.p.n_individual, len(right))
    for key, maps in effects.items():
        reading, size = key.split(".")[0], 28 // (int(key[4]) if key.startswith("R12x") else 1)
        needs = (READINGS | COMPARISONS)[reading].needs
        assert maps.shape == (few if needs == "forwards" or reading == "R8" else len(right), size, size), key
        assert maps.dtype == torch.float32 and maps.isfinite().all()


def test_readings_by_look_up_have_the_rows_that_they_name(run, net, sets, right, effects):
    images, rows, grid = sets["clean"], experiments.drawn_rows(run, net), experiments.alphas(run.p)
    model, few = networks.generator(run, net, beta=run.p.vae_beta, seed=run.p.seed), slice(run.p.n_rows)
    made, their = networks.samples(run, net, model, n=run.p.n_rows)
    tables = {
        "R1": interventional_table(net.model, rows.images, grid),
        "R4": interventional_table(net.model, images[few], grid),
        "R1c": experiments.class_tables(run, net, rows.images, rows.labels),
        "R2": experiments.second_order_table(run, net),
        "R5": interventional_table(net.model, made, grid),
        "R5c": experiments.class_tables(run, net, made, their),
    }
    for reading, one in tables.items():
        wanted = readings.at_own_values(one, images, {"true": right.labels}, {reading: "uniform"})
        assert torch.equal(effects[f"{reading}.logit.true"], wanted[f"{reading}.logit.true"]), reading
    for a, b in [("R1", "R1c"), ("R1", "R4"), ("R1", "R2"), ("R5", "R5c"), ("R1", "R5")]:
        assert not torch.allclose(effects[f"{a}.logit.true"], effects[f"{b}.logit.true"], rtol=1e-2), (a, b)


def test_the_main_maps_are_those_of_all_readings_on_every_image(run, net, right, sets, effects):
    maps = experiments.main_maps(run, net, sets["clean"], right.labels)
    assert set(maps) == MAIN and {len(values) for values in maps.values()} == {len(right)}
    for key, values in maps.items():
        known = effects[key]
        assert torch.allclose(values[: len(known)], known, atol=1e-6), key


def test_every_column_is_that_of_its_maps_held_at_once(run, net, right, sets, effects, columns):
    cells = claims.cells({"clean": claims.see(sets["clean"], effects, sets["clean"])})
    assert set(cells) == {name for name in columns if name.startswith("table ") and " clean " in name}
    for name, values in cells.items():
        assert torch.allclose(columns[name], values, atol=1e-6, equal_nan=True), name
    for key, maps in effects.items():
        assert torch.allclose(columns[f"map first clean {key}"], maps[0], atol=1e-6), key
    for key in experiments.KEPT:
        assert torch.allclose(columns[f"maps whole clean {key}"], effects[key], atol=1e-6), key
    whole = {name.split(" ")[3] for name in columns if name.startswith("maps ")}
    assert whole == set(experiments.KEPT)
    for key in experiments.DETECTED:
        wanted = detector.features(effects[key])
        assert torch.allclose(columns[f"features detector clean {key}"], wanted, atol=1e-5), key


def test_maps_that_are_no_reading_have_the_statistics_of_the_table_and_no_claim(columns):
    claimed = {name.split(" ")[3].split(".")[0] for name in columns if name.startswith(("claim ", "noise "))}
    assert claimed == set(READINGS)
    counted = {name.split(" ")[3].split(".")[0] for name in columns if name.startswith("table ")}
    assert counted == {*READINGS, *COMPARISONS}
    assert {name.split(" ")[3] for name in columns if name.startswith("resolved ")} == set(
        experiments.RESOLVED
    )


def test_a_map_that_depends_on_the_true_class_alone_is_asked_about_no_change(columns):
    changes = {
        name.split(" ")[1]
        for name in columns
        if name.startswith(("claim ", "noise ", "beyond "))
        and name.endswith(".true")
        and name.split(" ")[3].split(".")[0] in FIXED
    }
    assert changes <= {"T5", "T5b", "T9", "T9b"} and "T5" in changes


def test_columns_come_from_the_store_the_second_time(
    monkeypatch, run, net, right, sets, noise, found, columns
):
    def again(*args, **kw):
        raise AssertionError("made twice")

    monkeypatch.setattr(families, "_of", again)
    kept = experiments.columns(run, net, sets, noise, right.labels, found)
    assert set(kept) == set(columns)
    assert all(torch.equal(kept[name].nan_to_num(), values.nan_to_num()) for name, values in columns.items())


@pytest.fixture(scope="module")
def again(run, net):
    """Table I's cells of a network beside the first, whose second C&W row is a reading as well."""
    return experiments.again(run, net, run.p.n_strength, (*experiments.SETS, "cw-clipped"))


def test_another_training_has_its_own_attacks_and_cells_on_the_first_drawn_images(
    net, right, effects, again, run
):
    cells = again
    first = int(
        (training.predict(net.model, net.test.images).argmax(1) == net.test.labels)[: run.p.n_strength].sum()
    )
    assert 0 < first < len(right) and {len(values) for values in cells.values()} == {first}
    assert set(cells) == {
        f"table {statistic} {which} {key}"
        for statistic in ("S", "TV.raw", "TV.scaled")
        for which in (*experiments.SETS, "cw-clipped")
        for key in MAIN
        if which != "clean" or key.endswith(".true")
    }
    of = "R3m.logit.true"
    assert torch.allclose(cells[f"table S clean {of}"], m.sparsity(effects[of])[:first], atol=1e-6)
    attacked = cells[f"table TV.raw fgsm {of}"]
    assert not torch.allclose(attacked, cells[f"table TV.raw clean {of}"], atol=1e-2)


def test_the_whole_table_asks_for_what_a_run_measures_and_for_nothing_else(monkeypatch, run, columns, again):
    """With the ids of the laptop's data sets in place of this run's."""
    monkeypatch.setattr(measurements, "_summarised", lambda run, columns, statistic: dict.fromkeys(columns))
    made, book = set(), ledger.load("ace")
    for data in ("mnist", "fashion_mnist"):
        made |= measurements.table_cells(run, data, columns).keys()
        for network in ("momentum", "cited"):
            made |= measurements.table_cells(run, data, again, network).keys()
    [rule] = [row.rule for row in book.rows if row.kind == "table"]
    asked = {
        id for ids in rule.spelled(row.id for row in book.cells_of(rule)).values() for id in ids.values()
    }
    assert asked == {id for id in made if id.kind == "table"}
    assert {id.parts["reading"] for id in made if id.kind != "table"} == set(COMPARISONS)


def test_the_columns_of_drawn_weights_are_those_of_an_untrained_network_in_the_store_as_well(
    run, net, sets, right
):
    few = slice(run.p.n_individual)
    images, of, untrained = sets["clean"][few], {"true": right.labels[few]}, lenet(seed=run.p.seed).eval()
    rows, grid = experiments.drawn_rows(run, net).images, experiments.alphas(run.p)
    maps = readings.population(interventional_table(untrained, rows, grid), images, of)["R1.logit.true"]
    wanted = claims.objects("drawn", {"R1.logit.true": maps}, images)["drawn T5  R1.logit.true"]
    for _ in range(2):  # made, then found
        drawn = experiments.untrained(run, net, sets["clean"], right.labels)
        assert torch.allclose(drawn["drawn T5  R1.logit.true"], wanted, atol=1e-7, equal_nan=True)
        assert set(drawn) == {
            f"drawn {claim}  {key}" for claim in ("T5", "T5b") for key in MAIN if key.endswith(".true")
        }
        assert {len(values) for values in drawn.values()} == {len(images)}


def test_the_picture_of_an_intervention_shows_the_pixel_that_moves_the_image_s_class_the_most(run, net):
    found, table = experiments.intervention(run, net), experiments.table(run, net)
    of = int(net.test.labels[0])
    moved = table.expectation[1, :, :, of].amax(1) - table.expectation[1, :, :, of].amin(1)
    row, column = found["pixel"]
    assert moved[28 * row + column] == moved.max() > 0
    assert torch.equal(found["image"], net.test.images[0, 0]) and found["alphas"] == [0, 0.5, 1]
    assert torch.equal(found["expectations"], table.expectation[1, 28 * row + column, :, of])


# The promised detector ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing(found):
    """The attacks as if FGSM had failed on the first right image, C&W on the first two and PGD on the first
    three.
    """
    first = found["fgsm"].correct.nonzero().flatten()
    made = dict(found)
    for name, count in {"fgsm": 1, "cw": 2, "pgd": 3}.items():
        failed = torch.zeros_like(found[name].found)
        failed[first[:count]] = True
        made[name] = replace(found[name], found=found[name].found & ~failed)
    return made


@pytest.fixture(scope="module")
def detected(run, net, right, sets, columns, failing):
    return experiments.detected(run, net, right.labels, sets["clean"], columns, failing)


def test_each_detector_has_a_number_for_each_image_that_was_misled(run, net, detected, failing):
    kinds = {"fgsm", "pgd", "cw", "noise", "evading.0", "evading.3", "evading.10"}
    right = failing["fgsm"].correct
    few = min(run.p.n_individual, int(right.sum()))
    assert set(detected) == {"R1", "R3m", "R7x"} and all(set(of) == kinds for of in detected.values())
    misled = {name: int(failing[name].found[right][:few].sum()) for name in ("fgsm", "pgd", "cw")} | {
        "noise": few
    }
    assert len(set(misled.values())) == 4
    for of in detected.values():
        assert {name: len(of[name]) for name in misled} == misled and of["fgsm"].mean() > 0.5
        assert all(0 <= values.mean() <= 1 for values in of.values() if len(values))


def test_each_kind_of_image_decides_one_row_of_the_ledger(detected):
    book, rows = ledger.load("ace"), {"fgsm": "fitted", "pgd": "unseen", "cw": "unseen", "noise": "noise"}
    for reading, kinds in detected.items():
        for kind in kinds:
            assert [row.id for row in book.decided_by(f"detector.digits.{reading}.{kind}")] == [
                f"detector.mnist.{rows.get(kind, 'evading')}"
            ]


@pytest.mark.parametrize("places", [[], [2], [2, 7]])
def test_where_fgsm_broke_too_few_there_is_no_detector(run, net, right, sets, columns, found, places):
    broken = torch.zeros_like(found["fgsm"].found)
    broken[found["fgsm"].correct.nonzero().flatten()[places]] = True
    few = found | {"fgsm": replace(found["fgsm"], found=broken)}
    assert experiments.detected(run, net, right.labels, sets["clean"], columns, few) == {}


# Against the size of a perturbation -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eps", "linf", "l2"),
    [
        (0.3, [0.1, 0.2, 0.3, 0.4], [1, 2, 3]),
        (0.15, [0.05, 0.1, 0.15, 0.2], [0.5, 1, 1.5]),
        (0.9, [0.3, 0.6, 0.9], [3, 6, 9]),
        (0.75, [0.25, 0.5, 0.75, 1.0], [2.5, 5, 7.5]),
    ],
)
def test_budgets_follow_the_run_s_and_no_pixel_moves_by_more_than_one(eps, linf, l2):
    assert strength.budgets(eps, "linf") == linf and strength.budgets(eps, "l2") == l2


def test_the_run_s_own_budget_is_among_them_however_many_digits_it_has():
    assert 1 / 3 in strength.budgets(1 / 3, "linf") and 0.1234567 in strength.budgets(0.1234567, "linf")


def test_curves_begin_with_the_clean_images_and_have_every_budget(points):
    assert [(one.kind, one.norm, one.eps) for one in points] == [
        ("clean", "", 0.0),
        *((kind, "linf", eps) for eps in (0.1, 0.2, 0.3, 0.4) for kind in ("fgsm", "pgd", "noise")),
        *((kind, "l2", eps) for eps in (1.0, 2.0, 3.0) for kind in ("cw", "noise")),
    ]


def test_a_point_has_the_name_that_its_measurements_begin_with(points):
    assert [one.id for one in points[:4] + points[-1:]] == [
        "strength.clean.0",
        "strength.fgsm.linf.0.1",
        "strength.pgd.linf.0.1",
        "strength.noise.linf.0.1",
        "strength.noise.l2.3",
    ]


def test_every_point_has_the_same_right_images_within_its_budget(run, net, right, points):
    n, clean = min(run.p.n_strength, len(right)), points[0]
    assert torch.equal(clean.images, right.images[:n]) and not clean.broken.any()
    for one in points:
        change = (one.images - clean.images).flatten(1)
        size = change.norm(dim=1) if one.norm == "l2" else change.abs().amax(1)
        assert (size <= one.eps + 1e-4).all() and torch.equal(one.labels, right.labels[:n])
        assert torch.equal(one.predicted, training.predict(net.model, one.images).argmax(1)) and torch.equal(
            one.broken, one.predicted != one.labels
        )
        assert set(one.maps) == set(strength.READINGS) and {len(values) for values in one.maps.values()} == {
            n
        }
        if one.kind in ("fgsm", "pgd", "cw"):
            assert torch.equal(size > 0, one.broken), (
                one.kind,
                one.eps,
            )  # an attack that failed leaves the clean image
        elif one.kind == "noise":
            assert size.min() > 0.9 * one.eps


def test_an_attack_at_the_runs_own_budget_is_the_runs_own_attack(net, sets, points):
    own = next(one for one in points if (one.kind, one.eps) == ("fgsm", 0.3))
    assert torch.equal(own.images, sets["fgsm"][: len(own.images)])


def test_the_maps_of_a_point_are_those_of_its_images_alone(run, net, points):
    one = points[-1]
    own = experiments.main_maps(run, net, one.images, one.labels)
    for key in strength.READINGS:
        assert torch.allclose(one.maps[key], own[key], rtol=1e-5, atol=1e-6), key


def test_the_statistics_of_a_point_are_those_of_its_maps(points):
    one = points[2]
    found = dict(one.statistics())
    assert set(found) == {
        f"{name}.{key}" for name in ("S", "TV", "TV.scaled", "positive") for key in strength.READINGS
    }
    for key in strength.READINGS:
        maps = one.maps[key]
        assert torch.equal(found[f"S.{key}"], m.sparsity(maps)) and torch.equal(
            found[f"TV.{key}"], m.total_variation(maps)
        )
        assert torch.allclose(
            found[f"TV.scaled.{key}"], m.total_variation(maps) / maps.abs().amax((1, 2)), rtol=1e-5
        )
        assert torch.allclose(found[f"positive.{key}"], maps.clamp_min(0).sum((1, 2)))


def test_only_the_first_right_images_are_taken(monkeypatch, run, net, found, right):
    asked = []
    monkeypatch.setattr(
        strength, "_points", lambda run, net, made, labels: asked.extend(len(images) for *_, images in made)
    )
    few = SimpleNamespace(p=run.p.model_copy(update={"n_strength": 3}), store=run.store, device=run.device)
    strength.curves(few, net, found)
    assert set(asked) == {3} and len(right) > 3
