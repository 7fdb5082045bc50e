"""The figure of switches, on a page of its own with the book's script and style."""

import shutil

import pytest
import torch
from test_live import PAGE, STATIC

from causalnb import fragments

PARTS = 5


@pytest.fixture
def address(tmp_path):
    wrong = torch.tensor([s.bit_count() >= 3 for s in range(2**PARTS)])
    counted = {0: PARTS / 2} | {
        1 << j: -0.5 for j in range(PARTS)
    }  # how many are on, by its Walsh coefficients
    images = {
        name: fragments.Switched(torch.full((1, 4, 4), level), wrong, {"count": counted, "less": {0: -1.5}})
        for name, level in (("a 7", 0.0), ("a 2", 1.0))
    }
    sets = {"none": 0, "all": 2**PARTS - 1, "first 2": 3}
    source = fragments.switches(images, sets, "<svg></svg>", "A message. And more.", "Switches")
    for name in ("cn.js", "cn.css"):
        shutil.copy(STATIC / name, tmp_path)
    (tmp_path / "page.html").write_text(PAGE.format(source), encoding="utf-8")
    return (tmp_path / "page.html").as_uri()


def test_a_switch_changes_the_answer_and_the_numbers_as_all_sets_say(visit, address):
    page = visit(address)
    said = page.locator("output")
    assert said.inner_text() == "2 of 5 swapped: right. count 2.0, less −1.5."
    page.get_by_role("button", name="channel 5").click()
    assert said.inner_text() == "3 of 5 swapped: wrong. count 3.0, less −1.5."
    assert page.get_by_role("button", name="channel 5").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="none").click()
    assert said.inner_text() == "0 of 5 swapped: right. count 0.0, less −1.5."
    page.get_by_role("button", name="channel 3").press("Enter")
    assert said.inner_text().startswith("1 of 5 swapped") and visit.said == []


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_switches_stand_in_their_column_and_are_large_enough(visit, address, width):
    page = visit(address, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for button in page.locator("button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 24 and box["x"] + box["width"] <= width
