"""Vectors as published files hold them, written here."""

import torch

from causalnb.chapters.counterfactual.replay.vectors import Vectors


def made(ci, keys, *, repeated=None, again=()):
    ci = torch.as_tensor(ci, dtype=torch.float32)
    earlier = (
        torch.empty(0, ci.shape[1]) if repeated is None else torch.as_tensor(repeated, dtype=torch.float32)
    )
    first = torch.zeros(len(ci), dtype=torch.bool)
    return Vectors(
        "x", tuple(keys), ci, ci.argsort(dim=1, descending=True), first, earlier, torch.tensor(again).long()
    )


PROTOTYPES = torch.eye(10, 40)
PROTOTYPES[:, 10:25], PROTOTYPES[:, 25:] = 0.5, -0.5


def cifar(rows, labels, source=0):
    keys = [f"{source}__{n}.png_as_{label}" for n, label in enumerate(labels)]
    return made(torch.stack(rows), keys)
