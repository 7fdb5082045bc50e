import hashlib
import importlib.util
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
import torch

from causalnb import UserError
from causalnb.chapters.counterfactual.replay import sources, vectors
from causalnb.chapters.counterfactual.replay.vectors import Key, parse

DATA = Path(__file__).parents[3] / "data"
spec = importlib.util.spec_from_file_location("make_published", DATA / "make_published.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)


def text(name):
    return (DATA / "published" / name).read_text(encoding="utf-8")


def read(name):
    return parse(text(name), name=name, filters=make.FILTERS)


def test_the_files_are_as_the_script_beside_them_makes_them():
    assert {name: text(name) for name in make.contents()} == make.contents()


@pytest.mark.parametrize(("name", "records"), [("quoted.txt", 3), ("lines.txt", 2), ("comma.txt", 2)])
def test_all_three_layouts_are_read(name, records):
    found = read(name)
    assert found.records == records and found.ci.dtype == torch.float32
    assert found.ci.shape == found.order.shape == (len(found), make.FILTERS)


def test_a_vector_is_by_filter_and_its_order_is_the_files():
    found = read("lines.txt")
    assert torch.equal(found.ci, torch.tensor(list(make.LINES.values())))
    assert found.order.tolist() == [[7, 6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5, 6, 7]]
    assert found.keys == tuple(make.LINES) and found.first.tolist() == [True, False]


def test_of_a_repeated_key_the_last_record_counts_and_the_earlier_is_told():
    found = read("quoted.txt")
    first, other, last = (torch.tensor(values) for values in make.QUOTED.values())
    assert found.keys == ("1__5.png_as_1", "0__17.png_as_3") and torch.equal(
        found.ci, torch.stack([other, last])
    )
    assert torch.equal(found.repeated, first[None]) and found.again.tolist() == [1]
    assert not found.first.any()


def test_keys_say_class_image_label_and_second_field():
    assert Key.of("3__412.png_as_5") == Key(3, "412", 5)
    assert Key.of("3__3_as_4_412.png_as_5") == Key(3, "412", 5, second=4)
    assert Key.of("100__ILSVRC2012_val_00006562.JPEG") == Key(100, "ILSVRC2012_val_00006562")
    assert Key.of("n01440764") is None
    assert read("quoted.txt").labels.tolist() == [1, 3] and read("comma.txt").classes.tolist() == [44, 0]
    with pytest.raises(ValueError, match="n0 in x is no key of an image"):
        parse("{'n0': [(0, (0.5, 1))]}", name="x", filters=1).labels  # noqa: B018


def test_prototypes_are_by_class_whatever_their_order():
    found = parse("{'2': [(0, (0.5, 1))], '0': [(0, (0.25, 1))]}", name="x", filters=1)
    own = vectors.prototypes(found)
    assert own.classes.tolist() == [0, 2] and own.ci.tolist() == [[0.25], [0.5]]


DAMAGED = {
    "a record cut short": (lambda t: t[: t.rindex("(")], r"damaged after record 2 \(1__5.*\): .*0__17"),
    "a pair that lost its end": (
        lambda t: t.replace(", 1))", ", 1)", 1),
        r"damaged in record 1 \(0__17.png_as_3\): '\(6.* is no pair",
    ),
    "another number than 1": (lambda t: t.replace("1))", "2))", 1), r"record 1 .* is no pair"),
    "a word for a number": (lambda t: t.replace("0.25", "nan"), r"record 1 .*'\(1  ?\(nan.* is no pair"),
    "a number beyond floats": (
        lambda t: t.replace("0.25", "1e999"),
        r"record 1 .* beyond what a float can hold",
    ),
    "a filter twice": (
        lambda t: t.replace("(1, (", "(2, ("),
        r"record 1 .* 8 entries of 7 filters, not one of",
    ),
    "a filter too many": (
        lambda t: t.replace("[(6", "[(8, (0.5, 1)), (6", 1),
        r"record 1 .* 9 entries of 9 filters",
    ),
    "a call between records": (
        lambda t: t.replace(",\n'1__5", ",\nprint(1)\n'1__5"),
        r"damaged after record 1 \(0__17.png_as_3\): 'print",
    ),
    "words at the end": (lambda t: t + "and more", r"damaged after record 3 .*: 'and more' is no record"),
    "words at the beginning": (lambda t: "x" + t, "damaged after the beginning: 'x"),
    "a key without quotes": (lambda t: t.replace("'1__5.png_as_1'", "1__5"), r"after record 1 .*: '1__5"),
    "nothing": (lambda t: " \n", "holds no record"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_refused_with_its_name_and_the_record(how):
    damage, sentence = DAMAGED[how]
    damaged = damage(text("quoted.txt"))
    assert damaged != text("quoted.txt")
    with pytest.raises(UserError, match=f"^quoted.txt .*{sentence}"):
        parse(damaged, name="quoted.txt", filters=make.FILTERS)


# Where files come from -----------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """One source, whose genuine content is small."""
    content = b"{'0': [(0, (0.5, 1))]}"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(sources, "SOURCES", {"small": sources.Source("a/b/small.txt", digest)})
    return content


def offline(url, timeout):
    raise OSError("no network")


def test_a_file_at_hand_is_compared_with_its_checksum_before_it_is_read(small, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    sources.folder().mkdir(parents=True)
    file = sources.folder() / "small.txt"
    file.write_bytes(small)
    assert sources.text("small") == small.decode() and sources.at_hand()
    file.write_bytes(small + b" ")
    with pytest.raises(
        UserError, match=r"small.txt is not the published file small.txt \(its SHA-256 begins"
    ):
        sources.text("small")


def test_an_absent_file_is_fetched_from_the_author_at_one_commit_and_kept(small, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url) or BytesIO(small))
    assert not sources.at_hand() and sources.text("small") == small.decode()
    assert asked == [f"https://raw.githubusercontent.com/HichemDebbi/CausAdv/{sources.COMMIT}/a/b/small.txt"]
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert sources.text("small") == small.decode() and sources.at_hand()


def test_another_file_from_the_network_is_refused_and_not_kept(small, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: BytesIO(b"another"))
    with pytest.raises(UserError, match="it is damaged or another version"):
        sources.text("small")
    assert not sources.at_hand()


def test_without_file_and_network_the_sentence_says_where_it_was_looked_for(small, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(
        UserError, match=r"looked for small.txt in .*causadv-published, and fetching it failed"
    ):
        sources.text("small")


def test_files_are_reached_by_fetching_only_where_that_is_asked_for(small, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url) or BytesIO(small))
    assert not sources.reached(fetch=False) and asked == []
    assert sources.reached(fetch=True) and len(asked) == 1
    assert sources.reached(fetch=False)


def test_files_that_cannot_be_fetched_are_not_reached_and_that_is_said(small, monkeypatch, capsys):
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    assert not sources.reached(fetch=True)
    assert "are not at hand" in capsys.readouterr().err


def test_there_are_sixteen_files_each_with_a_whole_checksum_and_a_name_of_its_own():
    names = [source.name for source in sources.SOURCES.values()]
    assert len(set(names)) == len(names) == 16
    assert all(len(bytes.fromhex(source.sha256)) == 32 for source in sources.SOURCES.values())
