"""The statistics behind the claims and their placebos, on maps small enough to work them out on paper."""

import math

import pytest
import torch
from torch import nn

from causalnb import ledger
from causalnb.chapters.ace import claims

KEY, OTHER = "R3.logit.true", "R7.probability.predicted"
CLEAN = torch.tensor([[[2.0, 1, -1], [1, -1, -1]], [[1, 1, 1], [-1, -1, 1]]])
ATTACKED = torch.tensor([[[1.0, -1, 1], [1, 1, -1]], [[-2, 1, 1], [1, -1, -1]]])
NOISY = torch.tensor([[[3.0, 0, -1], [1, 1, -1]], [[1, 1, -1], [-1, -1, 1]]])
R2, R13 = math.sqrt(2), math.sqrt(13)
# under the attack, under noise; for each of the two images. Object: the first row's first two pixels and the
# one below; the rest is black
CHANGES = {
    "T1": ([-2, 0], [0, 0]),
    "T2.raw": ([2 - R2, 3 * R2 - 2], [R13 - R2, 0]),
    "T2.scaled": ([2 - R2 / 2, 1.5 * R2 - 2], [R13 / 3 - R2 / 2, 0]),
    "T3": ([-2 / 3, 1 / 3], [-1 / 3, 1 / 3]),
    "T4": ([1 / 3, -1 / 3], [0, -1 / 3]),
    "T6": ([-1 / 6, 1 / 6], [0, 1 / 6]),
    "T7": ([-1 / 6, 1 / 6], [0, 0]),
    "T8.raw": ([2 - R2, 3 * R2 - 2], [R13 - 2 * R2, 2 * R2 - 2]),
    "T8.scaled": ([2 + R2 / 2, 1.5 * R2 - 3], [(R13 + R2) / 3 - 1.5 * R2, 2 * R2 - 2]),
    "T12": ([0.5, 1.0], [1.0, math.nan]),
}


def pictures(*changes):
    """The two images, lit on the object, with {pixel: change} for each."""
    images = torch.tensor([1.0, 1, 0, 1, 0, 0]).repeat(2, 1)
    for image, change in zip(images, changes or ({}, {}), strict=True):
        for pixel, by in change.items():
            image[pixel] += by
    return images.view(2, 1, 2, 3)


@pytest.fixture
def case():
    """Maps and images of all sets, and the same of the noises; the C&W map is the clean one turned round."""
    changed = pictures({2: 0.5, 4: 0.5}, {0: -0.5})
    images = {"clean": pictures()} | dict.fromkeys(claims.ATTACKS, changed)
    noise = dict.fromkeys(("fgsm", "pgd", "cw"), pictures({0: -0.2}, {1: -0.05}))
    maps = {"clean": CLEAN, "fgsm": ATTACKED, "pgd": 2 * ATTACKED, "cw": -CLEAN, "cw-clipped": ATTACKED}
    noisy = {"fgsm": NOISY, "pgd": -NOISY, "cw": 3 * CLEAN + 1}
    return tuple(
        {name: claims.see(some[name], {KEY: one, OTHER: one}, pictures()) for name, one in of.items()}
        for of, some in ((maps, images), (noisy, noise))
    )


def beyond_noise(case):
    """The claims' columns and their placebos'."""
    sets, noisy = case
    claimed = claims.columns(sets, seed=0)
    return claimed, claims.placebos(claimed, sets, noisy, seed=0)


def same(values, wanted):
    return torch.allclose(
        values.double(), torch.tensor(wanted, dtype=torch.float64), atol=1e-6, equal_nan=True
    )


@pytest.mark.parametrize("claim", CHANGES)
@pytest.mark.parametrize("attack", ["fgsm", "cw-clipped"])
def test_a_claim_is_the_change_from_the_clean_image_to_the_attacked_one(case, claim, attack):
    assert same(claims.columns(case[0], seed=0)[f"claim {claim} {attack} {KEY}"], CHANGES[claim][0])


@pytest.mark.parametrize("claim", CHANGES)
def test_a_placebo_is_the_statistic_of_the_attack_less_that_of_the_noise(case, claim):
    found = beyond_noise(case)[1]
    assert same(found[f"placebo {claim} fgsm {KEY}"], [a - b for a, b in zip(*CHANGES[claim], strict=True)])


def test_noise_alone_stands_beside_the_attack_for_the_readings_that_are_drawn(case):
    found = {name: one for name, one in beyond_noise(case)[1].items() if name.startswith("noise ")}
    assert set(found) == {
        f"noise {claim} {attack} {KEY}" for claim in ("T6", "T8.scaled") for attack in ("fgsm", "pgd", "cw")
    }
    assert all(same(found[f"noise {claim} fgsm {KEY}"], CHANGES[claim][1]) for claim in ("T6", "T8.scaled"))


def test_claims_on_clean_maps_and_between_attacks_have_columns_of_their_own(case):
    found, beyond = beyond_noise(case)
    assert same(found[f"claim T5  {KEY}"], [1, 2 / 3]) and same(found[f"claim T5b  {KEY}"], [1, 0])
    moved = [
        1 - torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
        for a, b in zip(CLEAN, ATTACKED, strict=True)
    ]
    for rival in ("fgsm", "pgd"):
        assert same(found[f"claim T10 {rival} {KEY}"], [2 - one for one in moved])
    assert same(found[f"claim T11  {KEY}"], [1 + (1 - one) for one in moved])
    assert same(
        beyond[f"placebo T10  {KEY}"], [2, 2]
    )  # C&W turns the map round, its noise leaves its pattern
    assert same(
        beyond[f"placebo T11  {KEY}"], [2, 2]
    )  # FGSM and PGD have one pattern, their noises opposite ones


def test_every_column_decides_a_row_of_the_ledger_and_the_placebos_their_claims_placebo(case):
    clean, book = case[0]["clean"], ledger.load("ace")
    claimed, beyond = beyond_noise(case)
    beyond |= claims.untrained(claimed, claims.objects(clean.maps, clean.images))
    found = claims.named("digits", claimed | beyond, "claim", "placebo", "noise")
    assert len(found) == len(claimed | beyond)
    for id in found:
        kind, claim = id.split(".")[:2]
        deciding = [row.id for row in book.decided_by(id)]
        assert deciding == [] if kind == "noise" else f"{kind}.{claim}.mnist" in deciding[0], id
    assert {id.split(".")[1] for id in found if id.startswith("placebo.")} == {
        f"T{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12)
    }


def test_maps_of_blocks_have_masks_of_blocks_and_of_their_own_images():
    """Blocks of 2 x 2: all lit, three lit, two lit, none; the second image has no map."""
    clean = torch.zeros(2, 1, 4, 4)
    clean[0, 0, :2, :2], clean[0, 0, 0, 2:], clean[0, 0, 1, 2], clean[0, 0, 2, :2] = 1, 1, 1, 1
    clean[1] = 1
    attacked = clean.clone()
    attacked[0, 0, 3, 3], attacked[0, 0, 3, 0] = 0.5, 0.3  # an eighth of a block, and less than a tenth
    maps = {"clean": {KEY: torch.tensor([[[1.0, -1], [1, -3]]])}} | {
        one: {KEY: torch.tensor([[[0.0, -1], [1, 2]]])} for one in claims.ATTACKS
    }
    images = {"clean": clean} | dict.fromkeys(claims.ATTACKS, attacked)
    sets = {name: claims.see(some, maps[name], clean) for name, some in images.items()}
    found = claims.columns(sets, seed=0)
    for id, wanted in {
        "T5 ": 1 / 2,
        "T5b ": 1 / 2,
        "T1 fgsm": -1,
        "T3 fgsm": -1,
        "T12 fgsm": 1,
    }.items():
        assert same(found[f"claim {id} {KEY}"], [wanted]), id


def test_the_placebo_of_t5_is_the_map_of_a_network_with_drawn_weights():
    own = claims.objects({KEY: CLEAN, OTHER: CLEAN}, pictures())
    found = claims.untrained(own, claims.objects({KEY: ATTACKED[:1]}, pictures()))
    assert set(found) == {f"placebo T5  {KEY}"}
    assert same(found[f"placebo T5  {KEY}"], [1 - 2 / 3])


# What undoes an attack ------------------------------------------------------------------------------------


def toy(n, *, broken):
    """Ten pixels, of which the first alone decides; all attacked images have it lit, and `found` says which
    attack counts as broken.
    """
    model = nn.Sequential(nn.Flatten(), nn.Linear(10, 2))
    model[1].weight.data = torch.zeros(2, 10)
    model[1].weight.data[1, 0] = 1.0
    model[1].bias.data = torch.tensor([0.5, 0.0])
    clean = torch.zeros(n, 1, 2, 5)
    attacked = torch.full_like(clean, 0.9)
    images = {"clean": clean} | dict.fromkeys(claims.ATTACKS, attacked)
    return (
        model,
        images,
        torch.zeros(n, dtype=torch.long),
        {one: torch.tensor(broken if one == "fgsm" else [False] * n) for one in claims.ATTACKS},
    )


def held(images, maps):
    """The sets of images with their maps, as `undone` takes them."""
    return {name: claims.Seen(some, maps.get(name, {}), {}) for name, some in images.items()}


def fails_again(model, images, labels, maps, found, seed=0):
    """T9's columns: what its own tenth undoes, and that less a tenth at random; by the attack and the map."""
    made = claims.undone(model, held(images, maps), labels, found, seed=seed)
    both = {kind: {} for kind in ("claim", "placebo")}
    for name, values in made.items():
        kind, claim, rest = name.split(" ", 2)
        assert claim == "T9"
        both[kind][rest] = values
    return both["claim"], both["placebo"]


def ranked(*pixels):
    """A map for each pixel, where it has the greatest effect, a negative one."""
    maps = torch.rand(len(pixels), 10, generator=torch.Generator().manual_seed(0))
    maps[range(len(pixels)), list(pixels)] = -5.0
    return maps.view(-1, 2, 5)


def test_an_attack_is_undone_where_its_pixel_is_among_the_tenth_with_the_greatest_effects():
    model, images, labels, found = toy(4, broken=[True, True, False, True])
    maps = dict.fromkeys(claims.ATTACKS, {KEY: ranked(0, 3, 0, 0), OTHER: ranked(0, 3)})
    undone, beyond = fails_again(model, images, labels, maps, found)
    assert {name: values.tolist() for name, values in undone.items()} == {
        f"fgsm {KEY}": [1, 0, 1],
        f"fgsm {OTHER}": [1, 0],
    }
    assert {name: len(values) for name, values in beyond.items()} == {f"fgsm {KEY}": 3, f"fgsm {OTHER}": 2}


def test_its_placebo_is_a_tenth_drawn_at_random_the_same_for_every_reading():
    n = 400
    model, images, labels, found = toy(n, broken=[True] * n)
    maps = dict.fromkeys(claims.ATTACKS, {KEY: ranked(*[0] * n), OTHER: ranked(*[3] * n)})
    undone, beyond = fails_again(model, images, labels, maps, found)
    best, worst = (beyond[f"fgsm {key}"] for key in (KEY, OTHER))
    assert undone[f"fgsm {KEY}"].tolist() == [1] * n and undone[f"fgsm {OTHER}"].tolist() == [0] * n
    assert set(best.tolist()) == {0.0, 1.0} and best.mean().item() == pytest.approx(
        0.9, abs=4 * math.sqrt(0.09 / n)
    )
    assert torch.equal(best - worst, torch.ones(n, dtype=torch.float64))
    again, other = (
        fails_again(model, images, labels, maps, found, seed)[1][f"fgsm {KEY}"] for seed in (0, 1)
    )
    assert torch.equal(again, best) and not torch.equal(other, best)


def test_a_block_goes_back_as_a_whole():
    model, images, labels, found = toy(1, broken=[True])
    maps = dict.fromkeys(
        claims.ATTACKS, {KEY: torch.tensor([[[0.0, 5.0]]]), OTHER: torch.tensor([[[5.0, 0.0]]])}
    )
    images = {name: one.view(1, 1, 1, 10) for name, one in images.items()}
    undone = fails_again(model, images, labels, maps, found)[0]
    assert (undone[f"fgsm {KEY}"].tolist(), undone[f"fgsm {OTHER}"].tolist()) == ([0], [1])


def test_where_no_attack_succeeded_there_is_nothing_to_undo():
    model, images, labels, found = toy(2, broken=[False, False])
    maps = dict.fromkeys(claims.ATTACKS, {KEY: ranked(0, 0)})
    assert claims.undone(model, held(images, maps), labels, found, seed=0) == {}


def test_an_order_is_the_greater_of_two_printed_neighbours_less_the_smaller():
    def with_positive(count):
        return {KEY: torch.tensor([[1.0] * count + [-1.0] * (4 - count)]).view(1, 2, 2)}

    maps = {
        "clean": with_positive(4),
        "fgsm": with_positive(3),
        "cw": with_positive(1),
        "pgd": with_positive(2),
        "cw-clipped": with_positive(0),
    }
    black = torch.zeros(1, 1, 2, 2)
    columns = claims.cells({name: claims.see(black, of, black) for name, of in maps.items()})
    found = claims.orders("mnist", columns)
    shares = {id: values.item() for id, values in found.items() if id.startswith("order.S.")}
    assert shares == {
        f"order.S.mnist.clean-fgsm.{KEY}": 0.25,
        f"order.S.mnist.fgsm-cw.{KEY}": 0.5,
        f"order.S.mnist.cw-pgd.{KEY}": -0.25,
    }
    assert {id for id in found if id not in shares} == {
        f"order.TV.mnist.{pair}.{KEY}.{scale}"
        for pair in ("clean-fgsm", "fgsm-pgd", "pgd-cw")
        for scale in ("raw", "scaled")
    }
    assert claims.orders("digits", columns) == {}
