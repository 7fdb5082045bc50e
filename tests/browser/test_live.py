"""The figure to choose in, as a notebook writes it, on a page of its own with the book's script and style."""

import shutil
from itertools import product
from pathlib import Path

import numpy
import pytest
import torch
from matplotlib.figure import Figure

from causalnb import figstyle
from causalnb.fragments import Bars, Tile
from causalnb.notebook import begin

STATIC = Path(__file__).parents[2] / "book" / "_static"
CHOICES = {
    "image": ["a 7", "a 2"],
    "attack": ["FGSM", "PGD", "C&W"],
    "budget": ["0", "0.15", "0.3"],
    "reading": ["R1", "R3", "R3m"],
    "class": ["true", "predicted"],
}
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>A page</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="cn.css"><script src="cn.js"></script></head>
<body style="margin:0;background:var(--cn-bg);color:var(--cn-ink)"><main class="bd-article" style="max-width:688px;padding:0 16px">{}</main></body></html>"""
PIXELS = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def tile(place):
    """A bright square at a place of its own in the image, and one effect of 1, one of -1 and none elsewhere
    in the map.
    """
    image, effects = torch.zeros(28, 28), torch.zeros(28, 28)
    row, column = divmod(place, 28)
    image[row : row + 8, column : column + 8] = 1
    effects[row, column], effects[row + 1, column] = 1, -1
    return Tile(image, effects, f"this is number {place}")


@pytest.fixture
def address(tmp_path, monkeypatch):
    run, sources = begin("ace"), []
    monkeypatch.setattr(run, "html", sources.append)
    with figstyle.style():
        figure = Figure(figsize=(5, 2))
        figure.subplots().imshow(numpy.eye(28))
    tiles = {names: tile(place) for place, names in enumerate(product(*CHOICES.values()))}
    run.explore(figure, CHOICES, tiles, alt="An image and its map of effects", caption="A message. And more.")
    for name in ("cn.js", "cn.css"):
        shutil.copy(STATIC / name, tmp_path)
    (tmp_path / "page.html").write_text(PAGE.format(*sources), encoding="utf-8")
    return (tmp_path / "page.html").as_uri()


def pictures(page):
    """The pixels of the image and of the map, [784, 3] each."""
    return [
        torch.tensor(canvas.evaluate(PIXELS)).reshape(784, 4)[:, :3]
        for canvas in page.locator("canvas").all()
    ]


def rgb(colour):
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_a_choice_changes_the_image_the_map_and_what_is_said(visit, address):
    page = visit(address)
    for chosen in (
        ("a 7", "FGSM", "0", "R1", "true"),
        ("a 2", "C&W", "0.15", "R3m", "predicted"),
        ("a 7", "PGD", "0.3", "R3", "true"),
    ):
        for name, option in zip(CHOICES, chosen, strict=True):
            page.get_by_label(name, exact=True).select_option(option)
        place = list(product(*CHOICES.values())).index(chosen)
        expected = tile(place)
        image, effects = pictures(page)
        assert torch.equal(image, (255 * expected.image).long().reshape(784, 1).expand(784, 3))
        wanted = torch.tensor([rgb(figstyle.EFFECT_STOPS[i]) for i in (0, 3, 6)])[
            expected.effects.long().flatten() + 1
        ]
        assert torch.equal(effects, wanted)
        assert page.locator("output").inner_text() == f"this is number {place}"
    assert page.locator(".cn-scale span").all_inner_texts() == ["−1", "1"]
    assert visit.said == []


def test_the_keyboard_alone_reaches_and_moves_a_choice(visit, address):
    page = visit(address)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.value") == "PGD"
    assert page.locator("output").inner_text() == "this is number 18"


def test_the_static_figure_stands_until_script_replaces_it_and_on_paper(visit, address):
    seen = {}
    for name, script, media in (
        ("screen", True, "screen"),
        ("paper", True, "print"),
        ("no script", False, "screen"),
    ):
        page = visit(address, script=script)
        page.emulate_media(media=media)
        seen[name] = [
            page.locator(part).is_visible() for part in (".cn-live", ".cn-static svg", "figcaption")
        ]
    assert seen == {
        "screen": [True, False, True],
        "paper": [False, True, True],
        "no script": [False, True, True],
    }


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_image_and_map_stand_side_by_side_and_nothing_is_wider_than_the_page(visit, address, width):
    page = visit(address, width)
    left, right = (canvas.bounding_box() for canvas in page.locator("canvas").all())
    assert left["y"] == right["y"] and left["x"] + left["width"] < right["x"]
    assert left["width"] == pytest.approx(right["width"], abs=1) and left["width"] > 130
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for select in page.locator("select").all():
        box = select.bounding_box()
        assert box["height"] >= 24 and box["width"] > 60 and box["x"] + box["width"] <= width


def test_the_page_asks_for_nothing_but_its_own_script_and_style(visit, address):
    visit(address).get_by_label("image", exact=True).select_option("a 2")
    folder = address.rpartition("/")[0]
    assert {one for one in visit.asked if not one.startswith("data:")} == {
        address,
        f"{folder}/cn.js",
        f"{folder}/cn.css",
    }
    assert visit.said == []


# Bars ----------------------------------------------------------------------------------------------------


@pytest.fixture
def of_bars(tmp_path, monkeypatch):
    run, sources = begin("counterfactual"), []
    monkeypatch.setattr(run, "html", sources.append)
    with figstyle.style():
        figure = Figure(figsize=(5, 2))
        figure.subplots().imshow(numpy.eye(8))
    choices = {"image": ["a 7", "a 2"], "scale": ["float32", "log-odds"]}
    tiles = {
        names: Bars(
            torch.full((1, 4, 4), place / 3),
            torch.tensor([place, -1.0, 0.0]),
            torch.tensor([1.0, 0.5, -1.0]),
            f"number {place}",
        )
        for place, names in enumerate(product(*choices.values()))
    }
    run.explore(figure, choices, tiles, alt="An image and bars", caption="A message. And more.")
    for name in ("cn.js", "cn.css"):
        shutil.copy(STATIC / name, tmp_path)
    (tmp_path / "page.html").write_text(PAGE.format(*sources), encoding="utf-8")
    return (tmp_path / "page.html").as_uri()


def test_a_choice_changes_the_picture_the_bars_and_what_is_said(visit, of_bars):
    page = visit(of_bars)
    below, up, down = (one.get_attribute("d") for one in page.locator("svg[viewBox^='0 -127'] path").all())
    assert (below.count("M"), up, down.count("M")) == (3, "", 1)
    page.get_by_label("image", exact=True).select_option("a 2")
    page.get_by_label("scale", exact=True).select_option("log-odds")
    up = page.locator("svg[viewBox^='0 -127'] path").nth(1).get_attribute("d")
    assert up == "M0.2 0V-127H0.8V0Z" and page.locator("output").inner_text() == "number 3"
    assert page.locator("canvas").evaluate(PIXELS)[:3] == [255] * 3
    assert "up to 3" in page.locator(".cn-bars p").inner_text() and visit.said == []


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_bars_fill_their_column_and_nothing_is_wider_than_the_page(visit, of_bars, width):
    page = visit(of_bars, width)
    picture, bars = page.locator("canvas").bounding_box(), page.locator(".cn-bars svg").bounding_box()
    assert picture["y"] == bars["y"] and picture["x"] + picture["width"] < bars["x"] and bars["width"] > 150
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for select in page.locator("select").all():
        assert select.bounding_box()["x"] + select.bounding_box()["width"] <= width
