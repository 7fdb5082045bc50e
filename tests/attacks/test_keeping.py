from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from causalnb.attacks import CODE, run
from causalnb.attacks.keeping import identity, joined, kept
from causalnb.models import Normalised
from causalnb.store import Store

PGD = {"norm": "linf", "eps": 0.05, "step": 0.02, "steps": 5, "seed": 0}


def attacked(small, rows=slice(None), **changed):
    return run(
        changed.pop("name", "pgd"), small.model, small.images[rows], small.labels[rows], **PGD | changed
    )


def equal(first, second):
    """Whether two results are equal, field by field and in their types."""

    def plain(value):
        return (
            (value.dtype, value.shape, value.nan_to_num(-1).tolist())
            if isinstance(value, torch.Tensor)
            else value
        )

    of = [
        {field.name: plain(getattr(one, field.name)) for field in fields(one) if field.name != "criterion"}
        | {"labels": plain(one.criterion.labels), "targets": plain(one.criterion.targets)}
        for one in (first, second)
    ]
    return of[0] == of[1]


class Attack:
    """An attack that counts how often it was made."""

    def __init__(self, result):
        self.result, self.made = result, 0

    def __call__(self):
        self.made += 1
        return self.result


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"targets": True},
        {"eps": 0.05, "step": 0.001},
        {"name": "ddn", "norm": "l2", "eps": None, "step": None, "steps": 3},
        {"stop": True},
        {"name": "apgd-ce", "step": None, "restarts": 2},
        {"name": "noise", "step": None, "steps": None, "kind": "sign"},
    ],
)
def test_what_comes_back_is_the_result_itself(small, tmp_path, changed):
    targets = {"targets": (small.labels + 1) % 5} if changed.get("targets") else {}
    attack = Attack(attacked(small, **changed | targets))
    first, again = (kept(Store(tmp_path), {"what": "attack"}, attack) for _ in range(2))
    assert attack.made == 1 and equal(first, attack.result) and equal(again, attack.result)


def test_flags_settings_and_kinds_of_numbers_survive(small, tmp_path):
    result = replace(
        attacked(small),
        flags=("short path", "l'été"),
        settings={"a": None, "b": [1, 2.5], "c": True, "d": "x"},
        queries=(2**40, 0),
    )
    back = kept(Store(tmp_path), {"what": "attack"}, lambda: result)
    assert (
        equal(back, result)
        and isinstance(back.flags, tuple)
        and isinstance(back.queries, tuple)
        and back.success_among_all == result.success_among_all
    )


def test_another_key_is_made_anew(small, tmp_path):
    attack = Attack(attacked(small))
    for eps in (0.1, 0.2, 0.1):
        kept(Store(tmp_path), {"what": "attack", "eps": eps}, attack)
    assert attack.made == 2


def test_a_change_of_the_attacks_code_makes_anew(small, tmp_path, monkeypatch):
    attack = Attack(attacked(small))
    kept(Store(tmp_path), {"what": "attack"}, attack)
    monkeypatch.setattr(
        "causalnb.attacks.keeping.module_digest", lambda *names: "another edition" if names == CODE else ""
    )
    kept(Store(tmp_path), {"what": "attack"}, attack)
    assert attack.made == 2


def test_every_module_that_searches_or_judges_is_part_of_the_key():
    from causalnb.attacks import ATTACKS

    assert {attack.candidates.__module__ for attack in ATTACKS.values()} | {
        "causalnb.attacks.watch",
        "causalnb.attacks.ball",
    } <= set(CODE)


def networks():
    """A network, and others that differ from it in one thing."""

    def made(activation=nn.ReLU, classes=3):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), activation(), nn.Linear(4, classes)
            ).eval()

    weight, buffer = made(), made()
    with torch.no_grad():
        weight[4].bias[1] += 1e-6
        buffer[2].running_mean[2] += 1e-6
    normalised = [Normalised(made(), [mean], [std]) for mean, std in ((0.5, 0.5), (0.4, 0.5), (0.5, 0.4))]
    return made(), {
        "weight": weight,
        "buffer": buffer,
        "activation": made(nn.Tanh),
        "classes": made(classes=4),
        "wrapped": nn.Sequential(made()),
        "normalised": normalised[0],
        "normalised by another mean": normalised[1],
        "and another std": normalised[2],
    }


def test_models_that_differ_in_a_weight_a_buffer_or_their_structure_are_told_apart():
    model, others = networks()
    names = [identity(one) for one in (model, *others.values())]
    assert len(set(names)) == len(names) == 9 and identity(networks()[0]) == names[0]


def test_a_model_s_mode_and_the_gradients_it_asks_for_are_not_it():
    model, _ = networks()
    before = identity(model)
    assert identity(model.train().requires_grad_(False)) == before


def test_batches_joined_are_one_run_over_all_images(small):
    for changed in ({}, {"targets": (small.labels + 1) % 5}, {"step": 0.001}):

        def part(rows, changed=changed):
            return attacked(
                small,
                rows,
                **{name: value[rows] if name == "targets" else value for name, value in changed.items()},
            )

        whole, parts = part(slice(None)), [part(slice(0, 9)), part(slice(9, 24))]
        assert equal(joined(parts), replace(whole, seconds=sum(one.seconds for one in parts)))
        assert whole.flags == (() if "step" not in changed else whole.flags) and len(
            joined(parts).flags
        ) == len(whole.flags)
