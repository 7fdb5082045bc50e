"""What the page shows: attacks, plans of swaps, measurements, maps and tables, on a small run and closed forms."""

import json
import math
import re
from base64 import b64decode
from types import SimpleNamespace

import pytest
import torch
from scipy import stats

from causalnb import UserError, data, fragments, ledger, models
from causalnb.chapters.intervention import (
    attacked,
    charts,
    closed_forms,
    comparisons,
    efficientnet,
    live,
    maps,
    measurements,
    networks,
    resampling,
    sets,
    significance,
    swaps,
    table_1,
)
from causalnb.chapters.intervention.metrics import effects
from causalnb.chapters.intervention.parameters import Parameters
from causalnb.store import Store

SMALL = {
    "epochs": 6,
    "n_images": 18,
    "n_other": 15,
    "n_lattice": 4,
    "n_hsj": 4,
    "n_sampled": 8,
    "n_sets": 12,
    "steps": 8,
    "cw_steps": 20,
    "hsj_steps": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    rows = ledger.load("intervention")
    return SimpleNamespace(
        p=Parameters.resolve(SMALL),
        store=Store(tmp_path_factory.mktemp("store")),
        device=torch.device("cpu"),
        load=lambda name, split="test": data.load(name, split),
        level=lambda id: max((row.level for row in rows.decided_by(id)), default=0.95),
    )


@pytest.fixture(scope="module")
def cases(run):
    return swaps.cases(run, "digits37")


# Attacks and plans ---------------------------------------------------------------------------------------


def test_the_first_training_has_all_perturbations_and_the_others_three(cases):
    first, second = cases
    assert set(first.swaps) == {"apgd", "cw", "hsj", "boundary", "noise", "other", "flipped", "extended"}
    assert set(second.swaps) == {"apgd", "boundary", "noise"}
    assert len(first.subject.changed["hsj"]) == 4 and len(first.subject.changed["apgd"]) == 18


def test_perturbations_stay_in_the_box_and_apgd_and_noise_in_their_budget(run, cases):
    of = cases[0].subject
    for name, one in of.changed.items():
        assert ((one >= 0) & (one <= 1)).all(), name
    for name in ("apgd", "noise", "boundary"):
        assert (of.changed[name] - of.images.images).abs().max() <= attacked.budget(run, of.net) + 1e-6
    boundary = of.overshoot["boundary"]
    assert boundary[boundary.isfinite()].max() < 1.1


def test_mnist37_is_attacked_by_apgd_alone_as_in_the_paper():
    assert attacked.of_the_paper("mnist37") == ("apgd",)
    assert attacked.of_the_paper("cifar10") == attacked.PAPERS


def test_effects_of_a_size_are_those_on_most_images(cases):
    apgd = cases[0].swaps["apgd"]
    sizes = {size: (len(apgd.at(size)), len(apgd.at(size).sets)) for size in (1, 3, 5, 7, 14, 16)}
    assert sizes == {1: (18, 16), 3: (18, 560), 5: (4, 4368), 7: (15, 12), 14: (18, 120), 16: (18, 1)}
    assert cases[0].swaps["other"].at(5) is None


def test_wide_layers_are_swapped_one_and_two_at_a_time_and_never_whole(run):
    wide = swaps.plan(run, "digits37", "apgd", 64, first=True)
    assert "every" not in wide and swaps.reach(run, 64) == 2 and swaps.reach(run, 16) == 3
    groups = swaps.groups(run, 64)
    assert len(groups["few"]) == 64 + math.comb(64, 2) and len(groups["many"]) == 65


# Measurements --------------------------------------------------------------------------------------------


def test_every_statistic_of_the_ledger_is_measured(run, cases, monkeypatch):
    monkeypatch.setattr(maps, "LEAST", SMALL["n_images"])  # of 13 images scipy tries every sign
    made = measurements.everything(run, cases)
    for part in (comparisons.everything, maps.measured):
        made |= part(run, cases[0])
    made |= table_1.everything(run, cases)
    rows = ledger.load("intervention").rows
    wanted = {
        pattern.replace("cifar10", "digits37")
        for row in rows
        for pattern in row.decided_by.measurements
        if re.search(r"\.cifar10|digits37", pattern)
    }
    lacking = {one for one in wanted if not any(ledger.matches(one, id) for id in made)}
    only_more_images = {"less.digits37.apgd.7.*"} & lacking
    assert lacking - only_more_images <= {
        "t1.clean.digits37",
        "later.digits37.extended.*",
        "onset.digits37.hsj.*",
        "later.digits37.hsj.*",
    }
    for id, one in made.items():
        low, high = one.ends
        assert low <= one.value + 1e-9 and one.value <= high + 1e-9, id


def test_the_set_that_costs_least_is_the_mirror_of_the_one_that_costs_most():
    of = closed_forms.swapped(
        closed_forms.planted(torch.tensor([10.0] + [1.0] * 15)), 16, sets.of_size(16, 3), n=20
    )
    top, bottom = measurements.greatest(of, 0.95, 0), measurements.least(of, 0.95, 0)
    assert (top.value, bottom.value) == (1.0, 0.0) and bottom.high == pytest.approx(1 - top.low)
    assert measurements.widest(of, 0.95, 0).value == 1.0


def test_nothing_is_over_trainings_with_one(run):
    id = next(iter(measurements.over(run, "norm.x", {0: 0.5}, n=9).values()))
    assert id.single_draw
    two = measurements.over(run, "norm.x", {0: 0.4, 1: 0.6}, n=9)["norm.x"]
    assert two.value == pytest.approx(0.5) and two.low < 0.4 and two.high > 0.6


def test_the_first_size_follows_the_step_of_an_attack_at_the_boundary():
    every = sets.every(16)
    for rho, first in ((1.0, 16), (2.0, 8)):
        of = closed_forms.swapped(closed_forms.boundary(rho), 16, every, n=2)
        by_size = comparisons.greatest_by_size(of)
        assert min(size for size, share in by_size.items() if share == 1) == first == closed_forms.needed(rho)


def test_an_attack_as_long_as_another_has_its_length():
    clean = torch.full((3, 1, 4, 4), 0.5)
    made = comparisons.as_long(clean, clean + 0.2, clean + 0.05)
    assert torch.allclose((made - clean).flatten(1).norm(dim=1), torch.full((3,), 0.2))


# Maps ----------------------------------------------------------------------------------------------------


def test_the_map_of_large_groups_is_scipys_too():
    chosen, g = sets.of_size(16, 7), torch.Generator().manual_seed(0)
    ael = torch.rand(len(chosen), generator=g, dtype=torch.float64).mul(30).round()  # with ties
    found, inside = significance.rank_sum_map(ael, chosen, 16), sets.members(chosen, 16)
    one, other = ael[inside[:, 2] & ~inside[:, 9]], ael[inside[:, 9] & ~inside[:, 2]]
    assert found[2, 9].item() == pytest.approx(stats.ranksums(one, other).pvalue, rel=1e-9)


def test_tau_by_sorting_is_tau_by_pairs():
    g = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 5, 80, generator=g, dtype=torch.float64)
    weights = torch.full((1, 5), 0.2, dtype=torch.float64)
    by_pairs = resampling.kendall(weights @ one, weights @ other)
    assert resampling.agreement(one, other)(weights).item() == pytest.approx(by_pairs.item(), abs=1e-12)


# Networks ------------------------------------------------------------------------------------------------


def test_the_channels_of_table_1_are_counted(run):
    found = {id: one.value for id, one in table_1.channels(run).items()}
    assert found["channels.resnet20"] == 16 and found["channels.efficientnetv2.b0"] == 32
    assert found["channels.efficientnetv2.b3"] == 40


def test_efficientnet_b0_has_its_published_size_and_a_layer_that_can_be_swapped():
    model = efficientnet.b0(classes=1000)
    assert sum(one.numel() for one in model.parameters()) == pytest.approx(7.1e6, rel=0.02)
    small = efficientnet.b0(classes=3).eval()
    clean, other = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([1, 3, 1 << 31])
    found = effects(small, efficientnet.LAYER, clean, other, torch.tensor([0]), chosen)
    assert found.channels == 32 and found.norms.shape == (1, 3)


def test_large_natural_images_take_it():
    images = data.Images("toy", "train", torch.zeros(2, 3, 96, 96), torch.zeros(2).long(), ("a", "b"), "")
    assert networks.large(images) and not networks.large(data.load("digits37"))


def test_a_model_of_ones_own_gets_a_name_that_decides_no_row(run, tmp_path):
    from safetensors.torch import save_file

    net = models.cnn37(size=8, seed=1)
    save_file(net.state_dict(), tmp_path / "own.safetensors")
    given = {
        "model": str(tmp_path / "own.safetensors"),
        "architecture": "cnn37",
        "mean": "0.5",
        "std": "0.25",
    }
    own = SimpleNamespace(**{**vars(run), "p": Parameters.resolve(SMALL | given)})
    (found,) = networks.networks(own, "digits37")
    assert (found.name, found.layer) == ("digits37-own", "model.conv1")
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(found.model(x), net.eval()((x - 0.5) / 0.25), atol=1e-6)
    own.p = Parameters.resolve(SMALL | given | {"layer": "nowhere"})
    with pytest.raises(UserError, match="layer = nowhere"):
        networks.networks(own, "digits37")


def test_mean_without_std_is_a_sentence():
    with pytest.raises(UserError, match="mean and std go together"):
        Parameters.resolve({"mean": "0.5"})


# The live figure and the tables --------------------------------------------------------------------------


def test_low_orders_give_additive_values_back_exactly():
    v = closed_forms.additive(torch.arange(1.0, 5, dtype=torch.float64))
    kept, worst = live.low_orders(v, 1)
    assert worst < 1e-12 and len(kept) == 5
    put_together = [sum(w * (-1) ** (mask & s).bit_count() for mask, w in kept.items()) for s in range(16)]
    assert torch.allclose(torch.tensor(put_together, dtype=torch.float64), v.double())


def test_switches_hold_a_bit_for_every_set():
    wrong = torch.tensor([s.bit_count() >= 3 for s in range(16)])
    one = fragments.Switched(torch.rand(1, 2, 2), wrong, {"x": {0: 1.0}})
    source = fragments.switches(
        {"a 7": one}, {"none": 0, "all": 15}, "<svg/>", "A message. More.", "Switches"
    )
    held = json.loads(re.search(r'<script type="application/json">(.*?)</script>', source)[1])
    packed = b64decode(held["images"][0]["wrong"])
    assert [packed[s >> 3] >> (s & 7) & 1 for s in range(16)] == wrong.int().tolist()
    assert source.count("data-part") == 4 and source.count("data-set") == 2
    with pytest.raises(ValueError, match="different"):
        fragments.switches(
            {"a": one, "b": fragments.Switched(one.image, wrong[:8], one.values)}, {}, "", "A. B.", ""
        )


def test_tables_have_a_line_a_perturbation_and_dashes_where_nothing_was_measured(cases):
    lines = charts.perturbed(cases[0])
    assert len(lines) == 8 and all(len(line) == 7 for line in lines)
    assert charts.two_scopes({}, [("R", "r.x")]) == [("R", "–", "–")]


def test_figures_are_drawn_of_a_small_run(cases):
    case = cases[0]
    of_three = case.swaps["apgd"].at(3)
    for figure in (
        charts.three_maps(maps.maps(of_three, seed=0)),
        charts.greatest(case),
        charts.ranked(case),
        charts.beside(case, 3),
        charts.kernel(case),
        charts.histograms(case),
        charts.extremes(case),
        charts.measures(case),
        charts.orders(case),
        charts.seen(case, 0),
    ):
        assert figure.axes
