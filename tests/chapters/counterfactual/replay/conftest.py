"""Published vectors by name, as if they had been read: none, those of attacks on CIFAR, those of ImageNet."""

import pytest
import torch
from written import PROTOTYPES, cifar, made

from causalnb.chapters.counterfactual import replay_tables
from causalnb.chapters.counterfactual.replay import classes, counts, details, measurements, ties


@pytest.fixture
def files(monkeypatch):
    """Published vectors by name, as if they had been read."""
    given = {}
    for module in (counts, ties, classes, measurements, details, replay_tables.vectors):
        monkeypatch.setattr(module, "load", given.__getitem__)
    return given


@pytest.fixture
def attacked(files):
    """Two images like the prototype that they are predicted as, one that is the opposite of another, one that is constant."""
    rows, labels = [PROTOTYPES[3], 2 * PROTOTYPES[1] + 0.1, -PROTOTYPES[2], torch.zeros(40)], [3, 1, 4, 0]
    files.update({f"cifar.{attack}": cifar(rows, labels) for attack in counts.ATTACKS})
    files["cifar.prototypes"] = made(PROTOTYPES, [str(k) for k in range(10)])
    return files


@pytest.fixture
def imagenet(files):
    """Clean images of classes 100 and 101, and attacked ones of 0 and 1, which went there."""
    g = torch.Generator().manual_seed(0)
    own = {100: torch.randn(40, generator=g), 101: torch.randn(40, generator=g)}
    noisy = lambda kind, n: [own[kind] + 0.1 * torch.randn(40, generator=g) for _ in range(n)]  # noqa: E731
    clean = [*noisy(100, 4), *noisy(101, 4), torch.zeros(40), torch.randn(40, generator=g)]
    keys = [f"{c}__ILSVRC2012_val_{n}.JPEG" for n, c in enumerate([100] * 4 + [101] * 4 + [101, 149])]
    files["imagenet.clean"] = made(torch.stack(clean), keys)
    went, strayed = noisy(100, 3), noisy(100, 2)
    names = [f"{c}__ILSVRC2012_val_{n}.JPEG" for n, c in enumerate([0, 0, 0, 1, 1])]
    files["imagenet.pgd_t"] = made(torch.stack([*went, *strayed]), names)
    return files
