"""Chapter 2: counterfactual information of filters (Debbi 2024, CausAdv), for a model and images of yours.

How far the predicted probability falls without each filter of a layer, the prototypes of the classes, and
what the four strategies make of them:

>>> import torch
>>> from causalnb.chapters import counterfactual
>>> from causalnb.models import gap_cnn
>>> model, images = gap_cnn(classes=3, seed=1).eval(), torch.rand(20, 1, 8, 8)
>>> found = counterfactual.ci(model, images, "relu3")
>>> found.ci.shape, found.route
(torch.Size([20, 128]), 'rank-1 into fc')
>>> prototypes = counterfactual.choose(found, labels=found.classes)
>>> scores = counterfactual.scores(found.ci, found.classes, prototypes)
>>> list(scores)
['S1', 'S2.rho', 'S2.rank', 'S3.0', 'S3.1e-07', 'S3.0.0001', 'S4.3_10', 'S4.5_20', 'S4.10_30']

`counterfactual.replay` counts again what the author's published vectors give, `counterfactual.checks` tests
all of it where the truth is known.
"""

from typing import TYPE_CHECKING

from causalnb import lazy

if TYPE_CHECKING:
    from causalnb.chapters.counterfactual.filters import Filters, Information, ci
    from causalnb.chapters.counterfactual.heatmaps import heat_maps
    from causalnb.chapters.counterfactual.prototypes import choose
    from causalnb.chapters.counterfactual.report import report_card
    from causalnb.chapters.counterfactual.strategies import causal, common, correlation, scores, zeros
else:
    __getattr__, __dir__ = lazy.names(__name__)

__all__ = [
    "Filters",
    "Information",
    "causal",
    "choose",
    "ci",
    "common",
    "correlation",
    "heat_maps",
    "report_card",
    "scores",
    "zeros",
]
