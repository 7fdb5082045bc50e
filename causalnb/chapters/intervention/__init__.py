"""Chapter 3: adversarial intervention (Coppola & Lee 2024), for a model and images of yours.

Which channels of a layer break a network when they alone see the attack: the effects of sets of swapped
channels, and what they say of each channel:

>>> import torch
>>> from causalnb.chapters import intervention
>>> from causalnb.models import cnn37
>>> net, clean = cnn37(size=8, seed=1).eval(), torch.rand(6, 1, 8, 8)
>>> attacked, labels = (clean + 0.3).clamp(0, 1), net(clean).argmax(1)
>>> intervention.swap(net, "conv1", clean, attacked).shape
torch.Size([6, 16, 2])
>>> found = intervention.effects(net, "conv1", clean, attacked, labels, intervention.up_to(16, 3))
>>> found.ael.shape, found.table().at(3).shape
(torch.Size([696]), torch.Size([6, 16]))
>>> pairs = intervention.paired(found.table().at(1))

`intervention.checks_of_truths` tests all of it where the truth is known.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.chapters.intervention.engine import swap
    from causalnb.chapters.intervention.metrics import Effects, effects
    from causalnb.chapters.intervention.permutation import sampled
    from causalnb.chapters.intervention.sets import up_to
    from causalnb.chapters.intervention.significance import paired, rank_sum_map
    from causalnb.chapters.intervention.values import shapley
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = ["Effects", "effects", "paired", "rank_sum_map", "sampled", "shapley", "swap", "up_to"]
