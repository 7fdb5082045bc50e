"""Folders of pictures in every kind of number that a picture may hold: the right pixels, or a sentence."""

import io
import re
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from causalnb import UserError, data

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
few = settings(max_examples=25, deadline=None, derandomize=True)


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pgm(values, most):
    kind = ">u2" if most > 255 else "u1"
    return f"P5 {values.shape[1]} {values.shape[0]} {most}\n".encode() + values.astype(kind).tobytes()


def tiff(values, *, bits, sample_format=1, photometric=1):
    """A grey TIFF of one strip, with the tags that say what its numbers are."""
    strip = values.tobytes()
    tags = [
        (256, 3, values.shape[1]),
        (257, 3, values.shape[0]),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, values.shape[0]),
        (279, 4, len(strip)),
        (339, 3, sample_format),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(strip))
        + strip
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
    )


def deep(grey):
    return grey.astype("<u2") * 257


# What is known: each gives the 8-bit picture back, exactly.
KNOWN = {
    "8 bits": lambda grey: saved(Image.fromarray(grey)),
    "8 bits, TIFF": lambda grey: tiff(grey, bits=8),
    "8 bits, white is 0, TIFF": lambda grey: tiff(255 - grey, bits=8, photometric=0),
    "8 bits, palette": lambda grey: saved(Image.fromarray(grey).convert("P")),
    "8 bits, colour": lambda grey: saved(Image.fromarray(grey).convert("RGB")),
    "8 bits, opaque alpha": lambda grey: saved(Image.fromarray(grey).convert("RGBA")),
    "16 bits, PNG": lambda grey: saved(Image.fromarray(deep(grey))),
    "16 bits, TIFF": lambda grey: tiff(deep(grey), bits=16),
    "16 bits, PGM": lambda grey: pgm(deep(grey), 65535),
}
# What is not: what the sentence names of it.
UNKNOWN = {
    "floating point from 0 to 1": (
        lambda grey: saved(Image.fromarray(grey.astype("f4") / 255), "TIFF"),
        "mode F, TIFF",
    ),
    "floating point from 0 to 255": (
        lambda grey: saved(Image.fromarray(grey.astype("f4")), "TIFF"),
        "mode F, TIFF",
    ),
    "32 bits": (lambda grey: saved(Image.fromarray(grey.astype(np.int32)), "TIFF"), "mode I, TIFF"),
    "16 bits with a sign": (
        lambda grey: tiff(grey.astype("<i2"), bits=16, sample_format=2),
        "mode I, TIFF",
    ),
    "8 bits with a sign": (lambda grey: tiff(grey, bits=8, sample_format=2), "mode L, TIFF"),
    "16 bits, white is 0": (lambda grey: tiff(deep(grey), bits=16, photometric=0), "mode I;16, TIFF"),
    "12 bits": (
        lambda grey: tiff(np.zeros(grey.size * 3 // 2, np.uint8).reshape(grey.shape[0], -1), bits=12),
        "mode I;16, TIFF",
    ),
    "transparent": (
        lambda grey: saved(Image.merge("LA", [Image.fromarray(grey), Image.new("L", grey.shape[::-1], 254)])),
        "has transparent pixels",
    ),
    "a transparent colour": (
        lambda grey: saved(Image.fromarray(grey), transparency=int(grey[0, 0])),
        "has transparent pixels",
    ),
    "16 bits, a transparent colour": (
        lambda grey: with_transparent_16_bits(grey),
        "mode I;16, PNG",
    ),
}


def with_transparent_16_bits(grey):
    """PNG's tRNS chunk, put before the pixels."""
    import zlib

    content = saved(Image.fromarray(deep(grey)))
    chunk = b"tRNS" + struct.pack(">H", 257 * int(grey[0, 0]))
    place = content.index(b"IDAT") - 4
    return (
        content[:place]
        + struct.pack(">I", 2)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + content[place:]
    )


def folder(root, **classes):
    for name, contents in classes.items():
        (root / "test" / name).mkdir(parents=True)
        for k, content in enumerate(contents):
            (root / "test" / name / f"{k}.png").write_bytes(
                content
            )  # the name is no promise: it is read by its content
    return data.load(str(root), "test")


def grey_pictures():
    return st.builds(
        lambda seed, most: np.random.default_rng(seed).integers(0, most + 1, (6, 6)).astype(np.uint8),
        st.integers(0, 10**6),
        st.sampled_from([1, 15, 254, 255]),
    )


@few
@given(grey_pictures(), st.lists(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=4))
def test_one_picture_in_any_known_kind_of_number_has_the_same_pixels(grey, kinds):
    with tempfile.TemporaryDirectory() as root:
        read = folder(Path(root), a=[KNOWN[kind](grey) for kind in kinds])
    expected = torch.from_numpy(grey).float() / 255
    assert read.images.shape[0] == len(kinds) and torch.equal(read.images, expected.expand_as(read.images))


@few
@given(grey_pictures(), st.sampled_from(sorted(UNKNOWN)), st.booleans())
def test_a_picture_whose_numbers_have_no_known_scale_is_refused_wherever_it_stands(grey, kind, first):
    make, said = UNKNOWN[kind]
    pictures = [saved(Image.fromarray(grey)), make(grey)]
    with tempfile.TemporaryDirectory() as root, pytest.raises(UserError) as refused:
        folder(Path(root), a=pictures[:: -1 if first else 1])
    assert re.search(rf"{0 if first else 1}\.png .*{said}.*: save it (with|on) .*\.$", str(refused.value))


def test_the_kinds_that_are_refused_are_kinds_that_can_be_opened():
    for make, _ in UNKNOWN.values():
        with Image.open(io.BytesIO(make(GREY))) as image:
            image.load()


def test_classes_of_8_and_of_16_bits_cannot_be_told_apart_by_their_depth(tmp_path):
    read = folder(tmp_path, a=[KNOWN["8 bits"](GREY)], b=[KNOWN["16 bits, PNG"](GREY)])
    assert torch.equal(read.images[0], read.images[1]) and read.labels.tolist() == [0, 1]


def test_16_bits_are_rounded_to_the_nearest_of_8(tmp_path):
    values = np.array([[0, 128, 129, 257, 65406, 65407, 65535, 32768]], np.uint16).repeat(8, 0)
    read = folder(tmp_path, a=[saved(Image.fromarray(values))])
    assert (read.images[0, 0, 0] * 255).round().tolist() == [0, 0, 1, 1, 254, 255, 255, 128]


def test_one_bit_is_black_and_white(tmp_path):
    read = folder(tmp_path, a=[saved(Image.fromarray(GREY > 100))])
    assert torch.equal(read.images[0, 0], torch.from_numpy(GREY > 100).float())


@few
@given(st.data())
def test_a_png_that_ends_early_or_has_a_flipped_bit_is_refused(given_):
    whole = saved(Image.fromarray(GREY))
    place, bit = given_.draw(st.integers(0, len(whole) - 13)), given_.draw(st.integers(-1, 7))
    content = whole[:place] if bit < 0 else bytes(c ^ (k == place) << bit for k, c in enumerate(whole))
    sentence = r"0.png cannot be read as an image \(.*\): remove or replace it"
    with tempfile.TemporaryDirectory() as root, pytest.raises(UserError, match=sentence):
        folder(Path(root), a=[content])


def test_a_picture_too_large_to_be_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UserError, match="cannot be read as an image .*exceeds limit"):
        folder(tmp_path, a=[saved(Image.fromarray(GREY))])


# Folders as people have them ------------------------------------------------------------------------------


def classes(root, *names, split="test"):
    for k, name in enumerate(names):
        (root / split / name).mkdir(parents=True)
        (root / split / name / "a.png").write_bytes(saved(Image.new("L", (6, 6), k)))
    return root


def test_a_folder_of_classes_alone_is_told_of_both_places(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError) as said:
        data.load(str(tmp_path), "test")
    assert "holds train/ and test/ (or val/), each with one folder for each class" in str(said.value)
    assert "it holds cat, dog" in str(said.value) and "\n" not in str(said.value)


@pytest.mark.parametrize("stray", [".ipynb_checkpoints", "__MACOSX", ".git"])
def test_folders_that_programs_leave_are_no_class(tmp_path, stray):
    read = data.load(str(classes(tmp_path, stray, "cat", "dog")), "test")
    assert read.classes == ("cat", "dog") and read.labels.tolist() == [0, 1]


def test_a_hidden_file_is_no_picture(tmp_path):
    (classes(tmp_path, "cat") / "test" / "cat" / "._a.png").write_bytes(b"resource fork")
    assert len(data.load(str(tmp_path), "test")) == 1


def test_numbers_are_classes_in_their_order_and_it_is_said_where_text_would_differ(tmp_path, capsys):
    read = data.load(str(classes(tmp_path / "a", *(str(k) for k in range(12)))), "test")
    assert read.classes == tuple(str(k) for k in range(12))
    assert [int(read.images[k].mul(255).round()[0, 0, 0]) for k in range(12)] == list(range(12))
    assert read.labels.tolist() == list(range(12))
    assert "the classes are numbers, in their order: 0, 1, 2, 3," in capsys.readouterr().err
    data.load(str(classes(tmp_path / "b", "0", "1", "2")), "test")
    data.load(str(classes(tmp_path / "c", "1", "10", "2", "b")), "test")
    assert capsys.readouterr().err == ""


def test_a_folder_without_classes_is_a_sentence(tmp_path):
    (tmp_path / "test" / ".ipynb_checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="A class has no images: .*/test has no folder"):
        data.load(str(tmp_path), "test")


# Pictures of other kinds ----------------------------------------------------------------------------------


def test_a_picture_of_400_million_pixels_is_refused_before_it_is_decoded(tmp_path, recwarn):
    import zlib

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(
        UserError, match=r"0.png (has 20000 x 20000 pixels, and at most|cannot be read .*exceeds)"
    ):
        folder(
            tmp_path, a=[content + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))]
        )
    assert not recwarn.list


@pytest.mark.parametrize("side", [7_072, 10_000])
def test_the_largest_picture_is_a_rule_of_ours_and_warns_of_nothing(tmp_path, recwarn, side):
    with pytest.raises(UserError, match=f"has {side} x {side} pixels, and at most 50,000,000 are read"):
        folder(tmp_path, a=[saved(Image.new("1", (side, side)))])
    assert not recwarn.list


def test_postscript_behind_another_name_is_never_run(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    with pytest.raises(UserError, match=r"0.png cannot be read as an image \(it is none of JPEG, PNG,"):
        folder(tmp_path, a=[eps])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_camera_says(tmp_path, kind):
    upright = Image.fromarray(np.array([[0, 0], [255, 255]], np.uint8).repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: turn by a quarter
    content = saved(
        upright.rotate(90).convert("RGB"), kind, exif=exif, **({} if kind == "PNG" else {"quality": 95})
    )
    read = folder(tmp_path, a=[content]).images[0, 0]
    assert read[:6].max() < 0.1 and read[-6:].min() > 0.9
