"""The slider of chapter 4, on its page."""

import pytest
from pages import CHAPTERS

PAGE = [name for name in CHAPTERS if "/alignment/" in name]
pytestmark = pytest.mark.skipif(not PAGE, reason="chapter 4's page is not built")


def test_the_slider_moves_the_curves_and_says_what_they_show(turn):
    page = turn(PAGE[0])
    slider, said = page.get_by_label("budget ε"), page.locator("figure[id^=live] output").first
    curve = page.locator("figure[id^=live] path[stroke='#D55E00']").first
    before = curve.get_attribute("d"), said.inner_text()
    slider.fill("20")
    assert "Nothing tells the classes apart" in said.inner_text()
    assert slider.get_attribute("aria-valuetext").startswith("ε = 1.00")
    slider.fill("30")
    assert "changed places" in said.inner_text() and curve.get_attribute("d") != before[0]
    assert page.locator("figure[id^=live] .cn-static").first.is_hidden()
