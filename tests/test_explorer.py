import json
import re
from base64 import b64decode
from itertools import product

import pytest
import torch
from matplotlib.colors import to_hex

from causalnb import figstyle, fragments

CHOICES = {"image": ["a 7", "a 2"], "attack": ["FGSM", "PGD", "C&W"]}


def drawn_at_random(choices, shape=(5, 3), seed=0):
    """A tile for every combination, no two alike: an image, effects between -1 and 1 times its place in the
    order, and a sentence.
    """
    source = torch.Generator().manual_seed(seed)
    return {
        names: fragments.Tile(
            torch.rand(shape, generator=source),
            place * (2 * torch.rand(shape, generator=source) - 1),
            f"shows {names}",
        )
        for place, names in enumerate(product(*choices.values()), 1)
    }


def held(source):
    """What the script element holds."""
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', source)[1])


def levels(packed, shape):
    """The stored pictures [n, height, width]."""
    halves = torch.tensor([half for byte in b64decode(packed) for half in (byte >> 4, byte & 15)])
    n = len(halves) // (shape[0] * shape[1])
    return halves[: n * shape[0] * shape[1]].reshape(n, *shape)


def test_every_combination_finds_its_image_its_map_in_levels_and_its_sentence():
    tiles = drawn_at_random(CHOICES)
    shown = held(fragments.explorer(CHOICES, tiles, "", "A message.", "Alt"))
    images, maps = (levels(layer["levels"], (5, 3)) for layer in shown["layers"])
    for (which, whose, (low, high, said)), names in zip(
        shown["tiles"], product(*CHOICES.values()), strict=True
    ):
        one, largest = tiles[names], tiles[names].effects.abs().max()
        assert torch.equal(images[which], (15 * one.image).round().long())
        assert (7 * one.effects / largest - (maps[whose] - 7)).abs().max() <= 0.5001 and (
            maps[whose] - 7
        ).abs().max() == 7
        assert (low, high, said) == (f"−{largest:.2g}", f"{largest:.2g}", one.said)


def test_levels_have_the_colours_of_figures_and_none_is_the_middle():
    images, maps = held(fragments.explorer(CHOICES, drawn_at_random(CHOICES), "", "A message.", "Alt"))[
        "layers"
    ]
    assert [len(images["colours"]), images["colours"][0], images["colours"][15]] == [16, [0] * 3, [255] * 3]
    seen = [to_hex([channel / 255 for channel in colour]) for colour in maps["colours"]]
    assert (len(seen), seen[0], seen[7], seen[14]) == (
        15,
        *(figstyle.EFFECT_STOPS[i].lower() for i in (0, 3, 6)),
    )


def test_a_map_without_effects_is_the_middle_everywhere():
    tiles = {("x",): fragments.Tile(torch.zeros(2, 2), torch.zeros(2, 2), "no effect")}
    shown = held(fragments.explorer({"image": ["x"]}, tiles, "", "A message.", "Alt"))
    assert levels(shown["layers"][1]["levels"], (2, 2)).unique().tolist() == [7]
    assert shown["tiles"] == [[0, 0, ["0", "0", "no effect"]]]


def test_pictures_that_are_alike_are_stored_once_and_images_apart_from_maps():
    tiles = drawn_at_random(CHOICES)
    same = {
        names: fragments.Tile(tiles[names[0], "FGSM"].image, tiles["a 7", names[1]].effects, "")
        for names in tiles
    }
    shown = held(fragments.explorer(CHOICES, same, "", "A message.", "Alt"))
    assert [len(levels(layer["levels"], (5, 3))) for layer in shown["layers"]] == [2, 3]
    assert [one[:2] for one in shown["tiles"]] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_a_hundred_different_pictures_of_mnists_size_stay_under_60_kilobytes():
    choices = {"image": [f"a {i}" for i in range(10)], "reading": [f"R{i}" for i in range(9)]}
    tiles = drawn_at_random(choices, (28, 28))
    tiles = {
        names: fragments.Tile(tiles[names[0], "R0"].image, one.effects, "predicted 3; S 0.61, flipped: no")
        for names, one in tiles.items()
    }
    page = fragments.explorer(choices, tiles, "", "A message.", "Alt")
    assert sum(len(levels(layer["levels"], (28, 28))) for layer in held(page)["layers"]) == 100
    assert len(page.encode()) < 60_000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tiles: tiles.pop(("a 2", "PGD")), "every combination.*a 2.*PGD"),
        (lambda tiles: tiles.update({("a 3", "PGD"): tiles["a 2", "PGD"]}), "every combination.*a 3.*PGD"),
        (
            lambda tiles: tiles.update({("a 2", "PGD"): drawn_at_random(CHOICES, (3, 5))["a 2", "PGD"]}),
            r"\(3, 5\)",
        ),
        (lambda tiles: tiles.update(drawn_at_random(CHOICES, (1, 5, 3))), r"\(1, 5, 3\)"),
        (lambda tiles: tiles["a 2", "PGD"].image.mul_(255), "outside its range"),
        (lambda tiles: tiles["a 2", "PGD"].effects[0].fill_(float("nan")), "outside its range"),
    ],
)
def test_tiles_that_do_not_fill_the_choices_are_refused(change, told):
    tiles = drawn_at_random(CHOICES)
    change(tiles)
    with pytest.raises(ValueError, match=told):
        fragments.explorer(CHOICES, tiles, "", "A message.", "Alt")


def test_a_label_names_each_choice_and_two_figures_share_no_id():
    ids = []
    for seed in (0, 1):
        source = fragments.explorer(CHOICES, drawn_at_random(CHOICES, seed=seed), "", "A message.", "Alt")
        named = re.findall(r'<label for="([^"]+)">(\w+)</label><select id="([^"]+)">', source)
        assert [(name, label == select) for label, name, select in named] == [
            ("image", True),
            ("attack", True),
        ]
        ids += re.findall(r' id="([^"]+)"', source)
    assert len(ids) == len(set(ids)) == 4
    assert "<option>FGSM</option><option>PGD</option><option>C&amp;W</option>" in source


def test_what_a_reader_chooses_and_is_told_is_escaped():
    name, option, said = "<i>attack</i>", "</select><u>C&W</u>", "</script><u>'said' & done</u>"
    tiles = {(option,): fragments.Tile(torch.zeros(1, 1), torch.ones(1, 1), said)}
    source = fragments.explorer(
        {name: [option]}, tiles, "<svg></svg>", "A <u>message</u>. More.", 'S "<u>" & <falls>'
    )
    assert (
        "<u>" not in source
        and "<i>attack" not in source
        and source.count("</script>") == source.count("</select>") == 1
    )
    assert held(source)["tiles"][0][2][2] == said
    assert 'role="group" aria-label="S &#34;&lt;u&gt;&#34; &amp; &lt;falls&gt;"' in source
    assert '<div class="cn-static"><svg></svg></div>' in source
    assert "<figcaption><b>A &lt;u&gt;message&lt;/u&gt;.</b> More.</figcaption>" in source


# Bars ----------------------------------------------------------------------------------------------------


def bars_at_random(choices, n=6, seed=0):
    source = torch.Generator().manual_seed(seed)
    return {
        names: fragments.Bars(
            torch.rand((1, 3, 2), generator=source),
            place * torch.randn(n, generator=source),
            torch.randn(n, generator=source),
            f"shows {names}",
        )
        for place, names in enumerate(product(*choices.values()))
    }


def test_every_combination_finds_its_image_its_values_and_those_below_them():
    tiles = bars_at_random(CHOICES)
    shown = held(fragments.bars(CHOICES, tiles, "", "A message.", "Alt"))
    images, values, over = (torch.tensor(list(b64decode(part))) for part in shown["parts"])
    for (which, own, below, (size, other, said)), names in zip(
        shown["tiles"], product(*CHOICES.values()), strict=True
    ):
        one = tiles[names]
        pixels = images.reshape(-1, 3, 2, 3)[which].float() / 255
        assert (pixels - one.image.movedim(0, -1)).abs().max() <= 0.5001 / 255
        for stored, vector in (
            (values.reshape(-1, 6)[own], one.values),
            (over.reshape(-1, 6)[below], one.over),
        ):
            largest = vector.abs().max() or 1
            assert ((stored - 128) / 127 - vector / largest).abs().max() <= 0.5001 / 127
        assert (size, other) == (f"{one.values.abs().max():.2g}", f"{one.over.abs().max():.2g}")
        assert said == f"shows {names}"


def test_bars_without_any_value_are_flat_and_colours_stay():
    tiles = {("x",): fragments.Bars(torch.rand(3, 2, 2), torch.zeros(4), torch.ones(4), "none")}
    shown = held(fragments.bars({"image": ["x"]}, tiles, "", "A message.", "Alt"))
    images, values, over = (list(b64decode(part)) for part in shown["parts"])
    assert values == [128] * 4 and over == [255] * 4 and len(images) == 12
    assert shown["tiles"] == [[0, 0, 0, ["0", "1", "none"]]]


@pytest.mark.parametrize(
    "change",
    [
        lambda tiles: tiles.pop(("a 2", "PGD")),
        lambda tiles: tiles.update({("a 2", "PGD"): bars_at_random(CHOICES, n=7)["a 2", "PGD"]}),
    ],
)
def test_bars_that_do_not_fill_the_choices_are_refused(change):
    tiles = bars_at_random(CHOICES)
    change(tiles)
    with pytest.raises(ValueError, match="one for every combination and alike"):
        fragments.bars(CHOICES, tiles, "", "A message.", "Alt")
