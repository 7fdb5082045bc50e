"""A report card of some images: what the counterfactual information of a layer says of them beside clean
ones.
"""

from matplotlib.figure import Figure

from causalnb.chapters.counterfactual import figures, strategies
from causalnb.chapters.counterfactual.filters import Information
from causalnb.chapters.counterfactual.prototypes import Prototypes
from causalnb.detection import threshold_at


def report_card(
    found: Information, clean: Information, prototypes: Prototypes, *, rate: float = 0.05
) -> Figure:
    """Three panels: how log-odds CI are distributed, how many causal filters the prototypes have, and what
    share each strategy flags where it flags at most `rate` of the clean images.

    found, clean   of the images in question, and of clean ones of the same classes, by one model and layer
    prototypes     of `choose`, on CI

    Clean images on which prototypes were chosen make the strategies look better than they are: give others.
    """
    own, theirs = (strategies.scores(one.ci, one.classes, prototypes) for one in (found, clean))
    flagged: dict[str, tuple[float, float]] = {}
    for name, score in theirs.items():
        fixed = threshold_at(rate, score.cpu().numpy())
        before, after = (float(fixed.flags(one[name].cpu().numpy()).mean()) for one in (theirs, own))
        flagged[name] = before, after
    causal = strategies.causal(prototypes.ci).tolist()
    return figures.report_card(
        {"clean": clean.log_odds.cpu(), "these": found.log_odds.cpu()},
        dict(zip(map(str, prototypes.classes.tolist()), causal, strict=True)),
        flagged,
    )
