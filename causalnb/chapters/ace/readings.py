"""What "the causal effect map of an image" can mean: each reading as a function from images to maps.

The paper leaves open which output is y (logit or probability), of which class, and against what. Every
function here returns all of them at once, as maps by the key "reading.score.class", e.g.
"R3m.probability.true": [n, height, width] for grey images, [n, channels, height, width] for colour, float32.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from causalnb import training
from causalnb.chapters.ace.interventions import (
    SCORES,
    Baseline,
    Method,
    Table,
    average_effects,
    binary,
    blocks,
    look_up,
    scores,
)

Maps = dict[str, Tensor]


def at_own_values(
    table: Table, images: Tensor, classes: Mapping[str, Tensor], baselines: Mapping[str, Baseline]
) -> Maps:
    """Effects in the population that a table stands for, at each image's own pixel values.

    images      [n, channels, height, width]
    classes     the class of each map by name, e.g. {"predicted": [n], "true": [n]}
    baselines   by the name of the reading, e.g. {"R1": "uniform"}
    """
    maps: Maps = {}
    for reading, baseline in baselines.items():
        effects = average_effects(table, baseline=baseline)
        for name, of in classes.items():
            for score, found in zip(
                SCORES, look_up(effects, table.alphas, images.flatten(1), of), strict=True
            ):
                maps[f"{reading}.{score}.{name}"] = _shaped(found, images)
    return maps


def population(table: Table, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R1, R1e and R1d: effects in the population, from its interventional table; arguments as those of
    `at_own_values`.
    """
    ends = {
        f"R1d.{score}.{name}": _shaped(found.T[of], images)
        for score, found in zip(SCORES, binary(table), strict=True)
        for name, of in classes.items()
    }
    return at_own_values(table, images, classes, {"R1": "uniform", "R1e": "empirical"}) | ends


def individual(
    model: nn.Module,
    images: Tensor,
    classes: Mapping[str, Tensor],
    *,
    alphas: Tensor,
    fill: Tensor,
    dtype: torch.dtype = torch.float64,
    method: Method = "auto",
    chunk: int | None = None,
) -> Maps:
    """R3, R3b, R3c and R3m: effects of each pixel on its own image, all scores and classes from one pass of
    interventions.

    Many a background pixel is next to its mean: in float32 the sign of its effect, which sparsity counts, is
    rounding.

    images    [n, channels, height, width]
    alphas    [A], the values that R3 averages over; the first is R3b's, R3c goes from the first to the last
    fill      [channels, height, width], the value of each pixel for R3m, e.g. the training mean
    dtype     the precision of the network, of which a copy computes
    """
    model, images = copy.deepcopy(model).to(dtype), images.to(dtype)
    values = torch.cat(
        [alphas.to(images).expand(images[0].numel(), -1), fill.to(images).flatten()[:, None]], 1
    )
    wanted = torch.stack(list(classes.values())).to(images.device)
    found = {
        name: images.new_empty(len(SCORES), len(wanted), len(images), images[0].numel(), dtype=torch.float32)
        for name in ("R3", "R3b", "R3c", "R3m")
    }
    for block in blocks(model, images, values, method=method, chunk=chunk):
        each = torch.arange(len(block.natural), device=images.device)
        of = wanted[:, block.rows]
        lost = (
            scores(block.natural)[:, each, of][..., None, None]
            - scores(block.logits).movedim(-1, 2)[:, each, of]
        )
        parts = {
            "R3": lost[..., :-1].mean(-1),
            "R3b": lost[..., 0],
            "R3c": lost[..., 0] - lost[..., -2],
            "R3m": lost[..., -1],
        }
        for name, part in parts.items():
            found[name][:, :, block.rows, block.places] = part.float()
    return {
        f"{reading}.{score}.{name}": _shaped(values[i, j], images)
        for reading, values in found.items()
        for i, score in enumerate(SCORES)
        for j, name in enumerate(classes)
    }


@torch.no_grad()
def by_blocks(
    model: nn.Module,
    images: Tensor,
    classes: Mapping[str, Tensor],
    *,
    fill: Tensor,
    size: int,
    dtype: torch.dtype = torch.float64,
    batch: int = 256,
) -> Maps:
    """R12: what a score loses when a block of size x size pixels takes its training means; maps [n, height /
    size, width / size].

    images   [n, channels, height, width]; `size` divides height and width
    fill     [channels, height, width]
    """
    model, images, fill = (
        copy.deepcopy(model).to(dtype).eval(),
        images.to(dtype),
        fill.to(images.device, dtype),
    )
    height, width = images.shape[2] // size, images.shape[3] // size
    masks = torch.eye(height * width, dtype=torch.bool, device=images.device).view(-1, height, width)
    masks = masks.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, None]
    wanted = torch.stack(list(classes.values())).to(images.device)
    maps = images.new_empty(2, len(images), height * width, len(wanted), dtype=torch.float32)
    for place, image in enumerate(images):
        changed = torch.cat([image[None], torch.where(masks, fill, image)])
        logits = torch.cat([model(some) for some in torch.split(changed, batch)])
        outputs = scores(logits)[:, :, wanted[:, place]]  # [2, 1 + blocks, classes]
        maps[:, place] = (outputs[:, :1] - outputs[:, 1:]).float()
    return {
        f"R12x{size}.{score}.{name}": maps[i, ..., j].reshape(-1, height, width)
        for i, score in enumerate(SCORES)
        for j, name in enumerate(classes)
    }


def gradients(model: nn.Module, images: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R7, R7x and R7c: the gradient of each score, and its products with the image and with the image less
    1/2.

    They are the first-order limits of setting a pixel from 0 to 1, from 0 to its own value, and of R3.
    """
    return _gradient_maps(
        model,
        images,
        classes,
        {"R7": torch.ones_like(images), "R7x": images, "R7c": images - 0.5},
        shares=[1.0],
    )


def integrated_gradients(
    model: nn.Module, images: Tensor, classes: Mapping[str, Tensor], *, steps: int = 32
) -> Maps:
    """R8: the image times the mean gradient on the way from black to it, by the midpoint rule (Sundararajan,
    Taly & Yan 2017, Eq. 1).

    The map of a score sums to f(x) - f(0), but for the rule's error.
    """
    return _gradient_maps(
        model, images, classes, {"R8": images}, shares=[(step + 0.5) / steps for step in range(steps)]
    )


def _gradient_maps(
    model: nn.Module,
    images: Tensor,
    classes: Mapping[str, Tensor],
    factors: Mapping[str, Tensor],
    shares: Sequence[float],
    batch: int = 1000,
) -> Maps:
    """Each factor times the mean gradient at shares of the image; `batch` images on their way at once."""
    size = max(1, batch // len(shares))
    each = [torch.split(of, size) for of in classes.values()]
    means = [
        _mean_gradients(model, some, of, shares)
        for some, *of in zip(torch.split(images, size), *each, strict=True)
    ]
    maps: Maps = {}
    for name, of_class in zip(classes, torch.cat(means, 2), strict=True):
        for score, gradient in zip(SCORES, of_class, strict=True):
            maps |= {
                f"{reading}.{score}.{name}": _shaped(gradient * factor, images)
                for reading, factor in factors.items()
            }
    return maps


def _mean_gradients(
    model: nn.Module, images: Tensor, classes: Sequence[Tensor], shares: Sequence[float]
) -> Tensor:
    """[classes, 2, n, channels, height, width], by one pass forward."""
    points = torch.cat([share * images for share in shares]).detach().requires_grad_()
    found: list[Tensor] = []
    with training.mode(model, train=False), torch.enable_grad():
        outputs = scores(model(points))
        for place, of in enumerate(classes):
            same = [one for one, other in zip(found, classes[:place], strict=True) if torch.equal(of, other)]
            asked = of.repeat(len(shares)).expand(2, -1)[..., None]
            found.append(same[0] if same else _slopes(outputs.gather(2, asked), points))
    return torch.stack(found).unflatten(2, (len(shares), -1)).mean(2)


def _slopes(outputs: Tensor, points: Tensor) -> Tensor:
    """Of each score's outputs [2, n, 1] in its points."""
    return torch.stack([torch.autograd.grad(one.sum(), points, retain_graph=True)[0] for one in outputs])


def decoded(effects: Tensor, classes: Mapping[str, Tensor]) -> Maps:
    """R6: the decoder's map of each image's class; it knows nothing of the image but that class.

    effects   [classes, height, width], from `vae.decoder_maps`
    """
    return {f"R6.pixel.{name}": effects[of].float() for name, of in classes.items()}


def classes_of(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The two classes a map may be of: the one the model predicts and the true one."""
    return {"predicted": training.predict(model, images).argmax(1), "true": labels}


def key_parts(key: str) -> dict[str, str]:
    """The parts of a map's key.

    >>> key_parts("R3m.logit.true")
    {'reading': 'R3m', 'score': 'logit', 'of': 'true'}
    """
    return dict(zip(("reading", "score", "of"), key.split("."), strict=True))


def _shaped(values: Tensor, images: Tensor) -> Tensor:
    shape = images.shape[2:] if images.shape[1] == 1 else images.shape[1:]
    return values.detach().float().reshape(len(images), *shape)
