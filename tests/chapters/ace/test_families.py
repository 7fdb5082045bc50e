"""Families of readings: their maps are made set by set, reduced to columns, and dropped."""

import gc
import weakref

import pytest
import torch
from torch import nn

from causalnb.chapters.ace import claims, detector, families
from causalnb.chapters.ace import maps as m

KEY, OTHER = "R3.logit.true", "R3.logit.predicted"


class Scaled:
    """A family whose map is the image itself, three times for the true class and once for the other; it
    counts its calls, and the maps that still live at each.
    """

    def __init__(self):
        self.alive, self.most, self.calls = [], 0, 0

    def maps(self, model, images, classes):
        maps = {KEY: 3 * (images[:, 0] - 0.5), OTHER: images[:, 0] - 0.5}
        self.calls += 1
        self.alive += [weakref.ref(one) for one in maps.values()]
        gc.collect()
        self.most = max(self.most, sum(one() is not None for one in self.alive))
        return maps


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def case():
    """Images of all sets, noise, labels and what was broken, for `columns`."""
    draw = torch.Generator().manual_seed(0)
    clean = torch.rand(6, 1, 4, 4, generator=draw).round()
    images = {"clean": clean} | {
        name: (clean + (torch.rand(clean.shape, generator=draw) - 0.5) / 2).clamp(0, 1)
        for name in claims.ATTACKS
    }
    noise = {
        name: (clean + (torch.rand(clean.shape, generator=draw) - 0.5) / 2).clamp(0, 1)
        for name in claims.ATTACKS
    }
    broken = dict.fromkeys(claims.ATTACKS, torch.tensor([True, False, True, True, False, False]))
    return images, noise, torch.tensor([0, 1, 2, 0, 1, 2]), broken


@pytest.mark.parametrize("part", [200, 4])
def test_columns_are_what_the_maps_held_at_once_give(network, case, part, monkeypatch):
    images, noise, labels, broken = case
    sets, noisy = (
        {
            which: claims.see(one, Scaled().maps(network, one, {}), images["clean"])
            for which, one in some.items()
        }
        for some in (images, noise)
    )
    wanted = claims.cells(sets) | claims.columns(sets, noisy)
    drawn = claims.drawn(images["clean"], seed=3)
    wanted |= claims.undone(network, sets, labels, broken, drawn)
    monkeypatch.setattr(claims, "PART", part)
    found = families.columns(Scaled(), network, *case, seed=3)
    firsts = {f"map first {which} {key}" for which in ("clean", *claims.ATTACKS) for key in (KEY, OTHER)}
    assert set(found) == set(wanted) | firsts
    assert all(torch.equal(found[name].nan_to_num(), one.nan_to_num()) for name, one in wanted.items())
    assert torch.equal(found[f"map first pgd {KEY}"], sets["pgd"].maps[KEY][0])


def test_a_family_with_a_limit_has_columns_of_its_first_images_alone(network, case, monkeypatch):
    monkeypatch.setattr(claims, "PART", 2)
    family = families.Integrated(3)
    found = families.columns(family, network, *case, seed=0)
    assert {len(values) for name, values in found.items() if name.startswith("claim T6 ")} == {3}
    broken = int(case[3]["pgd"][:3].sum())
    assert {len(values) for name, values in found.items() if name.startswith("claim T9 pgd")} == {broken}


def test_whole_maps_and_features_come_only_of_the_keys_asked_for(network, case):
    found = families.columns(Scaled(), network, *case, seed=0, kept=(KEY,), features=(OTHER,))
    assert torch.equal(found[f"maps whole clean {KEY}"], 3 * (case[0]["clean"][:, 0] - 0.5))
    features = {name for name in found if name.startswith("features ")}
    sets = ("clean", *claims.ATTACKS, *(f"noise-{name}" for name in claims.ATTACKS))
    assert features == {f"features detector {which} {OTHER}" for which in sets}
    assert torch.equal(
        found[f"features detector noise-pgd {OTHER}"], detector.features(case[1]["pgd"][:, 0] - 0.5)
    )
    assert not any(name.startswith("maps ") and name.endswith(OTHER) for name in found)


def test_maps_that_are_no_reading_have_the_statistics_of_table_i_alone(network, case):
    images, _, labels, _ = case
    found = families.columns(Scaled(), network, *case, seed=0, claimed=False)
    assert {name.split(" ")[0] for name in found} == {"table", "map"}
    assert set(families.cells(Scaled(), network, images, labels)) == {
        name for name in found if name.startswith("table ")
    }


def test_sparsity_over_a_threshold_comes_only_of_the_keys_asked_for(network, case):
    found = families.columns(Scaled(), network, *case, seed=0, claimed=False, resolved=(OTHER,))
    own = {name: values for name, values in found.items() if name.startswith("resolved ")}
    maps = case[0]["pgd"][:, 0] - 0.5
    assert {name.split(" ")[3] for name in own} == {OTHER}
    assert {name.split(" ")[2] for name in own} == {"clean", *claims.ATTACKS}
    assert torch.equal(own[f"resolved 0.1 pgd {OTHER}"], m.sparsity(maps, threshold=0.1))


def test_no_map_outlives_its_columns(network, case):
    family = Scaled()
    for _ in range(3):
        families.columns(family, network, *case, seed=0)
    sets = len(case[0]) + len(case[1])
    assert family.calls == 3 * sets and family.most == 2 * sets


def test_shares_are_those_of_positive_pixels_on_the_object(network, case):
    images, labels = case[0]["clean"], case[2]
    found = families.shares(Scaled(), network, images, labels)
    assert set(found) == {f"drawn T5  {KEY}", f"drawn T5b  {KEY}"}
    on, off = (
        m.positive_share(3 * (images[:, 0] - 0.5), part) for part in (m.digit(images), m.background(images))
    )
    assert torch.equal(found[f"drawn T5  {KEY}"], on) and torch.equal(found[f"drawn T5b  {KEY}"], on - off)


@pytest.mark.parametrize("make", [families.Individual, families.Blocks, families.Integrated])
def test_a_limit_takes_the_first_images_and_their_classes(monkeypatch, network, make):
    asked = []
    for name in ("individual", "by_blocks", "integrated_gradients"):
        monkeypatch.setattr(
            families.readings, name, lambda model, images, classes, **kw: asked.append((images, classes))
        )
    fill, images = torch.zeros(1, 4, 4), torch.arange(96.0).view(6, 1, 4, 4)
    made = {
        families.Individual: lambda: families.Individual(torch.zeros(1), fill, 2),
        families.Blocks: lambda: families.Blocks(2, fill, 2),
        families.Integrated: lambda: families.Integrated(2),
    }[make]()
    made.maps(network, images, {"true": torch.arange(6)})
    ((few, classes),) = asked
    assert torch.equal(few, images[:2]) and classes["true"].tolist() == [0, 1]
