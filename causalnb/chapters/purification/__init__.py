"""Chapter 5: purification by a causal diffusion model (Zhang et al. 2024, CausalDiff), for a model of yours.

Purify an image by likelihood, infer its latents, classify from S; the same function attacked and judged:

>>> import torch
>>> from causalnb.chapters import purification
>>> model, images = purification.causal_diffusion(size=8).eval(), torch.rand(2, 1, 8, 8)
>>> settings = purification.Settings(kind="smooth", steps=2, searches=1)
>>> draw = purification.fixed(settings, images, seed=0)
>>> purification.defend(model, images, settings, draw).shape
torch.Size([2, 4])

In front of any classifier of images in [0, 1], with any predictor (x_t, t) of noise:

>>> plain = purification.Around(lambda noisy, t: 0 * noisy, model)
>>> purification.defend(plain, images, purification.Settings(searches=0)).shape
torch.Size([2, 4])

Attacked and scored as a defence that draws must be, any such defence in one call:

>>> threat = purification.Threat("linf", eps=0.1, steps=1, draws=1)
>>> defence = purification.Defence(plain, purification.Settings(searches=0, steps=1))
>>> sorted(purification.evaluate(defence, images, torch.tensor([0, 1]), threat, draws=2))
['all', 'clean', 'majority', 'mean', 'signs']

`purification.checks` and `purification.mechanism` test all of it where the truth is known.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.chapters.purification.defence import Around, Defence, Settings, defend, fixed
    from causalnb.chapters.purification.evaluation import Threat, evaluate
    from causalnb.chapters.purification.network import causal_diffusion
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = [
    "Around",
    "Defence",
    "Settings",
    "Threat",
    "causal_diffusion",
    "defend",
    "evaluate",
    "fixed",
]
