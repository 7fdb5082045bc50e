"""One contract for every attack: `run` attacks a batch and says, image by image, what was found; `evaluate`
runs a suite; `sanity_panel` says whether the numbers are to be believed.

ATTACKS is the table of what there is: foolbox behind `foolbox_adapter`, AutoAttack's parts behind
`autoattack_adapter`, `stadv` our own, `noise` the placebo. fgsm, bim and pgd climb a loss of the caller's,
and of any attack a success can be asked to be undetected. What there is not: L0 and L1, 8-bit images, boxes
other than [0, 1]. Results belong to an image alone, whatever its batch, for models that are deterministic and
treat images one by one (AutoAttack's parts draw for a batch at once); on a GPU that holds up to the rounding
of its kernels.

The rest is in the modules: `suites` (Step, worst_case), `randomised` (Expectation, Fixed, StraightThrough,
Surrogate, rescore), `adversarial` (for training and for objectives of your own), `noise`, `ball`.
"""

from causalnb.attacks.contract import ATTACKS, run
from causalnb.attacks.panel import sanity_panel
from causalnb.attacks.planted import planted_control
from causalnb.attacks.results import AttackResult
from causalnb.attacks.suites import evaluate

__all__ = ["ATTACKS", "AttackResult", "evaluate", "planted_control", "run", "sanity_panel"]
