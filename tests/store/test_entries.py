import hashlib
import io
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from causalnb import UserError, cli, console, store
from causalnb.store import Damaged, Store, headers, key_digest, sealed

KEY = {"what": "numbers", "seed": 0, "of": ["digits", 0.3]}
VALUE = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([True, False]),
    "n": torch.tensor(7),
    "none": torch.zeros(0, 2),
}


OTHER = {"what": "other numbers", "seed": 1}
HEADER = {
    "digest": key_digest(KEY),
    "key": KEY,
    "seconds": 1.0,
    "device": "cpu",
    "versions": {"torch": "2.1"},
}
few = settings(max_examples=15, deadline=None, derandomize=True, database=None)


def make():
    return VALUE


def never():
    raise AssertionError("made again")


def entry_of(kept):
    (path,) = kept.root.glob("*.safetensors")
    return path


def fresh_store():
    """An empty store for each generated example."""
    return Store(Path(tempfile.mkdtemp(dir=Path(os.environ["CAUSALNB_STORE"]).parent)))


def prune(kept, text):
    found = kept.matching(text)
    kept.remove(found)
    return found


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
    assert kept.verify() == [(path, "is damaged")]
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
    with pytest.raises(UserError, match="^An empty text names no sound entries"):
        kept.export("", tmp_path)
    with pytest.raises(UserError, match=r"nothing.safetensors cannot be read \(No such file or directory\)"):
        kept.import_(tmp_path / "nothing.safetensors")
    file = kept.export(key_digest(KEY), tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        UserError, match="is not a sound entry of a store: give a file that `causalnb store --export` wrote.$"
    ):
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
        prune(kept, path.stem[-16:]) == [] and prune(kept, "safetensors") == []
    )  # the name is not the digest, nor the suffix
    assert sorted(path.name[:12] for path in prune(kept, "weights of")) == ["weights-of-a", "weights-of-b"]
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
    assert len(prune(kept, "numbers")) == 2
    assert not aside.exists() and kept.entries() == []


def test_prune_leaves_unfinished_work_of_today(kept):
    folder = kept.folder(KEY)
    assert prune(kept, "numbers") == []
    old = time.time() - 2 * 86400
    os.utime(folder, (old, old))
    assert prune(kept, "numbers") == [folder] and not folder.exists()


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


def test_a_store_below_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    below = Store(tmp_path / "file" / "store")
    for work in (lambda: below.get_or_make(KEY, never), lambda: below.folder(KEY), below.entries):
        with pytest.raises(UserError, match=r"file/store.* cannot be .* \(Not a directory\): "):
            work()


# Only its own key, only what was written


@pytest.mark.parametrize("moved", [False, True])
def test_an_entry_in_anothers_place_is_not_believed(kept, capsys, moved):
    first, second = kept._path(KEY), kept._path(OTHER)
    kept.get_or_make(KEY, make)
    kept.get_or_make(OTHER, lambda: {"a": torch.ones(1)})
    content = first.read_bytes()
    first.replace(second) if moved else second.write_bytes(content)
    why = f"holds numbers, whose place is {first.name}"
    assert kept.verify() == [(second, why)]
    again = Store(kept.root)
    assert equal(again.get_or_make(OTHER, lambda: {"a": torch.ones(1)}), {"a": torch.ones(1)})
    assert again.uses[0].made and again.verify() == []
    aside = second.with_name(f"{second.name}.damaged")
    assert capsys.readouterr().err == f"{second} {why}: it is set aside as {aside.name} and made again.\n"
    assert aside.read_bytes() == content


def test_a_header_that_names_another_key_than_its_digest_is_not_believed(kept, tmp_path):
    lie = HEADER | {"key": OTHER}
    store.write(kept._path(KEY), {"a": torch.zeros(1)}, lie)
    store.write(tmp_path / "layer" / "lie.safetensors", {"a": torch.zeros(1)}, lie)
    layered = Store(kept.root, layers=(tmp_path / "layer",))
    assert {fault for _, fault in layered.verify()} == {"is no entry of a store"} and layered.entries() == []
    assert equal(layered.get_or_make(KEY, make), VALUE) and layered.uses[0].made


wrong = {
    "digest": st.sampled_from([None, 7, [], "", "é", key_digest(OTHER), key_digest(KEY).upper()]),
    "key": st.sampled_from([None, [], "numbers", {}, {"what": 7}, {**KEY, "what": ["numbers"]}, OTHER]),
    "seconds": st.sampled_from([None, "1", True, -1.0, float("nan"), float("inf"), [1.0], 10**400]),
    "device": st.sampled_from([None, 0, "", "cpu\n", "\x1b[2J", "<script>", "c" * 101, ["cpu"]]),
    "versions": st.sampled_from(
        [None, [], "2.1", {"torch": 2}, {"torch": None}, {"torch": "\x1b[2J"}, {"": "1"}]
    ),
}


@few
@given(
    st.sampled_from(sorted(wrong)).flatmap(lambda name: st.tuples(st.just(name), wrong[name] | st.just(...)))
)
def test_a_sealed_header_with_a_wrong_field_is_neither_believed_nor_taken_in(changed):
    (name, value), kept = changed, fresh_store()
    header = {k: v for k, v in {**HEADER, name: value}.items() if v is not ...}
    file = kept.root / "layer" / "foreign.safetensors"
    store.write(file, {"a": torch.zeros(1)}, header)
    store.write(kept._path(KEY), {"a": torch.zeros(1)}, header)
    layered = Store(kept.root, layers=(file.parent,))
    assert layered.entries() == [] and len(layered.verify()) == 2
    with pytest.raises(UserError, match="is not a sound entry of a store"):
        kept.import_(file)
    assert equal(layered.get_or_make(KEY, make), VALUE) and file.exists()


@few
@given(st.recursive(st.none() | st.integers() | st.binary(max_size=3).map(str), st.lists, max_leaves=4))
def test_a_sealed_header_that_is_no_record_is_not_believed(header):
    kept = fresh_store()
    store.write(kept._path(KEY), {"a": torch.zeros(1)}, header)
    assert kept.entries() == [] and kept.verify() == [(kept._path(KEY), "is no entry of a store")]
    assert equal(kept.get_or_make(KEY, make), VALUE)


def test_a_sealed_header_may_say_more_than_is_asked(kept):
    store.write(kept._path(KEY), VALUE, HEADER | {"note": "by hand"})
    assert equal(kept.get_or_make(KEY, never), VALUE) and kept.verify() == []


@few
@given(
    st.sampled_from(["flip", "cut", "insert", "replace"]), st.floats(0, 1), st.binary(min_size=1, max_size=40)
)
def test_whatever_happens_to_a_files_bytes_the_right_value_comes_back(how, where, noise):
    kept = fresh_store()
    kept.get_or_make(KEY, make)
    whole = kept._path(KEY).read_bytes()
    at = min(int(where * len(whole)), len(whole) - 1)
    content = {
        "flip": whole[:at] + bytes([whole[at] ^ (noise[0] or 1)]) + whole[at + 1 :],
        "cut": whole[:at],
        "insert": whole[:at] + noise + whole[at:],
        "replace": noise,
    }[how]
    kept._path(KEY).write_bytes(content)
    assert [fault for _, fault in kept.verify()] == ["is damaged"]
    assert equal(kept.get_or_make(KEY, make), VALUE) and kept.verify() == []


@pytest.mark.parametrize("claim", [None, 0, 1, 10**8, 2**63])
def test_a_whole_seal_around_no_tensors_is_not_believed(kept, claim):
    head = b'{"sha256":"' + 64 * b"0" + b'"}'
    bare = (len(head) if claim is None else claim).to_bytes(8, "little") + head
    content = bare.replace(64 * b"0", hashlib.sha256(bare).hexdigest().encode())
    kept.root.mkdir()
    kept._path(KEY).write_bytes(content)
    with pytest.raises(Damaged):
        store.read(kept._path(KEY))
    assert len(kept.verify()) == 1 and equal(kept.get_or_make(KEY, make), VALUE)


def test_a_device_that_is_none_does_not_cost_a_sound_entry(kept):
    kept.get_or_make(KEY, make)
    with pytest.raises(RuntimeError):
        kept.get_or_make(KEY, never, device="nonsense")
    assert equal(kept.get_or_make(KEY, never), VALUE)


# What cannot be read


def in_the_way(path, kind):
    path.parent.mkdir(exist_ok=True)
    {
        "folder": path.mkdir,
        "link": lambda: path.symlink_to("/gone/away"),
        "ring": lambda: path.symlink_to(path.name),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()


@pytest.mark.parametrize(
    "kind, why",
    [
        ("folder", "(Is a directory): a folder stands where a file should be: move it away."),
        ("link", "(it is a link to /gone/away, which is not there): "),
        ("ring", "(it is a link to numbers-40d6b06b857e8490.safetensors, which is not there): "),
        ("pipe", "(it is no regular file): "),
    ],
)
def test_what_is_no_file_is_said_and_neither_replaced_nor_made_again(kept, tmp_path, kind, why):
    path = kept._path(KEY)
    in_the_way(path, kind)
    before = path.lstat()
    (found,) = kept.verify()
    assert found[0] == path and found[1].startswith(f"cannot be read {why}")
    for work in (lambda: kept.get_or_make(KEY, never), lambda: kept.import_(path)):
        with pytest.raises(UserError) as caught:
            work()
        assert str(caught.value).startswith(f"{path} cannot be read {why}")
    assert path.lstat() == before and kept.entries() == []


def test_an_entry_may_be_a_link_to_another_disk(kept, tmp_path):
    kept.get_or_make(KEY, make)
    elsewhere = kept._path(KEY).replace(tmp_path / "elsewhere")
    kept._path(KEY).symlink_to(elsewhere)
    assert equal(kept.get_or_make(KEY, never), VALUE) and kept.verify() == []
    elsewhere.unlink()
    with pytest.raises(UserError, match="it is a link to .*elsewhere, which is not there"):
        kept.get_or_make(KEY, never)


def test_without_rights_an_entry_that_cannot_be_read_is_said_and_not_made_again(anyones, without_rights):
    kept = Store(anyones)
    kept.get_or_make(KEY, make)
    path = kept._path(KEY)
    content = path.read_bytes()
    path.chmod(0)
    said = (
        f"{path} cannot be read (Permission denied): choose a place that you may use, or change its rights."
    )
    assert without_rights(lambda: kept.get_or_make(KEY, never)) == f"refused: {said}"
    assert without_rights(kept.verify) == [(path, said.removeprefix(f"{path} "))]
    layered = Store(anyones / "own", layers=(anyones,))
    assert without_rights(lambda: layered.get_or_make(KEY, never)) == f"refused: {said}"
    path.chmod(0o600)
    assert path.read_bytes() == content


def test_without_rights_a_store_is_read_and_what_would_change_it_is_refused_before_the_work(
    anyones, without_rights
):
    kept = Store(anyones / "store")
    kept.get_or_make(KEY, make)
    kept._path(KEY).chmod(0o644)
    (kept.root / "locks").chmod(0o777)
    for lock in (kept.root / "locks").iterdir():
        lock.chmod(0o666)
    kept.root.chmod(0o555)
    assert without_rights(lambda: equal(kept.get_or_make(KEY, never), VALUE))
    assert without_rights(kept.verify) == []
    why = "cannot be {} (Permission denied): "
    assert why.format("written") in without_rights(lambda: kept.get_or_make(OTHER, never))
    assert why.format("written") in without_rights(lambda: kept.folder(KEY))
    assert why.format("removed") in without_rights(lambda: kept.remove(kept.matching("numbers")))
    assert equal(kept.get_or_make(KEY, never), VALUE)
    kept.root.chmod(0)
    assert why.format("read") in without_rights(kept.entries)


# Nothing that is there is lost


def test_export_writes_over_nothing_but_the_same_entry(kept, tmp_path):
    kept.get_or_make(KEY, make)
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"weights of another's")
    with pytest.raises(
        UserError, match="mine.safetensors is there already and holds something else: move it"
    ):
        kept.export(key_digest(KEY), mine)
    assert mine.read_bytes() == b"weights of another's"
    assert kept.export(key_digest(KEY), tmp_path) == kept.export(key_digest(KEY), tmp_path)


def test_import_replaces_a_damaged_entry_and_no_sound_one(kept, tmp_path):
    kept.get_or_make(KEY, make)
    other = Store(tmp_path / "other")
    other.get_or_make(KEY, lambda: {"a": torch.ones(1)})
    with pytest.raises(UserError, match="is there already and holds something else"):
        other.import_(kept._path(KEY))
    assert equal(other.get_or_make(KEY, never), {"a": torch.ones(1)})
    other._path(KEY).write_bytes(b"damaged")
    other.import_(kept._path(KEY))
    other.import_(kept._path(KEY))
    assert equal(other.get_or_make(KEY, never), VALUE)


def test_what_a_killed_writer_left_goes_when_the_entry_is_made(kept):
    kept.root.mkdir()
    half = kept.root / f".{kept._path(KEY).name}.4711.part"
    half.write_bytes(b"half")
    kept.get_or_make(OTHER, make)
    assert half.exists()
    kept.get_or_make(KEY, make)
    assert not half.exists()


@pytest.mark.parametrize("text", ["", " ", "-", "*", "/", "?", ".", "--", "\x1b", "[!"])
def test_a_text_that_chooses_nothing_in_particular_prunes_nothing(kept, text):
    kept.get_or_make(KEY, make)
    with pytest.raises(
        UserError, match="chooses no entries: give letters or digits of what `causalnb store`"
    ):
        kept.matching(text)


@few
@given(
    st.lists(st.text("aé1*日/ -.[", min_size=1, max_size=6), min_size=1, max_size=4, unique=True),
    st.text("aé1*日/ -.[", max_size=2),
)
@example(["weights", "été", "東京 日本"], "é")
@example(["weights", "été", "東京 日本"], "日本")
def test_prune_takes_the_entries_that_have_exactly_this_text_and_no_others(whats, text):
    kept = fresh_store()
    for what in whats:
        kept.get_or_make({"what": what}, make)
    if any(letter.isalnum() for letter in text):
        assert len(prune(kept, text)) == sum(text in what for what in whats)
        left = [what for what in whats if text not in what]
    else:
        with pytest.raises(UserError, match="chooses no entries"):
            prune(kept, text)
        left = whats
    assert sorted(entry.what for entry in kept.entries()) == sorted(left)


def test_prune_leaves_folders_that_are_not_the_stores(kept):
    folder = kept.root / f"numbers-{16 * '0'}.safetensors"
    folder.mkdir(parents=True)
    assert kept.matching("numbers") == []


# Speed


def test_a_hit_opens_its_own_file_only_and_a_layers_headers_are_read_once(kept, tmp_path, monkeypatch):
    layer = Store(tmp_path / "layer")
    for number in range(3):
        layer.get_or_make({"what": "weights", "number": number}, make)
        kept.get_or_make({"what": "own", "number": number}, make)
    opened, read_header = [], sealed.read_header
    monkeypatch.setattr(headers, "read_header", lambda path: opened.append(path) or read_header(path))
    layered = Store(kept.root, layers=(layer.root,))
    layered.get_or_make({"what": "own", "number": 1}, never)
    assert opened == []
    for number in (0, 2, 1):
        Store(kept.root, layers=(layer.root,)).get_or_make({"what": "weights", "number": number}, never)
    assert sorted(opened) == sorted(layer.root.glob("*.safetensors"))


def test_a_file_of_a_layer_that_changed_is_read_again(kept, tmp_path):
    file = tmp_path / "layer" / "weights.safetensors"
    store.write(file, VALUE, HEADER)
    layered = Store(kept.root, layers=(file.parent,))
    assert equal(layered.get_or_make(KEY, never), VALUE)
    store.write(file, {"a": torch.ones(9)}, HEADER | {"digest": key_digest(OTHER), "key": OTHER})
    os.utime(file, ns=(1, 1))
    assert equal(layered.get_or_make(OTHER, never), {"a": torch.ones(9)})


# The command


@pytest.fixture
def command(kept, monkeypatch, capsys):
    """`causalnb store ...` with an answer on its stdin: exit code, stdout, stderr."""
    monkeypatch.setenv("CAUSALNB_STORE", str(kept.root))

    def call(*arguments, answer=""):
        monkeypatch.setattr(sys, "argv", ["causalnb", "store", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as end:
            cli.main()
        shown = capsys.readouterr()
        return end.value.code, shown.out, shown.err

    return call


def test_prune_lists_and_asks_before_it_removes(kept, command):
    kept.get_or_make(KEY, make)
    kept.get_or_make({"what": "images"}, make)
    name = kept._path(KEY).name
    code, out, err = command("--prune", "numbers")
    assert code == 1 and out.startswith(f"to be removed: {name}\n") and "images" not in out
    assert err == "Nothing was removed: answer y, or add --yes to the command.\n"
    assert "0 removed" in command("--prune", "numbers", answer="n\n")[1] and len(kept.entries()) == 2
    assert "1 removed" in command("--prune", "numbers", answer="y\n")[1]
    assert [entry.what for entry in kept.entries()] == ["images"]
    code, out, _ = command("--prune", "images", "--yes")
    assert code == 0 and "to be removed: images-" in out and kept.entries() == []


@pytest.mark.parametrize("text", ["é", "*", "/", "日本", " ", ""])
def test_no_text_prunes_what_it_does_not_stand_in(kept, command, text):
    kept.get_or_make(KEY, make)
    code, out, err = command("--prune", text, "--yes")
    assert len(kept.entries()) == 1
    assert (code == 1 and "chooses no entries" in err) or (code == 0 and out.startswith("0 removed\n"))


def test_nothing_in_a_store_steers_the_terminal(kept, command):
    kept.get_or_make({"what": "\x1b[2J\x1b]0;owned\x07" + "x" * 1000}, make)
    (kept.root / "\x1b[31m.safetensors").write_bytes(b"")
    code, out, err = command("--verify")
    assert (
        code == 0 and "\x1b" not in out + err and "\x07" not in out and max(map(len, out.split("\n"))) < 300
    )
    assert r"\x1b[2J\x1b]0;owned\x07xxx" in out and r"\x1b[31m.safetensors is damaged" in out
    assert "1 more cannot be listed: `causalnb store --verify` says why." in out


def test_the_examples_of_the_docstrings_run():
    import doctest

    assert [doctest.testmod(module).failed for module in (headers, console)] == [0, 0]
