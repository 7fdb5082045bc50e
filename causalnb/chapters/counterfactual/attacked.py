"""The paper's attacks on a network, by the bench, at every budget; the author's budgets as conditions of
their own; attacks of low and of high confidence; and what is no attack, the placebos.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from causalnb import attacks, processes, record
from causalnb.attacks import AttackResult
from causalnb.attacks.noise import noise
from causalnb.chapters.counterfactual.networks import Net, Run
from causalnb.chapters.counterfactual.parameters import Parameters
from causalnb.data import Images
from causalnb.store import Store, memo

TARGETED, UNTARGETED = ("fgsm_t", "pgd_t", "bim_t"), ("fgsm_u", "pgd_u", "bim_u")
SETS = (*TARGETED, *UNTARGETED)
TITLES = {name: f"{name[:-2].upper()}, {'targeted' if name in TARGETED else 'untargeted'}" for name in SETS}
PAPERS, LARGEST, LARGER = 8.0, 24.0, 16.0  # of 255: ImageNet's budget, CIFAR-10's, strategy 1's
SPARSE = 4.0  # targeted attacks run from this budget on
BIM_STEPS = 10
AUTHORS = {"ten": (10, 1.0), "hundred": (100, 0.1)}  # steps, and their length of 255, at a budget of 24
DEFENCES = {"fs": "feature squeezing", "ss": "spatial smoothing", "gda": "Gaussian noise"}  # of Table 4
STRONG = ("ddn", "fab-t", "apgd-t")


@dataclass(frozen=True)
class Condition:
    """An attack: `set` as in the tables, its budget of 255, and whose settings it has ("", ours)."""

    set: str
    eps: float
    author: str = ""

    @property
    def name(self) -> str:
        """ "pgd_u", "author.ten_t"."""
        return f"author.{self.author}_{self.set[-1]}" if self.author else self.set

    @property
    def targeted(self) -> bool:
        """Whether each image is sent to a class."""
        return self.set.endswith("_t")


def conditions(p: Parameters) -> list[Condition]:
    """Every attack of the tables at every budget, and the author's where the parameters ask for them."""
    grid = [Condition(name, eps) for eps in p.budgets for name in SETS if name in UNTARGETED or eps >= SPARSE]
    his = [Condition(f"bim_{way}", LARGEST, author) for author in AUTHORS for way in "tu"]
    return grid + his * p.authors


def settings(p: Parameters, of: Condition) -> tuple[str, dict[str, Any]]:
    """The attack of the bench and its arguments: FGSM; PGD with steps of a tenth of the budget, longer where
    few steps would not cross it; BIM with 10 of a fifth.
    """
    name, eps = of.set[:-2], p.eps(of.eps)
    asked: dict[str, Any] = {"norm": "linf", "eps": eps}
    if of.author:
        steps, step = AUTHORS[of.author]
        return name, asked | {"steps": steps, "step": p.eps(step)}
    if name == "pgd":
        return name, asked | {"steps": p.steps, "step": eps * max(0.1, 2 / p.steps)}
    return name, asked | ({"steps": BIM_STEPS, "step": 2 * eps / BIM_STEPS} if name == "bim" else {})


def targets(images: Images, *, seed: int) -> Tensor:
    """A class drawn for each image among the others, [n]."""
    k = len(images.classes)
    step = torch.randint(1, k, (len(images),), generator=torch.Generator().manual_seed(seed))
    return (images.labels + step) % k


def call(run: Run, net: Net, of: Condition) -> tuple[str, partial[AttackResult]]:
    """How the store lists an attack on the attacked images, and the attack itself. Images that the network
    gets wrong are tried too, as the paper tries all.
    """
    name, asked = settings(run.p, of)
    some = net.attacked
    if of.targeted:
        asked["targets"] = targets(some, seed=run.p.seed).to(run.device)
    images, labels = some.images.to(run.device), some.labels.to(run.device)
    made = partial(attacks.run, name, net.model, images, labels, seed=run.p.seed, every=True, **asked)
    return f"{of.name} at {of.eps:g} on {net.name}", made


def attack_all(run: Run, net: Net, every: Sequence[Condition]) -> dict[Condition, AttackResult]:
    """All these attacks, side by side where that pays."""
    calls = [call(run, net, one) for one in every]
    side_by_side(run, calls)
    return {one: memo(run.store, what, made) for one, (what, made) in zip(every, calls, strict=True)}


def side_by_side(run: Run, calls: Sequence[tuple[str, partial[Any]]], *, least: int = 200) -> None:
    """Put what is missing of these calls into the store, on all cores of a CPU, where it is of at least so
    many images.
    """
    one_thread = run.device.type == "cpu" and torch.get_num_threads() == 1
    if not one_thread or run.p.n_attacked < least:
        return
    for uses in processes.map(partial(_kept, run.store.root, run.store.layers), calls):
        known = {use.digest for use in run.store.uses}
        run.store.uses += [use for use in uses if use.digest not in known]


def _kept(root: Path, layers: tuple[Path, ...], call: tuple[str, Callable[[], Any]]) -> list[record.Use]:
    store = Store(root, layers)
    memo(store, *call)
    return store.uses


# Low and high confidence, and no attack ------------------------------------------------------------------


def strong(run: Run, net: Net) -> dict[str, AttackResult]:
    """On the first images: the smallest perturbation in L2 (DDN) and in L-inf (FAB), which end where the
    class has just changed, and APGD-T at 8, which ends far beyond.
    """
    p, some = run.p, net.attacked.take(slice(run.p.n_strong))
    images, labels = some.images.to(run.device), some.labels.to(run.device)
    many, others = p.profile != "quick", min(9, len(some.classes) - 1)
    asked: dict[str, dict[str, Any]] = {
        "ddn": {"norm": "l2", "eps": None, "steps": 100 if many else 20},
        "fab-t": {"norm": "linf", "eps": None, "steps": 20 if many else 5, "n_targets": min(3, others)},
        "apgd-t": {
            "norm": "linf",
            "eps": p.eps(PAPERS),
            "steps": 100 if many else 10,
            "n_targets": others if many else min(2, others),
        },
    }
    return {
        name: memo(
            run.store,
            f"{name} on {net.name}",
            attacks.run,
            name,
            net.model,
            images,
            labels,
            seed=p.seed,
            **asked[name],
        )
        for name in STRONG
        if others > 1 or name == "ddn"
    }


def placebo(images: Tensor, name: str, *, eps: float, seed: int) -> Tensor:
    """Harmless changes of images [n, ...]: "noise", every pixel up or down by eps at random; "blur", the mean
    of 3 x 3 pixels.
    """
    if name == "noise":
        return noise(images, kind="sign", norm="linf", eps=eps, seed=seed)
    return nn.functional.avg_pool2d(nn.functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, 1)
