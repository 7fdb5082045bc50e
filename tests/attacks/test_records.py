import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalnb import UserError
from causalnb.attacks import records

FACTS = {
    "model": "nets/mine.safetensors",
    "model_digest": "0123456789abcdef",
    "architecture": "resnet20",
    "data": "digits8",
    "data_digest": "fedcba9876543210",
    "norm": "linf",
    "eps": 8 / 255,
    "suite": "short",
    "n": 500,
    "seed": 0,
    "device": "cpu",
}
OURS = {
    "schema_version": 1,
    **FACTS,
    "panel": [],
    "attacks": [],
    "clean": {},
    "robust": {},
    "verdicts": {"correct": [], "robust": []},
}
OTHER = {
    "model_digest": "another",
    "architecture": "resnet18",
    "mean": [0.5],
    "std": [0.25],
    "data_digest": "another",
    "norm": "l2",
    "eps": 8.000001 / 255,
    "suite": "full",
    "n": 499,
    "seed": 1,
    "device": "cuda",
}
some = settings(max_examples=40, deadline=None, derandomize=True)


def test_a_name_carries_what_was_asked():
    assert records.name(FACTS).rpartition("-")[0] == "mine-digits8-linf-0.03137-short-n500-seed0"
    assert records.name(FACTS) == records.name(
        {**FACTS, "model": "moved/mine.safetensors", "finished": "today", "mean": None}
    )


@pytest.mark.parametrize("key", OTHER)
def test_one_other_thing_asked_is_another_name_and_another_s_record_is_kept(key, tmp_path):
    asked = {**FACTS, key: OTHER[key]}
    assert records.name(asked) != records.name(FACTS)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(OURS))
    with pytest.raises(UserError) as caught:
        records.place(path, asked)
    assert (
        str(caught.value)
        == f"{path} is the record of another attack ({key} differ), and is not overwritten: give another "
        "output."
    )
    assert records.place(path, FACTS) == path


@some
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200),
    st.floats(1e-9, 1e9),
)
def test_any_model_and_data_give_a_name_that_stands_alone_in_its_folder(model, data, eps):
    made = records.name({**FACTS, "model": model, "data": data, "eps": eps})
    assert Path(made).name == made and len(os.fsencode(made)) <= 255 and made.endswith(".json")
    assert not set(made) & set('/\\:*?"<>|\n\0 ') and not made.startswith((".", "-"))


def without(key):
    return {name: value for name, value in OURS.items() if name != key}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
standing = st.one_of(
    st.just(json.dumps(OURS).encode()).map(lambda raw: (raw, True)),
    st.binary(max_size=64).map(lambda raw: (raw, False)),
    json_values.map(lambda value: (json.dumps(value).encode(), False)),
    st.integers(0, len(json.dumps(OURS)) - 1).map(lambda end: (json.dumps(OURS).encode()[:end], False)),
    st.sampled_from(sorted(records.OURS)).map(lambda key: (json.dumps(without(key)).encode(), False)),
    st.sampled_from(sorted(OTHER)).map(lambda key: (json.dumps({**OURS, key: OTHER[key]}).encode(), False)),
    st.just((b"[" * 100_000, False)),
)


@some
@given(standing)
def test_only_the_same_attack_s_record_may_be_replaced(tmp_path_factory, found):
    raw, replaced = found
    path = tmp_path_factory.mktemp("place") / "a.json"
    path.write_bytes(raw)
    if replaced:
        assert records.place(path, FACTS) == path
    else:
        with pytest.raises(UserError, match="is not overwritten: give another output"):
            records.place(path, FACTS)
    assert path.read_bytes() == raw and os.listdir(path.parent) == ["a.json"]


@some
@given(st.sampled_from([".safetensors", ".JSON", ".jsonl", ".md", ".0", ".json.bak"]), st.booleans())
def test_another_ending_is_refused_whether_or_not_something_stands_there(tmp_path_factory, ending, stands):
    path = tmp_path_factory.mktemp("place") / f"mine{ending}"
    if stands:
        path.write_text(json.dumps(OURS))
    with pytest.raises(UserError, match=r"a record is a \.json file, so give such a name, or a folder"):
        records.place(path, FACTS)
    assert path.exists() is stands


def test_a_folder_there_or_not_takes_the_record_under_its_own_name(tmp_path):
    own = records.name(FACTS)
    for folder in ("new", "new/deeper", "results.json"):
        (tmp_path / "results.json").mkdir(exist_ok=True)
        assert records.place(tmp_path / folder, FACTS) == tmp_path / folder / own
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "deeper"]


def test_a_link_into_nowhere_and_a_link_to_weights_are_kept(tmp_path):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"weights")
    for name, target in (("gone.json", tmp_path / "gone"), ("mine.json", weights)):
        link = tmp_path / name
        link.symlink_to(target)
        with pytest.raises(UserError, match=rf"{name} is no record of an attack, and is not overwritten"):
            records.place(link, FACTS)
        assert link.is_symlink() and weights.read_bytes() == b"weights"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="rights are given up in a forked child")
@pytest.mark.parametrize("output", ["", "a.json", "new", "new/a.json"])
def test_a_folder_without_rights_is_one_sentence_before_the_work(output):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others already
        os.chmod(folder, 0o755)
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o555)
        said = without_rights(lambda: records.place(closed / output, FACTS))
        assert os.listdir(closed) == []
    assert said.startswith(f"{closed}") and said.endswith(
        "cannot be written (Permission denied): choose a place that you may use, or change its rights."
    )


def without_rights(act):
    """What a forked child says that acts as nobody: "accepted", or its refusal."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            act()
            said = "accepted"
        except UserError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(read, 10_000).decode()
    os.close(read), os.close(write)
    return said
