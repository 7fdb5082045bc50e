"""Chapter 5: the gradient through purification and the search for the latents, in bounded memory."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Comparison, peak, side_by_side
from causalnb.chapters.purification.defence import Settings, defend, fixed
from causalnb.chapters.purification.network import CausalDiffusion, causal_diffusion

WHOLE = Settings(kind="smooth", steps=3, searches=6, times=(0, 180))  # 18 calls: minutes become seconds
SINGLE = Settings(kind="smooth", steps=0, searches=1, times=WHOLE.times)  # the largest step
N = 8


def network(dtype: torch.dtype = torch.float32) -> CausalDiffusion:
    """A model of 16 x 16 images with every weight drawn, also those that begin at 0; frozen."""
    model = causal_diffusion(size=16)
    g = torch.Generator().manual_seed(0)
    for values in model.parameters():
        values.data += 0.05 * torch.randn(values.shape, generator=g)
    return model.to(dtype).eval().requires_grad_(False)


def gradient(settings: Settings, *, bounded: bool, n: int = N, dtype: torch.dtype = torch.float32) -> Tensor:
    """Of a sum of squared logits with respect to seeded images."""
    x = torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=dtype).requires_grad_()
    logits = defend(network(dtype), x, settings, fixed(settings, x, 0), bounded=bounded)
    [found] = torch.autograd.grad(logits.square().sum(), x)
    return found


def difference() -> float:
    """Of both ways in float64, in units of the largest entry."""
    one, other = (gradient(WHOLE, bounded=bounded, n=1, dtype=torch.float64) for bounded in (True, False))
    return float((one - other).abs().max() / other.abs().max())


def warm() -> None:
    """A gradient of one image, so that what torch loads is there."""
    gradient(SINGLE, bounded=False, n=1)


def memory() -> Comparison:
    """Peak bytes of full autograd and ours; at best ours needs what one step needs."""
    whole, ours = (partial(gradient, WHOLE, bounded=bounded) for bounded in (False, True))
    return side_by_side(
        lambda: peak(whole, warm),
        lambda: peak(ours, warm),
        pair="purify-gradient-memory",
        quantity="bytes",
        difference=difference(),
        bound=peak(whole, warm) / peak(partial(gradient, SINGLE, bounded=False), warm),
        rounds=1,
    )


def seconds() -> Comparison:
    """CPU seconds: below 1 by what each step's second computation costs."""
    return side_by_side(
        lambda: gradient(WHOLE, bounded=False, n=4),
        lambda: gradient(WHOLE, bounded=True, n=4),
        pair="purify-gradient",
        difference=difference(),
        rounds=3,
    )


PAIRS: dict[str, Callable[[], Comparison]] = {
    "purify-gradient-memory": memory,
    "purify-gradient": seconds,
}
