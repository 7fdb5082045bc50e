"""Files are believed by their bytes: whatever is done to them, what is loaded is what they hold, or a sentence."""

import hashlib
import os
import re
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError, data
from causalnb.data import content, known, sets
from causalnb.store import Store

few = settings(max_examples=25, deadline=None, derandomize=True)
PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(seed, *, last=9):
    """Name -> bytes of a set like mnist: 20 images of 4 x 4 to train, 10 to test; labels from 0 to `last`."""
    random, files = np.random.default_rng(seed), {}
    for split, n in (("train", 20), ("t10k", 10)):
        files[f"{split}-images-idx3"] = idx(random.integers(0, 256, (n, 4, 4)).astype(np.uint8))
        files[f"{split}-labels-idx1"] = idx((np.arange(n) * last // (n - 1)).astype(np.uint8))
    return files


def write(root, files, of="MNIST"):
    (root / of / "raw").mkdir(parents=True, exist_ok=True)
    for name, bytes_ in files.items():
        (root / of / "raw" / f"{name}-ubyte").write_bytes(bytes_)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with sets like mnist and fashion_mnist, whose digests are the known ones."""
    monkeypatch.setenv("CAUSALNB_DATA", str(tmp_path / "root"))
    for seed, of in enumerate(("MNIST", "FashionMNIST")):
        write(tmp_path / "root", contents(seed), of)
        publish(monkeypatch, contents(seed), of)
    return tmp_path / "root"


def publish(monkeypatch, files, of="MNIST"):
    for name, bytes_ in files.items():
        monkeypatch.setitem(known.SHA256, f"{of}/raw/{name}-ubyte", hashlib.sha256(bytes_).hexdigest())


@given(
    place=st.data(), name=st.sampled_from(PARTS), split=st.sampled_from(["train", "test"]), view=st.booleans()
)
@few
def test_a_file_of_a_named_set_with_any_byte_changed_cut_or_added_is_refused(place, name, split, view):
    whole = contents(0)[name]
    at, to = place.draw(st.integers(0, len(whole))), place.draw(st.integers(1, 255))
    cut = place.draw(st.booleans())
    broken = (
        whole[:at]
        if cut
        else whole[:at] + bytes([to ^ (whole[at] if at < len(whole) else 0)]) + whole[at + 1 :]
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALNB_DATA", folder)
        publish(patch, contents(0))
        write(Path(folder), contents(0) | {name: broken})
        file = re.escape(str(Path(folder) / "MNIST" / "raw" / f"{name}-ubyte"))
        sentence = (
            rf"^{file} is not (mnist|mnist37)'s file of that name \(its SHA-256 begins with [0-9a-f]{{12}}, not with "
            r"[0-9a-f]{12}\): it is damaged or of another set; remove it and run `causalnb data mnist(37)?` where "
            r"there is a network\.$"
        )
        if broken == whole:
            assert len(data.load("mnist", split)) in (20, 10)
        else:
            for ask in (data.require, lambda one: data.load(one, split, store=Store(Path(folder) / "store"))):
                with pytest.raises(UserError, match=sentence):
                    ask("mnist37" if view else "mnist")


def test_the_files_of_another_set_in_its_place_are_refused(root):
    write(root, contents(1))
    with pytest.raises(UserError, match="is not mnist's file of that name"):
        data.load("mnist", "test")
    assert len(data.load("fashion_mnist", "test")) == 10


def test_a_warm_store_does_not_stand_for_files_that_changed(root, tmp_path):
    data.load("mnist", "test", store=Store(tmp_path / "store"))
    file, before = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte", contents(0)["t10k-labels-idx1"]
    stamp = file.stat()
    file.write_bytes(before[:-1] + b"\3")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte is not mnist's file"):
        data.load("mnist", "test", store=Store(tmp_path / "store"))


def test_a_label_outside_the_classes_is_refused_even_where_the_file_is_the_published_one(root, monkeypatch):
    write(root, contents(0, last=200))
    publish(monkeypatch, contents(0, last=200))
    with pytest.raises(UserError, match="mnist: labels reach from 0 to 200, and there are 10 classes"):
        data.load("mnist", "test")


def test_an_old_processed_copy_is_not_read(root):
    (root / "MNIST" / "processed").mkdir()
    for split in ("training", "test"):
        torch.save(
            (torch.zeros(5, 4, 4, dtype=torch.uint8), torch.zeros(5).long()),
            root / f"MNIST/processed/{split}.pt",
        )
    read = data.load("mnist", "test")
    assert len(read) == 10 and read.images.max() > 0.5


def test_where_an_old_copy_keeps_torchvision_from_downloading_it_is_said(root):
    test_an_old_processed_copy_is_not_read(root)
    shutil.rmtree(root / "MNIST" / "raw")
    with pytest.raises(
        UserError, match=r"torchvision downloads nothing beside MNIST/processed \(move that away\)"
    ):
        data.require("mnist")


def test_what_a_pickle_does_is_not_done_before_its_digest_matched(root):
    folder, ran = root / "cifar-10-batches-py", root / "ran"
    folder.mkdir()
    for file in sets.KNOWN["cifar10"].files:
        (root / file).write_bytes(b"cposix\nmkdir\n(S'" + str(ran).encode() + b"'\ntR.")
    with pytest.raises(UserError, match="data_batch_1 is not cifar10's file"):
        data.load("cifar10")
    assert not ran.exists()


# Folders --------------------------------------------------------------------------------------------------


def picture(grey):
    return b"P5 4 4 255\n" + bytes([grey] * 16)


def edit(root, how, one, other):
    """Do to files of a folder what keeps their sizes; every time stamp is as it was."""
    a, b = (sorted(root.rglob("*.pgm"))[k] for k in (one, other))
    if how == "swap":
        contents = a.read_bytes(), b.read_bytes()
        b.write_bytes(contents[0])
        a.write_bytes(contents[1])
    elif how == "rename":
        b.rename(b.with_name(f"new{b.name}"))
    elif how == "move":
        b.rename(root / "test" / ("b" if b.parent.name == "a" else "a") / f"moved{b.name}")
    elif how == "repaint":
        a.write_bytes(picture(255 - a.read_bytes()[-1]))
    for file in root.rglob("*"):
        os.utime(file, ns=(0, 10**18))


@few
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["swap", "rename", "move", "repaint", "nothing"]),
            st.integers(0, 2),
            st.integers(3, 5),
        ),
        max_size=3,
    )
)
def test_a_folder_gives_what_it_holds_whatever_was_done_to_files_of_equal_size_and_time(edits):
    with tempfile.TemporaryDirectory() as place:
        root, store = Path(place) / "set", Store(Path(place) / "store")
        for k, name in enumerate(("a/0", "a/1", "a/2", "b/3", "b/4", "b/5")):
            (root / "test" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "test" / f"{name}.pgm").write_bytes(picture(40 * k))
        (root / "test" / "a" / "zz.pgm").write_bytes(picture(9))
        (root / "test" / "b" / "zz.pgm").write_bytes(picture(9))
        edit(root, "nothing", 0, 1)
        for how, one, other in [("nothing", 0, 1), *edits]:
            edit(root, how, one, other)
            kept, now = data.load(str(root), "test", store=store), data.load(str(root), "test")
            expected = {(file.read_bytes()[-1], int(file.parent.name == "b")) for file in root.rglob("*.pgm")}
            assert torch.equal(kept.images, now.images) and torch.equal(kept.labels, now.labels)
            assert kept.digest == now.digest and expected == {
                (round(float(image.mean()) * 255), int(label))
                for image, label in zip(kept.images, kept.labels, strict=True)
            }


def test_a_folder_that_was_moved_is_known_again_by_its_content(tmp_path):
    for k, name in enumerate("ab"):
        (tmp_path / "one" / "set" / "test" / name).mkdir(parents=True)
        (tmp_path / "one" / "set" / "test" / name / "0.pgm").write_bytes(picture(k))
    store = Store(tmp_path / "store")
    for place in ("one", "two"):
        data.load(str(tmp_path / place / "set"), "test", store=store)
        if place == "one":
            (tmp_path / "one").rename(tmp_path / "two")
    assert len(store.entries()) == 1


def test_a_picture_that_is_a_dangling_link_is_refused(tmp_path):
    (tmp_path / "test" / "a").mkdir(parents=True)
    (tmp_path / "test" / "a" / "0.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"0.png cannot be read \(No such file or directory\)"):
        data.load(str(tmp_path), "test")


def test_files_that_change_while_they_are_read_are_not_kept(tmp_path):
    file, store = tmp_path / "file", Store(tmp_path / "store")
    file.write_bytes(b"one")

    def decode():
        file.write_bytes(b"two")
        return {"pixels": torch.ones(1)}

    for kept in (store, None):
        file.write_bytes(b"one")
        with pytest.raises(UserError, match="The files of mine changed while they were read: load it again"):
            sets._decoded("mine", {"file": file}, decode, kept)
    assert store.entries() == []


def test_a_file_at_rest_is_read_once_and_one_that_was_put_in_its_place_again(tmp_path, monkeypatch):
    reads, real = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: reads.append(1) or real(*given))
    monkeypatch.setattr(content, "SETTLED", -1.0)
    file, other = tmp_path / "file", tmp_path / "other"
    for place, bytes_ in ((file, b"one"), (other, b"two")):
        place.write_bytes(bytes_)
        os.utime(place, ns=(0, 10**18))
    first = [content.sha256(file) for _ in range(3)]
    assert set(first) == {hashlib.sha256(b"one").hexdigest()} and len(reads) == 1
    other.replace(file)
    assert content.sha256(file) == hashlib.sha256(b"two").hexdigest() and len(reads) == 2


def test_a_file_that_changed_a_moment_ago_is_read_each_time(tmp_path):
    file = tmp_path / "file"
    for bytes_ in (b"one", b"two") * 20:
        file.write_bytes(bytes_)
        os.utime(file, ns=(0, 10**18))
        assert content.sha256(file) == hashlib.sha256(bytes_).hexdigest()


def test_every_file_of_a_named_set_has_a_digest():
    files = {file for one in known.KNOWN.values() for file in one.files}
    assert files == set(known.SHA256) and len(set(known.SHA256.values())) == len(files) == 15
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known.SHA256.values())
