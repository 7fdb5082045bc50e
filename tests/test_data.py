import doctest
import gzip
import hashlib
import io
import math
import pickle
import re
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from causalnb import UserError, data, vision
from causalnb.data import images as images_module
from causalnb.data import scenes, sets


class Shelf:
    """A store in memory that counts how often it had to make."""

    def __init__(self):
        self.kept, self.made = {}, 0

    def get_or_make(self, key, make, *, device="cpu"):
        if repr(key) not in self.kept:
            self.kept[repr(key)] = make()
            self.made += 1
        return self.kept[repr(key)]


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_files(seed=0):
    """Name -> bytes of a set of 40 train and 20 test images, every digit equally often; image k is flat, of
    grey k.
    """
    files = {}
    for split, n in (("train", 40), ("t10k", 20)):
        grey = np.arange(n, dtype=np.uint8) + seed
        files[f"{split}-images-idx3-ubyte"] = idx(np.broadcast_to(grey[:, None, None], (n, 28, 28)).copy())
        files[f"{split}-labels-idx1-ubyte"] = idx((np.arange(n) % 10).astype(np.uint8))
    return files


def put(root, known, files):
    """Write the files of mnist, as the published ones."""
    (root / "MNIST" / "raw").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / "MNIST" / "raw" / name).write_bytes(content)
    known({f"MNIST/raw/{name}": content for name, content in files.items()})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALNB_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def known(monkeypatch):
    """A function that makes contents (file below the data root -> bytes) those of the published sets."""

    def know(contents):
        for name, content in contents.items():
            monkeypatch.setitem(sets.SHA256, name, hashlib.sha256(content).hexdigest())

    return know


@pytest.fixture
def mnist(root, known):
    put(root, known, mnist_files())
    return root / "MNIST" / "raw"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def pictures(root, split, classes=("cat", "dog"), size=(12, 8), mode="RGB", n=2):
    for k, name in enumerate(classes):
        (root / split / name).mkdir(parents=True)
        for i in range(n):
            Image.new(mode, size, (40 * k, 10 * i, 7) if mode == "RGB" else 40 * k + i).save(
                root / split / name / f"{i}.png"
            )


# Real sets ------------------------------------------------------------------------------------------------


def test_mnist_comes_as_float_images_in_file_order(mnist):
    test = data.load("mnist", "test")
    assert (
        test.images.shape == (20, 1, 28, 28)
        and test.images.dtype == torch.float32
        and test.labels.dtype == torch.int64
    )
    assert torch.allclose(test.images[:, 0, 5, 5], torch.arange(20) / 255)
    assert test.labels.tolist() == [*range(10), *range(10)] and len(test.classes) == 10
    assert len(data.load("mnist", "train")) == 40


def test_mnist37_keeps_the_threes_and_sevens_as_classes_0_and_1(mnist):
    pair = data.load("mnist37", "test")
    assert pair.labels.tolist() == [0, 1, 0, 1] and pair.classes == ("3", "7")
    assert torch.allclose(pair.images[:, 0, 0, 0] * 255, torch.tensor([3.0, 7.0, 13.0, 17.0]))


def test_mnist14_has_the_means_of_2_x_2_pixels(mnist):
    whole, pooled = data.load("mnist", "test"), data.load("mnist14", "test")
    assert pooled.images.shape == (20, 1, 14, 14) and torch.equal(pooled.labels, whole.labels)
    means = whole.images.reshape(20, 1, 14, 2, 14, 2).mean((3, 5))
    assert torch.allclose(pooled.images, means) and pooled.digest != whole.digest


def test_cifar10_comes_channels_first(root, known):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.arange(3 * 1024, dtype=np.uint32).astype(np.uint8)[None].repeat(2, 0)
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [8, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with pytest.raises(
        UserError,
        match=r"data_batch_1 is not cifar10's file of that name \(its SHA-256 begins with [0-9a-f]{12}, not with "
        r"54636561a3ce\): it is damaged or of another set; remove it and run `causalnb data cifar10` where",
    ):
        data.load("cifar10")
    known({f"{folder.name}/{file.name}": file.read_bytes() for file in folder.iterdir()})
    train = data.load("cifar10", "train")
    assert train.images.shape == (10, 3, 32, 32) and train.labels.tolist() == [8, 1] * 5
    assert torch.allclose(train.images[0] * 255, torch.from_numpy(pixels[0].reshape(3, 32, 32)).float())
    pooled = data.load("cifar16", "train")
    assert torch.allclose(pooled.images, train.images.reshape(10, 3, 16, 2, 16, 2).mean((3, 5)))


def test_both_splits_carry_the_digest_of_the_whole_set_and_a_view_has_its_own(mnist):
    digests = {
        (name, split): data.load(name, split).digest
        for name in ("mnist", "mnist37")
        for split in ("train", "test")
    }
    assert (
        digests["mnist", "train"]
        == digests["mnist", "test"]
        != digests["mnist37", "test"]
        == digests["mnist37", "train"]
    )
    assert re.fullmatch("[0-9a-f]{16}", digests["mnist", "train"])


@pytest.mark.parametrize("change", ["pixel", "label"])
def test_the_digest_changes_with_one_pixel_or_label_of_the_other_split(root, mnist, known, change):
    before = data.load("mnist", "test").digest
    name = "train-images-idx3-ubyte" if change == "pixel" else "train-labels-idx1-ubyte"
    put(root, known, {name: (mnist / name).read_bytes()[:-1] + b"\1"})
    assert data.load("mnist", "test").digest != before


def test_pixels_are_decoded_once_and_a_warm_store_needs_no_torchvision(mnist, monkeypatch):
    shelf = Shelf()
    cold = data.load("mnist", "test", store=shelf)
    monkeypatch.setattr(vision, "import_torchvision", lambda: pytest.fail("torchvision was imported"))
    warm = data.load("mnist", "test", store=shelf)
    data.load("mnist37", "train", store=shelf)
    assert shelf.made == 1 and torch.equal(cold.images, warm.images) and cold.digest == warm.digest


def test_changed_files_are_decoded_again(root, mnist, known):
    shelf = Shelf()
    before = data.load("mnist", "test", store=shelf)
    put(root, known, mnist_files(seed=9))
    after = data.load("mnist", "test", store=shelf)
    assert shelf.made == 2 and before.digest != after.digest and after.images[0, 0, 0, 0] == 9 / 255


def test_a_set_that_is_absent_and_offline_is_one_sentence(root, no_network):
    for ask in (data.require, data.load):
        with pytest.raises(UserError) as refused:
            ask("mnist")
        assert str(refused.value) == (
            f"mnist is not at hand: looked for MNIST/raw/train-images-idx3-ubyte under {root}, and the "
            "download failed (<urlopen error no route to host>). "
            "Put its 4 files there, or run `causalnb data mnist` where there is a network."
        )


def test_a_set_that_is_absent_is_downloaded_with_its_checksum(root, monkeypatch, known):
    packed = {f"{name}.gz": gzip.compress(content) for name, content in mnist_files().items()}

    class Answer(io.BytesIO):
        def __init__(self, url):
            super().__init__(packed[url.rpartition("/")[2]])
            self.url, self.length = url, len(self.getvalue())

    monkeypatch.setattr(urllib.request, "urlopen", lambda request, **_: Answer(request.full_url))
    loader = vision.import_torchvision().datasets.MNIST
    with pytest.raises(UserError, match="corrupted"):
        data.require("mnist")
    monkeypatch.setattr(
        loader, "resources", [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()]
    )
    with pytest.raises(UserError, match="train-images-idx3-ubyte is not mnist's file of that name"):
        data.require("mnist")
    known({f"MNIST/raw/{name}": content for name, content in mnist_files().items()})
    assert len(data.load("mnist", "test")) == 20
    assert {row["name"] for row in data.describe() if row["megabytes"] and row["present"]} == {
        "mnist",
        "mnist14",
        "mnist37",
    }


def test_damaged_files_are_the_users_to_mend(mnist):
    file = mnist / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"{file} is not mnist's file of that name .*damaged"):
        data.load("mnist", "test")


def test_an_unknown_name_is_met_with_the_nearest_and_all_names(tmp_path):
    with pytest.raises(
        UserError,
        match=r"mnits is neither a data set nor a folder \(did you mean mnist\?\): give one of digits, .*, "
        r"or the path",
    ):
        data.require("mnits")
    with pytest.raises(UserError, match="neither a data set nor a folder"):
        data.require(str(tmp_path / "nowhere"))


def test_describe_tells_what_is_there(root):
    rows = {row["name"]: row for row in data.describe()}
    assert tuple(rows) == data.NAMES
    assert [name for name, row in rows.items() if row["present"]] == [
        "digits",
        "digits8",
        "digits37",
        "shapes",
    ]
    assert all(row["megabytes"] > 0 for row in rows.values() if not row["present"])


def test_importing_the_package_imports_neither_torchvision_nor_sklearn():
    code = (
        "import sys, causalnb.data, causalnb.models; print({'torchvision', 'sklearn', 'PIL'} & "
        "set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


# Embedded sets --------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_divided_without_loss_and_by_class():
    from sklearn.datasets import load_digits

    train, test, whole = data.load("digits8", "train"), data.load("digits8", "test"), load_digits()
    ours = torch.cat([train.images, test.images])[:, 0] * 16
    assert Counter(i.numpy().tobytes() for i in ours) == Counter(
        i.astype("f4").tobytes() for i in whole.images
    )
    assert train.images.max() == 1
    for k, n in enumerate(np.bincount(whole.target)):
        assert int((test.labels == k).sum()) == n // 4
    assert (len(train), len(test)) == (1352, 445)


def test_digits_are_enlarged_bilinearly_with_a_digest_of_their_own():
    small, large = data.load("digits8", "test"), data.load("digits", "test")
    assert large.images.shape == (445, 1, 28, 28) and small.digest != large.digest
    assert torch.allclose(
        large.images[:, 0, 0, 0], small.images[:, 0, 0, 0]
    )  # the corner lies outside the outermost centres
    y = (13 + 0.5) * 8 / 28 - 0.5
    low, share = math.floor(y), y - math.floor(y)
    rows = small.images[:, 0, low] * (1 - share) + small.images[:, 0, low + 1] * share
    assert torch.allclose(
        large.images[:, 0, 13, 13], rows[:, low] * (1 - share) + rows[:, low + 1] * share, atol=1e-6
    )


# Folders of images ----------------------------------------------------------------------------------------


def test_a_folder_is_scaled_and_cropped_to_the_shorter_side_of_its_first_image(tmp_path):
    pictures(tmp_path, "train", size=(12, 8))
    pictures(tmp_path, "val", size=(40, 60), n=1)
    train, test = data.load(str(tmp_path), "train"), data.load(str(tmp_path), "test")
    assert train.images.shape == (4, 3, 8, 8) and test.images.shape == (2, 3, 8, 8)
    assert (
        train.classes == ("cat", "dog")
        and train.labels.tolist() == [0, 0, 1, 1]
        and train.digest == test.digest
    )
    assert torch.allclose(train.images[3, :, 4, 4] * 255, torch.tensor([40.0, 10.0, 7.0]))
    assert train.name == tmp_path.name


def test_the_crop_is_central(tmp_path):
    picture = np.zeros((8, 24), np.uint8)
    picture[:, 8:16] = 255
    (tmp_path / "test" / "a").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "test" / "a" / "0.png")
    assert (data.load(str(tmp_path), "test").images == 1).all()


def test_a_grey_folder_has_one_channel(tmp_path):
    pictures(tmp_path, "test", mode="L")
    assert data.load(str(tmp_path), "test").images.shape == (4, 1, 8, 8)


def test_a_folder_is_decoded_again_when_an_image_is_added(tmp_path):
    shelf = Shelf()
    pictures(tmp_path, "test")
    before = data.load(str(tmp_path), "test", store=shelf)
    Image.new("RGB", (8, 8)).save(tmp_path / "test" / "cat" / "new.png")
    after = data.load(str(tmp_path), "test", store=shelf)
    assert (len(before), len(after), shelf.made) == (4, 5, 2) and before.digest != after.digest


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    pictures(tmp_path, "train")
    with pytest.raises(
        UserError, match=rf"has no test images: .*train/ and test/ \(or val/\).* put {tmp_path}/test "
    ):
        data.load(str(tmp_path), "test")
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"cat/0.png cannot be read as an image"):
        data.load(str(tmp_path), "train")
    for file in (tmp_path / "train" / "cat").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"A class has no images: .*cat"):
        data.load(str(tmp_path), "train")
    pictures(tmp_path / "other", "train")
    pictures(tmp_path / "other", "test", classes=("cat", "cow"))
    with pytest.raises(UserError, match="hold different classes"):
        data.load(str(tmp_path / "other"), "train")


# The draw
#
#
# -------------------------------------------------------------------------------------------------------------


def labelled(*sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    numbers = torch.arange(len(labels), dtype=torch.float32)
    return data.Images(
        "toy",
        "test",
        numbers.view(-1, 1, 1, 1) / 1000,
        labels,
        tuple(map(str, range(len(sizes)))),
        "d",
        {"number": numbers},
    )


def test_a_draw_is_balanced_without_replacement_and_carries_labels_and_factors():
    drawn = data.draw(labelled(50, 20, 30), 30, seed=0)
    assert drawn.labels.bincount().tolist() == [10, 10, 10] and drawn.images.unique().numel() == 30
    assert torch.equal(drawn.images.flatten(), drawn.factors["number"] / 1000) and drawn.digest == "d"
    assert torch.equal(
        drawn.labels, torch.bucketize(drawn.factors["number"], torch.tensor([50, 70]), right=True)
    )


def test_the_remainder_goes_to_classes_that_the_seed_chooses():
    counts = torch.stack(
        [data.draw(labelled(9, 9, 9), 10, seed=seed).labels.bincount() for seed in range(30)]
    )
    assert sorted(counts[0].tolist()) == [3, 3, 4] and (counts.sum(0) > 90).all()


def test_a_class_that_runs_out_leaves_its_share_to_the_others():
    assert data.draw(labelled(2, 10, 10), 14, seed=0).labels.bincount().tolist() == [2, 6, 6]
    assert data.draw(labelled(2, 3), 5, seed=0).labels.bincount().tolist() == [2, 3]


def test_a_draw_is_shuffled_repeats_with_its_seed_and_leaves_the_global_generator():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, again, other = (data.draw(labelled(40, 40), 40, seed=seed) for seed in (3, 3, 4))
    assert torch.rand(1) == expected
    assert torch.equal(first.images, again.images) and not torch.equal(first.images, other.images)
    assert (first.labels.diff() != 0).sum() > 5 and (
        first.labels.view(-1, 2).sum(1) != 1
    ).any()  # neither by class nor in turn


def test_every_image_is_as_likely_as_the_others_of_its_class():
    hits = torch.zeros(20)
    for seed in range(2000):
        hits[data.draw(labelled(10, 10), 4, seed=seed).factors["number"].long()] += 1
    assert (hits - 400).abs().max() < 5 * math.sqrt(2000 * 0.2 * 0.8)


@pytest.mark.parametrize("n", [0, 6])
def test_a_draw_of_more_than_there_is_names_n_images(n):
    with pytest.raises(
        UserError,
        match=f"n_images = {n} is not possible: toy has 5 test images, so give a number from 1 to 5.",
    ):
        data.draw(labelled(2, 3), n, seed=0)


# Shapes
#
#
# ---------------------------------------------------------------------------------------------------------------

CUES = ("corner", "brightness", "texture")


@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("size", [16, 28])
def test_shapes_are_images_with_all_their_factors(cue, size):
    toy = data.shapes(50, cue=cue, rho=0.5, size=size)
    assert toy.images.shape == (50, 1, size, size) and toy.images.dtype == torch.float32
    assert toy.images.min() >= 0 and toy.images.max() <= 1
    assert torch.equal(toy.labels, toy.factors["content"]) and toy.labels.dtype == torch.int64
    assert torch.equal(data.render(toy.factors), toy.images)
    assert all(len(values) == 50 for values in toy.factors.values())


@pytest.mark.parametrize("cue", ["corner", "texture"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_the_cue_is_the_content_with_probability_rho_and_else_one_of_four(cue, rho):
    toy = data.shapes(8000, cue=cue, rho=rho, size=16)
    match, expected = (toy.factors[cue] == toy.labels).float().mean(), rho + (1 - rho) / 4
    assert abs(match - expected) <= 4 * math.sqrt(expected * (1 - expected) / 8000)
    assert (toy.factors[cue].bincount() / 8000 - 0.25).abs().max() < 0.025


def test_brightness_follows_the_content_with_probability_rho():
    toy = data.shapes(4000, cue="brightness", rho=0.7)
    follows = toy.factors["intensity"] == data.brightness(toy.labels).float()
    assert abs(follows.float().mean() - 0.7) < 4 * math.sqrt(0.21 / 4000)
    assert data.brightness(torch.tensor([0, 3])).tolist() == pytest.approx([0.60625, 0.94375])
    free = toy.factors["intensity"][~follows]
    assert free.min() > 0.55 and free.max() < 1 and abs(free.mean() - 0.775) < 0.02


@pytest.mark.parametrize("content", range(4))
def test_every_object_has_the_area_of_the_disc(content):
    toy = data.do(data.shapes(40, cue="brightness", size=64), content=content, slope=0.0, intensity=1.0)
    areas = toy.images.sum((1, 2, 3)) / (math.pi * toy.factors["half_size"] ** 2)
    assert (areas - 1).abs().max() < 0.02


def test_the_object_sits_at_its_centre_and_inside_the_image():
    toy = data.do(data.shapes(300, cue="brightness"), slope=0.0)
    rows = torch.arange(28.0)
    symmetric = toy.labels != 3
    weights = toy.images[:, 0] / toy.images.sum((1, 2, 3))[:, None, None]
    assert torch.allclose((weights.sum(2) @ rows)[symmetric], toy.factors["centre_y"][symmetric], atol=0.1)
    assert torch.allclose(weights.sum(1) @ rows, toy.factors["centre_x"], atol=0.1)
    border = torch.cat([toy.images[:, 0, [0, -1]].flatten(), toy.images[:, 0, :, [0, -1]].flatten()])
    assert border.max() < 0.6


def test_the_corner_is_a_patch_of_4_by_4_pixels_of_grey_8():
    toy = data.do(data.shapes(100, rho=0.0), noise=0.0)
    masks = data.corners(28)
    assert masks.sum((1, 2)).tolist() == [16] * 4
    assert masks[1, :4, 24:].all() and masks[2, 24:, :4].all()
    for k in range(4):
        grey = toy.images[:, 0, masks[k]]
        assert torch.equal((grey == 0.8).all(1), toy.factors["corner"] == k)


def test_do_of_the_cue_changes_the_cue_alone():
    toy = data.shapes(20, rho=1.0)
    moved = data.do(toy, corner=(toy.labels + 1) % 4)
    changed = (moved.images != toy.images)[:, 0]
    assert torch.equal(changed.any(0), data.corners(28).any(0))
    assert torch.equal(moved.labels, toy.labels) and moved.digest != toy.digest
    assert not data.do(toy, strength=0.0).images[:, 0, data.corners(28).any(0)].gt(0.2).any()


def test_do_of_the_content_changes_the_label_and_keeps_the_place():
    toy = data.shapes(20, rho=1.0)
    other = data.do(toy, content=(toy.labels + 1) % 4)
    assert torch.equal(other.labels, (toy.labels + 1) % 4)
    assert torch.equal(other.factors["corner"], toy.factors["corner"]) and torch.equal(
        other.factors["noise"], toy.factors["noise"]
    )


def test_do_refuses_a_factor_that_is_not_there():
    with pytest.raises(ValueError, match="no factor texture: these images have content, centre_y"):
        data.do(data.shapes(3), texture=1)


def test_textures_have_a_period_of_four_pixels_and_no_mean_and_differ():
    toy = data.do(data.shapes(4, cue="texture", size=16), texture=torch.arange(4), intensity=0.35, noise=0.0)
    waves = ((toy.images[:, 0] - 0.35) / 0.15).round()
    assert (
        waves.abs().eq(1).all()
        and torch.equal(waves.roll(4, 1), waves)
        and torch.equal(waves.roll(4, 2), waves)
    )
    alike = waves.flatten(1) @ waves.flatten(1).T / 256
    assert torch.equal(waves.sum((1, 2)), torch.zeros(4)) and torch.equal(alike.diag(), torch.ones(4))
    assert (
        alike - torch.eye(4)
    ).abs().max() == 0.5  # a checkerboard and diagonals of one period share three pixels in four
    assert torch.equal(waves[0], waves[0][:, :1].expand(16, 16)) and torch.equal(
        waves[1], waves[1][:1].expand(16, 16)
    )


@pytest.mark.parametrize("cue", CUES)
def test_shapes_repeat_with_their_seed_and_rho_moves_the_cue_alone(cue):
    torch.manual_seed(0)
    np.random.seed(0)
    weak, again, strong, other = (
        data.shapes(40, cue=cue, rho=rho, seed=seed) for rho, seed in ((0, 5), (0, 5), (1, 5), (0, 6))
    )
    torch_next, numpy_next = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    assert torch.rand(1) == torch_next and np.random.rand() == numpy_next
    assert torch.equal(weak.images, again.images) and weak.digest == again.digest != other.digest
    moved = {name for name in weak.factors if not torch.equal(weak.factors[name], strong.factors[name])}
    assert moved == {"intensity" if cue == "brightness" else cue}


def test_impossible_shapes_are_refused():
    with pytest.raises(
        ValueError, match="rho = 1.5: a cue is one of corner, brightness, texture, rho a probability"
    ):
        data.shapes(3, rho=1.5)
    with pytest.raises(ValueError, match="cue = 'colour'"):
        data.shapes(3, cue="colour")


def test_loaded_shapes_are_two_parts_of_one_set():
    train, test = data.load("shapes", "train"), data.load("shapes", "test")
    assert (
        (len(train), len(test)) == (4000, 1000)
        and train.digest == test.digest
        and (train.split, test.split) == ("train", "test")
    )
    assert not torch.equal(train.factors["centre_x"][:1000], test.factors["centre_x"])


# The record -----------------------------------------------------------------------------------------------


def test_a_fingerprint_sees_names_types_shapes_and_values():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    variants = [
        {"a": base["a"], "c": base["b"]},
        base | {"a": torch.zeros(2, 3).int()},
        base | {"a": torch.zeros(3, 2)},
        base | {"b": torch.zeros(1)},
    ]
    assert len({images_module.fingerprint(one) for one in (base, *variants)}) == 5
    assert images_module.fingerprint(dict(reversed(base.items()))) == images_module.fingerprint(base)


def test_images_print_without_their_pixels():
    assert (
        repr(replace(labelled(1), name="x")) == "Images(name='x', split='test', classes=('0',), digest='d')"
    )


@pytest.mark.parametrize("module", [images_module, scenes, sets])
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0
