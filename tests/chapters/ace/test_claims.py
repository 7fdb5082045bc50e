"""The statistics behind the claims and their placebos, on maps small enough to work them out on paper."""

import math

import pytest
import torch
from torch import nn

from causalnb import ledger
from causalnb.chapters.ace import claims
from causalnb.chapters.ace.specifications import FIXED

KEY, OTHER = "R3.logit.true", "R3.probability.predicted"
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
    "T6": ([-1 / 6, 1 / 6], [0, 1 / 6]),
    "T7": ([-1 / 6, 1 / 6], [0, 0]),
    "T8.raw": ([2 - R2, 3 * R2 - 2], [R13 - 2 * R2, 2 * R2 - 2]),
    "T8.scaled": ([2 + R2 / 2, 1.5 * R2 - 3], [(R13 + R2) / 3 - 1.5 * R2, 2 * R2 - 2]),
    "T12": ([0.5, 1.0], [1.0, math.nan]),
}
BEYOND = ("T6", "T8.raw", "T8.scaled")


def pictures(*changes):
    """The two images, lit on the object, with {pixel: change} for each."""
    images = torch.tensor([1.0, 1, 0, 1, 0, 0]).repeat(2, 1)
    for image, change in zip(images, changes or ({}, {}), strict=True):
        for pixel, by in change.items():
            image[pixel] += by
    return images.view(2, 1, 2, 3)


def seen(keys=(KEY, OTHER)):
    """All sets and the noises, with the same maps under each key; the C&W map is the clean one turned
    round.
    """
    changed = pictures({2: 0.5, 4: 0.5}, {0: -0.5})
    images = {"clean": pictures()} | dict.fromkeys(claims.ATTACKS, changed)
    noise = dict.fromkeys(claims.ATTACKS, pictures({0: -0.2}, {1: -0.05}))
    maps = {"clean": CLEAN, "fgsm": ATTACKED, "pgd": 2 * ATTACKED, "cw": -CLEAN}
    noisy = {"fgsm": NOISY, "pgd": -NOISY, "cw": 3 * CLEAN + 1}
    return tuple(
        {name: claims.see(some[name], dict.fromkeys(keys, one), pictures()) for name, one in of.items()}
        for of, some in ((maps, images), (noisy, noise))
    )


@pytest.fixture(scope="module")
def found():
    return claims.columns(*seen())


def same(values, wanted):
    return torch.allclose(
        values.double(), torch.tensor(wanted, dtype=torch.float64), atol=1e-6, equal_nan=True
    )


def correlations(first, second):
    return [
        torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
        for a, b in zip(first, second, strict=True)
    ]


@pytest.mark.parametrize("claim", CHANGES)
def test_a_claim_is_the_change_under_the_attack_and_its_placebo_that_under_noise(found, claim):
    under_attack, under_noise = CHANGES[claim]
    assert same(found[f"claim {claim} fgsm {KEY}"], under_attack)
    assert same(found[f"noise {claim} fgsm {KEY}"], under_noise)
    assert torch.equal(
        found[f"claim {claim} pgd {KEY}"].nan_to_num(), found[f"claim {claim} pgd {OTHER}"].nan_to_num()
    )


@pytest.mark.parametrize("claim", CHANGES)
def test_beyond_noise_is_the_claim_less_its_placebo_for_s_and_tv_alone(found, claim):
    of = f"{claim} fgsm {KEY}"
    if claim in BEYOND:
        assert same(found[f"beyond {of}"], [a - b for a, b in zip(*CHANGES[claim], strict=True)])
    assert (f"beyond {of}" in found) == (claim in BEYOND)


@pytest.mark.parametrize(
    ("attack", "flipped"),
    [("fgsm", [2 / 3 - 1 / 3, 0]), ("pgd", [2 / 3 - 2 / 3, -1 / 3]), ("cw", [1, 1 / 3])],
)
def test_pixels_that_turn_are_counted_less_those_that_noise_turns(found, attack, flipped):
    assert same(found[f"claim T4 {attack} {KEY}"], flipped)
    assert f"noise T4 {attack} {KEY}" not in found


def test_claims_on_clean_maps_are_of_the_true_class_the_only_one_there(found):
    assert same(found[f"claim T5  {KEY}"], [1, 2 / 3]) and same(found[f"claim T5b  {KEY}"], [1, 0])
    assert {name for name in found if " T5" in name} == {f"claim T5  {KEY}", f"claim T5b  {KEY}"}


def test_between_attacks_the_placebo_asks_the_same_of_their_noises(found):
    own, noise = correlations(CLEAN, ATTACKED), correlations(CLEAN, NOISY)
    for rival in ("fgsm", "pgd"):  # C&W turns the map round
        assert same(found[f"claim T10 {rival} {KEY}"], [2 - (1 - one) for one in own])
    # the noise of C&W leaves the pattern of the map, that of PGD turns that of FGSM's round
    assert same(found[f"noise T10 fgsm {KEY}"], [-(1 - one) for one in noise])
    assert same(found[f"noise T10 pgd {KEY}"], [-(1 + one) for one in noise])
    assert same(found[f"claim T11  {KEY}"], [1 + one for one in own])
    assert same(found[f"noise T11  {KEY}"], [-1 - one for one in noise])


def test_every_column_decides_a_row_of_the_ledger_and_every_claim_finds_its_placebo(found):
    clean, book = seen()[0]["clean"], ledger.load("ace")
    drawn = claims.objects("drawn", clean.maps, clean.images)
    model, images, labels, broken = toy(2, broken=[True, True])
    undone = claims.undone(
        model,
        held(images, dict.fromkeys(claims.ATTACKS, {KEY: ranked(0, 0)})),
        labels,
        dict.fromkeys(claims.ATTACKS, torch.tensor([True, True])),
        claims.drawn(images["clean"], seed=0),
    )
    columns = found | drawn | undone
    ids = claims.named("mnist", columns, "claim", "noise", "chance", "drawn", "beyond")
    assert len(ids) == len(columns)
    rows = {row.id: row for row in book.rows}
    for id in ids:
        first, *others = book.decided_by(id)
        assert first.id.split(".")[:3] == id.split(".")[:3] and len(others) == (first.id == "claim.T5.mnist")
        if first.placebo:
            assert first.in_placebo(id, rows[first.placebo]) in ids, id
    assert {id.split(".")[1] for id in ids if id.kind == "claim"} == {
        row.id.split(".")[1] for row in book.rows if row.id.startswith("claim.") and row.rule.type == "claim"
    }


# Maps that cannot change ----------------------------------------------------------------------------------


def test_a_map_that_no_attack_can_change_decides_no_claim_about_a_change():
    keys = ["R1d.logit.true", "R1d.logit.predicted", "R6.pixel.true", "R6.pixel.predicted"]
    assert {key.split(".")[0] for key in keys} == set(FIXED)
    found = claims.columns(*seen(keys))
    of = {key: {name.split(" ")[1] for name in found if name.endswith(key)} for key in keys}
    assert of["R1d.logit.true"] == of["R6.pixel.true"] == {"T5", "T5b"}
    changes = {*CHANGES, "T4", "T10", "T11"}
    assert of["R1d.logit.predicted"] == of["R6.pixel.predicted"] == changes


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
    noisy = dict.fromkeys(claims.ATTACKS, sets["clean"])
    found = claims.columns(sets, noisy)
    for id, wanted in {
        "T5 ": 1 / 2,
        "T5b ": 1 / 2,
        "T1 fgsm": -1,
        "T3 fgsm": -1,
        "T4 fgsm": 1,
        "T12 fgsm": 1,
    }.items():
        assert same(found[f"claim {id} {KEY}"], [wanted]), id


# The statistics of Table I --------------------------------------------------------------------------------


def test_cells_are_the_three_statistics_of_each_set_and_clean_images_have_one_class():
    found = claims.cells(seen()[0])
    assert same(found[f"table S clean {KEY}"], [1 / 2, 1 / 3])
    assert same(found[f"table S fgsm {OTHER}"], [1 / 3, 1 / 2])
    assert same(found[f"table TV.raw clean {KEY}"], [3 * R2, 4])  # (-1, -1) and (-2, -2); (0, -2) and (0, -2)
    assert same(found[f"table TV.scaled clean {KEY}"], [1.5 * R2, 4])
    assert {name.split(" ", 2)[2] for name in found} == {
        f"clean {KEY}",
        *(f"{attack} {key}" for attack in claims.ATTACKS for key in (KEY, OTHER)),
    }


def test_above_a_share_of_the_largest_effect_fewer_pixels_are_positive():
    maps = torch.tensor([[[10.0, 0.5], [0.05, -4.0]], [[-1.0, 0.5], [0.02, 0.005]]])
    black = torch.zeros(2, 1, 2, 2)
    sets = dict.fromkeys(("clean", "pgd", "cw-clipped"), claims.see(black, {KEY: maps}, black))
    found = claims.resolved(sets, KEY)
    wanted = {"0": [1 / 4, 1 / 4], "0.001": [1 / 4, 1 / 4], "0.003": [1 / 4, 1 / 4], "0.01": [1 / 2, 1 / 2]}
    wanted |= {"0.03": [1 / 2, 3 / 4], "0.1": [3 / 4, 3 / 4]}
    assert set(found) == {f"resolved {share} {which} {KEY}" for share in wanted for which in ("clean", "pgd")}
    for share, values in wanted.items():
        assert same(found[f"resolved {share} pgd {KEY}"], values), share
    assert torch.equal(found[f"resolved 0 clean {KEY}"], claims.cells(sets)[f"table S clean {KEY}"])


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
    """What its own tenth undoes (T9), what a tenth at random does, and the difference (T9b); each by the
    attack and the map.
    """
    each = {"claim T9": {}, "chance T9": {}, "claim T9b": {}}
    drawn = claims.drawn(images["clean"], seed=seed)
    for name, values in claims.undone(model, held(images, maps), labels, found, drawn).items():
        kind, claim, rest = name.split(" ", 2)
        each[f"{kind} {claim}"][rest] = values
    return tuple(each.values())


def ranked(*pixels):
    """A map for each pixel, where it has the greatest effect, a negative one."""
    maps = torch.rand(len(pixels), 10, generator=torch.Generator().manual_seed(0))
    maps[range(len(pixels)), list(pixels)] = -5.0
    return maps.view(-1, 2, 5)


def test_an_attack_is_undone_where_its_pixel_is_among_the_tenth_with_the_greatest_effects():
    model, images, labels, found = toy(4, broken=[True, True, False, True])
    maps = dict.fromkeys(claims.ATTACKS, {KEY: ranked(0, 3, 0, 0), OTHER: ranked(0, 3)})
    undone, *others = fails_again(model, images, labels, maps, found)
    assert {name: values.tolist() for name, values in undone.items()} == {
        f"fgsm {KEY}": [1, 0, 1],
        f"fgsm {OTHER}": [1, 0],
    }
    for one in others:
        assert {name: len(values) for name, values in one.items()} == {f"fgsm {KEY}": 3, f"fgsm {OTHER}": 2}


def test_its_placebo_is_a_tenth_drawn_at_random_the_same_for_every_reading():
    n = 400
    model, images, labels, found = toy(n, broken=[True] * n)
    maps = dict.fromkeys(claims.ATTACKS, {KEY: ranked(*[0] * n), OTHER: ranked(*[3] * n)})
    undone, chance, beyond = fails_again(model, images, labels, maps, found)
    drawn = chance[f"fgsm {KEY}"]
    assert undone[f"fgsm {KEY}"].tolist() == [1] * n and undone[f"fgsm {OTHER}"].tolist() == [0] * n
    assert torch.equal(drawn, chance[f"fgsm {OTHER}"]) and set(drawn.tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / n))
    for key, own in ((KEY, 1), (OTHER, 0)):
        assert torch.equal(beyond[f"fgsm {key}"], own - drawn)
    again, other = (
        fails_again(model, images, labels, maps, found, seed)[1][f"fgsm {KEY}"] for seed in (0, 1)
    )
    assert torch.equal(again, drawn) and not torch.equal(other, drawn)


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
    drawn = claims.drawn(images["clean"], seed=0)
    assert claims.undone(model, held(images, maps), labels, found, drawn) == {}
