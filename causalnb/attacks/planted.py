"""The active control of an evaluation: adversarial examples are planted, and the unchanged attack must find
them.

After Zimmermann, Brendel, Tramer & Carlini 2022, *Increasing Confidence in Adversarial Robustness
Evaluations*: for each image a two-class model is made from a network's own features, in which one known point
at the edge of the ball is adversarial. An attack that misses such points proves nothing when it finds none in
the network. How an attack searches is not known here, nor whether the network itself is robust.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from causalnb import UserError
from causalnb.attacks import ball
from causalnb.attacks.checked import TOLERANCE
from causalnb.attacks.noise import noise
from causalnb.attacks.results import AttackResult
from causalnb.attacks.watch import device_of, kind_of, preserved_state, score

Attack = Callable[[nn.Module, Tensor, Tensor], AttackResult]
Features = Callable[[Tensor], Tensor]

NEEDED, ALLOWED = (
    0.95,
    0.20,
)  # of the planted images: what the attack must break at least, random search at most
EDGE = {"linf": "sign", "l2": "gauss"}  # the noise whose one draw is the planted point
SHRINK = 0.99  # inner points lie this share of the way out at most
# Of the gap between the highest inner point and the planted one, how much lies beyond the boundary: a thin
# plant asks for a search that comes as high as the planted point itself, a wide one for half the way.
THIN, WIDE = 0.10, 0.50


class Planted(nn.Module):
    """A linear readout of features with two classes: 0 for `image` and what was drawn around it, 1 for
    `point`.

    image, point   [1, ...] the clean image, and the adversarial one at the edge of its ball
    Its logits [n, 2] differ by the score: `margin` (THIN unless told) at `point`, `margin` - 1 or less at the
    image and all inner points.
    """

    image: Tensor
    point: Tensor
    weight: Tensor
    origin: Tensor
    bias: Tensor

    def __init__(
        self, features: Features, image: Tensor, point: Tensor, weight: Tensor, origin: Tensor, bias: Tensor
    ) -> None:
        """`weight` [d] reads features less their `origin` [d], so that the readout does not lose its digits
        to a large mean.
        """
        super().__init__()
        self.features = features
        for name, values in {
            "image": image,
            "point": point,
            "weight": weight,
            "origin": origin,
            "bias": bias,
        }.items():
            self.register_buffer(name, values)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, 2]."""
        features = self.features(images).flatten(1).to(self.weight.dtype)
        lead = (features - self.origin) @ self.weight + self.bias
        lead = lead + 0 * images.flatten(1).sum(
            dim=1
        )  # features without a gradient have one of zero: a failed control, no error of torch's
        return torch.stack([-lead, lead], dim=1) / 2


@dataclass(frozen=True)
class Control:
    """What a planted control found.

    attack     images broken by the attack, of those that could be planted
    random     images broken by random search, of the same
    images     images given
    queries    forward passes of random search for each image: the most that the attack took for one
    """

    attack: tuple[int, int]
    random: tuple[int, int]
    images: int
    queries: int

    @property
    def passed(self) -> bool:
        """Whether the attack broke at least 95 % and random search at most 20 %, of one planted image or
        more.
        """
        (found, of), (by_chance, _) = self.attack, self.random
        return of > 0 and found >= NEEDED * of and by_chance <= ALLOWED * of

    @property
    def share(self) -> float:
        """Of the planted images, how many the attack broke; 0 where none could be planted."""
        found, of = self.attack
        return found / of if of else 0.0

    def __str__(self) -> str:
        """A sentence with every count."""
        (found, of), (by_chance, _) = self.attack, self.random
        return (
            f"the attack breaks {found} of {of} planted images, random search with {self.queries} points "
            f"each {by_chance}; "
            f"{self.images - of} of {self.images} images could not be planted"
        )


def planted_control(
    attack: Attack,
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    norm: str,
    eps: float,
    seed: int,
    inner: int = 200,
    margin: float = THIN,
    features: Features | None = None,
) -> Control:
    """Plant an adversarial example beside each image, and count how many the unchanged attack finds.

    attack   (model, images, labels) -> AttackResult, with all its settings:
             `partial(run, "pgd", norm=..., eps=..., ...)`
    norm, eps   the budget, the attack's own
    margin      how wide the plant is, as a share of the gap: THIN, or WIDE where the network bends so much
                that a sound search may end at another high point
    The rest as in `planted`. A success is asked for afresh, whatever the attack says: inside ball and box,
    and class 1.

    >>> from functools import partial
    >>> from causalnb.attacks import run
    >>> pgd = partial(run, "pgd", norm="linf", eps=0.1, step=0.01, steps=40, seed=0)
    >>> _ = torch.manual_seed(0)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.Tanh(), nn.Linear(200, 10))
    >>> planted_control(pgd, network, torch.rand(5, 1, 8, 8), norm="linf", eps=0.1, seed=0).attack
    (5, 5)
    """
    models = [
        one
        for one in planted(
            model, images, norm=norm, eps=eps, seed=seed, inner=inner, margin=margin, features=features
        )
        if one is not None
    ]
    results = [
        attack(one, one.image, torch.zeros(1, dtype=torch.long, device=one.image.device)) for one in models
    ]
    queries = max((result.queries[0] for result in results), default=0)
    found = sum(_broken(one, result.images, norm, eps) for one, result in zip(models, results, strict=True))
    by_chance = sum(random_search(one, norm=norm, eps=eps, queries=queries, seed=seed) for one in models)
    return Control((found, len(models)), (by_chance, len(models)), len(images), queries)


def planted(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    norm: str,
    eps: float,
    seed: int,
    inner: int = 200,
    margin: float = THIN,
    features: Features | None = None,
) -> list[Planted | None]:
    """A two-class model for each image [n, ...] in which an adversarial example within eps is known; None
    where none could be made.

    `inner` uniform points of the ball, pulled in by 1 %, and the image are class 0; one point at eps (a
    corner in L-inf, a random direction in L2; both cut with the box [0, 1]) is class 1. The readout has the
    widest margin between them, in units of the inner points' spread; its boundary then moves up to the
    planted point, short of it by `margin`, a tenth of the gap. Where the features do
    not separate the planted point exactly, the image cannot be planted.

    features   what is read, [n, ...] for images; without it, what enters the model's last nn.Linear. Given,
               the model is not asked

    Refused: a model without features given in which no nn.Linear is called.
    """
    if norm not in EDGE:
        raise ValueError(f"nothing can be planted in {norm!r}: the norm is one of {' and '.join(EDGE)}.")
    read = features if features is not None else entering_last_linear(model, images[:1])
    images = images.to(device_of(read, images))
    with preserved_state(read, images.device, seed), torch.no_grad():
        points = noise(images, kind=EDGE[norm], norm=norm, eps=eps, seed=seed)
        around = partial(inner_points, norm=norm, eps=eps, seed=seed, inner=inner)
        return [
            _plant(read, image, around(image)[0], point, margin)
            for image, point in zip(images.split(1), points.split(1), strict=True)
        ]


def inner_points(images: Tensor, *, norm: str, eps: float, seed: int, inner: int) -> Tensor:
    """[n, inner, ...] uniform points of each image's ball and the box, pulled in by 1 %."""
    return torch.stack([_drawn(images, norm, SHRINK * eps, (seed, "inner", k)) for k in range(inner)], dim=1)


def random_search(
    model: Planted, *, norm: str, eps: float, queries: int, seed: int, chunk: int = 128
) -> bool:
    """Whether one of `queries` uniform points of the ball is class 1."""
    for start in range(0, queries, chunk):
        points = torch.cat(
            [
                _drawn(model.image, norm, eps, (seed, "search", k))
                for k in range(start, min(start + chunk, queries))
            ]
        )
        if bool(_asked(model, points).any()):
            return True
    return False


def entering_last_linear(model: Callable[[Tensor], Tensor], images: Tensor) -> "LastLinear":
    """The features of a model: what enters the nn.Linear that it calls last, for these images [n, ...]."""
    if not isinstance(model, nn.Module):
        raise UserError(
            "features are needed to plant an adversarial example in a plain function: give features, images "
            "[n, ...] -> [n, d], or an nn.Module."
        )
    called: list[nn.Module] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: called.append(module))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with preserved_state(model, device_of(model, images), 0), torch.no_grad():
            model(images.to(kind_of(model, images)))
    finally:
        for hook in hooks:
            hook.remove()
    if not called:
        raise UserError(
            "the model calls no nn.Linear, so its features are unknown: give features, images [n, ...] -> "
            "[n, d]."
        )
    return LastLinear(model, called[-1])


class LastLinear(nn.Module):
    """What enters one layer of a model, [n, d], by a pass through all of it."""

    def __init__(self, model: nn.Module, layer: nn.Module) -> None:
        """`layer` is a module of `model`."""
        super().__init__()
        self.model = model
        self.layer = [layer]  # in a list: it is the model's already

    def forward(self, images: Tensor) -> Tensor:
        """Features [n, d] of images [n, ...]."""
        seen: list[Tensor] = []
        hook = self.layer[0].register_forward_pre_hook(lambda _, entering: seen.append(entering[0]))
        try:
            self.model(images.to(kind_of(self.model, images)))
        finally:
            hook.remove()
        if not len(seen[-1]) == len(images):
            raise UserError(
                f"the last nn.Linear takes {tuple(seen[-1].shape)} for {len(images)} images, not a row for "
                "each: give features."
            )
        return seen[-1].flatten(1).to(images.dtype)


def _plant(read: Features, image: Tensor, around: Tensor, point: Tensor, margin: float) -> Planted | None:
    values = _features(read, torch.cat([image, around, point]))
    origin, outer = values[0], values[-1]
    direction = readout(outer.double() - values[:-1].double())
    heights = (values.double() - origin.double()) @ direction
    gap = heights[-1] - heights[:-1].max()
    if not gap > 0:
        return None
    bias = margin - heights[-1] / gap
    model = Planted(read, image, point, (direction / gap).to(values.dtype), origin, bias.to(values.dtype))
    verdicts = _asked(model, torch.cat([image, around, point]))
    return model if bool(verdicts[-1]) and not bool(verdicts[:-1].any()) else None


def readout(differences: Tensor) -> Tensor:
    """A direction [d] whose product with every row [n, d], one point less each of n others, is above zero
    where there is one.

    It has the widest margin in units of the rows' own spread (their covariance, with its mean variance added
    on the diagonal): without it fresh draws cross the boundary, with the covariance alone it would hang on
    features that hardly move inside the ball, where gradients say nothing of them.
    """
    basis, rows = torch.linalg.qr(differences.T)
    around = rows - rows.mean(dim=1, keepdim=True)
    spread = around @ around.T / len(differences)
    ridge = spread.trace() / len(spread) + 1e-300
    root = torch.linalg.cholesky(
        spread + ridge * torch.eye(len(spread), dtype=rows.dtype, device=rows.device)
    )
    white = torch.linalg.solve_triangular(root, rows, upper=False).T
    return basis @ torch.linalg.solve_triangular(root.T, widest(white)[:, None], upper=True)[:, 0]


def widest(rows: Tensor) -> Tensor:
    """The unit vector whose least product with the rows [n, d] is largest; zero where none has all its
    products above zero.

    It points to the nearest point to the origin of the rows' convex hull. With rows D that point is
    proportional to D'a for the a >= 0 that minimise |D'a|^2 + (sum a - 1)^2.

    >>> widest(torch.tensor([[3.0, 4.0], [6.0, 8.0]], dtype=torch.float64))
    tensor([0.6000, 0.8000], dtype=torch.float64)
    """
    scaled = (rows / rows.norm(dim=1).max().clamp(min=1e-300)).cpu()
    system = torch.cat([scaled.T, torch.ones(1, len(scaled), dtype=scaled.dtype)])
    wanted = torch.zeros(len(system), dtype=scaled.dtype)
    wanted[-1] = 1
    nearest = torch.from_numpy(nnls(system.numpy(), wanted.numpy())[0]) @ scaled
    return (nearest / nearest.norm().clamp(min=1e-300)).to(rows.device)


def _features(read: Features, images: Tensor, chunk: int = 128) -> Tensor:
    return torch.cat([read(some).flatten(1) for some in images.split(chunk)])


@torch.no_grad()
def _asked(model: Planted, images: Tensor, chunk: int = 128) -> Tensor:
    """[n] whether the model gives class 1; the judge's own pass."""
    with preserved_state(model, images.device, 0):
        return torch.cat([score(model, some).argmax(dim=1) == 1 for some in images.split(chunk)])


def _broken(model: Planted, images: Tensor, norm: str, eps: float) -> bool:
    near = bool((ball.distance(model.image, images, norm) <= eps + TOLERANCE).all())
    boxed = bool(((images >= 0) & (images <= 1)).all())
    return near and boxed and bool(_asked(model, images).all())


def _drawn(images: Tensor, norm: str, eps: float, key: ball.Key) -> Tensor:
    return ball.inside(images, images + eps * ball.point(images, key, norm), norm, eps)
