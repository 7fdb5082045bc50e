"""S, total variation and positive mass against the size of a perturbation: what an attack adds, and what any
roughness of its size adds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from causalnb import training
from causalnb.attacks import AttackResult
from causalnb.attacks.noise import noise
from causalnb.chapters.ace import maps as m
from causalnb.chapters.ace.experiments import attack, attack_settings, main_maps
from causalnb.chapters.ace.networks import Run, Trained
from causalnb.chapters.ace.readings import Maps

LINF = (1 / 3, 2 / 3, 1, 4 / 3)  # budgets of FGSM, PGD and sign noise, as shares of eps
L2 = (10 / 3, 20 / 3, 10)  # of C&W and Gaussian noise: C&W's own images, those beyond the budget left clean
READINGS = tuple(f"{reading}.logit.{of}" for reading in ("R1", "R3", "R3m") for of in ("true", "predicted"))
STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "S": m.sparsity,
    "TV": m.total_variation,
    "TV.scaled": lambda maps: m.total_variation(m.rescale(maps)),
    "positive": lambda maps: m.positive_mass(maps, torch.ones_like(maps)),
}


@dataclass(frozen=True)
class Point:
    """One perturbation at one budget: `images` [n, 1, h, w], their maps in `READINGS`, the classes that the
    network predicts and the true ones, [n].
    """

    kind: str
    norm: str
    eps: float
    images: Tensor
    maps: Maps
    predicted: Tensor
    labels: Tensor

    @property
    def id(self) -> str:
        """What its measurements begin with: strength.pgd.linf.0.3."""
        return ".".join(filter(None, ("strength", self.kind, self.norm, f"{self.eps:g}")))

    @property
    def broken(self) -> Tensor:
        """Which images mislead the network, [n]."""
        return self.predicted != self.labels

    def statistics(self) -> Iterator[tuple[str, Tensor]]:
        """Each statistic of each reading in `READINGS`, [n], by "S.R1.logit.true"."""
        for key in READINGS:
            for name, statistic in STATISTICS.items():
                yield f"{name}.{key}", statistic(self.maps[key].cpu())


def budgets(eps: float, norm: str) -> list[float]:
    """The budgets of a norm at the run's eps; none beyond 1 in L-inf.

    >>> budgets(0.3, "linf"), budgets(0.3, "l2")
    ([0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0])
    """
    shares = LINF if norm == "linf" else L2
    found = [eps if share == 1 else float(f"{share * eps:.6g}") for share in shares]
    return [one for one in found if norm != "linf" or one <= 1]


def curves(run: Run, net: Trained, found: Mapping[str, AttackResult]) -> list[Point]:
    """The clean images, FGSM, PGD and sign noise over L-inf budgets, C&W and Gaussian noise over L2 budgets.

    found   the attacks on all drawn images; the first `n_strength` that the network gets right are taken
    """
    right, seed = found["fgsm"].correct.cpu(), run.p.seed
    clean = net.test.take(right).take(slice(run.p.n_strength))
    made = [("clean", "", 0.0, clean.images)]
    for eps in budgets(run.p.eps, "linf"):
        settings = attack_settings(run.p, eps=eps)
        for name in ("fgsm", "pgd"):
            made.append((name, "linf", eps, attack(run, net, name, settings[name], clean).images.cpu()))
        made.append(("noise", "linf", eps, noise(clean.images, kind="sign", norm="linf", eps=eps, seed=seed)))
    for eps in budgets(run.p.eps, "l2"):
        made.append(("cw", "l2", eps, found["cw"].within(eps).images.cpu()[right][: len(clean)]))
        made.append(("noise", "l2", eps, noise(clean.images, kind="gauss", norm="l2", eps=eps, seed=seed)))
    return _points(run, net, made, clean.labels)


def _points(
    run: Run, net: Trained, made: Sequence[tuple[str, str, float, Tensor]], labels: Tensor
) -> list[Point]:
    """The points of what was made of the same images, all of whose maps come from one pass."""
    images = torch.cat([some for *_, some in made])
    predicted = training.predict(net.model, images).argmax(1).split(len(labels))
    every = main_maps(run, net, images, labels.repeat(len(made)))
    each = {key: every[key].cpu().split(len(labels)) for key in READINGS}
    return [
        Point(*one, {key: parts[place] for key, parts in each.items()}, predicted[place], labels)
        for place, one in enumerate(made)
    ]
