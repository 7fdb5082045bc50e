"""`memo` keeps what was made with this code and these arguments, and nothing else."""

import json
import random
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from causalnb import UserError, attacks, record
from causalnb.attacks.watch import Criterion
from causalnb.chapters.ace.interventions import Table, interventional_table
from causalnb.models import lenet
from causalnb.store import Named, Store, closure, key_of, memo
from causalnb.store.values import put_together, taken_apart

GRID = torch.linspace(0, 1, 3)
ROWS = torch.rand(3, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def table(store, model=None, rows=ROWS, **asked):
    model = lenet(classes=3, size=12).eval() if model is None else model
    return memo(store, "a table", interventional_table, model, rows, GRID, **asked)


def made(store):
    return [use.made for use in store.uses]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@dataclass(frozen=True)
class Pair:
    first: Tensor
    second: tuple[int, ...]
    more: "dict[str, Tensor] | None" = None


def pair(n: int) -> Pair:
    return Pair(torch.full((2,), float(n)), (n, n + 1), {"a": torch.zeros(1)} if n else None)


def anonymous(n: int) -> "dict[str, Tensor]":
    return {"n": torch.rand(2) * n}


def test_a_value_comes_back_whole_and_is_made_once(store):
    first = table(store)
    again = table(Store(store.root))
    assert isinstance(again, Table) and made(store) == [True]
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(again).values(), strict=True))
    plain = interventional_table(lenet(classes=3, size=12).eval(), ROWS, GRID)
    assert all(torch.equal(a, b) for a, b in zip(vars(plain).values(), vars(again).values(), strict=True))


@pytest.mark.parametrize("changed", [{"rows": ROWS[:2]}, {"method": "forward"}, {"chunk": 2}])
def test_another_argument_is_another_entry(store, changed):
    table(store)
    table(store, **changed)
    assert made(store) == [True, True]


def test_an_argument_given_as_its_default_is_the_same_entry(store):
    table(store)
    table(store, method="auto", chunk=None)
    memo(store, "a table", partial(interventional_table, alphas=GRID), lenet(classes=3, size=12).eval(), ROWS)
    assert made(store) == [True] and len(store.entries()) == 1


def test_a_model_that_changed_what_it_does_is_attacked_anew(store):
    """Weights and prints are equal; only a plain attribute differs."""

    class Rounded(nn.Module):
        def __init__(self, levels):
            super().__init__()
            self.net, self.levels = lenet(classes=3, size=12).eval(), levels

        def forward(self, images):
            return self.net(torch.round(images * self.levels) / self.levels)

    found = []
    for levels in (256, 2):
        model = Rounded(levels).eval()
        asked = {"norm": "linf", "eps": 0.2, "step": 0.1, "steps": 3, "seed": 0}
        labels = model(ROWS).argmax(1)
        kept = memo(store, "pgd", attacks.run, "pgd", model, ROWS, labels, **asked)
        found.append(kept)
        plain = attacks.run("pgd", model, ROWS, labels, **asked)
        assert torch.equal(kept.images, plain.images) and torch.equal(kept.found, plain.found)
    assert made(store) == [True, True]


def equal(first, second):
    """Whether two results are equal, field by field and in their types."""

    def plain(value):
        if isinstance(value, Criterion):
            return plain(value.labels), plain(value.targets)
        if isinstance(value, torch.Tensor):
            return value.dtype, value.shape, value.nan_to_num(-1).tolist()
        return type(value), value

    return all(plain(getattr(first, name)) == plain(getattr(second, name)) for name in vars(first))


@pytest.mark.parametrize(
    "name, asked",
    [
        ("pgd", {"step": 0.02, "steps": 3}),
        ("pgd", {"step": 0.001, "steps": 3, "targets": True}),
        ("ddn", {"norm": "l2", "eps": None, "steps": 3}),
        ("apgd-ce", {"steps": 3, "restarts": 2, "stop": True}),
        ("noise", {"kind": "sign"}),
    ],
)
def test_an_attack_s_result_comes_back_as_it_was(store, name, asked):
    model = lenet(classes=3, size=12).eval()
    labels = model(ROWS).argmax(1)
    asked = {"norm": "linf", "eps": 0.05, "seed": 0} | asked
    if asked.pop("targets", False):
        asked["targets"] = (labels + 1) % 3
    first, again = (memo(store, name, attacks.run, name, model, ROWS, labels, **asked) for _ in range(2))
    plain = replace(attacks.run(name, model, ROWS, labels, **asked), seconds=first.seconds)
    assert made(store) == [True] and equal(first, again) and equal(first, plain)


def test_a_change_of_code_that_the_maker_runs_makes_anew_and_of_other_code_does_not(store, monkeypatch):
    table(store)
    plain = record.code_digest
    for module, expected in (("causalnb.attacks.contract", 1), ("causalnb.models.lenet5", 2)):
        changed = closure.path_of(module)
        monkeypatch.setattr(
            record, "code_digest", lambda path, changed=changed: path == changed or plain(path)
        )
        monkeypatch.setattr(record, "digest", lambda text: plain_digest(str(text)))
        table(store)
        assert len(store.uses) == expected


plain_digest = record.digest


def test_another_version_of_a_library_makes_anew(store, monkeypatch):
    table(store)
    versions = record.versions() | {"torch": "99.1.0"}
    monkeypatch.setattr(record, "versions", lambda: versions)
    table(store)
    versions["torch"] = "99.1.5"
    table(store)
    assert made(store) == [True, True]


def test_functions_of_no_file_are_called_anew_and_that_is_said_and_named_ones_are_kept(store, capsys):
    calls = []
    for _ in range(2):
        memo(store, "a lambda", lambda: calls.append(1))
        memo(store, "pairs", pair, 1)
    assert calls == [1, 1] and store.entries() == []
    assert capsys.readouterr().err.count("pairs is computed anew: ") == 2
    for n in (1, 1, 0, 0):
        assert memo(store, "pairs", Named(pair, "my pairs"), n).second == (n, n + 1)
    assert made(store) == [True, True] and len(store.entries()) == 2


def test_a_named_function_that_changes_is_another(store):
    for factor in (1, 2, 1):

        def make(factor=factor) -> dict[str, float]:
            return {"factor": 1.0 * factor}

        assert memo(store, "factors", Named(make, "mine")) == {"factor": 1.0 * factor}
    assert made(store) == [True, True]


def test_a_hit_and_a_miss_leave_the_same_randomness_behind(store):
    def state():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = state()
    values = [memo(store, "draws", Named(anonymous, "draws"), 3)["n"].tolist() for _ in range(2)]
    assert state() == before and values[0] == values[1] and made(store) == [True]
    torch.manual_seed(99)
    assert memo(Store(store.root / "other"), "draws", Named(anonymous, "draws"), 3)["n"].tolist() == values[0]


def test_an_argument_without_content_is_a_sentence_of_the_user_s(store):
    model = lenet(classes=3, size=12).eval()
    model.source = torch.Generator()
    expected = "a table cannot be kept in the store: model.source is of torch._C.Generator, whose content"
    with pytest.raises(UserError, match=expected):
        table(store, model)
    assert store.entries() == []


def test_a_value_that_cannot_be_kept_is_refused_by_its_place(store):
    def bad() -> dict[str, object]:
        return {"a": {"b": object()}}

    with pytest.raises(ValueError, match=r"a\.b is of object and cannot be kept"):
        memo(store, "bad", Named(bad, "bad"))


def test_without_a_store_nothing_is_kept():
    calls = []
    for _ in range(2):
        memo(None, "calls", lambda: calls.append(1))
    assert calls == [1, 1] and memo(None, "pairs", pair, 2).second == (2, 3)


def test_a_key_is_plain_json_and_names_the_maker(store):
    key = key_of("a table", interventional_table, lenet(classes=3, size=12), ROWS, GRID)
    assert json.loads(json.dumps(key)) == key
    assert key["maker"][0] == "causalnb.chapters.ace.interventions.interventional_table"
    assert key["arguments"]["method"] == "auto" and set(key["versions"]) >= {"python", "torch", "foolbox"}


@pytest.mark.parametrize(
    "value, hint",
    [
        (Pair(torch.zeros(2), (1, 2), {"x": torch.ones(1)}), Pair),
        (Pair(torch.zeros(2), (), None), Pair),
        ({"a": [1, None, "x", float("nan")], "b": {"c": torch.arange(3)}}, dict[str, object]),
        ([Pair(torch.zeros(1), (3,))], list[Pair]),
        ((torch.zeros(1), 2), tuple[Tensor, int]),
        ({"p": (Pair(torch.zeros(1), (3,)),)}, dict[str, tuple[Pair, ...]]),
        (torch.tensor(2.5), Tensor),
        (None, Pair | None),
    ],
)
def test_taken_apart_and_put_together_again(value, hint):
    tree, tensors = taken_apart(value, hint)
    assert all(isinstance(one, Tensor) for one in tensors.values())
    back = put_together(json.loads(json.dumps(tree)), hint, tensors)
    assert repr(back) == repr(value) and type(back) is type(value)


def test_a_class_that_the_maker_does_not_name_is_not_kept():
    with pytest.raises(ValueError, match="is a Pair and cannot be kept: annotate it so"):
        taken_apart({"a": Pair(torch.zeros(1), ())}, dict[str, object])


def test_a_maker_is_given_the_folder_of_its_unfinished_work(store):
    def make(n: int, work: Path | None = None) -> dict[str, str]:
        (work / "half").write_text("done")
        return {"work": str(work)}

    folders = {memo(store, "long", Named(make, "long"), 3)["work"] for _ in range(2)}
    (folder,) = map(Path, folders)
    assert made(store) == [True] and folder.is_relative_to(store.root) and not folder.exists()
