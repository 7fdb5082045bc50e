"""How a defence that draws at random is attacked and scored: candidates from several attackers, each image's
chosen on some draws and scored on fresh ones. Models and tensors alone.

An attacker knows the weights, the algorithm and the law of the noise. Gradients may come from anywhere; what
is scored is the deployed function, unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalnb import attacks, training
from causalnb.attacks.adversarial import ascend
from causalnb.attacks.noise import noise
from causalnb.attacks.randomised import Expectation, StraightThrough, Surrogate, rescore
from causalnb.chapters.purification import diffusion
from causalnb.chapters.purification.defence import Defence, Purifiable, Settings, drawn, fixed, purify
from causalnb.randomness import generators_at

Norm = Literal["linf", "l2", "flow"]


@dataclass(frozen=True)
class Threat:
    """A budget, and how hard it is searched: steps of 2.5 eps / steps, draws behind each gradient."""

    norm: Norm
    eps: float
    steps: int
    draws: int

    @property
    def step(self) -> float:
        """The length of one step."""
        return 2.5 * self.eps / self.steps


# Whose gradients ------------------------------------------------------------------------------------------


class Undefended(nn.Module):
    """What stands behind a defence, alone: images in [0, 1] to logits."""

    def __init__(self, model: Purifiable) -> None:
        """Of a defence."""
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        return self.model.classify(self.model.encode(2 * images - 1))


class Denoised(nn.Module):
    """One denoising step at a time t, then the encoder and its head: smooth, cheap, nearly the defence."""

    def __init__(self, model: Purifiable, time: int) -> None:
        """Of a defence's model."""
        super().__init__()
        self.model, self.time = model, time

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        x = 2 * images - 1
        t = torch.full((len(x),), self.time, device=x.device)
        return self.model.classify(
            self.model.encode(diffusion.cleaned(self.model.noise, x, t, torch.randn_like(x)))
        )


class Purified(nn.Module):
    """Purification alone, images in [0, 1] to images in [0, 1]."""

    def __init__(self, model: Purifiable, settings: Settings, seed: int | None) -> None:
        """Of a defence."""
        super().__init__()
        self.model, self.settings, self.seed = model, settings, seed

    def forward(self, images: Tensor) -> Tensor:
        """x* [n, ...]."""
        x = 2 * images - 1
        own, seed = self.settings, self.seed
        draw = drawn(own, x) if seed is None else fixed(own, x, seed)
        return ((purify(self.model, x, own, draw) + 1) / 2).clamp(0, 1)


def attackers(defence: Defence, draws: int) -> dict[str, nn.Module]:
    """Models whose gradients are followed, by what the attacker uses.

    encoder    the undefended model
    straight   the identity in place of the purifier's gradient (BPDA), past its clamp too
    denoised   one denoising step in place of the purifier (Lee & Kim 2023 attack through a coarser purifier)
    smooth     the purifier with gradients of length 1 in place of signs, without a search
    own        the defence's own gradient, where it has one: through all steps of the smooth one
    """
    model: Any = defence.model
    bare = model if isinstance(model, nn.Module) else Undefended(model)
    alone = replace(defence.settings, searches=0)
    found: dict[str, nn.Module] = {
        "encoder": bare,
        "straight": nn.Sequential(StraightThrough(Purified(model, alone, defence.seed)), bare),
        "denoised": Denoised(model, 100),
        "smooth": Defence(model, replace(alone, kind="smooth"), seed=defence.seed),
        "own": defence,
    }
    if defence.settings.kind == "sign":
        del found["own"]
    return {
        name: one if name == "encoder" else Expectation(one, draws, bounded=True)
        for name, one in found.items()
    }


# Candidates ----------------------------------------------------------------------------------------------


def candidates(
    defence: Defence, images: Tensor, labels: Tensor, threat: Threat, *, seed: int
) -> dict[str, Tensor]:
    """Images within the budget, by attacker: [n, ...] each, unjudged; the clean ones first."""
    found = {"clean": images}
    for name, model in attackers(defence, threat.draws).items():
        found[name] = searched(defence, model, images, labels, threat, seed=seed)
    return found


def searched(
    defence: nn.Module, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat, *, seed: int
) -> Tensor:
    """The end of a gradient attack on a model that stands in for the defence."""
    if threat.norm == "flow":
        asked = model if model is defence else Surrogate(defence, model)
        return attacks.run(
            "stadv",
            asked,
            images,
            labels,
            norm="flow",
            eps=threat.eps,
            step=threat.step,
            steps=threat.steps,
            seed=seed,
        ).images
    return ascend(
        model,
        images,
        labels,
        norm=threat.norm,
        eps=threat.eps,
        step=threat.step,
        steps=threat.steps,
        seed=seed,
    )


def random_signs(images: Tensor, eps: float, *, seed: int) -> Tensor:
    """The placebo: every pixel moved by eps up or down, at random."""
    return noise(images, kind="sign", norm="linf", eps=eps, seed=seed)


def answers(model: nn.Module, images: Tensor, *, draws: int, seed: int) -> Tensor:
    """The classes that a model names on each of some draws: [draws, n]. One seed gives any images of the same
    number the same noise.
    """
    with generators_at(seed, images.device):
        return torch.stack([training.predict(model, images).argmax(1) for _ in range(draws)])


# Scores --------------------------------------------------------------------------------------------------


def chosen_and_scored(
    defence: nn.Module, found: Mapping[str, Tensor], labels: Tensor, *, draws: int, seed: int
) -> dict[str, Tensor]:
    """For each image the candidate that fails most often on some draws, scored on as many fresh ones.

    choice   [n] the place of the candidate
    images   [n, ...]
    fresh    [draws, n] bool, right answers on the fresh draws
    single.NAME   [draws, n] bool, of each candidate on the draws that choose
    """
    by_name = {
        name: rescore(defence, images, labels, draws=draws, seed=seed).correct
        for name, images in found.items()
    }
    right = torch.stack([one.double().mean(0) for one in by_name.values()])
    choice = right.argmin(0)
    images = torch.stack(list(found.values()))[choice, torch.arange(len(labels))]
    fresh = rescore(defence, images, labels, draws=draws, seed=seed + 1).correct
    return {"choice": choice, "images": images, "fresh": fresh} | {
        f"single.{name}": one for name, one in by_name.items()
    }


def evaluated(
    defence: Defence, images: Tensor, labels: Tensor, threat: Threat, *, draws: int, seed: int
) -> dict[str, Tensor]:
    """`chosen_and_scored` of all `candidates`: what the store keeps of a threat."""
    found = candidates(defence, images, labels, threat, seed=seed)
    return chosen_and_scored(defence, found, labels, draws=draws, seed=seed)


def placebo(
    defence: Defence, images: Tensor, labels: Tensor, eps: float, *, number: int, draws: int, seed: int
) -> dict[str, Tensor]:
    """The same for random sign noise: as many candidates, as many draws."""
    found = {"clean": images}
    found |= {f"sign{k}": random_signs(images, eps, seed=seed + k) for k in range(number - 1)}
    return chosen_and_scored(defence, found, labels, draws=draws, seed=seed)


def evaluate(
    defence: Defence, images: Tensor, labels: Tensor, threat: Threat, *, draws: int = 20, seed: int = 0
) -> dict[str, float]:
    """Shares of images [n, ...] that a user's defence gets right: "clean" and under random "signs", as many
    draws each; and under the attackers of `attackers` that its parts allow, each image's worst chosen on some
    draws and scored on as many fresh ones: "mean" of the draws, "majority", "all" draws right.

    >>> from causalnb.chapters.purification.defence import Around, Settings
    >>> rule = lambda x: torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1)
    >>> plain = Defence(Around(lambda x, t: 0 * x, rule), Settings(steps=1, searches=0))
    >>> images, labels = torch.tensor([0.9, 0.1]).view(2, 1, 1, 1), torch.tensor([0, 1])
    >>> evaluate(plain, images, labels, Threat("linf", 0.2, steps=2, draws=1), draws=2)["mean"]
    1.0
    """
    scored = evaluated(defence, images, labels, threat, draws=draws, seed=seed)
    noisy = random_signs(images, threat.eps, seed=seed) if threat.norm == "linf" else images
    signs = rescore(defence, noisy, labels, draws=draws, seed=seed).correct
    found = {name: float(one.mean()) for name, one in withstood(scored).items()}
    return found | {
        "clean": float(scored["single.clean"].double().mean()),
        "signs": float(signs.double().mean()),
    }


def withstood(outcomes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the fresh draws say of each image [n], float64: "mean", the share of right answers; "all", whether
    every draw is right; "majority", whether most are.
    """
    fresh = outcomes["fresh"].double()
    share = fresh.mean(0)
    return {"mean": share, "all": (share == 1).double(), "majority": (share > 0.5).double()}


def union(outcomes: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    """Of several threats, the share of right answers under each image's worst: [n]. At most the mean over
    threats, and at most the least of them.
    """
    return torch.stack([withstood(one)["mean"] for one in outcomes.values()]).amin(0)
