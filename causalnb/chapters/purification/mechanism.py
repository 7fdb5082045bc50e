"""Numeric checks of the method itself on a small model with drawn weights, in float64: that what is attacked
is what is judged, that its gradient is exact, that the latents move, and what the released control flow does.
"""

from dataclasses import replace

import torch
from torch import Tensor

from causalnb.chapters.purification import released
from causalnb.chapters.purification.checks import shows
from causalnb.chapters.purification.defence import Settings, defend, fixed, infer, purify
from causalnb.chapters.purification.network import CausalDiffusion, causal_diffusion
from causalnb.randomness import generators_at

SMALL = Settings(kind="smooth", steps=2, searches=2)
SIGN = Settings(steps=3, searches=2)
SEED = 0


def alive(size: int = 8, *, seed: int = SEED) -> CausalDiffusion:
    """A model of 8 x 8 images whose weights are all drawn, also those that begin at 0; in float64, frozen."""
    model = causal_diffusion(size=size, seed=seed)
    g = torch.Generator().manual_seed(seed)
    for values in model.parameters():
        values.data += 0.05 * torch.randn(values.shape, generator=g)
    return model.double().eval().requires_grad_(False)


def images(n: int = 3, size: int = 8) -> Tensor:
    """Seeded images in [0, 1]."""
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradient(settings: Settings, *, bounded: bool, n: int = 3) -> Tensor:
    """Of a sum of squared logits with respect to the images."""
    x = images(n).requires_grad_()
    logits = defend(alive(), x, settings, fixed(settings, x, SEED), bounded=bounded)
    [found] = torch.autograd.grad(logits.square().sum(), x)
    return found


@shows("zero", "largest difference between a defence without steps and the encoder with its head", bound=0.0)
def without_steps_it_is_the_encoder() -> tuple[float, int]:
    """No purification, no search."""
    model, x = alive(), images()
    off = defend(model, x, Settings(steps=0, searches=0)) - model(x)
    return float(off.abs().max()), off.numel()


@shows("alone", "largest difference of an image's logits alone and in a batch, same noise", bound=1e-9)
def batches_do_not_matter() -> tuple[float, int]:
    """Both kinds of purification."""
    model, x, off = alive(), images(4), []
    for settings in (SIGN, SMALL):
        whole = defend(model, x, settings, fixed(settings, x, SEED))
        each = [defend(model, one, settings, fixed(settings, one, SEED)) for one in x.split(1)]
        off.append(float((whole - torch.cat(each)).abs().max()))
    return max(off), len(x)


@shows("same", "largest difference between logits with gradients on and off, same noise", bound=1e-9)
def attacked_and_judged_are_one() -> tuple[float, int]:
    """Drawn from the global generators, as an attack and its judge do."""
    model, x, off = alive(), images(), []
    for settings in (SIGN, SMALL):
        with generators_at(SEED, x.device):
            attacked = defend(model, x.clone().requires_grad_(), settings).detach()
        with generators_at(SEED, x.device), torch.no_grad():
            off.append(float((defend(model, x, settings) - attacked).abs().max()))
    return max(off), len(x)


@shows("moves", "a hundredth, by how far the search moves a latent at most, with gradients off", bound=1.0)
def the_search_moves_the_latents() -> tuple[float, int]:
    """Where the defence is judged."""
    model, x = alive(), 2 * images() - 1
    with torch.no_grad():
        found = infer(model, x, SMALL, fixed(SMALL, x, SEED))
        moved = float((found - model.encode(x)).abs().max())
    return 0.01 / max(moved, 1e-9), len(x)


@shows("gradient", "largest relative error of finite differences in five directions", bound=1e-5)
def the_gradient_is_that_of_differences() -> tuple[float, int]:
    """Through the whole smooth defence."""
    model, x, slope, off = alive(), images(), gradient(SMALL, bounded=True), []
    g, h, draw = torch.Generator().manual_seed(2), 1e-6, fixed(SMALL, x, SEED)
    for _ in range(5):
        way = torch.randn(x.shape, generator=g, dtype=x.dtype)
        ends = [defend(model, x + sign * h * way, SMALL, draw).square().sum() for sign in (1, -1)]
        expected = float((slope * way).sum())
        off.append(abs(float(ends[0] - ends[1]) / (2 * h) / expected - 1))
    return max(off), 5


@shows("kept", "relative difference between the gradient in bounded memory and full autograd's", bound=1e-6)
def bounded_memory_changes_nothing() -> tuple[float, int]:
    """Five steps of purification and ten of the search."""
    settings = Settings(kind="smooth")
    one, other = (gradient(settings, bounded=bounded, n=1) for bounded in (True, False))
    return float((one - other).norm() / other.norm()), one.numel()


@shows("dropped", "largest difference that latents make once they are multiplied by 0", bound=0.0)
def dropped_latents_do_nothing() -> tuple[float, int]:
    """The networks behind them keep their biases."""
    model, x = alive(), 2 * images() - 1
    t, latents = torch.tensor([0, 300, 900]), model.encode(x)
    off = model.noise(x, t, 0 * latents) - model.noise(x, t)
    return float(off.abs().max()), off.numel()


@shows(
    "jacobian",
    "entries of the sign step's Jacobian that are not the clamp's 0 or 1 on the diagonal",
    bound=0.0,
)
def a_sign_step_hides_its_gradient() -> tuple[float, int]:
    """1 where the last clamp is inactive, 0 where it is active."""
    model, x = alive(), 2 * images(1) - 1
    settings = replace(SIGN, step=0.3, radius=0.9)
    draw = fixed(settings, x, SEED)
    found = torch.autograd.functional.jacobian(lambda at: purify(model, at, settings, draw), x)
    given = purify(model, x, settings, draw).flatten()
    expected = torch.diag((given.abs() < 1).double())
    return float((found.view(given.numel(), -1) != expected).sum()), given.numel()


# The released control flow -------------------------------------------------------------------------------


@shows("R1", "largest move of a latent with gradients off, or 0.1 less that with gradients on", bound=0.0)
def released_latents_do_not_move() -> tuple[float, int]:
    """The search as it stands in the script, at the configuration's rate."""
    model, x = alive(), 2 * images() - 1
    start, moved = model.encode(x), []
    for mode in (torch.no_grad(), torch.enable_grad()):
        with mode, generators_at(SEED, x.device):
            found = released.searched(model, x, start, rate=released.DEFAULT)
            moved.append(float((found - start).abs().max()))
    return max(moved[0], 0.1 - moved[1]), start.numel()


@shows("R2", "a thousandth, by the largest difference of the two paths under the same noise", bound=1.0)
def released_paths_differ() -> tuple[float, int]:
    """What the purifier does to an image, with the clamp and without."""
    script = released.Released(alive())
    x, purified = 2 * images() - 1, []
    for clamp in (None, released.CLAMP):
        with generators_at(SEED, x.device):
            purified.append(script._purified(x, clamp))
    return 1e-3 / max(float((purified[0] - purified[1]).abs().max()), 1e-9), x.numel()
