from fractions import Fraction

import pytest
import torch

from causalnb.chapters.ace import by_hand
from causalnb.chapters.ace.by_hand import (
    PARTS,
    known_effects,
    known_maps,
    network,
    population,
    read,
    setting,
    shares,
)
from causalnb.chapters.ace.checks import CHECKS
from causalnb.chapters.ace.interventions import average_effects, interventional_table
from causalnb.chapters.ace.specifications import COMPARISONS, READINGS

A, B = PARTS["and"]
C, D = PARTS["xor"]
WRITTEN_OUT = {"R1", "R1e", "R1d", "R3", "R3b", "R3c", "R3m", "R7", "R7x", "R7c", "R8"}


def written(row):
    """The three logits of a flat image, in fractions."""
    x = [Fraction(value) for value in row]
    linear = [
        sum(
            Fraction(weights[c]) * x[pixel]
            for pixel, weights in zip(PARTS["linear"], by_hand.WEIGHTS, strict=True)
        )
        for c in range(3)
    ]
    return [linear[0] + 2 * max(Fraction(0), x[A] + x[B] - 1), linear[1] + 4 * abs(x[C] - x[D]), linear[2]]


@pytest.fixture(scope="module")
def rows():
    return population().flatten(1).tolist()


@pytest.fixture(scope="module")
def maps():
    images, classes, alphas, fill = setting()
    return read(network(), images, classes, alphas=alphas, fill=fill)


def test_the_network_is_the_function_that_is_written(rows):
    found = network()(population())
    assert found.tolist() == [[float(logit) for logit in written(row)] for row in rows]
    assert len(PARTS["none"]) == 28 and sorted(sum(PARTS.values(), [])) == list(range(36))


def test_the_population_has_the_law_that_the_formulas_use(rows):
    flat = population().flatten(1)
    assert flat.shape == (128, 36)
    assert [(flat[:, A] == value).double().mean().item() for value in (0.5, 1.0)] == [1 / 4, 1 / 2]
    assert [(flat[:, B] == value).double().mean().item() for value in (0.5, 1.0)] == [1 / 4, 1 / 4]
    assert (
        flat[:, [C, D]].mean(0).tolist() == [1 / 2, 1 / 2]
        and (flat[:, C] == flat[:, D]).double().mean() == 3 / 4
    )
    assert torch.equal(
        flat[:, PARTS["linear"] + PARTS["none"]].mean(0), torch.full((32,), 3 / 16, dtype=torch.float64)
    )


@pytest.mark.parametrize("baseline", ["uniform", "empirical", "zero"])
@pytest.mark.parametrize("pixel", [PARTS["linear"][0], A, B, C, D, PARTS["none"][0]])
def test_known_effects_are_those_of_the_whole_population_in_fractions(rows, pixel, baseline):
    alphas = [Fraction(step, 4) for step in range(5)]
    do = [
        [
            sum(written(row[:pixel] + [alpha] + row[pixel + 1 :])[c] for row in rows) / len(rows)
            for c in range(3)
        ]
        for alpha in alphas
    ]
    against = {
        "uniform": [sum(column) / 5 for column in zip(*do, strict=True)],
        "zero": do[0],
        "empirical": [sum(written(row)[c] for row in rows) / len(rows) for c in range(3)],
    }[baseline]
    exact = torch.tensor([[float(at[c] - against[c]) for c in range(3)] for at in do], dtype=torch.float64)
    known = known_effects(torch.linspace(0, 1, 5, dtype=torch.float64), baseline=baseline)[pixel]
    assert (known - exact).abs().max() < 1e-15


@pytest.mark.parametrize("method", ["forward", "auto"])
@pytest.mark.parametrize("points", [2, 11, 14])
def test_the_table_gives_the_known_effects_on_any_grid(method, points):
    alphas = torch.linspace(0, 1, points, dtype=torch.float64)
    table = interventional_table(network(), population(), alphas, method=method, chunk=100)
    for baseline in ("uniform", "empirical", "zero"):
        assert (
            average_effects(table, baseline=baseline)[0] - known_effects(alphas, baseline=baseline)
        ).abs().max() < 1e-12
    assert table.effect[:, PARTS["none"]].abs().max() == 0


def test_an_exclusive_or_has_no_average_effect_and_an_effect_in_every_image(maps):
    alphas = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert (
        known_effects(alphas)[PARTS["xor"]].abs().max() == 0
        and (known_effects(alphas, baseline="empirical")[PARTS["xor"], :, 1] == 1).all()
    )
    assert maps["R1.logit.1"].flatten(1)[:, PARTS["xor"]].abs().max() == 0
    assert maps["R3c.logit.1"].flatten(1)[:, PARTS["xor"]].abs().min() > 0


def test_no_reading_finds_anything_where_nothing_acts(maps):
    found = shares(maps)
    assert {key.split(".")[0] for key in found} >= WRITTEN_OUT
    # Batches of other sizes may round otherwise in the last place: whole networks are compared across batches.
    assert all(of["none"] < 1e-13 and sum(of.values()) == pytest.approx(1) for of in found.values())
    assert all(found[key]["none"] == 0 for key in found if key.startswith(("R1.", "R1e.", "R1d.")))
    assert (
        found["R1.logit.2"]["linear"] == 1
        and found["R3m.logit.0"]["and"] > 0.05
        and found["R3m.logit.1"]["xor"] > 0.3
    )


def test_shares_see_effects_that_lie_elsewhere():
    spread = torch.ones(3, 6, 6)
    assert shares({"R1.logit.0": spread})["R1.logit.0"] == pytest.approx(
        {"linear": 4 / 36, "and": 2 / 36, "xor": 2 / 36, "none": 28 / 36}
    )


def test_maps_of_the_linear_network_are_known_for_any_fill():
    images, classes, alphas, _ = setting(n=5)
    fill = torch.linspace(0, 1, 36, dtype=torch.float64).view(1, 6, 6)
    known = known_maps(images, classes, alphas=alphas, fill=fill)
    found = read(by_hand.linear_network(), images, classes, alphas=alphas, fill=fill)
    assert {key.split(".")[0] for key in known} == WRITTEN_OUT <= {*READINGS, *COMPARISONS}
    assert known.keys() <= found.keys()
    assert all((found[key] - known[key]).abs().max() < 1e-6 for key in known)


@pytest.mark.parametrize("id", ["H1", "H2", "H3"])
def test_the_checks_hold(id):
    check = CHECKS[id]()
    assert check.id == f"check.{id}" and check.holds and check.n, check


def test_a_wrong_weight_fails_the_checks(monkeypatch):
    nearly, nearly_linear = network(), by_hand.linear_network()
    nearly[3].weight.data[0, 3] += 1e-9
    nearly_linear[1].weight.data[2, 0] += 1e-4
    monkeypatch.setattr(by_hand, "network", lambda: nearly)
    monkeypatch.setattr(by_hand, "linear_network", lambda: nearly_linear)
    assert not CHECKS["H1"]().holds and not CHECKS["H2"]().holds
    assert CHECKS["H3"]().holds
    nearly_linear[1].weight.data *= 0.1
    assert not CHECKS["H3"]().holds
