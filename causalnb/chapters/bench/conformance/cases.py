"""What the conformance lines are measured on: small models in closed form or from a seed, and each attack's
settings there.

The settings are for speed on toys; they are no advice for a real model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from causalnb.attacks import ball
from causalnb.attacks.contract import ATTACKS, Attack, run
from causalnb.attacks.results import AttackResult

SEED = 0
SIDE = 6
FAR = 20.0  # how far below the others the logits of the classes lie that a linear model keeps out of reach


@dataclass(frozen=True)
class Outcome:
    """What one line measured: whether it holds, the number it was judged by, and a sentence that says what
    the number is.

    excusable   whether an exemption may stand for it: a success that cannot be has no excuse
    """

    good: bool
    value: float
    says: str
    excusable: bool = True


@dataclass(frozen=True)
class Subject:
    """A model, images [n, 1, 6, 6] and labels [n]; `exact`: the least distance to another class, [n] for each
    norm, where it is known.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    exact: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """How an attack is tried.

    settings   of the budget, since steps are parts of it
    norm, eps  the budget at which it breaks most images of the network and, save autoattack, not all
    n          images; a fifth of them are clean errors
    less       settings that make the search shorter (line 9)
    exactly    settings for the linear model in every norm (line 7); None: `settings`, in `norm` alone
    within     how near to the least distance there a minimum-norm attack must come
    rival      an attack of another library with the same aim (line 12)
    classes    of the network and the linear model
    """

    settings: Callable[[float], dict[str, Any]]
    norm: str = "linf"
    eps: float = 0.12
    n: int = 20
    less: dict[str, Any] | None = None
    exactly: Callable[[float], dict[str, Any]] | None = None
    within: float = 0.02
    rival: str = "apgd-ce"
    classes: int = 5


def _walk(steps: int, share: float) -> Callable[[float], dict[str, Any]]:
    return lambda eps: {"step": max(eps * share, 1e-6), "steps": steps}


def _fixed(**settings: Any) -> Callable[[float], dict[str, Any]]:
    return lambda eps: settings


def _transfer(eps: float) -> dict[str, Any]:
    return _walk(10, 0.25)(eps) | {"source": network(drift=0.05).model}


TRIALS = {
    "fgsm": Trial(_fixed(), exactly=_fixed()),
    "bim": Trial(_walk(10, 0.25), less={"steps": 2}, exactly=_walk(40, 0.2)),
    "pgd": Trial(_walk(10, 0.25), less={"steps": 2}, exactly=_walk(40, 0.2)),
    "cw-linf": Trial(_walk(10, 0.25), less={"steps": 2}, exactly=_walk(40, 0.2), rival="apgd-t"),
    "cw": Trial(
        _fixed(step=0.2, steps=40, binary_search_steps=12, initial_const=1.0),
        norm="l2",
        eps=0.4,
        less={"steps": 4},
        rival="fab-t",
        exactly=_fixed(step=0.01, steps=150, binary_search_steps=6, initial_const=1.0),
    ),
    "ddn": Trial(
        _fixed(steps=60), norm="l2", eps=0.4, less={"steps": 5}, exactly=_fixed(steps=200), rival="fab-t"
    ),
    "deepfool": Trial(
        _fixed(steps=20), less={"steps": 1}, exactly=_fixed(steps=20, overshoot=0.01), rival="fab-t"
    ),
    "hsj": Trial(
        _fixed(steps=3, directions=30),
        eps=0.16,
        n=10,
        less={"steps": 1},
        exactly=_fixed(steps=30, directions=100),
        within=0.1,
        rival="square",
    ),
    "apgd-ce": Trial(_fixed(steps=20), less={"steps": 2}, exactly=_fixed(steps=50), rival="pgd"),
    "apgd-dlr": Trial(_fixed(steps=20), less={"steps": 2}, exactly=_fixed(steps=50), rival="cw-linf"),
    "apgd-t": Trial(_fixed(steps=10), less={"steps": 2}, exactly=_fixed(steps=50), rival="cw-linf"),
    "fab-t": Trial(_fixed(steps=10), less={"steps": 1}, exactly=_fixed(steps=50), rival="deepfool"),
    "square": Trial(
        _fixed(queries=200, rescale=True),
        less={"queries": 20},
        exactly=_fixed(queries=500, rescale=True),
        rival="pgd",
    ),
    "autoattack": Trial(_fixed(), eps=0.1, n=10, rival="cw-linf", classes=10),
    "transfer": Trial(_transfer, less={"steps": 1}),
    "stadv": Trial(
        lambda eps: {"step": max(eps / 4, 1e-6), "steps": 10}, norm="flow", eps=0.2, less={"steps": 2}
    ),
    "noise": Trial(_fixed(kind="sign"), eps=0.5),
}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def network(*, classes: int = 5, n: int = 20, drift: float = 0.0) -> Subject:
    """Two linear layers with a batch norm between them; half of the images' pixels lie at 0 or 1, every fifth
    label is wrong.

    drift   by how much the first layer then differs from that of the same network without it: a twin
    """
    with _seeded(SEED), torch.no_grad():
        first, last = nn.Linear(SIDE * SIDE, 24), nn.Linear(24, classes)
        model = nn.Sequential(nn.Flatten(), first, nn.BatchNorm1d(24), nn.ReLU(), last)
        model(torch.rand(200, 1, SIDE, SIDE))
        images = (torch.rand(n, 1, SIDE, SIDE) * 2 - 0.5).clamp(0, 1)
        last.bias.sub_(model.eval()(images).mean(dim=0))
        labels = model(images).argmax(dim=1)
        labels[::5] = (labels[::5] + 1) % classes
        first.weight += drift * torch.randn(24, SIDE * SIDE)
    return Subject(model, images, labels)


def features(*, n: int = 4) -> Subject:
    """A network with more features than its images have pixels, in which adversarial examples can be
    planted.
    """
    with _seeded(SEED):
        model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 200), nn.Tanh(), nn.Linear(200, 10))
        images = torch.rand(n, 1, SIDE, SIDE)
    return Subject(model, images, torch.zeros(n, dtype=torch.int64))


def linear(classes: int, *, n: int = 8) -> Subject:
    """Float64 logits (0, w x + b, and others far below): every image 0.15 (L2) away from the boundary, on one
    side or the other.
    """
    with _seeded(SEED):
        weight = torch.randn(classes, SIDE * SIDE, dtype=torch.float64)
        across = 0.05 * torch.randn(n, SIDE * SIDE, dtype=torch.float64)
    weight[0], weight[2:] = 0, 0.01 * weight[2:]
    unit = weight[1] / weight[1].norm()
    side = 0.15 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n)[:n, None]
    images = 0.5 + side * unit + across - (across @ unit)[:, None] * unit
    return affine(weight, -0.5 * weight[1].sum(), images.reshape(n, 1, SIDE, SIDE))


def bordered(classes: int, *, n: int = 8) -> Subject:
    """Every pixel at 0 or 1, and a linear model that each of them fools by moving into the box."""
    with _seeded(SEED):
        pixels = (torch.rand(SIDE * SIDE) > 0.5).to(torch.float64)
        weight = 0.01 * torch.randn(classes, SIDE * SIDE, dtype=torch.float64)
        weight[0], weight[1] = 0, (1 - 2 * pixels) * (0.5 + torch.rand(SIDE * SIDE))
    bias = -(weight[1] @ pixels) - 0.15 * weight[1].norm()
    return affine(weight, bias, pixels.reshape(1, 1, SIDE, SIDE).repeat(n, 1, 1, 1))


def affine(weight: Tensor, bias: Tensor, images: Tensor) -> Subject:
    """The linear model with `bias` for class 1, its own predictions as labels, and the least of the distances
    to its boundaries, margin over dual norm.
    """
    layer = nn.Linear(weight.shape[1], len(weight), dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), layer)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.fill_(-FAR)
        layer.bias[:2] = torch.stack([torch.zeros_like(bias), bias])
        logits = model(images)
    labels = logits.argmax(dim=1)
    margins = logits.amax(dim=1, keepdim=True) - logits
    between = weight[labels][:, None] - weight
    exact = {
        norm: (margins / between.norm(p=dual, dim=2)).scatter(1, labels[:, None], torch.inf).amin(dim=1)
        for norm, dual in (("linf", 1), ("l2", 2))
    }
    return Subject(model, images, labels, exact)


class Constant(nn.Module):
    """A model that nothing moves: the same logits, class 0, for every image."""

    def __init__(self, classes: int):
        """So many classes."""
        super().__init__()
        self.logits = nn.Parameter(torch.linspace(1, 0, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes], with a gradient that is zero."""
        return self.logits.expand(len(images), -1) + 0 * images.flatten(1).sum(dim=1, keepdim=True)


class Wider(nn.Module):
    """Another model with more classes, whose logits lie far below the others."""

    def __init__(self, model: nn.Module, classes: int):
        """`classes` in all."""
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.model(images)
        return nn.functional.pad(logits, (0, self.classes - logits.shape[1]), value=-FAR)


class Breaks(nn.Module):
    """Another model that raises an exception."""

    def __init__(self, model: nn.Module, at: int):
        """`at` which forward pass; 0: at none."""
        super().__init__()
        self.model = model
        self.passes, self.at = 0, at

    def store_key(self) -> nn.Module:
        """The model: how often it was asked changes no answer."""
        return self.model

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits, or RuntimeError."""
        self.passes += 1
        if self.passes == self.at:
            raise RuntimeError(f"pass {self.at}")
        logits: Tensor = self.model(images)
        return logits


class Path(nn.Module):
    """Another model that measures how far the first image of its batches has travelled."""

    def __init__(self, model: nn.Module, norm: str):
        """`norm`: in which the way is measured."""
        super().__init__()
        self.model, self.norm = model, norm
        self.length, self.last = 0.0, torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        """The model's logits."""
        first = images[:1].detach().clone()
        if self.last.shape == first.shape:
            self.length += float(ball.distance(self.last, first, self.norm))
        self.last = first
        logits: Tensor = self.model(images)
        return logits


class ConformanceCase:
    """One attack with its settings, ready to be run on any subject; what it does to the network at its own
    budget is kept.
    """

    def __init__(self, name: str):
        """`name`: a row of ATTACKS that has its Trial."""
        self.name, self.trial = name, TRIALS[name]
        self.attack: Attack = ATTACKS[name]
        self.network = network(classes=self.trial.classes, n=self.trial.n)

    @cached_property
    def base(self) -> AttackResult:
        """The network attacked."""
        return self.on(self.network)

    @cached_property
    def unbroken(self) -> AttackResult:
        """A constant model attacked, with five of the network's images."""
        return self.on(
            Subject(Constant(self.trial.classes), self.network.images[:5], torch.zeros(5, dtype=torch.int64))
        )

    @property
    def wide(self) -> float:
        """Five times the trial's budget; in L-inf no more than the box."""
        eps = 5 * self.trial.eps
        return min(eps, 1.0) if self.trial.norm == "linf" else eps

    def on(
        self,
        subject: Subject,
        *,
        eps: float | None = None,
        norm: str = "",
        free: bool = False,
        **changed: Any,
    ) -> AttackResult:
        """The subject attacked, at the trial's budget unless told, or free of any; changed settings go before
        the trial's.
        """
        eps = self.trial.eps if eps is None else eps
        settings = self.trial.settings(eps) | changed
        return run(
            self.name,
            subject.model,
            subject.images,
            subject.labels,
            norm=norm or self.trial.norm,
            eps=None if free else eps,
            seed=SEED,
            **settings,
        )

    def behind(self, head: nn.Module) -> AttackResult:
        """The network attacked with something put behind its logits; the twin of a transfer too."""
        changed: dict[str, Any] = (
            {"source": nn.Sequential(source, head).eval()}
            if (source := self.trial.settings(1.0).get("source"))
            else {}
        )
        return self.on(replace(self.network, model=nn.Sequential(self.network.model, head).eval()), **changed)


def some(subject: Subject, rows: list[int]) -> Subject:
    """Some of the subject's images."""
    return replace(subject, images=subject.images[rows], labels=subject.labels[rows])
