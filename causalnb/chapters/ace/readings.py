"""What "the causal effect map of an image" can mean: each reading as a function from images to maps.

The paper leaves open which output is y (logit or probability), of which class, and against what. Every function here
returns all of them at once, as maps by the key "reading.score.class", e.g. "R3m.probability.true": [n, height, width]
for grey images, [n, channels, height, width] for colour, float32.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from causalnb import training
from causalnb.chapters.ace.interventions import SCORES, Baseline, Method, Table, average_effects, blocks, look_up, scores

Maps = dict[str, Tensor]
Needs = Literal["table", "taylor", "forwards", "gradient", "decoder"]


@dataclass(frozen=True)
class Reading:
    """A reading: its formula, with T[p, a] = E[f | do(x_p = a)], and what it is computed from."""

    formula: str
    needs: Needs


READINGS = {
    "R1": Reading("T[p, x_p] - mean over a of T[p, a], rows = training images", "table"),
    "R1e": Reading("T[p, x_p] - E[f], rows = training images", "table"),
    "R2": Reading("R1 with T by the second-order Taylor formula at the training mean", "taylor"),
    "R3": Reading("f(x) - mean over a of f(x; x_p <- a)", "forwards"),
    "R3m": Reading("f(x) - f(x; x_p <- the training mean of p)", "forwards"),
    "R6": Reading("E[g_p(z, class)] - E[g_p(z, any other class)], g = decoder of a beta-VAE", "decoder"),
    "R7": Reading("df/dx_p", "gradient"),
    "R7x": Reading("x_p df/dx_p", "gradient"),
    "R7c": Reading("(x_p - 1/2) df/dx_p", "gradient"),
}


def population(table: Table, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R1 and R1e: effects in the population at each image's own pixel values, from an interventional table.

    images    [n, channels, height, width]
    classes   the class of each map by name, e.g. {"predicted": [n], "true": [n]}
    """
    return _at_own_values(table, images, classes, {"R1": "uniform", "R1e": "empirical"})


def expanded(table: Table, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R2: as R1, from a second-order `taylor_table`."""
    return _at_own_values(table, images, classes, {"R2": "uniform"})


def _at_own_values(table: Table, images: Tensor, classes: Mapping[str, Tensor], baselines: Mapping[str, Baseline]) -> Maps:
    maps: Maps = {}
    for reading, baseline in baselines.items():
        effects = average_effects(table, baseline=baseline)
        for name, of in classes.items():
            for score, found in zip(SCORES, look_up(effects, table.alphas, images.flatten(1), of), strict=True):
                maps[f"{reading}.{score}.{name}"] = _shaped(found, images)
    return maps


def individual(model: nn.Module, images: Tensor, classes: Mapping[str, Tensor], *, alphas: Tensor, fill: Tensor,
               dtype: torch.dtype = torch.float64, method: Method = "auto", chunk: int | None = None) -> Maps:
    """R3 and R3m: effects of each pixel on its own image, all scores and classes from one pass of interventions.

    Many a background pixel is next to its mean: in float32 the sign of its effect, which sparsity counts, is rounding.

    images    [n, channels, height, width]
    alphas    [A], the values that R3 averages over
    fill      [channels, height, width], the value of each pixel for R3m, e.g. the training mean
    dtype     the precision of the network, of which a copy computes
    """
    model, images = copy.deepcopy(model).to(dtype), images.to(dtype)
    values = torch.cat([alphas.to(images).expand(images[0].numel(), -1), fill.to(images).flatten()[:, None]], 1)
    wanted = torch.stack(list(classes.values())).to(images.device)
    r3 = images.new_empty(len(SCORES), len(wanted), len(images), images[0].numel(), dtype=torch.float32)
    r3m = torch.empty_like(r3)
    for block in blocks(model, images, values, method=method, chunk=chunk):
        each = torch.arange(len(block.natural), device=images.device)
        of = wanted[:, block.rows]
        own = scores(block.natural)[:, each, of]
        effects = own[..., None, None] - scores(block.logits).movedim(-1, 2)[:, each, of]
        r3[:, :, block.rows, block.places] = effects[..., :-1].mean(-1).float()
        r3m[:, :, block.rows, block.places] = effects[..., -1].float()
    return {f"{reading}.{score}.{name}": _shaped(found[i, j], images)
            for reading, found in (("R3", r3), ("R3m", r3m)) for i, score in enumerate(SCORES) for j, name in enumerate(classes)}


def gradients(model: nn.Module, images: Tensor, classes: Mapping[str, Tensor], *, batch: int = 1000) -> Maps:
    """R7, R7x and R7c: the gradient of each score, and its products with the image and with the image less 1/2.

    They are the first-order limits of setting a pixel from 0 to 1, from 0 to its own value, and of R3.
    """
    factors = {"R7": torch.ones_like(images), "R7x": images, "R7c": images - 0.5}
    maps: Maps = {}
    for name, of in classes.items():
        parts = [_gradients(model, *part) for part in zip(torch.split(images, batch), torch.split(of, batch), strict=True)]
        for score, gradient in zip(SCORES, torch.cat(parts, 1), strict=True):
            maps |= {f"{reading}.{score}.{name}": _shaped(gradient * factor, images) for reading, factor in factors.items()}
    return maps


def _gradients(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """[2, n, channels, height, width]."""
    points = images.detach().requires_grad_()
    with training.mode(model, train=False), torch.enable_grad():
        outputs = scores(model(points)).gather(2, classes.expand(2, -1)[..., None])
        return torch.stack([torch.autograd.grad(output.sum(), points, retain_graph=True)[0] for output in outputs])


def decoded(effects: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R6: the decoder's map of each image's class; it knows nothing of the image but that class.

    effects   [classes, height, width], from `vae.decoder_maps`
    """
    return {f"R6.pixel.{name}": effects[of].float() for name, of in classes.items()}


def classes_of(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The two classes a map may be of: the one the model predicts and the true one."""
    return {"predicted": training.predict(model, images).argmax(1), "true": labels}


def _shaped(values: Tensor, images: Tensor) -> Tensor:
    shape = images.shape[2:] if images.shape[1] == 1 else images.shape[1:]
    return values.detach().float().reshape(len(images), *shape)
