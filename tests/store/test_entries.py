import hashlib
import json
import os
import time
from dataclasses import replace

import pytest
import torch

from causalnb import UserError, store
from causalnb.store import Damaged, Store, key_digest

KEY = {"what": "numbers", "seed": 0, "of": ["digits", 0.3]}
VALUE = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([True, False]),
    "n": torch.tensor(7),
    "none": torch.zeros(0, 2),
}


@pytest.fixture
def kept(tmp_path):
    return Store(tmp_path / "store")


def make():
    return VALUE


def never():
    raise AssertionError("made again")


def entry_of(kept):
    (path,) = kept.root.glob("*.safetensors")
    return path


def equal(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a
    )


def test_what_was_made_once_is_never_made_again(kept):
    assert equal(kept.get_or_make(KEY, make), VALUE)
    assert equal(kept.get_or_make(KEY, never), VALUE)
    assert equal(Store(kept.root).get_or_make(dict(reversed(KEY.items())), never), VALUE)


def test_the_digest_is_that_of_the_canonical_json():
    assert key_digest({"what": "x", "a": (1, 2.5)}) == hashlib.sha256(b'{"a":[1,2.5],"what":"x"}').hexdigest()
    assert key_digest({"what": "x", "a": 1}) != key_digest({"what": "x", "a": 2})
    with pytest.raises(ValueError, match='"what"'):
        key_digest({"a": 1})
    with pytest.raises(TypeError):
        key_digest({"what": "x", "a": torch.zeros(1)})


def test_uses_name_each_entry_once_with_who_made_it(kept):
    kept.get_or_make(KEY, make)
    kept.get_or_make(KEY, never)
    kept.get_or_make({"what": "other"}, make)
    assert [(use.what, use.made) for use in kept.uses] == [("numbers", True), ("other", True)]
    again = Store(kept.root)
    again.get_or_make(KEY, never)
    (use,) = again.uses
    assert (use.made, use.digest, use.device, use.seconds) == (
        False,
        key_digest(KEY),
        "cpu",
        kept.uses[0].seconds,
    )
    assert use.versions["torch"] == torch.__version__


def test_views_shared_memory_and_strides_come_back_as_plain_tensors(kept):
    base = torch.arange(12.0).reshape(3, 4)
    value = {"transposed": base.T, "row": base[1], "same": base[1]}
    found = kept.get_or_make({"what": "views"}, lambda: value)
    assert equal(found, value) and all(values.is_contiguous() for values in found.values())


def test_changing_what_came_back_does_not_change_what_is_kept(kept):
    kept.get_or_make(KEY, make)["a"].zero_()
    assert equal(kept.get_or_make(KEY, never), VALUE)


def test_an_entry_lists_its_key_size_and_making(kept):
    kept.get_or_make(KEY, make)
    (entry,) = kept.entries()
    assert (entry.digest, entry.what, entry.key, entry.device) == (key_digest(KEY), "numbers", KEY, "cpu")
    assert (
        entry.bytes == entry.path.stat().st_size
        and entry.seconds >= 0
        and entry.versions["torch"] == torch.__version__
    )


def test_an_exception_of_the_maker_leaves_nothing(kept):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kept.get_or_make(KEY, fail)
    assert kept.entries() == [] and equal(kept.get_or_make(KEY, make), VALUE)


@pytest.mark.parametrize("place", ["length", "seal", "header", "tensors", "cut", "empty"])
def test_a_damaged_entry_is_set_aside_with_a_message_and_made_again(kept, capsys, place):
    kept.get_or_make(KEY, make)
    path = entry_of(kept)
    content = bytearray(path.read_bytes())
    at = {
        "length": 0,
        "seal": content.find(b'"sha256":"') + 12,
        "header": content.find(b"numbers"),
        "tensors": len(content) - 3,
    }.get(place)
    if at is not None:
        content[at] ^= 1
    path.write_bytes({"cut": content[:-5], "empty": b""}.get(place, content))
    with pytest.raises(Damaged):
        store.read(path)
    assert kept.verify() == [path]
    again = Store(kept.root)
    assert equal(again.get_or_make(KEY, make), VALUE) and again.uses[0].made
    assert "is damaged: it is set aside as " in capsys.readouterr().err
    assert path.with_name(path.name + ".damaged").read_bytes() != path.read_bytes() and again.verify() == []


def test_a_flipped_bit_is_seen_wherever_it_is(kept):
    kept.get_or_make({"what": "one"}, lambda: {"x": torch.ones(1)})
    path = entry_of(kept)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert not store.sound(path), at


def test_a_pickle_in_the_place_of_an_entry_is_not_opened(kept, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    kept.get_or_make(KEY, make)
    torch.save(Bomb(), entry_of(kept))
    assert equal(kept.get_or_make(KEY, make), VALUE) and not (tmp_path / "opened").exists()


def test_a_read_only_layer_is_found_under_any_file_name_and_never_written(kept, tmp_path):
    kept.get_or_make(KEY, make)
    layer = tmp_path / "weights"
    kept.export(key_digest(KEY)[:8], layer / "lenet.safetensors")
    fresh = Store(tmp_path / "fresh", layers=(layer,))
    assert equal(fresh.get_or_make(KEY, never), VALUE)
    assert [entry.path for entry in fresh.entries()] == [layer / "lenet.safetensors"] and not fresh.uses[
        0
    ].made
    assert [file.name for file in layer.iterdir()] == ["lenet.safetensors"]


def test_a_damaged_file_of_a_layer_stays_where_it_is_and_is_said(kept, tmp_path, capsys):
    kept.get_or_make(KEY, make)
    file = kept.export(key_digest(KEY), tmp_path / "weights")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    fresh = Store(tmp_path / "fresh", layers=(tmp_path / "weights",))
    assert equal(fresh.get_or_make(KEY, make), VALUE) and fresh.uses[0].made and file.exists()
    assert f"{file} does not match its checksum: it is not used." in capsys.readouterr().err


def test_an_exported_entry_comes_back_on_another_machine(kept, tmp_path):
    kept.get_or_make(KEY, make)
    file = kept.export(key_digest(KEY)[:10], tmp_path / "out")
    other = Store(tmp_path / "other")
    other.import_(file)
    assert equal(other.get_or_make(KEY, never), VALUE)
    (here,), (there,) = kept.entries(), other.entries()
    assert replace(there, path=here.path) == here


def test_export_and_import_refuse_in_a_sentence(kept, tmp_path):
    kept.get_or_make(KEY, make)
    kept.get_or_make({"what": "other"}, make)
    with pytest.raises(UserError, match="^ffffffffffff names no sound entries of .*: give the digits"):
        kept.export("ffffffffffff", tmp_path)
    with pytest.raises(UserError, match="^ names 2 sound entries"):
        kept.export("", tmp_path)
    with pytest.raises(
        UserError, match="is not a sound entry of a store: give a file that `causalnb store --export` wrote.$"
    ):
        kept.import_(tmp_path / "nothing.safetensors")
    file = kept.export(key_digest(KEY), tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match="is not a sound entry"):
        Store(tmp_path / "other").import_(file)


def test_an_entry_under_a_false_digest_is_not_imported(kept, tmp_path):
    header = {"digest": "0" * 64, "key": KEY, "seconds": 0.0, "device": "cpu", "versions": {}}
    store.write(tmp_path / "false.safetensors", VALUE, header)
    with pytest.raises(UserError, match="is not a sound entry"):
        kept.import_(tmp_path / "false.safetensors")


def test_prune_removes_the_stores_own_entries_of_a_name(kept):
    for what in ("weights of a", "weights of b", "images"):
        kept.get_or_make({"what": what}, make)
    for name in ("weights.safetensors", f"weights-{'0' * 15}g.safetensors"):
        (kept.root / name).write_bytes(b"not the store's")
    path = next(kept.root.glob("images*"))
    assert (
        kept.prune(path.stem[-16:]) == [] and kept.prune(what="safetensors") == []
    )  # the name is not the digest, nor the suffix
    assert sorted(path.name[:12] for path in kept.prune("weights of")) == ["weights-of-a", "weights-of-b"]
    assert [entry.what for entry in kept.entries()] == ["images"] and len(
        list(kept.root.glob("weights*"))
    ) == 2


def test_prune_removes_a_damaged_entry_that_was_set_aside_a_day_ago(kept):
    kept.get_or_make(KEY, make)
    entry_of(kept).write_bytes(b"")
    kept.get_or_make(KEY, make)
    (aside,) = kept.root.glob("*.damaged")
    old = time.time() - 2 * 86400
    os.utime(aside, (old, old))
    assert len(kept.prune("numbers")) == 2
    assert not aside.exists() and kept.entries() == []


def test_prune_leaves_unfinished_work_of_today(kept):
    folder = kept.folder(KEY)
    assert kept.prune(what="numbers") == []
    old = time.time() - 2 * 86400
    os.utime(folder, (old, old))
    assert kept.prune(what="numbers") == [folder] and not folder.exists()


def test_the_folder_of_a_key_lasts_until_its_entry_is_made(kept):
    (kept.folder(KEY) / "checkpoint").write_text("half")

    def make_from_folder():
        assert (kept.folder(KEY) / "checkpoint").read_text() == "half"
        return VALUE

    folder = kept.folder(KEY)
    kept.get_or_make(KEY, make_from_folder)
    assert not folder.exists()


def test_one_entry_may_be_made_from_another(kept):
    found = kept.get_or_make(KEY, lambda: {"twice": 2 * kept.get_or_make({"what": "part"}, make)["a"]})
    assert torch.equal(found["twice"], 2 * VALUE["a"])


def test_the_header_is_readable_by_any_safetensors_reader(kept):
    from safetensors import safe_open

    kept.get_or_make(KEY, make)
    with safe_open(entry_of(kept), framework="numpy") as file:
        assert (
            json.loads(file.metadata()["header"])["key"] == KEY
            and (file.get_tensor("a") == VALUE["a"].numpy()).all()
        )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"):
        Store(tmp_path / "store").get_or_make(KEY, make)


def test_a_store_below_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError,
        match=r"file/store cannot be written \(Not a directory\): free space there, or choose another folder",
    ):
        Store(tmp_path / "file" / "store").get_or_make(KEY, make)


def test_the_examples_of_the_docstrings_run():
    import doctest

    assert doctest.testmod(store).failed == 0
