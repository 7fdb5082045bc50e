"""How accuracy falls as the attacker knows more: a ladder, each rung with all below it; and what
stands in front of a classifier for comparison. Models and tensors alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from causalnb import training
from causalnb.attacks.randomised import Expectation, StraightThrough, rescore
from causalnb.chapters.purification import diffusion
from causalnb.chapters.purification.defence import Defence
from causalnb.chapters.purification.evaluation import Denoised, Purified, Threat, searched
from causalnb.chapters.purification.network import CausalDiffusion

RUNGS = {
    "clean": "no attack",
    "transfer": "another network",
    "released": "the released script",
    "gradient": "its gradient, one draw",
    "expected": "many draws, smooth purifiers",
    "known": "the noise itself",
}
EARLY, FEW = 100, 5  # of the purifier after DiffPure: noise up to a time, away again in a few steps


def climbed(
    defence: Defence,
    plain: nn.Module,
    script: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    draws: int,
    seed: int,
) -> dict[str, Tensor]:
    """Right answers on fresh draws, [draws, n] bool, by rung: for each image the candidate of this rung or a
    lower one that fails most often on as many other draws.

    plain    a network apart, on which images are attacked that are then shown to the defence
    script   the released control flow, whose attacked path is followed
    "known"  [1, n]: noise fixed and known, the same for all images, attacked with that noise too
    """
    model = defence.model
    assert isinstance(model, CausalDiffusion)
    once, alone = replace(threat, draws=1), replace(defence.settings, searches=0)
    straight = nn.Sequential(StraightThrough(Purified(model, alone, None)), model)
    smooth = Defence(model, replace(alone, kind="smooth"))
    sources: dict[str, list[tuple[nn.Module, int]]] = {
        "transfer": [(plain, 1)],
        "released": [(script, 1)],
        "gradient": [(model, 1), (straight, 1)],
        "expected": [(straight, threat.draws)] * (threat.draws > 1)
        + [(smooth, threat.draws), (Denoised(model, 50), threat.draws)],
    }
    found, rungs = [images], {"clean": 1}
    for rung, each in sources.items():
        for source, count in each:
            follows = source if count == 1 else Expectation(source, count, bounded=True)
            found.append(searched(defence, follows, images, labels, replace(once, draws=count), seed=seed))
        rungs[rung] = len(found)
    right = _rescored(defence, found, labels, draws=2 * draws, seed=seed)
    made = {rung: worst(right[:count], draws) for rung, count in rungs.items()}
    return made | {"known": known(defence, found, labels, threat, seed=seed)}


def _rescored(
    defence: nn.Module, found: Sequence[Tensor], labels: Tensor, *, draws: int, seed: int
) -> Tensor:
    """Whether each candidate is right, [candidates, draws, n]; in one batch, each with its own noise."""
    asked = torch.cat(list(found)), labels.repeat(len(found))
    right = rescore(defence, *asked, draws=draws, seed=seed).correct
    return right.view(draws, len(found), len(labels)).transpose(0, 1)


def worst(right: Tensor, draws: int) -> Tensor:
    """Of answers [candidates, 2 draws, n]: each image's candidate that fails most on the first half of the
    draws, scored on the second, [draws, n].

    >>> worst(torch.tensor([[[True], [True]], [[False], [True]]]), 1).tolist()
    [[True]]
    """
    chosen, fresh = right[:, :draws].double().mean(1).argmin(0), right[:, draws:]
    return fresh[chosen, :, torch.arange(right.shape[2])].T


def known(defence: Defence, before: list[Tensor], labels: Tensor, threat: Threat, *, seed: int) -> Tensor:
    """[1, n] whether images withstand with the noise fixed by the seed and known to the attacker, who also
    tries what he `found` before. Nothing is drawn, so that one answer is all.
    """
    model, alone = defence.model, replace(defence.settings, searches=0)
    judged = Defence(model, defence.settings, seed=seed)
    straight = nn.Sequential(StraightThrough(Purified(model, alone, seed)), model)  # type: ignore[arg-type]
    smooth = Defence(model, replace(alone, kind="smooth"), seed=seed)
    images, found = before[0], list(before)
    for source in (straight, smooth):
        found.append(searched(judged, source, images, labels, threat, seed=seed))
    named = training.predict(judged, torch.cat(found)).argmax(1).view(len(found), len(labels))
    return (named == labels).all(0, keepdim=True)


# What stands in front of a classifier ---------------------------------------------------------------------


class Before(nn.Module):
    """A change of images [n, ...] in [0, 1], then a classifier."""

    def __init__(self, change: nn.Module, classifier: nn.Module) -> None:
        """Both are modules, so that attacks and the store see what they hold."""
        super().__init__()
        self.change, self.classifier = change, classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes]."""
        logits: Tensor = self.classifier(self.change(images))
        return logits


class Median(nn.Module):
    """Each pixel becomes the median of the 3 x 3 around it."""

    def forward(self, images: Tensor) -> Tensor:
        """Images of the same shape."""
        wide = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return wide.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4).median(4).values


class Noisy(nn.Module):
    """Gaussian noise of a standard deviation, drawn at every call."""

    def __init__(self, size: float) -> None:
        """In pixel units."""
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1]."""
        return (images + self.size * torch.randn_like(images)).clamp(0, 1)


class Diffused(nn.Module):
    """Noise up to a time and the way back without latents: in one step, or in several as DiffPure (Nie et al.
    2022) does, here by DDIM.
    """

    def __init__(self, model: CausalDiffusion, time: int, steps: int) -> None:
        """`steps` back."""
        super().__init__()
        self.model, self.time, self.steps = model, time, steps

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1]."""
        x, t = 2 * images - 1, torch.full((len(images),), self.time, device=images.device)
        x = diffusion.noised(x, t, torch.randn_like(x))
        for time in torch.linspace(self.time, 0, self.steps + 1).round().long().tolist()[1:]:
            a, predicted = diffusion.kept_at(t, x), self.model.noise(x, t)
            image = ((x - (1 - a).sqrt() * predicted) / a.sqrt()).clamp(-1, 1)
            t = torch.full_like(t, time)
            x = diffusion.noised(image, t, predicted) if time else image
        return (x + 1) / 2


def changes(model: CausalDiffusion, eps: float) -> dict[str, nn.Module]:
    """What stands before a plain network, by name."""
    return {
        "median": Median(),
        "noise": Noisy(eps),
        "one-step": Diffused(model, EARLY, 1),
        "diffpure": Diffused(model, EARLY, FEW),
    }


def changed_under(
    defence: nn.Module,
    plain: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    *,
    draws: int,
    seed: int,
) -> dict[str, Tensor]:
    """Right answers on fresh draws [draws, n] of a `Before`: "clean"; "transfer", images attacked on the
    network alone; "expected", through its own gradient and past the change, over the threat's draws.
    """
    assert isinstance(defence, Before)
    straight = nn.Sequential(StraightThrough(defence.change), defence.classifier)
    own = [Expectation(one, threat.draws, bounded=True) for one in (defence, straight)]
    found = [images] + [searched(defence, one, images, labels, threat, seed=seed) for one in (plain, *own)]
    right = _rescored(defence, found, labels, draws=2 * draws, seed=seed)
    return {
        name: worst(right[:count], draws) for name, count in (("clean", 1), ("transfer", 2), ("expected", 4))
    }
