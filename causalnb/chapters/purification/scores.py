"""What the latents of a model tell: probes of label and style, neighbours, likelihood by time, pictures made
from S and Z. Tensors and models alone.

Latents are samples of q(s, z|x) unless means are asked for. Probes are fitted on the first half of the images
and asked about the second.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from causalnb.chapters.purification import bottleneck, diffusion
from causalnb.chapters.purification.network import CausalDiffusion
from causalnb.chapters.purification.objective import Follower, club_parts
from causalnb.randomness import generators_at

STYLE = ("half_size", "centre_y", "centre_x", "intensity", "slope", "angle")  # angle as its cosine
TIMES = (1, 10, 25, 50, 100, 200, 400, 800)
NEIGHBOURS = 15
CLUB_STEPS = 300  # of its conditional, on latents that no longer move


@torch.no_grad()
def latents(model: CausalDiffusion, images: Tensor, *, seed: int | None) -> Tensor:
    """(s, z) [n, d] of images in [0, 1]: a sample from the seed, or with None the means."""
    mean, log_variance = model.posterior(2 * images - 1)
    if seed is None:
        return mean
    with generators_at(seed, images.device):
        return mean + (log_variance / 2).exp() * torch.randn_like(mean)


def style(factors: Mapping[str, Tensor]) -> Tensor:
    """The six factors of style of `shapes` [n, 6], each with mean 0 and variance 1."""
    columns = [factors[name].cos() if name == "angle" else factors[name] for name in STYLE]
    values = torch.stack(columns, 1).double()
    return (values - values.mean(0)) / values.std(0)


# Probes --------------------------------------------------------------------------------------------------


def label_found(values: Tensor, labels: Tensor) -> Tensor:
    """Whether a linear probe on latents [n, d] finds each label of the second half: [n // 2], bool."""
    from sklearn.linear_model import LogisticRegression

    return _found(LogisticRegression(max_iter=1000), values, labels)


def neighbours_found(values: Tensor, labels: Tensor) -> Tensor:
    """Whether the 15 nearest of the first half agree on each label of the second: [n // 2], bool."""
    from sklearn.neighbors import KNeighborsClassifier

    return _found(KNeighborsClassifier(NEIGHBOURS), values, labels)


def _found(probe: Any, values: Tensor, labels: Tensor) -> Tensor:
    first, second = _halves(values)
    own, other = labels.chunk(2)
    return torch.from_numpy(probe.fit(first, own.numpy()).predict(second) == other.numpy())


def style_told(values: Tensor, wanted: Tensor) -> Tensor:
    """What a ridge regression on latents explains of the factors [n, factors] of each image of the second
    half, 1 - error2 / variance, the mean over factors: [n // 2]. Its mean is the mean R2.
    """
    from sklearn.linear_model import Ridge

    first, second = _halves(values)
    own, other = (part.numpy() for part in wanted.chunk(2))
    errors = (Ridge(1.0).fit(first, own).predict(second) - other) ** 2
    return torch.from_numpy((1 - errors / other.var(0)).mean(1))


def silhouette(values: Tensor, labels: Tensor) -> Tensor:
    """How much nearer each latent is to its own class than to the next: [n], from -1 to 1."""
    from sklearn.metrics import silhouette_samples

    return torch.from_numpy(silhouette_samples(_standard(values), labels.numpy())).double()


def probe_information(s: Tensor, z: Tensor, labels: Tensor) -> float:
    """A lower bound of I(S; Z), nats: that of the labels that two linear probes predict from s and from z, by
    data processing. The plug-in estimate is too high by about (K - 1)^2 / (2 n).
    """
    from sklearn.linear_model import LogisticRegression

    told = []
    for values in (s, z):
        first, second = _halves(values)
        told.append(LogisticRegression(max_iter=1000).fit(first, labels.chunk(2)[0].numpy()).predict(second))
    classes = int(labels.max()) + 1
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table.index_put_(tuple(map(torch.from_numpy, told)), torch.ones(len(told[0])).double(), accumulate=True)
    p = table / table.sum()
    independent = p.sum(1, keepdim=True) * p.sum(0, keepdim=True)
    there = p > 0
    return float((p[there] * (p[there] / independent[there]).log()).sum())


def club_at_rest(s: Tensor, z: Tensor, *, seed: int, steps: int = CLUB_STEPS) -> Tensor:
    """CLUB of latents that no longer move, its conditional fitted on the first half: what each image of the
    second half adds, [n // 2], whose mean it is.
    """
    (own_s, s), (own_z, z) = s.chunk(2), z.chunk(2)
    with generators_at(seed, s.device):
        follower = Follower(s.shape[1], z.shape[1], rate=3e-3)
        for _ in range(steps):
            some = torch.randint(len(own_s), (64,))
            follower.learn(own_s[some], own_z[some])
    return club_parts(s, *follower.conditional(z)).double()


def _standard(values: Tensor) -> np.ndarray:
    values = values.double()
    result: np.ndarray = ((values - values.mean(0)) / values.std(0).clamp_min(1e-9)).numpy()
    return result


def _halves(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    both = _standard(values)
    half = math.ceil(len(both) / 2)
    return both[:half], both[half:]


# All scores of a model -----------------------------------------------------------------------------------


def scores(
    model: CausalDiffusion, images: Tensor, labels: Tensor, factors: Mapping[str, Tensor], *, seed: int
) -> dict[str, Tensor]:
    """What a model's latents tell of images: by block, "s", "z" and "both".

    label.BLOCK means.BLOCK neighbours.BLOCK   [n // 2] bool, by samples, means, and neighbours of samples
    silhouette.BLOCK    [n]
    style.BLOCK         [n // 2], whose mean is the mean R2; only where factors are known
    kl.s kl.z           [n] nats a dimension
    bound               the probes' lower bound of I(S; Z), []
    club                [n // 2], whose mean is CLUB of the standardised latents, fitted once they stand still
    """
    drawn, means = latents(model, images, seed=seed).cpu(), latents(model, images, seed=None).cpu()
    with torch.no_grad():
        kl = bottleneck.kl(*model.posterior(2 * images - 1)).cpu()
    labels, found = labels.cpu(), {"kl.s": kl[:, : model.s].mean(1), "kl.z": kl[:, model.s :].mean(1)}
    for block, part in (("s", slice(model.s)), ("z", slice(model.s, None)), ("both", slice(None))):
        values = drawn[:, part]
        found |= {
            f"label.{block}": label_found(values, labels),
            f"means.{block}": label_found(means[:, part], labels),
            f"neighbours.{block}": neighbours_found(values, labels),
            f"silhouette.{block}": silhouette(values, labels),
        }
        if factors:
            found[f"style.{block}"] = style_told(values, style(factors))
    lower = probe_information(drawn[:, : model.s], drawn[:, model.s :], labels)
    still = torch.from_numpy(_standard(drawn)).float()
    parts = club_at_rest(still[:, : model.s], still[:, model.s :], seed=seed)
    return found | {"bound": torch.tensor(lower, dtype=torch.float64), "club": parts}


# Likelihood and pictures ---------------------------------------------------------------------------------


@torch.no_grad()
def errors_by_time(
    model: CausalDiffusion, images: Tensor, *, seed: int, draws: int = 4, times: Sequence[int] = TIMES
) -> Tensor:
    """The unconditional noise error of images in [0, 1] at each time, the mean over draws: [times, n]. The
    same seed gives other images of the same number the same noise.
    """
    x = 2 * images - 1
    with generators_at(seed, images.device):
        noise = torch.randn(draws, *x.shape, device=x.device)
    found = []
    for time in times:
        t = torch.full((len(x),), time, device=x.device)
        each = [diffusion.noise_error(model.noise, x, t, one) for one in noise]
        found.append(torch.stack(each).mean(0).cpu())
    return torch.stack(found)


@torch.no_grad()
def pictures(model: CausalDiffusion, given: Tensor, *, keep: str, seed: int, steps: int = 20) -> Tensor:
    """Images in [0, 1] made from latents [n, d]: "both" of them, "s" or "z" alone, the other dropped to 0."""
    shown = given.clone()
    if keep == "s":
        shown[:, model.s :] = 0
    elif keep == "z":
        shown[:, : model.s] = 0
    with generators_at(seed, given.device):
        start = torch.randn(len(given), *model.shape, device=given.device)
    return (diffusion.sample(model.noise, start, shown, steps=steps) + 1) / 2
