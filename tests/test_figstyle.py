import base64
import re

import numpy
from matplotlib.figure import Figure

from causalnb import figstyle


def lines(label: str = "predicted class") -> Figure:
    with figstyle.style():
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 0.1, 0.3], [0.7, 0.5, 0.4])
        axes.text(0.3, 0.4, label)
    return figure


def test_the_same_figure_gives_the_same_bytes():
    assert figstyle.inline_svg(lines(), "A line", "a1") == figstyle.inline_svg(lines(), "A line", "a1")


def test_text_stays_text_and_takes_the_ink_of_the_page():
    svg = figstyle.inline_svg(lines(), "A line", "a1")
    assert re.search(r"<text[^>]*currentColor[^>]*>predicted class</text>", svg)
    assert "var(--cn-axis" in svg
    assert figstyle.INK not in svg and figstyle.RULE not in svg
    assert "font-family" not in svg


def test_the_alt_text_is_the_label_of_an_image_and_is_escaped():
    svg = figstyle.inline_svg(lines(), 'S "rises" & <falls>', "a1")
    assert svg.startswith(
        '<svg class="cn-svg" role="img" aria-label="S &quot;rises&quot; &amp; &lt;falls&gt;"'
    )


def test_two_figures_of_one_page_share_no_id_and_refer_to_their_own():
    ids = []
    for salt in ("a1", "a2"):
        svg = figstyle.inline_svg(lines(), "A line", salt)
        ids.append(set(re.findall(r' id="([^"]+)"', svg)))
        assert ids[-1] == set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))
    assert ids[0] and not ids[0] & ids[1]


def test_nothing_styles_the_rest_of_the_page():
    svg = figstyle.inline_svg(lines(), "A line", "a1")
    assert "<style" not in svg and "<?xml" not in svg and "metadata" not in svg


def test_an_image_keeps_its_own_pixels():
    with figstyle.style():
        figure = Figure(figsize=(2, 2))
        figure.subplots().imshow(numpy.eye(28), cmap=figstyle.EFFECT)
    encoded = re.search(r"base64,([^\"]+)", figstyle.inline_svg(figure, "An image", "a1"))[1]
    header = base64.b64decode(encoded)[16:24]
    assert [int.from_bytes(header[i : i + 4], "big") for i in (0, 4)] == [28, 28]


def test_a_figure_too_large_for_svg_becomes_a_png_of_twice_its_width_on_white():
    with figstyle.style():
        figure = Figure(figsize=(3, 2))
        figure.subplots().scatter(
            *numpy.random.default_rng(0).random((2, 6000)), c=numpy.arange(6000), marker="o"
        )
    image = figstyle.inline_svg(figure, 'A "cloud"', "a1")
    width = int(re.search(r'width="(\d+)"', image)[1])
    content = base64.b64decode(re.search(r"base64,([^\"]+)", image)[1])
    assert image.startswith('<img class="cn-png" alt="A &quot;cloud&quot;"')
    assert int.from_bytes(content[16:20], "big") // 2 == width
    assert 200 < width < 320


def test_a_figure_is_closed_when_it_has_been_shown():
    from matplotlib import pyplot

    with figstyle.style():
        figure, axes = pyplot.subplots()
        axes.plot([0, 1])
    assert pyplot.get_fignums()
    figstyle.inline_svg(figure, "A line", "a1")
    assert not pyplot.get_fignums()


def test_the_map_of_effects_is_symmetric_about_a_near_white():
    low, middle, high = figstyle.EFFECT([0.0, 0.5, 1.0])
    assert numpy.ptp(middle[:3]) < 0.03 and min(middle[:3]) > 0.9
    assert low[2] > low[0] and high[0] > high[2]


def test_what_sticks_out_of_a_figure_is_kept():
    with figstyle.style():
        figure = Figure()
        figure.set_layout_engine("none")
        figure.text(0.99, 0.5, "beyond the edge")
    width = int(re.search(r"max-width:(\d+)px", figstyle.inline_svg(figure, "words", "a1"))[1])
    assert width > figstyle.COLUMN_PIXELS + 50


def test_a_reader_s_own_figure_fills_the_column_without_being_told():
    assert f"max-width:{figstyle.COLUMN_PIXELS}px" in figstyle.inline_svg(lines(), "A line", "a1")
