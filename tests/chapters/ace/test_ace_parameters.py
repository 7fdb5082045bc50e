"""What chapter 1 may be asked to take as data: refused before the first cell, or runnable."""

import pytest
from PIL import Image

from causalnb import UserError, data
from causalnb.chapters.ace.parameters import Parameters
from causalnb.chapters.bench.parameters import Parameters as Bench


def folder(root, side=28, mode="L"):
    for split in ("train", "test"):
        for k in range(2):
            (root / split / str(k)).mkdir(parents=True)
            Image.new(mode, (side, side)).save(root / split / str(k) / "a.png")
    return str(root)


@pytest.mark.parametrize("name", ["", " ", ",", "digits,", "digits,digits"])
def test_no_data_is_one_sentence_for_both_chapters(name):
    for model in (Parameters, Bench):
        with pytest.raises(UserError, match="^data = .* is not possible: "):
            model.resolve({"data": name})


@pytest.mark.parametrize(
    "name, made", [("cifar10", "3 channels and 32 x 32"), ("digits8", "1 channels and 8 x 8")]
)
def test_a_set_of_another_shape_is_refused_also_where_it_is_not_at_hand(name, made):
    assert Parameters.resolve({"profile": "laptop"}).sets == ("mnist", "fashion_mnist")
    with pytest.raises(UserError, match=f"^data = '{name}' is not possible: its images have {made} pixels"):
        Parameters.resolve({"data": name})
    with pytest.raises(UserError, match=f"^data = '{name}' is not possible: this chapter takes one set"):
        Bench.resolve({"data": name})


@pytest.mark.parametrize("side, mode", [(28, "RGB"), (27, "L"), (32, "L"), (224, "RGB")])
def test_a_folder_of_colour_or_of_another_size_is_refused(tmp_path, side, mode):
    name = folder(tmp_path / "mine", side, mode)
    with pytest.raises(UserError, match="this chapter takes grey ones of 28 x 28: digits, mnist"):
        Parameters.resolve({"data": f"digits,{name}"})
    with pytest.raises(UserError, match="this chapter takes one set of ten classes in grey"):
        Bench.resolve({"data": name})


def test_a_folder_of_grey_images_of_the_size_is_taken(tmp_path, monkeypatch):
    folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert Parameters.resolve({"data": "mine,digits"}).sets == ("mine", "digits")


def test_the_shape_that_is_known_of_a_set_is_that_of_its_images(tmp_path):
    for name in (
        "digits",
        "digits8",
        "shapes",
        folder(tmp_path / "a", 9, "RGB"),
        folder(tmp_path / "b", 300),
    ):
        some = data.load(name, "test").images
        assert data.shape(name) == (some.shape[1], some.shape[2]) and some.shape[2] == some.shape[3]
