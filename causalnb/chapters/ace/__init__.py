"""Chapter 1: average causal effects of pixels (Guo et al. 2024; Chattopadhyay et al. 2019), for a model and
images of yours.

The table of interventional expectations over some rows, the map of each image in it, and the paper's two
statistics:

>>> import torch
>>> from causalnb.chapters import ace
>>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
>>> images, labels = torch.rand(5, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1])
>>> table = ace.interventional_table(model, images, alphas=torch.linspace(0, 1, 11))
>>> maps = ace.population(table, images, {"true": labels})
>>> sorted(maps)
['R1.logit.true', 'R1.probability.true', 'R1d.logit.true', 'R1d.probability.true', 'R1e.logit.true',
'R1e.probability.true']
>>> ace.sparsity(maps["R1.logit.true"]).shape, ace.total_variation(ace.rescale(maps["R1.logit.true"])).shape
(torch.Size([5]), torch.Size([5]))

Effects of each pixel on its own image come from `individual`; `READINGS` says what each map means. Closed
forms, the checks of the derivation and the tested errata are in `ace.closed_forms`, `ace.checks` and
`ace.errata`.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.chapters.ace.interventions import Table, interventional_table
    from causalnb.chapters.ace.maps import rescale, sparsity, total_variation
    from causalnb.chapters.ace.readings import individual, population
    from causalnb.chapters.ace.specifications import READINGS
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = [
    "READINGS",
    "Table",
    "individual",
    "interventional_table",
    "population",
    "rescale",
    "sparsity",
    "total_variation",
]
