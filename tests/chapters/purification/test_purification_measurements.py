"""Every measurement of the chapter, tiny: its ids are those that the ledger waits for."""

from types import SimpleNamespace

import pytest
import torch

from causalnb import data, ledger
from causalnb.chapters.purification import arcs, climbing, measurements, networks, toy
from causalnb.chapters.purification.parameters import Parameters
from causalnb.store import Store

TINY = {
    "n_images": 8,
    "n_trainings": 1,
    "n_train": 100,
    "training_steps": 2,
    "width": 16,
    "latents": 2,
    "attack_steps": 1,
    "scored": 2,
    "purify_steps": 1,
    "searches": 1,
    "all_arms": True,
    "queries": 10,
}


@pytest.fixture(scope="module")
def book():
    return ledger.load("purification")


@pytest.fixture(scope="module")
def run(tmp_path_factory, book):
    """A training of a step or two each, one epoch for a classifier, one reading and two etas."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "CLASSIFIER_EPOCHS", 1)
        patch.setattr(networks, "PROBED", 200)
        patch.setattr(networks, "ETAS", (0.0, 1e-3, 1e-1))
        patch.setattr(measurements, "READINGS", ("two-stage",))
        yield SimpleNamespace(
            p=Parameters.resolve(TINY),
            store=Store(tmp_path_factory.mktemp("store")),
            device=torch.device("cpu"),
            load=data.load,
            level=lambda id: max((row.level for row in book.decided_by(id)), default=0.95),
        )


@pytest.fixture(scope="module")
def found(run):
    made, of = {}, networks.sets(run, "shapes")
    for measure in measurements.BY_SET:
        made |= measure(run, of)
    return made | measurements.cue(run) | climbing.planted(run, of) | climbing.squared(run, of)


def test_every_measurement_decides_a_row(book, found):
    extra = {"planted.shapes.random"}
    assert [id for id in found if not book.decided_by(id) and id not in extra] == []


def test_every_row_of_shapes_is_measured(book, found):
    rows = [row for row in book.rows if row.decided_by.data == "shapes"]
    assert [row.id for row in rows if not any(row.decides(id) for id in found)] == []


def test_every_row_of_the_toy_is_measured(book, run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "TRAINING", 10)
        patch.setattr(toy, "ATTACKED", 12)
        patch.setattr(toy, "PGD_STEPS", 2)
        found = arcs.measured(run)
    rows = [row for row in book.rows if row.decided_by.data == "arcs"]
    assert rows and [row.id for row in rows if not any(row.decides(id) for id in found)] == []
    margins = [found[f"arcs.l2.{kind}.margin"].value for kind in toy.MODELS]
    assert all(0 <= one <= toy.GRID[-1] + toy.GRID[0] for one in margins)


def test_accuracy_never_rises_with_what_the_attacker_knows(run):
    of = networks.sets(run, "shapes")
    for rungs in (
        [one.value for id, one in climbing.ladder(run, of).items() if f".{name}." in id]
        for name in ("pgd", "plain")
    ):
        assert rungs == sorted(rungs, reverse=True)


def test_what_stands_in_front_is_scored_on_every_rung(run):
    found = climbing.baselines(run, networks.sets(run, "shapes"))
    assert len(found) == 3 * len(climbing.BASELINES)
    assert all(0 <= one.value <= 1 for one in found.values())


def test_what_a_training_does_has_an_interval_over_seeds_at_its_rows_level(run, found):
    for id, one in found.items():
        assert one.level is None or one.level >= run.level(id) - 1e-9, id


def test_several_trainings_are_compared_over_seeds_and_one_over_images():
    table = [torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1.0, 1.0, 1.0])]
    asked = SimpleNamespace(p=Parameters.resolve({"seed": 5, "n_trainings": 2}), level=lambda id: 0.99)
    two = measurements.of_seeds(asked, "any", table)
    assert (two.seeds, two.level, two.method) == ((5, 6), 0.99, "student over seeds")
    one = measurements.of_seeds(asked, "any", table[:1])
    assert (one.seeds, one.n, one.method) == ((5,), 3, "bootstrap mean")


def test_the_average_over_attacks_is_not_below_their_union(found):
    assert all(found[f"claim.comprehensive.shapes.{reading}"].value >= 0 for reading in measurements.READINGS)


def test_the_best_eta_is_chosen_on_other_images_than_it_is_measured_on():
    grid = {
        0.0: [torch.tensor([0.5, 0.5, 0.5, 0.5])],
        1.0: [torch.tensor([0.9, 0.1, 0.9, 0.1])],
        2.0: [torch.tensor([0.6, 0.6, 0.6, 0.6])],
        3.0: [torch.tensor([0.4, 0.4, 0.4, 0.4])],
    }
    clean = {0.0: 1.0, 1.0: 0.98, 2.0: 0.97, 3.0: 0.5}
    found = {part: float(one[0].mean()) for part, one in measurements.eta_claims(grid, clean).items()}
    assert found == pytest.approx({"optimum": -0.4, "small": -0.4, "large": -0.5})


def test_an_eta_that_ruins_clean_accuracy_is_neither_best_nor_too_large():
    flat = {eta: [torch.full((4,), value)] for eta, value in ((0.0, 0.5), (1.0, 0.6), (2.0, 0.9), (3.0, 0.1))}
    found = measurements.eta_claims(flat, {0.0: 1.0, 1.0: 1.0, 2.0: 0.3, 3.0: 0.3})
    assert float(found["large"][0].mean()) == 0
    assert float(found["small"][0].mean()) == pytest.approx(0.1)


def test_the_abstracts_numbers_as_the_ledger_prints_them(book):
    printed = {row.id: row.printed for row in book.rows if row.printed}
    found = {id: one.value for id, one in measurements.of_the_abstract(printed).items()}
    assert found == {f"control.N{k}": float(k not in (4, 6)) for k in range(1, 7)}
