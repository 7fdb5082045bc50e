"""The paper's attacks on a network, by the bench, and the perturbations that stand beside them; the accuracy
under attack (Table 1) and the control that the attack finds what is there.

What the paper leaves open is a choice of ours: APGD on the cross-entropy with one random start, the latest
misclassified iterate; C&W and HopSkipJump in L2 with the smallest perturbation found. An image on which an
attack fails stays as it was, as the toolbox that the paper names returns it for C&W and HopSkipJump.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from causalnb import attacks, data, models
from causalnb.attacks import AttackResult
from causalnb.attacks.noise import noise
from causalnb.attacks.suites import joined
from causalnb.chapters.intervention import experiments, perturbations
from causalnb.chapters.intervention.networks import Net, Run, natural
from causalnb.data import Images
from causalnb.store import memo

PAPERS = ("apgd", "cw", "hsj")
TITLES = {
    "apgd": "APGD",
    "cw": "C&W",
    "hsj": "HSJ",
    "boundary": "APGD to its boundary",
    "extended": "C&W, lengthened",
    "noise": "noise",
    "other": "another image's APGD",
    "flipped": "APGD, sign turned",
}
BEYOND_FEW = 50  # images in a piece of a minimum-norm attack
PLANTED = {"quick": 8}  # images beside which an adversarial example is planted
FURTHER = 20


@dataclass(frozen=True)
class Subject:
    """A network, images that it gets right, and what perturbations make of them.

    images    n of them
    changed   name -> [m, ...] of the first m images; overshoot: name -> [m], by how many times its margin
              each moves an image, of those that succeed (others: nan)
    clipped   name -> the share of pixels that the box cut
    """

    net: Net
    images: Images
    changed: dict[str, Tensor]
    overshoot: dict[str, Tensor]
    clipped: dict[str, float]

    @property
    def where(self) -> str:
        """How the store lists it."""
        return f"{self.net.name}, seed {self.net.seed}"


def budget(run: Run, net: Net) -> float:
    """APGD's budget in pixel units: the paper's 8/255 for natural images and 0.3 for digits, or as asked."""
    return run.p.eps or (8 / 255 if natural(net.train) else 0.3)


def of_the_paper(name: str) -> tuple[str, ...]:
    """The attacks that are run on a data set: on MNIST-37, as in the paper, APGD alone."""
    return PAPERS[:1] if name == "mnist37" else PAPERS


def right_images(run: Run, net: Net, n: int) -> Images:
    """n test images that the network gets right, balanced over the classes."""
    known = net.test.take(net.correct.nonzero().flatten())
    return data.draw(known, min(n, len(known)), seed=run.p.image_seed + net.seed)


def attack(
    run: Run, net: Net, name: str, images: Images, *, restarts: int = 1, steps: int = 0
) -> AttackResult:
    """One of the paper's attacks on images, in pieces that are kept one by one."""
    p, few = run.p, BEYOND_FEW
    asked: dict[str, Any] = {"norm": "l2", "eps": None, "seed": p.seed}
    if name == "apgd":
        few = len(images)
        asked |= {"norm": "linf", "eps": budget(run, net), "steps": steps or p.steps, "restarts": restarts}
    elif name == "cw":
        asked |= {
            "step": max(0.01, 2 / p.cw_steps),
            "steps": p.cw_steps,
            "binary_search_steps": p.cw_searches,
            "initial_const": 1.0,
        }
    else:
        asked |= {"steps": p.hsj_steps}
    title = {"apgd": "apgd-ce"}.get(name, name)
    pieces = [
        partial(
            attacks.run,
            title,
            net.model,
            images.images[start : start + few].to(run.device),
            images.labels[start : start + few].to(run.device),
            **asked,
        )
        for start in range(0, len(images), few)
    ]
    what = f"{name} on {net.name}, seed {net.seed}"
    return joined(experiments.kept(run.store, what, pieces, device=run.device))


def subject(run: Run, net: Net, *, first: bool) -> Subject:
    """The images of a training and all that is done to them; of the first training everything, of the others
    APGD, APGD at its boundary and noise.
    """
    p = run.p
    images = right_images(run, net, p.n_images if first else p.n_other)
    own, labels, eps = images.images, images.labels, budget(run, net)
    changed: dict[str, Tensor] = {}
    for name in of_the_paper(net.name) if first else PAPERS[:1]:
        some = images.take(slice(p.n_hsj)) if name == "hsj" else images
        changed[name] = attack(run, net, name, some).images.cpu()
    clipped = dict.fromkeys(changed, 0.0)
    boundary = perturbations.to_boundary(net.model, own, changed["apgd"], labels)
    changed["boundary"] = boundary.images
    changed["noise"] = noise(own, kind="sign", norm="linf", eps=eps, seed=p.seed)
    if first:
        changed["other"] = perturbations.of_another(own, changed["apgd"], seed=p.seed)
        changed["flipped"] = perturbations.flipped(own, changed["apgd"])
    if "cw" in changed:
        apgd, cw = (perturbations.overshoot(net.model, own, changed[name], labels) for name in ("apgd", "cw"))
        times = (apgd / cw.clamp(min=1e-6)).clamp(1, 1e3)
        longer = perturbations.extended(net.model, own, changed["cw"], labels, times)
        changed["extended"] = longer.images
        clipped["extended"] = float(longer.clipped.mean())
    overshoot = {
        name: _overshoot(net, own[: len(one)], one, labels[: len(one)]) for name, one in changed.items()
    }
    return Subject(net, images, changed, overshoot, clipped)


def _overshoot(net: Net, clean: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
    made = perturbations.overshoot(net.model, clean, attacked, labels)
    return torch.where(made > 1, made, torch.nan)


def boundaries(of: Subject) -> dict[str, Tensor]:
    """The paper's attacks, each shrunk or lengthened to where the class changes."""
    made = {}
    for name in PAPERS:
        if name in of.changed:
            n = len(of.changed[name])
            given = of.images.images[:n], of.changed[name], of.images.labels[:n]
            made[name] = perturbations.to_boundary(of.net.model, *given).images
    return made


@torch.no_grad()
def change_of_features(net: Net, clean: Tensor, attacked: Tensor) -> Tensor:
    """|h'_j - h_j| of each channel, [n, channels], in l2."""
    with torch.enable_grad():
        head = models.cut(net.model, net.layer).head
    h, other = (torch.cat([head(some) for some in images.split(128)]) for images in (clean, attacked))
    return (other - h).flatten(2).norm(dim=2).double()


# Table 1 -------------------------------------------------------------------------------------------------


def left(run: Run, net: Net, *, restarts: int = 1) -> tuple[int, int]:
    """How many of all test images that the network gets right APGD leaves, of how many: ten steps, then all
    steps on those that are left.
    """
    known = net.test.take(net.correct.nonzero().flatten())
    found = attack(run, net, "apgd", known, steps=min(10, run.p.steps)).found.cpu()
    rest = known.take((~found).nonzero().flatten())
    if len(rest):
        again = attack(run, net, "apgd", rest, restarts=restarts)
        return int((~again.found).sum()), len(known)
    return 0, len(known)


def planted(run: Run, net: Net, images: Images) -> attacks.planted.Control:
    """Whether APGD finds adversarial examples that were planted beside some images."""
    eps = budget(run, net)
    apgd = partial(attacks.run, "apgd-ce", norm="linf", eps=eps, steps=run.p.steps, seed=run.p.seed)
    return memo(
        run.store,
        f"planted on {net.name}",
        attacks.planted_control,
        apgd,
        net.model,
        images.images[: PLANTED.get(run.p.profile, FURTHER)],
        norm="linf",
        eps=eps,
        seed=run.p.seed,
        margin=attacks.planted.WIDE,
    )
